import { describe, expect, it } from "vitest";
import { measure, measureAwaited } from "../../bench/measure.ts";
import { planOf } from "../../bench/plan.ts";
import { mergeFindings, readFinding, readReport } from "../../bench/result.ts";
import { SUITES } from "../../bench/suites/registry.ts";
import { ratioOf, type Suite } from "../../bench/suites/suite.ts";
import { STRATEGIES } from "../../compiler/strategies/registry.ts";

const TIMING = { warmUpMs: 20, measureMs: 100, rounds: 5 };

/** A clock that only work moves, and what work costs on it. */
function workshop(nsPerOperation: number) {
  let ms = 0;
  return {
    clock: () => ms,
    probe: (operations: number) => ({
      burst: () => {
        ms += (operations * nsPerOperation) / 1e6;
        return operations;
      },
    }),
    spend: (spentMs: number) => {
      ms += spentMs;
      return spentMs;
    },
  };
}

describe("measuring", () => {
  it("finds what an operation costs, cheap or dear", () => {
    for (const cost of [5, 800, 50_000]) {
      const { clock, probe } = workshop(cost);
      const { rounds, histogram } = measure({ kind: "bursts", probe }, TIMING, clock);
      expect(rounds).toHaveLength(5);
      for (const value of rounds) expect(value).toBeCloseTo(cost, 3);
      expect(histogram).toHaveLength(1);
    }
  });

  it("times small operations in long bursts and large ones one by one", () => {
    const sizes = [20, 100_000].map((cost) => {
      const { clock, probe } = workshop(cost);
      const asked: number[] = [];
      const remember = (operations: number) => {
        asked.push(operations);
        return probe(operations);
      };
      measure({ kind: "bursts", probe: remember }, TIMING, clock);
      return asked.at(-1);
    });
    expect(sizes).toEqual([200, 1]);
  });

  it("does not count what happens between bursts", () => {
    const { clock, probe, spend } = workshop(1_000);
    const slow = (operations: number) => ({ ...probe(operations), between: () => void spend(3) });
    const { rounds } = measure({ kind: "bursts", probe: slow }, TIMING, clock);
    expect(rounds[0]).toBeCloseTo(1_000, 3);
  });

  it("does a long thing once and a short one often", () => {
    const long = workshop(0);
    expect(measure({ kind: "whole", once: () => long.spend(5_000) }, TIMING, long.clock).rounds).toEqual([5_000]);
    const short = workshop(0);
    expect(measure({ kind: "whole", once: () => short.spend(2) }, TIMING, short.clock).rounds).toEqual([2, 2, 2, 2, 2]);
  });

  it("awaits what waits for the system: once to warm up, then three times at least", async () => {
    const { clock, spend } = workshop(0);
    let calls = 0;
    const once = async () => spend(1_000 * ++calls);
    expect((await measureAwaited({ kind: "awaited", once }, TIMING, clock)).rounds).toEqual([2_000, 3_000, 4_000]);
    const short = workshop(0);
    const often = await measureAwaited({ kind: "awaited", once: async () => short.spend(2) }, TIMING, short.clock);
    expect(often.rounds).toHaveLength(5);
  });

  it("hands functions to tinybench and takes nanoseconds from it", () => {
    const busy = () => {
      const end = performance.now() + 1;
      while (performance.now() < end);
    };
    const { rounds, histogram } = measure({ kind: "task", run: busy }, { ...TIMING, rounds: 3 }, performance.now);
    expect(rounds).toHaveLength(3);
    for (const value of rounds) expect(value).toBeGreaterThanOrEqual(1e6);
    expect(histogram.reduce((sum, [, count]) => sum + count, 0)).toBeGreaterThanOrEqual(6);
  });
});

