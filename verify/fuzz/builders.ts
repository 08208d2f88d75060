/**
 * Small clusters by hand: functions that fill in what a test does not care about. They make `ClusterModel` parts
 * directly; a test that is about manifests writes manifests.
 */
import type { SourceRef } from "../../compiler/issue.ts";
import type {
  ClusterModel,
  ClusterNode,
  ContainerPort,
  Direction,
  Endpoint,
  LabelRequirement,
  LabelSelector,
  Labels,
  Namespace,
  NetworkPolicy,
  PolicyPeer,
  PolicyPort,
  PolicyRule,
  PortProtocol,
} from "../../compiler/model.ts";
import { type Cidr, type IpAddress, parseAddress, parseCidr } from "../../dataplane/address.ts";
import { makePacket, type Packet, parseProtocol } from "../../dataplane/packet.ts";

/** The place of everything built here: no file has it. */
export const BUILT: SourceRef = { file: "built", line: 0, column: 0 };

export type LabelRecord = Readonly<Record<string, string>>;

/** `parseAddress` for texts that are right; throws on others. */
export function address(text: string): IpAddress {
  const parsed = parseAddress(text);
  if (parsed === undefined) throw new Error(`not an address: ${text}`);
  return parsed;
}

/** `parseCidr` for texts that are right; throws on others. */
export function cidr(text: string): Cidr {
  const parsed = parseCidr(text);
  if (parsed === undefined) throw new Error(`not a CIDR: ${text}`);
  return parsed;
}

/** In order of key, as the loader keeps them. */
export function labels(record: LabelRecord): Labels {
  return new Map(sortedEntries(record));
}

function sortedEntries(record: LabelRecord): readonly (readonly [key: string, value: string])[] {
  return Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1));
}

export function node(name: string, addresses: readonly string[], podCidrs: readonly string[] = []): ClusterNode {
  return {
    name,
    labels: labels({ "kubernetes.io/hostname": name }),
    addresses: addresses.map(address),
    podCidrs: podCidrs.map(cidr),
    source: BUILT,
  };
}

/** With the `kubernetes.io/metadata.name` label that the API server adds. */
export function namespace(name: string, record: LabelRecord = {}): Namespace {
  return {
    name,
    labels: labels({ "kubernetes.io/metadata.name": name, ...record }),
    annotations: labels({}),
    uid: "",
    source: BUILT,
  };
}

/** A running pod on node-a; `key` is `namespace/name`. */
export function pod(
  key: string,
  addresses: readonly string[],
  rest: Partial<Omit<Endpoint, "labels">> & { readonly labels?: LabelRecord } = {},
): Endpoint {
  const [namespaceName = "", name = ""] = key.split("/");
  return {
    key,
    namespace: namespaceName,
    name,
    uid: "",
    annotations: labels({}),
    node: "node-a",
    serviceAccount: "default",
    hostNetwork: false,
    phase: "Running",
    terminating: false,
    addresses: addresses.map(address),
    ports: [],
    creationTimestamp: "",
    source: BUILT,
    ...rest,
    labels: labels(rest.labels ?? {}),
  };
}

export function containerPort(
  name: string,
  port: number,
  protocol: PortProtocol = "TCP",
  container: ContainerPort["container"] = "container",
): ContainerPort {
  return { name, port, protocol, container };
}

export function selector(matchLabels: LabelRecord, matchExpressions: readonly LabelRequirement[] = []): LabelSelector {
  return { matchLabels: sortedEntries(matchLabels), matchExpressions };
}

/** Selects everything. */
export const EVERYTHING: LabelSelector = selector({});

/** A peer of selectors; a part left out is absent, as in the manifest. */
export function podPeer(parts: { readonly namespaces?: LabelSelector; readonly pods?: LabelSelector }): PolicyPeer {
  return { kind: "pods", namespaceSelector: parts.namespaces, podSelector: parts.pods, source: BUILT };
}

export function blockPeer(cidrText: string, exceptText: readonly string[] = []): PolicyPeer {
  return {
    kind: "ipBlock",
    cidr: cidr(cidrText),
    cidrText,
    except: exceptText.map(cidr),
    exceptText,
    source: BUILT,
  };
}

export function policyPort(protocol: PortProtocol, port?: number | string, endPort?: number): PolicyPort {
  return { protocol, port, endPort, source: BUILT };
}

/** Empty lists mean every peer, every port. */
export function rule(peers: readonly PolicyPeer[] = [], ports: readonly PolicyPort[] = []): PolicyRule {
  return { peers, ports, source: BUILT };
}

/** `key` is `namespace/name`; a direction has type when its list is given, also when it is empty. */
export function policy(
  key: string,
  podSelector: LabelSelector,
  rules: Readonly<Partial<Record<Direction, readonly PolicyRule[]>>>,
): NetworkPolicy {
  const [namespaceName = "", name = ""] = key.split("/");
  const types: Direction[] = [];
  if (rules.ingress !== undefined) types.push("ingress");
  if (rules.egress !== undefined) types.push("egress");
  return {
    key,
    namespace: namespaceName,
    name,
    uid: "",
    creationTimestamp: "",
    podSelector,
    types,
    ingress: rules.ingress ?? [],
    egress: rules.egress ?? [],
    source: BUILT,
  };
}

/** The parts in the model's order, with the namespaces and nodes that pods and policies name. */
export function cluster(parts: Partial<ClusterModel>): ClusterModel {
  const endpoints = parts.endpoints ?? [];
  const policies = parts.policies ?? [];
  const nodes = [...(parts.nodes ?? [])];
  for (const name of new Set(endpoints.map((endpoint) => endpoint.node))) {
    if (name !== "" && !nodes.some((known) => known.name === name)) nodes.push(node(name, []));
  }
  const namespaces = [...(parts.namespaces ?? [])];
  for (const name of new Set([...endpoints, ...policies].map((object) => object.namespace))) {
    if (!namespaces.some((known) => known.name === name)) namespaces.push(namespace(name));
  }
  return {
    nodes: nodes.sort(byName),
    namespaces: namespaces.sort(byName),
    endpoints: [...endpoints].sort(byNamespaceAndName),
    policies: [...policies].sort(byNamespaceAndName),
  };
}

function byName(a: { readonly name: string }, b: { readonly name: string }): number {
  return a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
}

function byNamespaceAndName(
  a: { readonly namespace: string; readonly name: string },
  b: { readonly namespace: string; readonly name: string },
): number {
  if (a.namespace !== b.namespace) return a.namespace < b.namespace ? -1 : 1;
  return byName(a, b);
}

/** `packet("tcp", "10.0.0.1", "10.0.0.2", { destinationPort: 80 })`; what is left out is interface.md's default. */
export function packet(protocol: string, source: string, destination: string, rest: Partial<Packet> = {}): Packet {
  const number = parseProtocol(protocol);
  if (number === undefined) throw new Error(`not a protocol: ${protocol}`);
  return makePacket({ protocol: number, source: address(source), destination: address(destination), ...rest });
}

/** A TCP SYN. */
export function syn(source: string, destination: string, port: number): Packet {
  return packet("tcp", source, destination, { destinationPort: port });
}
