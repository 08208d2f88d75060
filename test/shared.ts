/**
 * The facts folder beside the checkout (`../shared`): dumps of real solutions and conformance tables. A clone without it
 * skips what reads it, in one line; CI must have it.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";

const SHARED = join(import.meta.dirname, "..", "..", "shared");

const present = existsSync(join(SHARED, "dumps"));

if (!present && process.env.CI) throw new Error(`CI needs the facts folder at ${SHARED}`);
if (!present) console.warn(`skipped: tests that read ${SHARED}, which is not there`);

/** Whether tests that read `../shared` can run; use as `describe.runIf(hasShared)`. */
export const hasShared = present;

/** A path inside `../shared`. */
export function sharedPath(...parts: readonly string[]): string {
  return join(SHARED, ...parts);
}
