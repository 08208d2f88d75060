/** What came of walks, as records of numbers. */
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
  /** 1 + index of the list of limits to charge; 0: none. */
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

export class Outcomes {
  /** All records; valid until the next `add`. */
  words = new Int32Array(64 * OUTCOME_WORDS);
  #size = 0;
  readonly #limits: (readonly number[])[] = [];

  get size(): number {
    return this.#size;
  }

  /** Takes over what a walk wrote about a row; the number of the new outcome. */
  add(results: ResultBatch, row: number, { connmark, limits, idleLimits }: WalkedLimits): number {
    const outcome = this.#size++;
    if (this.#size * OUTCOME_WORDS > this.words.length) {
      const words = new Int32Array(this.words.length * 2);
      words.set(this.words);
      this.words = words;
    }
    const { words } = this;
    const at = outcome * OUTCOME_WORDS;
    words[at + OUTCOME.verdictAndState] = (results.verdict[row] ?? 0) | ((results.ctState[row] ?? 0) << 8);
    words[at + OUTCOME.decision] = results.decision[row] ?? 0;
    words[at + OUTCOME.rules] = results.rules[row] ?? 0;
    words[at + OUTCOME.chains] = results.chains[row] ?? 0;
    words[at + OUTCOME.setLookups] = results.setLookups[row] ?? 0;
    words[at + OUTCOME.connmark] = connmark;
    words[at + OUTCOME.limits] = limits.length === 0 ? 0 : this.#limits.push([...limits]);
    words[at + OUTCOME.walks] = limits.every((record) => idleLimits.has(record)) ? 0 : 1;
    return outcome;
  }

  /** The limits that packets with this outcome are charged to. */
  limitsOf(outcome: number): readonly number[] {
    return this.#limits[(this.words[outcome * OUTCOME_WORDS + OUTCOME.limits] ?? 0) - 1] ?? NO_LIMITS;
  }

  clear(): void {
    this.words = new Int32Array(64 * OUTCOME_WORDS);
    this.#size = 0;
    this.#limits.length = 0;
  }
}
