/** The entry of a hash set as ipset(8) writes it: `10.0.0.0/8`, `10.0.0.1-10.0.0.9`, `10.0.0.1,tcp:80-90`. */
import {
  addressBits,
  type Cidr,
  cidrOf,
  type Family,
  formatCidr,
  type IpAddress,
  parseAddress,
} from "../../dataplane/address.ts";
import { PROTOCOL } from "../../dataplane/packet.ts";
import type { IPSetMember, IPSetType } from "../../dataplane/program.ts";
import { isHost, parseIcmpType, parsePortRange, parsePrefix, parseProtocolName } from "./values.ts";

export interface EntryShape {
  readonly type: IPSetType;
  readonly family: Family;
  /** The set keeps this many bits of each address. */
  readonly netmask: number | undefined;
  /** The most entries that one line may stand for. */
  readonly room: number;
}

export type EntryReading =
  /** Several for a range. */
  | { readonly kind: "members"; readonly members: readonly IPSetMember[] }
  | { readonly kind: "wrong"; readonly wanted: string };

/** What tells two entries of a set apart. A number for IPv4 prefixes, of which sets are full. */
export function entryKey(member: IPSetMember): string | number {
  if (member.kind === "set") return member.set;
  const { words, family, prefixLength } = member.cidr;
  if (member.kind === "net" && family === 4) return ((words[0] ?? 0) >>> 0) * 64 + prefixLength;
  const net = `${words.join(".")}/${prefixLength}`;
  return member.kind === "net" ? net : `${net},${member.protocol}:${member.port}`;
}

export function parseEntry(text: string, shape: EntryShape): EntryReading {
  const hasPort = shape.type.endsWith(",port");
  const comma = text.indexOf(",");
  if (hasPort !== comma >= 0) return wrong(shape);
  const cidrs = parseNets(hasPort ? text.slice(0, comma) : text, shape);
  if (cidrs === undefined) return wrong(shape);
  const ports = hasPort ? parsePorts(text.slice(comma + 1), shape.family) : NO_PORTS;
  if (ports === undefined) return wrong(shape);
  const { protocol, first, last } = ports;
  // A range of addresses is as many entries in a set of addresses, a few prefixes in a set of prefixes.
  const byAddress = shape.type.startsWith("hash:ip") && shape.netmask === undefined;
  const nets = cidrs.reduce((sum, cidr) => sum + (byAddress ? addressCount(cidr) : 1), 0);
  if (nets * (last - first + 1) > shape.room) {
    return { kind: "wrong", wanted: `no wide range: ${shape.room} more entries can come from ranges` };
  }
  const members: IPSetMember[] = [];
  for (const cidr of byAddress ? cidrs.flatMap(addressesIn) : cidrs) {
    if (!hasPort) members.push({ kind: "net", cidr });
    else for (let port = first; port <= last; port++) members.push({ kind: "netPort", cidr, protocol, port });
  }
  return { kind: "members", members };
}

const NO_PORTS: Ports = { protocol: 0, first: 0, last: 0 };

function addressCount({ family, prefixLength }: Cidr): number {
  return 2 ** (addressBits(family) - prefixLength);
}

/** Every address of a prefix; at most `room` are asked for. */
function addressesIn(cidr: Cidr): readonly Cidr[] {
  if (isHost(cidr)) return [cidr];
  const last = cidr.words.length - 1;
  return Array.from({ length: addressCount(cidr) }, (_, index) => ({
    family: cidr.family,
    words: cidr.words.with(last, ((cidr.words[last] ?? 0) + index) | 0),
    prefixLength: addressBits(cidr.family),
  }));
}

function wrong({ type, family }: EntryShape): EntryReading {
  const net = type.startsWith("hash:net") ? `an IPv${family} prefix of length 1 or more` : `an IPv${family} address`;
  return { kind: "wrong", wanted: type.endsWith(",port") ? `${net},protocol:port` : net };
}

