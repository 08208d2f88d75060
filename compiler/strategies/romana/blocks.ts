/**
 * IPAM blocks: Romana matches the blocks that a host holds for a tenant and segment, never a pod's address. A tenant is
 * a namespace, a segment the value of a label.
 *
 * What a manifest does not tell is how the address space was cut. Here a /29 is a block when all the pods in it are of
 * one tenant, segment and host; otherwise each pod is a block of its own. An address change within a /29 then changes
 * nothing, as with the real IPAM.
 *
 * Source: romana/core pkg/api/blocks, cni/kubernetes.go (DefaultSegmentID); the cut is the one of dumps/romana.
 */
import { type Cidr, cidrOf, compareCidrs, hostCidr, type IpAddress } from "../../../dataplane/address.ts";
import { type ListChange, listChange, rememberedBy, SortedAgain } from "../../again.ts";
import { groupedBy } from "../../members.ts";
import type { Endpoint } from "../../model.ts";
import type { ResolvedCluster } from "../../resolve.ts";

/** The label that names a pod's segment, in pods and in selectors. */
export const SEGMENT_LABEL = "romana.io/segment";
/** The segment of pods without the label (cni DefaultSegmentID). */
const DEFAULT_SEGMENT = "default";
/** Prefix length of a block when its pods share an owner. */
const BLOCK_PREFIX = 29;

export interface Block {
  readonly cidr: Cidr;
  readonly tenant: string;
  readonly segment: string;
  readonly host: string;
}

/** Whether Romana gave the pod an address: all of its are IPv4, and for a pod without one its plugin was not asked. */
export function isPlugged({ addresses }: Endpoint): boolean {
  return addresses.some(({ family }) => family === 4);
}

const BLOCKS = new WeakMap<ResolvedCluster, readonly Block[]>();

/** The blocks of the whole cluster, in order of address. */
export function blocksOf(cluster: ResolvedCluster): readonly Block[] {
  let blocks = BLOCKS.get(cluster);
  if (blocks === undefined) {
    blocks = rememberedBy(LATEST, cluster.lineage, () => new LatestBlocks()).of(cluster.pods);
    BLOCKS.set(cluster, blocks);
  }
  return blocks;
}

/** A pod with what says which block its address is in. */
interface Placed {
  readonly pod: Endpoint;
  readonly address: IpAddress;
  /** The block's address without the bits of hosts. */
  readonly place: number;
  /** The block of the pod alone. */
  readonly own: Block;
}

const PLACED = new WeakMap<Endpoint, Placed | "no address">();
/** The latest block of all pods of a place, by the first of them: it stays the same object while its owner does. */
const SHARED = new WeakMap<Placed, Block>();
const LATEST = new WeakMap<WeakKey, LatestBlocks>();

/** Beyond so many pods that came and went all places are looked at again. */
const MOVED_PODS = 64;

interface PlaceOfPods {
  /** In the order of the cluster's pods. */
  readonly group: readonly Placed[];
  readonly blocks: readonly Block[];
}

/** The blocks of states that follow each other: a place where no pod came or went keeps its blocks. */
class LatestBlocks {
  #pods: readonly Endpoint[] = [];
  readonly #places = new Map<number, PlaceOfPods>();
  readonly #order = new SortedAgain<Block>((a, b) => compareCidrs(a.cidr, b.cidr));
  #blocks: readonly Block[] = [];

