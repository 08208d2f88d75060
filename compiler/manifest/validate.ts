/**
 * validate: defaulted objects -> ClusterModel and issues. What the API server would refuse is refused, in its words; all
 * problems are reported at once. Checks that need the whole cluster are here, those of one object in read*.ts.
 */
import { formatAddress, type IpAddress } from "../../dataplane/address.ts";
import { compareText } from "../age.ts";
import { formatIssuePlace, type Issue, type SourceRef } from "../issue.ts";
import {
  type ClusterModel,
  type ClusterNode,
  type Endpoint,
  isOnPodNetwork,
  type Namespace,
  type NetworkPolicy,
} from "../model.ts";
import { NAMESPACE_NAME_LABEL } from "./defaults.ts";
import { FieldReader, isAbsent } from "./fields.ts";
import { dnsLabelProblem, dnsSubdomainProblem } from "./formats.ts";
import type { ParsedManifests, ParsedObject } from "./objects.ts";
import { readNamespace, readNode, readPod } from "./readCluster.ts";
import { type ObjectIdentity, readPolicy } from "./readPolicy.ts";

export interface ValidatedCluster {
  /** What could be read. Not to be compiled when an issue is an error. */
  readonly model: ClusterModel;
  /** The parser's issues first, then in order of place. */
  readonly issues: readonly Issue[];
}

/** metav1.ObjectMeta. */
const METADATA_FIELDS = [
  "name",
  "namespace",
  "labels",
  "annotations",
  "uid",
  "creationTimestamp",
  "deletionTimestamp",
  "deletionGracePeriodSeconds",
  "finalizers",
  "generateName",
  "generation",
  "managedFields",
  "ownerReferences",
  "resourceVersion",
  "selfLink",
];

/** Namespaces that every cluster has from its first minute. */
const BUILT_IN_NAMESPACES = ["default", "kube-node-lease", "kube-public", "kube-system"];

/** Where pods run whose manifests name no node, in a cluster that does not have exactly one. */
const UNNAMED_NODE = "node";

export function validateCluster(parsed: ParsedManifests): ValidatedCluster {
  const issues: Issue[] = [];
  const nodes = new Map<string, ClusterNode>();
  const namespaces = new Map<string, Namespace>();
  const endpoints = new Map<string, Endpoint>();
  const policies = new Map<string, NetworkPolicy>();

  for (const object of parsed.objects) {
    const reader = new FieldReader(object, issues);
    if (object.kind === "NetworkPolicy" && object.apiVersion !== "networking.k8s.io/v1") {
      reader.report(["apiVersion"], {
        code: "wrong-version",
        message: `no matches for kind "NetworkPolicy" in version "${object.apiVersion}"; write apiVersion: networking.k8s.io/v1`,
      });
      continue;
    }
    const identity = readIdentity(reader, object);
    if (identity === undefined) continue;
    const spec = reader.record(object.value.spec, ["spec"]);
    switch (object.kind) {
      case "Node":
        add(nodes, identity.name, readNode(reader, identity, object.value), reader);
        break;
      case "Namespace":
        add(namespaces, identity.name, readNamespace(reader, identity, object.value), reader);
        break;
      case "Pod":
        add(endpoints, `${identity.namespace}/${identity.name}`, readPod(reader, identity, object.value), reader);
        break;
      case "NetworkPolicy":
        reader.onlyKnown(object.value, [], ["apiVersion", "kind", "metadata", "spec", "status"]);
        add(policies, `${identity.namespace}/${identity.name}`, readPolicy(reader, identity, spec), reader);
        break;
    }
  }

  addImplicitNamespaces(namespaces, [...endpoints.values()], [...policies.values()], issues);
  const placed = placePods([...endpoints.values()], nodes, issues);
  const model: ClusterModel = {
    nodes: sorted(nodes.values(), ({ name }) => name),
    namespaces: sorted(namespaces.values(), ({ name }) => name),
    endpoints: settleAddresses(
      sorted(placed, ({ key }) => key),
      issues,
    ),
    policies: sorted(policies.values(), ({ key }) => key),
  };
  warnOfUnresolvedPorts(model, issues);
  issues.sort((a, b) => compareText(a.file, b.file) || a.line - b.line || a.column - b.column);
  return { model, issues: [...parsed.issues, ...issues] };
}

function readIdentity(reader: FieldReader, { kind, value }: ParsedObject): ObjectIdentity | undefined {
  const metadata = reader.record(value.metadata, ["metadata"]);
  reader.onlyKnown(metadata, ["metadata"], METADATA_FIELDS);
  const text = (field: string) => reader.text(metadata[field], ["metadata", field]);
  const name = text("name");
  const namespaced = kind === "Pod" || kind === "NetworkPolicy";
  const namespace = namespaced ? text("namespace") : "";
  if (name === "") {
    if (isAbsent(metadata.name) || metadata.name === "")
      reader.required(["metadata", "name"], "name or generateName is required");
    return undefined;
  }
  const wrongName = kind === "Namespace" ? dnsLabelProblem(name) : dnsSubdomainProblem(name);
  if (wrongName !== undefined) reader.invalid(["metadata", "name"], name, wrongName);
  const wrongNamespace = namespaced ? dnsLabelProblem(namespace) : undefined;
  if (wrongNamespace !== undefined) reader.invalid(["metadata", "namespace"], namespace, wrongNamespace);
  if (wrongName !== undefined || wrongNamespace !== undefined) return undefined;
  return { namespace, name, uid: text("uid"), creationTimestamp: text("creationTimestamp") };
}

