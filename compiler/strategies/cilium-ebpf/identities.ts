/**
 * Security identities: a number for each set of labels that pods share, and for each CIDR that a policy names. Policy maps
 * hold these numbers, never addresses; the ipcache says which address has which.
 *
 * A real cluster hands numbers out as pods appear; here they follow the order of the labels, so that equal clusters have
 * equal numbers.
 *
 * Source: cilium v1.19.7 pkg/identity, pkg/labels, pkg/ipcache; dumps/cilium.
 */
import {
  type Cidr,
  compareCidrs,
  type Family,
  formatAddress,
  formatCidr,
  hostCidr,
} from "../../../dataplane/address.ts";
import { compareText } from "../../age.ts";
import type { ClusterModel, Endpoint, Labels } from "../../model.ts";
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
  readonly ofPod: ReadonlyMap<Endpoint, PodIdentity>;
  /** The families that are on: IPv6 when the cluster has any. */
  readonly families: readonly Family[];
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
    return numbered(this.#prefixes, formatCidr(cidr), () => this.#nextLocal++);
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

function allocate({ model, pods }: ResolvedCluster, numbers = new IdentityNumbers()): Identities {
  const namespaceLabels = new Map(model.namespaces.map(({ name, labels }) => [name, labels]));
  const groups = new Map<string, { readonly labels: readonly string[]; readonly pods: Endpoint[] }>();
  for (const pod of pods) {
    const labels = securityLabels(pod, namespaceLabels.get(pod.namespace) ?? new Map()).map(
      ([key, value]) => `k8s:${key}=${value}`,
    );
    // The text under which the key-value store has an identity (pkg/labels SortedList): the numbers follow its order.
    const text = labels.map((label) => `${label};`).join("");
    const group = groups.get(text);
    if (group === undefined) groups.set(text, { labels: labels.sort(compareText), pods: [pod] });
    else group.pods.push(pod);
  }
  const podIdentities = [...groups.entries()]
    .sort(([a], [b]) => compareText(a, b))
    .map(([text, group]) => ({ number: numbers.ofLabels(text), ...group }));
  const families = familiesOf(model);
  const prefixes = namedPrefixes(model).filter(
    ({ prefixLength, family }) => prefixLength > 0 && families.includes(family),
  );
  return {
    pods: podIdentities,
    cidrs: prefixes.map((cidr) => ({ number: numbers.ofPrefix(cidr), cidr })),
    ofPod: new Map(podIdentities.flatMap((identity) => identity.pods.map((pod) => [pod, identity]))),
    families,
  };
}

/** Every block and except of every policy, once, in order of address. */
function namedPrefixes({ policies }: ClusterModel): readonly Cidr[] {
  const prefixes = new Map<string, Cidr>();
  for (const { ingress, egress } of policies) {
    for (const { peers } of [...ingress, ...egress]) {
      for (const peer of peers) {
        if (peer.kind !== "ipBlock") continue;
        for (const cidr of [peer.cidr, ...peer.except]) prefixes.set(formatCidr(cidr), cidr);
      }
    }
  }
  return [...prefixes.values()].sort(compareCidrs);
}

function familiesOf({ endpoints, policies }: ClusterModel): readonly Family[] {
  const ipv6 =
    endpoints.some(({ addresses }) => addresses.some(({ family }) => family === 6)) ||
    policies.some(({ ingress, egress }) =>
      [...ingress, ...egress].some(({ peers }) =>
        peers.some((peer) => peer.kind === "ipBlock" && peer.cidr.family === 6),
      ),
    );
  return ipv6 ? [4, 6] : [4];
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

/** What an address has as identity on a node. */
export interface IpcacheEntry {
  readonly cidr: Cidr;
  readonly identity: number;
  readonly origin: string;
}

/** The ipcache of a node: its own addresses are the host, other nodes are remote; pods win over blocks of one address. */
export function ipcacheOf(cluster: ResolvedCluster, node: string): readonly IpcacheEntry[] {
  const { pods, cidrs, families } = identitiesOf(cluster);
  const entries = new Map<string, IpcacheEntry>();
  const put = (cidr: Cidr, identity: number, origin: string) => {
    if (families.includes(cidr.family)) entries.set(formatCidr(cidr), { cidr, identity, origin });
  };
  for (const family of families) {
    const everything: Cidr = { family, words: family === 4 ? [0] : [0, 0, 0, 0], prefixLength: 0 };
    put(everything, worldIdentity(families, family), "world");
  }
  for (const { cidr, number } of cidrs) put(cidr, number, "a policy's block");
  for (const { name, addresses } of cluster.model.nodes) {
    const identity = name === node ? RESERVED.host : RESERVED.remoteNode;
    for (const address of addresses) put(hostCidr(address), identity, `node ${name}`);
  }
  for (const { number, pods: members } of pods) {
    for (const pod of members) {
      for (const address of pod.addresses) put(hostCidr(address), number, `pod ${pod.key} ${formatAddress(address)}`);
    }
  }
  return [...entries.values()].sort((a, b) => compareCidrs(a.cidr, b.cidr));
}

/** Everything outside: one identity, or one for each family when both are on. */
export function worldIdentity(families: readonly Family[], family: Family): number {
  if (families.length === 1) return RESERVED.world;
  return family === 4 ? RESERVED.worldIpv4 : RESERVED.worldIpv6;
}
