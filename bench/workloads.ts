/**
 * Clusters of any size, as a function of a seed: what benchmarks compile and what the speed of the command line is
 * checked with.
 */
import { compareText } from "../compiler/age.ts";
import type { SourceRef } from "../compiler/issue.ts";
import { formatYaml } from "../compiler/manifest/parse.ts";
import { manifestsOf } from "../compiler/manifest/write.ts";
import type {
  ClusterModel,
  ClusterNode,
  ContainerPort,
  Endpoint,
  LabelSelector,
  Labels,
  Namespace,
  NetworkPolicy,
  PolicyPeer,
  PolicyPort,
  PolicyRule,
} from "../compiler/model.ts";
import { type Cidr, cidrOf, formatCidr, type IpAddress } from "../dataplane/address.ts";
import { Random } from "./workloads/random.ts";

/**
 * - `mixed`: what clusters in use look like: applications with tiers, peers of every kind, blocks with exceptions, named
 *   ports and ranges, some default denials.
 * - `tenants`: many small namespaces, each policy about its own (Antrea's scale test: 25,000 namespaces with 4 pods
 *   and 3 policies).
 * - `everyone`: each policy selects every pod of its namespace and admits one application (Antrea's other: 10,000
 *   policies and 10,000 pods in one namespace).
 * - `selectors`: no two policies have a selector in common, and each asks for two labels, one of them by expression.
 * - `blocks`: each policy is about one application and admits a hundred blocks outside of the cluster.
 */
export type WorkloadShape = "mixed" | "tenants" | "everyone" | "selectors" | "blocks";
export const WORKLOAD_SHAPES = [
  "mixed",
  "tenants",
  "everyone",
  "selectors",
  "blocks",
] as const satisfies readonly WorkloadShape[];

export interface WorkloadSize {
  readonly pods: number;
  readonly policies: number;
  readonly namespaces: number;
  readonly nodes: number;
  readonly seed: number;
  readonly shape: WorkloadShape;
}

/** A dense default: the size that `compile` is promised to read in under two seconds. */
export const COMPILE_WORKLOAD: WorkloadSize = {
  pods: 1_000,
  policies: 500,
  namespaces: 20,
  nodes: 10,
  seed: 1,
  shape: "mixed",
};

const BUILT: SourceRef = { file: "workload", line: 0, column: 0 };
const EVERYTHING: LabelSelector = { matchLabels: [], matchExpressions: [] };
const NONE: Labels = new Map();

/** Pods that make one application, on average. */
const PODS_PER_APP = 8;
const TIERS = ["web", "api", "data"];
const TEAMS = ["blue", "green", "red"];
/** All pods live in 10.0.0.0/8, all nodes in 192.168.0.0/16. */
const POD_NETWORK = 10 << 24;
const POD_NETWORK_BITS = 8;
const NODE_NETWORK = (192 << 24) | (168 << 16);
const FIRST_HOST = 2;
const CREATED = "2026-01-01T00:00:00Z";

/** The cluster of that size. Equal sizes give equal clusters, in the order that `validateCluster` gives. */
export function clusterOf(size: WorkloadSize): ClusterModel {
  const random = new Random(size.seed);
  const nodes = Array.from({ length: size.nodes }, (_, index) => nodeOf(index, size));
  const namespaces = Array.from({ length: size.namespaces }, (_, index) => namespaceOf(index, random));
  const endpoints = Array.from({ length: size.pods }, (_, index) => podOf(index, size, random));
  const policies = Array.from({ length: size.policies }, (_, index) => policyOf(index, size, random));
  return {
    nodes: nodes.sort((a, b) => compareText(a.name, b.name)),
    namespaces: namespaces.sort((a, b) => compareText(a.name, b.name)),
    endpoints: endpoints.sort((a, b) => compareText(a.key, b.key)),
    policies: policies.sort((a, b) => compareText(a.key, b.key)),
  };
}

/** The cluster as `kubectl get -o yaml` (many documents) or `kubectl get -o json` (a List) would give it. */
export function clusterText(model: ClusterModel, format: "yaml" | "json"): string {
  const manifests = manifestsOf(model);
  switch (format) {
    case "yaml":
      return manifests.map((manifest) => formatYaml(manifest)).join("---\n");
    case "json":
      return `${JSON.stringify({ apiVersion: "v1", kind: "List", items: manifests }, undefined, 4)}\n`;
  }
}

