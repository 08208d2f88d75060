import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type ClusterModel, DIRECTIONS, type Endpoint, type LabelSelector } from "../../compiler/model.ts";
import { type ResolvedCluster, type ResolvedPolicy, resolvePolicies } from "../../compiler/resolve.ts";
import { resolveAgain } from "../../compiler/resolveAgain.ts";
import { STRATEGIES } from "../../compiler/strategies/registry.ts";
import type { Strategy } from "../../compiler/strategies/strategy.ts";
import { weaveNet } from "../../compiler/strategies/weave-net.ts";
import { unlabelled } from "../../compiler/unlabelled.ts";
import type { Program } from "../../dataplane/program.ts";
import {
  cluster as builtCluster,
  EVERYTHING,
  node,
  pod,
  podPeer,
  policy,
  rule,
  selector,
} from "../../verify/fuzz/builders.ts";
import { clusterArbitrary } from "../../verify/fuzz/cluster.ts";

/** The pods that a policy selects, and those of each peer. */
function listsOf({ subjects, ingress, egress }: ResolvedPolicy): readonly (readonly Endpoint[])[] {
  const peers = [...ingress, ...egress].flatMap((rule) => rule.peers);
  return [subjects, ...peers.map((peer) => (peer.kind === "pods" ? peer.members : []))];
}

/** Everything a resolved cluster says. */
function told(cluster: ResolvedCluster): unknown {
  return {
    model: cluster.model,
    pods: cluster.pods,
    policies: cluster.policies,
    selecting: cluster.pods.map((pod) => DIRECTIONS.map((direction) => cluster.policiesFor(pod, direction))),
    nodes: cluster.model.nodes.map(({ name }) => cluster.podsOn(name)),
  };
}

const CHANGES = [
  "relabel",
  "move",
  "readdress",
  "delete",
  "create",
  "swap",
  "policy",
  "policy comes",
  "policy goes",
  "namespace",
  "nothing",
] as const;
type Change = (typeof CHANGES)[number];

const NOTHING_ASKED: LabelSelector = { matchLabels: [], matchExpressions: [] };

function without<T>(items: readonly T[], index: number): readonly T[] {
  return items.filter((_, at) => at !== index);
}

function withItem<T>(items: readonly T[], index: number, item: T): readonly T[] {
  return items.map((old, at) => (at === index ? item : old));
}

/** One change, everything else the same objects. */
function changed(model: ClusterModel, change: Change, at: number): ClusterModel {
  const { endpoints, policies, namespaces } = model;
  const index = at % Math.max(1, endpoints.length);
  const pod = endpoints[index];
  const other = endpoints[(index + 1) % Math.max(1, endpoints.length)];
  if (pod === undefined || other === undefined) return model;
  switch (change) {
    case "relabel":
      return { ...model, endpoints: withItem(endpoints, index, { ...pod, labels: other.labels }) };
    case "move":
      return { ...model, endpoints: withItem(endpoints, index, { ...pod, addresses: [], node: other.node }) };
    case "readdress":
      return {
        ...model,
        endpoints: withItem(endpoints, index, {
          ...pod,
          addresses: [{ family: 4, words: [(10 << 24) | (9 << 16) | at] }],
        }),
      };
    case "delete":
      return { ...model, endpoints: without(endpoints, index) };
    case "create": {
      const born: Endpoint = { ...pod, name: `${pod.name}-0`, key: `${pod.key}-0`, addresses: [] };
      const hosted = { ...born, addresses: pod.addresses, hostNetwork: false };
      return {
        ...model,
        endpoints: [...endpoints.slice(0, index), { ...pod, addresses: [] }, hosted, ...endpoints.slice(index + 1)],
      };
    }
    case "swap": {
      const swapped = withItem(endpoints, index, { ...pod, addresses: other.addresses });
      return {
        ...model,
        endpoints: withItem(swapped, (index + 1) % endpoints.length, { ...other, addresses: pod.addresses }),
      };
    }
    case "policy": {
      const policy = policies[at % Math.max(1, policies.length)];
      if (policy === undefined) return model;
      const turned = { ...policy, ingress: policy.egress, egress: policy.ingress };
      return { ...model, policies: withItem(policies, at % policies.length, turned) };
    }
    case "policy comes": {
      const policy = policies[at % Math.max(1, policies.length)];
      if (policy === undefined) return model;
      const born = { ...policy, name: `${policy.name}-0`, key: `${policy.key}-0`, podSelector: NOTHING_ASKED };
      const place = policies.indexOf(policy) + 1;
      return { ...model, policies: [...policies.slice(0, place), born, ...policies.slice(place)] };
    }
    case "policy goes":
      return { ...model, policies: without(policies, at % Math.max(1, policies.length)) };
    case "namespace": {
      // Also back to labels that it had before.
      const namespace = namespaces[at % Math.max(1, namespaces.length)];
      const other = namespaces[(at + 1) % Math.max(1, namespaces.length)];
      if (namespace === undefined || other === undefined) return model;
      const labels = at % 2 === 0 ? other.labels : new Map([...namespace.labels, ["team", "changed"]] as const);
      return { ...model, namespaces: withItem(namespaces, namespaces.indexOf(namespace), { ...namespace, labels }) };
    }
    case "nothing":
      return { ...model, endpoints: [...endpoints] };
  }
}

const historyArbitrary = fc.array(fc.tuple(fc.constantFrom(...CHANGES), fc.nat()), { minLength: 1, maxLength: 4 });

function lowered(strategy: Strategy, cluster: ResolvedCluster): readonly Program[] {
  return cluster.model.nodes.map(({ name: node }) => strategy.lower(cluster, { node }));
}

