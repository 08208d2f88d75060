import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { resolvePolicies } from "../../compiler/compile.ts";
import type { ResolvedCluster } from "../../compiler/resolve.ts";
import { STRATEGIES } from "../../compiler/strategies/registry.ts";
import type { Strategy } from "../../compiler/strategies/strategy.ts";
import { referenceSide, walkSpaces } from "../../verify/exhaustive.ts";
import { clusterArbitrary } from "../../verify/fuzz/cluster.ts";
import { strategyLane } from "../../verify/lane.ts";
import { meantVerdict } from "../../verify/meant.ts";
import { ServiceSplit } from "../../verify/serviceSplit.ts";
import { packetSpaces } from "../../verify/space.ts";
import { isWhole, sampled } from "../extent.ts";
import { bundledCluster, SCENARIOS } from "./bundled.ts";

/** Asks about every tuple, and holds those together that the split takes for one. How many it saves. */
async function saved(cluster: ResolvedCluster, strategy: Strategy): Promise<number> {
  const lane = strategyLane(cluster, strategy, {});
  const said = new Map<string, string>();
  const sides = [lane, referenceSide(cluster)];
  const spaces = packetSpaces(cluster, lane.programs, strategy.deviations);
  await walkSpaces(spaces, sides, {
    limit: Number.MAX_SAFE_INTEGER,
    visit: ({ space, tuple, packet, openings }) => {
      const { source, destination, service } = tuple;
      const meant = meantVerdict(strategy, {
        cluster,
        packet,
        said: openings[1]?.verdict === "accept" ? "accept" : "drop",
      });
      const all = [...openings.map(({ verdict, answer }) => `${verdict} ${answer}`), meant.verdict];
      said.set(`${space.family} ${source} ${destination} ${service}`, all.join());
      return undefined;
    },
  });
  let classes = 0;
  for (const space of spaces) {
    const split = new ServiceSplit(cluster, { programs: lane.programs, deviations: strategy.deviations }, space);
    for (const [source] of space.addresses.entries()) {
      for (const [destination] of space.addresses.entries()) {
        const groups = split.groupsOf(source, destination);
        expect(groups.flat()).toEqual(space.services.map((_, index) => index));
        for (const group of groups) {
          const answers = group.flatMap(
            (service) => said.get(`${space.family} ${source} ${destination} ${service}`) ?? [],
          );
          if (answers.length > 0) classes++;
          if (new Set(answers).size < 2) continue;
          const ends = [source, destination].map((atom) => space.addresses[atom]?.representative.words.join("."));
          expect({ strategy: strategy.name, ends, group, answers }).toBe("one answer");
        }
      }
    }
  }
  return said.size - classes;
}

describe.each(STRATEGIES)("services that a pair cannot tell apart, $name", (strategy) => {
  it("get one answer, in bundled and in random clusters", async () => {
    let spared = 0;
    for (const scenario of sampled(SCENARIOS, 3)) spared += await saved(bundledCluster(scenario), strategy);
    await fc.assert(
      fc.asyncProperty(clusterArbitrary(), async (model) => {
        spared += await saved(resolvePolicies(model), strategy);
      }),
      { numRuns: isWhole ? 6 : 2 },
    );
    expect(spared).toBeGreaterThan(100);
  });
});
