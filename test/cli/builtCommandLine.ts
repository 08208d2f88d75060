/** The command line as users have it: built. */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { builtOnce, ROOT } from "../built.ts";

const VITE = join(ROOT, "node_modules", "vite", "bin", "vite.js");

/** Path of `cli/main.js`. */
export function builtCommandLine(): string {
  const folder = builtOnce({
    name: "command-line",
    entry: "cli/main.js",
    within: "cli",
    folders: ["compiler", "dataplane", "reference", "replay", "traffic", "verify", "bench", "format", "cli"],
    source: /\.(?:ts|json|c)$/,
    files: ["vite.cli.config.ts", "tsconfig.json", "package-lock.json"],
    make: (made) =>
      execFileSync(process.execPath, [VITE, "build", "-c", "vite.cli.config.ts", "--logLevel", "error"], {
        cwd: ROOT,
        stdio: "ignore",
        // What vitest sets it to would build for development.
        env: { ...process.env, NODE_ENV: "production", CHAINWALK_CLI_FOLDER: made },
      }),
  });
  const main = join(folder, "main.js");
  if (!existsSync(main)) throw new Error(`the build wrote no ${main}`);
  return main;
}
