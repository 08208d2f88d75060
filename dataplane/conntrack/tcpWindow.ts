/**
 * Whether a TCP segment lies in the window that its two ends agreed on, as far as somebody on the way can tell.
 *
 * A forged or stray segment carries the right addresses and ports but seldom the right numbers. The naive test
 * "acknowledged <= sequence < acknowledged + window" fails on the way: packets seen here may be lost later, and windows
 * shown to us may be older than what the sender knows. So four generous bounds are kept (van Rooij, "Real Stateful TCP
 * Packet Filtering in IP Filter", 2000; tcp_in_window in nf_conntrack_proto_tcp.c), for a segment `[sequence, end)`:
 *
 *     sequence        <=  sender.maxEnd                                  no data beyond what the receiver has room for
 *     end             >=  sender.end - receiver.maxWindow                no data that is long acknowledged
 *     acknowledgment  <=  receiver.end                                   no acknowledgment of what was never sent
 *     acknowledgment  >=  receiver.end - max(sender.maxWindow, 66000)    no acknowledgment that is long outdated
 *
 * Packets carry no TCP options but the window scale: SACK blocks, which would let an acknowledgment count as higher, and
 * the sequence offsets of address translation are left out.
 */
import { type PacketBatch, TCP_FLAG } from "../packet.ts";
import { BYTE, type Flow, REPLY } from "./flow.ts";
import {
  addFlags,
  before,
  flagsAt,
  LAST,
  SEGMENT,
  SIDE,
  SIDE_BITS,
  SIDES_WORD,
  scaleAt,
  segmentEnd,
  segmentOf,
  TCP_BYTE,
  TCP_STATE,
  WINDOW,
  windowAt,
} from "./tcpEntry.ts";

/** `ignore`: belongs to the connection but tells nothing about it. */
export const IN_WINDOW = { accept: 0, ignore: 1, invalid: 2 } as const;
export type InWindow = (typeof IN_WINDOW)[keyof typeof IN_WINDOW];

/** How outdated an acknowledgment may be at least (MAXACKWINCONST). */
export const LEAST_ACK_WINDOW = 66_000;

/** Largest shift (RFC 7323 section 2.3). */
export const MAX_SCALE = 14;

/** The window that the first segment of a connection opens, in its direction. */
export function openWindow(flow: Flow, batch: PacketBatch, row: number): void {
  const { words } = flow;
  const side = windowAt(flow, flow.direction);
  const end = segmentEnd(batch, row);
  words[side + WINDOW.end] = end;
  words[side + WINDOW.maxWindow] = announced(batch, row);
  if (segmentOf(batch.tcpFlags[row] ?? 0) === SEGMENT.syn) {
    words[side + WINDOW.maxEnd] = end;
    readScale(flow, batch, row);
    return;
  }
  words[side + WINDOW.maxEnd] = (end + announced(batch, row)) | 0;
  // The scale was agreed on in a SYN that nobody here saw: neither side is held to its window.
  addFlags(flow, flow.direction, SIDE.beLiberal);
  addFlags(flow, 1 - flow.direction, SIDE.beLiberal);
}

/**
 * Judges a segment of a known connection and, when it fits, moves the windows.
 *
 * Every packet of every connection comes through here, so it is one straight line for a segment that fits: the packed
 * flags of both sides are read and written once, and the four bounds are one comparison (a bound is kept if a difference
 * modulo 2^32 is not negative, so all are kept if the sign bit of none is set).
 */
