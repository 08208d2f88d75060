import { resolvePolicies } from "../../compiler/compile.ts";
import type { Strategy } from "../../compiler/strategies/strategy.ts";
import type { Fabric } from "../../dataplane/fabric.ts";
import type { BenchCase } from "../measure.ts";
import { nodeFabric, pushing } from "../workloads/nodeUnderLoad.ts";
import { RULE_SET_NODE, ruleSetCluster, ruleSetPacket } from "../workloads/ruleSet.ts";
import { Latest, type Suite, type SuiteOptions } from "./suite.ts";

const SIZES = [10, 100, 1_000, 10_000, 100_000] as const;
/** Distinct packets that are pushed in turn. */
const PACKETS = 4_096;
/** Where the slowest strategies are: a rule takes so long to compile and load. */
const MS_PER_RULE = 0.03;

function ruleSetFabric(count: number, strategy: Strategy): Fabric {
  return nodeFabric(resolvePolicies(ruleSetCluster(count)), strategy, RULE_SET_NODE);
}

/** Packets that the rule at the place admits (undefined: none does), each the first of its connection. */
function packetsAt(place: number | undefined) {
  return Array.from({ length: PACKETS }, (_, index) => ruleSetPacket(place, index));
}

export const rulesSuite: Suite = {
  name: "rules",
  title: "Latency against the size of the rule set",
  summary:
    "One pod, one policy of so many single-address rules; the first packet of a connection, admitted by the last rule.",
  chart: { x: "rules", xLabel: "policy rules", series: ["strategy"] },
  growth: "walk",
  cases: ({ strategies }: SuiteOptions): readonly BenchCase[] =>
    SIZES.flatMap((rules) =>
      strategies.map((strategy) => ({
        suite: "rules",
        params: { strategy: strategy.name, rules },
        unit: "ns/packet",
        setUpMs: rules * MS_PER_RULE,
        prepare: () =>
          pushing({ fabric: ruleSetFabric(rules, strategy), packets: packetsAt(rules - 1), forget: "connections" }),
      })),
    ),
};

const POSITION_RULES = 1_000;
const POSITIONS = [
  ["first", 0],
  ["middle", POSITION_RULES / 2],
  ["last", POSITION_RULES - 1],
  ["none", undefined],
] as const;

export const positionSuite: Suite = {
  name: "position",
  title: "Position of the match",
  summary: `As in rules, with ${POSITION_RULES} of them: the packet is admitted by the first, the middle, the last or no rule.`,
  chart: { x: "match", xLabel: "rule that admits the packet", series: ["strategy"] },
  cases: ({ strategies }: SuiteOptions): readonly BenchCase[] => {
    const fabrics = new Latest<Fabric>();
    return strategies.flatMap((strategy) =>
      POSITIONS.map(([match, place]) => ({
        suite: "position",
        params: { strategy: strategy.name, match },
        unit: "ns/packet",
        setUpMs: (POSITION_RULES * MS_PER_RULE) / POSITIONS.length,
        prepare: () =>
          pushing({
            fabric: fabrics.get(strategy.name, () => ruleSetFabric(POSITION_RULES, strategy)),
            packets: packetsAt(place),
            forget: "connections",
          }),
      })),
    );
  },
};
