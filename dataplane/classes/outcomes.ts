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
  readonly #numbers = new Map<string, number>();
  readonly #limits: (readonly number[])[] = [];
  readonly #limitNumbers = new Map<string, number>();

  get size(): number {
    return this.#size;
  }

  /** What a walk wrote about a row; its number, which is new if the outcome is. */
  add(results: ResultBatch, row: number, walked: WalkedLimits): number {
    const outcome = [
      (results.verdict[row] ?? 0) | ((results.ctState[row] ?? 0) << 8),
      results.decision[row] ?? 0,
      results.rules[row] ?? 0,
      results.chains[row] ?? 0,
      results.setLookups[row] ?? 0,
      walked.connmark,
      this.#listOf(walked.limits),
      walked.limits.every((record) => walked.idleLimits.has(record)) ? 0 : 1,
    ];
    const name = outcome.join();
    const known = this.#numbers.get(name);
    if (known !== undefined) return known;
    const number = this.#size++;
    this.#numbers.set(name, number);
    if (this.#size * OUTCOME_WORDS > this.words.length) {
      const words = new Int32Array(this.words.length * 2);
      words.set(this.words);
      this.words = words;
    }
    this.words.set(outcome, number * OUTCOME_WORDS);
    return number;
  }

  /** The limits that packets with this outcome are charged to. */
  limitsOf(outcome: number): readonly number[] {
    return this.#limits[(this.words[outcome * OUTCOME_WORDS + OUTCOME.limits] ?? 0) - 1] ?? NO_LIMITS;
  }

  clear(): void {
    this.words = new Int32Array(64 * OUTCOME_WORDS);
    this.#size = 0;
    this.#numbers.clear();
    this.#limits.length = 0;
    this.#limitNumbers.clear();
  }

  #listOf(limits: readonly number[]): number {
    if (limits.length === 0) return 0;
    const name = limits.join();
    const known = this.#limitNumbers.get(name) ?? this.#limits.push([...limits]);
    this.#limitNumbers.set(name, known);
    return known;
  }
}
