/** Recordings of one traffic by nodes whose clocks differ. */
import { describe, expect, it } from "vitest";
import { parseAddress } from "../../dataplane/address.ts";
import { makePacket, type Packet, PROTOCOL, TCP_FLAG } from "../../dataplane/packet.ts";
import { PACKET_LINK_TYPE, packetFrame } from "../../traffic/captureWriter.ts";
import { PcapWriter } from "../../traffic/writePcap.ts";
import { chainwalk } from "../cli/commandLine.ts";

const CLUSTER = "scenarios/address-inherited/cluster.yaml";
const START = 1_700_000_000;

function address(text: string) {
  const parsed = parseAddress(text);
  if (parsed === undefined) throw new Error(text);
  return parsed;
}

const WEB = address("10.10.1.10");
const CLIENT = address("10.10.2.10");
const STRANGER = address("10.10.2.11");

/** A connection of so many packets, its handshake first; each connection has numbers of its own. */
function connection(number: number, source = CLIENT, packets = 5): readonly Packet[] {
  const isn = 1_000_000 + number * 5_000;
  return Array.from({ length: packets }, (_, turn) => {
    const isBack = turn % 2 === 1;
    const ports = [30_000 + number, 80];
    const [sourcePort = 0, destinationPort = 0] = isBack ? ports.toReversed() : ports;
    return makePacket({
      // Not at the edges of the timeline's columns.
      time: START + 0.005 + number / 10 + turn / 10_000,
      protocol: PROTOCOL.tcp,
      source: isBack ? WEB : source,
      destination: isBack ? source : WEB,
      sourcePort,
      destinationPort,
      tcpFlags: [TCP_FLAG.S, TCP_FLAG.S | TCP_FLAG.A][turn] ?? TCP_FLAG.A,
      sequence: isn + Math.max(0, turn - 1) * 100,
      acknowledgment: turn === 0 ? 0 : isn + turn * 100,
      payloadBytes: turn < 3 ? 0 : 30,
    });
  });
}

/** As a recorder writes them whose clock is so far ahead, and who sees packets so much later. */
function capture(packets: readonly Packet[], ahead = 0, later = 0): Uint8Array {
  const writer = new PcapWriter(PACKET_LINK_TYPE);
  for (const packet of packets) {
    writer.frame({ ...packetFrame({ ...packet, time: packet.time + ahead + later }), interfaceId: 0 });
  }
  return writer.take();
}

async function report(files: Record<string, Uint8Array>, ...flags: readonly string[]) {
  const names = Object.keys(files);
  const { out, err } = await chainwalk(["replay", "-f", CLUSTER, ...names, "-o", "json", ...flags], { files });
  const { notes, ...rest } = JSON.parse(out);
  return { rest, notes: notes.join("\n"), err };
}

const numbers = Array.from({ length: 12 }, (_, number) => number);

describe("clocks that differ", () => {
  const packets = numbers.flatMap((number) => connection(number));

  it.each([90, -4000.25])(
    "by %d s: copies are recognised, and the report is that of clocks that agree",
    async (ahead) => {
      const right = await report({ "a.pcap": capture(packets), "b.pcap": capture(packets, 0, 0.0004) });
      const wrong = await report({ "a.pcap": capture(packets), "b.pcap": capture(packets, ahead, 0.0004) });
      expect(right.rest.totals).toMatchObject({ flows: 12, packets: 60 });
      expect(right.notes).not.toContain("clock");
      expect(wrong.rest).toEqual(right.rest);
      const way = ahead > 0 ? "ahead of" : "behind";
      expect(wrong.notes).toContain(
        `b.pcap: its clock is ${Math.abs(ahead).toFixed(3)} s ${way} that of a.pcap, say 60 packets`,
      );
    },
  );

  it("of a third recording that shares packets with the second alone", async () => {
    const own = numbers.flatMap((number) => connection(100 + number, STRANGER));
    const files = {
      "a.pcap": capture(packets),
      "b.pcap": capture([...packets, ...own], -7),
      "c.pcap": capture(own, 30),
    };
    const { rest, notes } = await report(files);
    expect(rest.totals).toMatchObject({ flows: 24, packets: 120 });
    expect(notes).toContain(
      "c.pcap: its clock is 30.000 s ahead of that of a.pcap, say 60 packets that b.pcap has too",
    );
  });

  it("stay as they are with --keep-duplicates, and where a recording is read from standard input", async () => {
    const files = { "a.pcap": capture(packets), "b.pcap": capture(packets, 90) };
    const kept = await report(files, "--keep-duplicates");
    expect(kept.rest.totals).toMatchObject({ packets: 120 });
    expect(kept.notes).not.toContain("clock");
    async function* stdin() {
      yield files["b.pcap"];
    }
    const { out } = await chainwalk(["replay", "-f", CLUSTER, "a.pcap", "-", "-o", "json"], { files, stdin: stdin() });
    expect(JSON.parse(out)).toMatchObject({ totals: { packets: 120 } });
    expect(out).not.toContain("clock");
  });
});

describe("no difference of clocks", () => {
  it("is seen in pieces of one recording that a few packets are repeated in", async () => {
    const first = numbers.flatMap((number) => connection(number, CLIENT, 40));
    // Keepalives: the last segment of each connection once more, 75 s later, beside other traffic between the same two.
    const repeated = numbers.flatMap((number) => connection(number, CLIENT, 40).slice(-1));
    const second = [...repeated, ...numbers.flatMap((number) => connection(100 + number, CLIENT, 40))];
    const { rest, notes } = await report({ "a.pcap": capture(first), "b.pcap": capture(second, 75) });
    expect(rest.totals).toMatchObject({ packets: 12 * 40 * 2 + 12 });
    expect(notes).not.toContain("clock");
  });

  it("is seen where fewer than eight packets are shared", async () => {
    const shared = connection(1).slice(0, 5);
    const files = {
      "a.pcap": capture([...connection(0), ...shared]),
      "b.pcap": capture([...shared, ...connection(2)], 90),
    };
    expect((await report(files)).notes).not.toContain("clock");
  });
});
