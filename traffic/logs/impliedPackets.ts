/**
 * Flow records to the packets they imply: SYN, SYN-ACK, ACK, a data packet each way, FIN. What the record counts stays with its
 * packets (`bytes`), so that sums over rows are the log's.
 */
import { LRUCache } from "lru-cache";
import { addressesEqual, type IpAddress } from "../../dataplane/address.ts";
import { hasPorts, type Packet, PROTOCOL } from "../../dataplane/packet.ts";
import { type Conversation, converse, type Ends, otherSide, SEGMENT_BYTES, type Sender } from "../conversation.ts";
import { packetLength } from "../encodePacket.ts";
import { RECORDED } from "../source.ts";
import { isIcmpError } from "../wire.ts";
import type { FlowRecord } from "./flowRecord.ts";

/** A packet that was not seen itself. */
export interface ImpliedPacket {
  readonly packet: Packet;
  /** Where it stands, and what the log says became of it. */
  readonly record: Pick<FlowRecord, "line" | "interfaceId" | "recorded">;
  /** The part of the record's bytes that this packet stands for. */
  readonly bytes: number;
}

/** A record whose names have addresses. */
export interface ResolvedRecord extends FlowRecord {
  readonly source: IpAddress;
  readonly destination: IpAddress;
}

/** Connections remembered, so that a later record of one goes on with it; the longest unused is forgotten first. */
const MAX_CONNECTIONS = 20_000;

/** A record this long after the last one of its tuple is another connection. */
const IDLE_SECONDS = 3600;

/** First port of Linux' ephemeral range (net.ipv4.ip_local_port_range): below it are services. */
const FIRST_EPHEMERAL_PORT = 32_768;

/** Logs do not say; within a data centre. */
const ROUND_TRIP_SECONDS = 0.0002;

/** The little of a record that its end needs, since thousands wait. */
interface Ending extends Pick<FlowRecord, "line" | "interfaceId" | "recorded" | "end" | "closing"> {
  /** What the record's source is in the connection. */
  readonly sender: Sender;
}

interface Connection {
  readonly key: string;
  readonly ends: Ends;
  readonly conversation: Conversation;
  /** End of the last record. */
  lastTime: number;
  /** Time of the last packet given, before which nothing of the connection may come any more. */
  lastPacketTime: number;
  /** How it ends, held back while records of its other direction may still come. */
  ending: Ending | undefined;
  /** Its end was sent. */
  isOver: boolean;
}

/** One per log: it remembers the connections that are open. */
export class ImpliedPackets {
  // A Map in order of use would do, but finding its first after thousands of first ones went means stepping over them all.
  // Its `max` would make room for all at once, 4 ms that a short log is read in many times over; of `maxSize` it grows.
  readonly #connections = new LRUCache<string, Connection>({ maxSize: MAX_CONNECTIONS, sizeCalculation: () => 1 });
  #seed = 0;
  /** Records whose direction was told by their ports. */
  guessedRoles = 0;
  /** Connections that a record shows under way, of which no beginning was recorded. */
  underway = 0;

  /** The packets of the next record, and of what it shows to have ended. */
  of(record: ResolvedRecord): readonly ImpliedPacket[] {
    const out: ImpliedPacket[] = [];
    const known = this.#goingOn(record, out);
    const sender = known === undefined ? this.#roleOf(record) : sideOf(record, known.ends);
    const connection = known ?? this.#connect(record, sender);
    const packets: Packet[] = [];
    if (record.recorded === RECORDED.drop) {
      const { conversation } = connection;
      const isFirst = known === undefined && sender === "source";
      const time = Math.max(record.start, connection.lastPacketTime);
      packets.push(isFirst ? conversation.first(time) : conversation.keep(sender, time));
    } else {
      if (known === undefined) this.#open(record, connection, packets);
      if (known !== undefined || record.opening === "handshake" || record.opening === "underway") {
        exchange({ record, connection, sender, isNew: known === undefined }, packets);
      }
      // A record of both directions is the whole connection; of one, the other may follow.
      if (record.closing !== "open") connection.ending = endingOf(record, sender);
      if (record.received !== undefined && connection.ending !== undefined) packets.push(...endOf(connection));
      this.#remember(record, connection, out);
    }
    const isTyped = record.icmpType !== undefined;
    shareBytes(record, isTyped ? packets.map((packet) => withIcmpType(packet, record)) : packets, out);
    return out;
  }

