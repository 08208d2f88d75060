/** Two reports side by side: what changed, and whether that can be chance. */
import type { BenchReport, BenchResult } from "./result.ts";
import { differenceProbability } from "./statistics.ts";

/** Differences that are more likely than this to be chance are not called differences. */
export const SIGNIFICANCE = 0.05;

export interface Change {
  readonly name: string;
  readonly unit: string;
  readonly before: number;
  readonly after: number;
  /** after / before. */
  readonly ratio: number;
  /** Probability that it is chance. */
  readonly probability: number;
  readonly verdict: "faster" | "slower" | "same" | "unsure";
}

/** The results that both reports have, in the order of the newer one. */
export function compareReports(before: BenchReport, after: BenchReport): readonly Change[] {
  const old = new Map(before.results.map((result) => [result.name, result]));
  return after.results.flatMap((result) => {
    const earlier = old.get(result.name);
    return earlier === undefined || earlier.unit !== result.unit ? [] : [changeOf(earlier, result)];
  });
}

/** Smaller than this a difference is of no consequence, however sure. */
const LEAST = 0.01;

function changeOf(before: BenchResult, after: BenchResult): Change {
  const ratio = after.median / before.median;
  const probability = differenceProbability(before.rounds, after.rounds);
  const apart = after.ci95[0] > before.ci95[1] || after.ci95[1] < before.ci95[0];
  const isSure = probability < SIGNIFICANCE && apart;
  const isSmall = Math.abs(ratio - 1) < LEAST;
  const verdict = isSmall
    ? "same"
    : !isSure
      ? probability < SIGNIFICANCE
        ? "unsure"
        : "same"
      : ratio > 1
        ? "slower"
        : "faster";
  return {
    name: after.name,
    unit: after.unit,
    before: before.median,
    after: after.median,
    ratio,
    probability,
    verdict,
  };
}
