/** The chart of a suite's results, as the suite says it is drawn. */
import { seriesName } from "../../bench/growth.ts";
import { bucketValue } from "../../bench/histogram.ts";
import type { BenchResult } from "../../bench/result.ts";
import type { Suite } from "../../bench/suites/suite.ts";
import { CHART_STYLE, type ChartPoint, curveChart, dotChart, ridgeChart } from "./chart.ts";
import { plusMinus } from "./figures.ts";
import { withUnit } from "./scale.ts";

/** SVG, line by line; nothing when there are no results. */
export function suiteChart(suite: Suite, results: readonly BenchResult[]): readonly string[] {
  const [first] = results;
  if (first === undefined) return [];
  const { x, xLabel, series } = suite.chart;
  const { unit } = first;
  const label = `${suite.title}, ${unit}`;
  if (typeof first.params[x] !== "number") {
    const rows = [...new Set(results.map(({ params }) => String(params[x])))].map((name) => ({
      name,
      dots: results
        .filter(({ params }) => String(params[x]) === name)
        .map((result) => ({ ...pointOf(result), series: seriesName(result.params, series) })),
    }));
    return dotChart({ label, unit, rows });
  }
  const names = [...new Set(results.map(({ params }) => seriesName(params, series)))];
  const curves = names.map((name) => ({
    name,
    points: results
      .filter(({ params }) => seriesName(params, series) === name)
      .map((result) => ({ ...pointOf(result), x: Number(result.params[x]) }))
      .sort((a, b) => a.x - b.x),
  }));
  return curveChart({ label, xLabel, unit, curves });
}

/** The chart as a file of its own, which brings its style along. */
export function standaloneChart(suite: Suite, results: readonly BenchResult[]): readonly string[] {
  const [head = "", ...rest] = suiteChart(suite, results);
  const style = [...CHART_STYLE, "svg{background:#fff;color:#1d2025}"].join("");
  return [head, `<style>${style}</style>`, ...rest];
}

/** The distributions of a suite's results at its largest size that all curves reach. */
export function suiteRidges(suite: Suite, results: readonly BenchResult[]): readonly string[] {
  const { x, series } = suite.chart;
  const [first] = results;
  if (first === undefined || typeof first.params[x] !== "number") return [];
  const names = [...new Set(results.map(({ params }) => seriesName(params, series)))];
  const sizes = [...new Set(results.map(({ params }) => Number(params[x])))].sort((a, b) => b - a);
  const at = (size: number) => results.filter(({ params }) => params[x] === size);
  const size = sizes.find((candidate) => at(candidate).length === names.length);
  if (size === undefined || at(size).some(({ samples }) => samples < 200)) return [];
  const rows = at(size).map(({ params, histogram }) => ({
    name: seriesName(params, series),
    values: histogram.map(([bucket, count]) => [bucketValue(bucket), count] as const),
  }));
  const label = `Distribution of the samples at ${size} ${suite.chart.xLabel}`;
  return [`<p class="caption">${label}</p>`, ...ridgeChart({ label, unit: first.unit, rows })];
}

function pointOf(result: BenchResult): ChartPoint {
  const { median, p01, p99, ci95, unit, samples, processes, warnings } = result;
  const tip = [
    `median ${withUnit(median, unit)} ${plusMinus(median, ci95)}`,
    `p01 ${withUnit(p01, unit)}, p99 ${withUnit(p99, unit)}`,
    `${samples.toLocaleString("en-US")} samples in ${processes} processes`,
    ...warnings,
  ].join("\n");
  return { y: median, low: p01, high: p99, tip };
}
