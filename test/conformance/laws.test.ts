import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compileNode, loadCluster } from "../../compiler/compile.ts";
import { manifestsOf, manifestText } from "../../compiler/manifest/write.ts";
import { type ClusterModel, DIRECTIONS } from "../../compiler/model.ts";
import { resolvePolicies } from "../../compiler/resolve.ts";
import { STRATEGIES } from "../../compiler/strategies/registry.ts";
import type { Packet } from "../../dataplane/packet.ts";
import { evaluate } from "../../reference/evaluate.ts";
import { clusterArbitrary, peerArbitrary, ruleArbitrary } from "../../verify/fuzz/cluster.ts";
import { concerns, packetArbitrary } from "../../verify/fuzz/packet.ts";
import { isWhole, runsOf } from "../extent.ts";
import {
  mirrored,
  mirroredPacket,
  withBlocksHalved,
  withExceptsFilledIn,
  withLabelsRenamed,
  withListsReversed,
  withNamespacesDoubled,
  withOneMorePeer,
  withOneMoreRule,
  withPeersApart,
  withPoliciesSplit,
  withTwoValues,
  withUnionsApart,
  withUnrelatedPod,
  withUnrelatedPolicy,
} from "./laws.ts";
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
    runs: runsOf(150),
    of: (model) => (packet) => evaluate(model, packet).verdict === "accept",
  },
  ...STRATEGIES.map(
    (strategy): Judge => ({
      name: strategy.name,
      runs: isWhole ? 22 : 3,
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

type Change = (model: ClusterModel) => ClusterModel;

/** A change after which every packet fares as before. */
interface Law {
  readonly law: string;
  readonly change: Change;
  /** Makes of a cluster one that the law has something to say about. */
  readonly prepare?: Change;
}

const LAWS: readonly Law[] = [
  { law: "a policy of a namespace without pods changes no verdict", change: withUnrelatedPolicy },
  { law: "a pod that no packet is from or for changes no verdict", change: withUnrelatedPod },
  { law: "a rule with several peers is as several rules with one", change: withPeersApart },
  { law: "a block is as its two halves", change: withBlocksHalved },
  { law: "a policy is as two with half of the rules each", change: withPoliciesSplit },
  { law: "the order of policies, pods, rules, peers and ports is nothing", change: withListsReversed },
  { law: "labels may have other names and values, everywhere the same", change: withLabelsRenamed },
  { law: "one of several values is as a peer for each value", change: withUnionsApart, prepare: withTwoValues },
  { law: "a block with exceptions is as what is left of it", change: withExceptsFilledIn },
  { law: "twins of all namespaces change no verdict of theirs", change: withNamespacesDoubled },
];

const same = (before: boolean, after: boolean): boolean => before === after;

describe.each(JUDGES.map((one) => [one.name, one] as const))("%s", (_name, judge) => {
  test.each(LAWS)("$law", ({ change, prepare = (model) => model }) => {
    fc.assert(
      fc.property(clusterArbitrary().map(prepare), packetsArbitrary, (model, packets) => {
        keeps(judge, { before: model, after: change(model), packets }, same);
      }),
      { numRuns: judge.runs },
    );
  });

  test("one more peer takes no allow away", () => {
    const addition = fc.record({ rule: fc.nat({ max: 3 }), peer: peerArbitrary });
    fc.assert(
      fc.property(clusterArbitrary(), packetsArbitrary, addition, (model, packets, more) => {
        keeps(
          judge,
          { before: model, after: withOneMorePeer(model, more), packets },
          (before, after) => !before || after,
        );
      }),
      { numRuns: judge.runs },
    );
  });

  test("IPv6 is as IPv4", () => {
    fc.assert(
      fc.property(clusterArbitrary({ stack: "ipv4" }), packetsArbitrary, (model, packets) => {
        const [here, there] = [judge.of(model), judge.of(mirrored(model))];
        for (const packet of packets.filter((one) => concerns(model, one))) {
          const other = mirroredPacket(packet);
          const [then, now] = other === undefined ? [] : [here(packet), there(other)];
          if (then !== undefined && now !== undefined && then !== now) {
            expect({ packet, then, now }).toBe("a pair that keeps the law");
          }
        }
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
