import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compileNode, loadCluster } from "../../compiler/compile.ts";
import { manifestsOf, manifestText } from "../../compiler/manifest/write.ts";
import { type ClusterModel, DIRECTIONS } from "../../compiler/model.ts";
import { resolvePolicies } from "../../compiler/resolve.ts";
import { STRATEGIES } from "../../compiler/strategies/registry.ts";
import type { Packet } from "../../dataplane/packet.ts";
import { evaluate } from "../../reference/evaluate.ts";
import { clusterArbitrary, ruleArbitrary } from "../../verify/fuzz/cluster.ts";
import { concerns, packetArbitrary } from "../../verify/fuzz/packet.ts";
import { runsOf } from "../extent.ts";
import { withBlocksHalved, withOneMoreRule, withPeersApart, withUnrelatedPod, withUnrelatedPolicy } from "./laws.ts";
import { expectations, verdicts } from "./strategyKit.ts";

/** Whether a packet passes; undefined: a deviation has a say, and a deviation need not keep the laws. */
type Passes = (packet: Packet) => boolean | undefined;

interface Judge {
  readonly name: string;
  readonly runs: number;
  of(model: ClusterModel): Passes;
}

const JUDGES: readonly Judge[] = [
  {
    name: "reference",
    runs: runsOf(300),
    of: (model) => (packet) => evaluate(model, packet).verdict === "accept",
  },
  ...STRATEGIES.map(
    (strategy): Judge => ({
      name: strategy.name,
      runs: runsOf(60),
      of(model) {
        const expected = expectations(strategy, model);
        const push = verdicts(strategy, model);
        return (packet) => (expected(packet).deviation === undefined ? push(packet) === "accept" : undefined);
      },
    }),
  ),
];

const packetsArbitrary = fc.array(packetArbitrary, { minLength: 20, maxLength: 40, size: "max" });

/** Checks that `law` relates what passed before the change to what passes after it, packet for packet. */
function keeps(
  judge: Judge,
  {
    before,
    after,
    packets,
  }: { readonly before: ClusterModel; readonly after: ClusterModel; readonly packets: readonly Packet[] },
  law: (before: boolean, after: boolean) => boolean,
): void {
  const [passedBefore, passesAfter] = [judge.of(before), judge.of(after)];
  for (const packet of packets.filter((one) => concerns(before, one))) {
    const [then, now] = [passedBefore(packet), passesAfter(packet)];
    if (then !== undefined && now !== undefined && !law(then, now)) {
      expect({ packet, then, now }).toBe("a pair that keeps the law");
    }
  }
}

const same = (before: boolean, after: boolean): boolean => before === after;

describe.each(JUDGES.map((one) => [one.name, one] as const))("%s", (_name, judge) => {
  test.each([
    ["a policy of a namespace without pods changes no verdict", withUnrelatedPolicy],
    ["a pod that no packet is from or for changes no verdict", withUnrelatedPod],
    ["a rule with several peers is as several rules with one", withPeersApart],
    ["a block is as its two halves", withBlocksHalved],
  ])("%s", (_law, change) => {
    fc.assert(
      fc.property(clusterArbitrary(), packetsArbitrary, (model, packets) => {
        keeps(judge, { before: model, after: change(model), packets }, same);
      }),
      { numRuns: judge.runs },
    );
  });

  test("one more rule takes no allow away", () => {
    const addition = fc.record({
      policy: fc.nat({ max: 3 }),
      direction: fc.constantFrom(...DIRECTIONS),
      rule: ruleArbitrary,
    });
    fc.assert(
      fc.property(clusterArbitrary(), packetsArbitrary, addition, (model, packets, more) => {
        keeps(
          judge,
          { before: model, after: withOneMoreRule(model, more), packets },
          (before, after) => !before || after,
        );
      }),
      { numRuns: judge.runs },
    );
  });
});

describe("the order of documents", () => {
  const shuffled = clusterArbitrary().chain((model) => {
    const manifests = [...manifestsOf(model)];
    return fc.record({
      model: fc.constant(model),
      manifests: fc.shuffledSubarray(manifests, { minLength: manifests.length }),
    });
  });

  function loaded(manifests: Parameters<typeof manifestText>[0]): ClusterModel {
    const { model, issues } = loadCluster([{ name: "shuffled.json", text: manifestText(manifests) }]);
    if (model === undefined) throw new Error(JSON.stringify(issues));
    return model;
  }

  test("reaches neither the reference's verdicts nor its reasons", () => {
    fc.assert(
      fc.property(shuffled, packetsArbitrary, ({ model, manifests }, packets) => {
        const other = loaded(manifests);
        for (const packet of packets) expect(evaluate(other, packet)).toEqual(evaluate(model, packet));
      }),
      { numRuns: runsOf(60) },
    );
  });

  test.each(STRATEGIES.map((one) => [one.name, one] as const))(
    "reaches no program of %s, byte for byte",
    (_name, strategy) => {
      const programs = (model: ClusterModel) => {
        const cluster = resolvePolicies(model);
        return model.nodes.map(({ name }) => JSON.stringify(compileNode(cluster, strategy, { node: name })));
      };
      fc.assert(
        fc.property(shuffled, ({ model, manifests }) => {
          expect(programs(loaded(manifests))).toEqual(programs(loaded(manifestsOf(model))));
        }),
        { numRuns: runsOf(40) },
      );
    },
  );
});
