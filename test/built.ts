/**
 * What is built of the checkout: what `npm run build` made, which `npm ci` runs, as long as it is younger than all its sources;
 * otherwise built once for all that the sources are, and kept in .cache under their hash.
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";

export const ROOT = join(import.meta.dirname, "..");

/** Inside the checkout, where its node_modules and package.json are found; ignored by git. */
const CACHE = join(ROOT, ".cache");

/** What `npm run build` writes, and `npm ci` with it. */
const DIST = join(ROOT, "dist");

/** Builds kept: one for each checkout state that somebody goes back and forth between. */
const KEPT = 4;

interface Build {
  readonly name: string;
  /** In `dist/`, where `npm run build` puts it: what is run or opened of it, and the folder that is the whole. */
  readonly entry: string;
  readonly within: string;
  /** The sources: folders, what in them counts, and files beside them. */
  readonly folders: readonly string[];
  readonly source: RegExp;
  readonly files: readonly string[];
  /** Builds into the folder. */
  make(folder: string): void;
}

/** The folder of the build; it is there for other runs as well, so nobody writes into it. */
export function builtOnce(build: Build): string {
  if (isYoungest(join(DIST, build.entry), build)) return join(DIST, build.within);
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

/** As make(1) has it. Folders count: the time of one is when something was last added to it or taken away. */
function isYoungest(made: string, build: Build): boolean {
  if (!existsSync(made)) return false;
  const { mtimeMs } = statSync(made);
  const isOlder = (name: string) => statSync(join(ROOT, name)).mtimeMs < mtimeMs;
  return [...namesIn(build), ...build.folders, ...build.files].every(isOlder);
}

function hashOfSources(build: Build): string {
  const hash = createHash("sha256");
  const names = namesIn(build).filter((name) => build.source.test(name));
  for (const name of [...names.sort(), ...build.files]) hash.update(`${name}\0`).update(readFileSync(join(ROOT, name)));
  return hash.digest("hex").slice(0, 16);
}

/** All files and folders below the folders of the sources. */
function namesIn({ folders }: Build): readonly string[] {
  return folders.flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" }).map((name) => join(folder, name)),
  );
}

function forgetOld(name: string): void {
  const age = (build: string) => statSync(join(CACHE, build)).mtimeMs;
  const builds = readdirSync(CACHE)
    .filter((build) => build.startsWith(`${name}-`) && /-[0-9a-f]{16}$/.test(build))
    .sort((a, b) => age(b) - age(a));
  for (const build of builds.slice(KEPT)) rmSync(join(CACHE, build), { recursive: true, force: true });
}
