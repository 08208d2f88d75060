import fc from "fast-check";
import { describe, expect, it, test } from "vitest";
import { resolvePolicies } from "../../compiler/compile.ts";
import { kubeRouter } from "../../compiler/strategies/kube-router.ts";
import { STRATEGIES } from "../../compiler/strategies/registry.ts";
import { evaluate } from "../../reference/evaluate.ts";
import { coverageRatio, referenceSide, tupleSize, walkSpaces } from "../../verify/exhaustive.ts";
import { clusterArbitrary } from "../../verify/fuzz/cluster.ts";
import { packetArbitrary } from "../../verify/fuzz/packet.ts";
import { packetSpaces, spaceSize } from "../../verify/space.ts";
import { isWhole, runsOf, sampled } from "../extent.ts";
import { bundledCluster, prove, SCENARIOS } from "./bundled.ts";

/** What one cluster may take, in milliseconds. */
const LONGEST_MS = 60_000;

describe.each(STRATEGIES)("$name", (strategy) => {
  test("gives every first packet of every bundled cluster what the API text and its deviations say", async () => {
    for (const scenario of sampled(SCENARIOS, 8)) {
      const started = performance.now();
      const { differences, coverage, blindSpots } = await prove(bundledCluster(scenario), strategy);
      expect({ scenario, differences, blindSpots }).toEqual({ scenario, differences: [], blindSpots: [] });
      expect({ scenario, ratio: coverageRatio(coverage) }).toEqual({ scenario, ratio: 1 });
      expect(performance.now() - started).toBeLessThan(LONGEST_MS);
    }
  });

  test("gives every first packet of random clusters what the API text and its deviations say", async () => {
    let tuples = 0;
    await fc.assert(
      fc.asyncProperty(clusterArbitrary(), async (model) => {
        const { differences, coverage } = await prove(resolvePolicies(model), strategy, { mostDifferences: 1 });
        expect(differences).toEqual([]);
        expect(coverageRatio(coverage)).toBe(1);
        tuples += coverage.tuples;
      }),
      { numRuns: isWhole ? 4 : 2 },
    );
    expect(tuples).toBeGreaterThan(1000);
  });
});

describe("the API text as a side", () => {
  it("answers with a part of the model as with the whole", () => {
    fc.assert(
      fc.property(clusterArbitrary(), fc.array(packetArbitrary, { minLength: 20 }), (model, packets) => {
        const side = referenceSide(resolvePolicies(model));
        const answers = packets.map((packet) => evaluate(model, packet).verdict);
        expect(side.open(packets).map(({ verdict }) => verdict)).toEqual(answers);
      }),
      { numRuns: runsOf(60) },
    );
  });
});

describe("coverage", () => {
  const cluster = bundledCluster("db-policy");
  const spaces = packetSpaces(cluster, []);
  const total = spaces.reduce((sum, space) => sum + spaceSize(space), 0n);

  it("adds up to the whole space when every tuple was asked, and to 1", async () => {
    let sum = 0n;
    const coverage = await walkSpaces(spaces, [], {
      limit: Number.MAX_SAFE_INTEGER,
      visit: ({ space, tuple }) => {
        sum += tupleSize(space, tuple);
        return undefined;
      },
    });
    expect([sum, coverage.packets, coverage.total]).toEqual([total, total, total]);
    expect(coverageRatio(coverage)).toBe(1);
  });

  it("is 1 with a limit of exactly the tuples there are, and below with one less", async () => {
    const visit = () => undefined;
    const { tuples } = await walkSpaces(spaces, [], { limit: Number.MAX_SAFE_INTEGER, visit });
    expect(coverageRatio(await walkSpaces(spaces, [], { limit: tuples, visit }))).toBe(1);
    const cut = await walkSpaces(spaces, [], { limit: tuples - 1, visit });
    expect(cut.tuples).toBe(tuples - 1);
    expect(coverageRatio(cut)).toBeLessThan(1);
  });

  it("is below 1 when a single packet is missing among all of IPv6", () => {
    expect(coverageRatio({ tuples: 1, packets: 2n ** 256n - 1n, total: 2n ** 256n })).toBeLessThan(1);
  });

  it("is below 1 when somebody stopped the walk, and when the visitor did", async () => {
    const limit = Number.MAX_SAFE_INTEGER;
    const stopped = await walkSpaces(spaces, [], { limit, visit: () => undefined, proceed: async () => false });
    expect(coverageRatio(stopped)).toBe(0);
    const sated = await walkSpaces(spaces, [], { limit, visit: () => "stop" });
    expect(sated.tuples).toBe(1);
    expect(coverageRatio(sated)).toBeLessThan(1);
  });

  it("a proof that was cut says so", async () => {
    expect(coverageRatio((await prove(cluster, kubeRouter, { limit: 10 })).coverage)).toBeLessThan(1);
  });

  it("says what was left out: the rest of the pair, of its source, and all later sources and families", async () => {
    const { addresses, services } = spaces[0] ?? { addresses: [], services: [] };
    const visit = () => undefined;
    const last = await walkSpaces(spaces, [], { limit: Number.MAX_SAFE_INTEGER, visit });
    expect(last.left).toEqual([]);
    const cut = await walkSpaces([...spaces, ...spaces], [], { limit: 1, visit });
    expect(cut.left.length).toBe(4);
    expect(cut.left[0]).not.toContain("every protocol and port");
    for (const text of cut.left.slice(1)) expect(text).toMatch(/^from .+ to .+, every protocol and port, over IPv4$/);
    expect(cut.left[3]).toBe("from any address to any address, every protocol and port, over IPv4");
    const whole = await walkSpaces(spaces, [], { limit: last.tuples - services.length, visit });
    expect(whole.left.every((text) => text.endsWith("every protocol and port"))).toBe(true);
    expect(addresses.length).toBeGreaterThan(2);
  });
});
