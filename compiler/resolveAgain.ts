/**
 * resolve, after a change: what the change does not touch is the same object as before, so that later stages see at once
 * what they need not look at again.
 *
 * The naive way resolves everything: every selector of every policy asks the pods that share its rarest label. Here the
 * pods that came, went or changed are asked instead, by each selector once: a list without any of them stays as it is. The
 * invariant: the result equals `resolvePolicies` of the model. The price: two lists that become equal by the change stay
 * two lists, and a change of a namespace, whose labels any selector may read, is resolved from scratch.
 */
import { PodIndex } from "./members.ts";
import {
  type ClusterModel,
  type Endpoint,
  isOnPodNetwork,
  type LabelSelector,
  type Labels,
  type NetworkPolicy,
} from "./model.ts";
import {
  type ResolvedCluster,
  type ResolvedPeer,
  type ResolvedPolicy,
  type ResolvedRule,
  resolvedCluster,
  resolvePolicies,
  resolvePolicy,
} from "./resolve.ts";
import { matchesSelector } from "./selector.ts";

/** `model` shares with the model before every object that has not changed; objects that are other objects are changed. */
export function resolveAgain(before: ResolvedCluster, model: ClusterModel): ResolvedCluster {
  if (!sameItems(before.model.namespaces, model.namespaces)) return resolvePolicies(model);
  const pods = sameItems(before.model.endpoints, model.endpoints)
    ? before.pods
    : model.endpoints.filter(isOnPodNetwork);
  const change = new PodChange(before.pods, pods, model);
  const known = new Map(before.policies.map((resolved) => [resolved.policy, resolved]));
  let index: PodIndex | undefined;
  const policies = model.policies.map((policy) => {
    const resolved = known.get(policy);
    if (resolved !== undefined) return change.policy(resolved);
    index ??= new PodIndex(model);
    return resolvePolicy(policy, index);
  });
  return resolvedCluster({ model, pods, policies, podsOn: change.podsOn((node) => before.podsOn(node)) });
}

function sameItems<T>(a: readonly T[], b: readonly T[]): boolean {
  return a === b || (a.length === b.length && a.every((item, index) => item === b[index]));
}

/** Pods that came and went between two states of a cluster; one that changed did both. */
class PodChange {
  readonly #gone: readonly Endpoint[];
  readonly #come: readonly Endpoint[];
  readonly #pods: readonly Endpoint[];
  readonly #namespaceLabels: ReadonlyMap<string, Labels>;
  /** Lists as they are now, by what they were and which of the pods that came are in them. */
  readonly #lists = new Map<readonly Endpoint[], Map<string, readonly Endpoint[]>>();
  #order: ReadonlyMap<Endpoint, number> | undefined;

  constructor(before: readonly Endpoint[], after: readonly Endpoint[], { namespaces }: ClusterModel) {
    this.#gone = before === after ? [] : missingFrom(before, after);
    this.#come = before === after ? [] : missingFrom(after, before);
    this.#pods = after;
    const touched = new Set([...this.#gone, ...this.#come].map(({ namespace }) => namespace));
    this.#namespaceLabels = new Map(
      touched.size === 0
        ? []
        : namespaces.filter(({ name }) => touched.has(name)).map(({ name, labels }) => [name, labels]),
    );
  }

  policy(resolved: ResolvedPolicy): ResolvedPolicy {
    if (this.#gone.length === 0 && this.#come.length === 0) return resolved;
    const { policy } = resolved;
    const subjects = this.#list(resolved.subjects, (pod) => isSubject(policy, pod));
    const ingress = this.#rules(policy, resolved.ingress);
    const egress = this.#rules(policy, resolved.egress);
    const isSame = subjects === resolved.subjects && ingress === resolved.ingress && egress === resolved.egress;
    return isSame ? resolved : { policy, subjects, ingress, egress };
  }

  /** As `ResolvedCluster.podsOn`, where nothing came or went as before. */
  podsOn(before: (node: string) => readonly Endpoint[]): (node: string) => readonly Endpoint[] {
    const touched = new Set([...this.#gone, ...this.#come].map(({ node }) => node));
    const found = new Map<string, readonly Endpoint[]>();
    return (node) => {
      if (!touched.has(node)) return before(node);
      const known = found.get(node) ?? this.#pods.filter((pod) => pod.node === node);
      found.set(node, known);
      return known;
    };
  }

  #rules(policy: NetworkPolicy, rules: readonly ResolvedRule[]): readonly ResolvedRule[] {
    return mapped(rules, (rule) => {
      const peers = mapped(rule.peers, (peer) => this.#peer(policy, peer));
      return peers === rule.peers ? rule : { ...rule, peers };
    });
  }

  #peer({ namespace }: NetworkPolicy, peer: ResolvedPeer): ResolvedPeer {
    if (peer.kind === "ipBlock") return peer;
    const members = this.#list(peer.members, (pod) => {
      const isIn =
        peer.namespaceSelector === undefined
          ? pod.namespace === namespace
          : this.#isInNamespaces(peer.namespaceSelector, pod);
      return isIn && (peer.podSelector === undefined || matchesSelector(peer.podSelector, pod.labels));
    });
    return members === peer.members ? peer : { ...peer, members };
  }

  #isInNamespaces(selector: LabelSelector, { namespace }: Endpoint): boolean {
    const labels = this.#namespaceLabels.get(namespace);
    return labels !== undefined && matchesSelector(selector, labels);
  }

  /** The list of what a selector selects, which selected `list` before. */
  #list(list: readonly Endpoint[], selects: (pod: Endpoint) => boolean): readonly Endpoint[] {
    const come = this.#come.filter(selects);
    if (come.length === 0 && !this.#gone.some(selects)) return list;
    const key = come.map(({ key: name }) => name).join(" ");
    const versions = this.#lists.get(list) ?? new Map<string, readonly Endpoint[]>();
    this.#lists.set(list, versions);
    const known = versions.get(key) ?? this.#replaced(list, come);
    versions.set(key, known);
    return known;
  }

  #replaced(list: readonly Endpoint[], come: readonly Endpoint[]): readonly Endpoint[] {
    const kept = list.filter((pod) => !this.#gone.includes(pod));
    if (come.length === 0) return kept;
    const order = this.#order ?? new Map(this.#pods.map((pod, position) => [pod, position]));
    this.#order = order;
    return [...kept, ...come].sort((a, b) => (order.get(a) ?? 0) - (order.get(b) ?? 0));
  }
}

function isSubject({ namespace, podSelector }: NetworkPolicy, pod: Endpoint): boolean {
  return pod.namespace === namespace && matchesSelector(podSelector, pod.labels);
}

function missingFrom(items: readonly Endpoint[], others: readonly Endpoint[]): readonly Endpoint[] {
  const known = new Set(others);
  return items.filter((item) => !known.has(item));
}

/** The list itself when every item maps to itself. */
function mapped<T>(items: readonly T[], map: (item: T) => T): readonly T[] {
  let changed: T[] | undefined;
  for (const [index, item] of items.entries()) {
    const now = map(item);
    if (now !== item) changed ??= items.slice(0, index);
    changed?.push(now);
  }
  return changed ?? items;
}
