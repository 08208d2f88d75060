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
import { LRUCache } from "lru-cache";
import { type Cidr, cidrContains, compareCidrs } from "../../../dataplane/address.ts";
import {
  encodePolicyAllow,
  POLICY_KEY_BYTES,
  type PolicyMapKey,
  writePolicyKey,
} from "../../../dataplane/maps/layout.ts";
import { parseProtocol } from "../../../dataplane/packet.ts";
import type { MapEntry } from "../../../dataplane/program.ts";
import { rememberedBy, sameItems } from "../../again.ts";
import { type Direction, type Endpoint, type PolicyPort, type PortProtocol, rulePath } from "../../model.ts";
import type { ResolvedCluster, ResolvedPeer, ResolvedPolicy, ResolvedRule } from "../../resolve.ts";
import { matchesSelector } from "../../selector.ts";
import {
  type CidrIdentity,
  type HeldIdentity,
  type Identities,
  identitiesOf,
  RESERVED,
  worldIdentity,
} from "./identities.ts";
import { portPrefixes } from "./portPrefixes.ts";

/** Every identity. */
const ANY_IDENTITY = 0;
const ANYBODY: readonly number[] = [ANY_IDENTITY];

/** The entries of both directions; endpoints with the same policies share one list. */
export function policyEntries(cluster: ResolvedCluster, endpoint: Endpoint): readonly MapEntry[] {
  const { epoch, cidrs, families, held } = identitiesOf(cluster);
  const selection = cluster.selectionIn(endpoint.namespace);
  const last = LATEST_OF.get(endpoint);
  const isSame =
    last?.selection === selection && last.epoch === epoch && last.cidrs === cidrs && last.families === families;
  if (isSame && selectedOf(held, last.filters).length === 0) return last.entries;
  const [ingress, egress] = [filtersOf(cluster, endpoint, "ingress"), filtersOf(cluster, endpoint, "egress")];
  const entries = entriesOfBoth(
    entriesOf(cluster, endpoint, { direction: "ingress", filters: ingress }),
    entriesOf(cluster, endpoint, { direction: "egress", filters: egress }),
  );
  const filters = [...(ingress ?? []), ...(egress ?? [])];
  if (!isNamed(filters) && selectedOf(held, filters).length === 0) {
    LATEST_OF.set(endpoint, { selection, filters, epoch, cidrs, families, entries });
  }
  return entries;
}

/** What an endpoint without names of ports in its rules had, and what followed from. */
const LATEST_OF = new WeakMap<
  Endpoint,
  Numbered & { readonly selection: WeakKey; readonly filters: readonly Filter[] }
>();

const JOINED = new WeakMap<readonly MapEntry[], WeakMap<readonly MapEntry[], readonly MapEntry[]>>();

function entriesOfBoth(ingress: readonly MapEntry[], egress: readonly MapEntry[]): readonly MapEntry[] {
  const joined = rememberedBy(JOINED, ingress, () => new WeakMap<readonly MapEntry[], readonly MapEntry[]>());
  return rememberedBy(joined, egress, () => [...ingress, ...egress]);
}

interface DirectionFilters {
  readonly direction: Direction;
  /** Undefined: it is not isolated. */
  readonly filters: readonly Filter[] | undefined;
}

/** The entries of a direction, in order of identity, protocol and port. */
function entriesOf(
  cluster: ResolvedCluster,
  endpoint: Endpoint,
  { direction, filters }: DirectionFilters,
): readonly MapEntry[] {
  if (filters === undefined) return OPEN[direction].get(endpoint) ?? openEntries(endpoint, direction);
  const { epoch, cidrs, families, held: all } = identitiesOf(cluster);
  const held = selectedOf(all, filters);
  const last = WITHOUT_NAMES.get(filters);
  const isSame = last?.epoch === epoch && last.cidrs === cidrs && last.families === families;
  if (isSame && held.length === 0) return last.entries;
  const parts = filters.flatMap((filter): readonly Part[] => {
    const ports = filterPorts(cluster, endpoint, { direction, filter });
    if (ports === undefined) return [];
    // A rule for everybody makes the others of its filter needless, unless the filter is for every port.
    const peers =
      filter.everybody && ports.resolvedPort !== 0
        ? filter.peers.filter(({ peer }) => peer === undefined)
        : filter.peers;
    return peers.map(({ peer, origin, namespace }) => ({
      ports: ports.prefixes,
      identities: peer === undefined ? ANYBODY : withHeld(selectedIdentities(cluster, peer), { held, peer, namespace }),
      origin,
    }));
  });
  const entries = tableOf(filters, parts, direction);
  if (held.length === 0 && !isNamed(filters)) WITHOUT_NAMES.set(filters, { epoch, cidrs, families, entries });
  return entries;
}

