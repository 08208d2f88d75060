/**
 * resolve, after a change: what the change does not touch is the same object as before, so that later stages see at once
 * what they need not look at again.
 *
 * The naive way resolves everything: every selector of every policy asks the pods that share its rarest label. Here the
 * pods that came, went or changed are asked instead, by each selector once: a list without any of them stays as it is. Of
 * a namespace with other labels each selector over namespaces is asked before and after; where the answers differ, its pods
 * come or go together. The invariant: the result equals `resolvePolicies` of the model. The price: two lists that become
 * equal by the change stay two lists.
 */
import { FilteredAgain, listChange, mappedAgain, rememberedBy, replacedItems, sameItems } from "./again.ts";
import { PodIndex } from "./members.ts";
import {
  type ClusterModel,
  type Endpoint,
  isOnPodNetwork,
  type LabelSelector,
  type Labels,
  type Namespace,
  type NetworkPolicy,
} from "./model.ts";
import { policyScopes } from "./policyScopes.ts";
import {
  clusterByNode,
  podsByNode,
  type ResolvedCluster,
  type ResolvedPeer,
  type ResolvedPolicy,
  type ResolvedRule,
  resolvePolicy,
} from "./resolve.ts";
import { matchesSelector } from "./selector.ts";

/** Beyond so many new policies at once an index over the labels of all pods is cheaper than asking all pods. */
const SCANNED_POLICIES = 8;

/** `model` shares with the model before every object that has not changed; objects that are other objects are changed. */
export function resolveAgain(before: ResolvedCluster, model: ClusterModel): ResolvedCluster {
  const change = new PodChange(before, model);
  const policies = policiesAgain(before, model, change);
  return clusterByNode({ model, pods: change.pods, policies }, change.byNode(podsByNode(before)), before);
}

function policiesAgain(before: ResolvedCluster, model: ClusterModel, change: PodChange): readonly ResolvedPolicy[] {
  const known = change.policies(before);
  const { come } = listChange(before.model.policies, model.policies);
  const index = come.length > SCANNED_POLICIES ? new PodIndex(model) : new PodScan(model, change.pods);
  return mappedAgain({ items: before.model.policies, mapped: known }, model.policies, (policy) =>
    resolvePolicy(policy, index),
  );
}

/** Answers the selectors of a few policies by asking every pod. */
class PodScan implements Pick<PodIndex, "members"> {
  readonly #pods: readonly Endpoint[];
  readonly #namespaces: readonly Namespace[];

  constructor({ namespaces }: ClusterModel, pods: readonly Endpoint[]) {
    this.#pods = pods;
    this.#namespaces = namespaces;
  }

  members(namespaces: string | LabelSelector, podSelector: LabelSelector): readonly Endpoint[] {
    if (typeof namespaces === "string") {
      return this.#pods.filter(
        ({ namespace, labels }) => namespace === namespaces && matchesSelector(podSelector, labels),
      );
    }
    const selected = this.#namespaces.filter(({ labels }) => matchesSelector(namespaces, labels));
    const names = new Set(selected.map(({ name }) => name));
    return this.#pods.filter(({ namespace, labels }) => names.has(namespace) && matchesSelector(podSelector, labels));
  }
}

interface LabelsChange {
  /** Undefined: it was not there, or is not. */
  readonly before: Labels | undefined;
  readonly after: Labels | undefined;
}

/** Pods that came and went between two states of a cluster (one that changed did both), and namespaces with other labels. */
class PodChange {
  readonly pods: readonly Endpoint[];
  readonly #gone: readonly Endpoint[];
  readonly #come: readonly Endpoint[];
  /** The namespaces of pods that came or went. */
  readonly #touched: ReadonlySet<string>;
  readonly #relabelled: ReadonlyMap<string, LabelsChange>;
  readonly #labels: ReadonlyMap<string, LabelsChange>;
  /** Lists as they are now, by what they were and by what comes and goes. */
  readonly #lists = new Map<readonly Endpoint[], Map<string, readonly Endpoint[]>>();
  readonly #places = new Map<Endpoint, number>();

