/** Parts of clusters, drawn from the arbitraries in handfuls: one at a time they would cost more than a run does. */
import fc from "fast-check";
import type { ClusterModel, LabelSelector, PolicyPeer, PolicyPort, PolicyRule } from "../../compiler/model.ts";
import type { Random } from "../kernel/random.ts";
import { clusterArbitrary, peerArbitrary, portArbitrary, ruleArbitrary, selectorArbitrary } from "./cluster.ts";

const HANDFUL = 64;

/** One kind of part, in handfuls. */
class Pool<T> {
  readonly #arbitrary: fc.Arbitrary<T>;
  readonly #random: Random;
  #left: T[] = [];

  constructor(arbitrary: fc.Arbitrary<T>, random: Random) {
    this.#arbitrary = arbitrary;
    this.#random = random;
  }

  next(): T {
    const part = this.#left.pop();
    if (part !== undefined) return part;
    this.#left = fc.sample(this.#arbitrary, { numRuns: HANDFUL, seed: this.#random.next() | 0 });
    return this.next();
  }
}

export interface Parts {
  cluster(): ClusterModel;
  rule(): PolicyRule;
  peer(): PolicyPeer;
  port(): PolicyPort;
  selector(): LabelSelector;
}

export function partsFrom(random: Random): Parts {
  const clusters = new Pool(clusterArbitrary(), random);
  const rules = new Pool(ruleArbitrary, random);
  const peers = new Pool(peerArbitrary, random);
  const ports = new Pool(portArbitrary, random);
  const selectors = new Pool(selectorArbitrary, random);
  return {
    cluster: () => clusters.next(),
    rule: () => rules.next(),
    peer: () => peers.next(),
    port: () => ports.next(),
    selector: () => selectors.next(),
  };
}