export function checkWindow(flow: Flow, batch: PacketBatch, row: number): InWindow {
  const { words, at, direction } = flow;
  const flags = batch.tcpFlags[row] ?? 0;
  const isSyn = (flags & TCP_FLAG.S) !== 0;
  const isAck = (flags & TCP_FLAG.A) !== 0;
  const sender = windowAt(flow, direction);
  const receiver = windowAt(flow, 1 - direction);
  if ((isSyn || words[sender + WINDOW.maxWindow] === 0) && hearSender(flow, batch, row)) return IN_WINDOW.accept;

  const receiverEnd = words[receiver + WINDOW.end] ?? 0;
  const senderEnd = words[sender + WINDOW.end] ?? 0;
  let sequence = (batch.sequence[row] ?? 0) | 0;
  let acknowledgment = (batch.acknowledgment[row] ?? 0) | 0;
  let end = segmentEnd(batch, row);
  if (!isAck) acknowledgment = receiverEnd; // nothing acknowledged: as if all was
  if ((flags & TCP_FLAG.R) !== 0) {
    if (acknowledgment === 0) acknowledgment = receiverEnd; // broken stacks set ACK with nothing in it
    // A RST that answers a SYN knows no number.
    if (sequence === 0 && flow.bytes[at * 4 + BYTE.state] === TCP_STATE.synSent) sequence = end = senderEnd;
  }

  const senderMaxEnd = words[sender + WINDOW.maxEnd] ?? 0;
  const senderMaxWindow = (words[sender + WINDOW.maxWindow] ?? 0) >>> 0;
  const receiverMaxWindow = (words[receiver + WINDOW.maxWindow] ?? 0) >>> 0;
  const aboveRoom = senderMaxEnd - sequence;
  const aboveSent = receiverEnd - acknowledgment;
  const belowData = receiverMaxWindow === 0 ? 0 : end - ((senderEnd - receiverMaxWindow) | 0);
  const belowAck = acknowledgment - ((receiverEnd - Math.max(senderMaxWindow, LEAST_ACK_WINDOW)) | 0);
  if ((aboveRoom | aboveSent | belowData | belowAck) < 0) {
    return judgeMisfit(flow, { end, aboveRoom, aboveSent, belowData, belowAck });
  }

  const shift = direction * SIDE_BITS;
  const otherShift = SIDE_BITS - shift;
  let sides = words[at + SIDES_WORD] ?? 0;
  const stated = batch.window[row] ?? 0;
  const window = isSyn ? stated : stated << ((sides >>> (shift + 8)) & 0xff);
  if (senderMaxWindow < window) words[sender + WINDOW.maxWindow] = window;
  if (before(senderEnd, end)) {
    words[sender + WINDOW.end] = end;
    sides |= SIDE.dataUnacknowledged << shift;
  }
  if (isAck) {
    const isFirst = (sides & (SIDE.maxAckSet << shift)) === 0;
    if (isFirst || before(words[sender + WINDOW.maxAck] ?? 0, acknowledgment)) {
      words[sender + WINDOW.maxAck] = acknowledgment;
      sides |= SIDE.maxAckSet << shift;
    }
  }
  if (receiverMaxWindow !== 0 && before(senderMaxEnd, end)) {
    words[receiver + WINDOW.maxWindow] = (receiverMaxWindow + (end - senderMaxEnd)) | 0;
  }
  const room = (acknowledgment + window) | 0;
  if (!before(room, words[receiver + WINDOW.maxEnd] ?? 0)) {
    words[receiver + WINDOW.maxEnd] = window === 0 ? (room + 1) | 0 : room;
  }
  if (acknowledgment === receiverEnd) sides &= ~(SIDE.dataUnacknowledged << otherShift);
  words[at + SIDES_WORD] = sides;
  if ((flags & (TCP_FLAG.S | TCP_FLAG.F | TCP_FLAG.R)) !== 0) return IN_WINDOW.accept;

  // The same ACK again and again means that the other side does not hear.
  const difference =
    ((words[at + LAST.sequence] ?? 0) ^ sequence) |
    ((words[at + LAST.acknowledgment] ?? 0) ^ acknowledgment) |
    ((words[at + LAST.end] ?? 0) ^ end) |
    ((words[at + LAST.window] ?? 0) ^ stated) |
    ((flow.bytes[at * 4 + TCP_BYTE.lastDirection] ?? 0) ^ direction);
  const count = at * 4 + TCP_BYTE.retransmissions;
  if (difference === 0) {
    flow.bytes[count] = (flow.bytes[count] ?? 0) + 1; // a byte that wraps
    return IN_WINDOW.accept;
  }
  flow.bytes[count] = 0;
  flow.bytes[at * 4 + TCP_BYTE.lastDirection] = direction;
  words[at + LAST.sequence] = sequence;
  words[at + LAST.acknowledgment] = acknowledgment;
  words[at + LAST.end] = end;
  words[at + LAST.window] = stated;
  return IN_WINDOW.accept;
}

/** Distances to the four bounds as wrapping differences: negative is outside. */
interface Misfit {
  readonly end: number;
  readonly aboveRoom: number;
  readonly aboveSent: number;
  readonly belowData: number;
  readonly belowAck: number;
}

/** A segment out of window: of no connection, or a late one that changes nothing. */
function judgeMisfit(flow: Flow, { end, aboveRoom, aboveSent, belowData, belowAck }: Misfit): InWindow {
  const { words, direction } = flow;
  const sender = windowAt(flow, direction);
  if ((aboveRoom | 0) < 0) {
    const receiverMaxWindow = (words[windowAt(flow, 1 - direction) + WINDOW.maxWindow] ?? 0) >>> 0;
    const overshot = (end - (words[sender + WINDOW.maxEnd] ?? 0) + 1) >>> 0;
    const isOnlyTooMuch = (aboveSent | belowData | belowAck) >= 0 && receiverMaxWindow !== 0;
    if (isOnlyTooMuch && overshot <= receiverMaxWindow) {
      // Some stacks send more than they are allowed to. Should the other side acknowledge it, it is not unsent.
      words[sender + WINDOW.end] = end;
      addFlags(flow, direction, SIDE.dataUnacknowledged);
      return unless(flow, IN_WINDOW.ignore, "data a little beyond the window of the receiver");
    }
    return unless(flow, IN_WINDOW.invalid, "sequence number beyond the window of the receiver");
  }
  if ((aboveSent | 0) < 0) return unless(flow, IN_WINDOW.invalid, "acknowledges data that was not seen");
  if ((belowData | 0) < 0) return unless(flow, IN_WINDOW.ignore, "data that was acknowledged before");
  return unless(flow, IN_WINDOW.ignore, "acknowledgment that is long outdated");
}

