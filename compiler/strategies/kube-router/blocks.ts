/** ipBlocks as elements of one hash:net set: a rule has one for all its blocks (policy.go `evalIPBlockPeer`). */
import { type Cidr, cidrContains, cidrKey, type Family, type IpAddress } from "../../../dataplane/address.ts";
import type { ResolvedPeer } from "../../resolve.ts";

export type BlockPeer = Extract<ResolvedPeer, { readonly kind: "ipBlock" }>;

/** An element; `nomatch` takes away from a wider one. */
export interface BlockElement {
  readonly cidr: Cidr;
  readonly nomatch: boolean;
}

/**
 * What stands for /0, which a set cannot hold: all of IPv4 (0.0.0.0/1 and 128.0.0.0/1), and the parts of IPv6 that kube-router
 * thinks of (2000::/3 and fd00::/8). As words, since the first IPv6 text to be read takes milliseconds.
 */
export const EVERYTHING: Readonly<Record<Family, readonly Cidr[]>> = {
  4: [
    { family: 4, words: [0], prefixLength: 1 },
    { family: 4, words: [0x8000_0000 | 0], prefixLength: 1 },
  ],
  6: [
    { family: 6, words: [0x2000_0000, 0, 0, 0], prefixLength: 3 },
    { family: 6, words: [0xfd00_0000 | 0, 0, 0, 0], prefixLength: 8 },
  ],
};

/** The elements of the blocks in the order they are added. */
export function blockAdds(
  blocks: readonly BlockPeer[],
  family: Family,
  everything: readonly Cidr[] = EVERYTHING[family],
): readonly BlockElement[] {
  const added: BlockElement[] = [];
  const add = (whole: Cidr, nomatch: boolean) => {
    if (whole.prefixLength > 0) added.push({ cidr: whole, nomatch });
    else for (const cidr of everything) added.push({ cidr, nomatch });
  };
  for (const { cidr, except } of blocks) {
    if (cidr.family !== family) continue;
    add(cidr, false);
    for (const taken of except) add(taken, true);
  }
  return added;
}

/** What is left of elements that were added one after the other: of one prefix the last. */
export function folded(added: readonly BlockElement[]): readonly BlockElement[] {
  const elements = new Map(added.map((element) => [cidrKey(element.cidr), element]));
  return elements.size < added.length ? [...elements.values()] : added;
}

export function blockElements(
  blocks: readonly BlockPeer[],
  family: Family,
  everything: readonly Cidr[] = EVERYTHING[family],
): readonly BlockElement[] {
  return folded(blockAdds(blocks, family, everything));
}

/** As the kernel answers (ip_set_hash_netX): the most specific element that holds the address decides. */
export function elementsMatch(elements: readonly BlockElement[], address: IpAddress): boolean {
  let best: BlockElement | undefined;
  for (const element of elements) {
    if (!cidrContains(element.cidr, address)) continue;
    if (best === undefined || element.cidr.prefixLength > best.cidr.prefixLength) best = element;
  }
  return best !== undefined && !best.nomatch;
}
