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
import { rememberedBy, SortedAgain } from "../../again.ts";
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
    blocks = cutBlocks(cluster);
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
const ORDERS = new WeakMap<WeakKey, SortedAgain<Block>>();

function cutBlocks({ pods, lineage }: ResolvedCluster): readonly Block[] {
  const groups = new Map<number, Placed[]>();
  for (const pod of pods) {
    const placed = rememberedBy(PLACED, pod, () => placedOf(pod) ?? "no address");
    if (placed === "no address") continue;
    const group = groups.get(placed.place);
    if (group === undefined) groups.set(placed.place, [placed]);
    else group.push(placed);
  }
  const blocks: Block[] = [];
  for (const group of groups.values()) {
    const [first] = group;
    if (first !== undefined && group.every(({ own }) => hasOneOwner(own, first.own))) {
      blocks.push(rememberedBy(SHARED, first, ({ own, address }) => ({ ...own, cidr: cidrOf(address, BLOCK_PREFIX) })));
    } else for (const { own } of group) blocks.push(own);
  }
  const order = rememberedBy(ORDERS, lineage, () => new SortedAgain<Block>((a, b) => compareCidrs(a.cidr, b.cidr)));
  return order.of(blocks);
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

export function segmentOf(pod: Endpoint): string {
  return pod.labels.get(SEGMENT_LABEL) || DEFAULT_SEGMENT;
}

export function ipv4Of(pod: Endpoint): IpAddress | undefined {
  return pod.addresses.find(({ family }) => family === 4);
}
