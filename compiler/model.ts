/**
 * The cluster as the API server would hold it: defaulted, validated, addresses parsed. Everything after `validate` reads
 * this and nothing else. Lists are sorted by namespace and name (nodes and namespaces by name), so that the order of the
 * input documents cannot reach a program.
 */
import type { Cidr, IpAddress } from "../dataplane/address.ts";
import type { SourceRef } from "./issue.ts";

export type Direction = "ingress" | "egress";
export const DIRECTIONS = ["ingress", "egress"] as const satisfies readonly Direction[];

export type Labels = ReadonlyMap<string, string>;

/** The protocols a NetworkPolicy port can name. */
export type PortProtocol = "TCP" | "UDP" | "SCTP";

export interface ClusterModel {
  readonly nodes: readonly ClusterNode[];
  readonly namespaces: readonly Namespace[];
  readonly endpoints: readonly Endpoint[];
  readonly policies: readonly NetworkPolicy[];
}

export interface ClusterNode {
  readonly name: string;
  readonly labels: Labels;
  /** InternalIP addresses first, then ExternalIP, in the order of `status.addresses`. */
  readonly addresses: readonly IpAddress[];
  readonly podCidrs: readonly Cidr[];
  /** Undefined: the node exists only because a pod names it. */
  readonly source: SourceRef | undefined;
}

export interface Namespace {
  readonly name: string;
  /** Always with `kubernetes.io/metadata.name`. */
  readonly labels: Labels;
  readonly annotations: Labels;
  readonly uid: string;
  /** Undefined: the namespace exists only because a pod names it. */
  readonly source: SourceRef | undefined;
}

export type PodPhase = "Pending" | "Running" | "Succeeded" | "Failed" | "Unknown";

/** A pod. */
export interface Endpoint {
  /** `namespace/name`. */
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly labels: Labels;
  readonly annotations: Labels;
  /** "" when not scheduled. */
  readonly node: string;
  readonly serviceAccount: string;
  readonly hostNetwork: boolean;
  readonly phase: PodPhase;
  /** `metadata.deletionTimestamp` is set. */
  readonly terminating: boolean;
  /** As in status; the primary first. A pod that lost a contested address no longer lists it. */
  readonly addresses: readonly IpAddress[];
  readonly ports: readonly ContainerPort[];
  /** RFC 3339, in UTC and of whole seconds, as the API server stores it; "" when absent. */
  readonly creationTimestamp: string;
  readonly source: SourceRef;
}

export interface ContainerPort {
  /** "" when unnamed. */
  readonly name: string;
  readonly port: number;
  readonly protocol: PortProtocol;
  /** Which list of the pod declared it; a sidecar is an init container with `restartPolicy: Always`. */
  readonly container: "container" | "init" | "sidecar";
}

/**
 * Whether the pod takes part in the pod network: it has an address, is not on the host network and has not finished.
 * Solutions agree on this reading (semantics.md rows 34 and 35).
 */
export function isOnPodNetwork(endpoint: Endpoint): boolean {
  return (
    !endpoint.hostNetwork &&
    endpoint.addresses.length > 0 &&
    endpoint.phase !== "Succeeded" &&
    endpoint.phase !== "Failed"
  );
}

export interface NetworkPolicy {
  /** `namespace/name`. */
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly creationTimestamp: string;
  readonly podSelector: LabelSelector;
  /** `policyTypes` after defaulting. */
  readonly types: readonly Direction[];
  /** As written, also when `types` lacks the direction; absent lists are empty. */
  readonly ingress: readonly PolicyRule[];
  readonly egress: readonly PolicyRule[];
  readonly source: SourceRef;
}

export interface PolicyRule {
  /** Empty = every peer (`from`/`to` missing or []). */
  readonly peers: readonly PolicyPeer[];
  /** Empty = every port. */
  readonly ports: readonly PolicyPort[];
  readonly source: SourceRef;
}

export type PolicyPeer =
  | {
      readonly kind: "pods";
      /** Undefined: the policy's own namespace. */
      readonly namespaceSelector: LabelSelector | undefined;
      /** Undefined: all pods. */
      readonly podSelector: LabelSelector | undefined;
      readonly source: SourceRef;
    }
  | {
      readonly kind: "ipBlock";
      readonly cidr: Cidr;
      /** `cidr` as the user wrote it (host bits and all): some solutions print it. */
      readonly cidrText: string;
      readonly except: readonly Cidr[];
      readonly exceptText: readonly string[];
      readonly source: SourceRef;
    };

export interface PolicyPort {
  readonly protocol: PortProtocol;
  /** Undefined: every port of the protocol. A string is a container port's name. */
  readonly port: number | string | undefined;
  /** Only with a numeric `port`; `endPort >= port`. */
  readonly endPort: number | undefined;
  readonly source: SourceRef;
}

/** metav1.LabelSelector. Both parts are ANDed; an empty selector matches everything. */
export interface LabelSelector {
  /** In order of key. */
  readonly matchLabels: readonly (readonly [key: string, value: string])[];
  /** In the order written. */
  readonly matchExpressions: readonly LabelRequirement[];
}

export interface LabelRequirement {
  readonly key: string;
  readonly operator: "In" | "NotIn" | "Exists" | "DoesNotExist";
  /** As written. Empty for Exists and DoesNotExist. */
  readonly values: readonly string[];
}

/** Where a rule of a policy stands, in the user's words: `default/db-policy ingress[0]`. */
export function rulePath(policy: NetworkPolicy, direction: Direction, rule: number): string {
  return `${policy.key} ${direction}[${rule}]`;
}

/** Where a peer stands: `default/db-policy ingress[0].from[1]`. */
export function peerPath(policy: NetworkPolicy, direction: Direction, rule: number, peer: number): string {
  return `${rulePath(policy, direction, rule)}.${direction === "ingress" ? "from" : "to"}[${peer}]`;
}
