/** weave-net where recorded clusters say nothing, as the real weave-npc was seen to do in a namespace of its own. */
import { describe, expect, it } from "vitest";
import { resolvePolicies } from "../../compiler/compile.ts";
import { renderIptablesSave } from "../../compiler/render/iptablesSave.ts";
import { IpsetError } from "../../compiler/strategies/weave-net/kernel.ts";
import { runController } from "../../compiler/strategies/weave-net/run.ts";
import { setName } from "../../compiler/strategies/weave-net/selector.ts";
import { weaveNet } from "../../compiler/strategies/weave-net.ts";
import { hostCidr } from "../../dataplane/address.ts";
import { modelOf } from "../compiler/manifests.ts";

const clusterOf = (text: string) => resolvePolicies(modelOf(text));

function rulesOf(manifests: string, chain: string): readonly string[] {
  const program = weaveNet.lower(clusterOf(manifests), { node: "node-a" });
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

describe("a policy that failed half way", () => {
  // npc/rule.go deprovision deletes rules without users too: iptables has none of them, and deleteNetworkPolicy ends there.
  it("still isolates when it is deleted", () => {
    const cluster = clusterOf(`${NODE}---
apiVersion: v1
kind: Pod
metadata: { name: web, namespace: shop, labels: { app: web } }
spec: { nodeName: node-a }
status: { phase: Running, podIP: 10.10.1.10 }
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: a, namespace: shop, uid: a }
spec: { podSelector: { matchLabels: { app: none } }, ingress: [{ from: [{ namespaceSelector: {} }] }] }
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: b, namespace: shop, uid: b }
spec: { podSelector: { matchLabels: { app: web } }, ingress: [{ from: [{ namespaceSelector: {}, podSelector: {} }] }] }
`);
    const controller = runController(cluster);
    const [, policy] = cluster.model.policies;
    const [address] = cluster.pods[0]?.addresses ?? [];
    if (policy === undefined || address === undefined) throw new Error("the cluster has both");
    const isOpen = () => controller.kernel.contains(setName("ingress-default-allow:shop"), hostCidr(address));
    expect(controller.outcome(policy)).toMatchObject({ kind: "partial", cause: "name taken" });
    expect(isOpen()).toBe(false);
    expect(() => controller.deletePolicy(policy)).toThrow(IpsetError);
    expect(isOpen()).toBe(false);
  });
});
