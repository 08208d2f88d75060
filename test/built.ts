/** What is built of the checkout, once for all its sources are: kept in .cache under their hash. */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";

export const ROOT = join(import.meta.dirname, "..");

/** Inside the checkout, where its node_modules and package.json are found; ignored by git. */
const CACHE = join(ROOT, ".cache");

/** Builds kept: one for each checkout state that somebody goes back and forth between. */
const KEPT = 4;

interface Build {
  readonly name: string;
  /** The sources: folders, what in them counts, and files beside them. */
  readonly folders: readonly string[];
  readonly source: RegExp;
  readonly files: readonly string[];
  /** Builds into the folder. */
  make(folder: string): void;
}

/** The folder of the build; it is there for other runs as well, so nobody writes into it. */
export function builtOnce(build: Build): string {
  mkdirSync(CACHE, { recursive: true });
  const folder = join(CACHE, `${build.name}-${hashOfSources(build)}`);
  if (existsSync(folder)) return folder;
  const made = `${folder}.${process.pid}`;
  build.make(made);
  try {
    renameSync(made, folder);
  } catch (error) {
    // Somebody else was faster with the same.
    if (!existsSync(folder)) throw error;
    rmSync(made, { recursive: true });
  }
  forgetOld(build.name);
  return folder;
}

function hashOfSources({ folders, source, files }: Build): string {
  const hash = createHash("sha256");
  const names = folders.flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
      .filter((name) => source.test(name))
      .map((name) => join(folder, name)),
  );
  for (const name of [...names.sort(), ...files]) hash.update(`${name}\0`).update(readFileSync(join(ROOT, name)));
  return hash.digest("hex").slice(0, 16);
}

function forgetOld(name: string): void {
  const age = (build: string) => statSync(join(CACHE, build)).mtimeMs;
  const builds = readdirSync(CACHE)
    .filter((build) => build.startsWith(`${name}-`) && /-[0-9a-f]{16}$/.test(build))
    .sort((a, b) => age(b) - age(a));
  for (const build of builds.slice(KEPT)) rmSync(join(CACHE, build), { recursive: true, force: true });
}

/** `dist/`, where whoever runs the tests says that `npm ci` has just built it of these very sources. */
export const BUILT_ALREADY = process.env.CHAINWALK_BUILT === undefined ? undefined : join(ROOT, "dist");
