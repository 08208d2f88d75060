/**
 * The segments that most packets are: an ACK, with or without data, in the window of a connection that is established in
 * both directions.
 *
 * `trackTcp` decides them as well, step by step, for any state and segment; it stays the meaning. Its steps are a dozen
 * functions, more than the compiler inlines into one, and half of the time went into calling them. Here is what remains of
 * them in the common case as one straight line, an exact copy in effect: nothing is written before it is sure that the
 * case is the common one. `test/dataplane/conntrackEstablished.test.ts` holds the two equal, entry for entry.
 *
 * Rows are copied into columns of this module first. Of an array that is a constant to the compiler it knows address and
 * length; of one that comes with an argument it fetches both for each access, having too few registers to keep them, which
 * took more time than all else together.
 */
import type { PacketBatch } from "../packet.ts";
import { FLOW_WORDS, type Flow, STATUS, WORD } from "./flow.ts";
import { TIMEOUT_SLOT } from "./options.ts";
import { HEAD_WORD, LAST, ofBoth, SEGMENT, SIDE, SIDE_BITS, SIDES_WORD, segmentOf, TCP_STATE } from "./tcpEntry.ts";
import { LEAST_ACK_WINDOW } from "./tcpWindow.ts";

/** Rows that go together at most: what is noted of them stays in the cache beside what they read. */
export const MOST_ROWS = 512;

/** Status and state of such a connection in the lower half of `HEAD_WORD`. */
export const ESTABLISHED_HEAD = STATUS.seenReply | STATUS.assured | STATUS.confirmed | (TCP_STATE.established << 8);
export const HEAD_MASK = 0xffff;

/** Words of a window and where the original direction's starts (tcpEntry.ts). */
export const WINDOW_WORDS = 4;
export const FIRST_WINDOW = 8;

/** Word whose lowest byte counts equal ACKs. */
export const RETRANSMISSIONS_WORD = 17;

/** Rows under way, one set for all tables: nothing here outlives a call. */
const tcpFlags = new Uint8Array(MOST_ROWS);
const windows = new Uint16Array(MOST_ROWS);
const sequences = new Uint32Array(MOST_ROWS);
const acknowledgments = new Uint32Array(MOST_ROWS);
const payloadBytes = new Uint32Array(MOST_ROWS);
const time = new Float64Array(MOST_ROWS);
const slots = new Int32Array(MOST_ROWS);
const directions = new Uint8Array(MOST_ROWS);

/** The time as it passes from row to row: seconds that never go back, and the milliseconds at which they stop the rows. */
export interface RowClock {
  seconds: number;
  until: number;
}

/** Rows one after the other whose connections were found: which is of which slot, in which direction. */
export interface FoundRows {
  readonly first: number;
  readonly count: number;
  readonly slots: Int32Array;
  readonly directions: Uint8Array;
}

/** A row whose connection was found. Says whether it passed, see `passSegments`. */
export function passSegment(flow: Flow, batch: PacketBatch, row: number, clock: RowClock): boolean {
  tcpFlags[0] = batch.tcpFlags[row] ?? 0;
  windows[0] = batch.window[row] ?? 0;
  sequences[0] = batch.sequence[row] ?? 0;
  acknowledgments[0] = batch.acknowledgment[row] ?? 0;
  payloadBytes[0] = batch.payloadBytes[row] ?? 0;
  time[0] = batch.time[row] ?? 0;
  slots[0] = flow.at / FLOW_WORDS;
  directions[0] = flow.direction;
  return passColumns(flow, 1, clock) === 1;
}

/**
 * Lets segments pass one after the other until one is not one of those, or comes when the clock says stop; how many passed.
 * Of the others nothing was done: `trackTcp` has to look at the next. The last that passed may have to be hung
 * elsewhere in the timer wheel, those before it not.
 */
export function passSegments(flow: Flow, batch: PacketBatch, rows: FoundRows, clock: RowClock): number {
  const { first, count } = rows;
  const end = first + count;
  tcpFlags.set(batch.tcpFlags.subarray(first, end));
  windows.set(batch.window.subarray(first, end));
  sequences.set(batch.sequence.subarray(first, end));
  acknowledgments.set(batch.acknowledgment.subarray(first, end));
  payloadBytes.set(batch.payloadBytes.subarray(first, end));
  time.set(batch.time.subarray(first, end));
  slots.set(rows.slots.subarray(0, count));
  directions.set(rows.directions.subarray(0, count));
  return passColumns(flow, count, clock);
}

