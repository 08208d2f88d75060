/**
 * Security identities: a number for each set of labels that pods share, and for each CIDR that a policy names. Policy maps
 * hold these numbers, never addresses; the ipcache says which address has which.
 *
 * A real cluster hands numbers out as pods appear; here they follow the order of the labels, so that equal clusters have
 * equal numbers.
 *
 * Source: cilium v1.19.7 pkg/identity, pkg/labels, pkg/ipcache; dumps/cilium.
 */
import { type Cidr, compareCidrs, type Family, formatCidr } from "../../../dataplane/address.ts";
import { MappedAgain, rememberedBy, SortedAgain, sameItems } from "../../again.ts";
import { compareText } from "../../age.ts";
import type { ClusterModel, Endpoint, Labels, NetworkPolicy, PolicyRule } from "../../model.ts";
import type { ResolvedCluster } from "../../resolve.ts";
import { NAMESPACE_LABELS } from "./identityLabels.ts";

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

export interface Identities {
  readonly pods: readonly PodIdentity[];
  readonly cidrs: readonly CidrIdentity[];
  readonly ofPod: Pick<ReadonlyMap<Endpoint, PodIdentity>, "get">;
  /** The families that are on: IPv6 when the cluster has any. */
  readonly families: readonly Family[];
  /** The same object as in the state before while every pod that is in both has the number that it had. */
  readonly epoch: WeakKey;
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
  readonly #prefixes = new Map<string, number>();
  #nextCluster = FIRST_CLUSTER_IDENTITY;
  #nextLocal = FIRST_LOCAL_IDENTITY;

