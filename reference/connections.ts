/** Packets in order: the reference with a memory of the connections it allowed (row 37). */
import type { ClusterModel } from "../compiler/model.ts";
import type { FiveTuple, Packet } from "../dataplane/packet.ts";
import type { CtState } from "../dataplane/verdict.ts";
import { addressText, sameAddress } from "./addresses.ts";
import { evaluate, type ReferenceAnswer } from "./evaluate.ts";
import { quote, SENTENCES, type Sentence } from "./sentences.ts";

/** What the reference says about one packet of a sequence. */
export interface ReferenceResult extends ReferenceAnswer {
  /** `new`: the rules were asked. `established`, `related`: a live connection carried the packet. */
  readonly ctState: Extract<CtState, "new" | "established" | "related">;
}

const ICMP = 1;
const TCP = 6;
const UDP = 17;
const ICMPV6 = 58;
const SCTP = 132;

const PROTOCOL_TEXT: ReadonlyMap<number, string> = new Map([
  [ICMP, "icmp"],
  [TCP, "tcp"],
  [UDP, "udp"],
  [ICMPV6, "icmpv6"],
  [SCTP, "sctp"],
]);

/** Bits of the TCP flags byte (RFC 9293 section 3.1). */
const FIN = 0x01;
const SYN = 0x02;
const RST = 0x04;
const ACK = 0x10;

/** SCTP chunk types that end an association (RFC 9260 section 3.2). */
const ABORT = 6;
const SHUTDOWN_COMPLETE = 14;

interface Connection {
  /** The first packet, which the rules allowed. */
  readonly opening: FiveTuple;
  readonly openingKey: string;
  readonly replyKey: string;
  /** Keys of the packets that said FIN, one per end. */
  readonly finished: Set<string>;
}

/**
 * Remembers the connections whose first packet was allowed. What belongs to a live one (more of it, its replies, ICMP
 * errors that quote it) passes without asking the rules again, whatever became of the policies since: the API leaves
 * that open, and the reference lets connections live. A dropped packet leaves nothing.
 *
 * A connection ends with a reset (SCTP: abort, shutdown complete), or with the SYN that comes after both ends said FIN.
 * It does not expire, since the API knows no timeouts, and any first packet opens it, since the API knows no handshakes.
 */
export class ReferenceConnections {
  #model: ClusterModel;
  /** Each connection twice: under the key of its first packet and under that of its replies. */
  readonly #live = new Map<string, Connection>();

  constructor(model: ClusterModel) {
    this.#model = model;
  }

  /** The cluster changed. Connections live on. */
  setModel(model: ClusterModel): void {
    this.#model = model;
  }

  /** Forgets every connection. */
  flush(): void {
    this.#live.clear();
  }

  /** One packet, in order. */
  push(packet: Packet): ReferenceResult {
    const troubled = this.#quotedBy(packet);
    if (troubled !== undefined) return carried("related", troubled, SENTENCES.error);
    const key = keyOf(packet);
    const known = this.#live.get(key);
    if (known !== undefined && !startsAnew(known, packet)) {
      if (ends(packet)) this.#forget(known);
      if (says(packet, FIN)) known.finished.add(key);
      return carried("established", known, key === known.replyKey ? SENTENCES.reply : SENTENCES.live);
    }
    if (known !== undefined) this.#forget(known);
    const answer = evaluate(this.#model, packet);
    if (answer.verdict === "accept") this.#remember(packet);
    return { ...answer, ctState: "new" };
  }

  /** The live connection that an ICMP error is about. An error goes to whoever sent the packet it quotes. */
  #quotedBy(packet: Packet): Connection | undefined {
    const { quoted } = packet;
    if (quoted === undefined || !sameAddress(packet.destination, quoted.source)) return undefined;
    if (!isIcmp(quoted)) return this.#live.get(tupleKey(quoted));
    // A quoted tuple carries no echo identifier: any live ping between the two will do.
    return [...this.#live.values()].find(
      ({ opening }) => pairKey(opening) === pairKey(quoted) || pairKey(opening) === pairKey(turned(quoted)),
    );
  }

  #remember(packet: Packet): void {
    if (ends(packet) || (isIcmp(packet) && !isEchoRequest(packet))) return;
    const [openingKey, replyKey] = [keyOf(packet), replyKeyOf(packet)];
    const connection: Connection = { opening: packet, openingKey, replyKey, finished: new Set() };
    this.#live.set(openingKey, connection);
    this.#live.set(replyKey, connection);
  }

  #forget(connection: Connection): void {
    this.#live.delete(connection.openingKey);
    this.#live.delete(connection.replyKey);
  }
}

function carried(ctState: "established" | "related", connection: Connection, sentence: Sentence): ReferenceResult {
  return {
    verdict: "accept",
    directions: { egress: "accept", ingress: "accept" },
    because: [`belongs to the live connection ${connection.openingKey}: ${quote(sentence)}`],
    causes: [quote(sentence)],
    ctState,
  };
}

function says(packet: Packet, flag: number): boolean {
  return packet.protocol === TCP && (packet.tcpFlags & flag) !== 0;
}

function startsAnew(connection: Connection, packet: Packet): boolean {
  return connection.finished.size === 2 && says(packet, SYN) && !says(packet, ACK);
}

function ends(packet: Packet): boolean {
  const sctpEnd = packet.sctpChunk === ABORT || packet.sctpChunk === SHUTDOWN_COMPLETE;
  return says(packet, RST) || (packet.protocol === SCTP && sctpEnd);
}

function isIcmp(tuple: FiveTuple): boolean {
  return tuple.protocol === ICMP || tuple.protocol === ICMPV6;
}

/** Echo request and reply: ICMP types 8 and 0 (RFC 792), ICMPv6 types 128 and 129 (RFC 4443). */
function isEchoRequest(packet: Packet): boolean {
  return packet.icmpType === (packet.protocol === ICMP ? 8 : 128);
}

/**
 * What packets of one direction of one connection have in common. A ping is a connection of its request and the reply
 * with the same identifier; a request the other way is another one.
 */
function keyOf(packet: Packet): string {
  return isIcmp(packet) ? `${pairKey(packet)} type ${packet.icmpType} id ${packet.icmpId}` : tupleKey(packet);
}

/** The key of what answers the packet; for ICMP, the packet is an echo request. */
function replyKeyOf(packet: Packet): string {
  const reply = turned(packet);
  const replyType = packet.protocol === ICMP ? 0 : 129;
  return isIcmp(packet) ? `${pairKey(reply)} type ${replyType} id ${packet.icmpId}` : tupleKey(reply);
}

function turned(tuple: FiveTuple): FiveTuple {
  return {
    protocol: tuple.protocol,
    source: tuple.destination,
    destination: tuple.source,
    sourcePort: tuple.destinationPort,
    destinationPort: tuple.sourcePort,
  };
}

function pairKey(tuple: FiveTuple): string {
  return `${protocolText(tuple.protocol)} ${addressText(tuple.source)} > ${addressText(tuple.destination)}`;
}

function tupleKey(tuple: FiveTuple): string {
  const source = `${addressText(tuple.source)} port ${tuple.sourcePort}`;
  const destination = `${addressText(tuple.destination)} port ${tuple.destinationPort}`;
  return `${protocolText(tuple.protocol)} ${source} > ${destination}`;
}

function protocolText(protocol: number): string {
  return PROTOCOL_TEXT.get(protocol) ?? `protocol ${protocol}`;
}
