/** Protocols by the names of netbase's /etc/protocols, which the tools print and read. */
import { PROTOCOL, parseProtocol, protocolName } from "../../dataplane/packet.ts";

const MORE_NAMES: ReadonlyMap<number, string> = new Map([
  [2, "igmp"],
  [3, "ggp"],
  [5, "st"],
  [8, "egp"],
  [9, "igp"],
  [12, "pup"],
  [20, "hmp"],
  [22, "xns-idp"],
  [27, "rdp"],
  [29, "iso-tp4"],
  [36, "xtp"],
  [37, "ddp"],
  [38, "idpr-cmtp"],
  [43, "ipv6-route"],
  [44, "ipv6-frag"],
  [45, "idrp"],
  [46, "rsvp"],
  [57, "skip"],
  [PROTOCOL.icmpv6, "ipv6-icmp"],
  [59, "ipv6-nonxt"],
  [60, "ipv6-opts"],
  [73, "rspf"],
  [81, "vmtp"],
  [88, "eigrp"],
  [89, "ospf"],
  [93, "ax.25"],
  [94, "ipip"],
  [97, "etherip"],
  [98, "encap"],
  [103, "pim"],
  [108, "ipcomp"],
  [112, "vrrp"],
  [115, "l2tp"],
  [124, "isis"],
  [133, "fc"],
  [135, "mobility-header"],
  [137, "mpls-in-ip"],
  [138, "manet"],
  [139, "hip"],
  [140, "shim6"],
  [141, "wesp"],
  [142, "rohc"],
  [143, "ethernet"],
]);

/** `tcp`, `ipv6-icmp`, … or the number. */
export function protocolText(protocol: number): string {
  return MORE_NAMES.get(protocol) ?? protocolName(protocol);
}

const MORE_NUMBERS: ReadonlyMap<string, number> = new Map(
  [...MORE_NAMES].map(([number, name]): [string, number] => [name, number]),
);

/** The inverse of `protocolText`, in any case, with the second names that the tools read. Undefined: no protocol. */
export function parseProtocolText(text: string): number | undefined {
  const name = text.toLowerCase();
  if (name === "ipv6-mh") return MORE_NUMBERS.get("mobility-header"); // xtables.c `xtables_chain_protos`
  return MORE_NUMBERS.get(name) ?? parseProtocol(name);
}