  /** The ends of connections that were held back; when the log has ended. */
  finish(): readonly ImpliedPacket[] {
    const out: ImpliedPacket[] = [];
    for (let oldest = this.#connections.pop(); oldest !== undefined; oldest = this.#connections.pop()) {
      out.push(...heldEnd(oldest));
    }
    return out;
  }

  /** The connection that the record goes on with. One that ended and is opened again is another. */
  #goingOn(record: ResolvedRecord, out: ImpliedPacket[]): Connection | undefined {
    const known = this.#connections.get(keyOf(record.protocol, record));
    if (known === undefined) return undefined;
    const isIdle = record.start - known.lastTime > IDLE_SECONDS;
    const isReopened =
      known.ending !== undefined &&
      record.start > known.ending.end &&
      record.opening === "handshake" &&
      record.role === "opener";
    if (!isIdle && !isReopened) return known;
    out.push(...heldEnd(known));
    this.#connections.delete(known.key);
    return undefined;
  }

  #roleOf({ role, protocol, sourcePort, destinationPort }: ResolvedRecord): Sender {
    if (role !== "unknown") return role === "opener" ? "source" : "destination";
    if (!hasPorts(protocol)) return "source";
    this.guessedRoles++;
    return sourcePort < FIRST_EPHEMERAL_PORT && destinationPort >= FIRST_EPHEMERAL_PORT ? "destination" : "source";
  }

  #connect(record: ResolvedRecord, sender: Sender): Connection {
    const ends = endsOf(record, sender);
    const conversation = converse(record.protocol, ends, ++this.#seed);
    return {
      key: keyOf(record.protocol, ends),
      ends,
      conversation,
      lastTime: record.end,
      lastPacketTime: 0,
      ending: undefined,
      isOver: false,
    };
  }

  #open({ start, opening }: ResolvedRecord, { conversation }: Connection, packets: Packet[]): void {
    if (opening === "handshake" || opening === "underway") {
      if (opening === "underway" && !conversation.opensWithData) this.underway++;
      packets.push(...conversation.handshake(start, ROUND_TRIP_SECONDS));
      return;
    }
    packets.push(conversation.first(start));
    if (opening === "refused") packets.push(...conversation.refuse(start + ROUND_TRIP_SECONDS));
  }

  #remember({ opening, end }: ResolvedRecord, connection: Connection, out: ImpliedPacket[]): void {
    this.#connections.delete(connection.key);
    if (connection.isOver || opening === "refused") return;
    connection.lastTime = Math.max(connection.lastTime, end);
    const oldest = this.#connections.size < MAX_CONNECTIONS ? undefined : this.#connections.pop();
    if (oldest !== undefined) out.push(...heldEnd(oldest));
    this.#connections.set(connection.key, connection);
  }
}

function endingOf({ line, interfaceId, recorded, end, closing }: ResolvedRecord, sender: Sender): Ending {
  return { line, ...(interfaceId !== undefined && { interfaceId }), recorded, end, closing, sender };
}

/** The packets that end a connection, after everything else of it. */
function endOf(connection: Connection): readonly Packet[] {
  const { ending, conversation, lastTime, lastPacketTime } = connection;
  if (ending === undefined || connection.isOver) return [];
  connection.isOver = true;
  const { sender, closing } = ending;
  const time = Math.max(ending.end, lastTime, lastPacketTime);
  switch (closing) {
    case "closed":
      return conversation.close(sender, time, ROUND_TRIP_SECONDS);
    case "reset-by-source":
      return conversation.reset(sender, time);
    case "reset-by-destination":
      return conversation.reset(otherSide(sender), time);
    default:
      return [];
  }
}

function heldEnd(connection: Connection): readonly ImpliedPacket[] {
  const { ending } = connection;
  if (ending === undefined) return [];
  // The record's bytes went with its packets already.
  return endOf(connection).map((packet) => ({ packet, record: ending, bytes: 0 }));
}

