/** Packets to ask the kernel about, one after another, from a seed. */
import type { Family, IpAddress } from "../../dataplane/address.ts";
import {
  type FiveTuple,
  hasPorts,
  makePacket,
  type Packet,
  PROTOCOL,
  SCTP_CHUNK,
  TCP_FLAG,
} from "../../dataplane/packet.ts";
import { isIcmpError } from "../../traffic/wire.ts";
import type { PacketDomain } from "./packetDomain.ts";
import type { Random } from "./random.ts";
import { addressKey } from "./topology.ts";

const { S, R, A } = TCP_FLAG;

/**
 * Draws packets one after another. A third are answers to, or further packets of, what came before, so that every state
 * of connection tracking is met. All carry time 0: how time passes is tested elsewhere.
 */
export class PacketSource {
  readonly #domain: PacketDomain;
  readonly #random: Random;
  readonly #families: readonly Family[];
  /** A ring of packets that went before. */
  readonly #earlier: Packet[] = [];

  constructor(domain: PacketDomain, random: Random) {
    this.#domain = domain;
    this.#random = random;
    // Mostly IPv4; IPv6 only where somebody has such an address.
    const { addresses, inhabitants } = domain;
    this.#families = ([4, 4, 6] as const).filter(
      (family) => addresses[family].length > 1 && (inhabitants[family].length > 0 || inhabitants[4].length === 0),
    );
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
      const [source, destination] = this.#ends(family);
      if (differ(source, destination)) return this.#packet(this.#tuple(source, destination));
    }
  }

  /** Two addresses, nine times in ten with one of a pod or node among them. */
  #ends(family: Family): readonly [IpAddress, IpAddress] {
    const random = this.#random;
    const { addresses, inhabitants } = this.#domain;
    const anybody = random.pick(addresses[family]);
    const people = inhabitants[family];
    const somebody = random.pick(people.length > 0 && !random.oneIn(10) ? people : addresses[family]);
    return random.oneIn(2) ? [anybody, somebody] : [somebody, anybody];
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
        return isIcmpError(tuple.protocol, icmpType) ? this.#quoting(packet) : packet;
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
    if (known && differ(source, earlier.source)) {
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

function differ(a: IpAddress, b: IpAddress): boolean {
  return addressKey(a) !== addressKey(b);
}

function tupleOf({ protocol, source, destination, sourcePort, destinationPort }: FiveTuple): FiveTuple {
  return { protocol, source, destination, sourcePort, destinationPort };
}
