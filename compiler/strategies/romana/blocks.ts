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
import { type Cidr, cidrOf, compareCidrs, formatCidr, hostCidr, type IpAddress } from "../../../dataplane/address.ts";
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

const BLOCKS = new WeakMap<ResolvedCluster, readonly Block[]>();

/** The blocks of the whole cluster, in order of address. */
export function blocksOf(cluster: ResolvedCluster): readonly Block[] {
  let blocks = BLOCKS.get(cluster);
  if (blocks === undefined) {
    blocks = cutBlocks(cluster.pods);
    BLOCKS.set(cluster, blocks);
  }
  return blocks;
}

function cutBlocks(pods: readonly Endpoint[]): readonly Block[] {
  const groups = new Map<string, { readonly cidr: Cidr; readonly pods: { pod: Endpoint; address: IpAddress }[] }>();
  for (const pod of pods) {
    const address = ipv4Of(pod);
    if (address === undefined) continue;
    const cidr = cidrOf(address, BLOCK_PREFIX);
    const group = groups.get(formatCidr(cidr));
    if (group === undefined) groups.set(formatCidr(cidr), { cidr, pods: [{ pod, address }] });
    else group.pods.push({ pod, address });
  }
  const blocks = [...groups.values()].flatMap((group) => {
    const owners = group.pods.map(({ pod }) => ({ tenant: pod.namespace, segment: segmentOf(pod), host: pod.node }));
    const first = owners[0];
    const shared = owners.every(
      ({ tenant, segment, host }) => tenant === first?.tenant && segment === first.segment && host === first.host,
    );
    if (shared && first !== undefined) return [{ cidr: group.cidr, ...first }];
    return group.pods.map(({ pod, address }) => ({
      cidr: hostCidr(address),
      tenant: pod.namespace,
      segment: segmentOf(pod),
      host: pod.node,
    }));
  });
  return blocks.sort((a, b) => compareCidrs(a.cidr, b.cidr));
}

export function segmentOf(pod: Endpoint): string {
  return pod.labels.get(SEGMENT_LABEL) || DEFAULT_SEGMENT;
}

function ipv4Of(pod: Endpoint): IpAddress | undefined {
  return pod.addresses.find(({ family }) => family === 4);
}
