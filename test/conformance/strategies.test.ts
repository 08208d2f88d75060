import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ClusterModel } from "../../compiler/model.ts";
import { resolvePolicies } from "../../compiler/resolve.ts";
import { STRATEGIES } from "../../compiler/strategies/registry.ts";
import type { Strategy } from "../../compiler/strategies/strategy.ts";
import { answerTo } from "../../verify/answer.ts";
import { clusterArbitrary } from "../../verify/fuzz/cluster.ts";
import { concerns, packetArbitrary } from "../../verify/fuzz/packet.ts";
import { strategyLane } from "../../verify/lane.ts";
import { runsOf, sampled } from "../extent.ts";
import { hasShared } from "../shared.ts";
import type { ConformanceCase } from "./cases.ts";
import { cyclonusCases } from "./cyclonus.ts";
import { illuminatioCases } from "./illuminatio.ts";
import { kubeNetworkPoliciesCases } from "./kubeNetworkPolicies.ts";
import { recipeCases } from "./recipes.ts";
import { compareWithReference } from "./strategyKit.ts";

/** Each is read when the first strategy asks for it. */
const TABLES = [
  ["cyclonus", once(cyclonusCases)],
  ["kube-network-policies", once(kubeNetworkPoliciesCases)],
  ["the policy recipes", once(recipeCases)],
  ["illuminatio", once(illuminatioCases)],
] as const;

function once<T>(read: () => T): () => T {
  let kept: { readonly value: T } | undefined;
  return () => {
    kept ??= { value: read() };
    return kept.value;
  };
}

/** Compares every packet of the cases, each distinct cluster compiled once; returns how many packets were pushed. */
function conforms(strategy: Strategy, cases: readonly ConformanceCase[]): number {
  let count = 0;
  for (const [model, sharing] of sampled([...casesByModel(cases)], 6)) {
    const packets = sharing.flatMap(({ probes }) => probes.map(({ packet }) => packet));
    const { packetCount, disagreements } = compareWithReference(strategy, model, packets);
    if (disagreements.length > 0) {
      expect({ name: sharing[0]?.name, disagreements: disagreements.slice(0, 3) }).toBe("agreement");
    }
    count += packetCount;
  }
  return count;
}

function casesByModel(cases: readonly ConformanceCase[]): ReadonlyMap<ClusterModel, readonly ConformanceCase[]> {
  const grouped = new Map<ClusterModel, ConformanceCase[]>();
  for (const one of cases) {
    const sharing = grouped.get(one.model);
    if (sharing === undefined) grouped.set(one.model, [one]);
    else sharing.push(one);
  }
  return grouped;
}

describe.each(STRATEGIES)(
  "$name: verdict = reference, except where a declared deviation says otherwise",
  (strategy) => {
    test("over random clusters and packets", () => {
      let pushed = 0;
      const runs = runsOf(200);
      fc.assert(
        fc.property(
          clusterArbitrary(),
          fc.array(packetArbitrary, { minLength: 30, maxLength: 60, size: "max" }),
          (model, packets) => {
            const asked = packets.filter((packet) => concerns(model, packet));
            const { disagreements, packetCount } = compareWithReference(strategy, model, asked);
            pushed += packetCount;
            expect(disagreements).toEqual([]);
          },
        ),
        { numRuns: runs },
      );
      // A generator that misses, or a strategy that refuses everything, would pass in silence.
      expect(pushed).toBeGreaterThan(8 * runs);
    });

    test("what answers an accepted packet is accepted, whatever the policies say in its direction", () => {
      let answered = 0;
      const runs = runsOf(60);
      fc.assert(
        fc.property(
          clusterArbitrary(),
          fc.array(packetArbitrary, { minLength: 30, maxLength: 60, size: "max" }),
          (model, packets) => {
            const lane = strategyLane(resolvePolicies(model), strategy, {});
            for (const packet of packets.filter((one) => concerns(model, one))) {
              lane.flush();
              if (lane.push(packet).verdict !== "accept") continue;
              const { verdict, ctState } = lane.push(answerTo(packet));
              expect({ packet, verdict }).toEqual({ packet, verdict: "accept" });
              // A node without an attach point on the way of the packet tracks nothing.
              const tracked = lane.programs.every(({ kind }) => kind === "tables");
              expect(tracked ? ["established"] : ["established", "untracked"]).toContain(ctState);
              answered++;
            }
          },
        ),
        { numRuns: runs },
      );
      expect(answered).toBeGreaterThan(8 * runs);
    });

    describe.runIf(hasShared)("over independent tables", () => {
      test.each(TABLES)("%s", (_table, cases) => {
        expect(conforms(strategy, cases())).toBeGreaterThan(0);
      });
    });
  },
);
