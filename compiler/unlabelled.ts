/**
 * A cluster as it is seen by who looks at no pod's labels once selectors have been resolved: a pod that has other labels
 * than in the state before, and is otherwise as it was, is the same object, and so are the lists and policies that held it
 * and still do. What is made of them (sets of addresses, chains) is then not made, verified and loaded anew.
 *
 * Which of several equal pods stands for them is decided once for each object: lists and policies made of those that stand
 * for others can be remembered, and stay true whatever state is asked for.
 */
import { listChange, mappedAgain, rememberedBy, sameItems } from "./again.ts";
import type { Endpoint, Labels, NetworkPolicy } from "./model.ts";
import { type ResolvedCluster, type ResolvedPolicy, type ResolvedRule, resolvedCluster } from "./resolve.ts";

type PodList = readonly Endpoint[];

const VIEWS = new WeakMap<ResolvedCluster, ResolvedCluster>();
const LATEST = new WeakMap<WeakKey, LatestSight>();

/** The same view each time; of the first state of a lineage that is asked about, the cluster itself. */
export function unlabelled(cluster: ResolvedCluster): ResolvedCluster {
  return rememberedBy(VIEWS, cluster, () =>
    rememberedBy(LATEST, cluster.lineage, () => new LatestSight(cluster)).of(cluster),
  );
}

class LatestSight {
  #cluster: ResolvedCluster;
  #view: ResolvedCluster;
  /** Who stands for a pod. Pods, lists and policies of the first state stand for themselves. */
  readonly #stands = new WeakMap<Endpoint, Endpoint>();
  /** The latest that stand for others, by key. */
  readonly #known = new Map<string, Endpoint>();
  readonly #lists = new WeakMap<PodList, PodList>();
  readonly #onNodes = new Map<string, PodList>();
  readonly #policies = new WeakMap<ResolvedPolicy, ResolvedPolicy>();
  /** Policies as they were last resolved. */
  readonly #resolved = new WeakMap<NetworkPolicy, ResolvedPolicy>();

  constructor(first: ResolvedCluster) {
    [this.#cluster, this.#view] = [first, first];
  }

  of(cluster: ResolvedCluster): ResolvedCluster {
    const before = this.#cluster;
    if (cluster === before) return this.#view;
    if (this.#view === before) this.#begin(before);
    const { model, pods, policies } = this.#view;
    const seePod = (pod: Endpoint) => this.#pod(pod);
    const endpoints = mappedAgain(
      { items: before.model.endpoints, mapped: model.endpoints },
      cluster.model.endpoints,
      seePod,
    );
    this.#view = resolvedCluster(
      {
        model: { ...cluster.model, endpoints },
        pods: mappedAgain({ items: before.pods, mapped: pods }, cluster.pods, seePod),
        policies: mappedAgain({ items: before.policies, mapped: policies }, cluster.policies, (policy) =>
          this.#policy(policy),
        ),
        podsOn: (node) => this.#onNode(node, cluster.podsOn(node)),
      },
      this.#view,
    );
    this.#forget(listChange(before.model.endpoints, cluster.model.endpoints).gone, endpoints);
    this.#cluster = cluster;
    return this.#view;
  }

  #begin({ model, policies }: ResolvedCluster): void {
    for (const pod of model.endpoints) this.#pod(pod);
    for (const resolved of policies) {
      this.#policies.set(resolved, resolved);
      this.#resolved.set(resolved.policy, resolved);
    }
  }

  #pod(pod: Endpoint): Endpoint {
    return rememberedBy(this.#stands, pod, () => {
      const known = this.#known.get(pod.key);
      const stands = known !== undefined && areEqualButForLabels(known, pod) ? known : pod;
      this.#known.set(pod.key, stands);
      return stands;
    });
  }

  /** `before`: what it was in the state before. */
  #list(list: PodList, before: PodList = []): PodList {
    return rememberedBy(this.#lists, list, () => {
      const mapped = this.#lists.get(before) ?? before;
      return mappedAgain({ items: before, mapped }, list, (pod) => this.#pod(pod));
    });
  }

  #onNode(node: string, pods: PodList): PodList {
    const known = this.#onNodes.get(node) ?? [];
    const seen = pods.map((pod) => this.#pod(pod));
    const list = sameItems(known, seen) ? known : seen;
    this.#onNodes.set(node, list);
    return list;
  }

  #policy(resolved: ResolvedPolicy): ResolvedPolicy {
    return rememberedBy(this.#policies, resolved, ({ policy }) => {
      const before = this.#resolved.get(policy);
      this.#resolved.set(policy, resolved);
      const rules = (direction: "ingress" | "egress") =>
        resolved[direction].map((rule, at) => this.#rule(rule, before?.[direction][at]));
      const seen: ResolvedPolicy = {
        policy,
        subjects: this.#list(resolved.subjects, before?.subjects),
        ingress: rules("ingress"),
        egress: rules("egress"),
      };
      const stands = before && this.#policies.get(before);
      return stands !== undefined && sameItems(listsOf(stands), listsOf(seen)) ? stands : seen;
    });
  }

  #rule(rule: ResolvedRule, before: ResolvedRule | undefined): ResolvedRule {
    const peers = rule.peers.map((peer, at) => {
      if (peer.kind === "ipBlock") return peer;
      const old = before?.peers[at];
      return { ...peer, members: this.#list(peer.members, old?.kind === "pods" ? old.members : undefined) };
    });
    return { ...rule, peers };
  }

  #forget(gone: PodList, endpoints: PodList): void {
    if (gone.length === 0) return;
    const kept = gone.length > LOOKED_FOR ? new Set(endpoints) : undefined;
    for (const { key } of gone) {
      const known = this.#known.get(key);
      if (known === undefined) continue;
      if (!(kept?.has(known) ?? endpoints.includes(known))) this.#known.delete(key);
    }
  }
}

/** Beyond so many, a table of all pods is cheaper than looking for each. */
const LOOKED_FOR = 16;

function listsOf({ subjects, ingress, egress }: ResolvedPolicy): readonly PodList[] {
  const peers = [...ingress, ...egress].flatMap((rule) => rule.peers);
  return [subjects, ...peers.flatMap((peer) => (peer.kind === "pods" ? [peer.members] : []))];
}

/** Where they were read is no part of them. */
function areEqualButForLabels(a: Endpoint, b: Endpoint): boolean {
  return told(a) === told(b);
}

function told({ labels, source, annotations, ...pod }: Endpoint & { readonly annotations: Labels }): string {
  return JSON.stringify([pod, [...annotations]]);
}
