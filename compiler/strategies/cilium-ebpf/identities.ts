/**
 * Security identities: a number for each set of labels that pods share, and for each CIDR that a policy names. Policy maps
 * hold these numbers, never addresses; the ipcache says which address has which.
 *
 * A real cluster hands numbers out as pods appear; here they follow from the labels of the cluster's pods alone, so that
 * equal clusters have equal numbers: a few are numbered in their order, as the recordings are, many by a table in which
 * one that comes or goes moves hardly any other, as in a real cluster it moves none.
 *
 * Source: cilium v1.19.7 pkg/identity, pkg/labels, pkg/ipcache; dumps/cilium.
 */
import { type Cidr, cidrKey, compareCidrs, type Family, formatCidr, hostCidr } from "../../../dataplane/address.ts";
import { mentionsIpv6 } from "../../addressFamilies.ts";
import {
  listChange,
  type Mapped,
  MappedAgain,
  mappedAgain,
  rememberedBy,
  replacedItems,
  SortedAgain,
  sameItems,
} from "../../again.ts";
import { compareText } from "../../age.ts";
import { groupedBy } from "../../members.ts";
import type { ClusterModel, Endpoint, Labels, NetworkPolicy } from "../../model.ts";
import type { ResolvedCluster } from "../../resolve.ts";
import { NAMESPACE_LABELS } from "./identityLabels.ts";
import { type IdentityKey, IdentityTable } from "./identityTable.ts";

/** Reserved identities (pkg/identity/numericidentity.go). */
export const RESERVED = { host: 1, world: 2, remoteNode: 6, worldIpv4: 9, worldIpv6: 10 } as const;

/** The first number of a cluster-wide identity, and of one that only this node knows. */
const FIRST_CLUSTER_IDENTITY = 256;
const FIRST_LOCAL_IDENTITY = 16_777_217;

export interface PodIdentity {
  readonly number: number;
  /** `k8s:key=value`, sorted. */
  readonly labels: readonly string[];
  readonly pods: readonly Endpoint[];
}

export interface CidrIdentity {
  readonly number: number;
  readonly cidr: Cidr;
}

/** What selectors see of an identity. */
export interface HeldIdentity {
  readonly number: number;
  readonly namespace: string;
  readonly namespaceLabels: Labels;
  readonly labels: Labels;
}

export interface Identities {
  readonly pods: readonly PodIdentity[];
  readonly cidrs: readonly CidrIdentity[];
  readonly ofPod: PodIdentities;
  /** Allocated as well, though no pod of the cluster has them: not yet, or not any more. */
  readonly held: readonly HeldIdentity[];
  /** The families that are on: IPv6 when the cluster has any. */
  readonly families: readonly Family[];
  /** The same object as in the state before while every pod that is in both has the number that it had. */
  readonly epoch: WeakKey;
}

export interface PodIdentities {
  get(pod: Endpoint): PodIdentity | undefined;
  /** One beside each pod of the cluster. */
  numbers(): readonly number[];
}

const KNOWN = new WeakMap<ResolvedCluster, Identities>();

/** The identities of a cluster; the same object for the same cluster. */
export function identitiesOf(cluster: ResolvedCluster): Identities {
  let identities = KNOWN.get(cluster);
  if (identities === undefined) {
    identities = allocate(cluster);
    KNOWN.set(cluster, identities);
  }
  return identities;
}

/**
 * The numbers that a cluster's identities have got so far, by labels and by prefix. A live cluster goes on with them: a new
 * one gets the next number, one that is released does not come again (dumps/updates/cilium/NOTES.md).
 */
export class IdentityNumbers {
  readonly #labels = new Map<string, number>();
  readonly #texts = new Map<number, string>();
  readonly #prefixes = new Map<string, number>();
  #nextCluster = FIRST_CLUSTER_IDENTITY;
  #nextLocal = FIRST_LOCAL_IDENTITY;

