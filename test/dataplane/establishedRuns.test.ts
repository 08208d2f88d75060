/** Long runs of established segments, which pass together, against the engine that looks at each packet by itself. */
import { describe, expect, it } from "vitest";
import {
  BATCH_ROWS,
  type Connections,
  type EngineScene,
  establish,
  nodeOf,
  routeRows,
  sceneOf,
} from "../../bench/engineTraffic.ts";
import { Random } from "../../bench/workloads/random.ts";
import type { ConntrackEntry } from "../../dataplane/conntrack/entry.ts";
import type { Dataplane } from "../../dataplane/dataplane.ts";
import { createBatch, PACKET_FLAG, PATH, type PacketBatch, PROTOCOL, TCP_FLAG } from "../../dataplane/packet.ts";
import { createResults, type ResultBatch } from "../../dataplane/result.ts";
import { CT_STATE_CODE } from "../../dataplane/verdict.ts";

const SIZE = { pods: 60, policies: 12, namespaces: 3, nodes: 3, seed: 3, shape: "mixed" } as const;
const CONNECTIONS = 300;
const BATCHES = 12;

/** Segments both ways, and one in `everyNth` rows something that ends a run or a connection, or begins one. */
function fill(batch: PacketBatch, connections: Connections, { random, time, everyNth }: Traffic): void {
  batch.length = batch.capacity;
  for (let row = 0; row < batch.length; row++) {
    const isOdd = random.below(everyNth) === 0;
    const oddity = isOdd ? random.below(9) : -1;
    const flags = [TCP_FLAG.R, TCP_FLAG.F | TCP_FLAG.A, TCP_FLAG.S, TCP_FLAG.A | TCP_FLAG.P][oddity] ?? TCP_FLAG.A;
    const direction = random.below(2) === 0 ? 0 : 1;
    connections.write(batch, row, {
      connection: random.below(connections.count),
      direction,
      flags,
      bytes: random.below(200),
    });
    batch.time[row] = time + row / 700;
    batch.flags[row] = oddity === 4 ? PACKET_FLAG.fragment : 0;
    batch.mark[row] = oddity === 5 ? 0x20000 : 0;
    if (oddity === 6) batch.sequence[row] = random.below(2 ** 32);
    if (oddity === 7) batch.protocol[row] = PROTOCOL.udp;
    if (oddity === 8) batch.window[row] = 0;
  }
}

interface Traffic {
  readonly random: Random;
  readonly time: number;
  readonly everyNth: number;
}

function textOf(results: ResultBatch): string {
  const columns = Object.values(results) as (Uint8Array | Int32Array | Uint32Array)[];
  return columns.map((column) => column.join()).join("\n");
}

/** All entries with everything that people can see of them. */
function entriesOf(node: Dataplane): readonly string[] {
  const entries: ConntrackEntry[] = [];
  node.deleteConnections((entry) => {
    entries.push(entry);
    return false;
  });
  return entries.map((entry) => JSON.stringify(entry)).sort();
}

function compare(scene: EngineScene, everyNth: number): number {
  const random = new Random(everyNth);
  const nodes = (["walk", "memo", "wasm"] as const).map((engine) => nodeOf(scene, engine));
  const [talk] = nodes.map((node) => establish(node, scene, CONNECTIONS));
  if (talk === undefined) throw new Error("no connections");
  const batch = createBatch(BATCH_ROWS / 2);
  let time = 1;
  let established = 0;
  for (let turn = 0; turn < BATCHES; turn++) {
    // Once by what data that nobody acknowledged lives, so that connections end between two rows of a run.
    time += turn === 6 ? 300 : 2;
    fill(batch, talk, { random, time, everyNth });
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
  it.each([10_000, 60, 7])("pass as each alone would, one row in %i being something else", (everyNth) => {
    expect(compare(scene, everyNth)).toBeGreaterThan(2 * BATCH_ROWS);
  });
});
