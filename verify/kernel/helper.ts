/** C helpers that ask the kernel: found beside the code that drives them, compiled on first use, kept in the user's cache. */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { makeFolder } from "./makeFolder.ts";

/** The build copies it beside the compiled driver, so one rule finds it in `verify/` and in `dist/verify/`. */
const SOURCE = fileURLToPath(new URL("oracle.c", import.meta.url));

const COMPILER = "gcc";
const FLAGS = ["-O2", "-Wall"] as const;

/** The path of the compiled helper of the judge, as `compiledHelper` has it. */
export function helperPath(): string {
  return compiledHelper(SOURCE);
}

/**
 * The path of a compiled helper. The first call on a machine compiles it (0.3 s); its name carries a hash of source and
 * flags, so a new version never meets an old binary. Throws when there is no compiler or it refuses.
 */
export function compiledHelper(file: string): string {
  const source = readFileSync(file);
  const digest = createHash("sha256").update(source).update(FLAGS.join(" ")).digest("hex").slice(0, 16);
  const path = join(cacheFolder(), `${basename(file, ".c")}-${digest}`);
  if (existsSync(path)) return path;
  // Several workers may get here at once: each compiles its own file, the last rename wins, all are the same program.
  const draft = `${path}.${process.pid}`;
  const { status, stderr, error } = spawnSync(COMPILER, [...FLAGS, "-o", draft, file], { encoding: "utf8" });
  if (error !== undefined || status !== 0) {
    rmSync(draft, { force: true });
    throw new Error(`${COMPILER} cannot compile ${file}: ${error?.message ?? stderr.trim()}`);
  }
  renameSync(draft, path);
  return path;
}

/**
 * Where the helper is kept: `$XDG_CACHE_HOME/chainwalk`, `~/.cache/chainwalk`, or a folder of the temporary directory when
 * the home cannot be written. What is there is run as root, so a folder that others may write to is refused.
 */
export function cacheFolder(): string {
  const user = process.getuid?.() ?? 0;
  const home = process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache");
  for (const folder of [join(home, "chainwalk"), join(tmpdir(), `chainwalk-${user}`)]) {
    try {
      makeFolder(folder, 0o700);
      const { uid, mode } = statSync(folder);
      if (uid === user && (mode & 0o022) === 0) return folder;
    } catch {
      // not writable: the next place
    }
  }
  throw new Error(`no cache folder of our own: neither in ${home} nor in ${tmpdir()}`);
}
