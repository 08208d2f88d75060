import { describe, expect, it } from "vitest";
import { readReport } from "../../bench/result.ts";
import { TARGETS } from "../../bench/targets/registry.ts";
import { chainwalk } from "./commandLine.ts";

const tiny = (processes: number) => `bench position -s romana --processes ${processes} --time 1 --seed 3`;

describe("bench", () => {
  it("writes the JSON of the contract, and reads it back to compare", async () => {
    const { code, out } = await chainwalk(`${tiny(2)} -o json`);
    expect(code).toBe(0);
    const report: unknown = JSON.parse(out);
    expect(report).toMatchObject({ environment: { seed: 3, processes: 2, node: process.version } });
    const { results } = readReport(out);
    expect(results.length).toBeGreaterThan(0);
    for (const result of results) {
      expect(result).toMatchObject({
        name: `position/strategy=romana/match=${result.params.match}`,
        unit: "ns/packet",
      });
      expect(result.samples).toBeGreaterThan(0);
      expect(result.p01).toBeLessThanOrEqual(result.p50);
      expect(result.p50).toBeLessThanOrEqual(result.p99);
      expect(result.ci95[0]).toBeLessThanOrEqual(result.median);
      expect(result.ci95[1]).toBeGreaterThanOrEqual(result.median);
    }
    // What costs a hundredth now was compared with what it cost before.
    const slow = results.map((one) => ({
      ...one,
      median: one.median * 1e6,
      ci95: one.ci95.map((value) => value * 1e6),
      rounds: [4, 5, 6, 7, 8, 9].map((value) => value * 1e12),
    }));
    const files = { "old.json": JSON.stringify({ environment: {}, results: slow }) };
    const compared = await chainwalk(`${tiny(1)} --compare old.json`, { files });
    expect(compared.out).toMatch(/Against old\.json: [1-9]\d* faster, 0 slower/);
  });

  it("keeps what is done when interrupted, and says so by its exit code", async () => {
    const interruption = new AbortController();
    const ending = chainwalk("bench micro --processes 1 --time 30 -o json", { interrupted: interruption.signal });
    setTimeout(() => interruption.abort(), 500);
    const { code, out } = await ending;
    expect(code).toBe(130);
    expect(readReport(out).results.length).toBeLessThan(10);
  });

  it("says what it does not know, and what is allowed", async () => {
    const wrong = [
      ["bench nothing", /unknown suite "nothing"; allowed: rules, .*micro/],
      ["bench micro -o xml", /table, json, csv, go, md, html/],
      ["bench micro --time 0", /whole number 1-86400/],
      ["bench micro --compare absent.json", /absent\.json/],
      ["bench -s nobody", /unknown strategy "nobody"/],
      ["bench targets --only nonsense", /no target has nonsense/],
    ] as const;
    for (const [command, message] of wrong) {
      const { code, err } = await chainwalk(command);
      expect(err).toMatch(message);
      expect(code).toBe(2);
    }
    const files = { "old.json": '{"results":7}' };
    const { code, err } = await chainwalk("bench micro --compare old.json", { files });
    expect(err).toMatch(/old\.json: not what bench -o json writes: environment/);
    expect(code).toBe(2);
  });

  it("lists what the suites measure", async () => {
    const { out } = await chainwalk("bench --list");
    for (const name of ["rules", "position", "locality", "state", "flows", "maps", "compile", "memory", "update"]) {
      expect(out).toMatch(new RegExp(`^${name} `, "m"));
    }
  });
});

describe("bench flame", () => {
  it("prints folded stacks, or a flame graph, the same for the same seed", async () => {
    const command = "bench flame -f scenarios/db-policy/cluster.yaml -s calico-iptables --connections 20 --seed 4";
    const { code, out } = await chainwalk(command);
    expect(code).toBe(0);
    expect(out).toMatch(/^filter FORWARD;cali-FORWARD;[\w;-]+ \d+$/m);
    expect((await chainwalk(command)).out).toBe(out);
    expect((await chainwalk(`${command} -o svg`)).out).toMatch(
      /^<svg[\s\S]*calico-iptables: 20 connections[\s\S]*<\/svg>\n$/,
    );
  });

  it("is of one strategy, and needs pods", async () => {
    const two = await chainwalk("bench flame -f scenarios/db-policy/cluster.yaml -s kube-router,romana");
    expect(two).toMatchObject({ code: 2, err: expect.stringContaining("one strategy") });
    const none = await chainwalk("bench flame -f empty.yaml", {
      files: { "empty.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: { name: x }\n" },
    });
    expect(none).toMatchObject({ code: 2, err: expect.stringContaining("two pods") });
  });
});

describe("bench peers", () => {
  it("compares in pairs, and says why not where it cannot", async () => {
    const { code, out } = await chainwalk("bench peers --only objects -o json");
    expect(code).toBe(0);
    const rows: unknown = JSON.parse(out);
    expect(rows).toMatchObject([{ peer: "a loop over objects", unit: "ns/packet", skipped: null }]);
  });

  it("knows the names of its peers", async () => {
    const { code, err } = await chainwalk("bench peers --only nobody");
    expect(err).toMatch(/no peer has nobody in its name; there are: "a loop over objects", .*cyclonus/);
    expect(code).toBe(2);
  });
});

describe("bench validate", () => {
  it("refuses what is no profile", async () => {
    const files = { "profile.json": '{"name":"x","variant":"xdp"}' };
    const { code, err } = await chainwalk("bench validate --profile profile.json", { files });
    expect(err).toMatch(/profile\.json: not what bench calibrate writes: variant/);
    expect(code).toBe(2);
  });
});

describe("bench targets", () => {
  it("has every row of the promise, each name once", () => {
    const names = TARGETS.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    expect(names.length).toBeGreaterThanOrEqual(10);
  });
});
