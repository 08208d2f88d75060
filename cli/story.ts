/** `-f STORY`: a scenario folder, a folder of snapshots, or recorded watch events. */
import { loadCluster, loadObjects, resolvePolicies } from "../compiler/compile.ts";
import type { Issue } from "../compiler/issue.ts";
import { parseManifests } from "../compiler/manifest/objects.ts";
import { parseScenario } from "../verify/scenario.ts";
import { type Story, type StoryState, statesOfScenario, storyOf } from "../verify/story.ts";
import { joinPath, readManifests, readText } from "./input.ts";
import { InvalidInput, UsageError } from "./io.ts";
import { strategyNames } from "./lanes.ts";
import type { Session } from "./session.ts";
import { watchedStates } from "./watch.ts";

const SNAPSHOT = /^step-(\d+)\.(?:ya?ml|json)$/;
const FORMS =
  "a folder of step-0.yaml, step-1.yaml, …, a scenario folder (cluster.yaml and scenario.yaml), or watch events as JSON lines";

/** Issues go to stderr, and errors among them end the command. */
export async function readStory(session: Session, paths: readonly string[]): Promise<Story> {
  const [path, ...more] = paths;
  if (path === undefined || more.length > 0) throw new UsageError(`-f takes one story: ${FORMS}`);
  const kind = path === "-" ? "file" : await session.io.kindOf(path);
  if (kind === undefined) throw new UsageError(`${path}: no such file or folder`);
  if (kind === "file") return storyOf(await watchedStates(session, path));
  const entries = await session.io.readdir(path);
  const names = new Set(entries.map(({ name }) => name));
  if (names.has("scenario.yaml")) return storyOf(await scenarioStates(session, path));
  const snapshots = [...names].flatMap((name) => {
    const number = SNAPSHOT.exec(name)?.[1];
    return number === undefined ? [] : [{ name, number: Number(number) }];
  });
  if (snapshots.length === 0) throw new UsageError(`${path} is no story: want ${FORMS}`);
  return storyOf(await snapshotStates(session, path, snapshots));
}

interface Snapshot {
  readonly name: string;
  readonly number: number;
}

async function snapshotStates(
  session: Session,
  folder: string,
  snapshots: readonly Snapshot[],
): Promise<readonly StoryState[]> {
  const sorted = snapshots.toSorted((a, b) => a.number - b.number);
  const odd = sorted.find(({ number }, index) => number !== index);
  if (odd !== undefined) {
    const wanted = sorted.indexOf(odd);
    throw new UsageError(
      `${joinPath(folder, odd.name)}: want step-${wanted} here; steps are numbered from 0 without a gap`,
    );
  }
  const texts = await stepTexts(session, folder);
  const states: StoryState[] = [];
  const said = new Set<string>();
  for (const { name, number } of sorted) {
    const path = joinPath(folder, name);
    const { model, issues } = loadCluster(await readManifests(session.io, [path]));
    // What is odd in one step is mostly odd in all of them.
    const keyOf = ({ severity, message, path: at }: Issue) => `${severity} ${at} ${message}`;
    await session.report(issues.filter((issue) => issue.severity === "error" || !said.has(keyOf(issue))));
    for (const issue of issues) said.add(keyOf(issue));
    if (model === undefined) throw new InvalidInput();
    states.push({ what: texts.get(number), cluster: resolvePolicies(model) });
  }
  return states;
}

/** `steps.txt` beside the snapshots: a number and what the step does, one a line. */
async function stepTexts(session: Session, folder: string): Promise<ReadonlyMap<number, string>> {
  const path = joinPath(folder, "steps.txt");
  if ((await session.io.kindOf(path)) !== "file") return new Map();
  const lines = (await readText(session.io, path)).split("\n");
  return new Map(
    lines.flatMap((line) => {
      const [, number, text] = /^(\d+)\s+(.+)$/.exec(line.trim()) ?? [];
      return number === undefined || text === undefined ? [] : [[Number(number), text] as const];
    }),
  );
}

async function scenarioStates(session: Session, folder: string): Promise<readonly StoryState[]> {
  const file = async (name: string) => ({
    name: joinPath(folder, name),
    text: await readText(session.io, joinPath(folder, name)),
  });
  const { scenario, issues } = parseScenario(await file("scenario.yaml"), strategyNames());
  const parsed = parseManifests([await file("cluster.yaml")]);
  const loaded = loadObjects(parsed);
  await session.report([...issues, ...loaded.issues]);
  if (scenario === undefined || loaded.model === undefined) throw new InvalidInput();
  const read = statesOfScenario(scenario, parsed.objects, resolvePolicies(loaded.model));
  if (read.kind === "states") return read.states;
  await session.report(read.issues);
  throw new InvalidInput();
}
