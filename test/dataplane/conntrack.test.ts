/** What conntrack is to its caller: entries that come and go. The protocols have files of their own. */
import { describe, expect, it } from "vitest";
import { type ConntrackEntry, formatEntry } from "../../dataplane/conntrack/entry.ts";
import { conntrackSettings, DEFAULT_TIMEOUTS } from "../../dataplane/conntrack/options.ts";
import { ConntrackTable } from "../../dataplane/conntrack.ts";
import { appendPacket, createBatch, makePacket, PROTOCOL, TCP_FLAG } from "../../dataplane/packet.ts";
import { CT_STATE_CODE } from "../../dataplane/verdict.ts";
import { ENDS } from "../../verify/fuzz/conversations.ts";
import { expectTranscript } from "./connectionTranscript.ts";

const { client, server } = ENDS[4];
const TUPLE = { protocol: PROTOCOL.tcp, source: client, destination: server, sourcePort: 40_000, destinationPort: 80 };

function only(table: ConntrackTable): ConntrackEntry | undefined {
  const entries = [...table.entries()];
  expect(entries).toHaveLength(1);
  return entries[0];
}

describe("an entry comes into being when its first packet has passed", () => {
  it("a dropped packet leaves none", () => {
    expectTranscript(`
      0  ! > S   new      none
         ! > S   new      none
           > S   new      SYN_SENT 120 unreplied
    `);
  });

  it("a packet that is looked up and forgotten leaves none", () => {
    const table = new ConntrackTable();
    const batch = createBatch(1);
    appendPacket(batch, makePacket(TUPLE));
    table.lookup(batch, 0);
    expect(table.isPending).toBe(true);
    expect(table.lookup(batch, 0)).toBe("new");
    table.confirm();
    expect(table.size).toBe(1);
    expect(table.isPending).toBe(false);
  });

  it("what a packet did to an entry stays done when it is dropped", () => {
    expectTranscript(`
      0    > S  seq=1000           new          SYN_SENT 120 unreplied
         ! < SA seq=5000 ack=1001  established  SYN_RECV 60
    `);
  });

  it("confirming twice changes nothing", () => {
    const table = expectTranscript("0 > S new");
    expect(table.confirm()).toBe("confirmed");
    expect(table.size).toBe(1);
  });
});

describe("an entry goes", () => {
  it("at its deadline, not before", () => {
    expectTranscript(`
      0        > S   new       SYN_SENT 120 unreplied
      119.999  < R ack=1 established
    `);
    expectTranscript(`
      0        > S   new       SYN_SENT 120 unreplied
      120      < R ack=1 invalid  none
    `);
  });

  it("by itself, however far the time leaps", () => {
    // Deadlines are 32-bit milliseconds: they wrap after 24.8 days, and are the same again after 49.7.
    for (const start of [0, 3_027_434, 1_764_000_000]) {
      for (const seconds of [120, 121, 300, 70_000, 1e6, 2_147_483, 2_147_484, 3e6, 4_294_968, 5e6, 1.8e9]) {
        const table = expectTranscript(`${start} > S new`);
        table.expire(start + seconds);
        expect(table.size, `after ${seconds} s from ${start}`).toBe(0);
      }
    }
  });

  it("not while packets keep it alive", () => {
    const table = expectTranscript(
      `
      0    > data   new          30 unreplied
      1    < data   established  30
      5    > data   established  120 assured
      120  > data   established  120 assured
    `,
      { protocol: "udp" },
    );
    table.expire(239);
    expect(table.size).toBe(1);
    table.expire(240);
    expect(table.size).toBe(0);
  });

  it("earlier than planned when a connection ends", () => {
    const table = expectTranscript(`
      0  > S  seq=1 win=65535  new
         < SA seq=1 ack=2      established
         > A  seq=2 ack=2      established  ESTABLISHED 432000 assured
         > RA seq=2 ack=2      established  CLOSE 10 assured
    `);
    table.expire(9.9);
    expect(table.size).toBe(1);
    table.expire(10);
    expect(table.size).toBe(0);
  });

  it("when it is deleted, by either of its tuples", () => {
    const table = expectTranscript("0 > S new");
    expect(table.delete({ ...TUPLE, sourcePort: 1 })).toBe(false);
    expect(table.delete({ ...TUPLE, zone: 1 })).toBe(false);
    expect(
      table.delete({ ...TUPLE, source: server, destination: client, sourcePort: 80, destinationPort: 40_000 }),
    ).toBe(true);
    expect(table.size).toBe(0);
    expect(table.delete(TUPLE)).toBe(false);
  });

  it("with all others when the table is flushed, and the time starts anew", () => {
    const table = expectTranscript("1000 > S new");
    table.flush();
    expect(table.size).toBe(0);
    expectTranscript("0 > S new SYN_SENT 120 unreplied", { table });
  });
});

