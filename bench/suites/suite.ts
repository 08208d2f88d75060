/** The contract of a suite: the cases, and how a chart of them is drawn. */
import type { Strategy } from "../../compiler/strategies/strategy.ts";
import type { BenchCase } from "../measure.ts";

export interface SuiteOptions {
  readonly strategies: readonly Strategy[];
  readonly seed: number;
}

export interface Suite {
  readonly name: string;
  readonly title: string;
  /** What is varied and what is not, in a sentence. */
  readonly summary: string;
  /** The parameter along the axis, and those that tell curves apart. An axis of names is drawn as bars. */
  readonly chart: { readonly x: string; readonly xLabel: string; readonly series: readonly string[] };
  /** Whether the fitted exponent of cost against `chart.x` is of interest, and what grows. */
  readonly growth?: string;
  cases(options: SuiteOptions): readonly BenchCase[];
}

/** Keeps the last thing made, for cases that follow each other and share a costly one. */
export class Latest<T> {
  #key: string | undefined;
  #value: T | undefined;

  get(key: string, make: () => T): T {
    if (this.#key !== key || this.#value === undefined) {
      this.#value = undefined;
      this.#value = make();
      this.#key = key;
    }
    return this.#value;
  }
}
