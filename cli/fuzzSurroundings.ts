/** What a campaign may have of this process: clock and memory, and opponents from outside. */
import { readFileSync } from "node:fs";
import { getHeapStatistics } from "node:v8";
import type { Surroundings } from "../verify/fuzz/campaign.ts";
import type { Outsider } from "../verify/fuzz/contest.ts";
import type { Meter } from "../verify/fuzz/inputTarget.ts";
import { KERNEL, kernelOutsider } from "../verify/fuzz/kernelOutsider.ts";
import { COMMAND, commandOutsider } from "./fuzzCommand.ts";

export function processMeter(): Meter {
  return { now: clock(), heapBytes: () => getHeapStatistics().used_heap_size };
}

/** Linux tells each thread the nanoseconds that it was on a processor (the first number). */
const OWN_TIME = "/proc/thread-self/schedstat";

/** Processor time of this thread, so that neither other jobs nor other people make a reader look slow; else wall time. */
function clock(): () => number {
  try {
    ownMs();
    return ownMs;
  } catch {
    return () => performance.now();
  }
}

function ownMs(): number {
  return Number.parseInt(readFileSync(OWN_TIME, "latin1"), 10) / 1e6;
}

export function hire(name: string): Outsider | undefined {
  if (name === KERNEL) return kernelOutsider();
  return name.startsWith(COMMAND) ? commandOutsider(name.slice(COMMAND.length)) : undefined;
}

export const SURROUNDINGS: Surroundings = { meter: processMeter(), hire };
