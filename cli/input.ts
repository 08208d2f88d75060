/** Manifests from files, folders and standard input. */
import { loadObjects } from "../compiler/compile.ts";
import { type ParsedObject, parseManifests } from "../compiler/manifest/objects.ts";
import type { ManifestFile } from "../compiler/manifest/parse.ts";
import type { ClusterModel } from "../compiler/model.ts";
import { InvalidInput, type Io, textOf, UsageError } from "./io.ts";
import type { Session } from "./session.ts";

/** As kubectl reads a folder. */
const MANIFEST_EXTENSION = /\.(?:ya?ml|json)$/;

/** The steps of a scenario stand beside its cluster; they are no manifests. */
const SCENARIO_FILE = /^scenario\.ya?ml$/;

/** Every manifest that the `-f` flags name, in a stable order. */
export async function readManifests(io: Io, paths: readonly string[]): Promise<readonly ManifestFile[]> {
  if (paths.length === 0) throw new UsageError("no manifests: name them with -f FILE, -f DIR or -f -");
  const files: ManifestFile[] = [];
  for (const path of paths) files.push(...(await readPath(io, path)));
  return files;
}

/** What standard input said: it can be read once, and the page asks for manifests again. */
const STREAMED = new WeakMap<Io, Promise<string>>();

function streamed(io: Io): Promise<string> {
  const text = STREAMED.get(io) ?? textOf(io.stdin);
  STREAMED.set(io, text);
  return text;
}

async function readPath(io: Io, path: string): Promise<readonly ManifestFile[]> {
  if (path === "-") return [{ name: "-", text: await wholeText(io, "-", () => streamed(io)) }];
  const kind = await io.kindOf(path);
  if (kind === undefined) throw new UsageError(`${path}: no such file or folder`);
  if (kind === "file") return [{ name: path, text: await readText(io, path) }];
  const found = await manifestPaths(io, path);
  if (found.length === 0) throw new UsageError(`${path}: no manifests in this folder (.yaml, .yml and .json are read)`);
  return Promise.all(found.map(async (name) => ({ name, text: await readText(io, name) })));
}

async function manifestPaths(io: Io, folder: string): Promise<readonly string[]> {
  const entries = [...(await io.readdir(folder))].sort((a, b) => (a.name < b.name ? -1 : 1));
  const paths: string[] = [];
  for (const entry of entries) {
    const path = joinPath(folder, entry.name);
    if (entry.kind === "folder") paths.push(...(await manifestPaths(io, path)));
    else if (MANIFEST_EXTENSION.test(entry.name) && !SCENARIO_FILE.test(entry.name)) paths.push(path);
  }
  return paths;
}

export function joinPath(folder: string, name: string): string {
  return folder.endsWith("/") ? `${folder}${name}` : `${folder}/${name}`;
}

/** A file's text. What the system says when it cannot be read is the user's business, not a crash. */
export function readText(io: Io, path: string): Promise<string> {
  return wholeText(io, path, () => io.readFile(path));
}

async function wholeText({ interrupted }: Io, path: string, read: () => Promise<string>): Promise<string> {
  const wasInterrupted = interrupted.aborted;
  let text: string;
  try {
    text = await read();
  } catch (error) {
    throw new UsageError(`${path}: ${error instanceof Error ? error.message : String(error)}`);
  }
  // A pipe ends where Ctrl-C cut it, and half of a manifest is none.
  if (interrupted.aborted && !wasInterrupted) throw new UsageError(`${path}: interrupted while it was read`);
  return text;
}

export interface LoadedInput {
  readonly model: ClusterModel;
  /** What the model is made of, for scenarios that change it. */
  readonly objects: readonly ParsedObject[];
}

/** Reads, parses, defaults and validates; issues go to stderr, and errors among them end the command. */
export async function loadInput(session: Session, paths: readonly string[]): Promise<LoadedInput> {
  const parsed = parseManifests(await readManifests(session.io, paths));
  const { model, issues, skipped } = loadObjects(parsed);
  await session.report(issues);
  if (model === undefined) throw new InvalidInput();
  if (skipped.size > 0) await session.note(skippedText(skipped));
  return { model, objects: parsed.objects };
}

/** As `loadInput`, for who needs the model alone. */
export async function loadModel(session: Session, paths: readonly string[]): Promise<ClusterModel> {
  return (await loadInput(session, paths)).model;
}

/** `skipped 3 objects of other kinds: v1 Service 2, apps/v1 Deployment 1`. */
export function skippedText(skipped: ReadonlyMap<string, number>): string {
  const count = [...skipped.values()].reduce((sum, each) => sum + each, 0);
  const kinds = [...skipped].map(([kind, each]) => `${kind} ${each}`).join(", ");
  return `skipped ${count} ${count === 1 ? "object" : "objects"} of other kinds: ${kinds}`;
}
