/** A solution's controller on one node while the cluster changes. */
import type { Program } from "../../dataplane/program.ts";
import type { ResolvedCluster } from "../resolve.ts";
import type { LowerOptions, Strategy } from "../strategies/strategy.ts";
import type { Burst } from "./events.ts";
import { NodeState } from "./nodeState.ts";
import type { Operation } from "./operation.ts";
import { planPlain } from "./plain.ts";

/**
 * Started and in sync with a cluster; told of what happens, it says what it does about it, in order. What it remembers
 * between two bursts is its own: a controller that forgets nothing and misses nothing is a function of two programs
 * (`plannedController`), one that does not needs its history.
 */
export interface Controller {
  /** What the node holds once all operations so far are done. */
  readonly program: Program;
  /** The same with names that do not depend on time, where the solution's own do: equal states are equal here. */
  readonly comparable?: Program;
  /** How the node came to the cluster it starts in sync with; to be asked before it is told of anything. */
  start(): Start;
  /** What happened before shows in the program: a fresh one on the same cluster has another. */
  readonly remembers?: true;
  react(burst: Burst): readonly Operation[];
}

/** How a node gets from never having run the solution to being in sync. */
export interface Start {
  readonly before: Program;
  readonly operations: readonly Operation[];
}

/** A node on which the solution has never run: its hooks without rules, no sets, no maps. */
export function emptied<P extends Program>(program: P): P {
  if (program.kind === "maps") return { ...program, maps: [], attachPoints: [] };
  return {
    ...program,
    sets: [],
    families: program.families.map(({ family, tables }) => ({
      family,
      tables: tables.map((table) => ({
        ...table,
        chains: table.chains.flatMap((chain) => (chain.policy === undefined ? [] : [{ ...chain, rules: [] }])),
      })),
    })),
  };
}

/** The strategy's own controller, or one that writes exactly what differs. */
export function controllerOf(strategy: Strategy, cluster: ResolvedCluster, options: LowerOptions): Controller {
  return strategy.follow?.(cluster, options) ?? plannedController(cluster, { strategy, options, plan: planPlain });
}

export interface PlannedOptions {
  readonly strategy: Pick<Strategy, "lower">;
  readonly options: LowerOptions;
  /** Without events: the way of a controller that starts. */
  plan(before: Program, after: Program, burst: Pick<Burst, "events">): readonly Operation[];
}

/** A controller that compiles the new cluster and plans the way from program to program. */
export function plannedController(start: ResolvedCluster, { strategy, options, plan }: PlannedOptions): Controller {
  let program = strategy.lower(start, options);
  return {
    get program() {
      return program;
    },
    start() {
      const before = emptied(program);
      return { before, operations: plan(before, program, { events: [] }) };
    },
    react(burst) {
      const before = program;
      program = strategy.lower(burst.after, options);
      return plan(before, program, burst);
    },
  };
}

/**
 * A strategy whose IPv6 tables, once there, stay: whether a family is programmed is a flag of the running controller, not
 * something that follows the cluster. `setting` turns the family on.
 */
export function keepingFamilies(
  strategy: Pick<Strategy, "lower" | "options">,
  setting: readonly [name: string, on: string],
): Pick<Strategy, "lower" | "options"> {
  let isOn = false;
  return {
    options: strategy.options,
    lower(cluster, options) {
      const kept = isOn ? { ...options, settings: new Map([...(options.settings ?? []), setting]) } : options;
      const program = strategy.lower(cluster, kept);
      isOn ||= program.kind === "tables" && program.families.some(({ family }) => family === 6);
      return program;
    },
  };
}

/** A state as the operations leave it. Throws when the kernel refuses one that has to succeed: a defect of the plan. */
export function carriedOut(before: Program, operations: readonly Operation[]): Program {
  const state = new NodeState(before);
  for (const operation of operations) runOperation(state, operation);
  return state.program;
}

/** All parts of an operation, up to one that the kernel refuses. */
export function runOperation(state: NodeState, operation: Operation): void {
  for (const part of operation.parts) {
    const refusal = state.run(part);
    if (refusal === undefined) continue;
    if (operation.mayFail === true) return;
    throw new Error(`${operation.tool} ${operation.args.join(" ")}: ${refusal}: ${JSON.stringify(part).slice(0, 300)}`);
  }
}
