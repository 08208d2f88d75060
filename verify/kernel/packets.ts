/**
 * Packets to ask the kernel about: the values that the programs mention and their neighbours, mixed at random, with
 * answers to earlier packets in between. What no router forwards (martian addresses) is left out: it never meets a rule.
 */
import { addressBits, type Cidr, type Family, type IpAddress, maskWord } from "../../dataplane/address.ts";
import {
  type FiveTuple,
  hasPorts,
  makePacket,
  type Packet,
  PROTOCOL,
  SCTP_CHUNK,
  TCP_FLAG,
} from "../../dataplane/packet.ts";
import type { IPSetMember, Match, TableProgram } from "../../dataplane/program.ts";
import type { Random } from "./random.ts";
import { addressKey } from "./topology.ts";

/** What packets are made of, by field. */
export interface PacketDomain {
  readonly addresses: Readonly<Record<Family, readonly IpAddress[]>>;
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
  const addAddress = (address: IpAddress) => {
    if (isRoutable(address)) addresses[address.family].set(addressKey(address), address);
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
    for (const pod of attachment.pods) pod.addresses.forEach(addAddress);
    attachment.remotePodAddresses.forEach(addAddress);
    attachment.localAddresses.forEach(addAddress);
    for (const set of sets) set.members.forEach(addMember);
    for (const { tables } of families) {
      for (const table of tables) {
        for (const chain of table.chains) for (const rule of chain.rules) rule.matches.forEach(addMatch);
      }
    }
  }
  protocols[4].delete(0);
  for (const number of IPV6_EXTENSION_NUMBERS) protocols[6].delete(number);
  // Reassembly takes fragments away before rules see them, and IGMP never leaves its link; both are tested by hand.
  return {
    addresses: { 4: [...addresses[4].values()], 6: [...addresses[6].values()] },
    ports: [...ports],
    protocols: { 4: [...protocols[4]], 6: [...protocols[6]] },
    icmpTypes: { 4: [...icmpTypes[4]], 6: [...icmpTypes[6]] },
    icmpCodes: [...icmpCodes],
    tcpFlags: [...tcpFlags, ...TCP_FLAGS],
  };
}

