/** Services and their endpoints, from the objects beside the policies. */
import type { ParsedObject } from "../compiler/manifest/objects.ts";
import { isRecord } from "../compiler/manifest/values.ts";
import { type ClusterModel, type Endpoint, isOnPodNetwork } from "../compiler/model.ts";
import { type IpAddress, parseAddress } from "../dataplane/address.ts";
import { PROTOCOL, parseProtocol } from "../dataplane/packet.ts";
import type { ServiceAddress, ServiceEndpoint } from "./services.ts";

type Value = Readonly<Record<string, unknown>>;

/**
 * Every address and port of every Service: cluster, load balancer and external addresses, and node ports on every node.
 * Endpoints come from its EndpointSlices (or Endpoints); a Service without any is asked for its selector.
 */
export function serviceAddresses(objects: readonly ParsedObject[], model: ClusterModel): readonly ServiceAddress[] {
  const slices = objects
    .filter(({ kind }) => kind === "EndpointSlice" || kind === "Endpoints")
    .map(({ value }) => value);
  const found: ServiceAddress[] = [];
  for (const { kind, value } of objects) {
    if (kind !== "Service") continue;
    const { namespace, name } = nameOf(value);
    const spec = record(value.spec);
    const own = slices.filter((slice) => serves(slice, namespace, name));
    const addresses = addressesOf(value);
    for (const port of records(spec.ports)) {
      const protocol = parseProtocol(text(port.protocol) || "TCP") ?? PROTOCOL.tcp;
      const endpoints = [
        ...own.flatMap((slice) => endpointsOf(slice, text(port.name), protocol)),
        ...(own.length === 0 ? selectedEndpoints(model, namespace, spec, port) : []),
      ];
      const add = (address: IpAddress, number: unknown): void => {
        if (typeof number !== "number") return;
        found.push({
          service: `${namespace}/${name}`,
          address,
          protocol,
          port: number,
          endpoints: endpoints.filter((endpoint) => endpoint.address.family === address.family),
        });
      };
      for (const address of addresses) add(address, port.port);
      for (const node of model.nodes) for (const address of node.addresses) add(address, port.nodePort);
    }
  }
  return found;
}

function addressesOf(service: Value): readonly IpAddress[] {
  const spec = record(service.spec);
  const balancers = records(record(record(service.status).loadBalancer).ingress);
  const texts = [spec.clusterIP, ...list(spec.clusterIPs), ...list(spec.externalIPs), ...balancers.map(({ ip }) => ip)];
  const addresses = new Map<string, IpAddress>();
  for (const each of texts) {
    const address = typeof each === "string" ? parseAddress(each) : undefined;
    if (typeof each === "string" && address !== undefined) addresses.set(each, address);
  }
  return [...addresses.values()];
}

function serves(slice: Value, namespace: string, name: string): boolean {
  const own = nameOf(slice);
  if (own.namespace !== namespace) return false;
  if (slice.kind === "Endpoints") return own.name === name;
  return record(record(slice.metadata).labels)["kubernetes.io/service-name"] === name;
}

function endpointsOf(slice: Value, portName: string, protocol: number): readonly ServiceEndpoint[] {
  if (slice.kind === "Endpoints") {
    return records(slice.subsets).flatMap((subset) =>
      withPorts(
        records(subset.addresses).map(({ ip }) => ip),
        portsNamed(subset.ports, portName, protocol),
      ),
    );
  }
  const ready = (endpoint: Value): number => (record(endpoint.conditions).ready === false ? 1 : 0);
  const addresses = [...records(slice.endpoints)]
    .sort((a, b) => ready(a) - ready(b))
    .flatMap((endpoint) => list(endpoint.addresses));
  return withPorts(addresses, portsNamed(slice.ports, portName, protocol));
}

function portsNamed(ports: unknown, name: string, protocol: number): readonly number[] {
  return records(ports)
    .filter((port) => text(port.name) === name && parseProtocol(text(port.protocol) || "TCP") === protocol)
    .flatMap(({ port }) => (typeof port === "number" ? [port] : []));
}

function withPorts(addresses: readonly unknown[], ports: readonly number[]): readonly ServiceEndpoint[] {
  return addresses.flatMap((each) => {
    const address = typeof each === "string" ? parseAddress(each) : undefined;
    return address === undefined ? [] : ports.map((port) => ({ address, port }));
  });
}

/** What the endpoint controller would find: running pods with the labels, the target port by number or by name. */
function selectedEndpoints(
  model: ClusterModel,
  namespace: string,
  spec: Value,
  port: Value,
): readonly ServiceEndpoint[] {
  const wanted = Object.entries(record(spec.selector));
  if (wanted.length === 0) return [];
  const pods = model.endpoints.filter(
    (pod) =>
      pod.namespace === namespace &&
      isOnPodNetwork(pod) &&
      wanted.every(([key, label]) => pod.labels.get(key) === label),
  );
  return pods.flatMap((pod) => {
    const target = targetPort(pod, port);
    return target === undefined ? [] : pod.addresses.map((address) => ({ address, port: target }));
  });
}

function targetPort(pod: Endpoint, { port, targetPort: target }: Value): number | undefined {
  if (typeof target === "number") return target;
  if (typeof target === "string") return pod.ports.find(({ name }) => name === target)?.port;
  return typeof port === "number" ? port : undefined;
}

function nameOf(value: Value): { readonly namespace: string; readonly name: string } {
  const { namespace, name } = record(value.metadata);
  return { namespace: text(namespace) || "default", name: text(name) };
}

function record(value: unknown): Value {
  return isRecord(value) ? value : {};
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function records(value: unknown): readonly Value[] {
  return list(value).filter(isRecord);
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}
