/** Node, Namespace and Pod objects -> the model. Only the fields that packets can feel are read. */
import {
  addressesEqual,
  type Cidr,
  formatAddress,
  type IpAddress,
  parseAddress,
  parseCidr,
} from "../../dataplane/address.ts";
import type { ClusterNode, ContainerPort, Endpoint, Namespace, PodPhase } from "../model.ts";
import { type FieldReader, type Fields, isAbsent } from "./fields.ts";
import { dnsSubdomainProblem, looksLikeHostName, portNameProblem, portNumberProblem } from "./formats.ts";
import { type ObjectIdentity, readProtocol } from "./readPolicy.ts";
import { describe, isRecord, type Path, quote } from "./values.ts";

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
  const cidrFields = isAbsent(spec.podCIDRs) ? [] : reader.list(spec.podCIDRs, ["spec", "podCIDRs"]);
  const podCidrs = cidrFields.flatMap((item, index) => readPodCidr(reader, item, ["spec", "podCIDRs", index]) ?? []);
  if (podCidrs.length === 0 && !isAbsent(spec.podCIDR) && spec.podCIDR !== "") {
    podCidrs.push(...[readPodCidr(reader, spec.podCIDR, ["spec", "podCIDR"])].flatMap((cidr) => cidr ?? []));
  }
  return {
    name,
    labels: reader.labels(metadata.labels, ["metadata", "labels"]),
    addresses: [...byType.InternalIP, ...byType.ExternalIP],
    podCidrs,
    source: reader.source([]),
  };
}

export function readNamespace(reader: FieldReader, { name, uid }: ObjectIdentity, value: Fields): Namespace {
  const metadata = reader.record(value.metadata, ["metadata"]);
  const labels = reader.labels(metadata.labels, ["metadata", "labels"]);
  return {
    name,
    labels,
    annotations: reader.textMap(metadata.annotations, ["metadata", "annotations"]),
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
    annotations: reader.textMap(metadata.annotations, ["metadata", "annotations"]),
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
  reader.report(["status", "phase"], {
    code: "not-supported",
    message: `Unsupported value: ${typeof value === "string" ? quote(value) : describe(value)}: supported values: ${PHASES.map((known) => `"${known}"`).join(", ")}`,
  });
  return "Unknown";
}

/** `podIPs` when given, else `podIP`; the API server keeps `podIP` equal to the first of them. */
function readPodAddresses(reader: FieldReader, status: Fields): readonly IpAddress[] {
  const primary = isEmpty(status.podIP) ? undefined : readAddress(reader, status.podIP, ["status", "podIP"]);
  const listed = reader.list(status.podIPs, ["status", "podIPs"]).flatMap((item, index) => {
    const path = ["status", "podIPs", index];
    const text = isRecord(item) ? item.ip : item;
    return isEmpty(text) ? [] : (readAddress(reader, text, isRecord(item) ? [...path, "ip"] : path) ?? []);
  });
  const first = listed[0];
  if (first === undefined) return primary === undefined ? [] : [primary];
  if (primary !== undefined && !addressesEqual(primary, first)) {
    reader.report(["status", "podIP"], {
      code: "pod-ip-mismatch",
      severity: "warning",
      message: `${formatAddress(primary)} is not the first of podIPs, ${formatAddress(first)}; podIPs are taken`,
    });
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
    return reader.list(container.ports, [...path, "ports"]).flatMap((port, portIndex) => {
      return readContainerPort(reader, port, { path: [...path, "ports", portIndex], kind }) ?? [];
    });
  });
}

function readContainerPort(
  reader: FieldReader,
  value: unknown,
  { path, kind }: { readonly path: Path; readonly kind: ContainerPort["container"] },
): ContainerPort | undefined {
  const fields = reader.record(value, path);
  const name = reader.text(fields.name, [...path, "name"]);
  const wrongName = name === "" ? undefined : portNameProblem(name);
  if (wrongName !== undefined) reader.invalid([...path, "name"], name, wrongName);
  const { containerPort } = fields;
  if (isAbsent(containerPort)) {
    reader.required([...path, "containerPort"]);
    return undefined;
  }
  if (typeof containerPort !== "number") {
    reader.report([...path, "containerPort"], {
      code: "wrong-type",
      message: `found ${describe(containerPort)}, want a number`,
    });
    return undefined;
  }
  const wrongPort = portNumberProblem(containerPort);
  if (wrongPort !== undefined) reader.invalid([...path, "containerPort"], containerPort, wrongPort);
  const protocol = readProtocol(reader, fields.protocol, [...path, "protocol"]);
  return { name, port: containerPort, protocol, container: kind };
}

function readAddress(reader: FieldReader, value: unknown, path: Path): IpAddress | undefined {
  const text = reader.text(value, path);
  const address = parseAddress(text);
  if (address === undefined && typeof value === "string") {
    const hint = looksLikeHostName(text) ? "; a name is not possible here, packets carry addresses" : "";
    reader.invalid(path, text, `must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)${hint}`);
  }
  return address;
}

function readPodCidr(reader: FieldReader, value: unknown, path: Path): Cidr | undefined {
  const text = reader.text(value, path);
  const cidr = parseCidr(text);
  if (cidr === undefined && text !== "") {
    reader.invalid(path, text, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
  }
  return cidr;
}

function isEmpty(value: unknown): boolean {
  return isAbsent(value) || value === "";
}