/** One object a name: the second is an error that names the place of the first. */
function add<T extends { readonly source: SourceRef | undefined }>(
  objects: Map<string, T>,
  key: string,
  object: T,
  reader: FieldReader,
): void {
  const first = objects.get(key);
  if (first === undefined) {
    objects.set(key, object);
    return;
  }
  const place = first.source === undefined ? "" : ` at ${formatIssuePlace(first.source)}`;
  reader.report(["metadata", "name"], {
    code: "duplicate",
    message: `Duplicate value: ${JSON.stringify(key)}: the name is taken already${place}`,
  });
}

function addImplicitNamespaces(
  namespaces: Map<string, Namespace>,
  pods: readonly Endpoint[],
  policies: readonly NetworkPolicy[],
  issues: Issue[],
): void {
  const imply = (name: string) =>
    namespaces.set(name, {
      name,
      labels: new Map([[NAMESPACE_NAME_LABEL, name]]),
      annotations: new Map(),
      uid: "",
      source: undefined,
    });
  for (const { namespace, source } of sorted(pods, ({ key }) => key)) {
    if (namespaces.has(namespace)) continue;
    imply(namespace);
    issues.push({
      code: "implicit-namespace",
      severity: "warning",
      message: `there is no Namespace ${JSON.stringify(namespace)}; it is taken to exist with the label ${NAMESPACE_NAME_LABEL}: ${namespace} alone`,
      ...source,
      path: "metadata.namespace",
    });
  }
  for (const { namespace, source } of policies) {
    if (namespaces.has(namespace)) continue;
    if (BUILT_IN_NAMESPACES.includes(namespace)) {
      imply(namespace);
      continue;
    }
    issues.push({
      code: "namespace-not-found",
      severity: "error",
      message: `namespaces ${JSON.stringify(namespace)} not found: no Namespace and no pod of that name is given`,
      ...source,
      path: "metadata.namespace",
    });
  }
}

/** Every pod with an address runs somewhere; nodes that only a pod names exist, without an address of their own. */
function placePods(pods: readonly Endpoint[], nodes: Map<string, ClusterNode>, issues: Issue[]): readonly Endpoint[] {
  const only = nodes.size === 1 ? [...nodes.keys()][0] : undefined;
  return sorted(pods, ({ key }) => key).map((pod) => {
    let { node } = pod;
    if (node === "") {
      if (pod.addresses.length === 0) return pod;
      node = only ?? UNNAMED_NODE;
      issues.push({
        code: "no-node",
        severity: "warning",
        message: `pod ${pod.key} has an address but no spec.nodeName; it is taken to run on node ${JSON.stringify(node)}`,
        ...pod.source,
        path: "spec.nodeName",
      });
    } else if (!nodes.has(node)) {
      issues.push({
        code: "implicit-node",
        severity: "warning",
        message: `there is no Node ${JSON.stringify(node)}; it is taken to exist without an address`,
        ...pod.source,
        path: "spec.nodeName",
      });
    }
    if (!nodes.has(node)) {
      nodes.set(node, { name: node, labels: new Map(), addresses: [], podCidrs: [], source: undefined });
    }
    return node === pod.node ? pod : { ...pod, node };
  });
}

/** Of two pods that claim one address the running one has it, then the newest, then the last by name. */
function settleAddresses(pods: readonly Endpoint[], issues: Issue[]): readonly Endpoint[] {
  const owners = new Map<string, Endpoint>();
  for (const pod of pods.filter(isOnPodNetwork)) {
    for (const address of pod.addresses) {
      const text = formatAddress(address);
      const owner = owners.get(text);
      if (owner === undefined || outranks(pod, owner)) owners.set(text, pod);
    }
  }
  return pods.map((pod) => {
    if (!isOnPodNetwork(pod)) return pod;
    const lost = pod.addresses.filter((address) => owners.get(formatAddress(address)) !== pod);
    if (lost.length === 0) return pod;
    for (const address of lost) {
      issues.push({
        code: "contested-address",
        severity: "warning",
        message: `pod ${pod.key} claims ${formatAddress(address)}, which pod ${owners.get(formatAddress(address))?.key ?? ""} has`,
        ...pod.source,
        path: "status.podIPs",
      });
    }
    return { ...pod, addresses: pod.addresses.filter((address: IpAddress) => !lost.includes(address)) };
  });
}

function outranks(challenger: Endpoint, owner: Endpoint): boolean {
  const running = ({ phase }: Endpoint) => (phase === "Running" ? 1 : 0);
  if (running(challenger) !== running(owner)) return running(challenger) > running(owner);
  return compareText(challenger.creationTimestamp, owner.creationTimestamp) >= 0;
}

/** A named port that no pod of the cluster declares matches nothing (semantics.md row 27). */
function warnOfUnresolvedPorts({ policies, endpoints }: ClusterModel, issues: Issue[]): void {
  const declared = new Set(
    endpoints.flatMap(({ ports }) =>
      ports.filter(({ container }) => container !== "init").map(({ name, protocol }) => `${protocol}/${name}`),
    ),
  );
  for (const { ingress, egress } of policies) {
    for (const { ports } of [...ingress, ...egress]) {
      for (const { port, protocol, source } of ports) {
        if (typeof port !== "string" || declared.has(`${protocol}/${port}`)) continue;
        issues.push({
          code: "unresolved-port",
          severity: "warning",
          message: `no container declares the ${protocol} port ${JSON.stringify(port)}: this entry matches nothing`,
          ...source,
          path: "port",
        });
      }
    }
  }
}

function sorted<T>(items: Iterable<T>, key: (item: T) => string): readonly T[] {
  return [...items].sort((a, b) => compareText(key(a), key(b)));
}