  ofLabels(text: string): number {
    return numbered(this.#labels, text, () => {
      const number = this.#nextCluster++;
      this.#texts.set(number, text);
      return number;
    });
  }

  ofPrefix(cidr: Cidr): number {
    return numbered(this.#prefixes, cidrText(cidr), () => this.#nextLocal++);
  }

  /** Forgets the prefixes that are in no policy of the cluster any more. */
  releasePrefixes(cluster: ResolvedCluster): void {
    const { cidrs } = identitiesOf(cluster);
    if (cidrs.length === this.#prefixes.size) return; // those that are kept are among them
    const kept = new Set(cidrs.map(({ number }) => number));
    for (const [text, number] of this.#prefixes) if (!kept.has(number)) this.#prefixes.delete(text);
  }

  /** Forgets the labels of identities that no pod has any more. */
  releaseLabels(identities: readonly HeldIdentity[]): void {
    for (const { number } of identities) {
      const text = this.#texts.get(number);
      if (text !== undefined) this.#labels.delete(text);
      this.#texts.delete(number);
    }
  }
}

function numbered(known: Map<string, number>, text: string, next: () => number): number {
  const number = known.get(text) ?? next();
  known.set(text, number);
  return number;
}

/** Identities that are allocated beside those that the cluster's objects ask for. */
export interface Held {
  readonly pods: readonly HeldIdentity[];
  readonly prefixes: readonly Cidr[];
}

/** From here on the cluster's identities have these numbers; to be said before anybody asks for them. */
export function numberIdentities(cluster: ResolvedCluster, numbers: IdentityNumbers, held?: Held): Identities {
  const own = allocate(cluster, numbers);
  const identities = held === undefined ? own : withHeld(own, numbers, held);
  KNOWN.set(cluster, identities);
  return identities;
}

export interface Beside {
  /** A state of the same objects, whose identities have their numbers. */
  readonly like: ResolvedCluster;
  readonly numbers: IdentityNumbers;
  readonly held: Held;
}

/** As `numberIdentities`, of a state beside another. */
export function numberBeside(cluster: ResolvedCluster, { like, numbers, held }: Beside): void {
  KNOWN.set(cluster, withHeld(identitiesOf(like), numbers, held));
}

function withHeld(own: Identities, numbers: IdentityNumbers, { pods, prefixes }: Held): Identities {
  const known = new Set(prefixes.length === 0 ? [] : own.cidrs.map(({ number }) => number));
  const more = prefixes
    .map((cidr) => ({ number: numbers.ofPrefix(cidr), cidr }))
    .filter(({ number }) => !known.has(number));
  const cidrs = more.length === 0 ? own.cidrs : [...own.cidrs, ...more].sort((a, b) => compareCidrs(a.cidr, b.cidr));
  return { ...own, cidrs, held: pods };
}

/** As it is to be held when its last pod is gone. */
export function heldOf({ number, pods: [pod] }: PodIdentity, { model }: ResolvedCluster): readonly HeldIdentity[] {
  if (pod === undefined) return [];
  const namespaceLabels = model.namespaces.find(({ name }) => name === pod.namespace)?.labels ?? NO_LABELS;
  return [{ number, namespace: pod.namespace, namespaceLabels, labels: pod.labels }];
}

const LATEST = new WeakMap<WeakKey, LatestIdentities>();

function allocate(cluster: ResolvedCluster, numbers?: IdentityNumbers): Identities {
  return rememberedBy(LATEST, cluster.lineage, () => new LatestIdentities()).allocate(cluster, numbers);
}

/** Of more identities each has its slot in a table: in order, half of them would have others whenever one comes or goes. */
const NUMBERED_IN_ORDER = 256;

type KeyedPods = Mapped<Endpoint, IdentityKey>;

/** Beyond so many pods asked for, a table of all of them is cheaper than searching. */
const SEARCHED_PODS = 32;

/** The identities of states that follow each other: what is of the pods and policies that stay is not worked out again. */
class LatestIdentities {
  #namespaces: ClusterModel["namespaces"] = [];
  #namespaceLabels: ReadonlyMap<string, Labels> = new Map();
  /** The pods, and beside each its key. */
  #keyed: KeyedPods = { items: [], mapped: [] };
  readonly #known = new WeakMap<Endpoint, { readonly namespaceLabels: Labels; readonly key: IdentityKey }>();
  #interned = new Map<string, IdentityKey>();
  readonly #members = new Map<IdentityKey, readonly Endpoint[]>();
  /** The keys of the pods, sorted. */
  #ordered: readonly IdentityKey[] = [];
  readonly #sorted = new SortedAgain<IdentityKey>((a, b) => compareText(a.text, b.text));
  /** The identities in order of their keys, and what numbered them. */
  #pods: { readonly items: readonly IdentityKey[]; readonly mapped: readonly PodIdentity[] } = {
    items: [],
    mapped: [],
  };
  #scheme: NumberScheme | undefined;
  readonly #table = new IdentityTable();
  readonly #prefixesOfPolicies = new MappedAgain<NetworkPolicy, readonly Cidr[]>();
  #allPrefixLists: readonly (readonly Cidr[])[] = [];
  #prefixLists: readonly (readonly Cidr[])[] = [];
  #prefixes: readonly Cidr[] = [];
  #cidrs: readonly CidrIdentity[] = [];
  /** What these were made of. */
  #madeOf:
    | (Pick<ClusterModel, "nodes"> & {
        readonly prefixes: readonly Cidr[];
        readonly families: readonly Family[];
        readonly numbers: IdentityNumbers | undefined;
      })
    | undefined;
  #epoch: WeakKey = {};

  allocate(cluster: ResolvedCluster, numbers: IdentityNumbers | undefined): Identities {
    const relabelled = this.#readNamespaces(cluster.model);
    const keyed = this.#keysOf(cluster.pods, relabelled);
    const touched = this.#regroup(this.#keyed, keyed, relabelled.size > 0);
    this.#keyed = keyed;
    const sorted = this.#ordered;
    const isByTable = numbers === undefined && sorted.length > NUMBERED_IN_ORDER;
    const scheme = numbers ?? (isByTable ? this.#table : "in order");
    const isMoved = isByTable && this.#table.hold(sorted);
    const isAnew = scheme !== this.#scheme || isMoved || (scheme === "in order" && sorted !== this.#pods.items);
    if (relabelled.size > 0 || isAnew) this.#epoch = {};
    const identities = this.#identities(sorted, { scheme, isAnew, touched });
    this.#pods = { items: sorted, mapped: identities };
    this.#scheme = scheme;
    const families = mentionsIpv6(cluster) ? BOTH_FAMILIES : IPV4_ALONE;
    return {
      pods: identities,
      cidrs: this.#cidrIdentities(cluster.model, families, numbers),
      ofPod: new PodSearch(keyed, this.#pods),
      held: NONE_HELD,
      families,
      epoch: this.#epoch,
    };
  }

  /** The namespaces that have other labels than before. */
  #readNamespaces({ namespaces }: ClusterModel): ReadonlySet<string> {
    const { gone, come } = listChange(this.#namespaces, namespaces);
    if (gone.length + come.length === 0) return NO_NAMESPACES;
    this.#namespaces = namespaces;
    this.#namespaceLabels = new Map(namespaces.map(({ name, labels }) => [name, labels]));
    return new Set([...gone, ...come].map(({ name }) => name));
  }

  #keysOf(pods: readonly Endpoint[], relabelled: ReadonlySet<string>): KeyedPods {
    const keys = mappedAgain(this.#keyed, pods, (pod) => this.#keyOf(pod));
    if (relabelled.size === 0) return { items: pods, mapped: keys };
    const isStale = ({ namespace }: Endpoint) => relabelled.has(namespace);
    return {
      items: pods,
      mapped: pods.map((pod, at) => (isStale(pod) ? this.#keyOf(pod) : (keys[at] as IdentityKey))),
    };
  }

  #keyOf(pod: Endpoint): IdentityKey {
    const namespaceLabels = this.#namespaceLabels.get(pod.namespace) ?? NO_LABELS;
    const known = this.#known.get(pod);
    const found = known?.namespaceLabels === namespaceLabels ? known.key : makeKey(pod, namespaceLabels);
    // Pods with equal labels have one key.
    const key = this.#interned.get(found.text) ?? found;
    this.#interned.set(key.text, key);
    this.#known.set(pod, { namespaceLabels, key });
    return key;
  }

  /** Puts pods under their keys; answers the keys that have other pods than before. */
  #regroup(before: KeyedPods, after: KeyedPods, isRelabelled: boolean): ReadonlySet<IdentityKey> {
    const touched = touchedKeys(before, after, isRelabelled);
    if (touched === "all") {
      this.#members.clear();
      for (const [key, pods] of groupedBy(
        after.items.map((pod, at) => [after.mapped[at] as IdentityKey, pod] as const),
        ([key]) => key,
      )) {
        this.#members.set(
          key,
          pods.map(([, pod]) => pod),
        );
      }
      this.#ordered = this.#sorted.of([...this.#members.keys()]);
    } else if (touched.size > 0) {
      const change = { gone: [] as IdentityKey[], come: [] as IdentityKey[] };
      for (const key of touched) {
        const pods = podsWith(key, after);
        if (pods.length === 0 && this.#members.delete(key)) change.gone.push(key);
        if (pods.length > 0 && !this.#members.has(key)) change.come.push(key);
        if (pods.length > 0) this.#members.set(key, pods);
      }
      this.#ordered = this.#sorted.patched(change) ?? this.#sorted.of([...this.#members.keys()]);
    }
    if (this.#interned.size > 2 * this.#ordered.length) {
      this.#interned = new Map(this.#ordered.map((key) => [key.text, key]));
    }
    return touched === "all" ? new Set(this.#ordered) : touched;
  }

  #identities(
    sorted: readonly IdentityKey[],
    { scheme, isAnew, touched }: { scheme: NumberScheme; isAnew: boolean; touched: ReadonlySet<IdentityKey> },
  ): readonly PodIdentity[] {
    const make = (key: IdentityKey, number: number): PodIdentity => ({
      number,
      labels: key.labels,
      pods: this.#members.get(key) ?? [],
    });
    const numbered = (key: IdentityKey, at: number) => make(key, numberOf(scheme, key, at));
    if (isAnew) return sorted.map(numbered);
    const known = mappedAgain(this.#pods, sorted, (key) => numbered(key, 0));
    if (touched.size === 0) return known;
    const others = new Map<number, PodIdentity>();
    for (const key of touched) {
      const at = sorted.indexOf(key);
      if (at >= 0) others.set(at, make(key, (known[at] as PodIdentity).number));
    }
    return replacedItems(known, others);
  }

  #cidrIdentities(
    model: ClusterModel,
    families: readonly Family[],
    numbers: IdentityNumbers | undefined,
  ): readonly CidrIdentity[] {
    const prefixes = this.#namedPrefixes(model);
    const { nodes } = model;
    const made = this.#madeOf;
    const isKnown = made?.prefixes === prefixes && made.families === families && made.nodes === nodes;
    if (isKnown && made.numbers === numbers) return this.#cidrs;
    this.#madeOf = { prefixes, families, nodes, numbers };
    const source = numbers ?? new IdentityNumbers();
    const ofNodes = nodePrefixes(nodes);
    const cidrs = prefixes
      .filter((cidr) => cidr.prefixLength > 0 && families.includes(cidr.family) && !ofNodes.has(cidrKey(cidr)))
      .map((cidr) => ({ number: source.ofPrefix(cidr), cidr }));
    const isSame =
      cidrs.length === this.#cidrs.length &&
      cidrs.every(({ number, cidr }, at) => this.#cidrs[at]?.number === number && this.#cidrs[at]?.cidr === cidr);
    if (!isSame) this.#cidrs = cidrs;
    return this.#cidrs;
  }

  /** Every block and except of every policy, once, in order of address. */
  #namedPrefixes({ policies }: ClusterModel): readonly Cidr[] {
    const all = this.#prefixesOfPolicies.of(policies, prefixesOf);
    if (all === this.#allPrefixLists) return this.#prefixes;
    this.#allPrefixLists = all;
    const lists = all.filter((list) => list.length > 0);
    if (sameItems(lists, this.#prefixLists)) return this.#prefixes;
    this.#prefixLists = lists;
    const prefixes = new Map<string, Cidr>();
    for (const list of lists) for (const cidr of list) prefixes.set(cidrText(cidr), cidr);
    this.#prefixes = [...prefixes.values()].sort(compareCidrs);
    return this.#prefixes;
  }
}

/** How label sets get their numbers: as the agents have given them, by a table, or one after the other in their order. */
type NumberScheme = IdentityNumbers | IdentityTable | "in order";

function numberOf(scheme: NumberScheme, key: IdentityKey, at: number): number {
  if (scheme === "in order") return FIRST_CLUSTER_IDENTITY + at;
  if (scheme instanceof IdentityTable) return FIRST_CLUSTER_IDENTITY + scheme.numberOf(key);
  return scheme.ofLabels(key.text);
}

const NO_LABELS: Labels = new Map();
const NONE_HELD: readonly HeldIdentity[] = [];
const NO_PREFIXES: readonly Cidr[] = [];

function prefixesOf({ ingress, egress }: NetworkPolicy): readonly Cidr[] {
  let prefixes: Cidr[] | undefined;
  for (const rules of [ingress, egress]) {
    for (const { peers } of rules) {
      for (const peer of peers) {
        if (peer.kind !== "ipBlock") continue;
        prefixes ??= [];
        prefixes.push(peer.cidr);
        for (const hole of peer.except) prefixes.push(hole);
      }
    }
  }
  return prefixes ?? NO_PREFIXES;
}

/**
 * The prefixes that are a node's address: such has the node's identity alone, whatever policies name it, and no selector of
 * blocks finds it (pkg/ipcache/metadata.go resolveIdentity, with policy-cidr-match-mode empty).
 */
function nodePrefixes(nodes: ClusterModel["nodes"]): ReadonlySet<number | string> {
  return new Set(nodes.flatMap(({ addresses }) => addresses.map((address) => cidrKey(hostCidr(address)))));
}

const CIDR_TEXTS = new WeakMap<Cidr, string>();

function cidrText(cidr: Cidr): string {
  return rememberedBy(CIDR_TEXTS, cidr, formatCidr);
}

/** The keys whose pods are others; `all` where it is cheaper to look at every pod again. */
function touchedKeys(before: KeyedPods, after: KeyedPods, isRelabelled: boolean): ReadonlySet<IdentityKey> | "all" {
  const touched = new Set<IdentityKey>();
  if (before.mapped === after.mapped && before.items === after.items) return touched;
  if (sameItems(before.items, after.items)) {
    for (const [at, key] of after.mapped.entries()) {
      if (before.mapped[at] !== key) touched.add(key).add(before.mapped[at] as IdentityKey);
    }
  } else if (isRelabelled) return "all";
  else {
    const { gone, come } = listChange(before.items, after.items);
    if (gone.length + come.length > REGROUPED_PODS) return "all";
    for (const pod of gone) touched.add(before.mapped[before.items.indexOf(pod)] as IdentityKey);
    for (const pod of come) touched.add(after.mapped[after.items.indexOf(pod)] as IdentityKey);
  }
  return touched.size > REGROUPED_PODS ? "all" : touched;
}

function podsWith(key: IdentityKey, { items, mapped }: KeyedPods): readonly Endpoint[] {
  const pods: Endpoint[] = [];
  for (let at = mapped.indexOf(key); at >= 0; at = mapped.indexOf(key, at + 1)) pods.push(items[at] as Endpoint);
  return pods;
}

/** Beyond so many, one look at all pods is cheaper than one for each. */
const REGROUPED_PODS = 64;

/** Finds the identity of a pod: of a few pods by looking for them, of many by a table. */
class PodSearch implements PodIdentities {
  readonly #keyed: KeyedPods;
  readonly #identities: Mapped<IdentityKey, PodIdentity>;
  #searched = 0;
  #table: ReadonlyMap<Endpoint, PodIdentity> | undefined;

  constructor(keyed: KeyedPods, identities: Mapped<IdentityKey, PodIdentity>) {
    this.#keyed = keyed;
    this.#identities = identities;
  }

  numbers(): readonly number[] {
    const { items, mapped } = this.#identities;
    const known = new Map(items.map((key, at) => [key, (mapped[at] as PodIdentity).number]));
    return this.#keyed.mapped.map((key) => known.get(key) as number);
  }

  get(pod: Endpoint): PodIdentity | undefined {
    if (this.#table === undefined && this.#searched++ > SEARCHED_PODS) {
      const table = new Map<Endpoint, PodIdentity>();
      for (const identity of this.#identities.mapped) for (const member of identity.pods) table.set(member, identity);
      this.#table = table;
    }
    if (this.#table !== undefined) return this.#table.get(pod);
    const at = this.#keyed.items.indexOf(pod);
    if (at < 0) return undefined;
    return this.#identities.mapped[this.#identities.items.indexOf(this.#keyed.mapped[at] as IdentityKey)];
  }
}

const NO_NAMESPACES: ReadonlySet<string> = new Set();
const IPV4_ALONE: readonly Family[] = [4];
const BOTH_FAMILIES: readonly Family[] = [4, 6];

function makeKey(pod: Endpoint, namespaceLabels: Labels): IdentityKey {
  const labels = securityLabels(pod, namespaceLabels).map(([key, value]) => `k8s:${key}=${value}`);
  return { text: labels.map((label) => `${label};`).join(""), labels: labels.sort(compareText) };
}

/** The labels of a pod's identity by key, those of its namespace among them. */
function securityLabels(pod: Endpoint, namespaceLabels: Labels): readonly (readonly [key: string, value: string])[] {
  const labels: (readonly [string, string])[] = [
    ...pod.labels,
    ...[...namespaceLabels].map(([key, value]) => [`${NAMESPACE_LABELS}${key}`, value] as const),
    ["io.cilium.k8s.policy.cluster", "default"],
    ["io.cilium.k8s.policy.serviceaccount", pod.serviceAccount],
    ["io.kubernetes.pod.namespace", pod.namespace],
  ];
  return labels.sort(([a], [b]) => compareText(a, b));
}

/** Everything outside: one identity, or one for each family when both are on. */
export function worldIdentity(families: readonly Family[], family: Family): number {
  if (families.length === 1) return RESERVED.world;
  return family === 4 ? RESERVED.worldIpv4 : RESERVED.worldIpv6;
}
