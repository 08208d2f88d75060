/**
 * What packets can be made of so that they tell programs apart: every value that the programs mention, and its neighbours.
 * What no router forwards (martian addresses) is left out: it never meets a rule.
 */
import { type Cidr, type Family, type IpAddress, maskWord } from "../../dataplane/address.ts";
import { PROTOCOL, TCP_FLAG } from "../../dataplane/packet.ts";
import type { IPSetMember, Match, TableProgram } from "../../dataplane/program.ts";
import { addressKey } from "./topology.ts";

/** What packets are made of, by field. */
export interface PacketDomain {
  readonly addresses: Readonly<Record<Family, readonly IpAddress[]>>;
  /** Those of pods and nodes. A packet with neither end here meets no node, unless a node forwards for others. */
  readonly inhabitants: Readonly<Record<Family, readonly IpAddress[]>>;
  readonly ports: readonly number[];
  readonly protocols: Readonly<Record<Family, readonly number[]>>;
  readonly icmpTypes: Readonly<Record<Family, readonly number[]>>;
  readonly icmpCodes: readonly number[];
  readonly tcpFlags: readonly number[];
}

/** Somebody outside of every cluster (RFC 5737, RFC 3849). */
const OUTSIDE: readonly IpAddress[] = [
  { family: 4, words: [0xcb007109 | 0] }, // 203.0.113.9
  { family: 4, words: [0xc6336407 | 0] }, // 198.51.100.7
  { family: 6, words: [0x20010db8, 0, 0, 7] },
];

const { F, S, R, P, A, U } = TCP_FLAG;

/** Every set of flags that a TCP sends, and some that none does (nmap's null, Xmas and SYN+FIN scans among them). */
const TCP_FLAGS = [S, S, S, S | A, A, P | A, F | A, R, R | A, 0, S | F, F | P | U, S | U, F, S | R, 0xff] as const;

/** Spoken everywhere; then what CNIs and tunnels use; 253 is for experiments (RFC 3692). */
const PROTOCOLS: Readonly<Record<Family, readonly number[]>> = {
  4: [PROTOCOL.tcp, PROTOCOL.udp, PROTOCOL.sctp, PROTOCOL.icmp, PROTOCOL.gre, PROTOCOL.esp, PROTOCOL.udplite, 253],
  6: [PROTOCOL.tcp, PROTOCOL.udp, PROTOCOL.sctp, PROTOCOL.icmpv6, PROTOCOL.gre, PROTOCOL.esp, PROTOCOL.udplite, 253],
};

/** Numbers that are extension headers in IPv6, not protocols of layer 4 (RFC 8200, 6275, 7401, 5533). */
const IPV6_EXTENSION_NUMBERS: ReadonlySet<number> = new Set([0, 43, 44, 51, 59, 60, 135, 139, 140]);

