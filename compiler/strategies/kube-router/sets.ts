/** The sets of one family as a sync fills them (pkg/utils/ipset.go). */
import type { Family } from "../../../dataplane/address.ts";
import type { IPSet, IPSetMember } from "../../../dataplane/program.ts";

/** OptionTimeout of every set and member: permanent, in a set that knows timeouts. */
const OPTIONS = { timeoutSeconds: 0 } as const;

export interface SetContents {
  readonly type: "hash:ip" | "hash:net";
  readonly members: readonly IPSetMember[];
  readonly origin?: string;
}

/**
 * Sets by name. Where two things hash to one name the first fixes the type and the last the members, as `RefreshSet`
 * has it.
 */
export class SetStore {
  readonly #family: Family;
  readonly #sets = new Map<string, IPSet>();

  constructor(family: Family) {
    this.#family = family;
  }

  refresh(name: string, { type, members, origin }: SetContents): void {
    this.#sets.set(name, {
      name,
      type: this.#sets.get(name)?.type ?? type,
      family: this.#family,
      members,
      options: OPTIONS,
      ...(origin !== undefined && { origin }),
    });
  }

  /** In the order of `ipset restore`: by name. */
  list(): readonly IPSet[] {
    return [...this.#sets.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }
}
