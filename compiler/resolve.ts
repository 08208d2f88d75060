/**
 * resolve: ClusterModel -> ResolvedCluster. Selectors become the lists of pods they select right now.
 */
import type { Cidr } from "../dataplane/address.ts";
import { listChange, sameItems } from "./again.ts";
import { withHostAddresses } from "./hostPods.ts";
import { groupedBy, PodIndex } from "./members.ts";
import type {
  ClusterModel,
  Direction,
  Endpoint,
  LabelSelector,
  NetworkPolicy,
  PolicyPort,
  PolicyRule,
} from "./model.ts";
import { inScopes, policyScopes } from "./policyScopes.ts";

/** What every strategy lowers. Lists keep the model's order (namespace, then name); identical lists are shared. */
export interface ResolvedCluster {
  readonly model: ClusterModel;
  /** The endpoints that are on the pod network (`isOnPodNetwork`). */
  readonly pods: readonly Endpoint[];
  readonly policies: readonly ResolvedPolicy[];
  /** The policies with type `direction` that select the pod, in the order of `policies`; shared, empty when none. */
  policiesFor(pod: Endpoint, direction: Direction): readonly ResolvedPolicy[];
  /** The same object as in the state before while `policiesFor` says the same of each pod of the namespace. */
  selectionIn(namespace: string): WeakKey;
  /** The policies of these namespaces, in the order of `policies`. */
  policiesIn(namespaces: Iterable<string>): readonly ResolvedPolicy[];
  /** The pods of `pods` scheduled on the node. */
  podsOn(node: string): readonly Endpoint[];
  /**
   * The same object for all states that `resolveAgain` made one of the other: what a strategy keeps of the latest state,
   * to go on from, it keeps under this.
   */
  readonly lineage: WeakKey;
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

export function resolvePolicies(model: ClusterModel): ResolvedCluster {
  const index = new PodIndex(model);
  const policies = model.policies.map((policy) => resolvePolicy(policy, index));
  return clusterByNode({ model, pods: index.pods, policies }, index.byNode);
}

export function resolvePolicy(policy: NetworkPolicy, index: Pick<PodIndex, "members">): ResolvedPolicy {
  const resolveRule = (rule: PolicyRule, ruleIndex: number): ResolvedRule => ({
    rule,
    index: ruleIndex,
    peers: rule.peers.map((peer, peerIndex): ResolvedPeer => {
      if (peer.kind === "ipBlock") {
        // Blocks come by the million: field by field, an object is made with room for all of them at once.
        const { kind, cidr, except, cidrText, exceptText } = peer;
        return { kind, index: peerIndex, cidr, except, cidrText, exceptText };
      }
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
}

type ClusterParts = Pick<ResolvedCluster, "model" | "pods" | "policies">;

/** Nodes that are not in `byNode` have no pod. */
export function clusterByNode(
  parts: ClusterParts,
  byNode: ReadonlyMap<string, readonly Endpoint[]>,
  before?: ResolvedCluster,
): ResolvedCluster {
  const model = withHostAddresses(parts.model, before?.lineage);
  const cluster = resolvedCluster({ ...parts, model, podsOn: (node) => byNode.get(node) ?? NOBODY }, before);
  BY_NODE.set(cluster, byNode);
  return cluster;
}

/** The parts with what is worked out from them when it is first asked for; `before`: the state they follow. */
export function resolvedCluster(
  parts: ClusterParts & Pick<ResolvedCluster, "podsOn">,
  before?: ResolvedCluster,
): ResolvedCluster {
  const lineage = before?.lineage ?? {};
  const scopes = policyScopes(lineage);
  const ordinals = scopes.of(parts.model.policies);
  const policiesIn = (namespaces: Iterable<string>) => inScopes(parts.policies, ordinals, scopes.flags(namespaces));
  const subjects = new SubjectIndexes({ ...parts, policiesIn }, before && INDEXES.get(before));
  const cluster: ResolvedCluster = {
    ...parts,
    policiesFor: (pod, direction) => subjects.policiesFor(pod, direction),
    selectionIn: (namespace) => subjects.in(namespace) ?? NO_POLICIES,
    policiesIn,
    lineage,
  };
  INDEXES.set(cluster, subjects);
  return cluster;
}

const NOBODY: readonly Endpoint[] = [];
const INDEXES = new WeakMap<ResolvedCluster, SubjectIndexes>();
const BY_NODE = new WeakMap<ResolvedCluster, ReadonlyMap<string, readonly Endpoint[]>>();

export function podsByNode(cluster: ResolvedCluster): ReadonlyMap<string, readonly Endpoint[]> {
  const known = BY_NODE.get(cluster);
  if (known === undefined) throw new Error("a cluster that was not resolved");
  return known;
}

/**
 * Policies select pods of their own namespace alone, so each namespace has its index, and one whose policies are the same
 * objects as in the state before keeps it: its pods then get the same lists again.
 */
class SubjectIndexes {
  readonly #policies: readonly ResolvedPolicy[];
  readonly #inNamespaces: ResolvedCluster["policiesIn"];
  /** The latest state before that was asked; not kept once this one is. */
  #before: SubjectIndexes | undefined;
  #namespaces: NamespaceIndexes | undefined;

  constructor({ policies, policiesIn }: Pick<ResolvedCluster, "policies" | "policiesIn">, before?: SubjectIndexes) {
    this.#policies = policies;
    this.#inNamespaces = policiesIn;
    if (before !== undefined) this.#before = before.#namespaces === undefined ? before.#before : before;
  }

  policiesFor(pod: Endpoint, direction: Direction): readonly ResolvedPolicy[] {
    return this.in(pod.namespace)?.policiesFor(pod, direction) ?? NO_POLICIES;
  }

  in(namespace: string): NamespaceIndex | undefined {
    this.#namespaces ??= this.#index();
    return this.#namespaces.get(namespace);
  }

  #index(): NamespaceIndexes {
    const before = this.#before;
    this.#before = undefined;
    if (before === undefined || before.#namespaces === undefined) return new NamespaceIndexes(indexed(this.#policies));
    if (sameItems(before.#policies, this.#policies)) return before.#namespaces;
    const { gone, come } = listChange(before.#policies, this.#policies);
    const changed = new Set([...gone, ...come].map(({ policy }) => policy.namespace));
    if (changed.size === 0) return new NamespaceIndexes(indexed(this.#policies)); // another order
    return before.#namespaces.with(changed, indexed(this.#inNamespaces(changed)));
  }
}

type Indexes = ReadonlyMap<string, NamespaceIndex>;

/** A namespace's index, of states that differ in few: those lie over what the states have in common. */
class NamespaceIndexes {
  readonly #common: Indexes;
  readonly #changed: ReadonlyMap<string, NamespaceIndex | undefined>;

  constructor(common: Indexes, changed: ReadonlyMap<string, NamespaceIndex | undefined> = new Map()) {
    this.#common = common;
    this.#changed = changed;
  }

  get(namespace: string): NamespaceIndex | undefined {
    return this.#changed.has(namespace) ? this.#changed.get(namespace) : this.#common.get(namespace);
  }

  /** `indexes` are those of the namespaces that have policies still. */
  with(namespaces: ReadonlySet<string>, indexes: Indexes): NamespaceIndexes {
    const changed = new Map(this.#changed);
    for (const namespace of namespaces) changed.set(namespace, indexes.get(namespace));
    if (changed.size <= CHANGED_NAMESPACES) return new NamespaceIndexes(this.#common, changed);
    const common = new Map(this.#common);
    for (const [namespace, index] of changed) {
      if (index === undefined) common.delete(namespace);
      else common.set(namespace, index);
    }
    return new NamespaceIndexes(common);
  }
}

/** Beyond so many the common part is copied. */
const CHANGED_NAMESPACES = 64;

function indexed(policies: readonly ResolvedPolicy[]): Indexes {
  const own = groupedBy(policies, ({ policy }) => policy.namespace);
  return new Map([...own].map(([namespace, list]) => [namespace, new NamespaceIndex(list)]));
}

class NamespaceIndex {
  readonly #policies: readonly ResolvedPolicy[];
  readonly #selecting: Partial<Record<Direction, SubjectIndex>> = {};

  constructor(policies: readonly ResolvedPolicy[]) {
    this.#policies = policies;
  }

  policiesFor(pod: Endpoint, direction: Direction): readonly ResolvedPolicy[] {
    this.#selecting[direction] ??= new SubjectIndex(this.#policies, direction);
    return this.#selecting[direction].policiesFor(pod);
  }
}

const EVERYTHING: LabelSelector = { matchLabels: [], matchExpressions: [] };

/**
 * Which policies of a direction select a pod.
 *
 * 10,000 policies that each select 10,000 pods are 10^8 pairs, so pairs are never kept. Policies with the same list of
 * subjects (identical arrays, see PodIndex) form a class. Each pod is in a state that stands for the classes it was found
 * in, a linked list that pods with the same classes share; a state's policies are listed when they are first asked for.
 */
class SubjectIndex {
  readonly #order = new Map<ResolvedPolicy, number>();
  readonly #states = new Map<Endpoint, SubjectState>();
  readonly #answers = new Map<SubjectState, readonly ResolvedPolicy[]>();

  constructor(policies: readonly ResolvedPolicy[], direction: Direction) {
    const classes = new Map<readonly Endpoint[], ResolvedPolicy[]>();
    for (const [order, resolved] of policies.entries()) {
      if (!resolved.policy.types.includes(direction)) continue;
      this.#order.set(resolved, order);
      const sharing = classes.get(resolved.subjects);
      if (sharing === undefined) classes.set(resolved.subjects, [resolved]);
      else sharing.push(resolved);
    }
    for (const [subjects, own] of classes) this.#addClass(subjects, own);
  }

  #addClass(subjects: readonly Endpoint[], policies: readonly ResolvedPolicy[]): void {
    const moves = new Map<SubjectState | undefined, SubjectState>();
    for (const pod of subjects) {
      const before = this.#states.get(pod);
      const after = moves.get(before) ?? { before, policies };
      moves.set(before, after);
      this.#states.set(pod, after);
    }
  }

  policiesFor(pod: Endpoint): readonly ResolvedPolicy[] {
    const state = this.#states.get(pod);
    if (state === undefined) return NO_POLICIES;
    let answer = this.#answers.get(state);
    if (answer === undefined) {
      answer = state.before === undefined ? state.policies : this.#inOrder(state);
      this.#answers.set(state, answer);
    }
    return answer;
  }

  #inOrder(state: SubjectState): readonly ResolvedPolicy[] {
    const policies: ResolvedPolicy[] = [];
    for (let at: SubjectState | undefined = state; at !== undefined; at = at.before) {
      for (const policy of at.policies) policies.push(policy);
    }
    return policies.sort((a, b) => (this.#order.get(a) ?? 0) - (this.#order.get(b) ?? 0));
  }
}

/** The classes of a pod: one, and those found before. */
interface SubjectState {
  readonly before: SubjectState | undefined;
  readonly policies: readonly ResolvedPolicy[];
}

const NO_POLICIES: readonly ResolvedPolicy[] = [];
