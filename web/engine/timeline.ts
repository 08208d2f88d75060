/** The story as one node under one solution lives it, as `timeline` has it. */
import { strategyNamed } from "../../compiler/strategies/registry.ts";
import { PLAIN } from "../../format/paint.ts";
import { formatTimelines, type ShownWindow, windowsOf, windowText } from "../../format/timeline.ts";
import { numberedOperations } from "../../format/timelineJson.ts";
import { packetToObject } from "../../traffic/packetObject.ts";
import { type TimelineStep, timeline } from "../../verify/timeline.ts";
import type { TimelineAsk, TimelineReport, TimelineStepView, WindowView } from "../messages.ts";
import type { Bench } from "./bench.ts";
import { Refusal } from "./refusal.ts";

/** Classes of packets followed in a step unless the question says otherwise. */
const LIMIT = 200_000;
/** Characters of an operation's input that are shown. */
const INPUT = 6_000;

export function timelineOf(bench: Bench, { strategy: name, node, limit = LIMIT }: TimelineAsk): TimelineReport {
  const strategy = strategyNamed(name);
  if (strategy === undefined) throw new Refusal("the reference is the API text and has no program; choose a solution");
  const steps = [...timeline(bench.story, { strategy, node, limit })];
  return {
    // How the node came to the start of the story is no change to look at step by step.
    steps: steps.filter(({ step }) => step.number > 0).map(stepView),
    lines: formatTimelines([{ strategy: name, node, steps }], "table", PLAIN),
  };
}

function stepView(step: TimelineStep): TimelineStepView {
  const { survive, cut, inherited } = step.connections;
  return {
    step: step.step.number,
    what: step.step.what,
    operations: numberedOperations(step.operations).operations.map(({ tool, args, stdin }) => ({
      command: [tool, ...args].join(" "),
      input: stdin === undefined || stdin.length <= INPUT ? stdin : `${stdin.slice(0, INPUT)}…`,
    })),
    windows: windowsOf(step).map((window) => windowView(window)),
    connections: { survive, cut, inherited },
  };
}

function windowView(window: ShownWindow): WindowView {
  const { kind, from, to, example } = window;
  return { kind, text: windowText(window), from: Number(from), to: Number(to), packet: packetToObject(example.packet) };
}
