/** `timeline`: what each solution does at each change of a story, and what packets meet in between. */
import type { Command } from "commander";
import { updateMs } from "../bench/model/updateCost.ts";
import { type Clock, formatTimelines, type Lived } from "../format/timeline.ts";
import { timelineObject } from "../format/timelineJson.ts";
import { timeline as runTimeline, type TimelineStep } from "../verify/timeline.ts";
import { profileFrom } from "./benchModel.ts";
import {
  addInputFlags,
  addOutputFlag,
  addStrategyFlags,
  type InputFlags,
  type StrategyFlags,
  wholeNumber,
} from "./flags.ts";
import { EXIT, UsageError } from "./io.ts";
import { ownSettings, settingsOf, strategiesOf } from "./lanes.ts";
import { addOpenFlag, firstStrategy, type OpenFlags, openShown, requireShown, shownStory } from "./open.ts";
import type { Session } from "./session.ts";
import { readStory } from "./story.ts";

/** Classes of packets followed for a step unless the flag says otherwise. */
const DEFAULT_LIMIT = 1_000_000;

interface TimelineFlags extends InputFlags, StrategyFlags, OpenFlags {
  readonly node?: string;
  readonly limit: number;
  readonly profile?: string;
  readonly output: "table" | "json" | "md" | "html";
}

export function define(command: Command, session: Session): void {
  addOpenFlag(addOutputFlag(addStrategyFlags(addInputFlags(command)), ["table", "json", "md", "html"]))
    .option("--node <NAME>", "one node; all of them when left out")
    .option("--limit <N>", "most classes of packets followed in a step", wholeNumber(1, 1_000_000_000), DEFAULT_LIMIT)
    .option("--profile <FILE>", "what bench calibrate wrote: windows also last so many milliseconds on that machine")
    .action((flags: TimelineFlags) => timeline(flags, session));
}

async function timeline(flags: TimelineFlags, session: Session): Promise<void> {
  requireShown(flags, [["--profile", flags.profile !== undefined]]);
  const shown = flags.open === true ? await shownStory(session, flags.filename) : undefined;
  const story = await readStory(session, flags.filename);
  const names = new Set(
    [story.start, ...story.steps.map(({ cluster }) => cluster)].flatMap(({ model }) =>
      model.nodes.map(({ name }) => name),
    ),
  );
  if (names.size === 0) throw new UsageError("the story has no node: pods that are on none meet no rules");
  if (flags.node !== undefined && !names.has(flags.node)) {
    throw new UsageError(`unknown node "${flags.node}"; there are ${[...names].join(", ")}`);
  }
  const nodes = flags.node === undefined ? [...names] : [flags.node];
  const strategies = strategiesOf(flags);
  const clock = flags.profile === undefined ? undefined : await clockOf(flags.profile, session);
  const progress = session.progress("steps", strategies.length * nodes.length * (1 + story.steps.length));
  const lived: Lived[] = [];
  for (const strategy of strategies) {
    for (const node of nodes) {
      const settings = ownSettings(strategy, settingsOf(flags));
      const steps: TimelineStep[] = [];
      for (const step of runTimeline(story, { strategy, node, settings, limit: flags.limit })) {
        steps.push(step);
        if (!(await progress.step())) break;
      }
      lived.push({ strategy: strategy.name, node, steps, ...(clock && { clock }) });
    }
  }
  await progress.done();
  if (flags.output === "json") {
    const objects = lived.map(timelineObject);
    const [only, ...more] = objects;
    const asked = flags.node !== undefined && more.length === 0;
    await session.out.line(JSON.stringify(asked ? only : objects));
  } else {
    for (const line of formatTimelines(lived, flags.output, session.paint)) await session.out.line(line);
  }
  const short = lived
    .flatMap(({ steps }) => steps)
    .some(({ transients }) => transients.followed < transients.concerned);
  if (short) {
    await session.note("some steps concern more classes of packets than --limit; what was left out stands beside them");
    session.end(EXIT.incomplete);
  }
  const [node = ""] = nodes;
  const state = { view: "timeline", strategy: firstStrategy(flags), node, limit: flags.limit } as const;
  await openShown(flags, { state, ...shown }, session);
}

async function clockOf(path: string, session: Session): Promise<Clock> {
  const profile = await profileFrom(path, session);
  if (Object.keys(profile.updates).length === 0) {
    throw new UsageError(`${path}: it does not say what updates cost; chainwalk bench calibrate measures that now`);
  }
  return { name: profile.name, milliseconds: (step, window) => updateMs(step, window, profile) };
}
