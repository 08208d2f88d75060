/** Costs of kinds of work from costs of packets: least squares with costs that are never negative. */
import { quantile } from "../statistics.ts";
import { Random } from "../workloads/random.ts";
import type { Coefficient } from "./profile.ts";
import type { WorkCounts } from "./workCounts.ts";

/** One packet: what it makes the node do, and what that was measured to cost, several times. */
export interface Observation {
  readonly counts: WorkCounts;
  /** Nanoseconds, each an independent measurement of the same. */
  readonly measured: readonly number[];
}

export interface FitOptions {
  /** Of the intervals. */
  readonly seed: number;
}

const RESAMPLES = 200;

/** What else the machine does only ever adds: the quiet end of the measurements is nearest to what the work costs. */
const QUIET = 0.2;

export function quietValue(measured: readonly number[]): number {
  return quantile(measured, QUIET);
}

/** The quiet value of one quantity, with the interval that drawing its measurements anew gives. */
export function quietCost(measured: readonly number[], options: FitOptions): Pick<Coefficient, "ns" | "ci95"> {
  return quietDifference(measured, [0], options);
}

/** What is more in the first, both quiet, with the interval that drawing the measurements of both anew gives. */
export function quietDifference(
  more: readonly number[],
  less: readonly number[],
  { seed }: FitOptions,
): Pick<Coefficient, "ns" | "ci95"> {
  const random = new Random(seed);
  const again = (measured: readonly number[]) => quietValue(measured.map(() => random.pick(measured)));
  const drawn = Array.from({ length: RESAMPLES }, () => again(more) - again(less));
  return {
    ns: quietValue(more) - quietValue(less),
    ci95: [quantile(drawn, 0.025), quantile(drawn, 0.975)],
  };
}

/**
 * Finds the cost of every kind of work that occurs. An observation weighs the less the larger its cost: errors are shares
 * of what is measured. Intervals come from drawing each observation's measurement anew.
 */
export function fitCosts(
  observations: readonly Observation[],
  { seed }: FitOptions,
): Readonly<Record<string, Coefficient>> {
  const random = new Random(seed);
  const kinds = [...new Set(observations.flatMap(({ counts }) => [...counts.keys()]))].sort();
  const rows = observations.map(({ counts }) => kinds.map((kind) => counts.get(kind) ?? 0));
  const best = nonNegativeSolution(
    rows,
    observations.map(({ measured }) => quietValue(measured)),
  );
  const drawn = Array.from({ length: RESAMPLES }, () =>
    nonNegativeSolution(
      rows,
      observations.map(({ measured }) => quietValue(measured.map(() => random.pick(measured)))),
    ),
  );
  return Object.fromEntries(
    kinds.map((kind, index) => {
      const values = drawn.map((solution) => solution[index] ?? 0);
      return [
        kind,
        { ns: best[index] ?? 0, ci95: [quantile(values, 0.025), quantile(values, 0.975)] as [number, number] },
      ];
    }),
  );
}

const PASSES = 2_000;

/** Coordinate descent on weighted normal equations; costs below zero stay at zero. */
function nonNegativeSolution(rows: readonly (readonly number[])[], values: readonly number[]): readonly number[] {
  const width = rows[0]?.length ?? 0;
  const weights = values.map((value) => 1 / Math.max(10, Math.abs(value)) ** 2);
  const normal = Array.from({ length: width }, (_, a) =>
    Array.from({ length: width }, (_, b) =>
      rows.reduce((sum, row, at) => sum + (weights[at] ?? 0) * (row[a] ?? 0) * (row[b] ?? 0), 0),
    ),
  );
  const right = Array.from({ length: width }, (_, a) =>
    rows.reduce((sum, row, at) => sum + (weights[at] ?? 0) * (row[a] ?? 0) * (values[at] ?? 0), 0),
  );
  const solution = new Array<number>(width).fill(0);
  for (let pass = 0; pass < PASSES; pass++) {
    let moved = 0;
    for (let a = 0; a < width; a++) {
      const own = normal[a]?.[a] ?? 0;
      if (own === 0) continue;
      const others = (normal[a] ?? []).reduce((sum, entry, b) => (b === a ? sum : sum + entry * (solution[b] ?? 0)), 0);
      const next = Math.max(0, ((right[a] ?? 0) - others) / own);
      moved = Math.max(moved, Math.abs(next - (solution[a] ?? 0)) / Math.max(1, next));
      solution[a] = next;
    }
    if (moved < 1e-9) break;
  }
  return solution;
}
