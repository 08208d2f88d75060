/** A set of numbers below a bound, as bits. */
export class AtomSet {
  readonly #bound: number;
  readonly #words: Int32Array;
  #size: number | undefined;

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
    this.#size = undefined;
  }

  /** Everything that the other has. */
  addAll(other: AtomSet): void {
    for (const [at, word] of other.#words.entries()) this.#words[at] = (this.#words[at] ?? 0) | word;
    this.#size = undefined;
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
    return this.size === 0;
  }

  /** Equal for equal sets of one bound. */
  get key(): string {
    return this.#words.join();
  }

  and(other: AtomSet): AtomSet {
    return new AtomSet(
      this.#bound,
      this.#words.map((word, at) => word & (other.#words[at] ?? 0)),
    );
  }

  or(other: AtomSet): AtomSet {
    return new AtomSet(
      this.#bound,
      this.#words.map((word, at) => word | (other.#words[at] ?? 0)),
    );
  }

  not(): AtomSet {
    const last = this.#bound & 31;
    const inverted = this.#words.map((word, at) =>
      at === this.#words.length - 1 && last !== 0 ? ~word & ((1 << last) - 1) : ~word,
    );
    return new AtomSet(this.#bound, inverted);
  }

  *[Symbol.iterator](): Generator<number, void, void> {
    for (let index = 0; index < this.#bound; index++) if (this.has(index)) yield index;
  }
}
