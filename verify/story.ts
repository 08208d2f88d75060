/** A story: a cluster, and what becomes of it step by step. */
import type { ResolvedCluster } from "../compiler/resolve.ts";
import { type Burst, burstsBetween, eventText } from "../compiler/update/events.ts";

export interface StoryState {
  /** In words; undefined: the events say it. */
  readonly what: string | undefined;
  readonly cluster: ResolvedCluster;
}

export interface Story {
  readonly start: ResolvedCluster;
  readonly steps: readonly StoryStep[];
}

export interface StoryStep {
  /** From 1; 0 is the state at the start. */
  readonly number: number;
  readonly what: string;
  /** Empty: nothing changed. */
  readonly bursts: readonly Burst[];
  readonly cluster: ResolvedCluster;
}

/** The story that leads through the states; the first is where it starts. Unchanged objects are shared by all of them. */
export function storyOf(states: readonly StoryState[]): Story {
  const [first, ...rest] = states;
  if (first === undefined) throw new Error("a story has at least one state");
  const steps: StoryStep[] = [];
  let before = first.cluster;
  for (const [index, { what, cluster }] of rest.entries()) {
    const bursts = burstsBetween(before, cluster);
    const events = bursts.flatMap((burst) => burst.events);
    before = bursts.at(-1)?.after ?? before;
    steps.push({
      number: index + 1,
      what: what ?? (events.length === 0 ? "nothing changes" : events.map(eventText).join(", ")),
      bursts,
      cluster: before,
    });
  }
  return { start: first.cluster, steps };
}