function passColumns(flow: Flow, count: number, clock: RowClock): number {
  const { words, timeouts, settings } = flow;
  if (settings.tcpMaxRetransmissions === 0) return 0;
  const established = timeouts[TIMEOUT_SLOT.tcp + TCP_STATE.established] ?? 0;
  const unacknowledged = Math.min(established, timeouts[TIMEOUT_SLOT.tcpUnacknowledged] ?? 0);
  const { until } = clock;
  let { seconds } = clock;
  let { now } = flow;
  let index = 0;
  while (index < count) {
    const at = (slots[index] ?? 0) * FLOW_WORDS;
    const direction = directions[index] ?? 0;
    const head = words[at + HEAD_WORD] ?? 0;
    if ((head & HEAD_MASK) !== ESTABLISHED_HEAD || segmentOf(tcpFlags[index] ?? 0) !== SEGMENT.ack) break;
    const rowSeconds = time[index] ?? 0;
    let rowNow = now;
    if (rowSeconds > seconds) {
      const milliseconds = Math.round(rowSeconds * 1000);
      if (milliseconds >= until) break;
      rowNow = milliseconds | 0;
    }
    const deadline = words[at + WORD.deadline] ?? 0;
    const sender = at + FIRST_WINDOW + direction * WINDOW_WORDS;
    const receiver = at + FIRST_WINDOW + WINDOW_WORDS - direction * WINDOW_WORDS;
    const stated = windows[index] ?? 0;
    const sequence = (sequences[index] ?? 0) | 0;
    const acknowledgment = (acknowledgments[index] ?? 0) | 0;
    const end = (sequence + (payloadBytes[index] ?? 0)) | 0;
    const senderEnd = words[sender] ?? 0;
    const senderMaxEnd = words[sender + 1] ?? 0;
    const senderMaxWindow = words[sender + 2] ?? 0;
    const receiverEnd = words[receiver] ?? 0;
    const receiverMaxWindow = words[receiver + 2] ?? 0;
    // A window of 2^31 and more, or of nobody heard yet, is not the common case; nor is a closed one.
    if (senderMaxWindow <= 0 || receiverMaxWindow <= 0 || stated === 0 || ((deadline - rowNow) | 0) <= 0) break;
    const outdated = (receiverEnd - Math.max(senderMaxWindow, LEAST_ACK_WINDOW)) | 0;
    const aboveRoom = senderMaxEnd - sequence;
    const aboveSent = receiverEnd - acknowledgment;
    const belowData = end - ((senderEnd - receiverMaxWindow) | 0);
    const belowAck = acknowledgment - outdated;
    if ((aboveRoom | aboveSent | belowData | belowAck) < 0) break;
    const difference =
      ((words[at + LAST.sequence] ?? 0) ^ sequence) |
      ((words[at + LAST.acknowledgment] ?? 0) ^ acknowledgment) |
      ((words[at + LAST.end] ?? 0) ^ end) |
      ((words[at + LAST.window] ?? 0) ^ stated) |
      ((head >>> 24) ^ direction);
    if (difference === 0) break;

    const shift = direction * SIDE_BITS;
    let sides = words[at + SIDES_WORD] ?? 0;
    const window = stated << ((sides >>> (shift + 8)) & 0xff);
    if (senderMaxWindow < window) words[sender + 2] = window;
    if (((senderEnd - end) | 0) < 0) {
      words[sender] = end;
      sides |= SIDE.dataUnacknowledged << shift;
    }
    if ((sides & (SIDE.maxAckSet << shift)) === 0 || (((words[sender + 3] ?? 0) - acknowledgment) | 0) < 0) {
      words[sender + 3] = acknowledgment;
      sides |= SIDE.maxAckSet << shift;
    }
    if (((senderMaxEnd - end) | 0) < 0) words[receiver + 2] = (receiverMaxWindow + (end - senderMaxEnd)) | 0;
    const room = (acknowledgment + window) | 0;
    if (((room - (words[receiver + 1] ?? 0)) | 0) >= 0) words[receiver + 1] = room;
    if (acknowledgment === receiverEnd) sides &= ~(SIDE.dataUnacknowledged << (SIDE_BITS - shift));
    words[at + SIDES_WORD] = sides;
    words[at + RETRANSMISSIONS_WORD] = (words[at + RETRANSMISSIONS_WORD] ?? 0) & ~0xff;
    words[at + LAST.sequence] = sequence;
    words[at + LAST.acknowledgment] = acknowledgment;
    words[at + LAST.end] = end;
    words[at + LAST.window] = stated;
    words[at + HEAD_WORD] = ESTABLISHED_HEAD | (SEGMENT.ack << 16) | (direction << 24);
    const lifetime = (sides & ofBoth(SIDE.dataUnacknowledged)) !== 0 ? unacknowledged : established;
    const expiry = (rowNow + lifetime) | 0;
    words[at + WORD.deadline] = expiry;
    now = rowNow;
    if (rowSeconds > seconds) seconds = rowSeconds;
    index++;
    if (((expiry - (words[at + WORD.visit] ?? 0)) | 0) < 0) break;
  }
  flow.now = now;
  clock.seconds = seconds;
  return index;
}
