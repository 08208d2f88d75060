/** BPF_MAP_TYPE_HASH and BPF_MAP_TYPE_LRU_HASH: keys and values of a fixed number of words in one Int32Array. */

export interface HashMapShape {
  readonly keyWords: number;
  readonly valueWords: number;
  readonly maxEntries: number;
  /** What an insertion does when the map is full: is refused (E2BIG), or drives out an entry long unused. */
  readonly whenFull: "refuse" | "evict";
  /** As many are about to be inserted: the map does not move its records while they are. */
  readonly expected?: number;
}

/** Words of the key looked at when the least recently used entry is sought; the kernel's LRU is approximate too. */
const EVICTION_SAMPLE = 16;

/** Records a new map has room for. */
const FIRST_RECORDS = 8;

/**
 * Open addressing with linear probing, at most half full. A look-up gives the place of the value words in `words`, to be
 * read or written at once: insertions and deletions move records.
 *
 *     | last use, 0 = free | key words … | value words … |
 *
 * Deletion shifts the records behind it back instead of leaving tombstones, so that look-ups never slow down.
 */
export class HashMap {
  readonly #shape: HashMapShape;
  readonly #stride: number;
  #words: Int32Array;
  #mask: number;
  #size = 0;
  #clock = 1;
  #hand = 0;

  constructor(shape: HashMapShape) {
    this.#shape = shape;
    this.#stride = 1 + shape.keyWords + shape.valueWords;
    let records = FIRST_RECORDS;
    while (records < 2 * Math.min(shape.expected ?? 0, shape.maxEntries)) records *= 2;
    this.#mask = records - 1;
    this.#words = new Int32Array(records * this.#stride);
  }

  get size(): number {
    return this.#size;
  }

  /** All records. Valid until the next insertion or deletion. */
  get words(): Int32Array {
    return this.#words;
  }

  /** Place of the first value word of a key, or -1. */
  find(key: Int32Array): number {
    const at = this.#probe(key);
    if (this.#words[at] === 0) return -1;
    this.#use(at);
    return at + 1 + this.#shape.keyWords;
  }

  /** Place of the first value word of a key, entered with zeros if it was not there; -1 when the map is full (E2BIG). */
  insert(key: Int32Array): number {
    let at = this.#probe(key);
    if (this.#words[at] === 0) {
      const isFull = this.#size >= this.#shape.maxEntries;
      if (isFull) {
        if (this.#shape.whenFull === "refuse") return -1;
        this.#evict();
      }
      const isCrowded = (this.#size + 1) * 2 > this.#mask + 1;
      if (isCrowded) this.#grow();
      if (isFull || isCrowded) at = this.#probe(key);
      this.#words.set(key, at + 1);
      this.#size++;
    }
    this.#use(at);
    return at + 1 + this.#shape.keyWords;
  }

  /** Whether the key was there. */
  delete(key: Int32Array): boolean {
    const at = this.#probe(key);
    if (this.#words[at] === 0) return false;
    this.#remove(at / this.#stride);
    return true;
  }

  #use(at: number): void {
    if (this.#shape.whenFull === "refuse") {
      this.#words[at] = 1;
      return;
    }
    // After 2^31 uses all entries are as old as each other, once.
    this.#clock = this.#clock === 0x7fff_ffff ? 1 : this.#clock + 1;
    this.#words[at] = this.#clock;
  }

  /** The place of the record with this key, or of the free one where it would go. */
  #probe(key: Int32Array): number {
    const words = this.#words;
    const { keyWords } = this.#shape;
    const stride = this.#stride;
    for (let record = hashOf(key, 0, keyWords) & this.#mask; ; record = (record + 1) & this.#mask) {
      const at = record * stride;
      if (words[at] === 0) return at;
      let index = 0;
      while (index < keyWords && words[at + 1 + index] === key[index]) index++;
      if (index === keyWords) return at;
    }
  }

  /** Frees a record and moves those behind it that could not have their own place. */
  #remove(record: number): void {
    const words = this.#words;
    const stride = this.#stride;
    let hole = record;
    for (let next = (hole + 1) & this.#mask; words[next * stride] !== 0; next = (next + 1) & this.#mask) {
      const home = hashOf(words, next * stride + 1, this.#shape.keyWords) & this.#mask;
      // It may move into the hole only if its home does not lie between the two.
      if (((next - home) & this.#mask) < ((next - hole) & this.#mask)) continue;
      words.copyWithin(hole * stride, next * stride, (next + 1) * stride);
      hole = next;
    }
    words.fill(0, hole * stride, (hole + 1) * stride);
    this.#size--;
  }

  /** Drives out the entry unused for longest among the next few. */
  #evict(): void {
    let victim = -1;
    let oldest = Number.POSITIVE_INFINITY;
    for (let seen = 0; seen < EVICTION_SAMPLE; this.#hand = (this.#hand + 1) & this.#mask) {
      const use = this.#words[this.#hand * this.#stride] ?? 0;
      if (use === 0) continue;
      seen++;
      if (use >= oldest) continue;
      oldest = use;
      victim = this.#hand;
    }
    this.#remove(victim);
  }

  #grow(): void {
    const old = this.#words;
    const stride = this.#stride;
    this.#mask = this.#mask * 2 + 1;
    this.#words = new Int32Array((this.#mask + 1) * stride);
    for (let at = 0; at < old.length; at += stride) {
      if (old[at] === 0) continue;
      let record = hashOf(old, at + 1, this.#shape.keyWords) & this.#mask;
      while (this.#words[record * stride] !== 0) record = (record + 1) & this.#mask;
      this.#words.set(old.subarray(at, at + stride), record * stride);
    }
  }
}

/** Odd factors, one a word and then again from the first. */
const FACTORS = Int32Array.of(
  0x9e3779b1,
  0x85ebca6b,
  0xc2b2ae35,
  0x27d4eb2f,
  0x165667b1,
  0x2c1b3c6d,
  0x297a2d39,
  0x7feb352d,
);

/**
 * A sum of products, mixed at the end by the finaliser of MurmurHash3 (public domain). Products do not wait for each other,
 * as the rounds of MurmurHash3 would; a flow's key has ten words, and a packet looks up to six keys up.
 */
function hashOf(words: Int32Array, from: number, count: number): number {
  let hash = count;
  for (let index = 0; index < count; index++) {
    hash = (hash + Math.imul(words[from + index] ?? 0, FACTORS[index & 7] ?? 1)) | 0;
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}
