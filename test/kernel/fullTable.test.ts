/**
 * A connection table without room, in the kernel and here. The limit is the machine's and not the namespace's, so it takes
 * hundreds of thousands of packets on both sides: a whole run asks, a sample does not.
 */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ConntrackTable } from "../../dataplane/conntrack.ts";
import { appendPacket, createBatch, makePacket, type Packet, PROTOCOL, TCP_FLAG } from "../../dataplane/packet.ts";
import { ENDS } from "../../verify/fuzz/conversations.ts";
import { isWhole } from "../extent.ts";
import { ConnectionKernel } from "./connectionKernel.ts";
import { hasKernel } from "./kernel.ts";

/** A packet to the server that shares its tuple with none of another number. */
function oneOfMany(number: number, protocol: number, fields: Partial<Packet> = {}): Packet {
  const { client, server } = ENDS[4];
  const words = client.words.map((word) => (word & ~0xffff) + 256 + (number & 0x7fff));
  return makePacket({
    protocol,
    source: { family: 4, words },
    destination: server,
    sourcePort: 1024 + (number >>> 15),
    destinationPort: 80,
    ...fields,
  });
}

/** SYN, SYN-ACK, ACK: afterwards the entry is established and assured. */
function handshake(number: number): readonly Packet[] {
  const { S, A } = TCP_FLAG;
  const from = (fields: Partial<Packet>) => oneOfMany(number, PROTOCOL.tcp, fields);
  const syn = from({ tcpFlags: S, sequence: 1000 });
  const { source, destination, sourcePort, destinationPort } = syn;
  return [
    syn,
    makePacket({
      ...syn,
      source: destination,
      destination: source,
      sourcePort: destinationPort,
      destinationPort: sourcePort,
      tcpFlags: S | A,
      sequence: 5000,
      acknowledgment: 1001,
    }),
    from({ tcpFlags: A, sequence: 1001, acknowledgment: 5001 }),
  ];
}

/** What one side did with packets: which passed with an entry, and how many entries went for them. */
interface Told {
  readonly accepted: number;
  readonly evicted: number;
  /** Packets for which entries went. */
  readonly evictions: number;
}

/** On a slow machine the first entries would expire before the last are made. */
const DAY = 86_400;
const TIMEOUTS = {
  timeouts: { udp: { unreplied: DAY, stream: DAY }, tcp: { synSent: DAY, synRecv: DAY, established: DAY } },
} as const;

/** Packets that wait in pipes at once. */
const BATCH = 8192;

describe.runIf(hasKernel("judge") && isWhole)("a connection table without room", () => {
  let kernel: ConnectionKernel;
  let limit: number;
  let table: ConntrackTable;
  const batch = createBatch(1);

  beforeEach(async () => {
    kernel = await ConnectionKernel.start();
    kernel.configure(TIMEOUTS);
    limit = Number(kernel.run("cat /proc/sys/net/netfilter/nf_conntrack_max"));
    const buckets = Number(kernel.run("cat /proc/sys/net/netfilter/nf_conntrack_buckets"));
    table = new ConntrackTable({ ...TIMEOUTS, maxEntries: limit, buckets });
  });

  afterEach(async () => {
    await kernel.close();
  });

  async function pushBoth(
    count: number,
    packetsOf: (number: number) => readonly Packet[],
  ): Promise<{ readonly theirs: Told; readonly ours: Told }> {
    const theirs = { accepted: 0, evictions: 0, evicted: 0 };
    const ours = { accepted: 0, evictions: 0, evicted: 0 };
    for (let from = 0; from < count; from += BATCH) {
      const packets = Array.from({ length: Math.min(BATCH, count - from) }, (_, index) =>
        packetsOf(from + index),
      ).flat();
      for (const { state, events } of await kernel.walk(
        packets.map((packet) => ({ packet, zone: 0, isDropped: false })),
      )) {
        const gone = events.filter(({ kind }) => kind === "destroy").length;
        theirs.accepted += Number(state !== undefined);
        theirs.evicted += gone;
        theirs.evictions += Number(gone > 0);
      }
      for (const packet of packets) {
        const before = table.size;
        batch.length = 0;
        table.lookup(batch, appendPacket(batch, packet));
        const isNew = table.isPending;
        const isConfirmed = table.confirm() === "confirmed";
        const gone = before + Number(isNew) - table.size;
        ours.accepted += Number(isConfirmed);
        ours.evicted += gone;
        ours.evictions += Number(gone > 0);
      }
    }
    return { theirs, ours };
  }

  it("makes room at the cost of as many unassured entries", { timeout: 600_000 }, async () => {
    const late = 2000;
    const { theirs, ours } = await pushBoth(limit + late, (number) => [oneOfMany(number, PROTOCOL.udp)]);
    expect([theirs.accepted, ours.accepted]).toEqual([limit + late, limit + late]);
    // Which entries share a bucket is nobody's to know; how many do is.
    expect(theirs.evicted).toBeGreaterThanOrEqual(late);
    expect(ours.evicted).toBeGreaterThanOrEqual(late);
    expect(Math.abs(ours.evicted / ours.evictions - theirs.evicted / theirs.evictions)).toBeLessThan(0.35);
  });

  it("drops what is new when every entry is assured, and takes one for each that goes", {
    timeout: 600_000,
  }, async () => {
    const filled = { accepted: 3 * limit, evicted: 0, evictions: 0 };
    expect(await pushBoth(limit, handshake)).toEqual({ theirs: filled, ours: filled });
    const late = (number: number) => [oneOfMany(limit + number, PROTOCOL.udp)];
    const refused = { accepted: 0, evicted: 0, evictions: 0 };
    expect(await pushBoth(200, late)).toEqual({ theirs: refused, ours: refused });
    // What has an entry passes all the same.
    const known = (number: number) => handshake(number).slice(2);
    expect(await pushBoth(200, known)).toMatchObject({ theirs: { accepted: 200 }, ours: { accepted: 200 } });
    for (const number of [7, 70_000]) {
      const [syn] = handshake(number);
      if (syn === undefined) throw new Error("no packet");
      expect(table.delete(syn)).toBe(true);
      await kernel.forget(syn);
    }
    const accepted = { theirs: { accepted: 2, evicted: 0 }, ours: { accepted: 2, evicted: 0 } };
    expect(await pushBoth(2, (number) => handshake(limit + 1000 + number).slice(0, 1))).toMatchObject(accepted);
  });
});
