/** Where the loops of establishedCode.ts find things in their memory, and leave them. */
import { OUTCOME_WORDS } from "../classes/outcomes.ts";
import type { PacketBatch } from "../packet.ts";
import type { ResultBatch } from "../result.ts";
import { MOST_ROWS } from "./tcpEstablished.ts";

export const MOST_CONTEXTS = 0x1_0000;
/** As many as half a word can tell. */
export const MOST_OUTCOMES = 0xffff;
export const FLAG_BYTES = 256;
/** Records of refused segments: a tuple as entries have it, then what is remembered of each direction and a stamp, as far apart as there. */
export const REFUSED_BITS = 15;
export const REFUSED_BYTES = 32;
export const REFUSED_WORD = { memo: 4, stamp: 6 } as const;

/**
 * Rows that take each step together: their entries, and what is found of them, fit the cache nearest to the processor.
 * A multiple of 16.
 */
export const BLOCK_ROWS = 128;

let end = 0;

/** Room for so many things of a size; cache lines are not shared. */
function room(count: number, bytes: number): number {
  const at = end;
  end = (at + count * bytes + 63) & ~63;
  return at;
}

/** Doubles: seconds, and milliseconds that stop the rows. */
export const CLOCK = room(2, 8);
export const UNTIL = CLOCK + 8;
/** The present millisecond as an integer. */
export const NOW = room(1, 4);
/** How many rows were left, how many entries are to be hung elsewhere in the timer wheel, and how many rows were refused. */
export const COUNTS = room(3, 4);
export const COLUMN = {
  family: room(MOST_ROWS, 1),
  protocol: room(MOST_ROWS, 1),
  flags: room(MOST_ROWS, 1),
  tcpFlags: room(MOST_ROWS, 1),
  path: room(MOST_ROWS, 1),
  source0: room(MOST_ROWS, 4),
  destination0: room(MOST_ROWS, 4),
  sourcePort: room(MOST_ROWS, 2),
  destinationPort: room(MOST_ROWS, 2),
  inDevice: room(MOST_ROWS, 2),
  outDevice: room(MOST_ROWS, 2),
  physInDevice: room(MOST_ROWS, 2),
  physOutDevice: room(MOST_ROWS, 2),
  mark: room(MOST_ROWS, 4),
  window: room(MOST_ROWS, 2),
  sequence: room(MOST_ROWS, 4),
  acknowledgment: room(MOST_ROWS, 4),
  payloadBytes: room(MOST_ROWS, 4),
  time: room(MOST_ROWS, 8),
} as const satisfies Partial<Record<keyof PacketBatch, number>>;
export const FOUND = {
  /** Not 0: no segment of those, whatever its entry. */
  isOther: room(MOST_ROWS, 1),
  /** Of rows of a block, counted from its first, up to `outcomes`. */
  hashes: room(BLOCK_ROWS, 4),
  /** Source, destination, ports and kind as an entry has them; and the context but for its last word. */
  tuples: room(BLOCK_ROWS, 16),
  contexts: room(BLOCK_ROWS, 16),
  /** The row's time as whole milliseconds; and modulo 2^32. */
  milliseconds: room(BLOCK_ROWS, 8),
  nows: room(BLOCK_ROWS, 4),
  /** Addresses of entries, or where refused segments are remembered. */
  entries: room(BLOCK_ROWS, 4),
  /** What was remembered, without the context; 1 for rows that were left. */
  outcomes: room(BLOCK_ROWS, 4),
  /** Numbers of the rows that were left, and the seconds before each: those of the rows that passed before it. */
  left: room(MOST_ROWS, 4),
  leftSeconds: room(MOST_ROWS, 8),
  /** Addresses of entries that have to be visited earlier than they would be. */
  unhung: room(MOST_ROWS, 4),
  /** Numbers of the rows that were refused, and what was remembered of them. */
  refused: room(MOST_ROWS, 4),
  refusals: room(MOST_ROWS, 4),
  sum: room(1, 4),
};
/** What becomes of rows that pass. */
export const RESULT = {
  verdict: room(MOST_ROWS, 1),
  ctState: room(MOST_ROWS, 1),
  decision: room(MOST_ROWS, 4),
  rules: room(MOST_ROWS, 4),
  chains: room(MOST_ROWS, 4),
  setLookups: room(MOST_ROWS, 4),
} as const satisfies Partial<Record<keyof ResultBatch, number>>;
/** By the upper bits of the hash; of those that share a place the one that came last. */
export const REFUSED = room(1 << REFUSED_BITS, REFUSED_BYTES);
export const FLAG_CLASSES = room(FLAG_BYTES, 1);
export const CONTEXTS = room(MOST_CONTEXTS * 4, 4);
export const OUTCOMES = room(MOST_OUTCOMES * OUTCOME_WORDS, 4);
export const PLACES = room(1, 0);
