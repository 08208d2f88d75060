/** Programs and batches for the measurements of engine.ts: one node of a workload cluster, and traffic that meets it. */
import { resolvePolicies } from "../compiler/compile.ts";
import { strategyNamed } from "../compiler/strategies/registry.ts";
import { Dataplane, type Engine } from "../dataplane/dataplane.ts";
import { NO_DEVICE } from "../dataplane/devices.ts";
import { createBatch, PATH, type PacketBatch, PROTOCOL, TCP_FLAG } from "../dataplane/packet.ts";
import type { Program } from "../dataplane/program.ts";
import { createResults, type ResultBatch } from "../dataplane/result.ts";
import { NodeRoutes } from "../dataplane/routes.ts";
import { VERDICT_CODE } from "../dataplane/verdict.ts";
import { Random } from "./workloads/random.ts";
import { clusterOf, type WorkloadSize } from "./workloads.ts";

/** Rows of a batch: what fits the caches beside the tables. */
export const BATCH_ROWS = 2048;

/** The cluster of the targets: 10,000 pods on 100 nodes, ten policies in each of 10 namespaces. */
export const TARGET_CLUSTER: WorkloadSize = {
  pods: 10_000,
  policies: 100,
  namespaces: 10,
  nodes: 100,
  seed: 7,
  shape: "mixed",
};

export interface EngineScene {
  readonly program: Program;
  /** Pods of the node, and pods elsewhere, as IPv4 words. */
  readonly localPods: Int32Array;
  readonly remotePods: Int32Array;
}

/** The first node of a cluster under a strategy. */
export function sceneOf(strategyName: string, size: WorkloadSize = TARGET_CLUSTER): EngineScene {
  const strategy = strategyNamed(strategyName);
  if (strategy === undefined) throw new Error(`no strategy ${strategyName}`);
  const model = clusterOf(size);
  const node = model.nodes[0]?.name ?? "";
  const program = strategy.lower(resolvePolicies(model), { node });
  const words = (isLocal: (node: string | undefined) => boolean) =>
    Int32Array.from(
      model.endpoints.filter((pod) => isLocal(pod.node)),
      ({ addresses }) => addresses[0]?.words[0] ?? 0,
    );
  return { program, localPods: words((name) => name === node), remotePods: words((name) => name !== node) };
}

/** A node with the program of the scene. */
export function nodeOf(scene: EngineScene, engine: Engine, mostFlows = 262_144): Dataplane {
  return new Dataplane(scene.program, { engine, conntrack: { maxEntries: mostFlows } });
}

/** One row: a TCP segment, without path and devices. */
export interface Segment {
  readonly source: number;
  readonly destination: number;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly flags: number;
  readonly sequence: number;
  readonly acknowledgment: number;
  readonly payloadBytes: number;
}

export function writeSegment(batch: PacketBatch, row: number, segment: Segment): void {
  batch.family[row] = 4;
  batch.protocol[row] = PROTOCOL.tcp;
  batch.source0[row] = segment.source;
  batch.destination0[row] = segment.destination;
  batch.sourcePort[row] = segment.sourcePort;
  batch.destinationPort[row] = segment.destinationPort;
  batch.tcpFlags[row] = segment.flags;
  batch.sequence[row] = segment.sequence;
  batch.acknowledgment[row] = segment.acknowledgment;
  batch.payloadBytes[row] = segment.payloadBytes;
  batch.window[row] = 65_535;
}

/** Fills path and devices as the fabric does. */
export function routeRows(batch: PacketBatch, { routes }: Dataplane): void {
  for (let row = 0; row < batch.length; row++) {
    const source = routes.place(4, batch.source0[row] ?? 0, 0, 0, 0);
    const destination = routes.place(4, batch.destination0[row] ?? 0, 0, 0, 0);
    batch.path[row] =
      source === NodeRoutes.LOCAL ? PATH.output : destination === NodeRoutes.LOCAL ? PATH.input : PATH.forward;
    batch.inDevice[row] = routes.device(source);
    batch.outDevice[row] = routes.device(destination);
    batch.physInDevice[row] = routes.port(source);
    batch.physOutDevice[row] = batch.physInDevice[row] === NO_DEVICE ? NO_DEVICE : routes.port(destination);
  }
}

/** TCP connections that a node accepts, with the numbers each end would send next. */
export class Connections {
  readonly client: Int32Array;
  readonly server: Int32Array;
  readonly clientPort: Uint16Array;
  readonly serverPort: Uint16Array;
  /** Next sequence number by connection and direction. */
  readonly next: Uint32Array;
  #count = 0;

  constructor(capacity: number) {
    this.client = new Int32Array(capacity);
    this.server = new Int32Array(capacity);
    this.clientPort = new Uint16Array(capacity);
    this.serverPort = new Uint16Array(capacity);
    this.next = new Uint32Array(capacity * 2);
  }

  get count(): number {
    return this.#count;
  }

