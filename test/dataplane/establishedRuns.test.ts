/** Established segments, which pass together past others, against the engine that looks at each packet by itself. */
import { describe, expect, it } from "vitest";
import {
  BATCH_ROWS,
  type Connections,
  type EngineScene,
  establish,
  routeRows,
  sceneOf,
  writeSegment,
} from "../../bench/engineTraffic.ts";
import { Random } from "../../bench/workloads/random.ts";
import type { ConntrackEntry } from "../../dataplane/conntrack/entry.ts";
import { Dataplane, ENGINES } from "../../dataplane/dataplane.ts";
import {
  createBatch,
  destinationOf,
  PACKET_FLAG,
  PATH,
  type PacketBatch,
  PROTOCOL,
  sourceOf,
  TCP_FLAG,
} from "../../dataplane/packet.ts";
import { createResults, type ResultBatch } from "../../dataplane/result.ts";
import { CT_STATE_CODE } from "../../dataplane/verdict.ts";

const SIZE = { pods: 60, policies: 12, namespaces: 3, nodes: 3, seed: 3, shape: "mixed" } as const;
const CONNECTIONS = 300;
const BATCHES = 8;
/**
 * Seconds before each batch. By the first pause the timer wheel has looked at every connection, by the second those whose
 * data nobody acknowledged end, some of them between two rows. The batch after the third has no segment that would notice.
 */
const PAUSES: readonly number[] = [1, 2, 130, 2, 300, 1_000, 2, 9.5];
const SILENT_BATCH = 5;

/** Pairs of pods that were seen in the middle of what they say, both ways: of many the node refuses one way, of some both. */
const STRANGERS = 40;

/** Segments both ways, and one in `everyNth` rows something that cannot pass with them, or ends a connection, or begins one. */
function fill(batch: PacketBatch, connections: Connections, { random, time, pace, everyNth, scene }: Traffic): void {
  batch.length = batch.capacity;
  batch.quoted.clear();
  for (let row = 0; row < batch.length; row++) {
    const isOdd = random.below(everyNth) === 0;
    const oddity = isOdd ? random.below(20) : -1;
    const flags = [TCP_FLAG.R, TCP_FLAG.F | TCP_FLAG.A, TCP_FLAG.S, TCP_FLAG.A | TCP_FLAG.P][oddity] ?? TCP_FLAG.A;
    const direction = random.below(2) === 0 ? 0 : 1;
    connections.write(batch, row, {
      connection: random.below(connections.count),
      direction,
      flags,
      bytes: random.below(200),
    });
    batch.time[row] = time + row / pace;
    batch.flags[row] = oddity === 4 ? PACKET_FLAG.fragment : 0;
    batch.mark[row] = oddity === 5 ? 0x20000 : 0;
    if (oddity === 6) batch.sequence[row] = random.below(2 ** 32);
    if (oddity === 7) batch.protocol[row] = PROTOCOL.udp;
    if (oddity === 8) batch.window[row] = 0;
    // Of nobody: refused, or taken up in the middle, and then met again.
    if (oddity === 9 || oddity === 10) batch.sourcePort[row] = 61_000 + random.below(200);
    if (oddity === 10 || oddity === 11) batch.time[row] = time + random.below(row + 1) / pace;
    if (oddity === 12) quote(batch, row);
    if (oddity > 12) writeStranger(batch, row, random, scene);
  }
}

/** A segment of one of few connections that the node has not seen begin; now and then one that begins it, or ends it. */
function writeStranger(batch: PacketBatch, row: number, random: Random, { localPods, remotePods }: EngineScene): void {
  const stranger = random.below(STRANGERS);
  const ends = [localPods[stranger % localPods.length] ?? 0, remotePods[(stranger * 7) % remotePods.length] ?? 0];
  const [source = 0, destination = 0] = random.below(2) === 0 ? ends : ends.reverse();
  const isLocal = source === localPods[stranger % localPods.length];
  writeSegment(batch, row, {
    source,
    destination,
    sourcePort: isLocal ? 62_000 + stranger : 80,
    destinationPort: isLocal ? 80 : 62_000 + stranger,
    flags: [TCP_FLAG.S, TCP_FLAG.R, TCP_FLAG.S | TCP_FLAG.A][random.below(12)] ?? TCP_FLAG.A,
    sequence: random.below(4),
    acknowledgment: random.below(4),
    payloadBytes: random.below(2),
  });
}

