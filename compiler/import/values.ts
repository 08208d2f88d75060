/** The values that stand in saves: numbers, marks, ports, protocols, prefixes, ICMP types. Undefined: not such a value. */
import {
  addressBits,
  type Cidr,
  cidrOf,
  type Family,
  hostCidr,
  maskWord,
  parseAddress,
} from "../../dataplane/address.ts";
import type { PortRange } from "../../dataplane/program.ts";
import { parseProtocolText } from "../render/protocols.ts";

/** As strtoul(3) with base 0, which the tools use: `0x10`, `010` (eight) and `10`. At most `maximum`. */
export function parseNumber(text: string, maximum: number): number | undefined {
  if (text.length > 24) return undefined;
  let value: number;
  if (/^0[xX][0-9a-fA-F]+$/.test(text)) value = Number.parseInt(text.slice(2), 16);
  else if (/^0[0-7]*$/.test(text)) value = Number.parseInt(text, 8);
  else if (/^[1-9]\d*$/.test(text)) value = Number(text);
  else return undefined;
  return value <= maximum ? value : undefined;
}

export const MAX_UINT32 = 0xffff_ffff;

export interface MarkValue {
  readonly value: number;
  readonly mask: number;
}

/** `value` or `value/mask`; the mask is all ones when it is left out. */
export function parseMark(text: string): MarkValue | undefined {
  const slash = text.indexOf("/");
  const value = parseNumber(slash < 0 ? text : text.slice(0, slash), MAX_UINT32);
  const mask = slash < 0 ? MAX_UINT32 : parseNumber(text.slice(slash + 1), MAX_UINT32);
  return value === undefined || mask === undefined ? undefined : { value, mask };
}

const LAST_PORT = 65_535;

/** `80`, `80:90` or, open at an end, `:90` and `80:`. */
export function parsePortRange(text: string, separator: ":" | "-" = ":"): PortRange | undefined {
  const at = text.indexOf(separator);
  if (at < 0) {
    const port = parseNumber(text, LAST_PORT);
    return port === undefined ? undefined : { first: port, last: port };
  }
  const [low, high] = [text.slice(0, at), text.slice(at + 1)];
  const first = low === "" ? 0 : parseNumber(low, LAST_PORT);
  const last = high === "" ? LAST_PORT : parseNumber(high, LAST_PORT);
  return first === undefined || last === undefined || first > last ? undefined : { first, last };
}

/** A port by its name in services(5), whose numbers a save does not carry; the tools never print one. */
export function isServiceName(text: string): boolean {
  return /^[A-Za-z][A-Za-z0-9+_.-]*$/.test(text);
}

/** A protocol's number; `all`, `ip` and `hopopt` are 0, as for the tools. */
export function parseProtocolName(text: string): number | undefined {
  const name = text.toLowerCase();
  if (name === "all" || name === "ip" || name === "hopopt") return 0;
  return parseProtocolText(name);
}

export type PrefixReading =
  | { readonly kind: "cidr"; readonly cidr: Cidr }
  /** A mask with a hole, as in `10.0.0.1/255.0.255.0`: correct, but no prefix. */
  | { readonly kind: "mask" }
  | { readonly kind: "wrong" };

const WRONG: PrefixReading = { kind: "wrong" };

/** `address`, `address/length` or `address/mask`. Host bits are cleared, as the tools do. */
export function parsePrefix(text: string): PrefixReading {
  const slash = text.indexOf("/");
  const address = parseAddress(slash < 0 ? text : text.slice(0, slash));
  if (address === undefined) return WRONG;
  if (slash < 0) return { kind: "cidr", cidr: hostCidr(address) };
  const after = text.slice(slash + 1);
  if (/^(?:0|[1-9]\d{0,2})$/.test(after)) {
    const length = Number(after);
    return length > addressBits(address.family) ? WRONG : { kind: "cidr", cidr: cidrOf(address, length) };
  }
  const mask = parseAddress(after);
  if (mask === undefined || mask.family !== address.family) return WRONG;
  const length = prefixLengthOf(mask.words);
  return length === undefined ? { kind: "mask" } : { kind: "cidr", cidr: cidrOf(address, length) };
}

/** The number of leading ones, when nothing but zeros follows. */
function prefixLengthOf(mask: readonly number[]): number | undefined {
  const bits = mask.length * 32;
  for (let length = 0; length <= bits; length++) {
    if (mask.every((word, index) => word === maskWord(length - 32 * index))) return length;
  }
  return undefined;
}

