/**
 * What differs between two programs of one node. Whatever is the same object in both is skipped, so that the work is in
 * what changed and in counting what did not, not in reading it.
 */
import type { Chain, IPSet, IPSetMember, MapEntry, MapSpec, Table } from "../../dataplane/program.ts";
import { itemsAt, middleOf, placesOf } from "../again.ts";
import { entryKey } from "../import/ipsetEntry.ts";
import { keyText } from "./nodeState.ts";

export interface SetChange {
  /** As it is to be. */
  readonly set: IPSet;
  readonly added: readonly IPSetMember[];
  readonly removed: readonly IPSetMember[];
}

export interface SetDifference {
  readonly created: readonly IPSet[];
  /** Sets with other members; in the order of the program after. */
  readonly changed: readonly SetChange[];
  readonly removed: readonly IPSet[];
}

export function setDifference(before: readonly IPSet[], after: readonly IPSet[]): SetDifference {
  const known = new Map(before.map((set) => [set.name, set]));
  const created: IPSet[] = [];
  const changed: SetChange[] = [];
  for (const set of after) {
    const old = known.get(set.name);
    known.delete(set.name);
    if (old === set) continue;
    if (old === undefined || old.type !== set.type) created.push(set);
    else {
      const { added, removed } = listDifference(old.members, set.members, { keyOf: memberKey, isSame: isSameMember });
      if (added.length > 0 || removed.length > 0) changed.push({ set, added, removed });
    }
  }
  return { created, changed, removed: [...known.values()] };
}

/** Two members are one only with one meaning: `nomatch` and the comment count. */
function memberKey(member: IPSetMember): string {
  const nomatch = member.kind !== "set" && member.nomatch === true ? "!" : "";
  return `${entryKey(member)}${nomatch} ${member.comment ?? ""}`;
}

interface ListDifference<T> {
  readonly added: readonly T[];
  readonly removed: readonly T[];
}

interface Comparing<T> {
  keyOf(item: T): string;
  /** Whether keys and meaning are equal, found without making keys. */
  isSame(before: T, after: T): boolean;
}

function isSameMember(before: IPSetMember, after: IPSetMember): boolean {
  if (before.kind === "set" || after.kind === "set") return memberKey(before) === memberKey(after);
  const [a, b] = [before.cidr, after.cidr];
  return (
    before.kind === after.kind &&
    a.prefixLength === b.prefixLength &&
    a.words.length === b.words.length &&
    a.words.every((word, index) => word === b.words[index]) &&
    before.nomatch === after.nomatch &&
    before.comment === after.comment &&
    (before.kind === "net" ||
      after.kind === "net" ||
      (before.port === after.port && before.protocol === after.protocol))
  );
}

/**
 * Lists as sets. What is equal at both ends is passed over first: lists of pods change in one place, and comparing 10,000
 * pointers takes some microseconds, comparing as many entries byte by byte less than a millisecond, where making 10,000
 * keys takes ten.
 */
function listDifference<T>(
  before: readonly T[],
  after: readonly T[],
  { keyOf, isSame }: Comparing<T>,
): ListDifference<T> {
  if (before === after) return { added: [], removed: [] };
  const places = placesOf(before, after);
  if (places.length > 1) {
    return differenceOf({ before: itemsAt(before, places, "before"), after: itemsAt(after, places, "after") }, keyOf);
  }
  const alike = (old: T | undefined, now: T | undefined) =>
    old === now || (old !== undefined && now !== undefined && isSame(old, now));
  const middle = middleOf(before, after);
  let { start } = middle;
  while (start < before.length && start < after.length && alike(before[start], after[start])) start++;
  let ends = Math.min(before.length - middle.beforeEnd, before.length - start, after.length - start);
  const most = Math.min(before.length, after.length) - start;
  while (ends < most && alike(before[before.length - 1 - ends], after[after.length - 1 - ends])) ends++;
  return differenceOf(
    { before: before.slice(start, before.length - ends), after: after.slice(start, after.length - ends) },
    keyOf,
  );
}

function differenceOf<T>(
  { before: old, after: now }: { readonly before: readonly T[]; readonly after: readonly T[] },
  keyOf: (item: T) => string,
): ListDifference<T> {
  if (old.length === 0 || now.length === 0) return { added: now, removed: old };
  const left = new Map(old.map((item) => [keyOf(item), item]));
  const added: T[] = [];
  for (const item of now) if (!left.delete(keyOf(item))) added.push(item);
  return { added, removed: [...left.values()] };
}

export interface ChainDifference {
  readonly created: readonly Chain[];
  readonly changed: readonly { readonly before: Chain; readonly after: Chain }[];
  readonly removed: readonly Chain[];
}

/** `isSame` may decide by less than all rules: Calico's last hash stands for the whole chain. */
export function chainDifference(
  before: Table | undefined,
  after: Table,
  isSame: (before: Chain, after: Chain) => boolean,
): ChainDifference {
  if (before === after) return { created: [], changed: [], removed: [] };
  const known = new Map((before?.chains ?? []).map((chain) => [chain.name, chain]));
  const created: Chain[] = [];
  const changed: { before: Chain; after: Chain }[] = [];
  for (const chain of after.chains) {
    const old = known.get(chain.name);
    known.delete(chain.name);
    if (old === undefined) created.push(chain);
    else if (old !== chain && !isSame(old, chain)) changed.push({ before: old, after: chain });
  }
  return { created, changed, removed: [...known.values()] };
}

export interface MapChange {
  readonly map: MapSpec;
  /** New keys, and keys with another value. */
  readonly updated: readonly MapEntry[];
  readonly deleted: readonly MapEntry[];
}

export function mapChange(before: MapSpec, after: MapSpec): MapChange {
  if (before === after) return { map: after, updated: [], deleted: [] };
  const { added, removed } = listDifference(before.entries, after.entries, {
    keyOf: ({ key, value }) => `${keyText(key)} ${keyText(value)}`,
    isSame: (a, b) => sameBytes(a.key, b.key) && sameBytes(a.value, b.value),
  });
  const rewritten = new Set(added.map(({ key }) => keyText(key)));
  return { map: after, updated: added, deleted: removed.filter(({ key }) => !rewritten.has(keyText(key))) };
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let index = a.length - 1; index >= 0; index--) if (a[index] !== b[index]) return false;
  return true;
}
