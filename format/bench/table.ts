/** Benchmark results in a terminal, with bars (median, log scale) and the distribution of samples in one line. */
import { type Change, compareReports } from "../../bench/compareReports.ts";
import { formatEnvironment } from "../../bench/environment.ts";
import { growthOf } from "../../bench/growth.ts";
import { bucketValue } from "../../bench/histogram.ts";
import { type BenchReport, type BenchResult, suiteOf } from "../../bench/result.ts";
import { SUITES } from "../../bench/suites/registry.ts";
import { ratioOf, type Suite } from "../../bench/suites/suite.ts";
import { type Cell, formatColumns } from "../columns.ts";
import type { Paint } from "../paint.ts";
import { bar, figures, logShare, plusMinus, sparkline, times } from "./figures.ts";

const BAR_WIDTH = 16;
const HISTOGRAM_WIDTH = 12;

export interface BenchView {
  readonly report: BenchReport;
  /** An earlier report to compare with, and its name. */
  readonly before?: { readonly name: string; readonly report: BenchReport } | undefined;
}

export function formatBenchTable({ report, before }: BenchView, paint: Paint): readonly string[] {
  const lines = [paint.faint(formatEnvironment(report.environment)), ""];
  for (const suite of SUITES) {
    const results = report.results.filter((result) => suiteOf(result) === suite.name);
    if (results.length === 0) continue;
    lines.push(`${paint.strong(suite.title)} ${paint.faint(`(${suite.name})`)}`, paint.faint(suite.summary));
    lines.push(
      ...formatColumns([headOf(suite, results), ...results.map((result) => rowOf(suite, result, results))], { paint }),
      "",
    );
  }
  lines.push(...growthLines(report, paint), ...warningLines(report, paint));
  if (before !== undefined) lines.push(...changeLines(compareReports(before.report, report), before.name, paint));
  while (lines.at(-1) === "") lines.pop();
  return lines;
}

function headOf({ against }: Suite, [first]: readonly BenchResult[]): readonly Cell[] {
  const right = (text: string): Cell => ({ text, align: "right", look: "faint" });
  const names = Object.keys(first?.params ?? {}).map((text): Cell => ({ text, look: "faint" }));
  const figureNames = [`median ${first?.unit}`, "95 %", "p01", "p50", "p99"].map(right);
  const ratio = against === undefined ? [] : [right(`of ${against.value}`)];
  return [
    ...names,
    ...figureNames,
    ...ratio,
    { text: "median, log scale", look: "faint" },
    { text: "p01–p99", look: "faint" },
  ];
}

function rowOf(suite: Suite, result: BenchResult, all: readonly BenchResult[]): readonly Cell[] {
  const right = (text: string): Cell => ({ text, align: "right" });
  const medians = all.map(({ median }) => median).filter((median) => median > 0);
  // One step below the smallest, so that it has a bar as well.
  const scale = [Math.min(...medians) / 1.5, Math.max(...medians)] as const;
  return [
    ...Object.values(result.params).map(
      (value): Cell => (typeof value === "number" ? right(value.toLocaleString("en-US")) : { text: value }),
    ),
    { text: figures(result.median), align: "right", look: "strong" },
    { text: plusMinus(result.median, result.ci95), align: "right", look: "faint" },
    right(figures(result.p01)),
    right(figures(result.p50)),
    right(figures(result.p99)),
    ...(suite.against === undefined ? [] : [right(times(ratioOf(suite, result, all)))]),
    { text: bar(logShare(result.median, scale), BAR_WIDTH), look: "good" },
    {
      text: sparkline(
        result.histogram.map(([bucket, count]) => [bucketValue(bucket), count]),
        HISTOGRAM_WIDTH,
      ),
    },
  ];
}

function growthLines({ results }: BenchReport, paint: Paint): readonly string[] {
  const rows = growthOf(results);
  if (rows.length === 0) return [];
  const head: readonly Cell[] = ["cost of", "curve", "sizes", "grows as", "at the end"].map((text) => ({
    text,
    look: "faint",
  }));
  const body = rows.map(({ of, series, from, to, exponent, error, last }): readonly Cell[] => [
    { text: of },
    { text: series },
    { text: `${from.toLocaleString("en-US")}–${to.toLocaleString("en-US")}` },
    { text: `n^${exponent.toFixed(2)} ±${error.toFixed(2)}` },
    { text: `n^${last.toFixed(2)}` },
  ]);
  return [paint.strong("How cost grows"), ...formatColumns([head, ...body], { paint }), ""];
}

function warningLines({ results }: BenchReport, paint: Paint): readonly string[] {
  const doubtful = results.filter(({ warnings }) => warnings.length > 0);
  if (doubtful.length === 0) return [];
  return [
    paint.strong(`${doubtful.length} of ${results.length} results to take with care`),
    ...doubtful.map(({ name, warnings }) => `  ${name}: ${paint.warn(warnings.join("; "))}`),
    "",
  ];
}

function changeLines(changes: readonly Change[], name: string, paint: Paint): readonly string[] {
  const counted = (["faster", "slower", "unsure", "same"] as const)
    .map((verdict) => `${changes.filter((change) => change.verdict === verdict).length} ${verdict}`)
    .join(", ");
  const shown = changes.filter(({ verdict }) => verdict !== "same");
  const rows = shown.map(({ name: result, before, after, ratio, probability, verdict, unit }): readonly Cell[] => [
    { text: result },
    { text: figures(before), align: "right" },
    { text: figures(after), align: "right" },
    { text: unit },
    {
      text: `×${ratio.toFixed(2)}`,
      align: "right",
      look: verdict === "slower" ? "bad" : verdict === "faster" ? "good" : "faint",
    },
    { text: `p ${probability < 0.001 ? "<0.001" : probability.toFixed(3)}`, look: "faint" },
    { text: verdict },
  ]);
  return [paint.strong(`Against ${name}: ${counted}`), ...formatColumns(rows, { paint })];
}
