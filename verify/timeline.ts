/**
 * A story as one node under one solution lives it: per step the operations of its controller, what they wrote against what
 * differed, which packets met a verdict of neither before nor after, and what became of live connections.
 */
import type { ResolvedCluster } from "../compiler/resolve.ts";
import { isMade, type Lapse, type LowerOptions, type Strategy } from "../compiler/strategies/strategy.ts";
import { type Controller, controllerOf } from "../compiler/update/controller.ts";
import type { Burst } from "../compiler/update/events.ts";
import type { Operation } from "../compiler/update/operation.ts";
import { formatAddress } from "../dataplane/address.ts";
import type { Attachment, PodAttachment, Program } from "../dataplane/program.ts";
import type { Story, StoryStep } from "./story.ts";
import { type ConnectionFates, LiveConnections } from "./timeline/connections.ts";
import { type Moment, momentsOf } from "./timeline/moments.ts";
import { type Transients, transientsOf } from "./timeline/transients.ts";
import { type Difference, differenceOf, type Written, writtenBy } from "./timeline/written.ts";

export interface TimelineOptions {
  readonly strategy: Strategy;
  readonly node: string;
  readonly settings?: ReadonlyMap<string, string>;
  /** Most classes of packets asked for a step; beyond it the step says so. */
  readonly limit: number;
}

export interface TimelineStep {
  readonly step: StoryStep;
  readonly operations: readonly Operation[];
  readonly written: Written;
  readonly differed: Difference;
  readonly transients: Transients;
  readonly connections: ConnectionFates;
  /** Mistakes of the solution that the step meets: with them it does something else than without. */
  readonly lapses: readonly MetLapse[];
  /** What the node holds before the step and after it. */
  readonly before: Program;
  readonly after: Program;
  /** The states in between, in order; the last is `after`. */
  readonly states: readonly Moment[];
}

export interface MetLapse {
  readonly lapse: Lapse;
  /** It was made here; otherwise the step would be another with `lapse.setting` on. */
  readonly isMade: boolean;
}

/** The operations of a burst, and how pods hang on the node while they run. */
export interface BurstPlan {
  readonly burst: Burst;
  readonly operations: readonly Operation[];
  readonly attachment: Attachment;
}

/** One step after the other, lazily. */
export function* timeline(story: Story, options: TimelineOptions): Generator<TimelineStep, void, void> {
  const controller = startedController(story.start, options);
  let held = controller.program;
  let comparable = controller.comparable ?? held;
  const connections = new LiveConnections(held);
  const others = options.strategy.lapses.map((lapse) => otherwise(lapse, story.start, options));
  for (const step of story.steps) {
    const plans = planStep(controller, step, held.attachment, options);
    const operations = plans.flatMap((plan) => plan.operations);
    const moments = momentsOf(held, plans, controller.program.attachment);
    const after = moments.at(-1)?.program ?? held;
    const before = comparable;
    comparable = controller.comparable ?? controller.program;
    const clusters = { before: step.bursts[0]?.before ?? step.cluster, after: step.cluster };
    const transients = transientsOf({
      before: held,
      moments,
      clusters,
      arrivals: arrivalsIn(plans),
      limit: options.limit,
    });
    yield {
      step,
      operations,
      written: writtenBy(operations),
      differed: differenceOf(before, comparable),
      transients,
      connections: connections.through({ before: held, moments, transients, clusters }),
      lapses: others.flatMap(({ lapse, isMade, controller: other }) => {
        const elsewhere = step.bursts.flatMap((burst) => other.react(burst));
        return isAlike(operations, elsewhere) ? [] : [{ lapse, isMade }];
      }),
      before: held,
      after,
      states: moments,
    };
    held = after;
  }
}

export interface StepMoment {
  readonly program: Program;
  /** Operations of the step, flushes of connections not counted. */
  readonly operations: number;
}

/**
 * The program after so many operations of a step (0: before the first, more than there are: after the last). `step` is 0 or
 * one of the story's.
 */