function nodeOf(index: number, { nodes, pods }: WorkloadSize): ClusterNode {
  return {
    name: nodeName(index),
    labels: new Map([["kubernetes.io/hostname", nodeName(index)]]),
    addresses: [{ family: 4, words: [NODE_NETWORK + 11 + index] }],
    podCidrs: [podCidr(index, { nodes, pods })],
    source: BUILT,
  };
}

function nodeName(index: number): string {
  return `node-${index}`;
}

/** The pod network in equal parts, one a node. */
function podCidr(node: number, { nodes, pods }: Pick<WorkloadSize, "nodes" | "pods">): Cidr {
  const prefixLength = POD_NETWORK_BITS + Math.ceil(Math.log2(nodes));
  const room = 2 ** (32 - prefixLength) - FIRST_HOST - 1;
  if (Math.ceil(pods / nodes) > room) throw new Error(`${nodes} nodes have no room for ${pods} pods`);
  return cidrOf({ family: 4, words: [POD_NETWORK | (node << (32 - prefixLength))] }, prefixLength);
}

function namespaceName(index: number): string {
  return `ns-${index}`;
}

function namespaceOf(index: number, random: Random): Namespace {
  const name = namespaceName(index);
  const labels = new Map([
    ["kubernetes.io/metadata.name", name],
    ["team", random.pick(TEAMS)],
  ]);
  return { name, labels, annotations: NONE, uid: random.uuid(), source: BUILT };
}

/** Pods go round the namespaces and, at another pace, round the nodes. */
function podOf(index: number, size: WorkloadSize, random: Random): Endpoint {
  const namespace = namespaceName(index % size.namespaces);
  const name = `pod-${Math.floor(index / size.namespaces)}`;
  const node = (index + Math.floor(index / size.nodes)) % size.nodes;
  return {
    key: `${namespace}/${name}`,
    namespace,
    name,
    uid: random.uuid(),
    labels: new Map([
      ["app", appName(index, size)],
      ["tier", random.pick(TIERS)],
    ]),
    annotations: NONE,
    node: nodeName(node),
    serviceAccount: "default",
    hostNetwork: false,
    phase: "Running",
    terminating: false,
    addresses: [podAddress(index, node, size)],
    ports: PORTS_OF_A_POD,
    creationTimestamp: CREATED,
    source: BUILT,
  };
}

const PORTS_OF_A_POD: readonly ContainerPort[] = [
  { name: "http", port: 8080, protocol: "TCP", container: "container" },
  { name: "metrics", port: 9090, protocol: "TCP", container: "container" },
];

/** Each round of `nodes` pods gives every node one. */
function podAddress(index: number, node: number, size: WorkloadSize): IpAddress {
  const base = podCidr(node, size).words[0] ?? 0;
  return { family: 4, words: [(base + FIRST_HOST + Math.floor(index / size.nodes)) | 0] };
}

/** How many applications a namespace has. */
function appsPerNamespace({ pods, namespaces, shape }: WorkloadSize): number {
  const podsEach = Math.ceil(pods / namespaces);
  return shape === "tenants" ? podsEach : Math.max(1, Math.ceil(podsEach / PODS_PER_APP));
}

function appName(pod: number, size: WorkloadSize): string {
  return `app-${Math.floor(pod / size.namespaces) % appsPerNamespace(size)}`;
}

function policyOf(index: number, size: WorkloadSize, random: Random): NetworkPolicy {
  const namespace = namespaceName(index % size.namespaces);
  const name = `policy-${Math.floor(index / size.namespaces)}`;
  const identity = {
    key: `${namespace}/${name}`,
    namespace,
    name,
    uid: random.uuid(),
    creationTimestamp: CREATED,
    source: BUILT,
  };
  const app = () => matching("app", `app-${random.below(appsPerNamespace(size))}`);
  switch (size.shape) {
    case "tenants":
      return { ...identity, ...ingressOnly(app(), [ruleOf([podsPeer({ pods: app() })], [tcp(8080)])]) };
    case "everyone":
      return { ...identity, ...ingressOnly(EVERYTHING, [ruleOf([podsPeer({ pods: app() })], [tcp(8080)])]) };
    case "selectors": {
      const own = distinctSelector(index, size);
      const peer = podsPeer({ pods: distinctSelector(index + size.policies, size) });
      return { ...identity, ...ingressOnly(own, [ruleOf([peer], [tcp(8080)])]) };
    }
    case "blocks": {
      const blocks = Array.from({ length: BLOCKS_PER_POLICY }, (_, block) =>
        hostsPeer(index * BLOCKS_PER_POLICY + block),
      );
      return { ...identity, ...ingressOnly(app(), [ruleOf(blocks, [tcp(8080)])]) };
    }
    case "mixed":
      return { ...identity, ...mixedSpec(random, app) };
  }
}

