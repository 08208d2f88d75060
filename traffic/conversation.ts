/**
 * Both sides of a connection, packet by packet, with the numbers right: what a log implies and what a generator sends passes
 * connection tracking as the real thing would.
 */
import type { IpAddress } from "../dataplane/address.ts";
import { makePacket, type Packet, PROTOCOL, SCTP_CHUNK, TCP_FLAG } from "../dataplane/packet.ts";

/** Who opens the connection, and whom to. */
export interface Ends {
  readonly source: IpAddress;
  readonly destination: IpAddress;
  readonly sourcePort: number;
  readonly destinationPort: number;
}

/** Who sends: the end that opened the connection, or the other. */
export type Sender = "source" | "destination";

/** Each method gives the packets of one act, the first of them at `time` (seconds). */
export interface Conversation {
  /** Whether the first packet is data already, not part of a handshake. */
  readonly opensWithData: boolean;
  /** The first packet, which nobody has answered yet. */
  first(time: number): Packet;
  /** The first packet and what both sides say until data may flow. */
  handshake(time: number, roundTrip: number): readonly Packet[];
  /** What the other side answers to `first` when nobody listens; for protocols that say so themselves. */
  refuse(time: number): readonly Packet[];
  data(sender: Sender, time: number, payloadBytes: number): Packet;
  /** A packet of the connection that carries nothing. */
  keep(sender: Sender, time: number): Packet;
  /** `sender` ends it, the other side agrees. */
  close(sender: Sender, time: number, roundTrip: number): readonly Packet[];
  /** `sender` breaks it off. */
  reset(sender: Sender, time: number): readonly Packet[];
}

/** `seed` gives initial sequence numbers and tags. */
export function converse(protocol: number, ends: Ends, seed: number): Conversation {
  if (protocol === PROTOCOL.tcp) return new TcpConversation(ends, seed);
  if (protocol === PROTOCOL.sctp) return new SctpConversation(ends, seed);
  return new DatagramConversation(protocol, ends);
}

/** As Linux with default buffers announces it: 64,240 bytes, shifted by 7 after the handshake. */
const WINDOW = 64_240;
const WINDOW_SCALE = 7;

/** Payload of a full segment on Ethernet, with time stamps. */
export const SEGMENT_BYTES = 1448;

const { F, S, R, P, A } = TCP_FLAG;

interface Segment extends Pick<Packet, "time" | "tcpFlags"> {
  readonly acknowledgment?: number;
  readonly windowScale?: number;
  readonly payloadBytes?: number;
  /** Sequence numbers used up. */
  readonly advance: number;
}

class TcpConversation implements Conversation {
  readonly opensWithData = false;
  readonly #ends: Ends;
  /** Next sequence number of each side, as int32: above that a number is an object, and a log keeps thousands of connections. */
  #nextOfSource: number;
  #nextOfDestination: number;

  constructor(ends: Ends, seed: number) {
    this.#ends = ends;
    this.#nextOfSource = Math.imul(seed, 0x9e3779b1);
    this.#nextOfDestination = Math.imul(seed, 0x85ebca6b) ^ 0x5bd1e995;
  }

  first(time: number): Packet {
    return this.#send("source", { time, tcpFlags: S, acknowledgment: 0, windowScale: WINDOW_SCALE, advance: 1 });
  }

  handshake(time: number, roundTrip: number): readonly Packet[] {
    const half = time + roundTrip / 2;
    return [
      this.first(time),
      this.#send("destination", { time: half, tcpFlags: S | A, windowScale: WINDOW_SCALE, advance: 1 }),
      this.keep("source", time + roundTrip),
    ];
  }

