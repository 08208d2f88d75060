/** `-f STORY`: a scenario folder, a folder of snapshots, or recorded watch events. */
import { loadObjects, resolvePolicies } from "../compiler/compile.ts";
import type { Issue } from "../compiler/issue.ts";
import { parseManifests } from "../compiler/manifest/objects.ts";
import { parseScenario } from "../verify/scenario.ts";
import { STEP_TEXTS, type Story, type StoryState, statesOfScenario, stepTexts, storyOf } from "../verify/story.ts";
import { joinPath, readManifests, readText } from "./input.ts";
import { InvalidInput, UsageError } from "./io.ts";
import { strategyNames } from "./lanes.ts";
import type { Session } from "./session.ts";
import { watchedStates } from "./watch.ts";

const SNAPSHOT = /^step-(\d+)\.(?:ya?ml|json)$/;
const FORMS =
  "a folder of step-0.yaml, step-1.yaml, …, a scenario folder (cluster.yaml and scenario.yaml), or watch events as JSON lines";

/** What a story is read from. */
export type StoryFiles =
  /** Path of watch events, or `-`. */
  | { readonly kind: "watched"; readonly path: string }
  | { readonly kind: "scenario"; readonly cluster: string; readonly scenario: string }
  | {
      readonly kind: "snapshots";
      /** In their order. */
      readonly snapshots: readonly Snapshot[];
      /** Of `steps.txt`; undefined: there is none. */
      readonly texts: string | undefined;
    };

export interface Snapshot {
  readonly path: string;
  readonly number: number;
}

/** Finds the files of the story; of what is in them nothing is known yet. */
export async function storyFiles(session: Session, paths: readonly string[]): Promise<StoryFiles> {
  const [path, ...more] = paths;
  if (path === undefined || more.length > 0) throw new UsageError(`-f takes one story: ${FORMS}`);
  const kind = path === "-" ? "file" : await session.io.kindOf(path);
  if (kind === undefined) throw new UsageError(`${path}: no such file or folder`);
  if (kind === "file") return { kind: "watched", path };
  const entries = await session.io.readdir(path);
  const names = new Set(entries.map(({ name }) => name));
  if (names.has("scenario.yaml"))
    return { kind: "scenario", cluster: joinPath(path, "cluster.yaml"), scenario: joinPath(path, "scenario.yaml") };
  const snapshots = [...names]
    .flatMap((name): readonly Snapshot[] => {
      const number = SNAPSHOT.exec(name)?.[1];
      return number === undefined ? [] : [{ path: joinPath(path, name), number: Number(number) }];
    })
    .toSorted((a, b) => a.number - b.number);
  if (snapshots.length === 0) throw new UsageError(`${path} is no story: want ${FORMS}`);
  const wanted = snapshots.findIndex(({ number }, index) => number !== index);
  const odd = snapshots[wanted];
  if (odd !== undefined) {
    throw new UsageError(`${odd.path}: want step-${wanted} here; steps are numbered from 0 without a gap`);
  }
  const texts = joinPath(path, STEP_TEXTS);
  return { kind: "snapshots", snapshots, texts: (await session.io.kindOf(texts)) === "file" ? texts : undefined };
}

/** Issues go to stderr, and errors among them end the command. */
export async function readStory(session: Session, paths: readonly string[]): Promise<Story> {
  const files = await storyFiles(session, paths);
  switch (files.kind) {
    case "watched":
      return storyOf(await watchedStates(session, files.path));
    case "scenario":
      return storyOf(await scenarioStates(session, files));
    case "snapshots":
      return storyOf(await snapshotStates(session, files));
  }
}

async function snapshotStates(
  session: Session,
  { snapshots, texts: path }: Extract<StoryFiles, { kind: "snapshots" }>,
): Promise<readonly StoryState[]> {
  const texts = path === undefined ? undefined : stepTexts(await readText(session.io, path));
  const states: StoryState[] = [];
  const said = new Set<string>();
  for (const { path: file, number } of snapshots) {
    const parsed = parseManifests(await readManifests(session.io, [file]));
    const { model, issues } = loadObjects(parsed);
    // What is odd in one step is mostly odd in all of them.
    const keyOf = ({ severity, message, path: at }: Issue) => `${severity} ${at} ${message}`;
    await session.report(issues.filter((issue) => issue.severity === "error" || !said.has(keyOf(issue))));
    for (const issue of issues) said.add(keyOf(issue));
    if (model === undefined) throw new InvalidInput();
    states.push({ what: texts?.get(number), cluster: resolvePolicies(model), services: parsed.services });
  }
  return states;
}

async function scenarioStates(
  session: Session,
  { cluster, scenario: steps }: Extract<StoryFiles, { kind: "scenario" }>,
): Promise<readonly StoryState[]> {
  const file = async (name: string) => ({ name, text: await readText(session.io, name) });
  const { scenario, issues } = parseScenario(await file(steps), strategyNames());
  const parsed = parseManifests([await file(cluster)]);
  const loaded = loadObjects(parsed);
  await session.report([...issues, ...loaded.issues]);
  if (scenario === undefined || loaded.model === undefined) throw new InvalidInput();
  const read = statesOfScenario(scenario, parsed, resolvePolicies(loaded.model));
  if (read.kind === "states") return read.states;
  await session.report(read.issues);
  throw new InvalidInput();
}
