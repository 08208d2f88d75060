/** A hash table from addresses to small numbers, in one Int32Array. */
import type { Family } from "./address.ts";

/** So few that their memory lies beside the object, which takes a tenth of the time. */
const LEAST_PLACES = 4;

/** Of tables in which nothing is yet, of which a program has many; never written. */
const NO_RECORDS = new Int32Array(LEAST_PLACES * 6);

/**
 * Maps (address, extra) to a number ≥ 0. `extra` is any int32 that belongs to the key, such as protocol and port.
 *
 * A `Map` would need a string or object per look-up; here a look-up allocates nothing. Open addressing with linear
 * probing over records of one stride, because a record then lies in one cache line where separate columns would touch
 * several:
 *
 *     IPv4   | address | extra | value + 1 |
 *     IPv6   | word 0 | word 1 | word 2 | word 3 | extra | value + 1 |
 *
 * Invariants: a record is free when its last word is 0; at most half of the records are taken, so every probe ends.
 */
export class AddressTable {
  readonly family: Family;
  readonly #stride: number;
  #records: Int32Array;
  #mask: number;
  #size = 0;

  /** `expected`: how many keys are to come; more or fewer may. */
  constructor(family: Family, expected = 0) {
    this.family = family;
    this.#stride = family === 4 ? 3 : 6;
    let places = LEAST_PLACES;
    while (places < expected * 2) places *= 2;
    this.#mask = places - 1;
    this.#records = places === LEAST_PLACES ? NO_RECORDS : new Int32Array(places * this.#stride);
  }

  get size(): number {
    return this.#size;
  }

  /** Sets the value of a key; the last one given stays. `words` as in `IpAddress`, of the family of the table. */
  set(words: readonly number[], extra: number, value: number): void {
    if (value < 0 || value >= 0x7fff_ffff) throw new RangeError(`value ${value} does not fit a record`);
    if (this.#records === NO_RECORDS) this.#records = new Int32Array(LEAST_PLACES * this.#stride);
    const at = this.#slot(words[0] ?? 0, words[1] ?? 0, words[2] ?? 0, words[3] ?? 0, extra);
    const taken = this.#records[at + this.#stride - 1] !== 0;
    this.#write(at, words, extra, value);
    if (taken) return;
    this.#size++;
    if (this.#size * 2 > this.#mask + 1) this.#grow();
  }

  /** The value of an IPv4 key, or -1. */
  find4(word: number, extra: number): number {
    const records = this.#records;
    const mask = this.#mask;
    for (let record = hash4(word, extra) & mask; ; record = (record + 1) & mask) {
      const at = record * 3;
      const stored = records[at + 2] ?? 0;
      if (stored === 0) return -1;
      if (records[at] === word && records[at + 1] === extra) return stored - 1;
    }
  }

  /** The value of an IPv6 key, or -1. */
  find6(word0: number, word1: number, word2: number, word3: number, extra: number): number {
    const stored = this.#records[this.#slot6(word0, word1, word2, word3, extra) + 5] ?? 0;
    return stored - 1;
  }

  #slot(word0: number, word1: number, word2: number, word3: number, extra: number): number {
    return this.family === 4 ? this.#slot4(word0, extra) : this.#slot6(word0, word1, word2, word3, extra);
  }

  /** Where the key is, or the free record where it would go. */
  #slot4(word: number, extra: number): number {
    const records = this.#records;
    const mask = this.#mask;
    for (let record = hash4(word, extra) & mask; ; record = (record + 1) & mask) {
      const at = record * 3;
      if (records[at + 2] === 0) return at;
      if (records[at] === word && records[at + 1] === extra) return at;
    }
  }

  #slot6(word0: number, word1: number, word2: number, word3: number, extra: number): number {
    const records = this.#records;
    const mask = this.#mask;
    let record = hash6(word0, word1, word2, word3, extra);
    for (record &= mask; ; record = (record + 1) & mask) {
      const at = record * 6;
      if (records[at + 5] === 0) return at;
      if (
        records[at + 3] === word3 &&
        records[at + 2] === word2 &&
        records[at + 1] === word1 &&
        records[at] === word0 &&
        records[at + 4] === extra
      ) {
        return at;
      }
    }
  }

  #write(at: number, words: readonly number[], extra: number, value: number): void {
    const addressWords = this.#stride - 2;
    for (let index = 0; index < addressWords; index++) this.#records[at + index] = words[index] ?? 0;
    this.#records[at + addressWords] = extra;
    this.#records[at + addressWords + 1] = value + 1;
  }

  /** Moves all records to twice as many places. Word by word: a view of each record would cost more than to move it. */
  #grow(): void {
    const old = this.#records;
    const stride = this.#stride;
    this.#mask = this.#mask * 2 + 1;
    const records = new Int32Array((this.#mask + 1) * stride);
    for (let at = 0; at < old.length; at += stride) {
      if (old[at + stride - 1] === 0) continue;
      const hash =
        stride === 3
          ? hash4(old[at] ?? 0, old[at + 1] ?? 0)
          : hash6(old[at] ?? 0, old[at + 1] ?? 0, old[at + 2] ?? 0, old[at + 3] ?? 0, old[at + 4] ?? 0);
      let free = (hash & this.#mask) * stride;
      while (records[free + stride - 1] !== 0) free = free + stride === records.length ? 0 : free + stride;
      for (let word = 0; word < stride; word++) records[free + word] = old[at + word] ?? 0;
    }
    this.#records = records;
  }
}

function hash6(word0: number, word1: number, word2: number, word3: number, extra: number): number {
  return hash4(Math.imul(word0 ^ Math.imul(word1, 0x85ebca6b), 0xc2b2ae35) ^ word2 ^ hash4(word3, 0), extra);
}

/** Mixes two words so that neighbours in a subnet land apart: the finaliser of MurmurHash3 (public domain). */
function hash4(word: number, extra: number): number {
  let hash = word ^ Math.imul(extra, 0x9e3779b1);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}
