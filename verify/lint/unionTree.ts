/** Unions of many sets with one left out: what the others allow, for each of ten thousand policies in turn. */
import { type ByService, NOTHING, union } from "./allowed.ts";

/**
 * A tree of unions over a list of sets. The naive way unites all others for each: n². Here each inner node holds the union
 * of its two children, so that leaving one out unites the log n siblings on its way up, and taking one away for good
 * rewrites that way. The price: twice the sets in memory.
 */
export class UnionTree {
  /** Node 1 is the root, the children of i are 2i and 2i + 1, the leaves come last. */
  readonly #nodes: ByService[];
  readonly #leaves: number;
  readonly #empty: ByService;

  constructor(sets: readonly ByService[]) {
    this.#leaves = Math.max(1, sets.length);
    this.#empty = (sets[0] ?? []).map(() => NOTHING);
    this.#nodes = new Array<ByService>(2 * this.#leaves).fill(this.#empty);
    for (const [index, set] of sets.entries()) this.#nodes[this.#leaves + index] = set;
    for (let node = this.#leaves - 1; node > 0; node--) this.#unite(node);
  }

  /** The union of all sets but this one. */
  without(index: number): ByService {
    let all = this.#empty;
    for (let node = this.#leaves + index; node > 1; node >>= 1) all = union(all, this.#nodes[node ^ 1] ?? this.#empty);
    return all;
  }

  /** Takes a set away. */
  remove(index: number): void {
    this.#nodes[this.#leaves + index] = this.#empty;
    for (let node = (this.#leaves + index) >> 1; node > 0; node >>= 1) this.#unite(node);
  }

  #unite(node: number): void {
    this.#nodes[node] = union(this.#nodes[2 * node] ?? this.#empty, this.#nodes[2 * node + 1] ?? this.#empty);
  }
}