/** First and last address of the prefix, and the ones just outside of it. */
function edgesOf(cidr: Cidr): readonly IpAddress[] {
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
function isRoutable({ family, words }: IpAddress): boolean {
  const [first = 0, second = 0, third = 0, fourth = 0] = words;
  if (family === 4) {
    const net = first >>> 24;
    return net !== 0 && net !== 127 && net < 224 && first >>> 16 !== 0xa9fe;
  }
  if (first >>> 22 === 0x3fa || first >>> 24 === 0xff) return false; // fe80::/10, ff00::/8
  if ((first | second | third) === 0 && fourth >>> 0 <= 0xffff) return false; // ::, ::1 and neighbours
  return !((first === 0 && second === 0 && (third === 0xffff || third === 0)) || first === (0xfd00ffff | 0));
}

/**
 * Draws packets one after another. A third are answers to, or further packets of, what came before, so that every state
 * of connection tracking is met. All carry time 0: how time passes is tested elsewhere.
 */
export class PacketSource {
  readonly #domain: PacketDomain;
  readonly #random: Random;
  readonly #families: readonly Family[];
  readonly #isLocal: (address: IpAddress) => boolean;
  /** A ring of packets that went before. */
  readonly #earlier: Packet[] = [];

  /** `isLocal`: addresses of nodes. What a node says to itself passes no device. */
  constructor(domain: PacketDomain, random: Random, isLocal: (address: IpAddress) => boolean) {
    this.#domain = domain;
    this.#random = random;
    this.#isLocal = isLocal;
    // A program for one family says little about the other: mostly IPv4, unless there is nothing but IPv6.
    const weights = ([4, 4, 6] as const).filter((family) => domain.addresses[family].length >= 2);
    this.#families = weights;
  }

  next(): Packet {
    const packet = this.#draw();
    if (this.#earlier.length < EARLIER) this.#earlier.push(packet);
    else this.#earlier[this.#random.below(EARLIER)] = packet;
    return packet;
  }

  #draw(): Packet {
    const random = this.#random;
    if (this.#earlier.length > 0 && random.oneIn(3)) {
      const packet = this.#sequel(random.pick(this.#earlier));
      if (packet !== undefined) return packet;
    }
    const family = random.pick(this.#families);
    for (;;) {
      const source = random.pick(this.#domain.addresses[family]);
      const destination = random.pick(this.#domain.addresses[family]);
      if (this.#mayTravel(source, destination)) return this.#packet(this.#tuple(source, destination));
    }
  }

  #mayTravel(source: IpAddress, destination: IpAddress): boolean {
    if (addressKey(source) === addressKey(destination)) return false;
    return !(this.#isLocal(source) && this.#isLocal(destination));
  }

  #tuple(source: IpAddress, destination: IpAddress): FiveTuple {
    const { protocols, ports } = this.#domain;
    const random = this.#random;
    const protocol = random.pick(protocols[source.family]);
    const ported = hasPorts(protocol);
    // A few clients only, so that tuples repeat.
    const client = random.oneIn(4) ? random.pick(ports) : 40_000 + random.below(4);
    return {
      protocol,
      source,
      destination,
      sourcePort: ported ? client : 0,
      destinationPort: ported ? random.pick(ports) : 0,
    };
  }

  #packet(tuple: FiveTuple): Packet {
    const random = this.#random;
    switch (tuple.protocol) {
      case PROTOCOL.tcp:
        return makePacket({ ...tuple, tcpFlags: this.#flags(), payloadBytes: random.below(3) });
      case PROTOCOL.sctp:
        return makePacket({ ...tuple, sctpChunk: random.oneIn(3) ? random.pick(SCTP_CHUNKS) : SCTP_CHUNK.INIT });
      case PROTOCOL.icmp:
      case PROTOCOL.icmpv6: {
        const { icmpTypes, icmpCodes } = this.#domain;
        const icmpType = random.pick(icmpTypes[tuple.source.family]);
        const icmpCode = random.oneIn(2) ? 0 : random.pick(icmpCodes);
        const packet = makePacket({ ...tuple, icmpType, icmpCode, icmpId: random.below(4) });
        return isError(tuple.protocol, icmpType) ? this.#quoting(packet) : packet;
      }
      default:
        return makePacket(tuple);
    }
  }

  #flags(): number {
    if (this.#random.oneIn(2)) return S;
    return this.#random.oneIn(8) ? this.#random.below(256) : this.#random.pick(this.#domain.tcpFlags);
  }

  /** An ICMP error with the packet it is about: one that went before, or nobody's. */
  #quoting(packet: Packet): Packet {
    const random = this.#random;
    const { source, destination } = packet;
    const earlier = this.#earlier.length === 0 ? undefined : random.pick(this.#earlier);
    const known = earlier !== undefined && earlier.source.family === source.family && random.oneIn(2);
    if (known && this.#mayTravel(source, earlier.source)) {
      return { ...packet, destination: earlier.source, icmpId: earlier.icmpId, quoted: tupleOf(earlier) };
    }
    return { ...packet, quoted: this.#tuple(destination, source) };
  }

  /** The next packet of a conversation that goes on: an answer, or one more of the same. */
  #sequel(before: Packet): Packet | undefined {
    const random = this.#random;
    if (before.quoted !== undefined) return undefined;
    const tuple = tupleOf(before);
    const answer = random.oneIn(4)
      ? tuple
      : {
          ...tuple,
          source: tuple.destination,
          destination: tuple.source,
          sourcePort: tuple.destinationPort,
          destinationPort: tuple.sourcePort,
        };
    switch (tuple.protocol) {
      case PROTOCOL.tcp: {
        const tcpFlags = before.tcpFlags === S ? random.pick([S | A, S | A, R | A, S, A]) : this.#flags();
        return makePacket({ ...answer, tcpFlags });
      }
      case PROTOCOL.icmp:
      case PROTOCOL.icmpv6: {
        const answerType = ECHO_ANSWERS.get(before.icmpType);
        if (answerType === undefined) return undefined;
        return makePacket({ ...answer, icmpType: answerType, icmpId: before.icmpId });
      }
      case PROTOCOL.sctp:
        return makePacket({ ...answer, sctpChunk: random.pick(SCTP_CHUNKS) });
      default:
        return makePacket(answer);
    }
  }
}

/** Packets that a sequel may follow: few, so that conversations get somewhere. */
const EARLIER = 64;

const SCTP_CHUNKS = Object.values(SCTP_CHUNK);

/** Echo and timestamp requests, by type, to what answers them; the numbers of the two families do not overlap. */
const ECHO_ANSWERS: ReadonlyMap<number, number> = new Map([
  [8, 0],
  [13, 14],
  [128, 129],
]);

function isError(protocol: number, type: number): boolean {
  return protocol === PROTOCOL.icmpv6 ? type >= 1 && type <= 4 : [3, 4, 5, 11, 12].includes(type);
}

function tupleOf({ protocol, source, destination, sourcePort, destinationPort }: FiveTuple): FiveTuple {
  return { protocol, source, destination, sourcePort, destinationPort };
}

/** Addresses of a family hold that many bits; exported for tests of the edges. */
export const BITS = { 4: addressBits(4), 6: addressBits(6) } as const;
