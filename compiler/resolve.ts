/**
 * resolve: ClusterModel -> ResolvedCluster. Selectors become the lists of pods they select right now.
 */
import { LRUCache } from "lru-cache";
import type { Cidr } from "../dataplane/address.ts";
import {
  type ClusterModel,
  type Direction,
  type Endpoint,
  isOnPodNetwork,
  type LabelSelector,
  type Namespace,
  type NetworkPolicy,
  type PolicyPort,
  type PolicyRule,
} from "./model.ts";
import { matchesSelector, selectorKey } from "./selector.ts";

/** What every strategy lowers. Lists keep the model's order (namespace, then name); identical lists are shared. */
export interface ResolvedCluster {
  readonly model: ClusterModel;
  /** The endpoints that are on the pod network (`isOnPodNetwork`). */
  readonly pods: readonly Endpoint[];
  readonly policies: readonly ResolvedPolicy[];
  /** The policies with type `direction` that select the pod, in the order of `policies`; shared, empty when none. */
  policiesFor(pod: Endpoint, direction: Direction): readonly ResolvedPolicy[];
  /** The pods of `pods` scheduled on the node. */
  podsOn(node: string): readonly Endpoint[];
}

export interface ResolvedPolicy {
  readonly policy: NetworkPolicy;
  readonly subjects: readonly Endpoint[];
  readonly ingress: readonly ResolvedRule[];
  readonly egress: readonly ResolvedRule[];
}

export interface ResolvedRule {
  readonly rule: PolicyRule;
  /** Index in the policy's list. */
  readonly index: number;
  /** Empty = every peer. */
  readonly peers: readonly ResolvedPeer[];
  /** Empty = every port. */
  readonly ports: readonly PolicyPort[];
}

export type ResolvedPeer =
  | {
      readonly kind: "pods";
      readonly index: number;
      readonly namespaceSelector: LabelSelector | undefined;
      readonly podSelector: LabelSelector | undefined;
      /** The pods selected, of `ResolvedCluster.pods`. */
      readonly members: readonly Endpoint[];
    }
  | {
      readonly kind: "ipBlock";
      readonly index: number;
      readonly cidr: Cidr;
      readonly except: readonly Cidr[];
      readonly cidrText: string;
      readonly exceptText: readonly string[];
    };

/** How many distinct selectors keep their members at a time; beyond it the least recently used are asked again. */
const MEMBER_CACHE_ENTRIES = 50_000;

export function resolvePolicies(model: ClusterModel): ResolvedCluster {
  const index = new PodIndex(model);
  const policies = model.policies.map((policy): ResolvedPolicy => {
    const resolveRule = (rule: PolicyRule, ruleIndex: number): ResolvedRule => ({
      rule,
      index: ruleIndex,
      peers: rule.peers.map((peer, peerIndex): ResolvedPeer => {
        if (peer.kind === "ipBlock") return { ...peer, index: peerIndex };
        const { namespaceSelector, podSelector } = peer;
        return {
          kind: "pods",
          index: peerIndex,
          namespaceSelector,
          podSelector,
          members: index.members(namespaceSelector ?? policy.namespace, podSelector ?? EVERYTHING),
        };
      }),
      ports: rule.ports,
    });
    return {
      policy,
      subjects: index.members(policy.namespace, policy.podSelector),
      ingress: policy.ingress.map(resolveRule),
      egress: policy.egress.map(resolveRule),
    };
  });
  const selecting = {
    ingress: new SubjectIndex(policies, "ingress"),
    egress: new SubjectIndex(policies, "egress"),
  };
  return {
    model,
    pods: index.pods,
    policies,
    policiesFor: (pod, direction) => selecting[direction].policiesFor(pod),
    podsOn: (node) => index.podsOn(node),
  };
}

const EVERYTHING: LabelSelector = { matchLabels: [], matchExpressions: [] };

/** How many selectors over pods stand in the policies; each is asked in one namespace, in some, or in all. */
function selectorCount(model: ClusterModel): number {
  const rules = model.policies.flatMap((policy) => [...policy.ingress, ...policy.egress]);
  return model.policies.length + rules.reduce((count, rule) => count + rule.peers.length, 0);
}

/**
 * Answers selectors with lists of pods.
 *
 * The naive way asks every pod for every selector: 75,000 policies over 100,000 pods are 10^10 label look-ups. Here pods
 * stand by namespace, and within a namespace by label, so that a selector with any `matchLabels` only asks the pods
 * that share its rarest label; equal selectors share one answer, which is the same array, so that later stages can
 * compare by identity. A selector over namespaces is the concatenation of their answers in order.
 *
 * The price: one map entry for each (namespace, label) pair, and a cache bounded by MEMBER_CACHE_ENTRIES.
 */
class PodIndex {
  readonly pods: readonly Endpoint[];
  readonly #namespaces: readonly Namespace[];
  readonly #byNamespace = new Map<string, NamespacePods>();
  readonly #byNode = new Map<string, Endpoint[]>();
  readonly #members: LRUCache<string, readonly Endpoint[]>;
  readonly #selected: LRUCache<string, readonly string[]>;