  of(pods: readonly Endpoint[]): readonly Block[] {
    const { gone, come } = listChange(this.#pods, pods);
    const isFew = this.#pods.length > 0 && gone.length + come.length <= MOVED_PODS;
    this.#pods = pods;
    const change = isFew ? this.#change(gone, come) : this.#cutAll();
    this.#blocks =
      this.#order.patched(change) ?? this.#order.of([...this.#places.values()].flatMap(({ blocks }) => blocks));
    return this.#blocks;
  }

  #cutAll(): ListChange<Block> {
    this.#places.clear();
    const groups = groupedBy(this.#pods.flatMap(placesOf), ({ place }) => place);
    for (const [place, group] of groups) this.#places.set(place, { group, blocks: blocksAt(group) });
    return { gone: this.#blocks, come: [...this.#places.values()].flatMap(({ blocks }) => blocks) };
  }

  #change(gone: readonly Endpoint[], come: readonly Endpoint[]): ListChange<Block> {
    const change = { gone: [] as Block[], come: [] as Block[] };
    const [left, arrived] = [new Set(gone.flatMap(placesOf)), come.flatMap(placesOf)];
    for (const place of new Set([...left, ...arrived].map((placed) => placed.place))) {
      const known = this.#places.get(place) ?? NO_PODS;
      const group = [
        ...known.group.filter((placed) => !left.has(placed)),
        ...arrived.filter((placed) => placed.place === place),
      ];
      const inOrder = group
        .map((placed) => [this.#pods.indexOf(placed.pod), placed] as const)
        .sort(([a], [b]) => a - b)
        .map(([, placed]) => placed);
      const blocks = blocksAt(inOrder);
      if (group.length > 0) this.#places.set(place, { group: inOrder, blocks });
      else this.#places.delete(place);
      change.gone.push(...known.blocks.filter((block) => !blocks.includes(block)));
      change.come.push(...blocks.filter((block) => !known.blocks.includes(block)));
    }
    return change;
  }
}

const NO_PODS: PlaceOfPods = { group: [], blocks: [] };

/** One for all of a group when they have one owner, else one for each. */
function blocksAt(group: readonly Placed[]): readonly Block[] {
  const [first] = group;
  if (first === undefined || !group.every(({ own }) => hasOneOwner(own, first.own))) return group.map(({ own }) => own);
  return [rememberedBy(SHARED, first, ({ own, address }) => ({ ...own, cidr: cidrOf(address, BLOCK_PREFIX) }))];
}

function placesOf(pod: Endpoint): readonly Placed[] {
  const placed = rememberedBy(PLACED, pod, () => placedOf(pod) ?? "no address");
  return placed === "no address" ? [] : [placed];
}

function placedOf(pod: Endpoint): Placed | undefined {
  const address = ipv4Of(pod);
  if (address === undefined) return undefined;
  const own = { cidr: hostCidr(address), tenant: pod.namespace, segment: segmentOf(pod), host: pod.node };
  return { pod, address, place: (address.words[0] ?? 0) >> (32 - BLOCK_PREFIX), own };
}

function hasOneOwner(a: Block, b: Block): boolean {
  return a.tenant === b.tenant && a.segment === b.segment && a.host === b.host;
}

/** A label that is there and empty is a segment without a name, not the default one. */
export function segmentOf(pod: Endpoint): string {
  return pod.labels.get(SEGMENT_LABEL) ?? DEFAULT_SEGMENT;
}

/**
 * Whether the set of its tenant lacks a block. The set of a segment without a name has the tenant's own: whichever of the
 * two the agent comes upon first says of which type it is, and ipset refuses what the other kind of block adds to it. The
 * agent goes through a Go map; here it is the first by address (agent/enforcer/enforcer.go makeBlockSets).
 */
export function isLeftOut(cluster: ResolvedCluster, { tenant, segment }: Pick<Block, "tenant" | "segment">): boolean {
  const unnamed = rememberedBy(UNNAMED_FIRST, cluster, () => {
    const first = new Map(
      blocksOf(cluster)
        .toReversed()
        .map((block) => [block.tenant, block]),
    );
    return new Set([...first.values()].flatMap((block) => (isUnnamed(block) ? [block.tenant] : [])));
  });
  return unnamed.has(tenant) !== isUnnamed({ segment });
}

const UNNAMED_FIRST = new WeakMap<ResolvedCluster, ReadonlySet<string>>();

export function isUnnamed({ segment }: Pick<Block, "segment">): boolean {
  return segment === "";
}

export function ipv4Of(pod: Endpoint): IpAddress | undefined {
  return pod.addresses.find(({ family }) => family === 4);
}