/** As nobody who has seen another state of the cluster lowers it. */
function fresh(strategy: Strategy, { model }: ResolvedCluster): readonly Program[] {
  return lowered(strategy, resolvePolicies(model));
}

describe("resolving after a change", () => {
  it("says what resolving from scratch says, after any history", () => {
    fc.assert(
      fc.property(clusterArbitrary(), historyArbitrary, (model, history) => {
        let cluster = resolvePolicies(model);
        for (const [change, at] of history) {
          cluster = resolveAgain(cluster, changed(cluster.model, change, at));
          expect(told(cluster)).toEqual(told(resolvePolicies(cluster.model)));
        }
      }),
      { numRuns: 150 },
    );
  });

  it("is lowered to the same programs, byte for byte, after any history", () => {
    fc.assert(
      fc.property(clusterArbitrary(), historyArbitrary, (model, history) => {
        let cluster = resolvePolicies(model);
        const states = [cluster];
        for (const [change, at] of history) {
          cluster = resolveAgain(cluster, changed(cluster.model, change, at));
          states.push(cluster);
          // What a strategy remembers of the states before must not show; each is lowered on the way.
          for (const strategy of STRATEGIES) expect(lowered(strategy, cluster)).toEqual(fresh(strategy, cluster));
        }
        // Nor of those behind, when a state before is asked for again.
        const earlier = states[history.length % states.length] ?? cluster;
        for (const strategy of STRATEGIES) expect(lowered(strategy, earlier)).toEqual(fresh(strategy, earlier));
      }),
      { numRuns: process.env.CI === "true" ? 60 : 10 },
    );
  });

  it("fills weave-net's sets of peers in all namespaces again, whichever side of the change they select", () => {
    const asked = podPeer({ namespaces: EVERYTHING, pods: selector({ app: "asked" }) });
    const web = pod("dev/web", ["10.1.0.3"], { node: "node-a", labels: { app: "asked" } });
    const model = builtCluster({
      nodes: [node("node-a", ["192.168.0.1"])],
      endpoints: [pod("default/db", ["10.1.0.2"], { node: "node-a" }), web],
      policies: [policy("default/from-asked", EVERYTHING, { ingress: [rule([asked])] })],
    });
    let cluster = resolvePolicies(model);
    const program = () => JSON.stringify(lowered(weaveNet, cluster));
    const first = program();
    for (const labels of [new Map<string, string>(), web.labels]) {
      const { endpoints } = cluster.model;
      cluster = resolveAgain(cluster, { ...cluster.model, endpoints: withItem(endpoints, 1, { ...web, labels }) });
      expect(lowered(weaveNet, cluster)).toEqual(fresh(weaveNet, cluster));
      expect(program() === first).toBe(labels === web.labels);
    }
  });

  it("keeps every policy that does not select the pod, on either side, as the same object", () => {
    let [kept, all] = [0, 0];
    fc.assert(
      fc.property(clusterArbitrary(), fc.nat(), (model, at) => {
        const before = resolvePolicies(model);
        const after = changed(model, "relabel", at);
        const again = resolveAgain(before, after);
        const [old, now] = [before, again].map(({ pods }) => new Set(pods));
        const touched = (pod: Endpoint) => old?.has(pod) !== now?.has(pod);
        for (const [index, resolved] of again.policies.entries()) {
          const lists = [resolved, before.policies[index]].flatMap((one) => (one === undefined ? [] : listsOf(one)));
          const same = !lists.some((list) => list.some(touched));
          expect(resolved === before.policies[index]).toBe(same);
          all++;
          if (same) kept++;
        }
      }),
      { numRuns: 100 },
    );
    expect([kept > 0, kept < all]).toEqual([true, true]);
  });

  it("shows who looks at no labels the same policies and pods, wherever the same pods are selected by other labels", () => {
    const keys = (resolved: ResolvedPolicy) => listsOf(resolved).map((list) => list.map(({ key }) => key).join(" "));
    const unread = (pod: Endpoint) => ({ ...pod, labels: undefined });
    const seen = ({ pods, policies, policiesFor, podsOn, model }: ResolvedCluster) => ({
      endpoints: model.endpoints.map(unread),
      pods: pods.map(unread),
      lists: policies.map((resolved) => listsOf(resolved).map((list) => list.map(unread))),
      policies: policies.map(({ policy }) => policy),
      selecting: pods.map((each) => DIRECTIONS.map((direction) => policiesFor(each, direction).map(keys))),
      nodes: model.nodes.map(({ name }) => podsOn(name).map(unread)),
    });
    const counts = { kept: 0, all: 0 };
    fc.assert(
      fc.property(clusterArbitrary(), historyArbitrary, (model, history) => {
        const states = [resolvePolicies(model)];
        let view = unlabelled(states[0] as ResolvedCluster);
        for (const [change, at] of history) {
          const latest = states.at(-1) as ResolvedCluster;
          const cluster = resolveAgain(latest, changed(latest.model, change, at));
          states.push(cluster);
          const before = view;
          view = unlabelled(cluster);
          expect(seen(view)).toEqual(seen(cluster));
          if (change !== "relabel") continue;
          expect(view.pods).toBe(before.pods);
          for (const [index, resolved] of view.policies.entries()) {
            const old = before.policies[index] as ResolvedPolicy;
            const same = keys(resolved).join("\n") === keys(old).join("\n");
            expect(resolved === old).toBe(same);
            counts.all++;
            if (same && cluster.policies[index] !== latest.policies[index]) counts.kept++;
          }
        }
        const earlier = states[history.length % states.length] as ResolvedCluster;
        expect(seen(unlabelled(earlier))).toEqual(seen(earlier));
      }),
      { numRuns: 100 },
    );
    expect([counts.kept > 0, counts.kept < counts.all]).toEqual([true, true]);
  });
});
