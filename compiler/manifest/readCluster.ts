/** Node, Namespace and Pod objects -> the model. Only the fields that packets can feel are read and checked. */
import { addressesEqual, type Cidr, formatAddress, type IpAddress } from "../../dataplane/address.ts";
import type { ClusterNode, ContainerPort, Endpoint, Namespace, PodPhase } from "../model.ts";
import { readAddress, readCidr } from "./addresses.ts";
import { NAMESPACE_NAME_LABEL } from "./defaults.ts";
import { type FieldReader, type Fields, isAbsent } from "./fields.ts";
import { dnsSubdomainProblem, portNameProblem, portNumberProblem } from "./formats.ts";
import type { ObjectIdentity } from "./identity.ts";
import { readProtocol } from "./readPolicy.ts";
import { isRecord, type Path, quote } from "./values.ts";

const PHASES = ["Pending", "Running", "Succeeded", "Failed", "Unknown"] as const satisfies readonly PodPhase[];

export function readNode(reader: FieldReader, { name }: ObjectIdentity, value: Fields): ClusterNode {
  const metadata = reader.record(value.metadata, ["metadata"]);
  const spec = reader.record(value.spec, ["spec"]);
  const status = reader.record(value.status, ["status"]);
  const byType: Record<"InternalIP" | "ExternalIP", IpAddress[]> = { InternalIP: [], ExternalIP: [] };
  for (const [index, item] of reader.list(status.addresses, ["status", "addresses"]).entries()) {
    const path = ["status", "addresses", index];
    const entry = reader.record(item, path);
    if (entry.type !== "InternalIP" && entry.type !== "ExternalIP") continue; // host and DNS names
    const address = readAddress(reader, entry.address, [...path, "address"]);
    if (address !== undefined) byType[entry.type].push(address);
  }
  return {
    name,
    labels: reader.labels(metadata.labels, ["metadata", "labels"]),
    addresses: [...byType.InternalIP, ...byType.ExternalIP],
    podCidrs: readPodCidrs(reader, spec),
    source: reader.source([]),
  };
}

/** `podCIDRs` when given, else `podCIDR`; the API server keeps `podCIDR` equal to the first of them. */
function readPodCidrs(reader: FieldReader, spec: Fields): readonly Cidr[] {
  const listed = reader.list(spec.podCIDRs, ["spec", "podCIDRs"]);
  if (listed.length > 0) {
    return listed.flatMap((item, index) => readCidr(reader, item, ["spec", "podCIDRs", index]) ?? []);
  }
  const single = readCidr(reader, spec.podCIDR, ["spec", "podCIDR"]);
  return single === undefined ? [] : [single];
}

export function readNamespace(reader: FieldReader, { name, uid }: ObjectIdentity, value: Fields): Namespace {
  const metadata = reader.record(value.metadata, ["metadata"]);
  const path = ["metadata", "labels"];
  const labels = new Map(reader.labels(metadata.labels, path));
  const given = labels.get(NAMESPACE_NAME_LABEL);
  if (given !== name) {
    const message = `the API server sets this label to the namespace's name, ${quote(name)}, whatever is written here`;
    reader.warn([...path, NAMESPACE_NAME_LABEL], "name-label", message);
    labels.set(NAMESPACE_NAME_LABEL, name);
  }
  return {
    name,
    labels,
    annotations: reader.annotations(metadata.annotations, ["metadata", "annotations"]),
    uid,
    source: reader.source([]),
  };
}

