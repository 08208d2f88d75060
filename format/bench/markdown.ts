/** Benchmark results as Markdown tables. */
import { compareReports } from "../../bench/compareReports.ts";
import { formatEnvironment } from "../../bench/environment.ts";
import { growthOf } from "../../bench/growth.ts";
import { type BenchReport, type BenchResult, suiteOf } from "../../bench/result.ts";
import { SUITES } from "../../bench/suites/registry.ts";
import { ratioOf, type Suite } from "../../bench/suites/suite.ts";
import { figures, plusMinus, times } from "./figures.ts";
import type { BenchView } from "./table.ts";

export function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): readonly string[] {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(head), `| ${head.map(() => "---").join(" | ")} |`, ...rows.map(line)];
}

export function formatBenchMarkdown({ report, before }: BenchView): readonly string[] {
  const lines = [formatEnvironment(report.environment), ""];
  for (const suite of SUITES) {
    const results = report.results.filter((result) => suiteOf(result) === suite.name);
    if (results.length === 0) continue;
    lines.push(`### ${suite.title}`, "", suite.summary, "", ...resultTable(suite, results), "");
  }
  lines.push(...growthTable(report));
  if (before !== undefined) {
    const rows = compareReports(before.report, report).map((change) => [
      change.name,
      figures(change.before),
      figures(change.after),
      `×${change.ratio.toFixed(2)}`,
      change.probability.toFixed(3),
      change.verdict,
    ]);
    lines.push(
      `### Against ${before.name}`,
      "",
      ...markdownTable(["result", "before", "after", "ratio", "p", ""], rows),
      "",
    );
  }
  return lines.slice(0, -1);
}

export function resultTable(suite: Suite, results: readonly BenchResult[]): readonly string[] {
  const [first] = results;
  const ratioHead = suite.against === undefined ? [] : [`of ${suite.against.value}`];
  const head = [
    ...Object.keys(first?.params ?? {}),
    `median ${first?.unit}`,
    "95 %",
    "p01",
    "p50",
    "p99",
    ...ratioHead,
    "care",
  ];
  return markdownTable(
    head,
    results.map((result) => [
      ...Object.values(result.params).map((value) => value.toLocaleString("en-US")),
      figures(result.median),
      plusMinus(result.median, result.ci95),
      figures(result.p01),
      figures(result.p50),
      figures(result.p99),
      ...(suite.against === undefined ? [] : [times(ratioOf(suite, result, results))]),
      result.warnings.join("; "),
    ]),
  );
}

export function growthTable({ results }: BenchReport): readonly string[] {
  const rows = growthOf(results).map(({ of, series, from, to, exponent, error, last }) => [
    of,
    series,
    `${from.toLocaleString("en-US")}–${to.toLocaleString("en-US")}`,
    `n^${exponent.toFixed(2)} ±${error.toFixed(2)}`,
    `n^${last.toFixed(2)}`,
  ]);
  if (rows.length === 0) return [""];
  return [
    "### How cost grows",
    "",
    ...markdownTable(["cost of", "curve", "sizes", "grows as", "at the end"], rows),
    "",
  ];
}
