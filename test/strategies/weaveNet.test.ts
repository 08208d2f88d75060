/** weave-net where recorded clusters say nothing, as the real weave-npc was seen to do in a namespace of its own. */
import { describe, expect, it } from "vitest";
import { loadCluster, resolvePolicies } from "../../compiler/compile.ts";
import { renderIptablesSave } from "../../compiler/render/iptablesSave.ts";
import { weaveNet } from "../../compiler/strategies/weave-net.ts";

function rulesOf(manifests: string, chain: string): readonly string[] {
  const { model, issues } = loadCluster([{ name: "cluster.yaml", text: manifests }]);
  if (model === undefined) throw new Error(JSON.stringify(issues));
  const program = weaveNet.lower(resolvePolicies(model), { node: "node-a" });
  if (program.kind !== "tables") throw new Error("weave-net makes tables");
  return renderIptablesSave(program, 4)
    .split("\n")
    .filter((line) => line.startsWith(`-A ${chain} `));
}

const NODE = `
apiVersion: v1
kind: Node
metadata: { name: node-a }
---
apiVersion: v1
kind: Namespace
metadata: { name: shop }
`;

describe("blocks", () => {
  // npc/ipblock.go getRuleSpec hands the text to iptables, which takes any prefix of length 0 for every address.
  it("of length 0 are every IPv4 address, whatever their family; other IPv6 blocks are refused", () => {
    const rules = rulesOf(
      `${NODE}---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: blocks, namespace: shop }
spec:
  podSelector: {}
  ingress:
    - from: [{ ipBlock: { cidr: "::/0" } }, { ipBlock: { cidr: 0.0.0.0/0 } }]
    - from: [{ ipBlock: { cidr: "fd00::/8" } }]
`,
      "WEAVE-NPC-INGRESS",
    );
    const set = String.raw`-m set --match-set \S+ dst`;
    expect(rules).toEqual(
      ["::/0", "0.0.0.0/0"].map((cidr) =>
        expect.stringMatching(
          `^-A WEAVE-NPC-INGRESS ${set} -m comment --comment "cidr: ${cidr} -> pods: .* -j ACCEPT$`,
        ),
      ),
    );
  });
});

describe("a pod that ipset refuses", () => {
  const pod = (name: string, address: string) => `---
apiVersion: v1
kind: Pod
metadata: { name: ${name}, namespace: shop, labels: { app: ${name.slice(0, 3)} } }
spec: { nodeName: node-a }
status: { phase: Running, podIP: "${address}" }
`;
  const policy = (name: string, app: string) => `---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: ${name}, namespace: shop, uid: ${name} }
spec:
  podSelector: {}
  ingress: [{ from: [{ podSelector: { matchLabels: { app: ${app} } } }] }]
`;

  // npc/namespace.go onNewPodSelector returns ipset's error, and addNetworkPolicy ends there: nothing is rolled back.
  it.each([
    ["by its address", pod("new", "fd00:10:1::10")],
    ["by its name, which is too long for a comment", pod("new".padEnd(253, "w"), "10.10.1.11")],
  ])("%s ends every policy that has a new selector for it", (_how, refused) => {
    const cluster = `${NODE}${refused}${pod("old", "10.10.1.10")}${policy("a", "new")}${policy("b", "old")}`;
    expect(rulesOf(cluster, "WEAVE-NPC-INGRESS")).toEqual([
      expect.stringContaining("selector: app=old -> pods: namespace: shop, selector:  (ingress)"),
    ]);
  });
});