/** Out of window: what `verdict` says, unless this table or this direction is told to be liberal. */
function unless(flow: Flow, verdict: InWindow, why: string): InWindow {
  const isLiberal = ((flow.bytes[flagsAt(flow, flow.direction)] ?? 0) & SIDE.beLiberal) !== 0;
  if (isLiberal || flow.settings.tcpBeLiberal) return IN_WINDOW.accept;
  flow.why = why;
  return verdict;
}

/**
 * A side that was not heard yet, or a SYN of one that was: its window may have to start over. True if the segment is
 * thereby believed, which a SYN without ACK is.
 */
function hearSender(flow: Flow, batch: PacketBatch, row: number): boolean {
  const { words, bytes, at, direction } = flow;
  const flags = batch.tcpFlags[row] ?? 0;
  const isSyn = (flags & TCP_FLAG.S) !== 0;
  const isLoneSyn = isSyn && (flags & TCP_FLAG.A) === 0;
  const sender = windowAt(flow, direction);
  if (words[sender + WINDOW.maxWindow] === 0) {
    if (isSyn) restartSender(flow, batch, row);
    else joinSender(flow, batch, row);
    return isLoneSyn; // simultaneous open
  }
  const state = bytes[at * 4 + BYTE.state];
  const isOpening = state === TCP_STATE.synSent || state === TCP_STATE.synRecv;
  if (!isOpening || !before(words[sender + WINDOW.end] ?? 0, segmentEnd(batch, row))) return false;
  // A reinitialised TCP need not wait, if its numbers are larger than those lately used (RFC 9293 section 3.4.3).
  restartSender(flow, batch, row);
  return direction === REPLY && isLoneSyn;
}

/** The window field, at least 1: a window of 0 stands for a side that was not heard yet. */
function announced(batch: PacketBatch, row: number): number {
  return batch.window[row] || 1;
}

/** The SYN of a side that was not heard yet, or that starts anew. */
function restartSender(flow: Flow, batch: PacketBatch, row: number): void {
  const { words, bytes, direction } = flow;
  const side = windowAt(flow, direction);
  const end = segmentEnd(batch, row);
  words[side + WINDOW.end] = end;
  words[side + WINDOW.maxEnd] = end;
  words[side + WINDOW.maxWindow] = announced(batch, row);
  readScale(flow, batch, row);
  const ours = bytes[flagsAt(flow, direction)] ?? 0;
  const theirs = bytes[flagsAt(flow, 1 - direction)] ?? 0;
  if (direction === REPLY && (ours & theirs & SIDE.windowScale) === 0) {
    // Only if both sides ask for scaling there is any (RFC 7323 section 2.2).
    bytes[scaleAt(flow, direction)] = 0;
    bytes[scaleAt(flow, 1 - direction)] = 0;
  }
}

/** The first segment heard from a side whose SYN was not: its numbers are taken as they are. */
function joinSender(flow: Flow, batch: PacketBatch, row: number): void {
  const { words, bytes, direction } = flow;
  const side = windowAt(flow, direction);
  const other = windowAt(flow, 1 - direction);
  const end = segmentEnd(batch, row);
  const acknowledgment = (batch.acknowledgment[row] ?? 0) | 0;
  const window = (batch.window[row] ?? 0) << (bytes[scaleAt(flow, direction)] ?? 0) || 1;
  words[side + WINDOW.end] = end;
  words[side + WINDOW.maxWindow] = window;
  words[side + WINDOW.maxEnd] = (end + window) | 0;
  if (words[other + WINDOW.maxWindow] === 0) {
    words[other + WINDOW.end] = acknowledgment;
    words[other + WINDOW.maxEnd] = acknowledgment;
  } else if (acknowledgment === (((words[other + WINDOW.end] ?? 0) + 1) | 0)) {
    words[other + WINDOW.end] = acknowledgment; // likely the answer to a keepalive
  }
}

/** Takes over the window scale of a SYN. Options that say nothing about it leave everything as it was. */
function readScale(flow: Flow, batch: PacketBatch, row: number): void {
  const stated = batch.windowScale[row] ?? 0;
  if (stated === 0) return;
  const at = flagsAt(flow, flow.direction);
  flow.bytes[scaleAt(flow, flow.direction)] = Math.min(stated - 1, MAX_SCALE);
  flow.bytes[at] = ((flow.bytes[at] ?? 0) & SIDE.beLiberal) | SIDE.windowScale;
}
