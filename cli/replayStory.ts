/** `replay --story`: what becomes of the cluster while the recording runs, and when. */
import { type Command, InvalidArgumentError, Option } from "commander";
import { ReplayedStory } from "../replay/story.ts";
import { parseTime } from "../traffic/logs/fields.ts";
import type { Story, StoryTime } from "../verify/story.ts";
import { asksForImport } from "./imported.ts";
import { UsageError } from "./io.ts";
import type { SetupFlags } from "./replaySetup.ts";
import type { Session } from "./session.ts";
import { readStory, storyFiles } from "./story.ts";

export interface StoryFlags {
  readonly story?: string;
  readonly storyStart?: number;
  readonly stepEvery?: number;
}

export function addReplayStoryFlags(command: Command): Command {
  return command
    .option(
      "--story <FILE|DIR|->",
      "instead of -f: a cluster that changes meanwhile, as 'chainwalk timeline -f' has it",
    )
    .addOption(
      new Option(
        "--story-start <TIME>",
        "when the story's own clock begins: 2024-05-01T12:00:00Z, or seconds; the first packet when left out",
      ).argParser(timeOf),
    )
    .addOption(
      new Option("--step-every <SECONDS>", "how far apart the steps are of a story that does not say").argParser(
        secondsOf,
      ),
    );
}

function timeOf(text: string): number {
  const time = text.trim() === "" ? undefined : parseTime(text);
  if (time === undefined) throw new InvalidArgumentError("Allowed is a time as 2024-05-01T12:00:00Z, or seconds.");
  return time;
}

function secondsOf(text: string): number {
  if (!/^\d{1,9}(?:\.\d{1,9})?$/.test(text)) throw new InvalidArgumentError("Allowed are seconds, as in 5 or 0.25.");
  return Number(text);
}

interface StoryReplayFlags extends StoryFlags, SetupFlags {
  readonly suggest?: boolean;
  readonly jobs: number;
  readonly resume?: string;
}

/** Undefined: the cluster stays as it is. */
export async function readReplayedStory(flags: StoryReplayFlags, session: Session): Promise<ReplayedStory | undefined> {
  const { story: path, storyStart, stepEvery } = flags;
  if (path === undefined) {
    if (storyStart !== undefined) throw new UsageError("--story-start goes with --story");
    if (stepEvery !== undefined) throw new UsageError("--step-every goes with --story");
    return undefined;
  }
  checkFlags(flags);
  // Of scenarios every step has its time, also where there is none.
  if (stepEvery !== undefined && (await storyFiles(session, [path])).kind === "scenario") throw saysItself(path);
  const story = timed(await readStory(session, [path]), path, stepEvery);
  if (story.steps.some(({ time }) => isFound(time))) {
    await session.note(
      `${path}: events carry no time; each step is at the latest time written in its object, to the second`,
    );
  }
  if (storyStart !== undefined && story.steps.some(({ time }) => time?.from === "the epoch")) {
    throw new UsageError(`--story-start: the events of ${path} say themselves when they were`);
  }
  return new ReplayedStory(story, storyStart);
}

/** What a cluster that changes makes no sense with, or what we cannot do with it. */
function checkFlags(flags: StoryReplayFlags): void {
  const { filename, before, after, prune, suggest, jobs, resume } = flags;
  const refusals: readonly (readonly [isGiven: boolean, flag: string, why: string])[] = [
    [filename.length > 0, "-f", "the story has the cluster"],
    [before !== undefined, "--before", "it compares two clusters that stand still"],
    [after !== undefined, "--after", "it compares two clusters that stand still"],
    [prune === true, "--prune", "it goes with --before or --after"],
    [asksForImport(flags), "saves of a real node", "they are of one moment"],
    [suggest === true, "--suggest", "policies are suggested for a cluster that stands still"],
    [jobs > 1, "--jobs", "a changing cluster is one thread's work"],
    [resume !== undefined, "--resume", "what controllers remember is not kept in its file"],
  ];
  const refused = refusals.find(([isGiven]) => isGiven);
  if (refused !== undefined) throw new UsageError(`--story does not go with ${refused[1]}: ${refused[2]}`);
}

/** The story with a time for each step. */
function timed(story: Story, path: string, stepEvery: number | undefined): Story {
  if (stepEvery === undefined) {
    if (story.steps.every(({ time }) => time !== undefined)) return story;
    throw new UsageError(
      `${path} does not say when its steps are taken: --step-every SECONDS sets them apart, or each watch event has a time, or its object (kubectl's --show-managed-fields)`,
    );
  }
  if (story.steps.some(({ time }) => time !== undefined && !isFound(time))) {
    throw saysItself(path);
  }
  return {
    ...story,
    steps: story.steps.map((step) => ({
      ...step,
      time: { seconds: step.number * stepEvery, from: "the start of the story" },
    })),
  };
}

function saysItself(path: string): UsageError {
  return new UsageError(`--step-every: ${path} says itself when its steps are taken`);
}

function isFound(time: StoryTime | undefined): boolean {
  return time?.from === "the epoch" && time.isFound === true;
}
