/**
 * One tracked connection as 32 words of a typed array, and the cursor through which the trackers read and write it.
 *
 * A million connections as objects would be a million things for the garbage collector and three cache misses a packet.
 * Here an entry is 128 consecutive bytes, two cache lines: what every packet reads (key, deadline, status, windows) comes
 * first.
 *
 * ```
 *  word 0  source address       (IPv6: number of the entry's eight words in the side storage of flowStore.ts)
 *       1  destination address  (IPv6: 0)
 *       2  source port << 16 | destination port     ICMP: identifier << 16 | type << 8 | code     others: 0
 *       3  zone << 16 | in use << 9 | IPv6 << 8 | protocol; 0: a free slot
 *       4  deadline: the millisecond at which the entry is dead
 *       5  visit: the millisecond at which the timer wheel looks at the entry, not after its deadline
 *       6  mark of the connection (CONNMARK)
 *       7  bytes: status, protocol state, index and direction of the last packet (TCP)
 *   8..11  window of the original direction (TCP)   UDP: word 8 = millisecond from which it may be a stream
 *  12..15  window of the reply direction   (TCP)   SCTP: words 8, 9 = verification tags of original and reply
 *      16  bytes: flags and scale of the original direction, flags and scale of the reply direction (TCP)
 *      17  bytes: retransmissions, flags and scale to take over from an ignored SYN (TCP)   SCTP: see sctp.ts
 *  18..21  sequence, acknowledgment, end and window of the last packet (TCP)
 *  22, 23  neighbours in the timer wheel; word 22 of a free entry: the next free one
 *  24, 25  what the engine remembers of packets of the original and of the reply direction (classes/tableMemo.ts)
 *      26  number of the call in which a packet of the entry was left for later (establishedCode.ts)
 *  27..31  unused
 * ```
 *
 * The key is the tuple of the packet that made the entry; the reply's tuple is its inverse, because nothing here
 * translates addresses. Milliseconds are the packet times modulo 2^32, compared with wrap-around as jiffies are.
 */
import type { ConntrackSettings } from "./options.ts";

/** Words of an entry. */
export const FLOW_WORDS = 32;
export const FLOW_BYTES = FLOW_WORDS * 4;

/** Word numbers inside an entry. */
export const WORD = {
  source: 0,
  destination: 1,
  ports: 2,
  kind: 3,
  deadline: 4,
  visit: 5,
  mark: 6,
  /** First word that belongs to the protocol's tracker; words up to `next` are zero in a new entry. */
  tracker: 8,
  next: 22,
  previous: 23,
  memo: 24,
  stamp: 26,
} as const;

/** Byte numbers inside an entry. */
export const BYTE = {
  status: 28,
  state: 29,
} as const;

/** Bits of `BYTE.status`. Numbers are ours; names are the kernel's (IPS_*). */
export const STATUS = {
  /** Traffic was seen in both directions. */
  seenReply: 1,
  /** Not evicted when the table is full. */
  assured: 2,
  /** In the table; until its first packet is accepted an entry is not. */
  confirmed: 4,
} as const;

/** What a tracker says of a packet. */
export const OUTCOME = {
  /** It belongs to the entry. */
  accept: 0,
  /** It belongs to nothing. */
  invalid: 1,
  /** It belongs to the entry, which it ends at once. */
  destroy: 2,
  /** It ends the entry and starts another one with the same tuple. */
  restart: 3,
} as const;

export type Outcome = (typeof OUTCOME)[keyof typeof OUTCOME];

/** Directions of a packet relative to its entry. */
export const ORIGINAL = 0;
export const REPLY = 1;

/**
 * The entry and packet under the tracker's eyes: one object per table, overwritten for each packet, so that trackers
 * take three arguments and allocate nothing.
 */
export interface Flow {
  words: Int32Array;
  /** The same memory as `words`. */
  bytes: Uint8Array;
  /** Index of the entry's first word. */
  at: number;
  /** `ORIGINAL` or `REPLY`. */
  direction: number;
  /** Milliseconds, wrapping int32. */
  now: number;
  /** Milliseconds by `TIMEOUT_SLOT`. */
  readonly timeouts: Int32Array;
  readonly settings: ConntrackSettings;
  /** Set by a tracker that has something to tell people; "" means that the state says it all. */
  why: string;
}

/** Whether the entry is in the table, which is what makes a packet a later one. */
export function isConfirmed(flow: Flow): boolean {
  return (statusOf(flow) & STATUS.confirmed) !== 0;
}

export function statusOf(flow: Flow): number {
  return flow.bytes[flow.at * 4 + BYTE.status] ?? 0;
}

export function addStatus(flow: Flow, bits: number): void {
  const at = flow.at * 4 + BYTE.status;
  flow.bytes[at] = (flow.bytes[at] ?? 0) | bits;
}

/** The entry lives from now for the timeout of that `TIMEOUT_SLOT`. */
export function refresh(flow: Flow, slot: number): void {
  flow.words[flow.at + WORD.deadline] = (flow.now + (flow.timeouts[slot] ?? 0)) | 0;
}

/** Fills `why` and says invalid. */
export function invalid(flow: Flow, why: string): Outcome {
  flow.why = why;
  return OUTCOME.invalid;
}
