/** A story: a cluster, and what becomes of it step by step. */
import type { Issue } from "../compiler/issue.ts";
import type { ParsedManifests, ParsedObject } from "../compiler/manifest/objects.ts";
import type { ResolvedCluster } from "../compiler/resolve.ts";
import { type Burst, burstsBetween, eventText } from "../compiler/update/events.ts";
import type { Scenario } from "./scenario.ts";
import { changeCluster, describeChange } from "./scenarioCluster.ts";

export interface StoryState {
  /** In words; undefined: the events say it. */
  readonly what: string | undefined;
  readonly cluster: ResolvedCluster;
  readonly time?: StoryTime | undefined;
  /** Of Services, where the story has them. */
  readonly services?: readonly ParsedObject[];
}

/** When a step is taken; it never lies before the step ahead of it. */
export type StoryTime =
  | { readonly seconds: number; readonly from: "the start of the story" }
  | {
      readonly seconds: number;
      readonly from: "the epoch";
      /** Nobody said it: it is read off the objects, to the second. */
      readonly isFound?: true;
    };

export interface Story {
  readonly start: ResolvedCluster;
  /** Of Services at the start. */
  readonly services: readonly ParsedObject[];
  readonly steps: readonly StoryStep[];
}

export interface StoryStep {
  /** From 1; 0 is the state at the start. */
  readonly number: number;
  readonly what: string;
  /** Undefined: the story does not say. */
  readonly time: StoryTime | undefined;
  /** Empty: nothing changed. */
  readonly bursts: readonly Burst[];
  readonly cluster: ResolvedCluster;
  readonly services: readonly ParsedObject[];
}

export type ScenarioStates =
  | { readonly kind: "states"; readonly states: readonly StoryState[] }
  | { readonly kind: "invalid"; readonly issues: readonly Issue[] };

/** Beside snapshots: a number and what the step does, one a line. */
export const STEP_TEXTS = "steps.txt";

export function stepTexts(text: string): ReadonlyMap<number, string> {
  return new Map(
    text.split("\n").flatMap((line) => {
      const [, number, what] = /^(\d+)\s+(.+)$/.exec(line.trim()) ?? [];
      return number === undefined || what === undefined ? [] : [[Number(number), what] as const];
    }),
  );
}

/** The start, and the state after each change of the scenario; its packets are left out. */
export function statesOfScenario(
  scenario: Scenario,
  { objects, services }: Pick<ParsedManifests, "objects" | "services">,
  start: ResolvedCluster,
): ScenarioStates {
  const states: StoryState[] = [{ what: undefined, cluster: start, services }];
  let now = objects;
  for (const step of scenario.steps) {
    if (step.kind !== "change") continue;
    const changed = changeCluster(now, step, scenario.file);
    if (changed.kind === "invalid") return changed;
    now = changed.objects;
    states.push({
      what: step.changes.map(describeChange).join(", "),
      cluster: changed.cluster,
      time: { seconds: step.time, from: "the start of the story" },
      services,
    });
  }
  return { kind: "states", states };
}

/** The story that leads through the states; the first is where it starts. Unchanged objects are shared by all of them. */
export function storyOf(states: readonly StoryState[]): Story {
  const [first, ...rest] = states;
  if (first === undefined) throw new Error("a story has at least one state");
  const steps: StoryStep[] = [];
  let before = first.cluster;
  for (const [index, { what, cluster, time, services = [] }] of rest.entries()) {
    const bursts = burstsBetween(before, cluster);
    const events = bursts.flatMap((burst) => burst.events);
    before = bursts.at(-1)?.after ?? before;
    steps.push({
      number: index + 1,
      what: what ?? (events.length === 0 ? "nothing changes" : events.map(eventText).join(", ")),
      time,
      bursts,
      cluster: before,
      services,
    });
  }
  return { start: first.cluster, services: first.services ?? [], steps };
}