describe("a plan", () => {
  const toy = (name: string, setUpMs: readonly number[]): Suite => ({
    name,
    title: name,
    summary: "",
    chart: { x: "n", xLabel: "n", series: [] },
    cases: () =>
      setUpMs.map((ms, n) => ({
        suite: name,
        params: { n },
        unit: "ms",
        setUpMs: ms,
        prepare: () => ({ kind: "whole", once: () => 1 }),
      })),
  });
  const options = { suites: [toy("a", [1, 5_000, 2]), toy("b", [3, 4])], strategies: STRATEGIES, seed: 1, turns: 2 };
  const names = (budgetMs: number, turn: number) =>
    planOf({ ...options, budgetMs, turn }).cases.map(({ suite, params }) => `${suite}${params.n}`);

  it("leaves out what is dear to set up when time is short", () => {
    expect(names(60_000, 0)).toEqual(["a0", "a1", "a2", "b0", "b1"]);
    expect(names(2_000, 0)).toEqual(["a0", "a2", "b0", "b1"]);
  });

  it("takes something from every suite before it takes more of one", () => {
    expect(names(260, 0)).toEqual(["a0", "b0"]);
  });

  it("shares the time among suites: one dear case does not take the place of many cheap ones", () => {
    const rules = [1, 2, 3, 4, 5, 6, 7, 8];
    const suites = [toy("maps", [1, 2_000]), toy("rules", rules)];
    const within = (budgetMs: number) =>
      planOf({ ...options, suites, budgetMs, turn: 0 }).cases.map(({ suite, params }) => `${suite}${params.n}`);
    expect(within(4_000)).toEqual(["maps0", ...rules.map((_, n) => `rules${n}`)]);
    expect(within(10_000)).toContain("maps1");
  });

  it("begins elsewhere in each process", () => {
    expect(names(60_000, 1)).toEqual(["a2", "b0", "b1", "a0", "a1"]);
  });

  it("has a case for every strategy wherever strategies are compared", () => {
    for (const suite of SUITES.filter(({ chart }) => chart.series.includes("strategy"))) {
      const named = suite.cases({ strategies: STRATEGIES.slice(0, 1), seed: 1 }).map(({ params }) => params.strategy);
      expect(new Set(named).size).toBeLessThanOrEqual(1);
    }
    const names = SUITES.flatMap((suite) => suite.cases({ strategies: STRATEGIES, seed: 1 })).map(
      ({ suite, params }) => `${suite} ${JSON.stringify(params)}`,
    );
    expect(new Set(names).size).toBe(names.length);
  });

  it("compares the readers of captures with ours on the same file", () => {
    const suite = SUITES.find(({ name }) => name === "replay");
    const result = (reader: string, flows: number, median: number) =>
      mergeFindings(
        [
          {
            name: `replay/reader=${reader}/flows=${flows}`,
            unit: "ns/packet",
            params: { reader, flows },
            rounds: [median],
            histogram: [],
          },
        ],
        1,
      );
    const ours = suite?.against?.value ?? "";
    const all = [result(ours, 1, 100), result(ours, 2, 400), result("tshark -r", 1, 250)];
    expect(all.map((one) => suite && ratioOf(suite, one, all))).toEqual([1, 1, 2.5]);
    expect(all.slice(2).map((one) => suite && ratioOf(suite, one, all.slice(1)))).toEqual([undefined]);
  });
});

describe("results", () => {
  const finding = (rounds: readonly number[]) => ({
    name: "a/n=1",
    unit: "ns",
    params: { n: 1 },
    rounds,
    histogram: [[100, rounds.length]] as const,
  });

  it("of several processes are merged, and their disagreement is said", () => {
    const calm = mergeFindings([finding([10, 10, 10, 10]), finding([10, 10, 10, 10])], 1);
    expect(calm).toMatchObject({ samples: 8, median: 10, ci95: [10, 10], processes: 2, warnings: [] });
    const torn = mergeFindings([finding([10, 10, 10, 10]), finding([20, 20, 20, 20])], 1);
    expect(torn.warnings).toContain("processes differ by 100 %");
    expect(mergeFindings([finding([10])], 1).warnings).toEqual(["only one round"]);
  });

  it("survive being written and read", () => {
    const report = { environment: { seed: 1 }, results: [mergeFindings([finding([1, 2, 3, 4])], 1)] };
    expect(readReport(JSON.stringify(report))).toEqual(report);
    expect(readFinding(JSON.stringify(finding([1])))).toEqual(finding([1]));
  });

  it("that are none are refused with the place", () => {
    expect(() => readReport('{"environment":{},"results":[{"name":1}]}')).toThrow(/results\.0\.name/);
    expect(() => readReport("[")).toThrow(/JSON/);
  });
});