function isNamed(filters: readonly Filter[]): boolean {
  return filters.some(({ port }) => typeof port?.port === "string");
}

/** Of filters without names of ports: the entries, and the numbers that they are of. */
interface Numbered extends Pick<Identities, "epoch" | "cidrs" | "families"> {
  readonly entries: readonly MapEntry[];
}

const WITHOUT_NAMES = new WeakMap<readonly Filter[], Numbered>();

function tableOf(filters: readonly Filter[], parts: readonly Part[], direction: Direction): readonly MapEntry[] {
  const latest = LATEST.get(filters);
  const known = latest?.find((made) => sameParts(made.parts, parts));
  if (known !== undefined) return known.entries;
  const table = new EntryTable();
  addNode(table, direction);
  for (const { ports, identities, origin } of parts) {
    for (const identity of identities) for (const port of ports) table.add(identity, port, origin);
  }
  const entries = table.entries(direction);
  LATEST.set(filters, [{ parts, entries }, ...(latest ?? []).slice(0, KEPT_TABLES - 1)]);
  return entries;
}

/** A rule of a filter, in numbers. */
interface Part {
  readonly ports: readonly PortPart[];
  readonly identities: readonly number[];
  readonly origin: string;
}

interface MadeTable {
  readonly parts: readonly Part[];
  readonly entries: readonly MapEntry[];
}

/** Endpoints with the same policies have one table, or a few where their own ports have the same names. */
const KEPT_TABLES = 4;
const LATEST = new WeakMap<readonly Filter[], readonly MadeTable[]>();

/** Lists of numbers that are equal are the same array while nothing is renumbered. */
function sameParts(before: readonly Part[], after: readonly Part[]): boolean {
  return (
    before.length === after.length &&
    before.every((part, index) => {
      const { ports, identities, origin } = after[index] as Part;
      return part.ports === ports && part.identities === identities && part.origin === origin;
    })
  );
}

const OPEN = {
  ingress: new WeakMap<Endpoint, readonly MapEntry[]>(),
  egress: new WeakMap<Endpoint, readonly MapEntry[]>(),
} as const satisfies Record<Direction, unknown>;

function openEntries(endpoint: Endpoint, direction: Direction): readonly MapEntry[] {
  const table = new EntryTable();
  addNode(table, direction);
  table.add(ANY_IDENTITY, EVERY_PORT, `${endpoint.key} is not isolated for ${direction}`);
  const entries = table.entries(direction);
  OPEN[direction].set(endpoint, entries);
  return entries;
}

