/** The command line as users have it: built. */
import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { builtOnce, ROOT } from "../built.ts";

const TSC = join(ROOT, "node_modules", "typescript", "bin", "tsc");

/** Beside what is compiled, as the build of package.json has it. */
const COPIED = ["verify/kernel/oracle.c", "verify/bpf/bpf.c"] as const;

/** Path of `cli/main.js`. */
export function builtCommandLine(): string {
  const dist = builtOnce({
    name: "command-line",
    entry: "cli/main.js",
    within: ".",
    folders: ["compiler", "dataplane", "reference", "replay", "traffic", "verify", "bench", "format", "cli"],
    source: /\.(?:ts|json|c)$/,
    files: ["tsconfig.json", "tsconfig.build.json", "package-lock.json"],
    make,
  });
  const main = join(dist, "cli", "main.js");
  if (!existsSync(main)) throw new Error(`the build wrote no ${main}`);
  return main;
}

function make(folder: string): void {
  // Types are checked elsewhere; what matters here is that the code was written.
  execFileSync(process.execPath, [TSC, "-p", "tsconfig.build.json", "--noCheck", "--outDir", folder], {
    cwd: ROOT,
    stdio: "ignore",
  });
  for (const source of COPIED) {
    mkdirSync(join(folder, dirname(source)), { recursive: true });
    copyFileSync(join(ROOT, source), join(folder, source));
  }
}
