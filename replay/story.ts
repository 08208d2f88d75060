/** A story as a replay lives it: when each step is due, and what flows met in it. */
import type { ResolvedCluster } from "../compiler/resolve.ts";
import type { Resolve } from "../traffic/transcript.ts";
import type { Story, StoryStep } from "../verify/story.ts";
import { resolverOf } from "../verify/who.ts";
import { withReplicas } from "./replicas.ts";
import { serviceAddresses } from "./serviceObjects.ts";
import type { ServiceAddress } from "./services.ts";
import { StoryClock } from "./storyTime.ts";

export class ReplayedStory {
  readonly story: Story;
  readonly clock: StoryClock;
  /** By step, from 0: flows that passed until a packet of theirs was refused in it. */
  readonly #cut: number[] = [];

  /** Every step says its time. `start`: where the story's own clock begins; undefined: at the first packet read. */
  constructor(story: Story, start?: number) {
    this.story = story;
    this.clock = new StoryClock(
      story.steps.map(({ number, time }) => {
        if (time === undefined) throw new Error(`step ${number} has no time`);
        return time;
      }),
      start,
    );
  }

  get start(): ResolvedCluster {
    return this.story.start;
  }

  /** Of a number from 1. */
  step(number: number): StoryStep {
    const step = this.story.steps[number - 1];
    if (step === undefined) throw new RangeError(`step ${number} of ${this.story.steps.length}`);
    return step;
  }

  /** Whether there are Services at any time. */
  get hasServices(): boolean {
    return this.story.services.length > 0 || this.story.steps.some(({ services }) => services.length > 0);
  }

  /** After so many steps. */
  servicesAt(step: number): readonly ServiceAddress[] {
    const { start, services, steps } = this.story;
    const now = steps[step - 1];
    return serviceAddresses(now?.services ?? services, (now?.cluster ?? start).model);
  }

  /** What names stand for at the time of their record. `namespace`: of names without one. */
  resolver(namespace: string): Resolve {
    // Records come in order of time, or nearly so: one step's names at a time.
    let known: { readonly step: number; readonly resolve: Resolve } | undefined;
    return (name, family, time = 0) => {
      this.clock.see(time);
      const step = this.clock.stepAt(time);
      if (known?.step !== step) {
        const { model } = this.story.steps[step - 1]?.cluster ?? this.start;
        known = { step, resolve: withReplicas(resolverOf(model, namespace), model) };
      }
      return known.resolve(name, family);
    };
  }

  /** A flow is cut while so many steps are taken. */
  cut(step: number): void {
    this.#cut[step] = (this.#cut[step] ?? 0) + 1;
  }

  cutIn(step: number): number {
    return this.#cut[step] ?? 0;
  }
}
