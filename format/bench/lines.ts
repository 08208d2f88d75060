/** Benchmark results for other programs: CSV, and the lines of `go test -bench` that benchstat reads. */
import { formatEnvironment } from "../../bench/environment.ts";
import type { BenchReport, BenchResult } from "../../bench/result.ts";

/** One row a result; parameters are one column, `key=value` with blanks between. */
export function formatBenchCsv({ results }: BenchReport): readonly string[] {
  const head = ["name", "unit", "params", "samples", "median", "p01", "p50", "p99", "ci95low", "ci95high", "warnings"];
  return [
    head.join(","),
    ...results.map(({ name, unit, params, samples, median, p01, p50, p99, ci95, warnings }) =>
      csvLine([
        name,
        unit,
        Object.entries(params)
          .map(([key, value]) => `${key}=${value}`)
          .join(" "),
        samples,
        ...[median, p01, p50, p99, ...ci95].map((value) => (Number.isFinite(value) ? value : "")),
        warnings.join("; "),
      ]),
    ),
  ];
}

/** Values as one line of CSV (RFC 4180). */
export function csvLine(values: readonly (string | number | boolean)[]): string {
  return values
    .map((value) => {
      const text = String(value);
      return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    })
    .join(",");
}

/**
 * One line a round, which is what benchstat takes for a repetition: `BenchmarkRules/strategy=romana/rules=10 1 95 ns/op`.
 * (golang.org/design/14313-benchmark-format)
 */
export function formatGoBench({ environment, results }: BenchReport): readonly string[] {
  const settings = ["cpu", "kernel", "node", "seed"].map((key) => `${key}: ${environment[key]}`);
  return [
    "pkg: chainwalk",
    ...settings,
    `note: ${formatEnvironment(environment)}`,
    ...results.flatMap((result) => goLines(result)),
  ];
}

/** Go's names of units; benchstat knows that less of them is better. */
const GO_UNITS: Readonly<Record<string, readonly [unit: string, factor: number]>> = {
  ms: ["ns/op", 1e6],
  MiB: ["B/op", 2 ** 20],
};

function goLines({ name, unit, rounds, samples }: BenchResult): readonly string[] {
  const [goUnit, factor] = GO_UNITS[unit] ?? ["ns/op", 1];
  const goName = `Benchmark${name.charAt(0).toUpperCase()}${name.slice(1).replace(/\s+/g, "_")}`;
  const iterations = Math.max(1, Math.floor(samples / Math.max(1, rounds.length)));
  return rounds.map((value) => `${goName} ${iterations} ${Number((value * factor).toPrecision(6))} ${goUnit}`);
}