  constructor(before: ResolvedCluster, model: ClusterModel) {
    const { lineage } = before;
    const onNetwork = rememberedBy(ON_POD_NETWORK, lineage, () => new FilteredAgain<Endpoint>());
    const pods = onNetwork.of(model.endpoints, isOnPodNetwork);
    this.pods = sameItems(before.pods, pods) ? before.pods : pods;
    const { gone, come } = listChange(before.pods, this.pods);
    [this.#gone, this.#come] = [gone, come];
    this.#touched = new Set([...gone, ...come].map(({ namespace }) => namespace));
    const namespaces = listChange(before.model.namespaces, model.namespaces);
    const was = new Map(namespaces.gone.map(({ name, labels }) => [name, labels]));
    const is = new Map(namespaces.come.map(({ name, labels }) => [name, labels]));
    this.#relabelled = new Map(
      [...new Set([...was.keys(), ...is.keys()])].map((name) => [name, { before: was.get(name), after: is.get(name) }]),
    );
    this.#labels = this.#labelsOf(model.namespaces);
  }

  /** Labels of the namespaces of pods that came or went. */
  #labelsOf(namespaces: readonly Namespace[]): ReadonlyMap<string, LabelsChange> {
    if (this.#touched.size === 0) return this.#relabelled;
    const labels = new Map(this.#relabelled);
    for (const { name, labels: own } of namespaces) {
      if (this.#touched.has(name) && !labels.has(name)) labels.set(name, { before: own, after: own });
    }
    return labels;
  }

  /** The policies that were there, as they are resolved now. */
  policies({ model, policies, lineage }: ResolvedCluster): readonly ResolvedPolicy[] {
    if (this.#touched.size === 0 && this.#relabelled.size === 0) return policies;
    const scopes = policyScopes(lineage);
    const ordinals = scopes.of(model.policies);
    const flags = scopes.flags(this.#touched, "far");
    return mapped(policies, (resolved, index) =>
      flags[ordinals[index] as number] === 1 ? this.#policy(resolved) : resolved,
    );
  }

  #policy(resolved: ResolvedPolicy): ResolvedPolicy {
    const { policy } = resolved;
    const subjects = this.#own(resolved.subjects, policy.namespace, policy.podSelector);
    const ingress = this.#rules(policy, resolved.ingress);
    const egress = this.#rules(policy, resolved.egress);
    const isSame = subjects === resolved.subjects && ingress === resolved.ingress && egress === resolved.egress;
    return isSame ? resolved : { policy, subjects, ingress, egress };
  }

  /** Pods by node, the lists of nodes where nothing came or went as they were. */
  byNode(before: ReadonlyMap<string, readonly Endpoint[]>): ReadonlyMap<string, readonly Endpoint[]> {
    const touched = new Set([...this.#gone, ...this.#come].map(({ node }) => node));
    if (touched.size === 0) return before;
    const nodes = new Map(before);
    for (const node of touched) {
      const own = (pod: Endpoint) => pod.node === node;
      const pods = this.#replaced(before.get(node) ?? [], this.#come.filter(own), NO_NAMESPACES);
      if (pods.length > 0) nodes.set(node, pods);
      else nodes.delete(node);
    }
    return nodes;
  }

  #rules(policy: NetworkPolicy, rules: readonly ResolvedRule[]): readonly ResolvedRule[] {
    return mapped(rules, (rule) => {
      const peers = mapped(rule.peers, (peer) => this.#peer(policy, peer));
      return peers === rule.peers ? rule : { ...rule, peers };
    });
  }

  #peer({ namespace }: NetworkPolicy, peer: ResolvedPeer): ResolvedPeer {
    if (peer.kind === "ipBlock") return peer;
    const { namespaceSelector, podSelector } = peer;
    const members =
      namespaceSelector === undefined
        ? this.#own(peer.members, namespace, podSelector)
        : this.#far(peer.members, namespaceSelector, podSelector);
    return members === peer.members ? peer : { ...peer, members };
  }

  /** The list of what a selector selects in one namespace, which selected `list` before. */
  #own(list: readonly Endpoint[], namespace: string, podSelector: LabelSelector | undefined): readonly Endpoint[] {
    if (!this.#touched.has(namespace)) return list;
    const selects = (pod: Endpoint) =>
      pod.namespace === namespace && (podSelector === undefined || matchesSelector(podSelector, pod.labels));
    return this.#list(list, {
      come: this.#come.filter(selects),
      isGone: this.#gone.some(selects),
      lost: NO_NAMESPACES,
    });
  }

  /** As `#own`, in the namespaces that a selector selects. */
  #far(
    list: readonly Endpoint[],
    selector: LabelSelector,
    podSelector: LabelSelector | undefined,
  ): readonly Endpoint[] {
    const [was, is] = [new Set<string>(), new Set<string>()];
    for (const [name, { before, after }] of this.#labels) {
      if (before !== undefined && matchesSelector(selector, before)) was.add(name);
      if (after !== undefined && matchesSelector(selector, after)) is.add(name);
    }
    if (was.size === 0 && is.size === 0) return list;
    const isAsked = (pod: Endpoint) => podSelector === undefined || matchesSelector(podSelector, pod.labels);
    const [lost, won] = [minus(was, is), minus(is, was)];
    const come = this.#come.filter((pod) => is.has(pod.namespace) && isAsked(pod));
    if (won.size > 0) {
      const known = new Set(come);
      come.push(...this.pods.filter((pod) => won.has(pod.namespace) && !known.has(pod) && isAsked(pod)));
    }
    return this.#list(list, {
      come,
      isGone:
        this.#gone.some((pod) => was.has(pod.namespace) && isAsked(pod)) ||
        (lost.size > 0 && list.some(({ namespace }) => lost.has(namespace))),
      lost,
    });
  }

  #list(
    list: readonly Endpoint[],
    { come, isGone, lost }: { readonly come: readonly Endpoint[]; readonly isGone: boolean; readonly lost: Names },
  ): readonly Endpoint[] {
    if (come.length === 0 && !isGone) return list;
    const key = `${come.map(({ key: name }) => name).join(" ")}\n${[...lost].join(" ")}`;
    const versions = this.#lists.get(list) ?? new Map<string, readonly Endpoint[]>();
    this.#lists.set(list, versions);
    const known = versions.get(key) ?? this.#replaced(list, come, lost);
    versions.set(key, known);
    return known;
  }

  #replaced(list: readonly Endpoint[], come: readonly Endpoint[], lost: Names): readonly Endpoint[] {
    const gone = new Set(this.#gone);
    const kept = list.filter((pod) => !gone.has(pod) && !lost.has(pod.namespace));
    if (come.length === 0) return kept;
    // Few are asked for their place: by bisection, and those that come.
    const place = (pod: Endpoint) => {
      const known = this.#places.get(pod) ?? this.pods.indexOf(pod);
      this.#places.set(pod, known);
      return known;
    };
    return merged(
      kept,
      come.toSorted((a, b) => place(a) - place(b)),
      place,
    );
  }
}

/** Two lists in order as one. */
function merged<T>(items: readonly T[], others: readonly T[], place: (item: T) => number): readonly T[] {
  const list: T[] = [];
  let from = 0;
  for (const other of others) {
    const limit = place(other);
    let [low, high] = [from, items.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (place(items[middle] as T) < limit) low = middle + 1;
      else high = middle;
    }
    for (; from < low; from++) list.push(items[from] as T);
    list.push(other);
  }
  for (; from < items.length; from++) list.push(items[from] as T);
  return list;
}

const ON_POD_NETWORK = new WeakMap<WeakKey, FilteredAgain<Endpoint>>();

type Names = ReadonlySet<string>;
const NO_NAMESPACES: Names = new Set();

function minus(names: Names, others: Names): Names {
  return new Set([...names].filter((name) => !others.has(name)));
}

/** The list itself when every item maps to itself. */
function mapped<T>(items: readonly T[], map: (item: T, index: number) => T): readonly T[] {
  const changed = new Map<number, T>();
  for (let index = 0; index < items.length; index++) {
    const item = items[index] as T;
    const now = map(item, index);
    if (now !== item) changed.set(index, now);
  }
  return replacedItems(items, changed);
}
