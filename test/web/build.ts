/** The page as vite builds it, once for everything it is made of: kept in .cache under the hash of its sources. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../cli/builtCommandLine.ts";

/** Ignored by git. */
const CACHE = join(ROOT, ".cache");
const VITE = join(ROOT, "node_modules", "vite", "bin", "vite.js");

/** What the page may import (docs/architecture.md), and what says how it is built. */
const FOLDERS = [
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
] as const;
const FILES = ["vite.config.ts", "tsconfig.json", "package-lock.json"] as const;
const SOURCE = /\.(?:tsx?|css|html|json|yaml)$/;

/** Builds kept: one for each checkout state that somebody goes back and forth between. */
const KEPT = 4;

/** The folder of the build; it is there for other runs as well, so nobody writes into it. */
export function builtPage(): string {
  mkdirSync(CACHE, { recursive: true });
  const folder = join(CACHE, `page-${hashOfSources()}`);
  if (existsSync(folder)) return folder;
  const made = `${folder}.${process.pid}`;
  execFileSync(process.execPath, [VITE, "build", "--logLevel", "error"], {
    cwd: ROOT,
    stdio: "ignore",
    // What vitest sets it to would build for development.
    env: { ...process.env, NODE_ENV: "production", CHAINWALK_PAGE_FOLDER: made },
  });
  try {
    renameSync(made, folder);
  } catch (error) {
    // Somebody else was faster with the same.
    if (!existsSync(folder)) throw error;
    rmSync(made, { recursive: true });
  }
  forgetOld();
  return folder;
}

function hashOfSources(): string {
  const hash = createHash("sha256");
  const names = FOLDERS.flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
      .filter((name) => SOURCE.test(name))
      .map((name) => join(folder, name)),
  );
  for (const name of [...names.sort(), ...FILES]) hash.update(`${name}\0`).update(readFileSync(join(ROOT, name)));
  return hash.digest("hex").slice(0, 16);
}

function forgetOld(): void {
  const age = (name: string) => statSync(join(CACHE, name)).mtimeMs;
  const builds = readdirSync(CACHE)
    .filter((name) => /^page-[0-9a-f]{16}$/.test(name))
    .sort((a, b) => age(b) - age(a));
  for (const name of builds.slice(KEPT)) rmSync(join(CACHE, name), { recursive: true, force: true });
}
