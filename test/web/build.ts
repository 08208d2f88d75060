/** The page as vite builds it, once for everything it is made of. */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { builtOnce, ROOT } from "../built.ts";
import { isWhole } from "../extent.ts";

const VITE = join(ROOT, "node_modules", "vite", "bin", "vite.js");

/** Best compression takes most of the time of a build. */
const QUICK = { CHAINWALK_PAGE_QUALITY: "1" };

/** The folder of the build. */
export function builtPage(): string {
  return builtOnce({
    name: isWhole ? "page" : "quickPage",
    entry: "page/index.html",
    within: "page",
    // What the page may import (docs/architecture.md), and what says how it is built.
    folders: [
      "bench",
      "compiler",
      "dataplane",
      "format",
      "reference",
      "replay",
      "scenarios",
      "traffic",
      "verify",
      "web",
    ],
    source: /\.(?:tsx?|css|html|json|yaml)$/,
    files: ["vite.config.ts", "tsconfig.json", "package-lock.json"],
    make: (folder) =>
      execFileSync(process.execPath, [VITE, "build", "--logLevel", "error"], {
        cwd: ROOT,
        stdio: "ignore",
        // What vitest sets it to would build for development.
        env: { ...process.env, NODE_ENV: "production", CHAINWALK_PAGE_FOLDER: folder, ...(!isWhole && QUICK) },
      }),
  });
}
