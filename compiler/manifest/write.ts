/** write: ClusterModel -> the manifests it could have come from; the way back of parse, default and validate. */

import { formatAddress, formatCidr } from "../../dataplane/address.ts";
import type {
  ClusterModel,
  ClusterNode,
  Direction,
  Endpoint,
  LabelSelector,
  Labels,
  Namespace,
  NetworkPolicy,
  PolicyPeer,
  PolicyPort,
  PolicyRule,
} from "../model.ts";

export type Manifest = Readonly<Record<string, unknown>>;

/** One Kubernetes object per node, namespace, pod and policy, in the model's order. */
export function manifestsOf(model: ClusterModel): readonly Manifest[] {
  return [
    ...model.nodes.map(nodeManifest),
    ...model.namespaces.map(namespaceManifest),
    ...model.endpoints.map(podManifest),
    ...model.policies.map(policyManifest),
  ];
}

/** The objects as one text of many documents; JSON is YAML. */
export function manifestText(manifests: readonly Manifest[]): string {
  return manifests.map((manifest) => JSON.stringify(manifest)).join("\n---\n");
}

function nodeManifest(node: ClusterNode): Manifest {
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name: node.name, labels: record(node.labels) },
    spec: { podCIDRs: node.podCidrs.map(formatCidr) },
    status: { addresses: node.addresses.map((address) => ({ type: "InternalIP", address: formatAddress(address) })) },
  };
}

function namespaceManifest(namespace: Namespace): Manifest {
  return {
    apiVersion: "v1",
    kind: "Namespace",
    metadata: {
      name: namespace.name,
      ...unlessEmpty("uid", namespace.uid),
      labels: record(namespace.labels),
      annotations: record(namespace.annotations),
    },
  };
}

function podManifest(pod: Endpoint): Manifest {
  const ports = (container: string): unknown[] =>
    pod.ports
      .filter((port) => port.container === container)
      .map((port) => ({ ...unlessEmpty("name", port.name), containerPort: port.port, protocol: port.protocol }));
  const image = "registry.example/app:1";
  const ips = pod.addresses.map((address) => ({ ip: formatAddress(address) }));
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      namespace: pod.namespace,
      name: pod.name,
      ...unlessEmpty("uid", pod.uid),
      labels: record(pod.labels),
      annotations: record(pod.annotations),
      ...unlessEmpty("creationTimestamp", pod.creationTimestamp),
      ...(pod.terminating ? { deletionTimestamp: "2026-01-01T00:00:00Z" } : {}),
    },
    spec: {
      ...unlessEmpty("nodeName", pod.node),
      serviceAccountName: pod.serviceAccount,
      hostNetwork: pod.hostNetwork,
      initContainers: [
        { name: "init", image, ports: ports("init") },
        { name: "sidecar", image, restartPolicy: "Always", ports: ports("sidecar") },
      ],
      containers: [{ name: "main", image, ports: ports("container") }],
    },
    status: { phase: pod.phase, ...(ips[0] === undefined ? {} : { podIP: ips[0].ip, podIPs: ips }) },
  };
}

function policyManifest(policy: NetworkPolicy): Manifest {
  return {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: {
      namespace: policy.namespace,
      name: policy.name,
      ...unlessEmpty("uid", policy.uid),
      ...unlessEmpty("creationTimestamp", policy.creationTimestamp),
    },
    spec: {
      podSelector: selectorManifest(policy.podSelector),
      policyTypes: policy.types.map((type) => (type === "ingress" ? "Ingress" : "Egress")),
      ingress: policy.ingress.map((rule) => ruleManifest(rule, "ingress")),
      egress: policy.egress.map((rule) => ruleManifest(rule, "egress")),
    },
  };
}

function ruleManifest(rule: PolicyRule, direction: Direction): Manifest {
  const peers = rule.peers.map(peerManifest);
  return { [direction === "ingress" ? "from" : "to"]: peers, ports: rule.ports.map(portManifest) };
}

function peerManifest(peer: PolicyPeer): Manifest {
  switch (peer.kind) {
    case "ipBlock":
      return { ipBlock: { cidr: peer.cidrText, except: peer.exceptText } };
    case "pods":
      return {
        ...(peer.namespaceSelector && { namespaceSelector: selectorManifest(peer.namespaceSelector) }),
        ...(peer.podSelector && { podSelector: selectorManifest(peer.podSelector) }),
      };
  }
}

function portManifest(port: PolicyPort): Manifest {
  return {
    protocol: port.protocol,
    ...(port.port === undefined ? {} : { port: port.port }),
    ...(port.endPort === undefined ? {} : { endPort: port.endPort }),
  };
}

function selectorManifest(selector: LabelSelector): Manifest {
  return {
    matchLabels: Object.fromEntries(selector.matchLabels),
    matchExpressions: selector.matchExpressions.map(({ key, operator, values }) =>
      values.length === 0 ? { key, operator } : { key, operator, values },
    ),
  };
}

function record(labels: Labels): Readonly<Record<string, string>> {
  return Object.fromEntries(labels);
}

function unlessEmpty(key: string, value: string): Readonly<Record<string, string>> {
  return value === "" ? {} : { [key]: value };
}