/** An application's pods but for those of a tier that is no pod's, so that the number makes the selector another one. */
function distinctSelector(number: number, size: WorkloadSize): LabelSelector {
  const apps = appsPerNamespace(size);
  const absent = { key: "tier", operator: "NotIn" as const, values: [`tier-${Math.floor(number / apps)}`] };
  return { matchLabels: [["app", `app-${number % apps}`]], matchExpressions: [absent] };
}

const BLOCKS_PER_POLICY = 100;

/** The `number`th /30 from 32.0.0.0 on, which no other block touches: nothing can be merged. */
function hostsPeer(number: number): PolicyPeer {
  const cidr = cidrOf({ family: 4, words: [((32 << 24) + number * 8) | 0] }, 30);
  return { kind: "ipBlock", cidr, cidrText: formatCidr(cidr), except: [], exceptText: [], source: BUILT };
}

type Spec = Pick<NetworkPolicy, "podSelector" | "types" | "ingress" | "egress">;

function ingressOnly(podSelector: LabelSelector, ingress: readonly PolicyRule[]): Spec {
  return { podSelector, types: ["ingress"], ingress, egress: [] };
}

function mixedSpec(random: Random, app: () => LabelSelector): Spec {
  if (random.chance(5)) return ingressOnly(EVERYTHING, []);
  const podSelector = random.chance(80) ? app() : matching("tier", random.pick(TIERS));
  const rules = () =>
    Array.from({ length: 1 + random.below(3) }, () =>
      ruleOf(
        Array.from({ length: 1 + random.below(3) }, () => mixedPeer(random, app)),
        Array.from({ length: random.below(3) }, () => mixedPort(random)),
      ),
    );
  if (random.chance(60)) return ingressOnly(podSelector, rules());
  return { podSelector, types: ["ingress", "egress"], ingress: rules(), egress: rules() };
}

function mixedPeer(random: Random, app: () => LabelSelector): PolicyPeer {
  const team = matching("team", random.pick(TEAMS));
  switch (random.below(5)) {
    case 0:
      return podsPeer({ namespaces: team });
    case 1:
      return podsPeer({ namespaces: team, pods: app() });
    case 2:
      return blockPeer(random);
    case 3: {
      const unlike = { key: "tier", operator: "NotIn" as const, values: [random.pick(TIERS)] };
      return podsPeer({ pods: { matchLabels: [], matchExpressions: [unlike] } });
    }
    default:
      return podsPeer({ pods: app() });
  }
}

/** A /16 outside of the cluster, often without one of its /24s. */
function blockPeer(random: Random): PolicyPeer {
  const cidr = cidrOf({ family: 4, words: [(172 << 24) | ((16 + random.below(16)) << 16)] }, 16);
  const hole = cidrOf({ family: 4, words: [(cidr.words[0] ?? 0) | (random.below(256) << 8)] }, 24);
  const except = random.chance(50) ? [hole] : [];
  return {
    kind: "ipBlock",
    cidr,
    cidrText: formatCidr(cidr),
    except,
    exceptText: except.map(formatCidr),
    source: BUILT,
  };
}

function mixedPort(random: Random): PolicyPort {
  switch (random.below(5)) {
    case 0:
      return { protocol: "TCP", port: random.pick(["http", "metrics"]), endPort: undefined, source: BUILT };
    case 1: {
      const port = 30_000 + random.below(1_000);
      return { protocol: "TCP", port, endPort: port + random.below(100), source: BUILT };
    }
    case 2:
      return { protocol: "UDP", port: 53, endPort: undefined, source: BUILT };
    default:
      return tcp(random.pick([80, 443, 5432, 8080]));
  }
}

function matching(key: string, value: string): LabelSelector {
  return { matchLabels: [[key, value]], matchExpressions: [] };
}

function podsPeer(selectors: { readonly namespaces?: LabelSelector; readonly pods?: LabelSelector }): PolicyPeer {
  return { kind: "pods", namespaceSelector: selectors.namespaces, podSelector: selectors.pods, source: BUILT };
}

function tcp(port: number): PolicyPort {
  return { protocol: "TCP", port, endPort: undefined, source: BUILT };
}

function ruleOf(peers: readonly PolicyPeer[], ports: readonly PolicyPort[]): PolicyRule {
  return { peers, ports, source: BUILT };
}
