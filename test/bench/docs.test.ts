import { expect, it } from "vitest";
import { Histogram } from "../../bench/histogram.ts";
import { mergeFindings } from "../../bench/result.ts";
import { chainwalk } from "../cli/commandLine.ts";

const histogram = new Histogram();
histogram.add(7);
const finding = { unit: "ns/packet", rounds: [7, 7, 7, 7], histogram: histogram.buckets };
const results = [10, 100].map((rules) =>
  mergeFindings(
    [{ ...finding, name: `rules/strategy=romana/rules=${rules}`, params: { strategy: "romana", rules } }],
    1,
  ),
);

const DATA = {
  "data/report.json": JSON.stringify({ environment: { cpu: "some CPU" }, results }),
  "data/targets.json": JSON.stringify([
    {
      target: "walk",
      unit: "ns",
      goal: 3,
      stretch: 1,
      measured: 4,
      peer: null,
      ratio: null,
      pass: false,
      note: "slow",
    },
  ]),
  "data/peers.json": "[]",
  "data/validate.json": "[]",
};

it("bench docs writes the page and a chart for each suite, from what earlier runs left", async () => {
  const saved = new Map<string, string>();
  const { code } = await chainwalk("bench docs --folder out --data data", { files: DATA, saved });
  expect(code).toBe(0);
  expect([...saved.keys()].sort()).toEqual(["out/benchmarks.md", "out/benchmarks/rules.svg"]);
  const page = saved.get("out/benchmarks.md") ?? "";
  expect(page).toContain("| walk | 3.00 ns | 1.00 | 4.00 | – | – | miss | slow |");
  expect(page).toContain("](benchmarks/rules.svg)");
  expect(page).toContain("Not measured: no kernel could be asked");
  // No row of peers either.
  expect(page).toContain("Not measured: this part of the run");
  expect(saved.get("out/benchmarks/rules.svg")).toMatch(/^<svg [\s\S]*<style>[\s\S]*<\/svg>$/);
});

it("bench docs says which file is not what a run writes", async () => {
  const files = { ...DATA, "data/targets.json": '[{"target":7}]' };
  const { code, err } = await chainwalk("bench docs --data data", { files });
  expect(err).toMatch(/targets\.json: not what chainwalk bench targets writes/);
  expect(code).toBe(2);
});