export function programAt(
  story: Story,
  options: TimelineOptions,
  at: { readonly step: number; readonly operation: number },
): StepMoment {
  const controller = startedController(story.start, options);
  let held = controller.program;
  for (const step of story.steps) {
    if (step.number > at.step) break;
    const plans = planStep(controller, step, held.attachment, options);
    const moments = momentsOf(held, plans, controller.program.attachment);
    if (step.number === at.step) {
      const all = plans.flatMap(({ operations }) => operations);
      const visible = all.flatMap(({ tool }, index) => (tool === "conntrack" ? [] : [index + 1]));
      const last = at.operation >= visible.length ? all.length : (visible[at.operation - 1] ?? 0);
      const isOver = at.operation >= visible.length;
      const program = moments.findLast(
        ({ operation, settled }) => operation <= last && (isOver || settled !== true),
      )?.program;
      return { program: program ?? held, operations: visible.length };
    }
    held = moments.at(-1)?.program ?? held;
  }
  return { program: held, operations: 0 };
}

function startedController(start: ResolvedCluster, options: TimelineOptions): Controller {
  return controllerOf(options.strategy, start, { node: options.node, ...settingsIn(options) });
}

/** The same controller with one lapse the other way round. */
function otherwise(lapse: Lapse, start: ResolvedCluster, options: TimelineOptions) {
  const made = isMade(options.strategy, { node: options.node, ...settingsIn(options) }, lapse);
  const { option, on, off } = lapse.setting;
  const settings = new Map([...(options.settings ?? []), [option, made ? off : on]]);
  return { lapse, isMade: made, controller: startedController(start, { ...options, settings }) };
}

function isAlike(a: readonly Operation[], b: readonly Operation[]): boolean {
  return (
    a.length === b.length &&
    a.every(({ tool, args, stdin }, index) => {
      const other = b[index];
      return tool === other?.tool && stdin === other.stdin && args.join(" ") === other.args.join(" ");
    })
  );
}

function settingsIn({ settings }: Pick<TimelineOptions, "settings">): Pick<LowerOptions, "settings"> {
  return settings === undefined ? {} : { settings };
}

function planStep(
  controller: Controller,
  step: StoryStep,
  attached: Attachment,
  options: TimelineOptions,
): readonly BurstPlan[] {
  const { strategy, node } = options;
  let before = attached;
  return step.bursts.map((burst) => {
    const operations = controller.react(burst);
    const after = strategy.attach(burst.after, { node, ...settingsIn(options) });
    const attachment = bothAttached(before, after);
    before = after;
    return { burst, operations, attachment };
  });
}

/** Addresses that another pod has after a burst than before, and the operations done when it came. */
function arrivalsIn(plans: readonly BurstPlan[]): ReadonlyMap<string, number> {
  const arrivals = new Map<string, number>();
  let done = 0;
  for (const { burst, operations } of plans) {
    const owners = new Map(
      burst.before.pods.flatMap(({ key, addresses }) => addresses.map((each) => [formatAddress(each), key])),
    );
    for (const { key, addresses } of burst.after.pods) {
      for (const address of addresses.map(formatAddress)) if (owners.get(address) !== key) arrivals.set(address, done);
    }
    done += operations.length;
  }
  return arrivals;
}

/** Pods that come are there from the first operation on, those that go keep their place until the last. */
function bothAttached(before: Attachment, after: Attachment): Attachment {
  const taken = new Set([
    ...after.pods.flatMap(({ addresses }) => addresses.map(formatAddress)),
    ...after.remotePodAddresses.map(formatAddress),
  ]);
  const leaving = before.pods.flatMap((pod): readonly PodAttachment[] => {
    const addresses = pod.addresses.filter((address) => !taken.has(formatAddress(address)));
    return addresses.length === 0 ? [] : [{ ...pod, addresses }];
  });
  return leaving.length === 0 ? after : { ...after, pods: [...after.pods, ...leaving] };
}
