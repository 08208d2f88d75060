/** Whose an address is: a pod's, a node's, or nobody's in the cluster; and which workload a pod belongs to. */
import { type ClusterModel, type Endpoint, isOnPodNetwork } from "../compiler/model.ts";
import { type Cidr, cidrContains, formatAddress, type IpAddress } from "../dataplane/address.ts";
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

/**
 * Addresses of a cluster as numbers of owners. Built from several models (before and after a change) the first that
 * knows an address has it. Numbers stay valid when `addModel` brings more: the cluster may change in the middle of a
 * recording, and a flow keeps the owners it had when it began.
 */
export class AddressBook {
  readonly #owners: Owner[] = [];
  readonly #numbers = new Map<string, number>();
  readonly #table4 = new AddressTable(4);
  readonly #table6 = new AddressTable(6);
  readonly #podCidrs: Cidr[] = [];

  constructor(models: readonly ClusterModel[]) {
    for (const model of [...models].reverse()) this.addModel(model);
  }

  /** From now on addresses are those of this model, and of the models before where this one has none. */
  addModel(model: ClusterModel): void {
    for (const pod of model.endpoints) {
      if (!pod.hostNetwork || pod.node === "" || pod.phase === "Succeeded" || pod.phase === "Failed") continue;
      for (const address of pod.addresses) this.#set(address, nodeOwner(pod.node));
    }
    for (const node of model.nodes) {
      for (const address of node.addresses) this.#set(address, nodeOwner(node.name));
      this.#podCidrs.push(...node.podCidrs);
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

  /** The owner's number, or `NOBODY`. */
  numberOf(address: IpAddress): number {
    const [word0 = 0, word1 = 0, word2 = 0, word3 = 0] = address.words;
    return address.family === 4 ? this.#table4.find4(word0, 0) : this.#table6.find6(word0, word1, word2, word3, 0);
  }

  /** `namespace/pod`, `node:NAME`, or the address as text. */
  nameOf(address: IpAddress): string {
    return this.owner(this.numberOf(address))?.name ?? formatAddress(address);
  }

  /** Whether some node hands out addresses of this kind to its pods: then a pod is missing in the manifests. */
  isPodAddress(address: IpAddress): boolean {
    return this.#podCidrs.some((cidr) => cidrContains(cidr, address));
  }

  #set(address: IpAddress, owner: Owner): void {
    const key = `${owner.kind} ${owner.name} ${owner.workload}`;
    let number = this.#numbers.get(key);
    if (number === undefined) {
      number = this.#owners.push(owner) - 1;
      this.#numbers.set(key, number);
    }
    (address.family === 4 ? this.#table4 : this.#table6).set(address.words, 0, number);
  }
}

function nodeOwner(node: string): Owner {
  return { kind: "node", name: `node:${node}`, workload: `node:${node}` };
}
