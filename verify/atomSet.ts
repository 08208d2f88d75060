/** A set of numbers below a bound, as bits. */
export class AtomSet {
  readonly #bound: number;
  readonly #words: Int32Array;
  #size: number | undefined;
  #key: string | undefined;

  constructor(bound: number, words: Int32Array = new Int32Array((bound + 31) >>> 5)) {
    this.#bound = bound;
    this.#words = words;
  }

  /** The places where something holds. */
  static of(holds: readonly boolean[]): AtomSet {
    const set = new AtomSet(holds.length);
    for (const [index, isIn] of holds.entries()) if (isIn) set.add(index);
    return set;
  }

  add(index: number): void {
    const at = index >>> 5;
    this.#words[at] = (this.#words[at] ?? 0) | (1 << (index & 31));
    this.#size = this.#key = undefined;
  }

  /** Everything that the other has. */
  addAll(other: AtomSet): void {
    for (let at = 0; at < this.#words.length; at++) {
      this.#words[at] = (this.#words[at] ?? 0) | (other.#words[at] ?? 0);
    }
    this.#size = this.#key = undefined;
  }

  /** Adds everything to bits that stand elsewhere, from a word on. */
  addTo(words: Int32Array, at: number): void {
    for (let word = 0; word < this.#words.length; word++) {
      words[at + word] = (words[at + word] ?? 0) | (this.#words[word] ?? 0);
    }
  }

  has(index: number): boolean {
    return (((this.#words[index >>> 5] ?? 0) >>> (index & 31)) & 1) === 1;
  }

  get size(): number {
    if (this.#size === undefined) {
      let size = 0;
      for (let word of this.#words) for (; word !== 0; word &= word - 1) size++;
      this.#size = size;
    }
    return this.#size;
  }

  get isEmpty(): boolean {
    for (let at = 0; at < this.#words.length; at++) if (this.#words[at] !== 0) return false;
    return true;
  }

  /** Equal for equal sets of one bound. */
  get key(): string {
    this.#key ??= this.#words.join();
    return this.#key;
  }

  equals(other: AtomSet): boolean {
    for (let at = 0; at < this.#words.length; at++) if (this.#words[at] !== other.#words[at]) return false;
    return true;
  }

  // Loops, where `map` would call a function for each word: sets are made rule by rule.
  and(other: AtomSet): AtomSet {
    const words = new Int32Array(this.#words.length);
    for (let at = 0; at < words.length; at++) words[at] = (this.#words[at] ?? 0) & (other.#words[at] ?? 0);
    return new AtomSet(this.#bound, words);
  }

  or(other: AtomSet): AtomSet {
    const words = new Int32Array(this.#words.length);
    for (let at = 0; at < words.length; at++) words[at] = (this.#words[at] ?? 0) | (other.#words[at] ?? 0);
    return new AtomSet(this.#bound, words);
  }

  minus(other: AtomSet): AtomSet {
    const words = new Int32Array(this.#words.length);
    for (let at = 0; at < words.length; at++) words[at] = (this.#words[at] ?? 0) & ~(other.#words[at] ?? 0);
    return new AtomSet(this.#bound, words);
  }

  /** Whether there is something that both have. */
  meets(other: AtomSet): boolean {
    for (let at = 0; at < this.#words.length; at++) {
      if (((this.#words[at] ?? 0) & (other.#words[at] ?? 0)) !== 0) return true;
    }
    return false;
  }

  /** Whether the other has everything that this one has. */
  isWithin(other: AtomSet): boolean {
    for (let at = 0; at < this.#words.length; at++) {
      if (((this.#words[at] ?? 0) & ~(other.#words[at] ?? 0)) !== 0) return false;
    }
    return true;
  }

  not(): AtomSet {
    const last = this.#bound & 31;
    const inverted = this.#words.map((word, at) =>
      at === this.#words.length - 1 && last !== 0 ? ~word & ((1 << last) - 1) : ~word,
    );
    return new AtomSet(this.#bound, inverted);
  }

  /** In order. */
  [Symbol.iterator](): IterableIterator<number> {
    // Of an array: a generator takes longer to go on than a bit to be found.
    const members: number[] = [];
    for (let at = 0; at < this.#words.length; at++) {
      for (let word = this.#words[at] ?? 0; word !== 0; word &= word - 1) {
        members.push(at * 32 + 31 - Math.clz32(word & -word));
      }
    }
    return members[Symbol.iterator]();
  }
}
