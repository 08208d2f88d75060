/**
 * A side of a replay: one strategy, an imported node or the API text, over one state of the cluster. Packets go in as
 * columns; out come verdicts, and the causes of those that matter as small numbers.
 */

import type { ResolvedCluster } from "../compiler/resolve.ts";
import type { Strategy } from "../compiler/strategies/strategy.ts";
import type { ConntrackOptions } from "../dataplane/conntrack/options.ts";
import type { NodeConnections } from "../dataplane/dataplane.ts";
import { createFabricResults, Fabric, type FabricResults } from "../dataplane/fabric.ts";
import type { PacketBatch } from "../dataplane/packet.ts";
import type { Attachment, Program } from "../dataplane/program.ts";
import type { Decision } from "../dataplane/result.ts";
import { CT_STATE_CODE, type DropReason, VERDICT_CODE, VERDICTS } from "../dataplane/verdict.ts";
import { ReferenceConnections } from "../reference/connections.ts";
import { packetAt } from "../traffic/packetRow.ts";
import {
  compileNodes,
  importedLane,
  type Lane,
  programsLane,
  REFERENCE,
  referenceLane,
  strategyLane,
} from "../verify/lane.ts";
import type { Story, StoryStep } from "../verify/story.ts";
import { flushConnections } from "../verify/timeline/connections.ts";
import { StoryNodes } from "./storyNodes.ts";

/** The rule or entry that decided about a flow, and why it did not pass. */
export interface Cause {
  readonly decision: Decision | undefined;
  readonly reason: DropReason | undefined;
  /** The API's sentences, where the reference answered. */
  readonly because: readonly string[] | undefined;
}

export interface Side {
  /** What the report calls it: `before`, `after`, or the strategy. */
  readonly name: string;
  readonly strategy: Strategy | undefined;
  readonly strategyName: string;
  /** As it is at the start. */
  readonly cluster: ResolvedCluster;
  /** How pods hang on the nodes that packets meet now; and whether these are rules of netfilter, which come before a packet leaves. */
  readonly attachments: ReadonlyMap<string, Attachment>;
  readonly filtersBeforeLeaving: boolean;
  /** `VERDICT_CODE` of the rows pushed last. */
  readonly verdict: Uint8Array;
  /** Every cause asked for so far, by number. */
  readonly causes: readonly Cause[];
  /** All rows of the batch, in order. */
  push(batch: PacketBatch): void;
  /** `CT_STATE_CODE` of a row pushed last, on the last node that saw it. */
  ctStateOf(row: number): number;
  /** The number of the cause of a row pushed last. */
  causeOf(row: number): number;
  /** Connections and causes, to go on from later; undefined: the side cannot. */
  save(): SideState | undefined;
  restore(state: SideState): void;
  /** The next step of the story that the side was made with; connections live on. */
  step(step: StoryStep): void;
  /** After so many steps of the story. */
  clusterAt(step: number): ResolvedCluster;
  /** A new lane with the programs of after so many steps and no connections, to look at single packets. */
  freshLane(step: number): Lane;
}

/** A side between two batches, as data. */
export interface SideState {
  readonly causes: readonly Cause[];
  readonly nodes: readonly NodeConnections[];
}

export interface SideOptions {
  readonly name: string;
  readonly cluster: ResolvedCluster;
  /** What becomes of the cluster, which is its start; undefined: nothing. */
  readonly story?: Story;
  /** Rows of a batch at most. */
  readonly capacity: number;
}

export interface StrategySideOptions extends SideOptions {
  readonly strategy: Strategy;
  readonly settings?: ReadonlyMap<string, string>;
  /** A program that every packet meets alone: one read from a real node, or what stands beside it. */
  readonly alone?: Program;
  /** The nodes that packets meet, one of them every packet; undefined: all. With a story, of all its times. */
  readonly nodes?: readonly string[];
}

/**
 * A recording is replayed faster than it was made and is not the machine's whole traffic, so its connections never meet
 * the kernel's limit of 262,144: each side may hold as many as there is memory for.
 */
const CONNTRACK: ConntrackOptions = { maxEntries: 16_777_216 };

