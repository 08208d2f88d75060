import { describe, expect, it } from "vitest";
import { stacksOf } from "../../bench/flame.ts";
import { nodeFabric } from "../../bench/workloads/nodeUnderLoad.ts";
import { RULE_SET_NODE, ruleSetCluster, ruleSetPacket } from "../../bench/workloads/ruleSet.ts";
import { nextOf } from "../../bench/workloads/traffic.ts";
import { compileNode, resolvePolicies } from "../../compiler/compile.ts";
import { STRATEGIES } from "../../compiler/strategies/registry.ts";
import { curveChart, dotChart, spread } from "../../format/bench/chart.ts";
import { formatFlame, formatFolded } from "../../format/bench/flame.ts";
import { logScale, withUnit } from "../../format/bench/scale.ts";
import { answerTo } from "../../verify/answer.ts";

/** Names of elements that are opened and not closed, or closed and not opened. */
function unbalanced(svg: string): readonly string[] {
  const open: string[] = [];
  for (const [, close, name = "", selfClosing] of svg.matchAll(/<(\/?)([a-z]+)[^>]*?(\/?)>/g)) {
    if (selfClosing === "/") continue;
    if (close === "/") {
      if (open.pop() !== name) return [name];
    } else open.push(name);
  }
  return open;
}

describe("charts", () => {
  const point = (x: number, y: number) => ({ x, y, low: y / 2, high: y * 2, tip: "median & more" });
  const curves = [{ name: "a <b>", points: [point(10, 100), point(1_000, 10_000)] }];

  it("are whole SVG in which names of ours break nothing", () => {
    const svgs = [
      curveChart({ label: "cost", xLabel: "rules", unit: "ns/packet", curves }),
      dotChart({ label: "cost", unit: "ms", rows: [{ name: "a <b>", dots: [{ ...point(1, 3), series: '"s"' }] }] }),
      formatFlame(new Map([["filter FORWARD;<chain>;1", 3]]), "a & b"),
    ];
    for (const lines of svgs) {
      const svg = lines.join("\n");
      expect(unbalanced(svg)).toEqual([]);
      expect(svg).not.toMatch(/<b>|<chain>|& /);
      expect(svg).toMatch(/^<svg [^>]*viewBox/);
    }
  });

  it("put values where their logarithm is", () => {
    const scale = logScale([10, 1_000], 0, 200);
    expect(scale.at(100)).toBeCloseTo(100);
    expect(scale.at(1_000) - scale.at(100)).toBeCloseTo(scale.at(100) - scale.at(10));
    expect(scale.major).toContain(100);
    expect(withUnit(1_234, "ns/packet")).toBe("1.23 µs");
    expect(withUnit(3, "MiB")).toBe("3 MiB");
  });

  it("move names apart, no further than needed, in their order", () => {
    const moved = spread([50, 10, 52, 51], 12);
    const sorted = [...moved].sort((a, b) => a - b);
    for (const [at, place] of sorted.slice(1).entries()) expect(place - (sorted[at] ?? 0)).toBeGreaterThan(11);
    expect(moved[1]).toBeCloseTo(10);
    expect(moved.map((_, index) => index).sort((a, b) => (moved[a] ?? 0) - (moved[b] ?? 0))).toEqual([1, 0, 3, 2]);
  });
});

describe("stacks of a traffic mix", () => {
  const cluster = resolvePolicies(ruleSetCluster(5));
  const opening = ruleSetPacket(3, 1);

  for (const strategy of STRATEGIES) {
    it(`${strategy.name}: every rule and map that packets look at is in one stack`, () => {
      const stacks = stacksOf([compileNode(cluster, strategy, { node: RULE_SET_NODE })], [opening]);
      const counted = [...stacks.values()].reduce((sum, count) => sum + count, 0);
      const fabric = nodeFabric(cluster, strategy, RULE_SET_NODE);
      const worked = [opening, answerTo(opening), nextOf(opening)].map((packet) => fabric.push(packet).work);
      const rules = worked.reduce((sum, work) => sum + work.rules, 0);
      if (rules > 0) expect(counted).toBe(rules);
      else expect(counted).toBeGreaterThan(3);
    });
  }

  it("tell chains that call each other, and return to", () => {
    const kubeRouter = STRATEGIES.find(({ name }) => name === "kube-router");
    if (kubeRouter === undefined) throw new Error("no kube-router");
    const lines = formatFolded(stacksOf([compileNode(cluster, kubeRouter, { node: RULE_SET_NODE })], [opening]));
    expect(
      lines.some((line) => /^filter FORWARD;KUBE-ROUTER-FORWARD;KUBE-POD-FW-\w+;KUBE-NWPLCY-\w+;\d+ \d+$/.test(line)),
    ).toBe(true);
    // Two rules of FORWARD's own at most: what its chains do stands under them.
    for (const line of lines) expect(line).toMatch(/^(raw|mangle|nat|filter) [A-Z]+(;[A-Z][\w-]*)*;\d+ \d+$/);
  });
});
