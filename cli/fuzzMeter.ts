/** The clock and the memory of this thread, for the fuzzer of readers. */
import { getHeapStatistics } from "node:v8";
import type { Meter } from "../verify/fuzz/inputTarget.ts";

export function processMeter(): Meter {
  return { now: () => performance.now(), heapBytes: () => getHeapStatistics().used_heap_size };
}