/** Every address of the family. */
export function isEverything(cidr: Cidr): boolean {
  return cidr.prefixLength === 0;
}

/** Whether the prefix is one address. */
export function isHost(cidr: Cidr): boolean {
  return cidr.prefixLength === addressBits(cidr.family);
}

export interface IcmpType {
  readonly type: number;
  /** Absent: every code. */
  readonly code?: number;
}

/** `--icmp-type any`: type 255 stands for every packet of the protocol (linux/icmp.h has no such type). */
const ANY_ICMP = 255;

/** Names of iptables' `icmp` module (`iptables -p icmp -h`). */
const ICMP_NAMES: ReadonlyMap<string, IcmpType> = icmpNames({
  any: [ANY_ICMP],
  "echo-reply": [0],
  pong: [0],
  "destination-unreachable": [3],
  "network-unreachable": [3, 0],
  "host-unreachable": [3, 1],
  "protocol-unreachable": [3, 2],
  "port-unreachable": [3, 3],
  "fragmentation-needed": [3, 4],
  "source-route-failed": [3, 5],
  "network-unknown": [3, 6],
  "host-unknown": [3, 7],
  "network-prohibited": [3, 9],
  "host-prohibited": [3, 10],
  "tos-network-unreachable": [3, 11],
  "tos-host-unreachable": [3, 12],
  "communication-prohibited": [3, 13],
  "host-precedence-violation": [3, 14],
  "precedence-cutoff": [3, 15],
  "source-quench": [4],
  redirect: [5],
  "network-redirect": [5, 0],
  "host-redirect": [5, 1],
  "tos-network-redirect": [5, 2],
  "tos-host-redirect": [5, 3],
  "echo-request": [8],
  ping: [8],
  "router-advertisement": [9],
  "router-solicitation": [10],
  "time-exceeded": [11],
  "ttl-exceeded": [11],
  "ttl-zero-during-transit": [11, 0],
  "ttl-zero-during-reassembly": [11, 1],
  "parameter-problem": [12],
  "ip-header-bad": [12, 0],
  "required-option-missing": [12, 1],
  "timestamp-request": [13],
  "timestamp-reply": [14],
  "address-mask-request": [17],
  "address-mask-reply": [18],
});

/** Names of iptables' `icmp6` module (`ip6tables -p icmpv6 -h`). */
const ICMPV6_NAMES: ReadonlyMap<string, IcmpType> = icmpNames({
  "destination-unreachable": [1],
  "no-route": [1, 0],
  "communication-prohibited": [1, 1],
  "beyond-scope": [1, 2],
  "address-unreachable": [1, 3],
  "port-unreachable": [1, 4],
  "failed-policy": [1, 5],
  "reject-route": [1, 6],
  "packet-too-big": [2],
  "time-exceeded": [3],
  "ttl-exceeded": [3],
  "ttl-zero-during-transit": [3, 0],
  "ttl-zero-during-reassembly": [3, 1],
  "parameter-problem": [4],
  "bad-header": [4, 0],
  "unknown-header-type": [4, 1],
  "unknown-option": [4, 2],
  "echo-request": [128],
  ping: [128],
  "echo-reply": [129],
  pong: [129],
  "mld-listener-query": [130],
  "mld-listener-report": [131],
  "mld-listener-done": [132],
  "mld-listener-reduction": [132],
  "router-solicitation": [133],
  "router-advertisement": [134],
  "neighbour-solicitation": [135],
  "neighbor-solicitation": [135],
  "neighbour-advertisement": [136],
  "neighbor-advertisement": [136],
  redirect: [137],
});

function icmpNames(table: Readonly<Record<string, readonly [type: number, code?: number]>>): Map<string, IcmpType> {
  return new Map(
    Object.entries(table).map(([name, [type, code]]) => [name, code === undefined ? { type } : { type, code }]),
  );
}

/** A name, `type` or `type/code`. */
export function parseIcmpType(text: string, family: Family): IcmpType | undefined {
  const named = (family === 4 ? ICMP_NAMES : ICMPV6_NAMES).get(text.toLowerCase());
  if (named !== undefined) return named;
  const slash = text.indexOf("/");
  const type = parseNumber(slash < 0 ? text : text.slice(0, slash), 255);
  if (type === undefined) return undefined;
  if (slash < 0) return { type };
  const code = parseNumber(text.slice(slash + 1), 255);
  return code === undefined ? undefined : { type, code };
}
