/** How much memory something holds. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** The garbage collector as a function, without asking for a flag of Node's on the command line. */
function collector(): () => void {
  setFlagsFromString("--expose-gc");
  const found: unknown = runInNewContext("gc");
  if (typeof found !== "function") throw new Error("this Node has no gc()");
  return () => found();
}

/** Bytes that what `make` returns keeps alive, array buffers included. */
export function retainedBytes(make: () => unknown): number {
  const collect = collector();
  collect();
  const before = liveBytes();
  const kept = make();
  collect();
  const bytes = liveBytes() - before;
  // Read after the measurement, or the optimiser may let go of it before.
  if (kept === undefined) throw new Error("nothing was made");
  return bytes;
}

function liveBytes(): number {
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}
