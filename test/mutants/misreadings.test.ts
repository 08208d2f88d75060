import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ClusterModel } from "../../compiler/model.ts";
import { resolvePolicies } from "../../compiler/resolve.ts";
import { STRATEGIES } from "../../compiler/strategies/registry.ts";
import type { Strategy } from "../../compiler/strategies/strategy.ts";
import { evaluate } from "../../reference/evaluate.ts";
import { clusterArbitrary } from "../../verify/fuzz/cluster.ts";
import { allPackets, concerns, packetArbitrary } from "../../verify/fuzz/packet.ts";
import { compareWithReference } from "../conformance/strategyKit.ts";
import { sampled } from "../extent.ts";
import { MISREADINGS, type Misreading } from "./misreadings.ts";

const PACKETS = fc.sample(packetArbitrary, { seed: 1, numRuns: 400 });

/** Whether one of 300 random clusters tells; the search stops at the first that does. */
function caught(tells: (model: ClusterModel) => boolean): boolean {
  const property = fc.property(clusterArbitrary(), (model) => !tells(model));
  return fc.check(property, { numRuns: 300, seed: 1, endOnFailure: true }).failed;
}

const SOME = sampled(MISREADINGS, 3);

test.each(SOME.map((one) => [one.name, one] as const))("random clusters tell that %s", (_name, { misread }) => {
  const tells = (model: ClusterModel) => {
    const wrong = misread(model);
    return allPackets(model).some((packet) => evaluate(wrong, packet).verdict !== evaluate(model, packet).verdict);
  };
  expect(caught(tells)).toBe(true);
});

/** The strategy as it would be if it were told the cluster with the mistake in it. */
function misled(strategy: Strategy, { misread }: Misreading): Strategy {
  return {
    ...strategy,
    lower: (cluster, options) => strategy.lower(resolvePolicies(misread(cluster.model)), options),
  };
}

// The kit is one for all strategies, so one of them is enough to test it with.
describe.each(STRATEGIES.slice(0, 1).map((one) => [one.name, one] as const))("%s", (_strategy, strategy) => {
  test.each(SOME.map((one) => [one.name, one] as const))(
    "the conformance kit catches it at the mistake that %s",
    (_mistake, misreading) => {
      const wrong = misled(strategy, misreading);
      const tells = (model: ClusterModel) => {
        const packets = PACKETS.filter((packet) => concerns(model, packet));
        return compareWithReference(wrong, model, packets).disagreements.length > 0;
      };
      expect(caught(tells)).toBe(true);
    },
  );
});
