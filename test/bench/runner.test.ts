import { describe, expect, it } from "vitest";
import type { BenchCase } from "../../bench/measure.ts";
import { findingOf } from "../../bench/plan.ts";
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
