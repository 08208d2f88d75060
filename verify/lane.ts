/**
 * One strategy, or the reference, as something that answers packets in order. Scenarios and the command line push the
 * same packets down several lanes and compare.
 */
import { compileNode } from "../compiler/compile.ts";
import type { ResolvedCluster } from "../compiler/resolve.ts";
import type { Strategy } from "../compiler/strategies/strategy.ts";
import type { IpAddress } from "../dataplane/address.ts";
import type { Engine } from "../dataplane/dataplane.ts";
import { createFabricResults, Fabric, type FabricOptions } from "../dataplane/fabric.ts";
import { appendPacket, createBatch, hasPorts, type Packet } from "../dataplane/packet.ts";
import type { Program } from "../dataplane/program.ts";
import type { PacketResult } from "../dataplane/result.ts";
import type { TraceSink } from "../dataplane/trace.ts";
import { type CtState, VERDICTS, type Verdict } from "../dataplane/verdict.ts";
import { ReferenceConnections, type ReferenceResult } from "../reference/connections.ts";
import { ownerOf } from "../reference/owner.ts";
import { answerTo } from "./answer.ts";

/** The name under which the API text itself stands among the strategies. */
export const REFERENCE = "reference";

export interface Answer {
  readonly verdict: Verdict;
  readonly ctState: CtState;
  readonly by:
    | { readonly kind: "fabric"; readonly result: PacketResult }
    | { readonly kind: "reference"; readonly result: ReferenceResult };
}

/** A first packet of a connection, and what was sent back. */
export interface Opening {
  readonly verdict: Verdict;
  /** On the answer to it; undefined when it did not pass. */
  readonly answer: Verdict | undefined;
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
  /** What becomes of packets pushed in order; connections are remembered, as by `push`, but nothing else is told. */
  verdicts(packets: readonly Packet[]): readonly Verdict[];
  /**
   * What becomes of first packets of connections between one pair of addresses, none like another in protocol and
   * destination port, and of the answers to those that pass: each as if nothing else had ever been sent. Forgets all
   * connections.
   */
  open(packets: readonly Packet[]): readonly Opening[];
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
  /** How packets are decided; what is left out is the dataplane's choice. */
  readonly engine?: Engine;
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
  const { engine, walk } = options;
  return new FabricLane({
    strategy,
    programs: compile(cluster),
    compile,
    walk: walk === true,
    ...(engine && { engine }),
  });
}

/** Programs that are there already, such as those of a moment within an update; they stay whatever becomes of the cluster. */
export function programsLane(
  programs: readonly Program[],
  strategy: Strategy,
  { walk }: { readonly walk: boolean },
): Lane {
  return new FabricLane({ strategy, programs, compile: () => programs, walk });
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
    verdicts: (packets) => packets.map((packet) => connections.push(packet).verdict),
    open(packets) {
      return packets.map((packet) => openAlone(this, packet));
    },
    flush: () => connections.flush(),
    change: ({ model }) => connections.setModel(model),
  };
}

function openAlone(lane: Pick<Lane, "push" | "flush">, packet: Packet): Opening {
  lane.flush();
  const { verdict } = lane.push(packet);
  return { verdict, answer: verdict === "accept" ? lane.push(answerTo(packet)).verdict : undefined };
}

/** Whether the address is that of a pod of the node, or the node's own. */
export function isOnNode({ model }: Pick<ResolvedCluster, "model">, node: string, address: IpAddress): boolean {
  const owner = ownerOf(model, address);
  return owner.kind === "pod" ? owner.pod.node === node : owner.kind === "node" && owner.node === node;
}

/**
 * The reference on one node alone, to stand beside an imported one: of the two directions of a first packet those have a
 * say whose end is on the node.
 */