/** The node of an endpoint always reaches it (AlwaysAllowLocalhost). */
function addNode(table: EntryTable, direction: Direction): void {
  if (direction === "ingress") table.add(RESERVED.host, EVERY_PORT, "the pod's own node");
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

const FILTERS = {
  ingress: new WeakMap<readonly ResolvedPolicy[], WeakMap<readonly ResolvedPolicy[], readonly Filter[] | "none">>(),
  egress: new WeakMap<readonly ResolvedPolicy[], WeakMap<readonly ResolvedPolicy[], readonly Filter[] | "none">>(),
} as const satisfies Record<Direction, unknown>;

/**
 * The filters of the policies that isolate the endpoint; undefined when none does. A rule does so by being there: Cilium
 * reads both lists, and `policyTypes` only says what an empty one means (pkg/k8s/network_policy.go ParseNetworkPolicy).
 * Endpoints with the same policies have the same filters, the same array.
 */
function filtersOf(cluster: ResolvedCluster, endpoint: Endpoint, direction: Direction): readonly Filter[] | undefined {
  const typed = cluster.policiesFor(endpoint, direction);
  const untyped = cluster.policiesFor(endpoint, direction === "ingress" ? "egress" : "ingress");
  const known = rememberedBy(FILTERS[direction], typed, () => new WeakMap());
  const filters = rememberedBy(known, untyped, () => {
    const other = untyped.filter(
      ({ policy, [direction]: rules }) => rules.length > 0 && !policy.types.includes(direction),
    );
    if (typed.length + other.length === 0) return "none";
    return [...mergedFilters(other.length === 0 ? typed : [...typed, ...other], direction).values()];
  });
  return filters === "none" ? undefined : filters;
}

const EVERY_PORT = { protocol: 0, port: 0, portBits: 0 } as const;
const EVERYTHING: readonly PortPart[] = [EVERY_PORT];
const EVERY_PORT_OF = new Map<number, readonly PortPart[]>();

function everyPortOf(protocol: number): readonly PortPart[] {
  const part = EVERY_PORT_OF.get(protocol) ?? [{ protocol, port: 0, portBits: 0 }];
  EVERY_PORT_OF.set(protocol, part);
  return part;
}

interface FilterPeer {
  readonly peer: ResolvedPeer | undefined;
  readonly origin: string;
  /** The policy's. */
  readonly namespace: string;
}

interface Filter {
  /** Undefined: every protocol and port. */
  readonly port: PolicyPort | undefined;
  readonly peers: FilterPeer[];
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
        addPeers(filter, rule, { origin: rulePath(policy, direction, rule.index), namespace: policy.namespace });
      }
    }
  }
  return filters;
}

function addPeers(filter: Filter, rule: ResolvedRule, from: Omit<FilterPeer, "peer">): void {
  if (rule.peers.length === 0) {
    filter.everybody = true;
    filter.peers.push({ peer: undefined, ...from });
  }
  for (const peer of rule.peers) filter.peers.push({ peer, ...from });
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
  if (port === undefined) return { resolvedPort: 0, prefixes: EVERYTHING };
  const protocol = parseProtocol(port.protocol) ?? 0;
  if (port.port === undefined) return { resolvedPort: 0, prefixes: everyPortOf(protocol) };
  const first =
    typeof port.port === "number"
      ? port.port
      : direction === "ingress"
        ? (PORTS.get(cluster) ?? ownPort)(endpoint, port.port, port.protocol)
        : clusterPort(cluster, port.port, port.protocol);
  if (first === undefined) return undefined;
  return { resolvedPort: first, prefixes: prefixesOf(protocol, first, port.endPort ?? first) };
}

const PREFIXES = new LRUCache<string, readonly PortPart[]>({ max: 4_096 });

/** The same array for the same range. */
function prefixesOf(protocol: number, first: number, last: number): readonly PortPart[] {
  const key = `${protocol} ${first} ${last}`;
  const prefixes =
    PREFIXES.get(key) ?? portPrefixes(first, last).map(({ port, bits }) => ({ protocol, port, portBits: bits }));
  PREFIXES.set(key, prefixes);
  return prefixes;
}

type PortOfName = (endpoint: Endpoint, name: string, protocol: PortProtocol) => number | undefined;

const PORTS = new WeakMap<ResolvedCluster, PortOfName>();

/** From here on names on the node stand for what the first pod of a group says, to those behind it as well. */
export function sharePorts(cluster: ResolvedCluster, groups: readonly (readonly Endpoint[])[]): void {
  const group = new Map(groups.flatMap((pods) => pods.map((pod, index) => [pod, pods.slice(0, index + 1)] as const)));
  PORTS.set(cluster, (endpoint, name, protocol) => {
    for (const pod of group.get(endpoint) ?? [endpoint]) {
      const port = ownPort(pod, name, protocol);
      if (port !== undefined) return port;
    }
    return undefined;
  });
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
  const known = rememberedBy(CLUSTER_PORTS, cluster.pods, () => new Map<string, number | undefined>());
  const text = `${protocol} ${name}`;
  if (!known.has(text)) {
    const numbers = new Set<number>();
    for (const pod of cluster.pods) {
      const port = ownPort(pod, name, protocol);
      if (port !== undefined) numbers.add(port);
      if (numbers.size > 1) break;
    }
    known.set(text, numbers.size === 1 ? [...numbers][0] : undefined);
  }
  return known.get(text);
}

