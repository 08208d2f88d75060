/** One node under one solution through a story: what its controller does at each step, and the states that makes. */
import type { LowerOptions, Strategy } from "../../compiler/strategies/strategy.ts";
import { type Controller, controllerOf, runOperation, type Start } from "../../compiler/update/controller.ts";
import type { Burst } from "../../compiler/update/events.ts";
import { NodeState } from "../../compiler/update/nodeState.ts";
import type { ConnectionFlush, Operation } from "../../compiler/update/operation.ts";
import { formatAddress } from "../../dataplane/address.ts";
import type { Attachment, PodAttachment, Program } from "../../dataplane/program.ts";
import type { Story, StoryStep } from "../story.ts";
import { type Moment, momentsOf } from "./moments.ts";

export interface NodeLifeOptions {
  readonly strategy: Strategy;
  readonly node: string;
  readonly settings?: ReadonlyMap<string, string>;
}

/** The operations of a burst, and how pods hang on the node while they run. */
export interface BurstPlan {
  readonly burst: Burst;
  readonly operations: readonly Operation[];
  readonly attachment: Attachment;
}

export interface LivedStep {
  readonly plans: readonly BurstPlan[];
  readonly operations: readonly Operation[];
  /** The states in between, in order; the last is that after the step. */
  readonly moments: readonly Moment[];
}

export class NodeLife {
  readonly #options: NodeLifeOptions;
  readonly #controller: Controller;
  #program: Program;

  /** Started and in sync with the cluster that the story begins with. */
  constructor({ start }: Pick<Story, "start">, options: NodeLifeOptions) {
    this.#options = options;
    this.#controller = controllerOf(options.strategy, start, lowerOptions(options));
    this.#program = this.#controller.program;
  }

  /** What the node holds: after the steps so far, or at the start. */
  get program(): Program {
    return this.#program;
  }

  /** The same with names that do not depend on time, where the solution's own do: equal states are equal here. */
  get comparable(): Program {
    return this.#controller.comparable ?? this.#controller.program;
  }

  /** How the node came to the start of the story; to be asked before the first step. */
  start(): Start {
    return this.#controller.start();
  }

  /** The next step of the story. */
  step(step: StoryStep): LivedStep {
    const plans = this.#plan(step);
    const moments = momentsOf(this.#program, plans, this.#controller.program.attachment);
    this.#program = moments.at(-1)?.program ?? this.#program;
    return { plans, operations: plans.flatMap(({ operations }) => operations), moments };
  }

  /** The same for who asks nothing in between: the connections that the operations make the node forget. */
  pass(step: StoryStep): readonly ConnectionFlush[] {
    const state = new NodeState(this.#program);
    const flushes: ConnectionFlush[] = [];
    for (const { operations, attachment } of this.#plan(step)) {
      state.attach(attachment);
      for (const operation of operations) {
        runOperation(state, operation);
        for (const part of operation.parts) if (part.kind === "connections") flushes.push(part.flush);
      }
    }
    state.attach(this.#controller.program.attachment);
    this.#program = state.program;
    return flushes;
  }

  #plan(step: StoryStep): readonly BurstPlan[] {
    const { strategy } = this.#options;
    let before = this.#program.attachment;
    return step.bursts.map((burst) => {
      const operations = this.#controller.react(burst);
      const after = strategy.attach(burst.after, lowerOptions(this.#options));
      const attachment = bothAttached(before, after);
      before = after;
      return { burst, operations, attachment };
    });
  }
}

export function lowerOptions({ node, settings }: NodeLifeOptions): LowerOptions {
  return { node, ...(settings !== undefined && { settings }) };
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
