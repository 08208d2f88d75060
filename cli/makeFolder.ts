import { mkdir, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";

/**
 * Makes a folder and those above it that are missing. Not by `recursive` of `mkdir`: where a folder is there and can have
 * none (as /proc), that asks for ever, since the system says of each attempt that the folder above is missing.
 */
export async function makeFolder(path: string): Promise<void> {
  const missing: string[] = [];
  let folder = resolve(path);
  while (!(await isThere(folder))) {
    missing.unshift(folder);
    folder = dirname(folder);
  }
  for (const one of missing) await mkdir(one).catch(unlessThere);
}

/** Whatever is there; if it is no folder, what is made in it says so. */
async function isThere(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return false;
    throw error;
  }
}

/** Somebody else has made it meanwhile, a thread of ours perhaps. */
function unlessThere(error: unknown): void {
  if (codeOf(error) !== "EEXIST") throw error;
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}
