/**
 * The segments that most packets are: an ACK, with or without data, in the window of a connection that is established in
 * both directions.
 *
 * `trackTcp` decides them as well, step by step, for any state and segment; it stays the meaning. Its steps are a dozen
 * functions, more than the compiler inlines into one, and half of the time went into calling them. Here is what remains of
 * them in the common case as one straight line, an exact copy in effect: nothing is written before it is sure that the
 * case is the common one. `test/dataplane/conntrackEstablished.test.ts` holds the two equal, entry for entry.
 */
import { type PacketBatch, PROTOCOL, TCP_FLAG } from "../packet.ts";
import { type Flow, STATUS, WORD } from "./flow.ts";
import { kindOf } from "./flowStore.ts";
import { TIMEOUT_SLOT } from "./options.ts";
import { HEAD_WORD, LAST, ofBoth, SEGMENT, SIDE, SIDE_BITS, SIDES_WORD, segmentOf, TCP_STATE } from "./tcpEntry.ts";
import { LEAST_ACK_WINDOW } from "./tcpWindow.ts";

/** Rows that go together at most, a multiple of the rows of a block (establishedLayout.ts). */
export const MOST_ROWS = 2_048;

export const TCP4 = kindOf(PROTOCOL.tcp, 4, 0);

/** Flags that decide whether a segment is one of those. */
export const TELLING = TCP_FLAG.S | TCP_FLAG.F | TCP_FLAG.R | TCP_FLAG.A;

/** Status and state of such a connection in the lower half of `HEAD_WORD`. */
export const ESTABLISHED_HEAD = STATUS.seenReply | STATUS.assured | STATUS.confirmed | (TCP_STATE.established << 8);
export const HEAD_MASK = 0xffff;

/** Words of a window and where the original direction's starts (tcpEntry.ts). */
export const WINDOW_WORDS = 4;
export const FIRST_WINDOW = 8;

/** Word whose lowest byte counts equal ACKs. */
export const RETRANSMISSIONS_WORD = 17;

/** Seconds that never go back, and the milliseconds at which rows that pass together have to stop. */
export interface RowClock {
  seconds: number;
  until: number;
}

/** Contexts in which outcomes were remembered (classes/contexts.ts), and what it takes to tell the context of a row. */
export interface RememberedContexts {
  /** By number from 1, four words each; `count` of them. */
  readonly words: Int32Array;
  readonly count: number;
  /** By flags byte of TCP: what of it chains read. */
  readonly tcpFlags: Uint8Array;
  /** The outcomes as records (classes/outcomes.ts), so many of them; these words hold the same as long as they are these. */
  readonly outcomes: Int32Array;
  readonly outcomeCount: number;
}

/**
 * Lets a row pass whose connection was found, unless it is not one of those: then nothing was done, and `trackTcp` has to
 * look at it. Whoever calls has let the time of the row come. The entry may have to be hung elsewhere in the timer wheel.
 */
export function passSegment(flow: Flow, batch: PacketBatch, row: number): boolean {
  const { words, timeouts, settings, at, direction, now } = flow;
  if (settings.tcpMaxRetransmissions === 0) return false;
  const head = words[at + HEAD_WORD] ?? 0;
  if ((head & HEAD_MASK) !== ESTABLISHED_HEAD || segmentOf(batch.tcpFlags[row] ?? 0) !== SEGMENT.ack) return false;
  const deadline = words[at + WORD.deadline] ?? 0;
  const sender = at + FIRST_WINDOW + direction * WINDOW_WORDS;
  const receiver = at + FIRST_WINDOW + WINDOW_WORDS - direction * WINDOW_WORDS;
  const stated = batch.window[row] ?? 0;
  const sequence = (batch.sequence[row] ?? 0) | 0;
  const acknowledgment = (batch.acknowledgment[row] ?? 0) | 0;
  const end = (sequence + (batch.payloadBytes[row] ?? 0)) | 0;
  const senderEnd = words[sender] ?? 0;
  const senderMaxEnd = words[sender + 1] ?? 0;
  const senderMaxWindow = words[sender + 2] ?? 0;
  const receiverEnd = words[receiver] ?? 0;
  const receiverMaxWindow = words[receiver + 2] ?? 0;
  // A window of 2^31 and more, or of nobody heard yet, is not the common case; nor is a closed one.
  if (senderMaxWindow <= 0 || receiverMaxWindow <= 0 || stated === 0 || ((deadline - now) | 0) <= 0) return false;
  const outdated = (receiverEnd - Math.max(senderMaxWindow, LEAST_ACK_WINDOW)) | 0;
  const aboveRoom = senderMaxEnd - sequence;
  const aboveSent = receiverEnd - acknowledgment;
  const belowData = end - ((senderEnd - receiverMaxWindow) | 0);
  const belowAck = acknowledgment - outdated;
  if ((aboveRoom | aboveSent | belowData | belowAck) < 0) return false;
  const difference =
    ((words[at + LAST.sequence] ?? 0) ^ sequence) |
    ((words[at + LAST.acknowledgment] ?? 0) ^ acknowledgment) |
    ((words[at + LAST.end] ?? 0) ^ end) |
    ((words[at + LAST.window] ?? 0) ^ stated) |
    ((head >>> 24) ^ direction);
  if (difference === 0) return false;

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
  const established = timeouts[TIMEOUT_SLOT.tcp + TCP_STATE.established] ?? 0;
  const unacknowledged = Math.min(established, timeouts[TIMEOUT_SLOT.tcpUnacknowledged] ?? 0);
  const lifetime = (sides & ofBoth(SIDE.dataUnacknowledged)) !== 0 ? unacknowledged : established;
  words[at + WORD.deadline] = (now + lifetime) | 0;
  return true;
}
