/** Whose an address is: a pod's, a node's, or nobody's in the cluster; and which workload a pod belongs to. */
import { sameItems } from "../compiler/again.ts";
import { type ClusterModel, type Endpoint, isOnPodNetwork } from "../compiler/model.ts";
import { type Cidr, cidrContains, formatCidr, type IpAddress } from "../dataplane/address.ts";
import { AddressTable } from "../dataplane/addressTable.ts";
import { workloadOf } from "./workload.ts";

/** Number of "no pod and no node". */
export const NOBODY = -1;

export type Owner =
  | {
      readonly kind: "pod";
      /** `namespace/pod`. */
      readonly name: string;
      readonly workload: string;
      readonly pod: Endpoint;
    }
  | { readonly kind: "node" /** `node:NAME`. */; readonly name: string; readonly workload: string };

/** Whose an address is from a step of the story on. */
interface Turn {
  readonly step: number;
  readonly number: number;
}

/** An address that somebody has at some time. */
interface Place {
  /** The owner's number now, or `NOBODY`. */
  number: number;
  /** The step in which somebody had it last. */
  seen: number;
  /** Before, in order; undefined: its owner has never changed. */
  turns: Turn[] | undefined;
}

/**
 * Addresses of a cluster as numbers of owners. Built from several models (before and after a change) the first that
 * knows an address has it. The cluster may change in the middle of a recording: each step of the story is told once, and the
 * book goes on knowing who had an address in the steps before, since a flow keeps the owners it had when it began. What is
 * kept of a step are the addresses that changed hands in it.
 */
export class AddressBook {
  readonly #owners: Owner[] = [];
  readonly #numbers = new Map<string, number>();
  readonly #table4 = new AddressTable(4);
  readonly #table6 = new AddressTable(6);
  readonly #places: Place[] = [];
  readonly #podCidrs = new Map<string, Cidr>();
  #step = 0;
  /** Of the step before. */
  #model: ClusterModel | undefined;

  constructor(models: readonly ClusterModel[]) {
    for (const model of [...models].reverse()) this.#add(model);
    this.#model = models[0];
  }

  /** The next step of the story: from now on addresses are those of this model alone. */
  step(model: ClusterModel): void {
    const before = this.#model;
    this.#model = model;
    this.#step++;
    if (before !== undefined && sameItems(before.endpoints, model.endpoints) && sameItems(before.nodes, model.nodes))
      return;
    this.#add(model);
    for (const place of this.#places) if (place.seen < this.#step) this.#turn(place, NOBODY);
  }

  #add(model: ClusterModel): void {
    for (const pod of model.endpoints) {
      if (!pod.hostNetwork || pod.node === "" || pod.phase === "Succeeded" || pod.phase === "Failed") continue;
      for (const address of pod.addresses) this.#set(address, nodeOwner(pod.node));
    }
    for (const node of model.nodes) {
      for (const address of node.addresses) this.#set(address, nodeOwner(node.name));
      for (const cidr of node.podCidrs) this.#podCidrs.set(formatCidr(cidr), cidr);
    }
    for (const pod of model.endpoints) {
      if (!isOnPodNetwork(pod)) continue;
      const owner: Owner = { kind: "pod", name: pod.key, workload: workloadOf(pod), pod };
      for (const address of pod.addresses) this.#set(address, owner);
    }
  }

  owner(number: number): Owner | undefined {
    return this.#owners[number];
  }

  /** The owner's number, or `NOBODY`: after so many steps of the story, the latest when left out. */
  numberOf(address: IpAddress, step = this.#step): number {
    const place = this.#places[this.#find(address)];
    if (place === undefined) return NOBODY;
    if (place.turns === undefined || step === this.#step) return place.number;
    return place.turns.findLast((turn) => turn.step <= step)?.number ?? NOBODY;
  }

  /** Whether some node hands out addresses of this kind to its pods: then a pod is missing in the manifests. */
  isPodAddress(address: IpAddress): boolean {
    for (const cidr of this.#podCidrs.values()) if (cidrContains(cidr, address)) return true;
    return false;
  }

  #set(address: IpAddress, owner: Owner): void {
    const key = `${owner.kind} ${owner.name} ${owner.workload} ${owner.kind === "pod" ? owner.pod.node : ""}`;
    let number = this.#numbers.get(key);
    if (number === undefined) {
      number = this.#owners.push(owner) - 1;
      this.#numbers.set(key, number);
    }
    const place = this.#places[this.#find(address)];
    if (place !== undefined) {
      place.seen = this.#step;
      this.#turn(place, number);
      return;
    }
    const turns = this.#step === 0 ? undefined : [{ step: this.#step, number }];
    const at = this.#places.push({ number, seen: this.#step, turns }) - 1;
    (address.family === 4 ? this.#table4 : this.#table6).set(address.words, 0, at);
  }

  #turn(place: Place, number: number): void {
    if (place.number === number) return;
    if (this.#step > 0) {
      place.turns ??= [{ step: 0, number: place.number }];
      // Of several that claim the address in one step the last has it.
      if (place.turns.at(-1)?.step === this.#step) place.turns.pop();
      place.turns.push({ step: this.#step, number });
    }
    place.number = number;
  }

  #find({ family, words }: IpAddress): number {
    const [word0 = 0, word1 = 0, word2 = 0, word3 = 0] = words;
    return family === 4 ? this.#table4.find4(word0, 0) : this.#table6.find6(word0, word1, word2, word3, 0);
  }
}

function nodeOwner(node: string): Owner {
  return { kind: "node", name: `node:${node}`, workload: `node:${node}` };
}
