/** The contract of a suite: the cases, and how a chart of them is drawn. */
import type { Strategy } from "../../compiler/strategies/strategy.ts";
import type { BenchCase } from "../measure.ts";
import { type BenchResult, resultName, suiteOf } from "../result.ts";

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
  /** The results with which those that differ in this parameter alone are compared, as a ratio. */
  readonly against?: { readonly param: string; readonly value: string };
  /** What cannot be measured here, and why; a line each. */
  absent?(): readonly string[];
  cases(options: SuiteOptions): readonly BenchCase[];
}

/** A result as a multiple of what its suite compares with; undefined: the suite does not, or that was not measured. */
export function ratioOf({ against }: Suite, result: BenchResult, all: readonly BenchResult[]): number | undefined {
  if (against === undefined) return undefined;
  const name = resultName(suiteOf(result), { ...result.params, [against.param]: against.value });
  const other = all.find((one) => one.name === name);
  return other === undefined ? undefined : result.median / other.median;
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
