/** Labels that no recorded cluster asks for: Calico's own, and those that do not survive the way into a profile. */
import { describe, expect, it } from "vitest";
import { resolvePolicies } from "../../compiler/compile.ts";
import type { ResolvedCluster } from "../../compiler/resolve.ts";
import { resolveAgain } from "../../compiler/resolveAgain.ts";
import { calicoView, labelView } from "../../compiler/strategies/calico-iptables/calicoLabels.ts";
import { modelOf } from "../compiler/manifests.ts";

interface Given {
  readonly podLabels?: string;
  readonly namespaceLabels?: string;
  readonly from: string;
}

function cluster({ podLabels = "app: a", namespaceLabels = "", from }: Given) {
  return modelOf(`
apiVersion: v1
kind: Namespace
metadata: { name: shop, labels: { ${namespaceLabels} } }
---
apiVersion: v1
kind: Pod
metadata: { name: a, namespace: shop, labels: { ${podLabels} } }
spec: { nodeName: node-a, serviceAccountName: clerk }
status: { phase: Running, podIP: 10.10.1.10 }
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: p, namespace: shop }
spec: { podSelector: {}, policyTypes: [Ingress], ingress: [{ from: [${from}] }] }
`);
}

/** The peers of the one rule. */
function members({ policies }: ResolvedCluster): readonly string[] {
  const peers = policies.flatMap(({ ingress }) => ingress.flatMap((rule) => rule.peers));
  return peers.flatMap((peer) => (peer.kind === "pods" ? peer.members.map(({ key }) => key) : []));
}

const peersOf = (given: Given) => members(calicoView(resolvePolicies(cluster(given))));
const pods = (key: string, value: string) => `{ podSelector: { matchLabels: { ${key}: "${value}" } } }`;
const namespaces = (key: string, value: string) => `{ namespaceSelector: { matchLabels: { ${key}: "${value}" } } }`;

describe("labels of Calico", () => {
  // workload_endpoint_default.go podToDefaultWorkloadEndpoint: written over what the pod has.
  it.each([
    ["namespace", "shop"],
    ["orchestrator", "k8s"],
    ["serviceaccount", "clerk"],
  ])("a pod has projectcalico.org/%s", (name, value) => {
    const key = `projectcalico.org/${name}`;
    expect(peersOf({ from: pods(key, value) })).toEqual(["shop/a"]);
    expect(peersOf({ podLabels: `${key}: other`, from: pods(key, value) })).toEqual(["shop/a"]);
    expect(peersOf({ podLabels: `${key}: other`, from: pods(key, "other") })).toEqual([]);
  });

  // conversion.go NamespaceToProfile.
  it("a namespace has its name", () => {
    expect(peersOf({ from: namespaces("projectcalico.org/name", "shop") })).toEqual(["shop/a"]);
    const posing = {
      namespaceLabels: "projectcalico.org/name: bank",
      from: namespaces("projectcalico.org/name", "bank"),
    };
    expect(peersOf(posing)).toEqual([]);
  });

  // workloadendpointprocessor.go convertWorkloadEndpointV2ToV1Value.
  it.each(["pcns.team", "pcsa.team"])("a pod loses %s", (key) => {
    expect(peersOf({ podLabels: `${key}: a`, from: pods(key, "a") })).toEqual([]);
  });

  // validator/v3 validateLabels, on names to which NamespaceToProfile has put pcns. in front.
  it.each([
    ["a name that just fits", "n".repeat(58), ["shop/a"]],
    ["a name too long", "n".repeat(59), []],
    ["a long name behind a prefix", `example.com/${"n".repeat(63)}`, ["shop/a"]],
    ["a prefix too long", `${"p.".repeat(124)}q/n`, []],
  ] as const)("a namespace with %s", (_what, key, seen) => {
    const namespaceLabels = `team: x, "${key}": y1`;
    expect(peersOf({ namespaceLabels, from: namespaces("team", "x") })).toEqual(seen);
    expect(peersOf({ namespaceLabels, from: namespaces("kubernetes.io/metadata.name", "shop") })).toEqual(seen);
  });

  it("are not put on where no selector asks for them", () => {
    const plain = resolvePolicies(cluster({ from: pods("app", "a") }));
    expect([calicoView(plain), labelView(plain)]).toEqual([plain, plain]);
    expect(calicoView(plain)).toBe(plain);
  });

  it("come and go with the policy that asks for them", () => {
    const given = { plain: pods("app", "a"), asking: pods("projectcalico.org/namespace", "shop") };
    let state = resolvePolicies(cluster({ from: given.plain }));
    for (const from of [given.asking, given.plain, given.asking]) {
      state = resolveAgain(state, cluster({ from }));
      expect(members(calicoView(state))).toEqual(["shop/a"]);
      expect(calicoView(state) === state).toBe(from === given.plain);
    }
  });

  it("are put on once", () => {
    const view = calicoView(resolvePolicies(cluster({ from: pods("projectcalico.org/namespace", "shop") })));
    expect(calicoView(view)).toBe(view);
  });
});
