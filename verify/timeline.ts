/**
 * A story as one node under one solution lives it: per step the operations of its controller, what they wrote against what
 * differed, which packets met a verdict of neither before nor after, and what became of live connections.
 */
import type { ResolvedCluster } from "../compiler/resolve.ts";
import { isMade, type Lapse } from "../compiler/strategies/strategy.ts";
import { controllerOf } from "../compiler/update/controller.ts";
import type { Operation } from "../compiler/update/operation.ts";
import { formatAddress } from "../dataplane/address.ts";
import type { Program } from "../dataplane/program.ts";
import type { Story, StoryStep } from "./story.ts";
import { type ConnectionFates, LiveConnections } from "./timeline/connections.ts";
import { type Moment, momentsOf } from "./timeline/moments.ts";
import { type BurstPlan, type LivedStep, lowerOptions, NodeLife, type NodeLifeOptions } from "./timeline/nodeLife.ts";
import { type Transients, transientsOf } from "./timeline/transients.ts";
import { type Difference, differenceOf, type Written, writtenBy } from "./timeline/written.ts";

export interface TimelineOptions extends NodeLifeOptions {
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
  /** The states in between, in order; the last is `after`. Empty for the start. */
  readonly states: readonly Moment[];
}

export interface MetLapse {
  readonly lapse: Lapse;
  /** It was made here; otherwise the step would be another with `lapse.setting` on. */
  readonly isMade: boolean;
}

/** The start as step 0, then one step after the other, lazily. */
export function* timeline(story: Story, options: TimelineOptions): Generator<TimelineStep, void, void> {
  const life = new NodeLife(story, options);
  yield startStep(story, life);
  const connections = new LiveConnections(life.program);
  const others = options.strategy.lapses.map((lapse) => otherwise(lapse, story.start, options));
  for (const step of story.steps) {
    const { program: held, comparable: before } = life;
    const { plans, operations, moments } = life.step(step);
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
      differed: differenceOf(before, life.comparable),
      transients,
      connections: connections.through({ before: held, moments, transients, clusters }),
      lapses: others.flatMap(({ lapse, isMade, controller: other }) => {
        const elsewhere = step.bursts.flatMap((burst) => other.react(burst));
        return isAlike(operations, elsewhere) ? [] : [{ lapse, isMade }];
      }),
      before: held,
      after: life.program,
      states: moments,
    };
  }
}

/**
 * How the node came to the start, from never having run the solution: what is done. Nothing is followed: every packet's
 * verdict turns there, and what the rules will refuse is open until they stand.
 */
function startStep({ start, services }: Story, life: NodeLife): TimelineStep {
  const { before, operations } = life.start();
  return {
    step: { number: 0, what: "the start, on an empty node", time: undefined, bursts: [], cluster: start, services },
    operations,
    written: writtenBy(operations),
    differed: differenceOf(before, life.program),
    transients: { found: [], turned: 0, concerned: 0, followed: 0, left: [], spaces: [] },
    connections: { survive: 0, cut: 0, inherited: 0, stalled: 0, isSampled: false, examples: {} },
    lapses: [],
    before,
    after: life.program,
    states: [],
  };
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
  const life = new NodeLife(story, options);
  if (at.step === 0) {
    const { before, operations } = life.start();
    const { attachment } = life.program;
    return momentIn({ before, operations, moments: momentsOf(before, [{ operations, attachment }], attachment) }, at);
  }
  for (const step of story.steps) {
    if (step.number > at.step) break;
    const { program: before } = life;
    const lived = life.step(step);
    if (step.number === at.step) return momentIn({ ...lived, before }, at);
  }
  return { program: life.program, operations: 0 };
}

function momentIn(
  { before, operations: all, moments }: Pick<LivedStep, "operations" | "moments"> & Pick<TimelineStep, "before">,
  { operation: asked }: { readonly operation: number },
): StepMoment {
  const visible = all.flatMap(({ tool }, index) => (tool === "conntrack" ? [] : [index + 1]));
  const isOver = asked >= visible.length;
  const last = isOver ? all.length : (visible[asked - 1] ?? 0);
  const moment = moments.findLast(({ operation, settled }) => operation <= last && (isOver || settled !== true));
  return { program: moment?.program ?? before, operations: visible.length };
}

/** The same controller with one lapse the other way round. */
function otherwise(lapse: Lapse, start: ResolvedCluster, options: TimelineOptions) {
  const made = isMade(options.strategy, lowerOptions(options), lapse);
  const { option, on, off } = lapse.setting;
  const settings = new Map([...(options.settings ?? []), [option, made ? off : on]]);
  return { lapse, isMade: made, controller: controllerOf(options.strategy, start, { node: options.node, settings }) };
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
