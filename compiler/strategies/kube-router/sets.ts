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

export interface NamedContents extends SetContents {
  readonly name: string;
}

/**
 * The sets of all policies in the order of their visits. Where two things hash to one name the first fixes the type and the
 * last the members, as `RefreshSet` has it. In the order of `ipset restore`: by name.
 */
export function setsOf(contents: Iterable<NamedContents>, family: Family): readonly IPSet[] {
  const last = new Map<string, NamedContents>();
  for (const one of contents) last.set(one.name, { ...one, type: last.get(one.name)?.type ?? one.type });
  return [...last.values()].map((one) => setOf(one, family)).sort(bySetName);
}

export function setOf({ name, type, members, origin }: NamedContents, family: Family): IPSet {
  return { name, type, family, members, options: OPTIONS, ...(origin !== undefined && { origin }) };
}

export function bySetName(a: IPSet, b: IPSet): number {
  return a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
}
