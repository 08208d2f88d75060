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
import {
  encodePolicyAllow,
  POLICY_KEY_BYTES,
  type PolicyMapKey,
  writePolicyKey,
} from "../../../dataplane/maps/layout.ts";
import { parseProtocol } from "../../../dataplane/packet.ts";
import type { MapEntry } from "../../../dataplane/program.ts";
import { type Direction, type Endpoint, type PolicyPort, type PortProtocol, rulePath } from "../../model.ts";
import type { ResolvedCluster, ResolvedPeer, ResolvedPolicy, ResolvedRule } from "../../resolve.ts";
import { identitiesOf, RESERVED, worldIdentity } from "./identities.ts";
import { portPrefixes } from "./portPrefixes.ts";

/** Every identity. */
const ANY_IDENTITY = 0;

/** The entries of a direction, in order of identity, protocol and port. */
export function policyEntries(cluster: ResolvedCluster, endpoint: Endpoint, direction: Direction): readonly MapEntry[] {
  const table = new EntryTable();
  // The node of an endpoint always reaches it (AlwaysAllowLocalhost).
  if (direction === "ingress") table.add(RESERVED.host, EVERY_PORT, "the pod's own node");
  const policies = policiesOf(cluster, endpoint, direction);
  if (policies.length === 0) {
    table.add(ANY_IDENTITY, EVERY_PORT, `${endpoint.key} is not isolated for ${direction}`);
  }
  for (const filter of mergedFilters(policies, direction).values()) {
    const ports = filterPorts(cluster, endpoint, { direction, filter });
    if (ports === undefined) continue;
    for (const { peer, origin } of filter.peers) {
      // A rule for everybody makes the others of its filter needless, unless the filter is for every port.
      if (peer !== undefined && filter.everybody && ports.resolvedPort !== 0) continue;
      const identities = peer === undefined ? [ANY_IDENTITY] : selectedIdentities(cluster, peer);
      for (const identity of identities) for (const port of ports.prefixes) table.add(identity, port, origin);
    }
  }
  return table.entries(direction);
}

type PortPart = Pick<PolicyMapKey, "protocol" | "port" | "portBits">;

/**
 * Entries while they are collected: hundreds of thousands in a cluster of a thousand pods, so that neither text nor an
 * object is made for one before it is known to be new, and keys share one buffer.
 */
class EntryTable {
  /** The first origin by identity, and by the port part in one number that sorts as protocol, port, bits. */
  readonly #origins = new Map<number, Map<number, string>>();
  #count = 0;

  add(identity: number, { protocol, port, portBits }: PortPart, origin: string): void {
    let ports = this.#origins.get(identity);
    if (ports === undefined) {
      ports = new Map();
      this.#origins.set(identity, ports);
    }
    const code = (protocol << 21) | (port << 5) | portBits;
    if (ports.has(code)) return;
    ports.set(code, origin);
    this.#count++;
  }

  entries(direction: Direction): readonly MapEntry[] {
    const keys = new Uint8Array(this.#count * POLICY_KEY_BYTES);
    const view = new DataView(keys.buffer);
    const values = new Map<number, Uint8Array>();
    const entries: MapEntry[] = [];
    for (const [identity, ports] of [...this.#origins].sort(([a], [b]) => a - b)) {
      for (const [code, origin] of [...ports].sort(([a], [b]) => a - b)) {
        const port: PortPart = { protocol: code >>> 21, port: (code >>> 5) & 0xffff, portBits: code & 0x1f };
        const offset = entries.length * POLICY_KEY_BYTES;
        writePolicyKey(view, offset, { direction, identity, ...port });
        const value = values.get(code) ?? encodePolicyAllow(port);
        values.set(code, value);
        entries.push({ key: keys.subarray(offset, offset + POLICY_KEY_BYTES), value, origin });
      }
    }
    return entries;
  }
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
  readonly prefixes: readonly PortPart[];
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
  const known = rememberedIn(CLUSTER_PORTS, cluster, () => new Map<string, number | undefined>());
  const text = `${protocol} ${name}`;
  if (!known.has(text)) {
    const numbers = new Set(cluster.pods.flatMap((pod) => ownPort(pod, name, protocol) ?? []));
    known.set(text, numbers.size === 1 ? [...numbers][0] : undefined);
  }
  return known.get(text);
}

// Derived from values that never change, and asked for by every endpoint: remembered as long as those live.
const CLUSTER_PORTS = new WeakMap<ResolvedCluster, Map<string, number | undefined>>();
// Lists and peers outlive a cluster's state; their identities are numbered anew in each.
const POD_IDENTITIES = new WeakMap<ResolvedCluster, WeakMap<readonly Endpoint[], readonly number[]>>();
const BLOCK_IDENTITIES = new WeakMap<ResolvedCluster, WeakMap<ResolvedPeer, readonly number[]>>();

function rememberedIn<K extends WeakKey, V>(known: WeakMap<K, V>, key: K, make: () => V): V {
  let value = known.get(key);
  if (value === undefined) {
    value = make();
    known.set(key, value);
  }
  return value;
}

/** The identities a peer stands for: those of pods with matching labels, or of prefixes inside a block. */
export function selectedIdentities(cluster: ResolvedCluster, peer: ResolvedPeer): readonly number[] {
  if (peer.kind === "ipBlock") {
    const ofBlocks = rememberedIn(BLOCK_IDENTITIES, cluster, () => new WeakMap<ResolvedPeer, readonly number[]>());
    return rememberedIn(ofBlocks, peer, () => blockIdentities(cluster, peer));
  }
  const ofPods = rememberedIn(POD_IDENTITIES, cluster, () => new WeakMap<readonly Endpoint[], readonly number[]>());
  return rememberedIn(ofPods, peer.members, () => {
    const { ofPod } = identitiesOf(cluster);
    const numbers = peer.members.flatMap((pod) => ofPod.get(pod)?.number ?? []);
    return [...new Set(numbers)].sort((a, b) => a - b);
  });
}

function blockIdentities(
  cluster: ResolvedCluster,
  { cidr, except }: Extract<ResolvedPeer, { kind: "ipBlock" }>,
): readonly number[] {
  const { cidrs, families } = identitiesOf(cluster);
  const excepted = (prefix: Cidr) => except.some((hole) => inside(prefix, hole));
  const inBlock = cidrs.filter((identity) => inside(identity.cidr, cidr) && !excepted(identity.cidr));
  const world = cidr.prefixLength === 0 && families.includes(cidr.family) ? [worldIdentity(families, cidr.family)] : [];
  return [...world, ...inBlock.map(({ number }) => number)];
}

function inside(inner: Cidr, outer: Cidr): boolean {
  return inner.prefixLength >= outer.prefixLength && cidrContains(outer, inner);
}