export function readPod(reader: FieldReader, identity: ObjectIdentity, value: Fields): Endpoint {
  const { namespace, name, uid, creationTimestamp } = identity;
  const metadata = reader.record(value.metadata, ["metadata"]);
  const spec = reader.record(value.spec, ["spec"]);
  const status = reader.record(value.status, ["status"]);
  const node = reader.text(spec.nodeName, ["spec", "nodeName"]);
  const wrongNode = node === "" ? undefined : dnsSubdomainProblem(node);
  if (wrongNode !== undefined) reader.invalid(["spec", "nodeName"], node, wrongNode);
  return {
    key: `${namespace}/${name}`,
    namespace,
    name,
    uid,
    labels: reader.labels(metadata.labels, ["metadata", "labels"]),
    annotations: reader.annotations(metadata.annotations, ["metadata", "annotations"]),
    node,
    serviceAccount: reader.text(spec.serviceAccountName, ["spec", "serviceAccountName"]),
    hostNetwork: reader.boolean(spec.hostNetwork, ["spec", "hostNetwork"]),
    phase: readPhase(reader, status.phase),
    terminating: !isAbsent(metadata.deletionTimestamp),
    addresses: readPodAddresses(reader, status),
    ports: [
      ...readContainers(reader, spec.containers, "containers"),
      ...readContainers(reader, spec.initContainers, "initContainers"),
    ],
    creationTimestamp,
    source: reader.source([]),
  };
}

function readPhase(reader: FieldReader, value: unknown): PodPhase {
  const phase = PHASES.find((known) => known === value);
  if (phase !== undefined) return phase;
  reader.unsupported(["status", "phase"], value, PHASES);
  return "Unknown";
}

/** `podIPs` when given, else `podIP`. */
function readPodAddresses(reader: FieldReader, status: Fields): readonly IpAddress[] {
  const path = ["status", "podIPs"];
  const primary = readAddress(reader, status.podIP, ["status", "podIP"]);
  const listed = reader.list(status.podIPs, path).flatMap((item, index) => {
    const fields = isRecord(item) ? item : reader.record(item, [...path, index]);
    return readAddress(reader, fields.ip, [...path, index, "ip"]) ?? [];
  });
  const [first, second] = listed;
  if (first === undefined) return primary === undefined ? [] : [primary];
  if (primary !== undefined && !addressesEqual(primary, first)) {
    reader.invalid([...path, 0, "ip"], formatAddress(first), "must be equal to `podIP`");
  }
  if (listed.length > 2 || first.family === second?.family) {
    reader.invalid(path, listed.map(formatAddress), "may specify no more than one IP for each IP family");
  }
  return listed;
}

function readContainers(
  reader: FieldReader,
  value: unknown,
  field: "containers" | "initContainers",
): readonly ContainerPort[] {
  return reader.list(value, ["spec", field]).flatMap((item, index) => {
    const path: Path = ["spec", field, index];
    const container = reader.record(item, path);
    const sidecar = container.restartPolicy === "Always";
    const kind = field === "containers" ? "container" : sidecar ? "sidecar" : "init";
    const names = new Set<string>();
    return reader.list(container.ports, [...path, "ports"]).flatMap((port, portIndex) => {
      return readContainerPort(reader, port, { path: [...path, "ports", portIndex], kind, names }) ?? [];
    });
  });
}

interface PortContext {
  readonly path: Path;
  readonly kind: ContainerPort["container"];
  /** Of the ports before, in the same container. */
  readonly names: Set<string>;
}

function readContainerPort(
  reader: FieldReader,
  value: unknown,
  { path, kind, names }: PortContext,
): ContainerPort | undefined {
  const fields = reader.record(value, path);
  const name = reader.text(fields.name, [...path, "name"]);
  const wrongName = name === "" ? undefined : portNameProblem(name);
  if (wrongName !== undefined) reader.invalid([...path, "name"], name, wrongName);
  if (names.has(name)) reader.duplicate([...path, "name"], name);
  if (name !== "") names.add(name);
  const protocol = readProtocol(reader, fields.protocol, [...path, "protocol"]);
  const portPath = [...path, "containerPort"];
  const port = reader.integer(fields.containerPort, portPath);
  if (port === undefined || port === 0) {
    if (port === 0 || isAbsent(fields.containerPort)) reader.required(portPath);
    return undefined;
  }
  const wrongPort = portNumberProblem(port);
  if (wrongPort !== undefined) reader.invalid(portPath, port, wrongPort);
  return { name, port, protocol, container: kind };
}
