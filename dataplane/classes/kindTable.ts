/** Kinds of packets: tuples of classes, each with what is known of it, in one Int32Array. */

/** Words of a tuple. */
export const TUPLE_WORDS = 7;

/**
 * Words of a kind, 64 bytes so that one cache line or two neighbours hold all that a packet needs:
 *
 *     | tuple, 7 words | zone << 8 | 1 + PREPARATION; 0: free | 1 + outcome by situation, 8 words; 0: not known |
 */
const RECORD = 16;
export const KIND = { preparation: 7, outcomes: 8 } as const;

const FIRST_BITS = 5;

/** Odd factors, one a word, so that the products do not wait for each other as rounds of one hash would. */
const FACTORS = [0x9e3779b1, 0x85ebca6b, 0xc2b2ae35, 0x27d4eb2f, 0x165667b1, 0x2c1b3c6d, 0x297a2d39] as const;

/**
 * A kind is named by the index of its record's first word, good until the next `reserve` or `clear`. Invariant: at most
 * half of the records are taken, so that a probe is short and always ends.
 */
export class KindTable {
  /** The tuple to look for; overwritten by whoever asks. */
  readonly tuple = new Int32Array(TUPLE_WORDS);
  /** All records. */
  words = new Int32Array(RECORD << FIRST_BITS);
  #shift = 32 - FIRST_BITS;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** The kind of `tuple`, or -1. */
  find(): number {
    const { words, tuple } = this;
    const mask = words.length - 1;
    const word0 = tuple[0] ?? 0;
    const word1 = tuple[1] ?? 0;
    const word2 = tuple[2] ?? 0;
    const word3 = tuple[3] ?? 0;
    const word4 = tuple[4] ?? 0;
    const word5 = tuple[5] ?? 0;
    const word6 = tuple[6] ?? 0;
    for (let at = (hashOf(tuple, 0) >>> this.#shift) * RECORD; ; at = (at + RECORD) & mask) {
      if (words[at + KIND.preparation] === 0) return -1;
      const difference =
        ((words[at] ?? 0) ^ word0) |
        ((words[at + 1] ?? 0) ^ word1) |
        ((words[at + 2] ?? 0) ^ word2) |
        ((words[at + 3] ?? 0) ^ word3) |
        ((words[at + 4] ?? 0) ^ word4) |
        ((words[at + 5] ?? 0) ^ word5) |
        ((words[at + 6] ?? 0) ^ word6);
      if (difference === 0) return at;
    }
  }

  /** Enters `tuple`, which must not be there and for which there must be room, as a kind of which nothing else is known. */
  add(preparation: number, zone: number): number {
    const at = this.#freeRecord(this.tuple, 0);
    for (let word = 0; word < TUPLE_WORDS; word++) this.words[at + word] = this.tuple[word] ?? 0;
    this.words[at + KIND.preparation] = (zone << 8) | (preparation + 1);
    this.#size++;
    return at;
  }

  /** Makes room for so many more. True when kinds have new names. */
  reserve(count: number): boolean {
    const needed = (this.#size + count) * 2 * RECORD;
    if (needed <= this.words.length) return false;
    const old = this.words;
    let { length } = old;
    while (length < needed) {
      length *= 2;
      this.#shift--;
    }
    this.words = new Int32Array(length);
    for (let at = 0; at < old.length; at += RECORD) {
      if (old[at + KIND.preparation] === 0) continue;
      const free = this.#freeRecord(old, at);
      for (let word = 0; word < RECORD; word++) this.words[free + word] = old[at + word] ?? 0;
    }
    return true;
  }

  clear(): void {
    this.words = new Int32Array(RECORD << FIRST_BITS);
    this.#shift = 32 - FIRST_BITS;
    this.#size = 0;
  }

  #freeRecord(tuple: Int32Array, start: number): number {
    const { words } = this;
    const mask = words.length - 1;
    let at = (hashOf(tuple, start) >>> this.#shift) * RECORD;
    while (words[at + KIND.preparation] !== 0) at = (at + RECORD) & mask;
    return at;
  }
}

function hashOf(words: Int32Array, at: number): number {
  const sum =
    Math.imul(words[at] ?? 0, FACTORS[0]) +
    Math.imul(words[at + 1] ?? 0, FACTORS[1]) +
    Math.imul(words[at + 2] ?? 0, FACTORS[2]) +
    Math.imul(words[at + 3] ?? 0, FACTORS[3]) +
    Math.imul(words[at + 4] ?? 0, FACTORS[4]) +
    Math.imul(words[at + 5] ?? 0, FACTORS[5]) +
    Math.imul(words[at + 6] ?? 0, FACTORS[6]);
  const folded = sum | 0;
  return Math.imul(folded ^ (folded >>> 15), 0x9e3779b1);
}