// Derived from values that never change, and asked for by every endpoint: remembered as long as those live.
const CLUSTER_PORTS = new WeakMap<readonly Endpoint[], Map<string, number | undefined>>();

/** What a list of pods, or a block, was last found to stand for, and of what that holds. */
interface Selected {
  readonly epoch: WeakKey;
  readonly numbers: readonly number[];
}

const OF_PODS = new WeakMap<readonly Endpoint[], Selected>();
const OF_BLOCKS = new WeakMap<ResolvedPeer, Selected & Pick<Identities, "families">>();

/**
 * The identities a peer stands for: those of pods with matching labels, or of prefixes inside a block. The same array as
 * long as it says the same.
 */
export function selectedIdentities(cluster: ResolvedCluster, peer: ResolvedPeer): readonly number[] {
  const { cidrs, families, epoch, ofPod } = identitiesOf(cluster);
  if (peer.kind === "ipBlock") {
    const known = OF_BLOCKS.get(peer);
    if (known?.epoch === cidrs && known.families === families) return known.numbers;
    const numbers = unlessSame(known?.numbers, blockIdentities({ cidrs, families }, peer));
    OF_BLOCKS.set(peer, { epoch: cidrs, numbers, families });
    return numbers;
  }
  const known = OF_PODS.get(peer.members);
  if (known?.epoch === epoch) return known.numbers;
  const found = new Set<number>();
  for (const pod of peer.members) {
    const number = ofPod.get(pod)?.number;
    if (number !== undefined) found.add(number);
  }
  const numbers = unlessSame(
    known?.numbers,
    [...found].sort((a, b) => a - b),
  );
  OF_PODS.set(peer.members, { epoch, numbers });
  return numbers;
}

/** Those of the identities without a pod that a peer of the filters stands for. */
function selectedOf(held: readonly HeldIdentity[], filters: readonly Filter[]): readonly HeldIdentity[] {
  if (held.length === 0) return held;
  return held.filter((one) => filters.some(({ peers }) => peers.some((each) => isHeldPeer(one, each))));
}

function isHeldPeer(
  { namespace, namespaceLabels, labels }: HeldIdentity,
  { peer, namespace: own }: Pick<FilterPeer, "peer" | "namespace">,
): boolean {
  if (peer?.kind !== "pods") return false;
  const { namespaceSelector, podSelector } = peer;
  const isInside =
    namespaceSelector === undefined ? namespace === own : matchesSelector(namespaceSelector, namespaceLabels);
  return isInside && (podSelector === undefined || matchesSelector(podSelector, labels));
}

/** With those of the identities without a pod that the peer stands for as well. */
function withHeld(
  numbers: readonly number[],
  { held, ...peer }: Pick<FilterPeer, "peer" | "namespace"> & { readonly held: readonly HeldIdentity[] },
): readonly number[] {
  const more = held.filter((one) => isHeldPeer(one, peer));
  return more.length === 0 ? numbers : [...numbers, ...more.map(({ number }) => number)];
}

function unlessSame(before: readonly number[] | undefined, after: readonly number[]): readonly number[] {
  return before !== undefined && sameItems(before, after) ? before : after;
}

function blockIdentities(
  { cidrs, families }: Pick<Identities, "cidrs" | "families">,
  { cidr, except }: Extract<ResolvedPeer, { kind: "ipBlock" }>,
): readonly number[] {
  const world = cidr.prefixLength === 0 && families.includes(cidr.family) ? [worldIdentity(families, cidr.family)] : [];
  const within = insideOf(cidrs, cidr);
  const excepted = new Set(except.flatMap((hole) => insideOf(within, hole)));
  for (const one of within) if (!excepted.has(one)) world.push(one.number);
  return world;
}

/** Those inside a prefix of a list in order of address: they stand together, with wider ones of the same beginning before. */
function insideOf(cidrs: readonly CidrIdentity[], outer: Cidr): readonly CidrIdentity[] {
  let [low, high] = [0, cidrs.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareCidrs((cidrs[middle] as CidrIdentity).cidr, outer) < 0) low = middle + 1;
    else high = middle;
  }
  const first = low;
  while (low < cidrs.length && cidrContains(outer, (cidrs[low] as CidrIdentity).cidr)) low++;
  return cidrs.slice(first, low);
}