export function nodeReferenceLane(cluster: ResolvedCluster, node: string): Lane {
  const whole = referenceLane(cluster);
  let model = cluster.model;
  // Addresses of the node itself are governed by no policy.
  const isHere = (address: IpAddress) => isOnNode({ model }, node, address);
  return {
    ...whole,
    reach: "node",
    push(packet) {
      const answer = whole.push(packet);
      if (answer.by.kind !== "reference" || answer.ctState !== "new") return answer;
      const { result } = answer.by;
      const [sends, receives] = [isHere(packet.source), isHere(packet.destination)];
      const { egress, ingress } = result.directions;
      const directions = { egress: sends ? egress : "accept", ingress: receives ? ingress : "accept" } as const;
      const verdict = directions.egress === "drop" || directions.ingress === "drop" ? "drop" : "accept";
      const [ofEgress = "", ofIngress = ""] = result.because;
      const because = [
        sends ? ofEgress : `egress: not sent from ${node}`,
        receives ? ofIngress : `ingress: not for ${node}`,
      ];
      return { ...answer, verdict, by: { kind: "reference", result: { ...result, verdict, directions, because } } };
    },
    change(changed) {
      model = changed.model;
      whole.change(changed);
    },
  };
}

/** Of a packet that was not put to anybody. */
export const NOT_ASKED: Opening = { verdict: "unknown", answer: undefined };

interface FabricLaneOptions {
  readonly strategy: Strategy;
  readonly programs: readonly Program[];
  readonly compile: (cluster: ResolvedCluster) => readonly Program[];
  readonly walk: boolean;
  readonly only?: string;
  readonly engine?: Engine;
}

class FabricLane implements Lane {
  readonly strategy: Strategy;
  readonly #options: FabricOptions;
  /** Loaded when the first packet comes: who asks about programs alone needs none. */
  #loaded: Fabric | undefined;
  readonly #compile: (cluster: ResolvedCluster) => readonly Program[];
  readonly #reach: "cluster" | "node";
  #programs: readonly Program[];
  /** Columns of `open`, as long as it ever took. */
  #batch = createBatch(0);
  #results = createFabricResults(0);

  constructor({ strategy, programs, compile, ...fabric }: FabricLaneOptions) {
    this.strategy = strategy;
    this.#programs = programs;
    this.#compile = compile;
    this.#reach = fabric.only === undefined ? "cluster" : "node";
    this.#options = fabric;
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

  verdicts(packets: readonly Packet[]): readonly Verdict[] {
    if (this.#batch.capacity < packets.length) {
      this.#batch = createBatch(packets.length);
      this.#results = createFabricResults(packets.length);
    }
    this.#batch.length = 0;
    for (const packet of packets) appendPacket(this.#batch, packet);
    this.#fabric.pushBatch(this.#batch, this.#results);
    return packets.map((_, row) => VERDICTS[this.#results.verdict[row] ?? 0] ?? "unknown");
  }

  open(packets: readonly Packet[]): readonly Opening[] {
    // Connections of protocols with ports keep apart by them; what has none would be taken for more of the one before.
    const [together, alone] = [
      packets.filter((one) => hasPorts(one.protocol)),
      packets.filter((one) => !hasPorts(one.protocol)),
    ];
    const openings = new Map<Packet, Opening>();
    for (const group of [together, ...alone.map((one) => [one])]) this.#open(group, openings);
    return packets.map((packet) => openings.get(packet) ?? NOT_ASKED);
  }

  #open(packets: readonly Packet[], into: Map<Packet, Opening>): void {
    this.flush();
    const verdicts = this.verdicts(packets);
    const passed = packets.filter((_, index) => verdicts[index] === "accept");
    const answers = this.verdicts(passed.map(answerTo));
    for (const [index, packet] of packets.entries())
      into.set(packet, { verdict: verdicts[index] ?? "unknown", answer: undefined });
    for (const [index, packet] of passed.entries()) into.set(packet, { verdict: "accept", answer: answers[index] });
  }

  flush(): void {
    this.#loaded?.flushConntrack();
  }

  get #fabric(): Fabric {
    this.#loaded ??= new Fabric(this.#programs, this.#options);
    return this.#loaded;
  }

  change(cluster: ResolvedCluster): void {
    this.#programs = this.#compile(cluster);
    this.#loaded?.load(this.#programs);
  }
}