  constructor(model: ClusterModel) {
    // lru-cache takes room for `max` entries at once, ten milliseconds for 50,000: no more than can ever be asked for.
    const asked = selectorCount(model) * (model.namespaces.length + 1);
    const max = Math.max(1, Math.min(MEMBER_CACHE_ENTRIES, asked));
    this.#members = new LRUCache({ max });
    this.#selected = new LRUCache({ max });
    this.#namespaces = model.namespaces;
    this.pods = model.endpoints.filter(isOnPodNetwork);
    for (const pod of this.pods) {
      groupOf(this.#byNode, pod.node).push(pod);
      const own = this.#byNamespace.get(pod.namespace) ?? { pods: [], byLabel: new Map<string, Endpoint[]>() };
      this.#byNamespace.set(pod.namespace, own);
      own.pods.push(pod);
      for (const [key, value] of pod.labels) groupOf(own.byLabel, labelKey(key, value)).push(pod);
    }
  }

  podsOn(node: string): readonly Endpoint[] {
    return this.#byNode.get(node) ?? NOBODY;
  }

  /** The pods that `podSelector` selects in a namespace, or in the namespaces that a selector selects. */
  members(namespaces: string | LabelSelector, podSelector: LabelSelector): readonly Endpoint[] {
    const podKey = selectorKey(podSelector);
    if (typeof namespaces === "string") return this.#membersIn(namespaces, podSelector, podKey);
    const key = `${selectorKey(namespaces)}\n${podKey}`;
    let members = this.#members.get(key);
    if (members === undefined) {
      const parts = this.#namespacesSelected(namespaces).map((name) => this.#membersIn(name, podSelector, podKey));
      const filled = parts.filter((part) => part.length > 0);
      members = filled.length === 1 && filled[0] !== undefined ? filled[0] : filled.flat();
      this.#members.set(key, members);
    }
    return members;
  }

  #membersIn(namespace: string, podSelector: LabelSelector, podKey: string): readonly Endpoint[] {
    const own = this.#byNamespace.get(namespace);
    if (own === undefined) return NOBODY;
    if (podKey === "") return own.pods;
    const key = `=${namespace}\n${podKey}`;
    let members = this.#members.get(key);
    if (members === undefined) {
      let candidates: readonly Endpoint[] = own.pods;
      for (const [label, value] of podSelector.matchLabels) {
        const sharing = own.byLabel.get(labelKey(label, value)) ?? NOBODY;
        if (sharing.length < candidates.length) candidates = sharing;
      }
      const selected = candidates.filter((pod) => matchesSelector(podSelector, pod.labels));
      members = selected.length === candidates.length ? candidates : selected;
      this.#members.set(key, members);
    }
    return members;
  }

  #namespacesSelected(selector: LabelSelector): readonly string[] {
    const key = selectorKey(selector);
    let names = this.#selected.get(key);
    if (names === undefined) {
      names = this.#namespaces.filter(({ labels }) => matchesSelector(selector, labels)).map(({ name }) => name);
      this.#selected.set(key, names);
    }
    return names;
  }
}

interface NamespacePods {
  readonly pods: Endpoint[];
  readonly byLabel: Map<string, Endpoint[]>;
}

const NOBODY: readonly Endpoint[] = [];

function labelKey(key: string, value: string): string {
  return `${key}=${value}`; // neither may contain "="
}

function groupOf<T>(groups: Map<string, T[]>, key: string): T[] {
  let group = groups.get(key);
  if (group === undefined) {
    group = [];
    groups.set(key, group);
  }
  return group;
}

/**
 * Which policies of a direction select a pod.
 *
 * 10,000 policies that each select 10,000 pods are 10^8 pairs, so pairs are never made. Policies with the same list of
 * subjects (identical arrays, see PodIndex) form one class; a pod is in few classes, and pods in the same classes share
 * one answer.
 */
class SubjectIndex {
  readonly #classes: ResolvedPolicy[][] = [];
  readonly #classesOf = new Map<Endpoint, number[]>();
  readonly #order = new Map<ResolvedPolicy, number>();
  readonly #answers = new Map<string, readonly ResolvedPolicy[]>();

  constructor(policies: readonly ResolvedPolicy[], direction: Direction) {
    const classBySubjects = new Map<readonly Endpoint[], number>();
    for (const [order, resolved] of policies.entries()) {
      if (!resolved.policy.types.includes(direction)) continue;
      this.#order.set(resolved, order);
      let number = classBySubjects.get(resolved.subjects);
      if (number === undefined) {
        number = this.#classes.push([]) - 1;
        classBySubjects.set(resolved.subjects, number);
        for (const pod of resolved.subjects) {
          const own = this.#classesOf.get(pod);
          if (own === undefined) this.#classesOf.set(pod, [number]);
          else own.push(number);
        }
      }
      this.#classes[number]?.push(resolved);
    }
  }

  policiesFor(pod: Endpoint): readonly ResolvedPolicy[] {
    const numbers = this.#classesOf.get(pod);
    if (numbers === undefined) return NO_POLICIES;
    const key = numbers.join(" ");
    let policies = this.#answers.get(key);
    if (policies === undefined) {
      policies = numbers
        .flatMap((number) => this.#classes[number] ?? [])
        .sort((a, b) => (this.#order.get(a) ?? 0) - (this.#order.get(b) ?? 0));
      this.#answers.set(key, policies);
    }
    return policies;
  }
}

const NO_POLICIES: readonly ResolvedPolicy[] = [];
