/**
 * resolve: ClusterModel -> ResolvedCluster. Selectors become the lists of pods they select right now.
 */
import type { Cidr } from "../dataplane/address.ts";
import type {
  ClusterModel,
  Direction,
  Endpoint,
  LabelSelector,
  NetworkPolicy,
  PolicyPort,
  PolicyRule,
} from "./model.ts";

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

export function resolvePolicies(model: ClusterModel): ResolvedCluster {
  throw new Error(`resolvePolicies is not written yet (${model.policies.length} policies)`);
}