describe("what is known of a packet's connection", () => {
  it("its direction", () => {
    const table = expectTranscript("0 > S new");
    expect(table.isReply).toBe(false);
    expectTranscript("0 < SA ack=1 established", { table });
    expect(table.isReply).toBe(true);
    expectTranscript("0 < - invalid", { table });
    expect(table.isReply).toBe(false);
    expect(table.isTracked).toBe(false);
  });

  it("its mark, which lives as long as the entry", () => {
    const table = expectTranscript(`
      0  > S mark=4294967295  new          SYN_SENT 120 unreplied mark=4294967295
         < SA ack=1           established  SYN_RECV 60 mark=4294967295
    `);
    expect(table.mark).toBe(0xffffffff);
    expectTranscript("0 < - invalid", { table });
    expect(table.mark).toBe(0);
  });

  it("a mark set on a packet that is dropped is gone", () => {
    expectTranscript(`
      0  ! > S mark=7  new
           > S         new  SYN_SENT 120 unreplied mark=0
    `);
  });

  it("why it is what it is, in words", () => {
    const table = expectTranscript("0 > S new");
    const why = (line: string) => expectTranscript(line, { table }).lastWhy();
    expect(why("0 < SA ack=1 established")).toBe("reply of 10.0.0.1:40000 > 10.1.0.1:80, SYN_RECV");
    expect(why("0 > SA port=7 invalid")).toBe("SYN-ACK of an unknown connection");
    expect(why("0 > S port=7 new")).toBe("same direction of 10.0.0.1:7 > 10.1.0.1:80, SYN_SENT");
    expect(why("0 > SF port=7 invalid")).toBe("TCP flags that no stack sends together");
  });

  it("nothing is ever translated", () => {
    expect(expectTranscript("0 > S new").isTranslated).toBe(false);
  });
});

describe("zones", () => {
  it("each holds its own entry of the same tuple", () => {
    const table = expectTranscript(`
      0  > S           new
         > S zone=1    new
         > S zone=65535 new
    `);
    expect([...table.entries()].map(({ zone }) => zone).sort()).toEqual([0, 1, 65535]);
  });
});

describe("fragments", () => {
  it("a later one shares the state of its datagram and changes nothing", () => {
    expectTranscript(
      `
      0    > data           new          30 unreplied
      10   > data fragment  new          20 unreplied
      10   < data fragment  established  20 unreplied
    `,
      { protocol: "udp" },
    );
  });

  it("without its datagram it belongs to nothing", () => {
    expectTranscript("0 > data fragment invalid none", { protocol: "udp" });
  });
});

describe("a full table", () => {
  it("drops the packets that would need a new entry, on the spot", () => {
    const table = expectTranscript(
      `
      0  > S  seq=1               new
         < SA seq=1 ack=2         established
         > A  seq=2 ack=2         established  ESTABLISHED 432000 assured
         > S  port=2              full
         > A  seq=2 ack=2         established
    `,
      { maxEntries: 1, buckets: 1 },
    );
    expectTranscript("0 > S port=2 full", { table });
    expect(table.confirm()).toBe("table-full");
    expect(table.size).toBe(1);
  });

  it("gives up entries that are not assured before that, those of one bucket together", () => {
    const table = expectTranscript(
      `
      0  > S port=1   new
         > S port=2   new
         > S port=3   new
         > S port=4   new
    `,
      { maxEntries: 3, buckets: 1 },
    );
    expect([...table.entries()].map(({ sourcePort }) => sourcePort)).toEqual([4]);
  });

  it("spares what is assured", () => {
    const table = expectTranscript(
      `
      0  > S  seq=1 port=1         new
         < SA seq=1 ack=2 port=1   established
         > A  seq=2 ack=2 port=1   established  ESTABLISHED 432000 assured
         > S  port=2               new
         > S  port=3               new
    `,
      { maxEntries: 2, buckets: 1 },
    );
    expect([...table.entries()].map(({ sourcePort }) => sourcePort).sort()).toEqual([1, 3]);
  });

  it("a packet that is invalid needs room first, so it is dropped for want of it", () => {
    expectTranscript(
      `
      0  > S  seq=1           new
         < SA seq=1 ack=2     established
         > A  seq=2 ack=2     established
         > SA port=2          full
         > SF port=2          full
    `,
      { maxEntries: 1, buckets: 1 },
    );
  });

  it("lets closing connections go within a minute", () => {
    const maxEntries = 100;
    const batch = createBatch(1);
    const table = new ConntrackTable({ maxEntries, buckets: 1 });
    const push = (packet: Parameters<typeof makePacket>[0]) => {
      batch.length = 0;
      table.lookup(batch, appendPacket(batch, makePacket(packet)));
      return table.confirm();
    };
    const back = { ...TUPLE, source: server, destination: client, sourcePort: 80 };
    for (let port = 1; port <= maxEntries; port++) {
      push({ ...TUPLE, sourcePort: port, sequence: 1 });
      push({ ...back, destinationPort: port, tcpFlags: TCP_FLAG.S | TCP_FLAG.A, sequence: 1, acknowledgment: 2 });
      push({ ...TUPLE, sourcePort: port, tcpFlags: TCP_FLAG.A, sequence: 2, acknowledgment: 2 });
      if (port > 10) continue;
      push({ ...TUPLE, sourcePort: port, tcpFlags: TCP_FLAG.F | TCP_FLAG.A, sequence: 2, acknowledgment: 2 });
    }
    expect(push({ ...TUPLE, sourcePort: 1000, time: 1 })).toBe("table-full");
    expect(push({ ...TUPLE, sourcePort: 1000, time: 59 })).toBe("table-full");
    expect(push({ ...TUPLE, sourcePort: 1000, time: 61 })).toBe("confirmed");
    // Down to 95 % of the limit, and not below although more are closing.
    expect(table.size).toBe(95);
  });

  it("expired entries take no room", () => {
    expectTranscript(
      `
      0    > S  seq=1           new
           < SA seq=1 ack=2     established
           > A  seq=2 ack=2     established
           > RA seq=2 ack=2     established  CLOSE 10 assured
      5    > S  port=2          full
      11   > S  port=2          new
    `,
      { maxEntries: 1, buckets: 1 },
    );
  });
});

