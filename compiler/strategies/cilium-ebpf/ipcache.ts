/** The ipcache: which identity an address has on a node. Source: cilium v1.19.7 pkg/ipcache; dumps/cilium. */
import { LRUCache } from "lru-cache";
import {
  type Cidr,
  compareCidrs,
  type Family,
  formatAddress,
  formatCidr,
  hostCidr,
} from "../../../dataplane/address.ts";
import { encodeIpcacheKey, encodeIpcacheValue } from "../../../dataplane/maps/layout.ts";
import type { MapEntry } from "../../../dataplane/program.ts";
import { MappedAgain, rememberedBy, SortedAgain } from "../../again.ts";
import type { ClusterNode, Endpoint } from "../../model.ts";
import type { ResolvedCluster } from "../../resolve.ts";
import { type Identities, identitiesOf, RESERVED, worldIdentity } from "./identities.ts";

/** What an address has as identity on a node. */
export interface IpcacheEntry {
  readonly cidr: Cidr;
  readonly identity: number;
  readonly entry: MapEntry;
}

/** The ipcache of a node: its own addresses are the host, other nodes are remote; pods win over blocks of one address. */
export function ipcacheOf(cluster: ResolvedCluster, node: string): readonly IpcacheEntry[] {
  const nodes = rememberedBy(LATEST, cluster.lineage, () => new Map<string, LatestIpcache>());
  const latest = nodes.get(node) ?? new LatestIpcache(node);
  nodes.set(node, latest);
  return latest.entries(cluster);
}

const LATEST = new WeakMap<WeakKey, Map<string, LatestIpcache>>();

/** Who has an address; the number comes with the state. */
interface Place {
  readonly cidr: Cidr;
  readonly owner: Endpoint | ClusterNode | Cidr;
  readonly origin: string;
  /** What the place was last found to be, which follows from the place and the number. */
  latest: IpcacheEntry | undefined;
}

type LocalNumbers = ReadonlyMap<Place["owner"], number>;

/** The ipcache of a node in states that follow each other: an address that stays keeps its place and its entry. */
class LatestIpcache {
  readonly #node: string;
  readonly #sorted = new SortedAgain<Place>((a, b) => compareCidrs(a.cidr, b.cidr));
  readonly #placesOfPods = new MappedAgain<Endpoint, readonly Place[]>();
  readonly #places = new WeakMap<Place["owner"], readonly Place[]>();
  #entries = new MappedAgain<Place, IpcacheEntry>();
  #epoch: WeakKey | undefined;
  #local: LocalNumbers = new Map();

  constructor(node: string) {
    this.#node = node;
  }

  entries(cluster: ResolvedCluster): readonly IpcacheEntry[] {
    const identities = identitiesOf(cluster);
    const { families, epoch } = identities;
    const all = this.#placesOf(cluster, identities);
    const sorted = this.#sorted.of(families.length > 1 ? all : all.filter(({ cidr }) => cidr.family === 4));
    const local = this.#localNumbers(cluster, identities);
    const winners = this.#sorted.hasEquals ? this.#winners(sorted, identities) : sorted;
    const isSame = this.#epoch === epoch && sameNumbers(this.#local, local);
    if (!isSame) this.#entries = new MappedAgain();
    [this.#epoch, this.#local] = [epoch, local];
    return this.#entries.of(winners, (place) => entryOf(place, numberOf(place, identities, local)));
  }

  /** Of those that have one address the last counts: a pod, of several the one of the later identity. */
  #winners(sorted: readonly Place[], identities: Identities): readonly Place[] {
    const winners: Place[] = [];
    for (const place of sorted) {
      const last = winners.at(-1);
      if (last !== undefined && isEqual(last, place))
        winners[winners.length - 1] = this.#later(last, place, identities);
      else winners.push(place);
    }
    return winners;
  }

  #placesOf({ model, pods }: ResolvedCluster, { cidrs, families }: Identities): readonly Place[] {
    const places: Place[] = families.map((family) => WORLD[family]);
    const add = (owner: Place["owner"], make: () => readonly Place[]) => {
      for (const place of rememberedBy(this.#places, owner, make)) places.push(place);
    };
    for (const { cidr } of cidrs)
      add(cidr, () => [{ cidr, owner: cidr, origin: "a policy's block", latest: undefined }]);
    for (const node of model.nodes) {
      add(node, () =>
        node.addresses.map((address) => ({
          cidr: hostCidr(address),
          owner: node,
          origin: `node ${node.name}`,
          latest: undefined,
        })),
      );
    }
    for (const own of this.#placesOfPods.of(pods, placesOfPod)) for (const place of own) places.push(place);
    return places;
  }

  #later(place: Place, next: Place, { pods, ofPod }: Identities): Place {
    if (!isPod(place.owner) || !isPod(next.owner)) return next;
    const [first, second] = [place.owner, next.owner].map((pod) =>
      pods.findIndex(({ number }) => number === ofPod.get(pod)?.number),
    );
    return (first ?? 0) > (second ?? 0) ? place : next;
  }

  /** The numbers of what is no pod. */
  #localNumbers({ model }: ResolvedCluster, { cidrs, families }: Identities): LocalNumbers {
    const numbers = new Map<Place["owner"], number>();
    for (const family of families) numbers.set(WORLD[family].owner, worldIdentity(families, family));
    for (const { cidr, number } of cidrs) numbers.set(cidr, number);
    for (const node of model.nodes) numbers.set(node, node.name === this.#node ? RESERVED.host : RESERVED.remoteNode);
    return numbers;
  }
}

function numberOf({ owner }: Place, { ofPod }: Identities, local: LocalNumbers): number {
  return (isPod(owner) ? ofPod.get(owner)?.number : local.get(owner)) ?? 0;
}

/** A number that moves, as all behind a new set of labels do, leaves the key as it is. */
function entryOf(place: Place, identity: number): IpcacheEntry {
  const { cidr, latest } = place;
  if (latest?.identity === identity) return latest;
  const key = latest?.entry.key ?? encodeIpcacheKey(cidr);
  const origin = latest?.entry.origin ?? `${formatCidr(cidr)}: ${place.origin}`;
  const made = { cidr, identity, entry: { key, value: valueBytes(identity), origin } };
  place.latest = made;
  return made;
}

const VALUES = new LRUCache<number, Uint8Array>({ max: 65_536 });

/** The same bytes for the same number. */
function valueBytes(identity: number): Uint8Array {
  const value = VALUES.get(identity) ?? encodeIpcacheValue(identity);
  VALUES.set(identity, value);
  return value;
}

function placeOfWorld(family: Family): Place {
  const cidr: Cidr = { family, words: family === 4 ? [0] : [0, 0, 0, 0], prefixLength: 0 };
  return { cidr, owner: cidr, origin: "world", latest: undefined };
}

const WORLD = { 4: placeOfWorld(4), 6: placeOfWorld(6) } as const satisfies Record<Family, Place>;

function placesOfPod(pod: Endpoint): readonly Place[] {
  return pod.addresses.map((address) => ({
    cidr: hostCidr(address),
    owner: pod,
    origin: `pod ${pod.key} ${formatAddress(address)}`,
    latest: undefined,
  }));
}

function sameNumbers(before: LocalNumbers, after: LocalNumbers): boolean {
  if (before.size !== after.size) return false;
  for (const [owner, number] of after) if (before.get(owner) !== number) return false;
  return true;
}

function isPod(owner: Place["owner"]): owner is Endpoint {
  return "serviceAccount" in owner;
}

function isEqual(a: Place, b: Place): boolean {
  return compareCidrs(a.cidr, b.cidr) === 0;
}
