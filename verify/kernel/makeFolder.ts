import { mkdirSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";

/**
 * Makes a folder and those above it that are missing. Not by `recursive` of `mkdir`: where a folder is there and can have
 * none (as /proc), that asks for ever, since the system says of each attempt that the folder above is missing.
 */
export function makeFolder(path: string, mode = 0o777): void {
  const missing: string[] = [];
  let folder = resolve(path);
  while (!isThere(folder)) {
    missing.unshift(folder);
    folder = dirname(folder);
  }
  for (const one of missing) makeOne(one, mode);
}

function makeOne(folder: string, mode: number): void {
  try {
    mkdirSync(folder, { mode });
  } catch (error) {
    // Somebody else has made it meanwhile, a thread of ours perhaps.
    if (codeOf(error) !== "EEXIST") throw error;
  }
}

/** Whatever is there; if it is no folder, what is made in it says so. */
function isThere(path: string): boolean {
  try {
    statSync(path);
    return true;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return false;
    throw error;
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}
