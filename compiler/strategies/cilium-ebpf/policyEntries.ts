/**
 * The entries of one endpoint's policy map.
 *
 * All rules of all policies of the endpoint and direction merge into filters (every port; a protocol; a range; a name),
 * each with the identities its peers select; an entry is an identity and a port prefix. Nothing is left out because a
 * wider entry covers it: plain policies have one precedence, and Cilium prunes only between different ones.
 *
 * Source: cilium v1.19.7 pkg/k8s/network_policy.go, pkg/policy/{l4,mapstate,selectorcache}.go; dumps/cilium/NOTES.md
 * section 5.
 */
import { type Cidr, cidrContains } from "../../../dataplane/address.ts";
import type { PolicyMapKey } from "../../../dataplane/maps/layout.ts";
import { parseProtocol } from "../../../dataplane/packet.ts";
import { type Direction, type Endpoint, type PolicyPort, type PortProtocol, rulePath } from "../../model.ts";
import type { ResolvedCluster, ResolvedPeer, ResolvedPolicy, ResolvedRule } from "../../resolve.ts";
import { identitiesOf, RESERVED, worldIdentity } from "./identities.ts";
import { portPrefixes } from "./portPrefixes.ts";

/** Every identity. */
const ANY_IDENTITY = 0;

export interface PolicyEntry {
  readonly key: PolicyMapKey;
  readonly origin: string;
}

export function policyEntries(
  cluster: ResolvedCluster,
  endpoint: Endpoint,
  direction: Direction,
): readonly PolicyEntry[] {
  const entries = new Map<string, PolicyEntry>();
  const add = (identity: number, port: Omit<PolicyMapKey, "identity" | "direction">, origin: string) => {
    const key = { direction, identity, ...port };
    const text = `${identity}/${port.protocol}/${port.port}/${port.portBits}`;
    if (!entries.has(text)) entries.set(text, { key, origin });
  };
  // The node of an endpoint always reaches it (AlwaysAllowLocalhost).
  if (direction === "ingress") add(RESERVED.host, EVERY_PORT, "the pod's own node");
  const policies = policiesOf(cluster, endpoint, direction);
  if (policies.length === 0) add(ANY_IDENTITY, EVERY_PORT, `${endpoint.key} is not isolated for ${direction}`);
  for (const filter of mergedFilters(policies, direction).values()) {
    const ports = filterPorts(cluster, endpoint, { direction, filter });
    if (ports === undefined) continue;
    for (const { peer, origin } of filter.peers) {
      // A rule for everybody makes the others of its filter needless, unless the filter is for every port.
      if (peer !== undefined && filter.everybody && ports.resolvedPort !== 0) continue;
      const identities = peer === undefined ? [ANY_IDENTITY] : selectedIdentities(cluster, peer);
      for (const identity of identities) for (const port of ports.prefixes) add(identity, port, origin);
    }
  }
  return [...entries.values()].sort((a, b) => compareKeys(a.key, b.key));
}

/**
 * The policies that isolate the endpoint. A rule does so by being there: Cilium reads both lists, and `policyTypes` only
 * says what an empty one means (pkg/k8s/network_policy.go ParseNetworkPolicy).
 */
function policiesOf(cluster: ResolvedCluster, endpoint: Endpoint, direction: Direction): readonly ResolvedPolicy[] {
  const typed = cluster.policiesFor(endpoint, direction);
  const other = cluster
    .policiesFor(endpoint, direction === "ingress" ? "egress" : "ingress")
    .filter((policy) => policy[direction].length > 0 && !policy.policy.types.includes(direction));
  return other.length === 0 ? typed : [...typed, ...other];
}

const EVERY_PORT = { protocol: 0, port: 0, portBits: 0 } as const;

interface Filter {
  /** Undefined: every protocol and port. */
  readonly port: PolicyPort | undefined;
  readonly peers: { readonly peer: ResolvedPeer | undefined; readonly origin: string }[];
  /** Whether one of the rules is for everybody. */
  everybody: boolean;
}