/** One address, a prefix, or a range cut into prefixes. */
function parseNets(text: string, { type, family, netmask }: EntryShape): readonly Cidr[] | undefined {
  const dash = text.indexOf("-");
  let cidrs: readonly Cidr[] | undefined;
  if (dash >= 0) {
    cidrs = prefixesOf(parseAddress(text.slice(0, dash)), parseAddress(text.slice(dash + 1)));
  } else {
    const reading = parsePrefix(text);
    if (reading.kind === "cidr") cidrs = [reading.cidr];
  }
  if (cidrs === undefined) return undefined;
  // Length 0 is refused by all hash sets: the kernel marks free places with it.
  if (cidrs.some((cidr) => cidr.family !== family || cidr.prefixLength === 0)) return undefined;
  // hash_ip4_uadt: a zero address would read as the end of a hash bucket.
  if (type === "hash:ip" && family === 4 && cidrs.some(({ words }) => words[0] === 0)) return undefined;
  if (netmask === undefined) return cidrs;
  const kept = cidrs.map((cidr) => cidrOf(cidr, Math.min(cidr.prefixLength, netmask)));
  return [...new Map(kept.map((cidr) => [formatCidr(cidr), cidr])).values()];
}

/** The fewest prefixes that cover first to last, in order. At most two for each bit of an address. */
function prefixesOf(first: IpAddress | undefined, last: IpAddress | undefined): readonly Cidr[] | undefined {
  if (first === undefined || last === undefined || first.family !== last.family) return undefined;
  const { family } = first;
  const bits = addressBits(family);
  let low = bigOf(first);
  const high = bigOf(last);
  if (low > high) return undefined;
  const cidrs: Cidr[] = [];
  while (low <= high) {
    let size = 0; // the prefix covers 2^size addresses
    while (size < bits && (low >> BigInt(size)) % 2n === 0n && low + (2n << BigInt(size)) - 1n <= high) size++;
    cidrs.push({ family, words: wordsOf(low, bits / 32), prefixLength: bits - size });
    low += 1n << BigInt(size);
  }
  return cidrs;
}

function bigOf(address: IpAddress): bigint {
  return address.words.reduce((value, word) => (value << 32n) | BigInt(word >>> 0), 0n);
}

function wordsOf(value: bigint, count: number): number[] {
  return Array.from(
    { length: count },
    (_, index) => Number((value >> BigInt(32 * (count - 1 - index))) & 0xffff_ffffn) | 0,
  );
}

/** The protocols for which ipset takes a port other than 0 (ipset(8), hash:ip,port). */
const PORT_PROTOCOLS: ReadonlySet<number> = new Set([PROTOCOL.tcp, PROTOCOL.udp, PROTOCOL.sctp, PROTOCOL.udplite]);

interface Ports {
  readonly protocol: number;
  readonly first: number;
  readonly last: number;
}

/** `tcp:80`, `udp:80-90`, `icmp:echo-request`, `icmp:8/0`, `gre:0`; without a protocol it is TCP. */
function parsePorts(text: string, family: Family): Ports | undefined {
  const colon = text.indexOf(":");
  const protocol = colon < 0 ? PROTOCOL.tcp : parseProtocolName(text.slice(0, colon));
  const value = text.slice(colon + 1);
  if (protocol === undefined || protocol === 0) return undefined;
  if (protocol === (family === 4 ? PROTOCOL.icmp : PROTOCOL.icmpv6)) {
    const icmp = parseIcmpType(value, family);
    if (icmp === undefined) return undefined;
    const port = (icmp.type << 8) | (icmp.code ?? 0); // as ip_set_getport.c reads it from packets
    return { protocol, first: port, last: port };
  }
  if (!PORT_PROTOCOLS.has(protocol)) return value === "0" ? { protocol, first: 0, last: 0 } : undefined;
  if (value === "" || value.startsWith("-") || value.endsWith("-")) return undefined;
  const range = parsePortRange(value, "-");
  return range && { protocol, ...range };
}