export function strategySide(options: StrategySideOptions): Side {
  const { cluster, strategy, settings, alone, nodes: chosen, story } = options;
  if (story !== undefined) {
    const nodes = new StoryNodes(story, { strategy, ...(settings && { settings }), ...(chosen && { nodes: chosen }) });
    return new FabricSide(options, nodes.programs, nodes);
  }
  const programs =
    alone === undefined
      ? compileNodes(cluster, strategy, { ...(settings && { settings }), ...(chosen && { nodes: chosen }) })
      : [alone];
  return new FabricSide(options, programs);
}

class FabricSide implements Side {
  readonly name: string;
  readonly strategy: Strategy;
  readonly cluster: ResolvedCluster;
  readonly verdict: Uint8Array;
  readonly causes: Cause[] = [];
  readonly #options: StrategySideOptions;
  /** At the start. */
  readonly #programs: readonly Program[];
  readonly #fabric: Fabric;
  readonly #results: FabricResults;
  readonly #nodes: StoryNodes | undefined;
  /** Decision number of a node -> cause. */
  #known: Map<number, number>[] = [];
  /** What the causes say -> their numbers. */
  readonly #numbers = new Map<string, number>();
  #unseen = -1;

  /** `nodes`: what `programs` are of, where a story goes on. */
  constructor(options: StrategySideOptions, programs: readonly Program[], nodes?: StoryNodes) {
    this.#options = options;
    this.#nodes = nodes;
    this.name = options.name;
    this.strategy = options.strategy;
    this.cluster = options.cluster;
    const only = options.alone?.node ?? (options.nodes?.length === 1 ? options.nodes[0] : undefined);
    this.#programs = programs;
    this.#fabric = new Fabric(programs, { ...(only !== undefined && { only }), conntrack: CONNTRACK });
    this.#results = createFabricResults(options.capacity);
    this.verdict = this.#results.verdict;
  }

  get strategyName(): string {
    return this.strategy.name;
  }

  push(batch: PacketBatch): void {
    this.#fabric.pushBatch(batch, this.#results);
  }

  ctStateOf(row: number): number {
    const { hopCount, hops } = this.#results;
    const count = hopCount[row] ?? 0;
    return count === 0 ? CT_STATE_CODE.untracked : (hops[count - 1]?.results.ctState[row] ?? 0);
  }