function mergedFilters(policies: readonly ResolvedPolicy[], direction: Direction): ReadonlyMap<string, Filter> {
  const filters = new Map<string, Filter>();
  for (const { policy, [direction]: rules } of policies) {
    for (const rule of rules) {
      const ports: readonly (PolicyPort | undefined)[] = rule.ports.length === 0 ? [undefined] : rule.ports;
      for (const port of ports) {
        const key = port === undefined ? "" : `${port.protocol}/${port.port ?? ""}/${port.endPort ?? ""}`;
        const filter: Filter = filters.get(key) ?? { port, peers: [], everybody: false };
        filters.set(key, filter);
        addPeers(filter, rule, rulePath(policy, direction, rule.index));
      }
    }
  }
  return filters;
}

function addPeers(filter: Filter, rule: ResolvedRule, origin: string): void {
  if (rule.peers.length === 0) {
    filter.everybody = true;
    filter.peers.push({ peer: undefined, origin });
  }
  for (const peer of rule.peers) filter.peers.push({ peer, origin });
}

interface FilterPorts {
  /** 0: every port. */
  readonly resolvedPort: number;
  readonly prefixes: readonly Omit<PolicyMapKey, "identity" | "direction">[];
}

/** Undefined when the filter names a port that nobody, or more than one number, answers to. */
function filterPorts(
  cluster: ResolvedCluster,
  endpoint: Endpoint,
  { direction, filter }: { readonly direction: Direction; readonly filter: Filter },
): FilterPorts | undefined {
  const { port } = filter;
  if (port === undefined) return { resolvedPort: 0, prefixes: [EVERY_PORT] };
  const protocol = parseProtocol(port.protocol) ?? 0;
  if (port.port === undefined) return { resolvedPort: 0, prefixes: [{ protocol, port: 0, portBits: 0 }] };
  const first =
    typeof port.port === "number"
      ? port.port
      : direction === "ingress"
        ? ownPort(endpoint, port.port, port.protocol)
        : clusterPort(cluster, port.port, port.protocol);
  if (first === undefined) return undefined;
  const prefixes = portPrefixes(first, port.endPort ?? first).map(({ port: start, bits }) => ({
    protocol,
    port: start,
    portBits: bits,
  }));
  return { resolvedPort: first, prefixes };
}

/**
 * The number behind a name of the pod's own. A name stands for one port, that of the last container to declare it, whatever
 * its protocol; init containers, and so sidecars, are not looked at (pkg/types/portmap.go AddPort, pkg/k8s/labels.go).
 */
export function ownPort(endpoint: Endpoint, name: string, protocol: PortProtocol): number | undefined {
  const declared = endpoint.ports.findLast((port) => port.container === "container" && port.name === name);
  return declared?.protocol === protocol ? declared.port : undefined;
}

/** One number a name and protocol for the whole cluster, all pods considered; two numbers are none. */
export function clusterPort(cluster: ResolvedCluster, name: string, protocol: PortProtocol): number | undefined {
  const numbers = new Set(cluster.pods.flatMap((pod) => ownPort(pod, name, protocol) ?? []));
  return numbers.size === 1 ? [...numbers][0] : undefined;
}

/** The identities a peer stands for: those of pods with matching labels, or of prefixes inside a block. */
export function selectedIdentities(cluster: ResolvedCluster, peer: ResolvedPeer): readonly number[] {
  const { ofPod, cidrs, families } = identitiesOf(cluster);
  if (peer.kind === "pods") {
    const numbers = peer.members.flatMap((pod) => ofPod.get(pod)?.number ?? []);
    return [...new Set(numbers)].sort((a, b) => a - b);
  }
  const { cidr, except } = peer;
  const excepted = (prefix: Cidr) => except.some((hole) => inside(prefix, hole));
  const inBlock = cidrs.filter((identity) => inside(identity.cidr, cidr) && !excepted(identity.cidr));
  const world = cidr.prefixLength === 0 && families.includes(cidr.family) ? [worldIdentity(families, cidr.family)] : [];
  return [...world, ...inBlock.map(({ number }) => number)];
}

function inside(inner: Cidr, outer: Cidr): boolean {
  return inner.prefixLength >= outer.prefixLength && cidrContains(outer, inner);
}

function compareKeys(a: PolicyMapKey, b: PolicyMapKey): number {
  return a.identity - b.identity || a.protocol - b.protocol || a.port - b.port || a.portBits - b.portBits;
}
