/** The sets of one family as a sync fills them (pkg/utils/ipset.go). */
import type { Family } from "../../../dataplane/address.ts";
import type { IPSet, IPSetMember } from "../../../dataplane/program.ts";
import { ofType, type Writes, writtenAs } from "./written.ts";

/** OptionTimeout of every set and member: permanent, in a set that knows timeouts. */
const OPTIONS = { timeoutSeconds: 0 } as const;

export interface SetContents {
  readonly type: "hash:ip" | "hash:net";
  readonly members: readonly IPSetMember[];
  readonly origin?: string;
  /** What is written of them, if not each once. */
  readonly writes?: Writes | undefined;
}

/**
 * The sets of a policy, or of several in the order of their visits. Where two things hash to one name the first fixes the
 * type and the last the members, as `RefreshSet` has it.
 */
export class SetStore {
  readonly #family: Family;
  readonly #sets = new Map<string, IPSet>();

  constructor(family: Family) {
    this.#family = family;
  }

  refresh(name: string, { type, members, origin, writes }: SetContents): void {
    const family = this.#family;
    const set: IPSet =
      origin === undefined
        ? { name, type, family, members, options: OPTIONS }
        : { name, type, family, members, options: OPTIONS, origin };
    this.put(writes === undefined ? set : writtenAs(set, writes));
  }

  put(set: IPSet): void {
    this.#sets.set(set.name, ofType(set, this.#sets.get(set.name)?.type ?? set.type));
  }

  get sets(): readonly IPSet[] {
    return [...this.#sets.values()];
  }
}

/** What tells names apart early, as a number in their order: which side a set is about, and 35 bits of the hash. */
export function setNameRank({ name, family }: IPSet): number {
  const start = family === 4 ? 5 : 11;
  let rank = name.charCodeAt(start);
  for (let at = start + 4; at < start + 10; at++) rank = rank * 128 + name.charCodeAt(at);
  return rank;
}

/** The order of `ipset restore`. */
export function bySetName(a: IPSet, b: IPSet): number {
  return a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
}
