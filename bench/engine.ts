/**
 * Nanoseconds a packet of the emulator, each function one row of performance.md's targets:
 *
 * - `establishedPacket`: "established packet, whole path (conntrack → verdict), 10k / 100k / 1M flows"
 * - `newPacket`: "new packet, class tuple seen before, 10k pods × 10 policies, any strategy" (with its conntrack insert;
 *   `conntrackInsert` is the part that may be taken off)
 * - `newClass`: "new packet, class tuple new, same cluster"
 * - `walkedRule`: "ordered walk, exact, no trace", a rule visited
 *
 * Each measures what was checked before: it throws when a packet does not come out as it should. Batches are prepared outside of the time.
 */
import { ConntrackTable } from "../dataplane/conntrack.ts";
import type { Engine } from "../dataplane/dataplane.ts";
import { createBatch, TCP_FLAG } from "../dataplane/packet.ts";
import { createResults } from "../dataplane/result.ts";
import { CT_STATE_CODE } from "../dataplane/verdict.ts";
import { BATCH_ROWS, type EngineScene, establish, fillNew, nodeOf, routeRows, writeSegment } from "./engineTraffic.ts";
import { Random } from "./workloads/random.ts";

/**
 * The time that nine in ten of `rounds` runs of `measured` exceed, each after an untimed `prepare`, divided by `packets`;
 * nanoseconds. A low quantile, because whatever else runs on the machine only ever adds to a time.
 */
export function quickNs(rounds: number, packets: number, steps: { prepare: () => void; measured: () => void }): number {
  const times: number[] = [];
  for (let round = 0; round < rounds; round++) {
    steps.prepare();
    const start = performance.now();
    steps.measured();
    times.push(((performance.now() - start) * 1e6) / packets);
  }
  times.sort((a, b) => a - b);
  return times[Math.floor(times.length / 10)] ?? Number.NaN;
}

/** Pairs of pods and ports that new connections are between. */
const POOL = 4_096;

/** Packets after which an engine has its classes: walks have cost as much as learning them (classes/tableMemo.ts). */
function packetsUntilClasses({ program }: EngineScene): number {
  if (program.kind !== "tables") return 0;
  const chains = program.families.flatMap(({ tables }) => tables.flatMap((table) => table.chains));
  const rules = chains.reduce((sum, chain) => sum + chain.rules.length, 0);
  return program.sets.reduce((sum, { members }) => sum + members.length, rules);
}

/** Data segments both ways over random ones of `flows` established TCP connections, windows tracked. */
export function establishedPacket(scene: EngineScene, flows: number, engine: Engine): number {
  const node = nodeOf(scene, engine, flows + BATCH_ROWS);
  const connections = establish(node, scene, flows);
  const random = new Random(11);
  const batch = createBatch(BATCH_ROWS);
  const results = createResults(BATCH_ROWS);
  const prepare = () => {
    batch.length = BATCH_ROWS;
    for (let row = 0; row < BATCH_ROWS; row++) {
      const direction = random.below(2) === 0 ? 0 : 1;
      const connection = random.below(connections.count);
      connections.write(batch, row, { connection, direction, flags: TCP_FLAG.A, bytes: 100 });
    }
    routeRows(batch, node);
  };
  const measured = () => node.push(batch, results, 0, batch.length);
  const time = quickNs(800, BATCH_ROWS, { prepare, measured });
  for (let row = 0; row < BATCH_ROWS; row++) {
    if (results.ctState[row] !== CT_STATE_CODE.established) throw new Error(`row ${row} is ${results.ctState[row]}`);
  }
  return time;
}

/**
 * SYNs of new connections between pods of `POOL` pairs: the kinds have been seen, the connections have not. Any strategy,
 * those with maps too.
 */
export function newPacket(scene: EngineScene, engine: Engine, rounds = 400): number {
  const node = nodeOf(scene, engine, 1 << 20);
  const random = new Random(13);
  const pool = createBatch(POOL);
  fillNew(pool, scene, { random, firstPort: 0 });
  const batch = createBatch(BATCH_ROWS);
  const results = createResults(BATCH_ROWS);
  let sent = 0;
  const prepare = () => {
    if (sent > 500_000) {
      node.flushConntrack();
      sent = 0;
    }
    batch.length = BATCH_ROWS;
    for (let row = 0; row < BATCH_ROWS; row++) {
      const pair = random.below(POOL);
      writeSegment(batch, row, {
        source: pool.source0[pair] ?? 0,
        destination: pool.destination0[pair] ?? 0,
        sourcePort: 1024 + ((sent + row) % 60_000),
        destinationPort: pool.destinationPort[pair] ?? 0,
        flags: TCP_FLAG.S,
        sequence: 1,
        acknowledgment: 0,
        payloadBytes: 0,
      });
    }
    sent += BATCH_ROWS;
    routeRows(batch, node);
  };
  return quickNs(rounds, BATCH_ROWS, { prepare, measured: () => node.push(batch, results, 0, batch.length) });
}

/** What `newPacket` spends in connection tracking when all of its packets pass: look-up, new entry, confirmation. */
export function conntrackInsert(scene: EngineScene): number {
  const table = new ConntrackTable({ maxEntries: 1 << 20 });
  const random = new Random(13);
  const batch = createBatch(BATCH_ROWS);
  let sent = 0;
  const prepare = () => {
    if (sent > 500_000) {
      table.flush();
      sent = 0;
    }
    fillNew(batch, scene, { random, firstPort: sent });
    sent += BATCH_ROWS;
  };
  const measured = () => {
    for (let row = 0; row < BATCH_ROWS; row++) {
      table.lookupCode(batch, row, 0);
      table.confirm();
    }
  };
  return quickNs(400, BATCH_ROWS, { prepare, measured });
}

/**
 * Batches of which the first packets are measured, each by an engine of its own: after ten, V8 is still compiling, and what
 * is measured is that. So they are as many as of `walkedRule`.
 */
const NEW_CLASS_ROUNDS = 60;

/** The first packet of each kind, to an engine that has seen none of it: what its walk costs, with all that is learnt from it. */
export function newClass(scene: EngineScene): number {
  const random = new Random(17);
  const batch = createBatch(BATCH_ROWS);
  const results = createResults(BATCH_ROWS);
  const enough = packetsUntilClasses(scene);
  let node = nodeOf(scene, "memo", 1 << 20);
  const prepare = () => {
    node = nodeOf(scene, "memo", 1 << 20);
    fillNew(batch, scene, { random, firstPort: 0 });
    routeRows(batch, node);
    // One packet again and again, until the engine thinks the program's classes worth their price.
    for (let time = 0; time <= enough; time++) node.push(batch, results, 0, 1);
  };
  return quickNs(NEW_CLASS_ROUNDS, BATCH_ROWS - 1, {
    prepare,
    measured: () => node.push(batch, results, 1, batch.length),
  });
}

/** The plain walk of SYNs, a rule visited. */
export function walkedRule(scene: EngineScene): number {
  const node = nodeOf(scene, "walk", 1 << 20);
  const random = new Random(13);
  const batch = createBatch(BATCH_ROWS);
  const results = createResults(BATCH_ROWS);
  let rules = 0;
  let packets = 0;
  const prepare = () => {
    node.flushConntrack();
    fillNew(batch, scene, { random, firstPort: 0 });
    routeRows(batch, node);
  };
  const measured = () => {
    node.push(batch, results, 0, batch.length);
    packets += batch.length;
    for (let row = 0; row < batch.length; row++) rules += results.rules[row] ?? 0;
  };
  return quickNs(60, BATCH_ROWS, { prepare, measured }) / (rules / packets);
}
