/** The ipcache: which identity an address has on a node. Source: cilium v1.19.7 pkg/ipcache; dumps/cilium. */
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
import { listChange, MappedAgain, rememberedBy, SortedAgain } from "../../again.ts";
import type { ClusterModel, ClusterNode, Endpoint } from "../../model.ts";
import type { ResolvedCluster } from "../../resolve.ts";
import { type Identities, identitiesOf, RESERVED, worldIdentity } from "./identities.ts";

/** The ipcache of a node: its own addresses are the host, other nodes are remote; pods win over blocks of one address. */
export function ipcacheOf(cluster: ResolvedCluster, node: string): readonly MapEntry[] {
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
  /** Of a pod: its identity in the state that is being looked at. */
  number: number;
  /** What the place was last found to be, which follows from the place and the number. */
  latest: { readonly identity: number; readonly entry: MapEntry } | undefined;
}

type LocalNumbers = ReadonlyMap<Place["owner"], number>;

/** The ipcache of a node in states that follow each other: an address that stays keeps its place and its entry. */
class LatestIpcache {
  readonly #node: string;
  readonly #sorted = new SortedAgain<Place>((a, b) => compareCidrs(a.cidr, b.cidr));
  readonly #placesOfPods = new MappedAgain<Endpoint, readonly Place[]>();
  readonly #places = new WeakMap<Place["owner"], readonly Place[]>();
  /** Places of what is no pod, and of each pod. */
  #local: readonly Place[] = [];
  #ofPods: readonly (readonly Place[])[] = [];
  /** All of them by address. */
  #order: readonly Place[] = [];
  #entries = new MappedAgain<Place, MapEntry>();
  #epoch: WeakKey | undefined;
  #numbers: LocalNumbers = new Map();
  /** What these are of. */
  #localOf: (Pick<Identities, "cidrs" | "families"> & Pick<ClusterModel, "nodes">) | undefined;

  constructor(node: string) {
    this.#node = node;
  }

  entries(cluster: ResolvedCluster): readonly MapEntry[] {
    const identities = identitiesOf(cluster);
    const sorted = this.#sortedPlaces(cluster, identities);
    const local = this.#localNumbers(cluster, identities);
    const winners = this.#sorted.hasEquals ? this.#winners(sorted, identities) : sorted;
    const isSame = this.#epoch === identities.epoch && sameNumbers(this.#numbers, local);
    [this.#epoch, this.#numbers] = [identities.epoch, local];
    if (!isSame) {
      this.#entries = new MappedAgain();
      this.#numberPods(cluster, identities);
    }
    const { ofPod } = identities;
    return this.#entries.of(winners, (place) => {
      const { owner } = place;
      if (!isPod(owner)) return entryOf(place, local.get(owner) ?? 0);
      return entryOf(place, isSame ? (ofPod.get(owner)?.number ?? 0) : place.number);
    });
  }

  /** Found for all at once, no pod's number has to be searched for. */
  #numberPods({ pods }: ResolvedCluster, { ofPod }: Identities): void {
    const places = this.#placesOfPods.of(pods, placesOfPod);
    for (const [at, number] of ofPod.numbers().entries()) for (const place of places[at] ?? []) place.number = number;
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

  #sortedPlaces({ model, pods }: ResolvedCluster, identities: Identities): readonly Place[] {
    const local = this.#localPlaces(model, identities);
    // No address of a pod is of a family that is off.
    const ofPods = this.#placesOfPods.of(pods, placesOfPod);
    const [others, own] = [listChange(this.#local, local), listChange(this.#ofPods, ofPods)];
    const change = { gone: [...others.gone, ...own.gone.flat()], come: [...others.come, ...own.come.flat()] };
    [this.#local, this.#ofPods] = [local, ofPods];
    if (change.gone.length + change.come.length > 0) {
      this.#order = this.#sorted.patched(change) ?? this.#sorted.of([...local, ...ofPods.flat()]);
    }
    return this.#order;
  }

  #localPlaces({ nodes }: ClusterModel, { cidrs, families }: Identities): readonly Place[] {
    const places: Place[] = families.map((family) => WORLD[family]);
    const add = (owner: Place["owner"], make: () => readonly Place[]) => {
      for (const place of rememberedBy(this.#places, owner, make)) {
        if (families.includes(place.cidr.family)) places.push(place);
      }
    };
    for (const { cidr } of cidrs)
      add(cidr, () => [{ cidr, owner: cidr, origin: "a policy's block", number: 0, latest: undefined }]);
    for (const node of nodes) {
      add(node, () =>
        node.addresses.map((address) => ({
          cidr: hostCidr(address),
          owner: node,
          origin: `node ${node.name}`,
          number: 0,
          latest: undefined,
        })),
      );
    }
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
  #localNumbers({ model: { nodes } }: ResolvedCluster, { cidrs, families }: Identities): LocalNumbers {
    const made = this.#localOf;
    if (made?.cidrs === cidrs && made.families === families && made.nodes === nodes) return this.#numbers;
    this.#localOf = { cidrs, families, nodes };
    const numbers = new Map<Place["owner"], number>();
    for (const family of families) numbers.set(WORLD[family].owner, worldIdentity(families, family));
    for (const { cidr, number } of cidrs) numbers.set(cidr, number);
    for (const node of nodes) numbers.set(node, node.name === this.#node ? RESERVED.host : RESERVED.remoteNode);
    return numbers;
  }
}

/** A number that moves, as all behind a new set of labels do, leaves the key as it is. */
function entryOf(place: Place, identity: number): MapEntry {
  const { cidr, latest } = place;
  if (latest?.identity === identity) return latest.entry;
  const key = latest?.entry.key ?? encodeIpcacheKey(cidr);
  const origin = latest?.entry.origin ?? `${formatCidr(cidr)}: ${place.origin}`;
  const entry = { key, value: valueBytes(identity), origin };
  place.latest = { identity, entry };
  return entry;
}

/** Beyond these stand the numbers of prefixes, of which there may be more. */
const CLUSTER_IDENTITIES = 65_536;
const VALUES = new Map<number, Uint8Array>();

/** The same bytes for the same number of a pod's identity. */
function valueBytes(identity: number): Uint8Array {
  const value = VALUES.get(identity) ?? encodeIpcacheValue(identity);
  if (identity < CLUSTER_IDENTITIES) VALUES.set(identity, value);
  return value;
}

function placeOfWorld(family: Family): Place {
  const cidr: Cidr = { family, words: family === 4 ? [0] : [0, 0, 0, 0], prefixLength: 0 };
  return { cidr, owner: cidr, origin: "world", number: 0, latest: undefined };
}

const WORLD = { 4: placeOfWorld(4), 6: placeOfWorld(6) } as const satisfies Record<Family, Place>;

function placesOfPod(pod: Endpoint): readonly Place[] {
  return pod.addresses.map((address) => ({
    cidr: hostCidr(address),
    owner: pod,
    origin: `pod ${pod.key} ${formatAddress(address)}`,
    number: 0,
    latest: undefined,
  }));
}

function sameNumbers(before: LocalNumbers, after: LocalNumbers): boolean {
  if (before === after) return true;
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
