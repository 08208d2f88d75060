/** The quirk of map strategies whose connection tracking has no key for some protocols. */
import { PROTOCOL } from "../dataplane/packet.ts";
import type { Quirk } from "./deviation.ts";

/** Protocols with ports or an identifier to tell flows by (cilium bpf/lib/conntrack.h). */
const TRACKED: readonly number[] = [PROTOCOL.tcp, PROTOCOL.udp, PROTOCOL.sctp, PROTOCOL.icmp, PROTOCOL.icmpv6];

/** A packet of any other protocol is dropped at every pod, whatever policy says. */
export function untrackedProtocols({ source, scenario }: Pick<Quirk, "source" | "scenario">): Quirk {
  return {
    name: "untracked-protocols-dropped",
    summary: "A packet of a protocol whose flows cannot be tracked (GRE, ESP, IP-in-IP …) is dropped at every pod.",
    source,
    scenario,
    apply: (reading) => ({
      ...reading,
      shortcut: (cluster, packet, ends) => {
        const toItself = ends.source.pod !== undefined && ends.source.pod === ends.destination.pod;
        const meetsPod = ends.source.pod !== undefined || ends.destination.pod !== undefined;
        if (meetsPod && !toItself && !TRACKED.includes(packet.protocol)) return "drop";
        return reading.shortcut(cluster, packet, ends);
      },
    }),
  };
}
