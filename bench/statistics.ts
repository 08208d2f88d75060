/** What can be said about a handful of timings: quantiles, how sure they are, whether two differ, how cost grows. */
import { Random } from "./workloads/random.ts";

/** The value below which `share` (0–1) of the values lie, between neighbours in proportion. NaN of no values. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = Float64Array.from(values).sort();
  const at = (sorted.length - 1) * share;
  const low = sorted[Math.floor(at)] ?? Number.NaN;
  const high = sorted[Math.ceil(at)] ?? Number.NaN;
  return low + (high - low) * (at - Math.floor(at));
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

export type Interval = readonly [low: number, high: number];

const RESAMPLES = 1_000;

/**
 * 95 % confidence interval of the median of all values. `groups` are the processes: values of one process share its luck
 * (memory layout, optimiser), so processes are drawn first and values within them second.
 */
export function medianInterval(groups: readonly (readonly number[])[], seed: number): Interval {
  const random = new Random(seed);
  const filled = groups.filter((group) => group.length > 0);
  if (filled.length === 0) return [Number.NaN, Number.NaN];
  const medians = Array.from({ length: RESAMPLES }, () => {
    const drawn: number[] = [];
    for (let count = filled.length; count > 0; count--) {
      const group = random.pick(filled);
      for (let value = group.length; value > 0; value--) drawn.push(random.pick(group));
    }
    return median(drawn);
  });
  return [quantile(medians, 0.025), quantile(medians, 0.975)];
}

/** Values beyond Tukey's fences: 1.5 times the distance of the quartiles outside of them. */
export function outlierCount(values: readonly number[]): number {
  const low = quantile(values, 0.25);
  const high = quantile(values, 0.75);
  const reach = 1.5 * (high - low);
  return values.filter((value) => value < low - reach || value > high + reach).length;
}

/**
 * Probability of so large a difference, or a larger one, if both samples came from one distribution: Mann–Whitney U with
 * the normal approximation and a correction for ties, two-sided. 1 where either has fewer than four values, which can
 * show nothing.
 */
export function differenceProbability(before: readonly number[], after: readonly number[]): number {
  const n = before.length;
  const m = after.length;
  if (n < 4 || m < 4) return 1;
  const all = [...before.map((value) => ({ value, first: true })), ...after.map((value) => ({ value, first: false }))];
  all.sort((a, b) => a.value - b.value);
  let rankSum = 0;
  let ties = 0;
  for (let start = 0; start < all.length; ) {
    let end = start;
    while (end < all.length && all[end]?.value === all[start]?.value) end++;
    const rank = (start + 1 + end) / 2;
    const count = end - start;
    ties += count ** 3 - count;
    for (let at = start; at < end; at++) if (all[at]?.first === true) rankSum += rank;
    start = end;
  }
  const u = rankSum - (n * (n + 1)) / 2;
  const total = n + m;
  const variance = ((n * m) / 12) * (total + 1 - ties / (total * (total - 1)));
  if (variance === 0) return 1;
  const distance = Math.max(0, Math.abs(u - (n * m) / 2) - 0.5) / Math.sqrt(variance);
  return 2 * normalTail(distance);
}

/** Probability that a standard normal value exceeds `z` ≥ 0 (Abramowitz and Stegun 26.2.17, error below 7.5e-8). */
function normalTail(z: number): number {
  const t = 1 / (1 + 0.2316419 * z);
  const terms = [0.31938153, -0.356563782, 1.781477937, -1.821255978, 1.330274429];
  const sum = terms.reduceRight((inner, term) => (inner + term) * t, 0);
  return (Math.exp(-z * z * 0.5) / Math.sqrt(2 * Math.PI)) * sum;
}

/** A line through points by least squares. */
export interface Line {
  readonly slope: number;
  readonly intercept: number;
  /** Standard error of the slope; NaN with fewer than three points. */
  readonly slopeError: number;
}

export function fitLine(points: readonly (readonly [x: number, y: number])[]): Line {
  const count = points.length;
  const meanX = points.reduce((sum, [x]) => sum + x, 0) / count;
  const meanY = points.reduce((sum, [, y]) => sum + y, 0) / count;
  const spread = points.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0);
  const slope = points.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0) / spread;
  const intercept = meanY - slope * meanX;
  const left = points.reduce((sum, [x, y]) => sum + (y - intercept - slope * x) ** 2, 0);
  return { slope, intercept, slopeError: count < 3 ? Number.NaN : Math.sqrt(left / (count - 2) / spread) };
}

export interface Growth {
  /** Cost grows as size to this power: 0 constant, 1 linear. */
  readonly exponent: number;
  readonly error: number;
  /** The exponent between the last two sizes alone, where what is constant weighs least. */
  readonly last: number;
}

/** How cost grows with size: the slope in log-log. Undefined with fewer than three sizes, or with a cost of zero. */
export function fitGrowth(points: readonly (readonly [size: number, cost: number])[]): Growth | undefined {
  if (points.length < 3 || points.some(([size, cost]) => !(size > 0) || !(cost > 0))) return undefined;
  const logs = [...points].sort(([a], [b]) => a - b).map(([size, cost]) => [Math.log(size), Math.log(cost)] as const);
  const { slope, slopeError } = fitLine(logs);
  return { exponent: slope, error: slopeError, last: fitLine(logs.slice(-2)).slope };
}
