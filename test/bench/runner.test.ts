import { describe, expect, it } from "vitest";
import type { BenchCase } from "../../bench/measure.ts";
import { findingOf, Pace } from "../../bench/plan.ts";
import { runProcesses } from "../../bench/runner.ts";
import { pushing } from "../../bench/workloads/nodeUnderLoad.ts";
import { BeyondCapacity } from "../../compiler/capacity.ts";
import { Fabric } from "../../dataplane/fabric.ts";

const TIMING = { warmUpMs: 0, measureMs: 1, rounds: 2 };
const clock = () => performance.now();

const caseOf = (size: number, prepare: BenchCase["prepare"]): BenchCase => ({
  suite: "maps",
  params: { entries: size },
  unit: "ms",
  setUpMs: 0,
  prepare,
});

describe("a case that cannot be measured under a solution", () => {
  const full = { name: "policy", origin: undefined, entries: 20, room: 16 };
  const beyond = caseOf(20, () => {
    throw new BeyondCapacity({ strategy: "cilium-ebpf", node: "node-0" }, [full]);
  });
  const within = caseOf(10, () => ({ kind: "whole", once: () => 7 }));

  it("is left out with its reason; other errors are errors", async () => {
    expect(await findingOf(beyond, TIMING, clock)).toEqual({
      name: expect.stringContaining("maps"),
      leftOut: "cilium-ebpf cannot hold this cluster on node-0: policy: 20 entries, room for 16",
    });
    const idle = caseOf(1, () => pushing({ fabric: new Fabric([]), packets: [], forget: "nothing" }));
    expect(await findingOf(idle, TIMING, clock)).toMatchObject({ leftOut: "the strategy admits none of the packets" });
    const broken = caseOf(1, () => {
      throw new Error("broken");
    });
    await expect(findingOf(broken, TIMING, clock)).rejects.toThrow("broken");
  });

  it("costs the cases after it nothing", async () => {
    let done = 0;
    const outcome = await runProcesses({
      runSelf: async ({ onLine }) => {
        for (const one of [beyond, within]) onLine(JSON.stringify(await findingOf(one, TIMING, clock)));
        return 0;
      },
      processes: 2,
      seed: 1,
      budgetMs: 1_000,
      clock,
      signal: new AbortController().signal,
      argvOf: () => [],
      onCase: () => {
        done++;
      },
    });
    expect(outcome.results.map(({ params, median }) => [params, median])).toEqual([[{ entries: 10 }, 7]]);
    expect([...outcome.leftOut.values()]).toEqual([expect.stringContaining("room for 16")]);
    expect([outcome.failed, done]).toEqual([[], 4]);
  });
});

describe("a process that is late", () => {
  const finding = async () =>
    JSON.stringify(
      await findingOf(
        caseOf(10, () => ({ kind: "whole", once: () => 7 })),
        TIMING,
        clock,
      ),
    );
  const options = {
    processes: 1,
    seed: 1,
    budgetMs: 20,
    clock,
    signal: new AbortController().signal,
    argvOf: () => [],
    onCase: () => {},
  };

  it("is told to stop, and what it has found counts", async () => {
    const outcome = await runProcesses({
      ...options,
      async runSelf({ onLine, signal }) {
        onLine(await finding());
        await new Promise((stopped) => signal.addEventListener("abort", stopped));
        return 130;
      },
    });
    expect(outcome.results.map(({ params }) => params)).toEqual([{ entries: 10 }]);
    expect(outcome.failed).toEqual([]);
  });

  it("is given the time for a first case", async () => {
    const told: boolean[] = [];
    await runProcesses({
      ...options,
      async runSelf({ onLine, signal }) {
        await new Promise((later) => setTimeout(later, 700));
        told.push(signal.aborted);
        onLine(await finding());
        told.push(signal.aborted);
        return 130;
      },
    });
    expect(told).toEqual([false, true]);
  });
});

describe("the pace of a process", () => {
  it("expects of the next case what those before took beyond their estimates, and never less than its own", () => {
    const [small, large] = [100, 1_000].map((setUpMs) => ({
      ...caseOf(1, () => ({ kind: "whole", once: () => 7 })),
      setUpMs,
    }));
    if (small === undefined || large === undefined) throw new Error("no cases");
    const pace = new Pace({ warmUpMs: 30, measureMs: 70, rounds: 10 });
    expect(pace.expectedMs(large)).toBe(1_100);
    pace.took(small, 600);
    expect(pace.expectedMs(large)).toBe(3_300);
    pace.took(large, 100);
    expect(pace.expectedMs(small)).toBe(200);
  });
});