/** Pauses of twenty days in the middle of a batch and in its last quarter: after both, milliseconds of 32 bits look like before. */
function pauseLong({ length, time }: PacketBatch): void {
  for (let row = length >> 1; row < length; row++) {
    time[row] = (time[row] ?? 0) + (row < length - (length >> 2) ? 20 : 40) * 86_400;
  }
}

/** Makes of a row an ICMP error to its sender about it. */
function quote(batch: PacketBatch, row: number): void {
  const [source, destination] = [sourceOf(batch, row), destinationOf(batch, row)];
  const { sourcePort, destinationPort } = batch;
  const ports = { sourcePort: sourcePort[row] ?? 0, destinationPort: destinationPort[row] ?? 0 };
  batch.quoted.set(row, { protocol: PROTOCOL.tcp, source, destination, ...ports });
  batch.protocol[row] = PROTOCOL.icmp;
  batch.icmpType[row] = 3;
  batch.destination0[row] = source.words[0] ?? 0;
  batch.source0[row] = destination.words[0] ?? 0;
}

interface Traffic {
  readonly random: Random;
  readonly time: number;
  /** Rows a second. */
  readonly pace: number;
  readonly everyNth: number;
  readonly scene: EngineScene;
}

function textOf(results: ResultBatch): string {
  const columns = Object.values(results) as (Uint8Array | Int32Array | Uint32Array)[];
  return columns.map((column) => column.join()).join("\n");
}

/** All entries with everything that people can see of them, and how many there are with those whose time is just up. */
function entriesOf(node: Dataplane): readonly string[] {
  const entries: ConntrackEntry[] = [];
  node.deleteConnections((entry) => {
    entries.push(entry);
    return false;
  });
  const { live } = node.saveConnections().conntrack.store;
  return [`${live} entries`, ...entries.map((entry) => JSON.stringify(entry)).sort()];
}

interface Mix {
  readonly everyNth: number;
  /** Entries there may be. */
  readonly most?: number;
  readonly pace: number;
  /** Whether connections are picked up in the middle. */
  readonly tcpLoose?: boolean;
}

function compare(scene: EngineScene, { everyNth, most = 262_144, pace, tcpLoose = true }: Mix): number {
  const random = new Random(everyNth);
  const conntrack = { maxEntries: most, tcpLoose };
  const nodes = ENGINES.map((engine) => new Dataplane(scene.program, { engine, conntrack }));
  const [talk] = nodes.map((node) => establish(node, scene, CONNECTIONS));
  if (talk === undefined) throw new Error("no connections");
  const batch = createBatch(BATCH_ROWS / 2);
  let time = 0;
  let established = 0;
  for (let turn = 0; turn < BATCHES; turn++) {
    time += PAUSES[turn] ?? 0;
    fill(batch, talk, { random, time, pace, everyNth, scene });
    // What was remembered goes with the program.
    if (turn === 4) for (const node of nodes) node.load(scene.program);
    if (turn === SILENT_BATCH) batch.protocol.fill(PROTOCOL.udp);
    if (turn === BATCHES - 1) pauseLong(batch);
    const texts = nodes.map((node) => {
      const results = createResults(batch.capacity);
      routeRows(batch, node);
      for (let row = 0; row < batch.length; row++) if (batch.mark[row] !== 0) batch.path[row] = PATH.input;
      node.push(batch, results, 0, batch.length);
      established += results.ctState.filter((state) => state === CT_STATE_CODE.established).length;
      return textOf(results);
    });
    const [walked, ...others] = nodes.map(entriesOf);
    for (const [index, entries] of others.entries()) {
      expect(texts[index + 1], `batch ${turn}`).toBe(texts[0]);
      expect(entries, `entries after batch ${turn}`).toEqual(walked);
    }
  }
  return established;
}

describe("runs of established segments", () => {
  const scene = sceneOf("kube-router", SIZE);
  const mixes: readonly Mix[] = [
    { everyNth: 10_000, pace: 700 },
    { everyNth: 60, pace: 700 },
    { everyNth: 7, pace: 700 },
    { everyNth: 4, pace: 100_000 },
    { everyNth: 3, pace: 500, most: CONNECTIONS + 20 },
    { everyNth: 2, pace: 500, tcpLoose: false },
  ];

  it.each(mixes)("pass as each alone would, one row in $everyNth being something else, $pace a second", (mix) => {
    expect(compare(scene, mix)).toBeGreaterThan(2 * BATCH_ROWS);
  });
});
