/** The command line as users have it: built, in a folder of its own, so that tests do not depend on what `dist/` holds. */
import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";

export const ROOT = join(import.meta.dirname, "..", "..");

/** Inside the checkout, where its node_modules and package.json are found; ignored by git. */
const CACHE = join(ROOT, ".cache");

export interface BuiltCommandLine {
  /** Path of `cli/main.js`. */
  readonly main: string;
  /** Takes the build away again. */
  remove(): void;
}

/** Builds into a new folder; whoever asks removes it. */
export function buildCommandLine(): BuiltCommandLine {
  mkdirSync(CACHE, { recursive: true });
  const dist = mkdtempSync(join(CACHE, "chainwalk-"));
  const tsc = join(ROOT, "node_modules", "typescript", "bin", "tsc");
  // Types are checked elsewhere; what matters here is that the code was written.
  execFileSync(process.execPath, [tsc, "-p", "tsconfig.build.json", "--noCheck", "--outDir", dist], {
    cwd: ROOT,
    stdio: "ignore",
  });
  // As the build of package.json does it.
  for (const source of ["verify/kernel/oracle.c", "verify/bpf/bpf.c"]) {
    mkdirSync(join(dist, dirname(source)), { recursive: true });
    copyFileSync(join(ROOT, source), join(dist, source));
  }
  const main = join(dist, "cli", "main.js");
  if (!existsSync(main)) throw new Error(`tsc wrote no ${main}`);
  return { main, remove: () => rmSync(dist, { recursive: true, force: true }) };
}
