import { compileNode, resolvePolicies } from "../../compiler/compile.ts";
import { romana } from "../../compiler/strategies/romana.ts";
import { cidrOf } from "../../dataplane/address.ts";
import { createFabricResults } from "../../dataplane/fabric.ts";
import type { Program, Rule, TableProgram } from "../../dataplane/program.ts";
import { batchesOf, fabricOf } from "../workloads/nodeUnderLoad.ts";
import { RULE_SET_NODE, ruleSetCluster, ruleSetPacket } from "../workloads/ruleSet.ts";
import { caseMedian } from "./caseMedian.ts";
import type { Target } from "./target.ts";

const RULES = 1_000;

/** A node whose FORWARD has so many rules `-s ADDRESS -p tcp --dport 8080 -j ACCEPT`, and drops the rest. */
export function linearProgram(count: number): TableProgram {
  const bare = compileNode(resolvePolicies(ruleSetCluster(1)), romana, { node: RULE_SET_NODE });
  const rules = Array.from({ length: count }, (_, place): Rule => {
    const { source } = ruleSetPacket(place, 0);
    return {
      matches: [
        { kind: "address", side: "source", cidr: cidrOf(source, 32), negate: false },
        { kind: "protocol", protocol: 6, negate: false },
        { kind: "ports", side: "destination", ranges: [{ first: 8080, last: 8080 }], extension: "tcp", negate: false },
      ],
      target: { kind: "accept" },
    };
  });
  return {
    kind: "tables",
    strategy: "linear",
    node: bare.node,
    sets: [],
    attachment: bare.attachment,
    families: [{ family: 4, tables: [{ name: "filter", chains: [{ name: "FORWARD", policy: "drop", rules }] }] }],
  };
}

/** One packet for each rule, each pushed once through a node that has seen none: nothing can be remembered. */
export function walkNsPerRule(program: Program, count: number, clock: () => number): number {
  const packets = Array.from({ length: count }, (_, place) => ruleSetPacket(place, place));
  const [batch] = batchesOf(packets, count);
  if (batch === undefined) throw new Error("no packets");
  const results = createFabricResults(count);
  const once = () => {
    const fabric = fabricOf(program);
    const start = clock();
    fabric.pushBatch(batch, results);
    const ns = (clock() - start) * 1e6;
    const visited = results.hops[0]?.results.rules.reduce((sum, rules) => sum + rules, 0) ?? 0;
    return ns / visited;
  };
  return caseMedian({ kind: "whole", once }, clock, 3_000);
}

export const walkTargets: readonly Target[] = [
  {
    name: "ordered walk",
    unit: "ns/rule",
    goal: 3,
    stretch: 0.3,
    better: "lower",
    limitMs: 60_000,
    async measure({ clock }) {
      const measured = walkNsPerRule(linearProgram(RULES), RULES, clock);
      return { measured, note: `${RULES} rules, one packet for each, on a node that has seen none; per rule visited` };
    },
  },
];
