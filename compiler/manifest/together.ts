/** What can only be said of objects together: namespaces and nodes that are missing, addresses claimed twice, port names. */
import { formatAddress } from "../../dataplane/address.ts";
import { compareText } from "../age.ts";
import {
  type ClusterNode,
  DIRECTIONS,
  type Endpoint,
  isOnPodNetwork,
  type Namespace,
  type NetworkPolicy,
} from "../model.ts";
import { NAMESPACE_NAME_LABEL } from "./defaults.ts";
import type { FieldReader } from "./fields.ts";
import { dnsLabelProblem, dnsSubdomainProblem, portNameProblem } from "./formats.ts";
import { quote, shorten } from "./values.ts";

/** An object of the model, and how to speak of what it was read from. */
export interface ReadItem<T> {
  /** `namespace/name`, or the name. */
  readonly key: string;
  readonly item: T;
  readonly reader: FieldReader;
}

/** Namespaces that every cluster has from its first minute. */
const BUILT_IN_NAMESPACES = ["default", "kube-node-lease", "kube-public", "kube-system"];

/** Where pods run whose manifests name no node, in a cluster that does not have exactly one. */
const UNNAMED_NODE = "node";

/** The namespaces, with those that only pods name, or that every cluster has. Policies in any other are refused. */
export function placeInNamespaces(
  pods: readonly ReadItem<Endpoint>[],
  policies: readonly ReadItem<NetworkPolicy>[],
  namespaces: readonly Namespace[],
): readonly Namespace[] {
  const known = new Map(namespaces.map((namespace) => [namespace.name, namespace]));
  const imply = (name: string) =>
    known.set(name, {
      name,
      labels: new Map([[NAMESPACE_NAME_LABEL, name]]),
      annotations: new Map(),
      uid: "",
      source: undefined,
    });
  for (const { item, reader } of pods) {
    const { namespace } = item;
    if (known.has(namespace) || dnsLabelProblem(namespace) !== undefined) continue;
    imply(namespace);
    const message = `there is no Namespace ${quote(namespace)}; it is taken to exist, with the label ${NAMESPACE_NAME_LABEL} alone`;
    reader.warn(["metadata", "namespace"], "implicit-namespace", message);
  }
  for (const { item, reader } of policies) {
    const { namespace } = item;
    if (known.has(namespace) || dnsLabelProblem(namespace) !== undefined) continue;
    if (BUILT_IN_NAMESPACES.includes(namespace)) imply(namespace);
    else {
      const message = `namespaces ${quote(namespace)} not found: no Namespace has this name, and no pod is in it`;
      reader.report(["metadata", "namespace"], { code: "namespace-not-found", message });
    }
  }
  return [...known.values()];
}

export interface PlacedPods {
  readonly pods: readonly ReadItem<Endpoint>[];
  readonly nodes: readonly ClusterNode[];
}

/** Every pod with an address runs somewhere; nodes that only a pod names exist, without an address of their own. */
export function placeOnNodes(pods: readonly ReadItem<Endpoint>[], nodes: readonly ClusterNode[]): PlacedPods {
  const known = new Map(nodes.map((node) => [node.name, node]));
  const only = nodes.length === 1 ? nodes[0]?.name : undefined;
  const placed = pods.map((pod) => {
    const { item, reader, key } = pod;
    const isNowhere = item.node === "" && item.addresses.length === 0;
    if (isNowhere || (item.node !== "" && dnsSubdomainProblem(item.node) !== undefined)) return pod;
    const name = item.node === "" ? (only ?? UNNAMED_NODE) : item.node;
    if (item.node === "") {
      const message = `pod ${shorten(key)} has an address but no node; it is taken to run on ${quote(name)}`;
      reader.warn(["spec", "nodeName"], "no-node", message);
    } else if (!known.has(name)) {
      const message = `there is no Node ${quote(name)}; it is taken to exist, without an address`;
      reader.warn(["spec", "nodeName"], "implicit-node", message);
    }
    if (!known.has(name)) {
      known.set(name, { name, labels: new Map(), addresses: [], podCidrs: [], source: undefined });
    }
    return name === item.node ? pod : { ...pod, item: { ...item, node: name } };
  });
  return { pods: placed, nodes: [...known.values()] };
}

/**
 * Of two pods that claim one address the running one has it, then the newest (by `creationTimestamp`), then the last by
 * name; the others lose it with a warning (semantics.md row 35). Pods that are not on the pod network claim none.
 */
export function settleAddresses(pods: readonly ReadItem<Endpoint>[]): readonly Endpoint[] {
  const owners = new Map<string, Endpoint>();
  for (const { item } of pods) {
    if (!isOnPodNetwork(item)) continue;
    for (const address of item.addresses) {
      const text = formatAddress(address);
      const owner = owners.get(text);
      if (owner === undefined || outranks(item, owner)) owners.set(text, item);
    }
  }
  return pods.map(({ item, reader }) => {
    if (!isOnPodNetwork(item)) return item;
    const kept = item.addresses.filter((address) => owners.get(formatAddress(address)) === item);
    if (kept.length === item.addresses.length) return item;
    for (const address of item.addresses.filter((each) => !kept.includes(each))) {
      const text = formatAddress(address);
      const message = `pod ${shorten(item.key)} claims ${text}, which pod ${shorten(owners.get(text)?.key ?? "")} has: of pods with one address the running, newest one has it`;
      reader.warn(["status", "podIP"], "contested-address", message);
    }
    return { ...item, addresses: kept };
  });
}

function outranks(challenger: Endpoint, owner: Endpoint): boolean {
  const running = ({ phase }: Endpoint) => (phase === "Running" ? 1 : 0);
  if (running(challenger) !== running(owner)) return running(challenger) > running(owner);
  return compareText(challenger.creationTimestamp, owner.creationTimestamp) >= 0; // pods come in order of name
}

/** A port name that no pod declares matches nothing (semantics.md row 27): for ingress, no pod of the policy's namespace. */
export function warnOfUnresolvedPorts(
  policies: readonly ReadItem<NetworkPolicy>[],
  endpoints: readonly Endpoint[],
): void {
  const declared = new Set<string>();
  for (const { namespace, ports } of endpoints) {
    for (const { name, protocol, container } of ports) {
      if (name === "" || container === "init") continue;
      declared.add(`${protocol}/${name}`);
      declared.add(`${namespace}/${protocol}/${name}`);
    }
  }
  for (const { item, reader } of policies) {
    for (const direction of DIRECTIONS) {
      const within = direction === "ingress" ? `${item.namespace}/` : "";
      const pods = direction === "ingress" ? `container of namespace ${item.namespace}` : "container";
      for (const [ruleIndex, { ports }] of item[direction].entries()) {
        for (const [index, { port, protocol }] of ports.entries()) {
          if (typeof port !== "string" || portNameProblem(port) !== undefined) continue;
          if (declared.has(`${within}${protocol}/${port}`)) continue;
          const message = `no ${pods} declares the ${protocol} port ${quote(port)}: this entry matches nothing`;
          reader.warn(["spec", direction, ruleIndex, "ports", index, "port"], "unresolved-port", message);
        }
      }
    }
  }
}
