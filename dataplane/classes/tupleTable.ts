/** A hash table from tuples of seven words to numbers counted up from 0, in one Int32Array. */

/** Words of a tuple. */
export const TUPLE_WORDS = 7;

/** The tuple's words, then its number + 1; 0: free. Eight words are half a cache line. */
const RECORD = 8;
const FIRST_BITS = 6;

/** Odd factors, one a word, so that the products do not wait for each other as rounds of one hash would. */
const FACTORS = [0x9e3779b1, 0x85ebca6b, 0xc2b2ae35, 0x27d4eb2f, 0x165667b1, 0x2c1b3c6d, 0x297a2d39] as const;

/** Invariant: at most half of the records are taken, so that a probe is short and always ends. */
export class TupleTable {
  /** The tuple to look for; overwritten by whoever asks. */
  readonly tuple = new Int32Array(TUPLE_WORDS);
  #records = new Int32Array(RECORD << FIRST_BITS);
  #shift = 32 - FIRST_BITS;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** The number of `tuple`, or -1. */
  find(): number {
    const records = this.#records;
    const { tuple } = this;
    const mask = records.length - 1;
    const word0 = tuple[0] ?? 0;
    const word1 = tuple[1] ?? 0;
    const word2 = tuple[2] ?? 0;
    const word3 = tuple[3] ?? 0;
    const word4 = tuple[4] ?? 0;
    const word5 = tuple[5] ?? 0;
    const word6 = tuple[6] ?? 0;
    for (let at = (hashOf(tuple, 0) >>> this.#shift) * RECORD; ; at = (at + RECORD) & mask) {
      const stored = records[at + 7] ?? 0;
      if (stored === 0) return -1;
      const difference =
        ((records[at] ?? 0) ^ word0) |
        ((records[at + 1] ?? 0) ^ word1) |
        ((records[at + 2] ?? 0) ^ word2) |
        ((records[at + 3] ?? 0) ^ word3) |
        ((records[at + 4] ?? 0) ^ word4) |
        ((records[at + 5] ?? 0) ^ word5) |
        ((records[at + 6] ?? 0) ^ word6);
      if (difference === 0) return stored - 1;
    }
  }

  /** Enters `tuple`, which must not be there, under the next number. */
  add(): number {
    if ((this.#size + 1) * 2 * RECORD > this.#records.length) this.#grow();
    this.#put(this.tuple, 0, this.#size);
    return this.#size++;
  }

  clear(): void {
    this.#records = new Int32Array(RECORD << FIRST_BITS);
    this.#shift = 32 - FIRST_BITS;
    this.#size = 0;
  }

  #put(from: Int32Array, start: number, number: number): void {
    const records = this.#records;
    const mask = records.length - 1;
    let at = (hashOf(from, start) >>> this.#shift) * RECORD;
    while (records[at + 7] !== 0) at = (at + RECORD) & mask;
    for (let word = 0; word < TUPLE_WORDS; word++) records[at + word] = from[start + word] ?? 0;
    records[at + 7] = number + 1;
  }

  #grow(): void {
    const old = this.#records;
    this.#records = new Int32Array(old.length * 2);
    this.#shift--;
    for (let at = 0; at < old.length; at += RECORD) {
      const stored = old[at + 7] ?? 0;
      if (stored !== 0) this.#put(old, at, stored - 1);
    }
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
