/** What a campaign may have of this process: clock and memory, and opponents from outside. */
import { getHeapStatistics } from "node:v8";
import type { Surroundings } from "../verify/fuzz/campaign.ts";
import type { Outsider } from "../verify/fuzz/contest.ts";
import type { Meter } from "../verify/fuzz/inputTarget.ts";
import { KERNEL, kernelOutsider } from "../verify/fuzz/kernelOutsider.ts";
import { COMMAND, commandOutsider } from "./fuzzCommand.ts";

export function processMeter(): Meter {
  return { now: () => performance.now(), heapBytes: () => getHeapStatistics().used_heap_size };
}

export function hire(name: string): Outsider | undefined {
  if (name === KERNEL) return kernelOutsider();
  return name.startsWith(COMMAND) ? commandOutsider(name.slice(COMMAND.length)) : undefined;
}

export const SURROUNDINGS: Surroundings = { meter: processMeter(), hire };
