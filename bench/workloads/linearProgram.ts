/** The plainest rule set: rules of one chain that differ in their source. */
import { compileNode, resolvePolicies } from "../../compiler/compile.ts";
import { romana } from "../../compiler/strategies/romana.ts";
import { cidrOf } from "../../dataplane/address.ts";
import type { Rule, TableProgram } from "../../dataplane/program.ts";
import { RULE_SET_NODE, ruleSetCluster, ruleSetPacket } from "./ruleSet.ts";

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