/** The domain of the programs of one cluster. */
export function packetDomain(programs: readonly TableProgram[]): PacketDomain {
  const addresses = { 4: new Map<number | string, IpAddress>(), 6: new Map<number | string, IpAddress>() };
  const ports = new Set([0, 1, 79, 80, 40_000, 65_535]);
  const protocols = { 4: new Set(PROTOCOLS[4]), 6: new Set(PROTOCOLS[6]) };
  const icmpTypes = { 4: new Set([0, 3, 8, 11, 13, 40]), 6: new Set([1, 3, 128, 129, 135, 200]) };
  const icmpCodes = new Set([0, 1]);
  const tcpFlags = new Set<number>();
  const inhabitants = { 4: new Map<number | string, IpAddress>(), 6: new Map<number | string, IpAddress>() };
  const addAddress = (address: IpAddress) => {
    if (isRoutable(address)) addresses[address.family].set(addressKey(address), address);
  };
  const addInhabitant = (address: IpAddress) => {
    addAddress(address);
    if (isRoutable(address)) inhabitants[address.family].set(addressKey(address), address);
  };
  const addEdges = (cidr: Cidr) => edgesOf(cidr).forEach(addAddress);
  const addPort = (first: number, last: number) => {
    for (const port of [first - 1, first, last, last + 1]) if (port >= 0 && port <= 65_535) ports.add(port);
  };
  const addProtocol = (protocol: number) => {
    protocols[4].add(protocol);
    protocols[6].add(protocol);
  };
  const addMember = (member: IPSetMember) => {
    if (member.kind === "set") return;
    addEdges(member.cidr);
    if (member.kind !== "netPort") return;
    addProtocol(member.protocol);
    if (member.protocol === PROTOCOL.icmp || member.protocol === PROTOCOL.icmpv6) {
      icmpTypes[member.cidr.family].add(member.port >>> 8);
      icmpCodes.add(member.port & 0xff);
    } else addPort(member.port, member.port);
  };
  const addMatch = (match: Match) => {
    switch (match.kind) {
      case "address":
        addEdges(match.cidr);
        return;
      case "protocol":
        addProtocol(match.protocol);
        return;
      case "ports":
        for (const { first, last } of match.ranges) addPort(first, last);
        return;
      case "tcpFlags":
        tcpFlags
          .add(match.compare)
          .add(match.compare ^ match.mask)
          .add(match.mask)
          .add(match.compare | (0x3f ^ match.mask));
        return;
      case "icmp":
        for (const type of [match.type - 1, match.type, match.type + 1])
          if (type >= 0) icmpTypes[match.family].add(type & 0xff);
        if (match.code !== undefined) icmpCodes.add(match.code).add((match.code + 1) & 0xff);
        return;
      default:
        return;
    }
  };
  OUTSIDE.forEach(addAddress);
  for (const { attachment, sets, families } of programs) {
    for (const pod of attachment.pods) pod.addresses.forEach(addInhabitant);
    attachment.remotePodAddresses.forEach(addInhabitant);
    attachment.localAddresses.forEach(addInhabitant);
    for (const set of sets) set.members.forEach(addMember);
    for (const { tables } of families) {
      for (const table of tables) {
        for (const chain of table.chains) for (const rule of chain.rules) rule.matches.forEach(addMatch);
      }
    }
  }
  protocols[4].delete(0);
  for (const number of IPV6_EXTENSION_NUMBERS) protocols[6].delete(number);
  return {
    addresses: { 4: [...addresses[4].values()], 6: [...addresses[6].values()] },
    inhabitants: { 4: [...inhabitants[4].values()], 6: [...inhabitants[6].values()] },
    ports: [...ports],
    protocols: { 4: [...protocols[4]], 6: [...protocols[6]] },
    icmpTypes: { 4: [...icmpTypes[4]], 6: [...icmpTypes[6]] },
    icmpCodes: [...icmpCodes],
    tcpFlags: [...tcpFlags, ...TCP_FLAGS],
  };
}

/** First and last address of the prefix, and the ones just outside of it. */
export function edgesOf(cidr: Cidr): readonly IpAddress[] {
  const last = cidr.words.map((word, index) => word | ~maskWord(cidr.prefixLength - 32 * index));
  const { family, words } = cidr;
  const edges = [
    { family, words },
    { family, words: last },
  ];
  if (cidr.prefixLength === 0) return edges;
  return [...edges, { family, words: plus(words, -1) }, { family, words: plus(last, 1) }];
}

/** Addition over words in network order, with carry; wraps. */
function plus(words: readonly number[], step: 1 | -1): number[] {
  const sum = [...words];
  for (let index = sum.length - 1; index >= 0; index--) {
    sum[index] = ((sum[index] ?? 0) + step) | 0;
    if (sum[index] !== (step === 1 ? 0 : -1)) break;
  }
  return sum;
}

/**
 * Whether a router takes the address as source and destination: neither "this network", loopback, multicast, reserved nor
 * link-local (RFC 1122 section 3.2.1.3, RFC 4291), nor one of the judge's own.
 */
export function isRoutable({ family, words }: IpAddress): boolean {
  const [first = 0, second = 0, third = 0, fourth = 0] = words;
  if (family === 4) {
    const net = first >>> 24;
    return net !== 0 && net !== 127 && net < 224 && first >>> 16 !== 0xa9fe;
  }
  if (first >>> 22 === 0x3fa || first >>> 24 === 0xff) return false; // fe80::/10, ff00::/8
  if ((first | second | third) === 0 && fourth >>> 0 <= 0xffff) return false; // ::, ::1 and neighbours
  return !((first === 0 && second === 0 && (third === 0xffff || third === 0)) || first === (0xfd00ffff | 0));
}
