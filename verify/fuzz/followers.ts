/** The controllers of all nodes along a history: their plans carried out part by part, and what they end in held to what is fresh. */
import type { ResolvedCluster } from "../../compiler/resolve.ts";
import type { Strategy } from "../../compiler/strategies/strategy.ts";
import { type Controller, controllerOf } from "../../compiler/update/controller.ts";
import { type Burst, burstsBetween } from "../../compiler/update/events.ts";
import { verifyProgram } from "../../compiler/verify.ts";
import type { Program } from "../../dataplane/program.ts";
import { momentsOf } from "../timeline/moments.ts";
import { differenceOf } from "../timeline/written.ts";

interface Follower {
  readonly controller: Controller;
  state: Program;
}

export class Followers {
  readonly #strategy: Strategy;
  #cluster: ResolvedCluster;
  readonly #nodes = new Map<string, Follower>();

  constructor(strategy: Strategy, start: ResolvedCluster) {
    this.#strategy = strategy;
    this.#cluster = start;
    this.#join(start);
  }

  /**
   * Takes all nodes to the cluster. Throws when a node refuses an operation, when a state on the way is no program, when a
   * plan does not end where its controller thinks, or a controller that remembers nothing not in the fresh program.
   */
  follow(cluster: ResolvedCluster, fresh: readonly Program[]): void {
    const bursts = burstsBetween(this.#cluster, cluster);
    for (const [node, follower] of this.#nodes) this.#followOn(node, follower, bursts);
    this.#cluster = bursts.at(-1)?.after ?? this.#cluster;
    for (const program of fresh) {
      const follower = this.#nodes.get(program.node);
      if (follower === undefined || follower.controller.remembers === true) continue;
      holdAlike(program.node, "the fresh program", follower.controller.comparable ?? follower.state, program);
    }
    this.#join(this.#cluster);
  }

  /** The programs as the plans left them; undefined for nodes of a controller that remembers. */
  programs(fresh: readonly Program[]): readonly Program[] {
    return fresh.map((program) => {
      const follower = this.#nodes.get(program.node);
      return follower === undefined || follower.controller.remembers === true ? program : follower.state;
    });
  }

  #join({ model }: ResolvedCluster): void {
    const names = new Set(model.nodes.map(({ name }) => name));
    for (const name of [...this.#nodes.keys()]) if (!names.has(name)) this.#nodes.delete(name);
    for (const node of names) {
      if (this.#nodes.has(node)) continue;
      const controller = controllerOf(this.#strategy, this.#cluster, { node });
      this.#nodes.set(node, { controller, state: controller.program });
    }
  }

  #followOn(node: string, follower: Follower, bursts: readonly Burst[]): void {
    const plans = bursts.map((burst) => ({
      operations: follower.controller.react(burst),
      attachment: this.#strategy.attach(burst.after, { node }),
    }));
    const moments = momentsOf(follower.state, plans, follower.controller.program.attachment);
    for (const { program, operation, part } of moments) {
      const [problem] = verifyProgram(program);
      if (problem === undefined) continue;
      throw new Error(`${node}, after part ${part} of operation ${operation}: ${JSON.stringify(problem)}`);
    }
    follower.state = moments.at(-1)?.program ?? follower.state;
    holdAlike(node, "what its controller takes it for", follower.state, follower.controller.program);
  }
}

function holdAlike(node: string, what: string, state: Program, wanted: Program): void {
  // Numbers in maps go on counting, and a family that was on stays on.
  if (what === "the fresh program" && (state.kind === "maps" || families(state) !== families(wanted))) return;
  const { rules, setEntries, mapEntries } = differenceOf(state, wanted);
  if (rules + setEntries + mapEntries === 0) return;
  const counts = `${rules} rules, ${setEntries} set entries, ${mapEntries} map entries`;
  throw new Error(`${node}: the operations end ${counts} beside ${what}`);
}

function families(program: Program): string {
  return program.kind === "tables" ? program.families.map(({ family }) => family).join() : "";
}
