import { expect, it } from "vitest";
import { runTargets } from "../../bench/targets/run.ts";
import type { Measured, Target, TargetRow } from "../../bench/targets/target.ts";
import { formatTargets } from "../../format/bench/targets.ts";
import { PLAIN } from "../../format/paint.ts";

function target(name: string, better: Target["better"], measured: Measured): Target {
  return { name, unit: "ns", goal: 10, stretch: 5, better, limitMs: 20, peer: "a peer", measure: async () => measured };
}

const TARGETS = [
  target("fast", "lower", { measured: 8, peer: 16, note: "as it should be" }),
  target("slow", "lower", { measured: 30, note: "too many rules" }),
  target("relative", "lower", { measured: 30, goal: 40, note: "" }),
  target("throughput", "higher", { measured: 30, note: "" }),
  target("absent", "lower", { measured: undefined, note: "no kernel here" }),
];

async function rowsOf(
  targets: readonly Target[],
  where: "here" | "processes",
  process?: "silent",
): Promise<TargetRow[]> {
  const rows: TargetRow[] = [];
  const runSelf = async ({ signal, argv, onLine }: Parameters<Parameters<typeof runTargets>[1]["runSelf"]>[0]) => {
    if (process === "silent") await new Promise((resolve) => signal.addEventListener("abort", resolve));
    const name = argv[argv.indexOf("--only") + 1];
    onLine(
      JSON.stringify(
        await rowsOf(
          targets.filter((one) => one.name === name),
          "here",
        ),
      ),
    );
    return 0;
  };
  const options = { seed: 1, clock: () => 0, runSelf, signal: new AbortController().signal, where };
  for await (const row of runTargets(targets, options)) rows.push(row);
  return rows;
}

it("a target is passed on its side of the goal, which may be measured as well", async () => {
  const rows = await rowsOf(TARGETS, "here");
  expect(rows.map(({ pass }) => pass)).toEqual([true, false, true, true, false]);
  expect(rows[0]).toMatchObject({ peer: 16, ratio: 0.5, note: "as it should be; peer: a peer" });
  expect(rows[2]).toMatchObject({ goal: 40, stretch: 35 });
});

it("a row comes back from a process of its own unchanged", async () => {
  expect(await rowsOf(TARGETS, "processes")).toEqual(await rowsOf(TARGETS, "here"));
});

it("what takes too long is ended, and the row says so", async () => {
  const [row] = await rowsOf(TARGETS.slice(0, 1), "processes", "silent");
  expect(row).toMatchObject({ measured: null, pass: false, note: "not done within 0.02 s" });
});

it("when the time for all is over, those left say so and no process is started", async () => {
  let now = 0;
  let started = 0;
  const runSelf = async () => {
    now += 1_000;
    started++;
    return 1;
  };
  const options = { seed: 1, clock: () => now, runSelf, signal: new AbortController().signal };
  const notes: string[] = [];
  for await (const { note } of runTargets(TARGETS, { ...options, where: "processes", budgetMs: 1_500 }))
    notes.push(note);
  expect(started).toBe(2);
  expect(notes.slice(2)).toEqual(Array(3).fill("the time for all targets was over"));
});

it("the table names what missed and why", async () => {
  const lines = formatTargets(await rowsOf(TARGETS, "here"), "table", PLAIN);
  expect(lines.find((line) => line.startsWith("slow"))).toMatch(/30\.0 .* miss$/);
  expect(lines).toContain("    too many rules");
  expect(lines.find((line) => line.startsWith("absent"))).toMatch(/not measured$/);
});