describe("many connections", () => {
  const flows = 20_000;

  it.each([4, 6] as const)("of IPv%i are each found from both ends", (family) => {
    const table = new ConntrackTable();
    const batch = createBatch(flows);
    const ends = ENDS[family];
    const at = (flow: number, word: number) => ({
      family,
      words: ends.client.words.map((value, index) =>
        index === ends.client.words.length - 1 ? value + word * (flow >> 6) : value,
      ),
    });
    const open = (flow: number) =>
      makePacket({
        protocol: PROTOCOL.udp,
        source: at(flow, 1),
        destination: ends.server,
        sourcePort: 1000 + (flow & 63),
        destinationPort: 53,
      });
    let found = 0;
    let answered = 0;
    for (let flow = 0; flow < flows; flow++) {
      appendPacket(batch, open(flow));
      if (table.lookup(batch, flow) === "new") found++;
      table.confirm();
    }
    expect(table.size).toBe(flows);
    batch.length = 0;
    for (let flow = 0; flow < flows; flow++) {
      const { source, destination, sourcePort, destinationPort, ...rest } = open(flow);
      appendPacket(batch, {
        ...rest,
        source: destination,
        destination: source,
        sourcePort: destinationPort,
        destinationPort: sourcePort,
        time: 1,
      });
    }
    for (let flow = 0; flow < flows; flow++) {
      if (table.lookupCode(batch, flow, 0) === CT_STATE_CODE.established && table.isReply) answered++;
    }
    expect([found, answered]).toEqual([flows, flows]);
    expect(table.size).toBe(flows);
    table.expire(32);
    expect(table.size).toBe(0);
  });
});

describe("entries as people see them", () => {
  it("as conntrack -L prints them", () => {
    const table = expectTranscript(`
      0  > S  seq=1           new
         < SA seq=1 ack=2     established
         > A  seq=2 ack=2     established
    `);
    const entry = only(table);
    expect(entry && formatEntry(entry)).toBe(
      "tcp      6 432000 ESTABLISHED src=10.0.0.1 dst=10.1.0.1 sport=40000 dport=80 src=10.1.0.1 dst=10.0.0.1 sport=80 dport=40000 [ASSURED] mark=0",
    );
  });

  it("ICMP with its types, and the zone when there is one", () => {
    const entry = only(expectTranscript("0 > 8/0 id=7 zone=3 new", { protocol: "icmp" }));
    expect(entry && formatEntry(entry)).toBe(
      "icmp     1 30 src=10.0.0.1 dst=10.1.0.1 type=8 code=0 id=7 [UNREPLIED] src=10.1.0.1 dst=10.0.0.1 type=0 code=0 id=7 mark=0 zone=3",
    );
  });

  it("a protocol without a name", () => {
    const entry = only(expectTranscript("0 > data new", { protocol: 99, family: 6 }));
    expect(entry && formatEntry(entry)).toBe(
      "unknown  99 600 src=fd00::1 dst=fd00:1::1 [UNREPLIED] src=fd00:1::1 dst=fd00::1 mark=0",
    );
  });
});

describe("settings", () => {
  it("default to those of the kernel, each on its own", () => {
    const { timeouts, maxEntries } = conntrackSettings({ timeouts: { tcp: { established: 60 }, icmp: 1 } });
    expect(timeouts).toEqual({
      ...DEFAULT_TIMEOUTS,
      tcp: { ...DEFAULT_TIMEOUTS.tcp, established: 60 },
      icmp: 1,
    });
    expect(maxEntries).toBe(262_144);
  });

  it.each([
    [{ maxEntries: 0 }, "maxEntries is 0"],
    [{ buckets: 1.5 }, "buckets is 1.5"],
    [{ tcpMaxRetransmissions: 256 }, "tcpMaxRetransmissions is 256"],
    [{ timeouts: { udp: { stream: -1 } } }, "udp.stream is -1"],
    [{ timeouts: { generic: Number.NaN } }, "timeouts.generic is NaN"],
  ])("%o is refused", (options, message) => {
    expect(() => new ConntrackTable(options)).toThrow(message);
  });
});