interface Exchange {
  readonly record: ResolvedRecord;
  readonly connection: Connection;
  /** What the record's source is in the connection. */
  readonly sender: Sender;
  readonly isNew: boolean;
}

/** Data in the directions of which the record counts some. */
function exchange({ record, connection, sender, isNew }: Exchange, packets: Packet[]): void {
  const { conversation } = connection;
  const { start, sent, received } = record;
  const time = Math.max(start, connection.lastPacketTime, packets.at(-1)?.time ?? start);
  const directions = [
    { side: sender, traffic: sent },
    { side: otherSide(sender), traffic: received },
  ];
  for (const { side, traffic } of directions) {
    // The datagram that opened is the opener's data.
    if (isNew && conversation.opensWithData && side === "source") continue;
    const isSource = side === sender;
    const bytes = traffic?.bytes ?? 0;
    if (bytes > 0) packets.push(conversation.data(side, time, Math.min(SEGMENT_BYTES, bytes)));
    else if ((isSource && !isNew) || (isSource && conversation.opensWithData))
      packets.push(conversation.keep(side, time));
    else if (conversation.opensWithData && (traffic?.packets ?? 0) > 0) packets.push(conversation.keep(side, time));
  }
  connection.lastPacketTime = packets.at(-1)?.time ?? time;
}

/** ICMP messages other than echoes keep the type that the log gives. */
function withIcmpType(packet: Packet, { protocol, icmpType, icmpCode = 0 }: ResolvedRecord): Packet {
  if (icmpType === undefined || (protocol !== PROTOCOL.icmp && protocol !== PROTOCOL.icmpv6)) return packet;
  const isEcho = protocol === PROTOCOL.icmp ? icmpType === 0 || icmpType === 8 : icmpType === 128 || icmpType === 129;
  if (isEcho) return packet;
  return { ...packet, icmpType, icmpCode, icmpId: isIcmpError(protocol, icmpType) ? 0 : packet.icmpId };
}

/** Which end of the connection the record's source is. */
function sideOf(record: ResolvedRecord, ends: Ends): Sender {
  const isOpener = record.sourcePort === ends.sourcePort && addressesEqual(record.source, ends.source);
  return isOpener ? "source" : "destination";
}

/** The ends as the opener sees them, when the record's source is `sender`. */
function endsOf({ source, destination, sourcePort, destinationPort }: ResolvedRecord, sender: Sender): Ends {
  if (sender === "source") return { source, destination, sourcePort, destinationPort };
  return { source: destination, destination: source, sourcePort: destinationPort, destinationPort: sourcePort };
}

/** The same for both directions. */
function keyOf(protocol: number, { source, destination, sourcePort, destinationPort }: Ends): string {
  const one = endKey(source, sourcePort);
  const other = endKey(destination, destinationPort);
  return one < other ? `${protocol} ${one} ${other}` : `${protocol} ${other} ${one}`;
}

/** Of IPv4 a number, which is in a text sooner than its parts. */
function endKey({ words }: IpAddress, port: number): number | string {
  return words.length === 1 ? ((words[0] ?? 0) >>> 0) * 65_536 + port : `${words.join(" ")} ${port}`;
}

/** Gives each packet its length of the record's count; the last one each way takes what is left. */
function shareBytes(record: ResolvedRecord, packets: readonly Packet[], out: ImpliedPacket[]): void {
  let sent = record.sent?.bytes ?? 0;
  let received = record.received?.bytes ?? 0;
  let lastSent = -1;
  let lastReceived = -1;
  for (let index = 0; index < packets.length; index++) {
    if (isSent(record, packets[index])) lastSent = index;
    else lastReceived = index;
  }
  for (let index = 0; index < packets.length; index++) {
    const packet = packets[index];
    if (packet === undefined) continue;
    const isOfSource = isSent(record, packet);
    const left = isOfSource ? sent : received;
    const isLast = index === lastSent || index === lastReceived;
    const bytes = isLast ? left : Math.min(left, packetLength(packet));
    if (isOfSource) sent -= bytes;
    else received -= bytes;
    out.push({ packet, record, bytes });
  }
}

function isSent(record: ResolvedRecord, packet: Packet | undefined): boolean {
  return packet?.sourcePort === record.sourcePort && addressesEqual(packet.source, record.source);
}
