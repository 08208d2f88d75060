import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { clusterOf } from "../../bench/workloads.ts";
import {
  type ClusterModel,
  DIRECTIONS,
  type Endpoint,
  isOnPodNetwork,
  type LabelSelector,
} from "../../compiler/model.ts";
import { resolvePolicies } from "../../compiler/resolve.ts";
import { selects } from "../../reference/selectors.ts";
import {
  cluster,
  containerPort,
  EVERYTHING,
  namespace,
  pod,
  podPeer,
  policy,
  rule,
  selector,
} from "../../verify/fuzz/builders.ts";
import { clusterArbitrary } from "../../verify/fuzz/cluster.ts";
import { runsOf } from "../extent.ts";

const keysOf = (pods: readonly Endpoint[]) => pods.map(({ key }) => key);

describe("members", () => {
  it("are those that a question to every pod finds, in the order of the model", () => {
    fc.assert(
      fc.property(clusterArbitrary({ maxPolicies: 8 }), (model) => {
        const resolved = resolvePolicies(model);
        for (const { policy: asked, subjects, ingress, egress } of resolved.policies) {
          expect(subjects).toEqual(naiveMembers(model, asked.namespace, undefined, asked.podSelector));
          for (const { peers } of [...ingress, ...egress]) {
            for (const peer of peers) {
              if (peer.kind === "ipBlock") continue;
              expect(peer.members).toEqual(
                naiveMembers(model, asked.namespace, peer.namespaceSelector, peer.podSelector ?? EVERYTHING),
              );
            }
          }
        }
      }),
      { numRuns: runsOf(300) },
    );
  });

  it("are never pods on the host network, without an address, or finished", () => {
    const model = cluster({
      endpoints: [
        pod("a/host", ["10.0.0.1"], { hostNetwork: true }),
        pod("a/pending", []),
        pod("a/done", ["10.0.0.2"], { phase: "Succeeded" }),
        pod("a/failed", ["10.0.0.3"], { phase: "Failed" }),
        pod("a/starting", ["10.0.0.4"], { phase: "Pending" }),
      ],
      policies: [policy("a/all", EVERYTHING, { ingress: [rule([podPeer({ pods: EVERYTHING })])] })],
    });
    const { pods, policies } = resolvePolicies(model);
    expect(keysOf(pods)).toEqual(["a/starting"]);
    expect(keysOf(policies[0]?.subjects ?? [])).toEqual(["a/starting"]);
  });

  it("of different questions with one answer are one list", () => {
    const model = cluster({
      namespaces: [namespace("a", { team: "x" }), namespace("b")],
      endpoints: [
        pod("a/one", ["10.0.0.1"], { labels: { app: "web", tier: "front" } }),
        pod("a/two", ["10.0.0.2"], { labels: { app: "web", tier: "front" } }),
        pod("a/three", ["10.0.0.3"]),
        pod("b/one", ["10.0.0.4"], { labels: { app: "web" } }),
      ],
      policies: [
        policy("a/by-app", selector({ app: "web" }), { ingress: [] }),
        policy("a/by-tier", selector({ tier: "front" }), { ingress: [] }),
        policy("a/by-team", EVERYTHING, {
          ingress: [rule([podPeer({ namespaces: selector({ team: "x" }), pods: selector({ app: "web" }) })])],
        }),
      ],
    });
    const { policies } = resolvePolicies(model);
    const [byApp, byTeam, byTier] = policies;
    expect(byApp?.subjects).toHaveLength(2);
    expect(byTier?.subjects).toBe(byApp?.subjects);
    const peer = byTeam?.ingress[0]?.peers[0];
    expect(peer?.kind === "pods" ? peer.members : undefined).toBe(byApp?.subjects);
  });
});

describe("policiesFor", () => {
  it("are the policies of that direction that select the pod, in their order", () => {
    fc.assert(
      fc.property(clusterArbitrary({ maxPolicies: 8 }), (model) => {
        const resolved = resolvePolicies(model);
        for (const endpoint of model.endpoints) {
          for (const direction of DIRECTIONS) {
            const expected = resolved.policies.filter(
              (each) => each.policy.types.includes(direction) && each.subjects.includes(endpoint),
            );
            expect(resolved.policiesFor(endpoint, direction)).toEqual(expected);
          }
        }
      }),
      { numRuns: runsOf(300) },
    );
  });

  it("of pods with the same policies are one list", () => {
    const model = clusterOf({ pods: 60, policies: 40, namespaces: 2, nodes: 2, seed: 3, shape: "mixed" });
    const resolved = resolvePolicies(model);
    const lists = new Map<string, unknown>();
    for (const endpoint of resolved.pods) {
      const policies = resolved.policiesFor(endpoint, "ingress");
      const text = policies.map(({ policy: { key } }) => key).join();
      expect(policies).toBe(lists.get(text) ?? policies);
      lists.set(text, policies);
    }
    expect(lists.size).toBeGreaterThan(2);
    expect(lists.size).toBeLessThan(resolved.pods.length);
  });

  it("of 2,000 policies that each select 2,000 pods take no pairs: all answers are one list", () => {
    const resolved = resolvePolicies(
      clusterOf({ pods: 2_000, policies: 2_000, namespaces: 1, nodes: 10, seed: 1, shape: "everyone" }),
    );
    const answers = new Set(resolved.pods.map((endpoint) => resolved.policiesFor(endpoint, "ingress")));
    expect(answers.size).toBe(1);
    expect([...answers][0]).toHaveLength(2_000);
  });
});

describe("podsOn", () => {
  it("are the pods of the pod network that the node runs", () => {
    const model = cluster({
      endpoints: [
        pod("a/one", ["10.0.0.1"], { node: "n1" }),
        pod("a/two", ["10.0.0.2"], { node: "n2" }),
        pod("a/host", ["192.168.0.1"], { node: "n1", hostNetwork: true }),
        pod("b/three", ["10.0.0.3"], { node: "n1", ports: [containerPort("web", 80)] }),
      ],
    });
    const resolved = resolvePolicies(model);
    expect(keysOf(resolved.podsOn("n1"))).toEqual(["a/one", "b/three"]);
    expect(keysOf(resolved.podsOn("nowhere"))).toEqual([]);
  });
});

/** One question to every pod, with the reference's matching. */
function naiveMembers(
  model: ClusterModel,
  own: string,
  namespaces: LabelSelector | undefined,
  pods: LabelSelector,
): readonly Endpoint[] {
  return model.endpoints.filter((endpoint) => {
    const home = model.namespaces.find(({ name }) => name === endpoint.namespace);
    const isNear = namespaces === undefined ? endpoint.namespace === own : home && selects(namespaces, home.labels);
    return isNear && isOnPodNetwork(endpoint) && selects(pods, endpoint.labels);
  });
}
