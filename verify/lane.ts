/**
 * One strategy, or the reference, as something that answers packets in order. Scenarios and the command line push the
 * same packets down several lanes and compare.
 */
import { compileNode } from "../compiler/compile.ts";
import type { ResolvedCluster } from "../compiler/resolve.ts";
import type { Strategy } from "../compiler/strategies/strategy.ts";
import { Fabric } from "../dataplane/fabric.ts";
import type { Packet } from "../dataplane/packet.ts";
import type { Program } from "../dataplane/program.ts";
import type { PacketResult } from "../dataplane/result.ts";
import type { TraceSink } from "../dataplane/trace.ts";
import type { CtState, Verdict } from "../dataplane/verdict.ts";
import { ReferenceConnections, type ReferenceResult } from "../reference/connections.ts";

/** The name under which the API text itself stands among the strategies. */
export const REFERENCE = "reference";

export interface Answer {
  readonly verdict: Verdict;
  readonly ctState: CtState;
  readonly by:
    | { readonly kind: "fabric"; readonly result: PacketResult }
    | { readonly kind: "reference"; readonly result: ReferenceResult };
}

/** Stateful: connection tracking remembers what was pushed. */
export interface Lane {
  readonly name: string;
  /** How refused traffic ends. */
  readonly denyVerdict: "drop" | "reject";
  /** Undefined for the reference. */
  readonly strategy: Strategy | undefined;
  /** `node`: one imported node answers, and knows nothing of the rest of the way. */
  readonly reach: "cluster" | "node";
  /** What the nodes run; empty for the reference. */
  readonly programs: readonly Program[];
  push(packet: Packet, sink?: TraceSink): Answer;
  /** Forgets all connections. */
  flush(): void;
  /** The cluster changed; connections live on. */
  change(cluster: ResolvedCluster): void;
}

export interface LaneOptions {
  /** Values for the strategy's options, by name. */
  readonly settings?: ReadonlyMap<string, string>;
  /** Record the rules that matched. */
  readonly walk?: boolean;
  /** Only these nodes are compiled and asked; undefined: all. */
  readonly nodes?: readonly string[];
}

/** The programs of a strategy on the nodes of a cluster. */
export function compileNodes(cluster: ResolvedCluster, strategy: Strategy, options: LaneOptions): readonly Program[] {
  const { settings, nodes } = options;
  return cluster.model.nodes
    .filter(({ name }) => nodes?.includes(name) ?? true)
    .map(({ name }) => compileNode(cluster, strategy, { node: name, ...(settings && { settings }) }));
}

export function strategyLane(cluster: ResolvedCluster, strategy: Strategy, options: LaneOptions): Lane {
  const compile = (now: ResolvedCluster): readonly Program[] => compileNodes(now, strategy, options);
  return new FabricLane({ strategy, programs: compile(cluster), compile, walk: options.walk === true });
}

/** A program that was read from a real node: every packet meets that node alone, whatever becomes of the cluster. */
export function importedLane(program: Program, strategy: Strategy, options: Pick<LaneOptions, "walk">): Lane {
  const programs = [program];
  return new FabricLane({
    strategy,
    programs,
    compile: () => programs,
    walk: options.walk === true,
    only: program.node,
  });
}

export function referenceLane(cluster: ResolvedCluster): Lane {
  const connections = new ReferenceConnections(cluster.model);
  return {
    name: REFERENCE,
    denyVerdict: "drop",
    strategy: undefined,
    reach: "cluster",
    programs: [],
    push(packet) {
      const result = connections.push(packet);
      return { verdict: result.verdict, ctState: result.ctState, by: { kind: "reference", result } };
    },
    flush: () => connections.flush(),
    change: ({ model }) => connections.setModel(model),
  };
}

interface FabricLaneOptions {
  readonly strategy: Strategy;
  readonly programs: readonly Program[];
  readonly compile: (cluster: ResolvedCluster) => readonly Program[];
  readonly walk: boolean;
  readonly only?: string;
}

class FabricLane implements Lane {
  readonly strategy: Strategy;
  readonly #fabric: Fabric;
  readonly #compile: (cluster: ResolvedCluster) => readonly Program[];
  readonly #reach: "cluster" | "node";
  #programs: readonly Program[];

  constructor({ strategy, programs, compile, ...fabric }: FabricLaneOptions) {
    this.strategy = strategy;
    this.#programs = programs;
    this.#compile = compile;
    this.#reach = fabric.only === undefined ? "cluster" : "node";
    this.#fabric = new Fabric(programs, fabric);
  }

  get name(): string {
    return this.strategy.name;
  }

  get denyVerdict(): "drop" | "reject" {
    return this.strategy.denyVerdict;
  }

  get reach(): "cluster" | "node" {
    return this.#reach;
  }

  get programs(): readonly Program[] {
    return this.#programs;
  }

  push(packet: Packet, sink?: TraceSink): Answer {
    const result = this.#fabric.push(packet, sink);
    return { verdict: result.verdict, ctState: result.ctState, by: { kind: "fabric", result } };
  }

  flush(): void {
    this.#fabric.flushConntrack();
  }

  change(cluster: ResolvedCluster): void {
    this.#programs = this.#compile(cluster);
    this.#fabric.load(this.#programs);
  }
}
