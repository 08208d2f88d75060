/** What came of walks, as records of numbers; equal outcomes are one. */
import type { ResultBatch } from "../result.ts";

export const OUTCOME_WORDS = 8;

/** Words of an outcome. */
export const OUTCOME = {
  /** `VERDICT_CODE | CT_STATE_CODE << 8`. */
  verdictAndState: 0,
  decision: 1,
  rules: 2,
  chains: 3,
  setLookups: 4,
  /** Mark of the connection afterwards; 0 when the program does not ask for it. */
  connmark: 5,
  /** 1 + number of the list of limits to charge; 0: none. */
  limits: 6,
  /** 1: the outcome depends on a limit, so each packet has to walk. */
  walks: 7,
} as const;

export interface WalkedLimits {
  readonly connmark: number;
  readonly limits: readonly number[];
  readonly idleLimits: ReadonlySet<number>;
}

const NO_LIMITS: readonly number[] = [];

/** Kinds are many and outcomes few, so these stay in the cache nearest to the processor. */
export class Outcomes {
  /** All records; valid until the next `add`. */
  words = new Int32Array(64 * OUTCOME_WORDS);
  #size = 0;
  /** Numbers and 1 by hash of the outcome, 0: free; at most half are taken. */
  #places = new Int32Array(128);
  readonly #under = new Int32Array(OUTCOME_WORDS);
  #limits: (readonly number[])[] = [];
  readonly #limitNumbers = new Map<string, number>();

  get size(): number {
    return this.#size;
  }

  /** What a walk wrote about a row; its number, which is new if the outcome is. */
  add(results: ResultBatch, row: number, walked: WalkedLimits): number {
    const outcome = this.#under;
    const { limits } = walked;
    outcome[OUTCOME.verdictAndState] = (results.verdict[row] ?? 0) | ((results.ctState[row] ?? 0) << 8);
    outcome[OUTCOME.decision] = results.decision[row] ?? 0;
    outcome[OUTCOME.rules] = results.rules[row] ?? 0;
    outcome[OUTCOME.chains] = results.chains[row] ?? 0;
    outcome[OUTCOME.setLookups] = results.setLookups[row] ?? 0;
    outcome[OUTCOME.connmark] = walked.connmark;
    outcome[OUTCOME.limits] = this.#listOf(limits);
    outcome[OUTCOME.walks] = limits.length === 0 || limits.every((record) => walked.idleLimits.has(record)) ? 0 : 1;
    const place = this.#placeOf(outcome, 0);
    const known = this.#places[place] ?? 0;
    if (known !== 0) return known - 1;
    const number = this.#size++;
    this.#places[place] = number + 1;
    if (this.#size * OUTCOME_WORDS > this.words.length) {
      const words = new Int32Array(this.words.length * 2);
      words.set(this.words);
      this.words = words;
    }
    this.words.set(outcome, number * OUTCOME_WORDS);
    if (this.#size * 2 > this.#places.length) this.#grow();
    return number;
  }

  /** The limits that packets with this outcome are charged to. */
  limitsOf(outcome: number): readonly number[] {
    return limitsIn(this.words, this.#limits, outcome);
  }

  /** `limitsOf` for the outcomes there are, even when they have been forgotten. */
  limitsSoFar(): (outcome: number) => readonly number[] {
    const [words, limits] = [this.words, this.#limits];
    return (outcome) => limitsIn(words, limits, outcome);
  }

  clear(): void {
    this.words = new Int32Array(64 * OUTCOME_WORDS);
    this.#size = 0;
    this.#places = new Int32Array(128);
    this.#limits = [];
    this.#limitNumbers.clear();
  }

  /** Where an outcome's number is, or the free place where it would go. */
  #placeOf(outcome: Int32Array, from: number): number {
    const { words } = this;
    const places = this.#places;
    const mask = places.length - 1;
    for (let place = hashOf(outcome, from) & mask; ; place = (place + 1) & mask) {
      const stored = places[place] ?? 0;
      if (stored === 0) return place;
      const at = (stored - 1) * OUTCOME_WORDS;
      let word = 0;
      while (word < OUTCOME_WORDS && words[at + word] === outcome[from + word]) word++;
      if (word === OUTCOME_WORDS) return place;
    }
  }

  #grow(): void {
    this.#places = new Int32Array(this.#places.length * 2);
    for (let number = 0; number < this.#size; number++) {
      this.#places[this.#placeOf(this.words, number * OUTCOME_WORDS)] = number + 1;
    }
  }

  #listOf(limits: readonly number[]): number {
    if (limits.length === 0) return 0;
    const name = limits.join();
    const known = this.#limitNumbers.get(name) ?? this.#limits.push([...limits]);
    this.#limitNumbers.set(name, known);
    return known;
  }
}

function limitsIn(words: Int32Array, limits: readonly (readonly number[])[], outcome: number): readonly number[] {
  return limits[(words[outcome * OUTCOME_WORDS + OUTCOME.limits] ?? 0) - 1] ?? NO_LIMITS;
}

function hashOf(words: Int32Array, from: number): number {
  let hash = 0;
  for (let word = from; word < from + OUTCOME_WORDS; word++) {
    hash = Math.imul(hash ^ (words[word] ?? 0), 0x9e3779b1);
    hash ^= hash >>> 15;
  }
  return hash;
}
