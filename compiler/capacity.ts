/**
 * Sets and maps that a cluster fills to the brim. Room is the solution's own: a program that needs more is right and cannot
 * be loaded, which is the user's to know, and better before the last entry than after.
 */
import { entryCountOf } from "../dataplane/maps/tupleEntries.ts";
import type { Program } from "../dataplane/program.ts";

/** What `ipset create` gives a hash that names no maxelem (ip_set_hash_gen.h IPSET_DEFAULT_MAXELEM). */
export const DEFAULT_MAX_ELEMENTS = 65_536;

export interface Filled {
  /** Of the set or map. */
  readonly name: string;
  /** What it is for, in the user's words, where the strategy says so. */
  readonly origin: string | undefined;
  readonly entries: number;
  readonly room: number;
}

/** The sets and maps of which more than that share is filled. The size of a list of sets is no limit: the kernel ignores it. */
export function filledBeyond(program: Program, share: number): readonly Filled[] {
  const filled: Filled[] = [];
  const add = (
    { name, origin }: { readonly name: string; readonly origin?: string },
    entries: number,
    room: number,
  ) => {
    if (entries > share * room) filled.push({ name, origin, entries, room });
  };
  if (program.kind === "maps") for (const map of program.maps) add(map, entryCountOf(map), map.maxEntries);
  else {
    for (const set of program.sets) {
      if (set.type !== "list:set") add(set, set.members.length, set.options.maxElements ?? DEFAULT_MAX_ELEMENTS);
    }
  }
  return filled;
}

export function describeFilled({ name, origin, entries, room }: Filled): string {
  const whose = origin === undefined ? "" : ` (${origin})`;
  return `${name}${whose}: ${entries.toLocaleString("en")} entries, room for ${room.toLocaleString("en")}`;
}

/** The cluster needs more than the solution has room for. */
export class BeyondCapacity extends Error {
  constructor({ strategy, node }: Pick<Program, "strategy" | "node">, filled: readonly Filled[]) {
    super(`${strategy} cannot hold this cluster on ${node}: ${filled.map(describeFilled).join("; ")}`);
    this.name = "BeyondCapacity";
  }
}
