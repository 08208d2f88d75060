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
  dropFlags,
  flagsAt,
  LAST,
  SEGMENT,
  SIDE,
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
const LEAST_ACK_WINDOW = 66_000;

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

/** Judges a segment of a known connection and, when it fits, moves the windows. */
export function checkWindow(flow: Flow, batch: PacketBatch, row: number): InWindow {
  const { words, bytes, direction } = flow;
  const flags = batch.tcpFlags[row] ?? 0;
  const isSyn = (flags & TCP_FLAG.S) !== 0;
  const isAck = (flags & TCP_FLAG.A) !== 0;
  const sender = windowAt(flow, direction);
  const receiver = windowAt(flow, 1 - direction);
  const state = bytes[flow.at * 4 + BYTE.state] ?? 0;
  let sequence = (batch.sequence[row] ?? 0) | 0;
  let acknowledgment = (batch.acknowledgment[row] ?? 0) | 0;
  let end = segmentEnd(batch, row);

  if (words[sender + WINDOW.maxWindow] === 0) {
    if (isSyn) {
      restartSender(flow, batch, row);
      if (!isAck) return IN_WINDOW.accept; // simultaneous open
    } else {
      joinSender(flow, batch, row);
    }
  } else if (
    isSyn &&
    before(words[sender + WINDOW.end] ?? 0, end) &&
    (state === TCP_STATE.synSent || state === TCP_STATE.synRecv)
  ) {
    // A reinitialised TCP need not wait, if its numbers are larger than those lately used (RFC 9293 section 3.4.3).
    restartSender(flow, batch, row);
    if (direction === REPLY && !isAck) return IN_WINDOW.accept;
  }

  const receiverEnd = words[receiver + WINDOW.end] ?? 0;
  const isZeroAckRst = isAck && (flags & TCP_FLAG.R) !== 0 && acknowledgment === 0;
  // Nothing acknowledged (or by a broken stack, which sets ACK with nothing in it): as if all was.
  if (!isAck || isZeroAckRst) acknowledgment = receiverEnd;
  if ((flags & TCP_FLAG.R) !== 0 && sequence === 0 && state === TCP_STATE.synSent) {
    sequence = end = words[sender + WINDOW.end] ?? 0; // a RST that answers a SYN knows no number
  }

  const senderEnd = words[sender + WINDOW.end] ?? 0;
  const senderMaxEnd = words[sender + WINDOW.maxEnd] ?? 0;
  const receiverMaxWindow = (words[receiver + WINDOW.maxWindow] ?? 0) >>> 0;
  const senderMaxWindow = (words[sender + WINDOW.maxWindow] ?? 0) >>> 0;
  const oldestAck = (receiverEnd - Math.max(senderMaxWindow, LEAST_ACK_WINDOW)) | 0;
  const aboveOldest = !before(acknowledgment, oldestAck);
  const ackedUnsent = before(receiverEnd, acknowledgment);
  const isRecent = !before(end, (senderEnd - receiverMaxWindow) | 0);

  if (before(senderMaxEnd, sequence)) {
    const overshot = (end - senderMaxEnd + 1) >>> 0;
    const overshootOnly = receiverMaxWindow !== 0 && isRecent && aboveOldest && !ackedUnsent;
    if (overshootOnly && overshot <= receiverMaxWindow) {
      // Some stacks send more than they are allowed to. Should the other side acknowledge it, it is not unsent.
      words[sender + WINDOW.end] = end;
      addFlags(flow, direction, SIDE.dataUnacknowledged);
      return unless(flow, IN_WINDOW.ignore, "data a little beyond the window of the receiver");
    }
    return unless(flow, IN_WINDOW.invalid, "sequence number beyond the window of the receiver");
  }
  if (ackedUnsent) return unless(flow, IN_WINDOW.invalid, "acknowledges data that was not seen");
  if (receiverMaxWindow !== 0 && !isRecent) return unless(flow, IN_WINDOW.ignore, "data that was acknowledged before");
  if (!aboveOldest) return unless(flow, IN_WINDOW.ignore, "acknowledgment that is long outdated");

  const announcedWindow = batch.window[row] ?? 0;
  const window = isSyn ? announcedWindow : announcedWindow << (bytes[scaleAt(flow, direction)] ?? 0);
  if (senderMaxWindow < window) words[sender + WINDOW.maxWindow] = window;
  if (before(senderEnd, end)) {
    words[sender + WINDOW.end] = end;
    addFlags(flow, direction, SIDE.dataUnacknowledged);
  }
  if (isAck) noteAcknowledgment(flow, acknowledgment);
  if (receiverMaxWindow !== 0 && before(senderMaxEnd, end)) {
    words[receiver + WINDOW.maxWindow] = (receiverMaxWindow + (end - senderMaxEnd)) | 0;
  }
  const room = (acknowledgment + window) | 0;
  if (!before(room, words[receiver + WINDOW.maxEnd] ?? 0)) {
    words[receiver + WINDOW.maxEnd] = window === 0 ? (room + 1) | 0 : room;
  }
  if (acknowledgment === words[receiver + WINDOW.end]) dropFlags(flow, 1 - direction, SIDE.dataUnacknowledged);
  if (segmentOf(flags) === SEGMENT.ack)
    countRepetition(flow, { sequence, acknowledgment, end, window: announcedWindow });
  return IN_WINDOW.accept;
}

/** Out of window: what `verdict` says, unless this table or this direction is told to be liberal. */
function unless(flow: Flow, verdict: InWindow, why: string): InWindow {
  const isLiberal = ((flow.bytes[flagsAt(flow, flow.direction)] ?? 0) & SIDE.beLiberal) !== 0;
  if (isLiberal || flow.settings.tcpBeLiberal) return IN_WINDOW.accept;
  flow.why = why;
  return verdict;
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

function noteAcknowledgment(flow: Flow, acknowledgment: number): void {
  const { words, bytes, direction } = flow;
  const at = windowAt(flow, direction) + WINDOW.maxAck;
  const flags = bytes[flagsAt(flow, direction)] ?? 0;
  if ((flags & SIDE.maxAckSet) !== 0 && !before(words[at] ?? 0, acknowledgment)) return;
  words[at] = acknowledgment;
  bytes[flagsAt(flow, direction)] = flags | SIDE.maxAckSet;
}

interface Acknowledgment {
  readonly sequence: number;
  readonly acknowledgment: number;
  readonly end: number;
  readonly window: number;
}

/** The same ACK again and again means that the other side does not hear. The count is a byte that wraps. */
function countRepetition(flow: Flow, ack: Acknowledgment): void {
  const { words, bytes, at, direction } = flow;
  const count = at * 4 + TCP_BYTE.retransmissions;
  const isRepeated =
    bytes[at * 4 + TCP_BYTE.lastDirection] === direction &&
    words[at + LAST.sequence] === ack.sequence &&
    words[at + LAST.acknowledgment] === ack.acknowledgment &&
    words[at + LAST.end] === ack.end &&
    words[at + LAST.window] === ack.window;
  if (isRepeated) {
    bytes[count] = (bytes[count] ?? 0) + 1;
    return;
  }
  bytes[at * 4 + TCP_BYTE.lastDirection] = direction;
  words[at + LAST.sequence] = ack.sequence;
  words[at + LAST.acknowledgment] = ack.acknowledgment;
  words[at + LAST.end] = ack.end;
  words[at + LAST.window] = ack.window;
  bytes[count] = 0;
}