  causeOf(row: number): number {
    const count = this.#results.hopCount[row] ?? 0;
    const hop = this.#results.hops[count - 1];
    if (hop === undefined) {
      if (this.#unseen < 0) this.#unseen = this.#add({ decision: undefined, reason: undefined, because: undefined });
      return this.#unseen;
    }
    const node = hop.node[row] ?? 0;
    const number = hop.results.decision[row] ?? 0;
    const verdict = this.#results.verdict[row] ?? 0;
    let known = this.#known[node];
    if (known === undefined) {
      known = new Map();
      this.#known[node] = known;
    }
    const key = number * 4 + verdict;
    const found = known.get(key);
    if (found !== undefined) return found;
    const meaning = this.#fabric.nodes[node]?.decision(number);
    const accepted = verdict === VERDICT_CODE.accept;
    const reason = accepted ? undefined : verdict === VERDICT_CODE.unknown ? "opaque" : meaning?.reason;
    const cause = this.#add({ decision: meaning?.decision, reason, because: undefined });
    known.set(key, cause);
    return cause;
  }

  save(): SideState {
    return { causes: this.causes, nodes: this.#fabric.nodes.map((node) => node.saveConnections()) };
  }

  restore({ causes, nodes }: SideState): void {
    for (const cause of causes) this.#add(cause);
    for (const [index, node] of this.#fabric.nodes.entries()) {
      const state = nodes[index];
      if (state === undefined) throw new Error(`no connections of node ${node.node}`);
      node.restoreConnections(state);
    }
  }

  get attachments(): ReadonlyMap<string, Attachment> {
    return new Map((this.#nodes?.programs ?? this.#programs).map(({ node, attachment }) => [node, attachment]));
  }

  get filtersBeforeLeaving(): boolean {
    return this.#programs.every(({ kind }) => kind === "tables");
  }

  step(step: StoryStep): void {
    if (this.#nodes === undefined) throw new Error(`side ${this.name} has no story`);
    const flushes = this.#nodes.step(step);
    this.#fabric.load(this.#nodes.programs);
    for (const node of this.#fabric.nodes) {
      for (const flush of flushes.get(node.node) ?? []) flushConnections(node, flush);
    }
    // Decisions are numbered by program.
    this.#known = [];
  }

  clusterAt(step: number): ResolvedCluster {
    return clusterAt(this.#options, step);
  }

  freshLane(step: number): Lane {
    const { alone, settings, story, nodes: chosen } = this.#options;
    if (alone !== undefined) return importedLane(alone, this.strategy, { walk: true });
    const options = { ...(settings && { settings }), ...(chosen && { nodes: chosen }) };
    if (story === undefined) return strategyLane(this.cluster, this.strategy, { walk: true, ...options });
    const nodes = new StoryNodes(story, { strategy: this.strategy, ...options });
    for (const each of story.steps.slice(0, step)) nodes.step(each);
    const [first] = nodes.programs;
    if (chosen?.length === 1 && first !== undefined) return importedLane(first, this.strategy, { walk: true });
    return programsLane(nodes.programs, this.strategy, { walk: true });
  }

  /** Another program may have a cause as one before it had. */
  #add(cause: Cause): number {
    const text = JSON.stringify(cause);
    const number = this.#numbers.get(text) ?? this.causes.push(cause) - 1;
    this.#numbers.set(text, number);
    return number;
  }
}

/** The API text: exact, and packet by packet, so slower by orders of magnitude. */
export function referenceSide(options: SideOptions): Side {
  return new ReferenceSide(options);
}

class ReferenceSide implements Side {
  readonly name: string;
  readonly strategy = undefined;
  readonly strategyName = REFERENCE;
  readonly cluster: ResolvedCluster;
  readonly attachments: ReadonlyMap<string, Attachment> = new Map();
  readonly filtersBeforeLeaving = false;
  readonly verdict: Uint8Array;
  readonly causes: Cause[] = [];
  readonly #ctState: Uint8Array;
  readonly #connections: ReferenceConnections;
  readonly #because: (readonly string[])[];
  readonly #known = new Map<string, number>();
  readonly #options: SideOptions;

  constructor(options: SideOptions) {
    const { name, cluster, capacity } = options;
    this.#options = options;
    this.name = name;
    this.cluster = cluster;
    this.verdict = new Uint8Array(capacity);
    this.#ctState = new Uint8Array(capacity);
    this.#connections = new ReferenceConnections(cluster.model);
    this.#because = Array.from({ length: capacity }, () => []);
  }

  push(batch: PacketBatch): void {
    for (let row = 0; row < batch.length; row++) {
      const { verdict, ctState, because } = this.#connections.push(packetAt(batch, row));
      this.verdict[row] = VERDICT_CODE[verdict];
      this.#ctState[row] = CT_STATE_CODE[ctState];
      this.#because[row] = because;
    }
  }

  ctStateOf(row: number): number {
    return this.#ctState[row] ?? 0;
  }

  causeOf(row: number): number {
    const because = this.#because[row] ?? [];
    const verdict = VERDICTS[this.verdict[row] ?? 0];
    const key = `${verdict} ${because.join("\n")}`;
    const found = this.#known.get(key);
    if (found !== undefined) return found;
    const reason = verdict === "accept" ? undefined : "policy";
    const cause = this.causes.push({ decision: undefined, reason, because }) - 1;
    this.#known.set(key, cause);
    return cause;
  }

  save(): undefined {
    return undefined;
  }

  restore(): void {
    throw new Error("the reference keeps its connections to itself");
  }

  step({ cluster }: StoryStep): void {
    this.#connections.setModel(cluster.model);
  }

  clusterAt(step: number): ResolvedCluster {
    return clusterAt(this.#options, step);
  }

  freshLane(step: number): Lane {
    return referenceLane(this.clusterAt(step));
  }
}

function clusterAt({ cluster, story }: SideOptions, step: number): ResolvedCluster {
  return story?.steps[step - 1]?.cluster ?? cluster;
}
