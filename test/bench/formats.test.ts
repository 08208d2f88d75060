import { describe, expect, it } from "vitest";
import { Histogram } from "../../bench/histogram.ts";
import { type BenchReport, mergeFindings, type Params, resultName } from "../../bench/result.ts";
import { figures, plusMinus, sparkline } from "../../format/bench/figures.ts";
import { formatBenchCsv, formatGoBench } from "../../format/bench/lines.ts";
import { formatBenchMarkdown } from "../../format/bench/markdown.ts";
import { formatBenchPage } from "../../format/bench/page.ts";
import { formatBenchTable } from "../../format/bench/table.ts";
import { PLAIN } from "../../format/paint.ts";

/** A result whose rounds all have this value. */
function resultOf(suite: string, params: Params, value: number, unit = "ns/packet") {
  const histogram = new Histogram();
  for (let count = 0; count < 4; count++) histogram.add(value);
  const finding = { name: resultName(suite, params), unit, params, rounds: [value, value, value, value] };
  return mergeFindings([{ ...finding, histogram: histogram.buckets }], 1);
}

function reportOf(factor: number): BenchReport {
  const rules = [10, 100, 1_000].map((count) =>
    resultOf("rules", { strategy: "romana", rules: count }, count * factor),
  );
  return {
    environment: {
      cpu: "some CPU, fast",
      cores: 2,
      kernel: "linux",
      node: "v20",
      seed: 1,
      load: 0,
      processes: 1,
      date: "today",
    },
    results: [...rules, resultOf("compile", { strategy: "romana", pods: 100, policies: 75 }, 2, "ms")],
  };
}

describe("a report", () => {
  const before = { name: "old.json", report: reportOf(10) };
  const report = reportOf(5);

  it("is a table with the fitted exponent and what changed", () => {
    const lines = formatBenchTable({ report, before }, PLAIN);
    expect(lines.find((line) => line.startsWith("romana      100"))).toMatch(/romana {6}100 {2,}500 /);
    expect(lines.find((line) => line.startsWith("walk"))).toMatch(/walk +romana +10–1,000 +n\^1\.00 ±0\.00 +n\^1\.00/);
    expect(lines).toContain("Against old.json: 3 faster, 0 slower, 0 unsure, 1 same");
    expect(lines.join("\n")).toMatch(/rules\/strategy=romana\/rules=10 +100 +50\.0 +ns\/packet +×0\.50/);
  });

  it("is CSV that a comma in a value does not break", () => {
    const [head, first] = formatBenchCsv({
      ...report,
      results: [resultOf("micro", { piece: 'a "b", c' }, 7)],
    });
    expect(head).toBe("name,unit,params,samples,median,p01,p50,p99,ci95low,ci95high,warnings");
    expect(first).toMatch(/^"micro\/piece=a ""b"", c",ns\/packet,"piece=a ""b"", c",4,7,/);
  });

  it("is lines that benchstat reads, one a round, in units of Go", () => {
    const lines = formatGoBench(report).filter((line) => line.startsWith("Benchmark"));
    expect(lines).toHaveLength(16);
    expect(lines[0]).toBe("BenchmarkRules/strategy=romana/rules=10 1 50 ns/op");
    expect(lines.at(-1)).toBe("BenchmarkCompile/strategy=romana/pods=100/policies=75 1 2000000 ns/op");
    expect(lines.every((line) => /^Benchmark[A-Z]\S* \d+ [\d.e+-]+ \S+$/.test(line))).toBe(true);
  });

  it("is a page that needs nothing else, with charts that have something to say", () => {
    const page = formatBenchPage({ report, before }).join("\n");
    expect(page).not.toMatch(/(?:src|href)=|@import|url\(/);
    expect(page.match(/<svg /g)).toHaveLength(2);
    expect(page).toMatch(/data-tip="romana\nmedian 500 ns/);
    expect(page).toContain("Against old.json");
    expect(page).toMatch(/<script type="application\/json" id="data">\{"environment"/);
  });

  it("is Markdown", () => {
    const lines = formatBenchMarkdown({ report, before });
    expect(lines.join("\n")).toMatch(/^\| romana \| 1,000 \| 5,000 \| ±0\.0 % \|( [45],\d{3} \|){3} {2}\|$/m);
    expect(lines).toContain("| walk | romana | 10–1,000 | n^1.00 ±0.00 | n^1.00 |");
    expect(lines.join("\n")).toMatch(
      /^\| rules\/strategy=romana\/rules=10 \| 100 \| 50\.0 \| ×0\.50 \| 0\.0\d\d \| faster \|$/m,
    );
  });
});

describe("figures", () => {
  it("have three places where they are small", () => {
    expect([0, 0.12345, 1.234, 12.34, 123.4, 12_345, Number.NaN].map(figures)).toEqual([
      "0",
      "0.12",
      "1.23",
      "12.3",
      "123",
      "12,345",
      "–",
    ]);
    expect(plusMinus(100, [98, 102])).toBe("±2.0 %");
  });

  it("of a distribution are drawn between its first and last percent", () => {
    expect(
      sparkline(
        [
          [1, 10],
          [10, 40],
          [100, 20],
          [1e9, 0.1],
        ],
        3,
      ),
    ).toBe("▂█▄");
  });
});
