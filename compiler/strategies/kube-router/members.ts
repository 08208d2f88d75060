/** Addresses of pods as members of sets. */
import { type Family, hostCidr, type IpAddress } from "../../../dataplane/address.ts";
import type { IPSetMember } from "../../../dataplane/program.ts";
import { rememberedBy } from "../../again.ts";
import type { Endpoint } from "../../model.ts";

type PodList = readonly Endpoint[];
type Members = readonly IPSetMember[];

/** Kept as long as the pods and their lists live, so that states which share them share members. */
interface FamilyMembers {
  readonly byPod: WeakMap<Endpoint, Members>;
  readonly all: WeakMap<PodList, Members>;
  readonly firsts: WeakMap<PodList, Members>;
}

const nothingKnown = (): FamilyMembers => ({ byPod: new WeakMap(), all: new WeakMap(), firsts: new WeakMap() });
const KNOWN = { 4: nothingKnown(), 6: nothingKnown() } as const satisfies Record<Family, FamilyMembers>;

/**
 * Policies are many and choose from few lists of pods: a cluster of 500 policies over 1,000 pods has half a million
 * members. Equal selections arrive as one array (resolve.ts), so each array of members is made once, from members that
 * are made once for each pod, and later stages can tell by identity what they have seen.
 */
export class MemberLists {
  readonly #family: Family;
  readonly #known: FamilyMembers;

  constructor(family: Family) {
    this.#family = family;
    this.#known = KNOWN[family];
  }

  /** Every address of each pod. */
  all(pods: PodList): readonly IPSetMember[] {
    const [pod] = pods;
    if (pods.length === 1 && pod !== undefined) return this.#membersOf(pod);
    return rememberedBy(this.#known.all, pods, () => {
      const members: IPSetMember[] = [];
      for (const each of pods) for (const member of this.#membersOf(each)) members.push(member);
      return members;
    });
  }

  /** The first address of each pod in any of the lists, once: `getIPsFromPods`. */
  firsts(lists: readonly PodList[]): readonly IPSetMember[] {
    const pods = this.#union(lists);
    const [pod] = pods;
    const own = pods.length === 1 && pod !== undefined ? this.#membersOf(pod) : undefined;
    if (own !== undefined && own.length <= 1) return own;
    return rememberedBy(this.#known.firsts, pods, () => this.#firstsOf(pods));
  }

  #firstsOf(pods: PodList): readonly IPSetMember[] {
    const members: IPSetMember[] = [];
    for (const each of pods) {
      const [first] = this.#membersOf(each);
      if (first !== undefined) members.push(first);
    }
    return members;
  }

  #membersOf(pod: Endpoint): readonly IPSetMember[] {
    return rememberedBy(this.#known.byPod, pod, () =>
      pod.addresses.filter(({ family }) => family === this.#family).map(memberOf),
    );
  }

  #union(lists: readonly PodList[]): PodList {
    const [single] = lists;
    if (lists.length === 1 && single !== undefined) return single;
    const [longest = [], ...others] = [...new Set(lists)].sort((a, b) => b.length - a.length);
    if (others.every((list) => list.length === 0)) return longest;
    let known = UNIONS;
    for (const list of lists) known = rememberedBy(known.behind, list, noUnion);
    if (known.pods === undefined) {
      const pods = new Set<Endpoint>();
      for (const list of lists) for (const each of list) pods.add(each);
      known.pods = pods.size === longest.length ? longest : [...pods];
    }
    return known.pods;
  }
}

function memberOf(address: IpAddress): IPSetMember {
  const member: IPSetMember = { kind: "net", cidr: hostCidr(address) };
  OF_PODS.add(member);
  return member;
}

const OF_PODS = new WeakSet<IPSetMember>();

/** Whether it is the address of a pod, which is written without a length; a block that is one address has its length. */
export function isOfPod(member: IPSetMember): boolean {
  return OF_PODS.has(member);
}

/** Of some lists in order, and behind it those of these lists and one more. */
interface Union {
  pods: PodList | undefined;
  readonly behind: WeakMap<PodList, Union>;
}

const noUnion = (): Union => ({ pods: undefined, behind: new WeakMap() });
const UNIONS = noUnion();
