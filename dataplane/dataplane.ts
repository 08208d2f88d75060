/** One node: a loaded program with its connection table. */

import { assertNever } from "./assertNever.ts";
import { TableMemo } from "./classes/tableMemo.ts";
import type { ConntrackEntry } from "./conntrack/entry.ts";
import type { ConntrackOptions } from "./conntrack/options.ts";
import type { ConntrackState } from "./conntrack/parts.ts";
import { ConntrackTable } from "./conntrack.ts";
import { DeviceTable } from "./devices.ts";
import { FlowMap, type FlowMapState } from "./maps/flowMap.ts";
import { type MapSurroundings, MapWalker } from "./maps/mapWalker.ts";
import type { PacketBatch } from "./packet.ts";
import type { Program } from "./program.ts";
import type { DecisionMeaning, ResultBatch } from "./result.ts";
import { NodeRoutes } from "./routes.ts";
import { TableWalker, type WalkSurroundings } from "./tables/walk.ts";
import type { TraceSink } from "./trace.ts";
import { VERDICTS } from "./verdict.ts";

export interface DataplaneOptions {
  /** Sysctls of connection tracking; absent: the kernel's defaults. */
  readonly conntrack?: ConntrackOptions;
  /** Default `memo`. */
  readonly engine?: Engine;
}

/**
 * How packets are decided. All engines give the same results; packets that somebody listens to are always walked.
 * - `walk`: rule by rule, look-up by look-up: the meaning of a program.
 * - `memo`: one packet of each kind is walked, the outcome remembered (classes/tableMemo.ts); established segments pass by
 *   WebAssembly when they have been many (conntrack/establishedPass.ts).
 * - `wasm`: as `memo`, and they do from the first on.
 */
export type Engine = "walk" | "memo" | "wasm";
export const ENGINES = ["walk", "memo", "wasm"] as const satisfies readonly Engine[];

/** What executes one kind of program. `attach` names columns and listener; `run` decides one row of them. */
export interface Evaluator {
  attach(batch: PacketBatch, results: ResultBatch, sink: TraceSink | undefined): void;
  run(row: number): void;
  /** Rows `from` (inclusive) to `to` (exclusive), in order. */
  runRows(from: number, to: number): void;
  decision(index: number): DecisionMeaning;
}

/** The connections of a node as data. */
export interface NodeConnections {
  readonly node: string;
  readonly conntrack: ConntrackState;
  readonly flows: FlowMapState;
}

/**
 * A node with state: connections outlive the programs that `load` exchanges, as they do in a kernel. Device numbers in
 * the batches pushed are those of `devices`, and stay valid as well.
 */
export class Dataplane {
  readonly node: string;
  readonly devices = new DeviceTable();
  /** Connections of table programs, and those of map programs. */
  readonly #conntrack: ConntrackTable;
  readonly #flows = new FlowMap();
  readonly #engine: Engine;
  #routes: NodeRoutes;
  #evaluator: Evaluator;

  /** Throws when the program is one that `verifyProgram` refuses. */
  constructor(program: Program, options: DataplaneOptions = {}) {
    this.node = program.node;
    this.#engine = options.engine ?? "memo";
    this.#conntrack = new ConntrackTable(options.conntrack, this.#engine === "wasm" ? 0 : undefined);
    this.#routes = new NodeRoutes(program.attachment, this.devices);
    this.#evaluator = createEvaluator(program, this.#engine, this.#surroundings());
  }

  /** Where addresses are, seen from this node. */
  get routes(): NodeRoutes {
    return this.#routes;
  }

  /** Replaces the program; decision numbers given out before lose their meaning, connections live on. */
  load(program: Program): void {
    if (program.node !== this.node) throw new Error(`program of node ${program.node} for node ${this.node}`);
    this.#routes = new NodeRoutes(program.attachment, this.devices);
    this.#evaluator = createEvaluator(program, this.#engine, this.#surroundings());
  }

  /** Pushes rows `from` (inclusive) to `to` (exclusive) through the node, in order. Path and devices must be set. */
  push(batch: PacketBatch, results: ResultBatch, from: number, to: number, sink?: TraceSink): void {
    this.#evaluator.attach(batch, results, sink);
    if (sink === undefined) {
      this.#evaluator.runRows(from, to);
      return;
    }
    for (let row = from; row < to; row++) {
      this.#evaluator.run(row);
      const verdict = VERDICTS[results.verdict[row] ?? 0] ?? "unknown";
      sink.step({ kind: "verdict", node: this.node, verdict });
    }
  }

  /** What `ResultBatch.decision` numbers mean. */
  decision(index: number): DecisionMeaning {
    return this.#evaluator.decision(index);
  }

  /** As `conntrack -L` lists them; not those of maps. */
  trackedConnections(): Iterable<ConntrackEntry> {
    return this.#conntrack.entries();
  }

  /** `conntrack --delete` with a filter: forgets the tracked connections that it names; how many. Not those of maps. */
  deleteConnections(isMeant: (entry: ConntrackEntry) => boolean): number {
    const meant = [...this.trackedConnections()].filter(isMeant);
    for (const { icmp, ...entry } of meant) {
      this.#conntrack.delete({
        ...entry,
        ...(icmp !== undefined && { icmpType: icmp.type, icmpCode: icmp.code, icmpId: icmp.id }),
      });
    }
    return meant.length;
  }

  /** A copy of all connections, to go on from later. */
  saveConnections(): NodeConnections {
    return { node: this.node, conntrack: this.#conntrack.save(), flows: this.#flows.save() };
  }

  /** Goes on from a copy that a node with the same program made. */
  restoreConnections({ node, conntrack, flows }: NodeConnections): void {
    if (node !== this.node) throw new Error(`connections of node ${node} for node ${this.node}`);
    this.#conntrack.restore(conntrack);
    this.#flows.restore(flows);
  }

  /** Forgets all connections. */
  flushConntrack(): void {
    this.#conntrack.flush();
    this.#flows.flush();
  }

  #surroundings(): WalkSurroundings & MapSurroundings {
    return { devices: this.devices, routes: this.#routes, connections: this.#conntrack, flows: this.#flows };
  }
}

function createEvaluator(
  program: Program,
  engine: Engine,
  surroundings: WalkSurroundings & MapSurroundings,
): Evaluator {
  switch (program.kind) {
    case "tables":
      return engine === "walk" ? new TableWalker(program, surroundings) : new TableMemo(program, surroundings);
    case "maps":
      return new MapWalker(program, surroundings, engine === "walk" ? "none" : "answers");
    default:
      return assertNever(program);
  }
}
