/** The course of a replay: manifests to sides, traffic through them, the report and the exit code. */
import { hasErrors } from "../compiler/issue.ts";
import type { HubbleTerm } from "../replay/filter/hubble.ts";
import { type LoadedSetup, loadSetup, loadStorySetup, type ReplaySetup } from "../replay/setup.ts";
import type { ReplayedStory } from "../replay/story.ts";
import { BATCH_ROWS } from "../traffic/source.ts";
import { EXIT, InvalidInput, UsageError } from "./io.ts";
import { CheckpointFile, requirePlace } from "./replayCheckpoint.ts";
import { type ReplayFormat, ReplayOutput } from "./replayOutput.ts";
import { ReplayRun, type RunOptions } from "./replayRun.ts";
import { comparisonOf, readSetup, type SetupFlags, storySetup } from "./replaySetup.ts";
import { readReplayedStory, type StoryFlags } from "./replayStory.ts";
import { suggest } from "./replaySuggest.ts";
import type { Session } from "./session.ts";

export interface ReplayFlags extends SetupFlags, StoryFlags {
  readonly output: ReplayFormat;
  readonly top: number;
  readonly filter?: string;
  readonly keepDuplicates?: boolean;
  readonly suggest?: boolean;
  readonly jobs: number;
  readonly resume?: string;
  readonly checkpointSeconds: number;
}

export interface ReplayInput {
  readonly traffic: readonly string[];
  readonly flags: ReplayFlags;
  /** Flags in Hubble's words, in the order given. */
  readonly hubble: readonly HubbleTerm[];
}

export async function runReplay(input: ReplayInput, session: Session): Promise<void> {
  const { traffic, flags, hubble } = input;
  check(input, session);
  if (flags.suggest === true) {
    await requireFiles(traffic, "--suggest reads the recording twice, to try out what it suggests", session.io);
  }
  if (flags.resume !== undefined) {
    await requireFiles(traffic, "--resume reads the recording again", session.io);
    await requirePlace(flags.resume);
  }
  const comparison = comparisonOf(flags);
  const story = await readReplayedStory(flags, session);
  const setup = story === undefined ? await readSetup(flags, session.io) : storySetup(flags);
  const loaded = story === undefined ? await load(setup, session) : await loadStory(setup, story, session);
  const namespace = flags.namespace ?? "default";
  const options: RunOptions = {
    session,
    setup,
    loaded,
    filter: { ...(flags.filter !== undefined && { expression: flags.filter }), hubble, namespace },
    namespace,
    jobs: flags.jobs,
    duplicates: flags.keepDuplicates === true ? "kept" : "counted once",
  };
  if (flags.suggest === true) {
    await suggest({ traffic, flags, setup, options }, session);
    return;
  }
  const checkpoint = await checkpointOf(input, setup, session);
  const output = new ReplayOutput({
    format: flags.output,
    comparison,
    top: flags.top,
    session,
    ...(checkpoint !== undefined && { draft: checkpoint.draft }),
  });
  const run = new ReplayRun({ ...options, output, ...(checkpoint !== undefined && { checkpoint }) });
  await run.read(traffic);
  await output.write(run.report, run.findings);
  await output.annotatePolicies(run.report);
  for (const note of run.findings.notes) await session.note(note);
  if (!session.io.interrupted.aborted) await checkpoint?.remove();
  const { tally } = run.report.options;
  if (tally.packetVerdicts[3] > 0) session.end(EXIT.incomplete);
  const findings = comparison === "change" ? tally.nowRefused : tally.changed;
  if (findings > 0) session.end(EXIT.findings);
}

function check({ traffic, flags }: ReplayInput, session: Session): void {
  if ([...traffic, ...flags.filename, flags.story].filter((name) => name === "-").length > 1) {
    throw new UsageError("standard input (-) can be named once, for manifests, a story or traffic");
  }
  const places = flags.capturedOn?.length ?? 0;
  if (places > 1 && places !== traffic.length) {
    throw new UsageError(
      `--captured-on is given once, or once for each of the ${traffic.length} recordings in their order; found ${places}`,
    );
  }
  if (flags.output === "pcapng" && session.io.stdout.isTerminal) {
    throw new UsageError("-o pcapng writes bytes, and standard output is a terminal: redirect it to a file");
  }
}

/** What standard input and pipes say can be read once. */
async function requireFiles(traffic: readonly string[], why: string, io: Session["io"]): Promise<void> {
  for (const name of traffic) {
    if (name === "-") throw new UsageError(`${why}: name a file, not standard input`);
    if ((await io.kindOf(name)) === "file" && (await io.sizeOf(name)) === undefined) {
      throw new UsageError(`${why}: name a file; ${name} is none that can be read twice`);
    }
  }
}

/** `--resume`: the file, for exactly this question. */
async function checkpointOf(
  { traffic, flags, hubble }: ReplayInput,
  setup: ReplaySetup,
  { io }: Session,
): Promise<CheckpointFile | undefined> {
  const { resume, jobs, output, checkpointSeconds, filter, namespace, keepDuplicates } = flags;
  if (resume === undefined) return undefined;
  const writesPackets = output === "pcapng";
  if (writesPackets && jobs > 1) {
    throw new UsageError(
      "--resume with -o pcapng is for one thread (--jobs 1): several are not at one place of the recording when they are killed",
    );
  }
  if (setup.sides.some(({ strategy }) => strategy === "reference")) {
    throw new UsageError("--resume is for solutions: the reference does not keep its connections in a file");
  }
  const sizes = await Promise.all(traffic.map((name) => io.sizeOf(name)));
  const question = {
    setup,
    traffic,
    sizes,
    filter,
    hubble,
    namespace,
    keepDuplicates,
    jobs,
    writesPackets,
    version: io.version(),
  };
  return new CheckpointFile(resume, question, { intervalMs: checkpointSeconds * 1000, nowMs: io.now() });
}

async function loadStory(setup: ReplaySetup, story: ReplayedStory, session: Session): Promise<LoadedSetup> {
  const { loaded, issues } = loadStorySetup(setup, story, BATCH_ROWS);
  await session.report(issues);
  if (loaded === undefined) throw new InvalidInput();
  return loaded;
}

/** Makes the sides; issues go to stderr, and errors among them end the command. */
export async function load(setup: ReplaySetup, session: Session): Promise<LoadedSetup> {
  const { loaded, issues, notes } = loadSetup(setup, BATCH_ROWS);
  await session.report(issues);
  if (loaded === undefined || hasErrors(issues)) throw new InvalidInput();
  for (const note of new Set(notes)) await session.note(note);
  return loaded;
}
