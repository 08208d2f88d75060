/** How cost grows with size, fitted from the results of the suites that vary a size. */
import { type BenchResult, suiteOf } from "./result.ts";
import { fitGrowth, type Growth } from "./statistics.ts";
import { SUITES } from "./suites/registry.ts";

export interface GrowthRow extends Growth {
  /** What is measured: `walk`, `compile`, … */
  readonly of: string;
  readonly suite: string;
  /** The other parameters: `kube-router`, `cilium-ebpf entries=10`. */
  readonly series: string;
  readonly from: number;
  readonly to: number;
}

/** One row for each curve of each suite whose sizes were measured at three or more. */
export function growthOf(results: readonly BenchResult[]): readonly GrowthRow[] {
  return SUITES.flatMap((suite) => {
    const { growth, chart } = suite;
    if (growth === undefined) return [];
    const curves = curvesOf(
      results.filter((result) => suiteOf(result) === suite.name),
      chart.x,
      chart.series,
    );
    return [...curves].flatMap(([series, points]) => {
      const fitted = fitGrowth(points);
      if (fitted === undefined) return [];
      const sizes = points.map(([size]) => size);
      return [{ of: growth, suite: suite.name, series, from: Math.min(...sizes), to: Math.max(...sizes), ...fitted }];
    });
  });
}

/** Size and median, by curve. */
function curvesOf(
  results: readonly BenchResult[],
  x: string,
  series: readonly string[],
): ReadonlyMap<string, readonly (readonly [number, number])[]> {
  const curves = new Map<string, (readonly [number, number])[]>();
  for (const { params, median } of results) {
    const size = params[x];
    if (typeof size !== "number") continue;
    const name = seriesName(params, series);
    curves.set(name, [...(curves.get(name) ?? []), [size, median]]);
  }
  return curves;
}

/** What tells the curves of a chart apart, in words: names alone, numbers with what they are. */
export function seriesName(params: BenchResult["params"], series: readonly string[]): string {
  return series
    .map((key) => (typeof params[key] === "number" ? `${key}=${params[key]}` : String(params[key] ?? "")))
    .join(" ");
}
