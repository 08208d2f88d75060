/** The longest names and labels that the API server takes, under every strategy. */
import { describe, expect, it } from "vitest";
import { compileNode, loadCluster, resolvePolicies } from "../../compiler/compile.ts";
import { STRATEGIES } from "../../compiler/strategies/registry.ts";
import type { Program } from "../../dataplane/program.ts";

const [namespace, name, label] = ["n".repeat(63), "p".repeat(253), "l".repeat(63)];
const labels = `{ a: ${label}, b: ${label}, c: ${label}, d: ${label}, e: ${label} }`;

/** The policies of the namespace of a pod whose name is as long as this. */
const clusterOf = (pod: string) => `
apiVersion: v1
kind: Namespace
metadata: { name: ${namespace}, labels: ${labels} }
---
apiVersion: v1
kind: Pod
metadata: { name: ${pod}, namespace: ${namespace}, labels: ${labels} }
spec: { nodeName: node-a }
status: { phase: Running, podIP: 10.10.1.10 }
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: ${name}, namespace: ${namespace} }
spec:
  podSelector: { matchLabels: ${labels} }
  ingress:
    - from:
        - namespaceSelector: { matchLabels: ${labels} }
          podSelector: { matchLabels: ${labels} }
        - ipBlock: { cidr: 10.0.0.0/8, except: [10.1.0.0/16] }
`;

function commentsOf(program: Program): readonly string[] {
  if (program.kind !== "tables") return [];
  return program.families
    .flatMap(({ tables }) => tables.flatMap(({ chains }) => chains.flatMap(({ rules }) => rules)))
    .flatMap(({ matches }) => matches.flatMap((match) => (match.kind === "comment" ? match.text : [])));
}

describe("the longest names", () => {
  const loaded = (text: string) => {
    const { model } = loadCluster([{ name: "long.yaml", text }]);
    if (model === undefined) throw new Error("the cluster does not load");
    return resolvePolicies(model);
  };
  const cluster = loaded(clusterOf(name));

  it.each(STRATEGIES)("compile under $name", (strategy) => {
    const program = compileNode(cluster, strategy, { node: "node-a" });
    expect(program.node).toBe("node-a");
  });

  it("end where iptables cuts a comment off, under the solutions that do not cut it themselves", () => {
    // Where a pod's comment is too long for a set, weave-npc writes no rules (test/strategies/weaveNet.test.ts).
    const fitting = loaded(clusterOf("p".repeat(100)));
    const longest = STRATEGIES.map((strategy) => {
      const program = compileNode(fitting, strategy, { node: "node-a" });
      return [strategy.name, Math.max(0, ...commentsOf(program).map(({ length }) => length))];
    });
    expect(Object.fromEntries(longest)).toMatchObject({ "kube-router": 120, "calico-iptables": 255, "weave-net": 255 });
  });
});
