/**
 * What kube-router writes where the kernel keeps less of it: a pod that two peers of a rule select is added twice, as is a
 * prefix that two blocks name, and a port that ends where it starts is a range of one.
 */
import type { IPSet, IPSetMember, Match } from "../../../dataplane/program.ts";

/** In the order in which they are added; what is asked for when a restore is written. */
export type Writes = () => readonly IPSetMember[];

const WRITES = new WeakMap<IPSet, Writes>();

export function writtenAs(set: IPSet, writes: Writes): IPSet {
  WRITES.set(set, writes);
  return set;
}

export function membersWritten(set: IPSet): readonly IPSetMember[] {
  return WRITES.get(set)?.() ?? set.members;
}

/** The same set as another type, written as before. */
export function ofType(set: IPSet, type: IPSet["type"]): IPSet {
  if (set.type === type) return set;
  const other = { ...set, type };
  const writes = WRITES.get(set);
  return writes === undefined ? other : writtenAs(other, writes);
}

const RANGES = new WeakSet<Match>();

/** The match, written with its last port too, even if that is its first. */
export function asRange(match: Match): Match {
  const own = { ...match };
  RANGES.add(own);
  return own;
}

export function isRange(match: Match): boolean {
  return RANGES.has(match);
}