  ofLabels(text: string): number {
    return numbered(this.#labels, text, () => this.#nextCluster++);
  }

  ofPrefix(cidr: Cidr): number {
    return numbered(this.#prefixes, cidrText(cidr), () => this.#nextLocal++);
  }

  /** Forgets the prefixes that are in no policy of the cluster any more. */
  releasePrefixes(cluster: ResolvedCluster): void {
    const kept = new Set(identitiesOf(cluster).cidrs.map(({ number }) => number));
    for (const [text, number] of this.#prefixes) if (!kept.has(number)) this.#prefixes.delete(text);
  }

  /** Forgets the labels that no pod of the cluster has any more. */
  releaseLabels(cluster: ResolvedCluster): void {
    const kept = new Set(identitiesOf(cluster).pods.map(({ number }) => number));
    for (const [text, number] of this.#labels) if (!kept.has(number)) this.#labels.delete(text);
  }
}

function numbered(known: Map<string, number>, text: string, next: () => number): number {
  const number = known.get(text) ?? next();
  known.set(text, number);
  return number;
}

/** From here on the cluster's identities have these numbers; to be said before anybody asks for them. */
export function numberIdentities(cluster: ResolvedCluster, numbers: IdentityNumbers): void {
  KNOWN.set(cluster, allocate(cluster, numbers));
}

const LATEST = new WeakMap<WeakKey, LatestIdentities>();

function allocate(cluster: ResolvedCluster, numbers = new IdentityNumbers()): Identities {
  return rememberedBy(LATEST, cluster.lineage, () => new LatestIdentities()).allocate(cluster, numbers);
}

/** A set of labels that pods share, under the text that the key-value store has for it (pkg/labels SortedList). */
interface IdentityKey {
  readonly text: string;
  readonly labels: readonly string[];
}

/** The identities of states that follow each other: what is of the pods and policies that stay is not worked out again. */
class LatestIdentities {
  #namespaces: ClusterModel["namespaces"] = [];
  #namespaceLabels: ReadonlyMap<string, Labels> = new Map();
  #keysOfPods = new MappedAgain<Endpoint, IdentityKey>();
  readonly #known = new WeakMap<Endpoint, { readonly namespaceLabels: Labels; readonly key: IdentityKey }>();
  #interned = new Map<string, IdentityKey>();
  readonly #sorted = new SortedAgain<IdentityKey>((a, b) => compareText(a.text, b.text));
  readonly #prefixesOfPolicies = new MappedAgain<NetworkPolicy, readonly Cidr[]>();
  #prefixLists: readonly (readonly Cidr[])[] = [];
  #prefixes: readonly Cidr[] = [];
  #pods: readonly PodIdentity[] = [];
  #cidrs: readonly CidrIdentity[] = [];
  #epoch: WeakKey = {};

  allocate({ model, pods }: ResolvedCluster, numbers: IdentityNumbers): Identities {
    const isRelabelled = this.#readNamespaces(model);
    const groups = new Map<IdentityKey, Endpoint[]>();
    const keys = this.#keysOfPods.of(pods, (pod) => this.#keyOf(pod));
    for (const [index, key] of keys.entries()) {
      const pod = pods[index] as Endpoint;
      const group = groups.get(key);
      if (group === undefined) groups.set(key, [pod]);
      else group.push(pod);
    }
    const sorted = this.#sorted.of([...groups.keys()]);
    const identities = sorted.map(
      (key): PodIdentity => ({ number: numbers.ofLabels(key.text), labels: key.labels, pods: groups.get(key) ?? [] }),
    );
    if (isRelabelled || !keepsNumbers(this.#pods, identities)) this.#epoch = {};
    this.#pods = identities;
    if (this.#interned.size > 2 * sorted.length) this.#interned = new Map(sorted.map((key) => [key.text, key]));
    const families = familiesOf(model);
    const cidrs = this.#namedPrefixes(model)
      .filter(({ prefixLength, family }) => prefixLength > 0 && families.includes(family))
      .map((cidr) => ({ number: numbers.ofPrefix(cidr), cidr }));
    const isSame =
      cidrs.length === this.#cidrs.length &&
      cidrs.every(({ number, cidr }, at) => this.#cidrs[at]?.number === number && this.#cidrs[at]?.cidr === cidr);
    if (!isSame) this.#cidrs = cidrs;
    let ofPod: ReadonlyMap<Endpoint, PodIdentity> | undefined;
    return {
      pods: identities,
      cidrs: this.#cidrs,
      ofPod: {
        get(pod) {
          ofPod ??= new Map(identities.flatMap((identity) => identity.pods.map((member) => [member, identity])));
          return ofPod.get(pod);
        },
      },
      families,
      epoch: this.#epoch,
    };
  }

  /** Whether a namespace has other labels than before. */
  #readNamespaces({ namespaces }: ClusterModel): boolean {
    if (sameItems(this.#namespaces, namespaces)) return false;
    this.#namespaces = namespaces;
    this.#namespaceLabels = new Map(namespaces.map(({ name, labels }) => [name, labels]));
    this.#keysOfPods = new MappedAgain();
    return true;
  }

  #keyOf(pod: Endpoint): IdentityKey {
    const namespaceLabels = this.#namespaceLabels.get(pod.namespace) ?? NO_LABELS;
    const known = this.#known.get(pod);
    if (known?.namespaceLabels === namespaceLabels) return this.#shared(known.key);
    const labels = securityLabels(pod, namespaceLabels).map(([key, value]) => `k8s:${key}=${value}`);
    const text = labels.map((label) => `${label};`).join("");
    const key = this.#shared({ text, labels: labels.sort(compareText) });
    this.#known.set(pod, { namespaceLabels, key });
    return key;
  }

  #shared(key: IdentityKey): IdentityKey {
    const known = this.#interned.get(key.text) ?? key;
    this.#interned.set(key.text, known);
    return known;
  }

  /** Every block and except of every policy, once, in order of address. */
  #namedPrefixes({ policies }: ClusterModel): readonly Cidr[] {
    const lists = this.#prefixesOfPolicies.of(policies, prefixesOf).filter((list) => list.length > 0);
    if (sameItems(lists, this.#prefixLists)) return this.#prefixes;
    this.#prefixLists = lists;
    const prefixes = new Map<string, Cidr>();
    for (const list of lists) for (const cidr of list) prefixes.set(cidrText(cidr), cidr);
    this.#prefixes = [...prefixes.values()].sort(compareCidrs);
    return this.#prefixes;
  }
}

const NO_LABELS: Labels = new Map();
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

const CIDR_TEXTS = new WeakMap<Cidr, string>();

function cidrText(cidr: Cidr): string {
  return rememberedBy(CIDR_TEXTS, cidr, formatCidr);
}

/** Both in order of their text. */
function keepsNumbers(before: readonly PodIdentity[], after: readonly PodIdentity[]): boolean {
  const numbers = new Map(before.map(({ labels, number }) => [labels, number]));
  return after.every(({ labels, number }) => (numbers.get(labels) ?? number) === number);
}

const IPV4_ALONE: readonly Family[] = [4];
const BOTH_FAMILIES: readonly Family[] = [4, 6];

function familiesOf({ endpoints, policies }: ClusterModel): readonly Family[] {
  const inRules = (rules: readonly PolicyRule[]) =>
    rules.some(({ peers }) => peers.some((peer) => peer.kind === "ipBlock" && peer.cidr.family === 6));
  const ipv6 =
    endpoints.some(({ addresses }) => addresses.some(({ family }) => family === 6)) ||
    policies.some(({ ingress, egress }) => inRules(ingress) || inRules(egress));
  return ipv6 ? BOTH_FAMILIES : IPV4_ALONE;
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