  refuse(time: number): readonly Packet[] {
    const fields = { time, tcpFlags: R | A, sequence: 0, acknowledgment: this.#nextOfSource >>> 0, window: 0 };
    return [makePacket({ ...directed(this.#ends, PROTOCOL.tcp, "destination"), ...fields })];
  }

  data(sender: Sender, time: number, payloadBytes: number): Packet {
    return this.#send(sender, { time, tcpFlags: P | A, payloadBytes, advance: payloadBytes });
  }

  keep(sender: Sender, time: number): Packet {
    return this.#send(sender, { time, tcpFlags: A, advance: 0 });
  }

  close(sender: Sender, time: number, roundTrip: number): readonly Packet[] {
    return [
      this.#send(sender, { time, tcpFlags: F | A, advance: 1 }),
      this.#send(otherSide(sender), { time: time + roundTrip / 2, tcpFlags: F | A, advance: 1 }),
      this.keep(sender, time + roundTrip),
    ];
  }

  reset(sender: Sender, time: number): readonly Packet[] {
    return [this.#send(sender, { time, tcpFlags: R | A, advance: 0 })];
  }

  #send(sender: Sender, { time, tcpFlags, acknowledgment, windowScale, payloadBytes, advance }: Segment): Packet {
    const ends = this.#ends;
    const isSource = sender === "source";
    const packet = makePacket({
      time,
      protocol: PROTOCOL.tcp,
      source: isSource ? ends.source : ends.destination,
      destination: isSource ? ends.destination : ends.source,
      sourcePort: isSource ? ends.sourcePort : ends.destinationPort,
      destinationPort: isSource ? ends.destinationPort : ends.sourcePort,
      tcpFlags,
      sequence: (isSource ? this.#nextOfSource : this.#nextOfDestination) >>> 0,
      acknowledgment: acknowledgment ?? (isSource ? this.#nextOfDestination : this.#nextOfSource) >>> 0,
      window: WINDOW,
      payloadBytes: payloadBytes ?? 0,
      windowScale,
    });
    if (isSource) this.#nextOfSource = (this.#nextOfSource + advance) | 0;
    else this.#nextOfDestination = (this.#nextOfDestination + advance) | 0;
    return packet;
  }
}

/** RFC 9260 section 5.1. */
class SctpConversation implements Conversation {
  readonly opensWithData = false;
  readonly #ends: Ends;
  /** Tag that each side asked for: packets to it carry it. */
  readonly #tags: Record<Sender, number>;

  constructor(ends: Ends, seed: number) {
    this.#ends = ends;
    // A tag of 0 is that of the INIT.
    this.#tags = {
      source: (Math.imul(seed, 0x9e3779b1) | 1) >>> 0,
      destination: (Math.imul(seed, 0x85ebca6b) | 1) >>> 0,
    };
  }

  first(time: number): Packet {
    const { INIT } = SCTP_CHUNK;
    return this.#send("source", { time, sctpChunk: INIT, verificationTag: 0, sequence: this.#tags.source });
  }

  handshake(time: number, roundTrip: number): readonly Packet[] {
    const half = roundTrip / 2;
    const { INIT_ACK, COOKIE_ECHO, COOKIE_ACK } = SCTP_CHUNK;
    return [
      this.first(time),
      this.#send("destination", { time: time + half, sctpChunk: INIT_ACK, sequence: this.#tags.destination }),
      this.#send("source", { time: time + 2 * half, sctpChunk: COOKIE_ECHO }),
      this.#send("destination", { time: time + 3 * half, sctpChunk: COOKIE_ACK }),
    ];
  }

  refuse(time: number): readonly Packet[] {
    return this.reset("destination", time);
  }

  data(sender: Sender, time: number, payloadBytes: number): Packet {
    return this.#send(sender, { time, sctpChunk: SCTP_CHUNK.DATA, payloadBytes });
  }

  keep(sender: Sender, time: number): Packet {
    return this.#send(sender, { time, sctpChunk: SCTP_CHUNK.SACK });
  }

  close(sender: Sender, time: number, roundTrip: number): readonly Packet[] {
    const { SHUTDOWN, SHUTDOWN_ACK, SHUTDOWN_COMPLETE } = SCTP_CHUNK;
    return [
      this.#send(sender, { time, sctpChunk: SHUTDOWN }),
      this.#send(otherSide(sender), { time: time + roundTrip / 2, sctpChunk: SHUTDOWN_ACK }),
      this.#send(sender, { time: time + roundTrip, sctpChunk: SHUTDOWN_COMPLETE }),
    ];
  }

  reset(sender: Sender, time: number): readonly Packet[] {
    return [this.#send(sender, { time, sctpChunk: SCTP_CHUNK.ABORT })];
  }

  #send(sender: Sender, fields: Partial<Packet>): Packet {
    return makePacket({
      ...directed(this.#ends, PROTOCOL.sctp, sender),
      verificationTag: this.#tags[otherSide(sender)],
      ...fields,
    });
  }
}

/** UDP, ICMP echoes, and protocols of which only the number matters. */
class DatagramConversation implements Conversation {
  readonly opensWithData = true;
  readonly #protocol: number;
  readonly #ends: Ends;

  constructor(protocol: number, ends: Ends) {
    this.#protocol = protocol;
    this.#ends = ends;
  }

  first(time: number): Packet {
    return this.keep("source", time);
  }

  handshake(time: number): readonly Packet[] {
    return [this.first(time)];
  }

  refuse(): readonly Packet[] {
    return [];
  }

  data(sender: Sender, time: number, payloadBytes: number): Packet {
    const tuple = directed(this.#ends, this.#protocol, sender);
    const plain = { ...tuple, time, payloadBytes };
    if (this.#protocol !== PROTOCOL.icmp && this.#protocol !== PROTOCOL.icmpv6) return makePacket(plain);
    const isV6 = this.#protocol === PROTOCOL.icmpv6;
    const icmpType = sender === "source" ? (isV6 ? 128 : 8) : isV6 ? 129 : 0;
    // The source port stands for the echo's identifier, which is what connection tracking makes of it.
    return makePacket({ ...plain, icmpType, icmpId: this.#ends.sourcePort, sourcePort: 0, destinationPort: 0 });
  }

  keep(sender: Sender, time: number): Packet {
    return this.data(sender, time, 0);
  }

  close(): readonly Packet[] {
    return [];
  }

  reset(): readonly Packet[] {
    return [];
  }
}

export function otherSide(sender: Sender): Sender {
  return sender === "source" ? "destination" : "source";
}

/** The tuple of a packet that `sender` sends. */
export function directed(ends: Ends, protocol: number, sender: Sender): Ends & { readonly protocol: number } {
  const { source, destination, sourcePort, destinationPort } = ends;
  if (sender === "source") return { protocol, source, destination, sourcePort, destinationPort };
  return {
    protocol,
    source: destination,
    destination: source,
    sourcePort: destinationPort,
    destinationPort: sourcePort,
  };
}