  add(client: number, server: number, ports: readonly [client: number, server: number]): void {
    const at = this.#count++;
    this.client[at] = client;
    this.server[at] = server;
    [this.clientPort[at], this.serverPort[at]] = ports;
  }

  /** The next segment of a connection: direction 0 from the client, 1 from the server. Numbers move on. */
  write(batch: PacketBatch, row: number, what: { connection: number; direction: 0 | 1; flags: number; bytes: number }) {
    const { connection, direction, flags, bytes } = what;
    const isClient = direction === 0;
    const sequence = this.next[connection * 2 + direction] ?? 0;
    const acknowledgment = (flags & TCP_FLAG.A) === 0 ? 0 : (this.next[connection * 2 + 1 - direction] ?? 0);
    writeSegment(batch, row, {
      source: (isClient ? this.client : this.server)[connection] ?? 0,
      destination: (isClient ? this.server : this.client)[connection] ?? 0,
      sourcePort: (isClient ? this.clientPort : this.serverPort)[connection] ?? 0,
      destinationPort: (isClient ? this.serverPort : this.clientPort)[connection] ?? 0,
      flags,
      sequence,
      acknowledgment,
      payloadBytes: bytes,
    });
    this.next[connection * 2 + direction] = sequence + bytes + ((flags >> 1) & 1);
  }
}

const SERVICE_PORTS = [80, 443, 5432, 8080, 9090, 30_010];

/** Pairs of pods and ports that a program lets through, one of them on the node. */
export function acceptedPairs(scene: EngineScene, count: number, seed: number): readonly (readonly number[])[] {
  const node = nodeOf(scene, "memo");
  const random = new Random(seed);
  const batch = createBatch(BATCH_ROWS);
  const results = createResults(BATCH_ROWS);
  const accepted: (readonly number[])[] = [];
  for (let tries = 0; accepted.length < count && tries < 10_000; tries++) {
    fillNew(batch, scene, { random, firstPort: 1024 });
    routeRows(batch, node);
    node.push(batch, results, 0, batch.length);
    for (let row = 0; row < batch.length && accepted.length < count; row++) {
      if (results.verdict[row] !== VERDICT_CODE.accept) continue;
      accepted.push([batch.source0[row] ?? 0, batch.destination0[row] ?? 0, batch.destinationPort[row] ?? 0]);
    }
  }
  if (accepted.length < count)
    throw new Error(`${scene.program.strategy} accepts ${accepted.length} of ${count} pairs`);
  return accepted;
}

/** A full batch of SYNs from random pods to random pods, one end on the node. Source ports count up, so all are new. */
export function fillNew(
  batch: PacketBatch,
  { localPods, remotePods }: EngineScene,
  { random, firstPort }: { readonly random: Random; readonly firstPort: number },
): void {
  batch.length = batch.capacity;
  for (let row = 0; row < batch.length; row++) {
    const local = localPods[random.below(localPods.length)] ?? 0;
    const remote = remotePods[random.below(remotePods.length)] ?? 0;
    const isIngress = random.below(2) === 0;
    writeSegment(batch, row, {
      source: isIngress ? remote : local,
      destination: isIngress ? local : remote,
      sourcePort: 1024 + ((firstPort + row) % 60_000),
      destinationPort: random.pick(SERVICE_PORTS),
      flags: TCP_FLAG.S,
      sequence: 1,
      acknowledgment: 0,
      payloadBytes: 0,
    });
  }
}

/** Establishes `count` accepted TCP connections on a node. */
export function establish(node: Dataplane, scene: EngineScene, count: number): Connections {
  const pairs = acceptedPairs(scene, Math.min(count, 20_000), 3);
  const connections = new Connections(count);
  for (let index = 0; index < count; index++) {
    const [client = 0, server = 0, port = 0] = pairs[index % pairs.length] ?? [];
    connections.add(client, server, [1024 + Math.floor(index / pairs.length), port]);
  }
  const batch = createBatch(BATCH_ROWS);
  const results = createResults(BATCH_ROWS);
  const handshake = [
    { direction: 0, flags: TCP_FLAG.S },
    { direction: 1, flags: TCP_FLAG.S | TCP_FLAG.A },
    { direction: 0, flags: TCP_FLAG.A },
  ] as const;
  for (let from = 0; from < count; from += BATCH_ROWS) {
    for (const { direction, flags } of handshake) {
      batch.length = Math.min(BATCH_ROWS, count - from);
      for (let row = 0; row < batch.length; row++) {
        connections.write(batch, row, { connection: from + row, direction, flags, bytes: 0 });
      }
      pushAccepted(node, batch, results);
    }
  }
  return connections;
}

/** Pushes a batch, of which all must pass. */
export function pushAccepted(node: Dataplane, batch: PacketBatch, results: ResultBatch): void {
  routeRows(batch, node);
  node.push(batch, results, 0, batch.length);
  for (let row = 0; row < batch.length; row++) {
    if (results.verdict[row] !== VERDICT_CODE.accept) throw new Error(`row ${row} has verdict ${results.verdict[row]}`);
  }
}
