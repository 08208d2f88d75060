/** What one write into the kernel's own maps takes: a key that comes, and one that goes. */
import { KernelMaps } from "../../verify/bpf/kernelMaps.ts";
import type { Coefficient } from "../model/profile.ts";
import { mapWriteCost } from "../model/updateCost.ts";
import { entryOf, KINDS } from "./mapLookups.ts";
import { UpdateCosts } from "./updateCosts.ts";

/** Entries that a map grows to and shrinks from again; their writes are taken together. */
const WRITES = 4_096;
/** Measurements of each kind of map. */
const PASSES = 15;

export const MAP_WRITE_MEASUREMENTS = PASSES;

/**
 * Of the thread that writes, system call by system call, as an agent does; what the agent itself does in between is not in
 * it. `proceed` is called after each pass; false: what is there is the answer.
 */
export async function measureMapWrites(
  proceed: () => Promise<boolean>,
): Promise<Readonly<Record<string, Coefficient>>> {
  const costs = new UpdateCosts();
  const kernel = new KernelMaps();
  try {
    for (let pass = 0; pass < PASSES; pass++) {
      for (const kind of Object.values(KINDS)) {
        const { type, keyBytes, valueBytes } = kind;
        const entries = Array.from({ length: WRITES }, (_, number) => entryOf(kind, number));
        const map = await kernel.create({ type, keyBytes, valueBytes, maxEntries: WRITES });
        costs.note(mapWriteCost("update", type), (await kernel.timeWrites(map, "update", entries)) / WRITES);
        costs.note(mapWriteCost("delete", type), (await kernel.timeWrites(map, "delete", entries)) / WRITES);
        await kernel.release(map.fd);
      }
      if (!(await proceed())) break;
    }
    return costs.coefficients();
  } finally {
    await kernel.close();
  }
}
