/** `--at STEP.OPERATION`: the state of a story in the middle of a step, for verbs that push packets. */
import type { Command } from "commander";
import type { ResolvedCluster } from "../compiler/resolve.ts";
import type { Program } from "../dataplane/program.ts";
import { type Lane, programsLane, referenceLane } from "../verify/lane.ts";
import type { InputFlags, StrategyFlags } from "./flags.ts";
import { UsageError } from "./io.ts";
import { choicesOf, ownSettings, settingsOf } from "./lanes.ts";
import type { Session } from "./session.ts";

export interface MomentFlags {
  readonly at?: string;
}

export function addMomentFlag(command: Command): Command {
  return command.option(
    "--at <STEP.OPERATION>",
    "with -f STORY: after so many operations of a step of each node's timeline; see 'chainwalk timeline'",
  );
}

export interface StoryMoment {
  /** As it is once the step is over: packets are named by it. */
  readonly cluster: ResolvedCluster;
  readonly lanes: readonly Lane[];
}

/** One lane for each chosen strategy; a node that has fewer operations in the step is at their end. */
export async function momentOf(
  flags: InputFlags & StrategyFlags & { readonly at: string },
  options: { readonly walk: boolean },
  session: Session,
): Promise<StoryMoment> {
  const [, step, operation] = /^(\d{1,6})(?:\.(\d{1,9}))?$/.exec(flags.at) ?? [];
  if (step === undefined) throw new UsageError(`--at takes STEP.OPERATION as in 4.1, found "${flags.at}"`);
  // Loaded only now: stories and timelines are modules that a command without --at never needs.
  const [{ readStory }, { programAt }] = await Promise.all([import("./story.ts"), import("../verify/timeline.ts")]);
  const story = await readStory(session, flags.filename);
  const number = Number(step);
  const cluster = number === 0 ? story.start : story.steps.find((each) => each.number === number)?.cluster;
  if (cluster === undefined) throw new UsageError(`--at ${flags.at}: the story has steps 0 to ${story.steps.length}`);
  const settings = settingsOf(flags);
  const lanes = choicesOf(flags).map((choice): Lane => {
    if (choice.kind === "reference") return referenceLane(cluster);
    const { strategy } = choice;
    let most = 0;
    const programs = cluster.model.nodes.map(({ name: node }): Program => {
      const options = { strategy, node, settings: ownSettings(strategy, settings), limit: 0 };
      const { program, operations } = programAt(story, options, {
        step: number,
        operation: Number(operation ?? Number.MAX_SAFE_INTEGER),
      });
      most = Math.max(most, operations);
      return program;
    });
    if (operation !== undefined && Number(operation) > most) {
      throw new UsageError(`--at ${flags.at}: ${strategy.name} has ${most} operations in step ${number}`);
    }
    return programsLane(programs, strategy, options);
  });
  return { cluster, lanes };
}
