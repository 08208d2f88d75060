/** Captures of every kind read to the packets they were made of; what is wrong with one has its byte. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseAddress } from "../../dataplane/address.ts";
import { makePacket, PROTOCOL } from "../../dataplane/packet.ts";
import { capturedFrame, packetFrame } from "../../traffic/captureWriter.ts";
import { openTraffic } from "../../traffic/openTraffic.ts";
import { CAPTURED, TrafficError } from "../../traffic/source.ts";
import { PcapWriter } from "../../traffic/writePcap.ts";
import { PcapngWriter } from "../../traffic/writePcapng.ts";
import { wirePacketArbitrary } from "../arbitraries/wirePacket.ts";
import { runsOf } from "../extent.ts";
import {
  type ByteOrder,
  block,
  datagramOf,
  ethernet,
  interfaceBlock,
  joined,
  option,
  packetBlock,
  pcapBytes,
  sectionBlock,
  uint16,
  uint32,
} from "./captureBytes.ts";
import { linesOfRows, piecesOf, readTraffic } from "./readTraffic.ts";

const address = (text: string) => {
  const parsed = parseAddress(text);
  if (parsed === undefined) throw new Error(text);
  return parsed;
};
const TCP = makePacket({
  protocol: PROTOCOL.tcp,
  source: address("10.0.1.5"),
  destination: address("10.0.2.6"),
  destinationPort: 3306,
  windowScale: 7,
});
const UDP6 = makePacket({
  protocol: PROTOCOL.udp,
  source: address("fd00::5"),
  destination: address("fd00::6"),
  destinationPort: 53,
  payloadBytes: 20,
});
const LINE = "tcp 10.0.1.5:40000 > 10.0.2.6:3306 S";
const LINE6 = "udp [fd00::5]:40000 > [fd00::6]:53";

const ORDERS: readonly ByteOrder[] = ["little", "big"];

/** What the frames of one link type read to. */
async function readFrames(linkType: number, ...frames: readonly Uint8Array[]) {
  const raw = frames.map((bytes, index) => ({ seconds: 1_700_000_000 + index, fraction: 5, bytes }));
  return readTraffic(pcapBytes({ order: "little", magic: 0xa1b2c3d4, linkType }, raw));
}

describe("pcap", () => {
  it.each([
    ["little", 0xa1b2c3d4, 5000],
    ["big", 0xa1b2c3d4, 5000],
    ["little", 0xa1b23c4d, 5],
    ["big", 0xa1b23c4d, 5],
  ] as const)("%s-endian, magic %s, has its time to the nanosecond", async (order, magic, nanoseconds) => {
    const frames = [
      { seconds: 1_700_000_000, fraction: 5, bytes: ethernet(datagramOf(TCP)) },
      { seconds: 1_700_000_001, fraction: 5, bytes: ethernet(datagramOf(UDP6)), wireBytes: 100 },
    ];
    const file = pcapBytes({ order, magic, linkType: 1 }, frames);
    for (const pieces of [file.length, 1, 13]) {
      const { source, rows } = await readTraffic(file, { pieces });
      expect(source.format).toBe("pcap");
      expect(linesOfRows(rows)).toEqual([LINE, LINE6]);
      expect(rows.map((row) => [row.seconds, row.nanoseconds, row.offset, row.frameBytes])).toEqual([
        [1_700_000_000, nanoseconds, 24, 58],
        [1_700_000_001, nanoseconds, 24 + 16 + 58, 100],
      ]);
      expect(rows[0]?.frame).toEqual(frames[0]?.bytes);
      expect(rows[0]?.packet.windowScale).toBe(7);
      expect(source.issues).toEqual([]);
    }
  });

  it("without its last bytes gives all packets but the last, and says where", async () => {
    const frames = [0, 1, 2].map((second) => ({ seconds: second, fraction: 0, bytes: ethernet(datagramOf(TCP)) }));
    const file = pcapBytes({ order: "little", magic: 0xa1b2c3d4, linkType: 1 }, frames);
    const last = 24 + 2 * 74;
    for (let length = last + 1; length < file.length; length++) {
      const { source, rows } = await readTraffic(file.subarray(0, length));
      expect(rows).toHaveLength(2);
      expect(source.issues).toEqual([expect.objectContaining({ severity: "warning", offset: last })]);
    }
  });

  it("with a length of 4 GB ends there, and allocates nothing for it", async () => {
    const file = pcapBytes({ order: "little", magic: 0xa1b2c3d4, linkType: 1 }, [
      { seconds: 1, fraction: 0, bytes: ethernet(datagramOf(TCP)) },
      { seconds: 2, fraction: 0, bytes: ethernet(datagramOf(TCP)) },
    ]);
    file.set(uint32(0xffffffff, "little"), 24 + 74 + 8);
    const before = process.memoryUsage().arrayBuffers;
    const { source, rows } = await readTraffic(file);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16 << 20);
    expect(rows).toHaveLength(1);
    expect(source.issues).toEqual([
      expect.objectContaining({ severity: "error", offset: 98, message: expect.stringContaining("4294967295 bytes") }),
    ]);
  });

  it("that ends in its header is refused with the byte", async () => {
    const file = pcapBytes({ order: "little", magic: 0xa1b2c3d4, linkType: 1 }, []);
    await expect(readTraffic(file.subarray(0, 20))).rejects.toThrow(TrafficError);
    expect((await readTraffic(file)).rows).toEqual([]);
  });

  it("keeps order where a time goes back, and the time as it was recorded beside it", async () => {
    const frames = [5, 3, 6].map((seconds) => ({ seconds, fraction: 0, bytes: ethernet(datagramOf(TCP)) }));
    const { source, rows } = await readTraffic(pcapBytes({ order: "big", magic: 0xa1b2c3d4, linkType: 1 }, frames));
    expect(rows.map(({ packet, seconds }) => [packet.time, seconds])).toEqual([
      [5, 5],
      [5, 3],
      [6, 6],
    ]);
    expect(source.notes.join()).toContain("1 packet stamped earlier than the packet before, by up to 2.0 s");
  });
});

describe("link types", () => {
  const tcp = datagramOf(TCP);
  const udp6 = datagramOf(UDP6);
  const cooked = (type: number, datagram: Uint8Array, tag: readonly number[] = []) =>
    joined(
      uint16(type, "big"),
      uint16(1, "big"),
      uint16(6, "big"),
      new Uint8Array(8),
      Uint8Array.from(tag),
      uint16((datagram[0] ?? 0) >>> 4 === 6 ? 0x86dd : 0x0800, "big"),
      datagram,
    );
  const cooked2 = (type: number, device: number, datagram: Uint8Array) =>
    joined(
      uint16((datagram[0] ?? 0) >>> 4 === 6 ? 0x86dd : 0x0800, "big"),
      uint16(0, "big"),
      uint32(device, "big"),
      uint16(1, "big"),
      Uint8Array.of(type, 6),
      new Uint8Array(8),
      datagram,
    );

  it.each([
    ["Ethernet", 1, ethernet(tcp), ethernet(udp6)],
    ["a VLAN", 1, ethernet(tcp, [[0x8100, 100]]), ethernet(udp6, [[0x8100, 100]])],
    [
      "QinQ",
      1,
      ethernet(tcp, [
        [0x88a8, 1],
        [0x8100, 2],
      ]),
      ethernet(udp6, [
        [0x8100, 1],
        [0x8100, 2],
      ]),
    ],
    ["raw IP", 101, tcp, udp6],
    ["BSD's raw IP", 12, tcp, udp6],
    ["IPv4 and nothing else", 228, tcp, udp6],
    ["Linux cooked", 113, cooked(0, tcp), cooked(4, udp6)],
    ["Linux cooked v2", 276, cooked2(0, 3, tcp), cooked2(4, 7, udp6)],
    ["null, little-endian", 0, joined(uint32(2, "little"), tcp), joined(uint32(30, "little"), udp6)],
    ["null, big-endian", 0, joined(uint32(2, "big"), tcp), joined(uint32(24, "big"), udp6)],
    ["loop", 108, joined(uint32(2, "big"), tcp), joined(uint32(28, "big"), udp6)],
  ] as const)("%s", async (_, linkType, first, second) => {
    const { source, rows } = await readFrames(linkType, first, second);
    expect(linesOfRows(rows)).toEqual([LINE, LINE6]);
    expect(source.skipped.size).toBe(0);
  });

  it("Linux cooked frames say which way they went, and v2 through which device", async () => {
    const v1 = await readFrames(113, cooked(0, tcp), cooked(4, udp6), cooked(3, tcp));
    expect(v1.rows.map(({ direction }) => direction)).toEqual([CAPTURED.inbound, CAPTURED.outbound, CAPTURED.unknown]);
    const v2 = await readFrames(276, cooked2(0, 3, tcp), cooked2(4, 70_000, udp6));
    expect(v2.rows.map(({ device }) => device)).toEqual([3, 70_000]);
  });

  it("count what is no IP, by what it is", async () => {
    const arp = ethernet(new Uint8Array(28));
    arp.set([0x08, 0x06], 12);
    const lldp = ethernet(new Uint8Array(28));
    lldp.set([0x88, 0xcc], 12);
    const llc = ethernet(new Uint8Array(28));
    llc.set([0, 20], 12);
    const { source, rows } = await readFrames(1, arp, arp, lldp, llc, ethernet(tcp).subarray(0, 20), ethernet(tcp));
    expect(linesOfRows(rows)).toEqual([LINE]);
    expect(Object.fromEntries(source.skipped)).toEqual({
      ARP: 2,
      LLDP: 1,
      "IEEE 802.3 (LLC)": 1,
      "cut inside a header": 1,
    });
    const wifi = await readFrames(105, tcp);
    expect([...wifi.source.skipped]).toEqual([["link type 105 is not supported", 1]]);
  });
});

describe("tunnels", () => {
  const outer = { source: address("192.168.0.1"), destination: address("192.168.0.2"), sourcePort: 50_000 };
  const carried = (port: number, header: readonly number[], inner: Uint8Array) => {
    const bytes = datagramOf(
      makePacket({
        protocol: PROTOCOL.udp,
        ...outer,
        destinationPort: port,
        payloadBytes: header.length + inner.length,
      }),
    );
    bytes.set(header, 28);
    bytes.set(inner, 28 + header.length);
    return ethernet(bytes);
  };
  const VXLAN = [0x08, 0, 0, 0, 0, 0, 7, 0];
  const vxlan = (inner: Uint8Array, port = 4789) => carried(port, VXLAN, inner);
  const inner = ethernet(datagramOf(TCP));

  it("give the packet inside: VXLAN on both ports, Geneve with options, IP in IP", async () => {
    const geneve = carried(6081, [0x01, 0, 0x65, 0x58, 0, 0, 9, 0, 1, 2, 3, 4], inner);
    const geneveIp = carried(6081, [0x00, 0, 0x08, 0x00, 0, 0, 9, 0], datagramOf(TCP));
    const ipip = datagramOf(makePacket({ protocol: 4, ...outer, sourcePort: 0, payloadBytes: 44 - 8 }));
    ipip.set(datagramOf(TCP), 20);
    const { source, rows } = await readFrames(1, vxlan(inner), vxlan(inner, 8472), geneve, geneveIp, ethernet(ipip));
    expect(linesOfRows(rows)).toEqual([LINE, LINE, LINE, LINE, LINE]);
    expect(rows.map(({ packet }) => packet.windowScale)).toEqual([7, 7, 7, 7, 7]);
    expect(source.notes).toEqual([
      "of 2 packets in VXLAN the packet inside is taken",
      "of 2 packets in Geneve the packet inside is taken",
      "of 1 packet in IP-in-IP the packet inside is taken",
    ]);
  });

  it("give the packet outside when asked to", async () => {
    const file = pcapBytes({ order: "little", magic: 0xa1b2c3d4, linkType: 1 }, [
      { seconds: 1, fraction: 0, bytes: vxlan(inner) },
    ]);
    const { rows } = await readTraffic(file, { tunnels: "outer" });
    expect(linesOfRows(rows)).toEqual(["udp 192.168.0.1:50000 > 192.168.0.2:4789"]);
  });

  it("leave no trace of the packet outside, nor of one that could not be read", async () => {
    const { rows } = await readFrames(
      1,
      inner,
      vxlan(ethernet(datagramOf(UDP6))),
      vxlan(inner.subarray(0, 40)),
      ethernet(datagramOf(UDP6)),
    );
    expect(rows.map(({ packet }) => packet)).toEqual(
      (
        [
          [TCP, 0],
          [UDP6, 1],
          [UDP6, 3],
        ] as const
      ).map(([packet, index]) =>
        expect.objectContaining({ ...packet, time: expect.closeTo(1_700_000_000 + index, 3) }),
      ),
    );
  });

  it("are followed a few times, not for ever", async () => {
    let packet = inner;
    for (let depth = 0; depth < 30; depth++) packet = vxlan(packet);
    const { rows } = await readFrames(1, packet);
    expect(linesOfRows(rows)).toEqual(["udp 192.168.0.1:50000 > 192.168.0.2:4789"]);
  });

  it("are not seen in plain UDP on their ports", async () => {
    const { rows } = await readFrames(1, carried(4789, [0, 0, 0, 0, 0, 0, 0, 0], inner));
    expect(linesOfRows(rows)).toEqual(["udp 192.168.0.1:50000 > 192.168.0.2:4789"]);
  });
});

describe("IP headers", () => {
  it("with options and extension headers lead to the transport behind them", async () => {
    const plain = datagramOf(TCP);
    const options = joined(plain.subarray(0, 20), Uint8Array.of(7, 7, 4, 0, 0, 0, 0, 0), plain.subarray(20));
    options[0] = 0x47;
    options.set(uint16(options.length, "big"), 2);
    const plain6 = datagramOf(UDP6);
    const hopByHop = Uint8Array.of(60, 0, 1, 4, 0, 0, 0, 0);
    const destination = Uint8Array.of(44, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    const firstFragment = Uint8Array.of(17, 0, 0, 1, 0, 0, 0, 9);
    const extended = joined(plain6.subarray(0, 40), hopByHop, destination, firstFragment, plain6.subarray(40));
    extended[6] = 0;
    extended.set(uint16(extended.length - 40, "big"), 4);
    const laterFragment = extended.slice();
    laterFragment.set([0x05, 0xc8], 40 + 24 + 2);
    const { rows } = await readFrames(101, options, extended, laterFragment);
    expect(linesOfRows(rows)).toEqual([LINE, LINE6, "udp [fd00::5]:0 > [fd00::6]:0"]);
    expect(rows.map(({ packet }) => packet.fragment)).toEqual([false, false, true]);
    expect(rows[1]?.packet.payloadBytes).toBe(20);
  });

  it("of a capture with a short snap length still say how long the payload was", async () => {
    const long = datagramOf({ ...TCP, payloadBytes: 1000 });
    const { rows } = await readFrames(101, long.subarray(0, 60), long.subarray(0, 40));
    expect(rows.map(({ packet }) => [packet.payloadBytes, packet.windowScale])).toEqual([
      [1000, 7],
      [1000, undefined],
    ]);
  });

  it("read back whatever the encoder writes", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(wirePacketArbitrary, { minLength: 1, maxLength: 20 }), async (packets) => {
        const writer = new PcapWriter(101);
        for (const packet of packets) writer.frame({ ...packetFrame(packet), interfaceId: 0 });
        const { source, rows } = await readTraffic(writer.take(), { tunnels: "outer", batchRows: 7 });
        expect(rows.map(({ packet }) => packet)).toEqual(packets);
        expect(source.skipped.size).toBe(0);
      }),
      { numRuns: runsOf(100) },
    );
  });
});

describe("pcapng", () => {
  const frame = ethernet(datagramOf(TCP));
  const text = (value: string) => new TextEncoder().encode(value);

  it.each(ORDERS)("%s-endian: sections, interfaces, resolutions and offsets of their own", async (order) => {
    const other = order === "little" ? "big" : "little";
    const file = joined(
      sectionBlock(order),
      interfaceBlock(order, 1, option(2, order, text("eth0")), option(3, order, text("uplink"))),
      interfaceBlock(order, 101, option(9, order, Uint8Array.of(9)), option(2, order, text("tun0"))),
      packetBlock(order, { interfaceId: 0, high: 0, low: 1_500_000 }, frame),
      packetBlock(order, { interfaceId: 1, high: 1, low: 5 }, datagramOf(TCP)),
      sectionBlock(other),
      interfaceBlock(
        other,
        1,
        option(9, other, Uint8Array.of(0x80 | 10)),
        option(
          14,
          other,
          joined(
            ...(other === "big" ? [uint32(0, other), uint32(1000, other)] : [uint32(1000, other), uint32(0, other)]),
          ),
        ),
      ),
      packetBlock(other, { interfaceId: 0, high: 0, low: 1024 + 512 }, frame),
      interfaceBlock(other, 1, option(9, other, Uint8Array.of(12))),
      packetBlock(other, { interfaceId: 1, high: 0x1d1a94a, low: 0x20000000 }, frame),
    );
    for (const pieces of [file.length, 1, 29]) {
      const { source, rows } = await readTraffic(file, { pieces });
      expect(source.issues).toEqual([]);
      expect(linesOfRows(rows)).toEqual([LINE, LINE, LINE, LINE]);
      expect(rows.map((row) => [row.interfaceId, row.seconds, row.nanoseconds])).toEqual([
        [0, 1, 500_000_000],
        [1, 4, 294_967_301],
        [2, 1001, 500_000_000],
        // 2^57 + … picoseconds, beyond what a float64 counts.
        [3, Number(0x1d1a94a20000000n / 10n ** 12n), Number((0x1d1a94a20000000n % 10n ** 12n) / 1000n)],
      ]);
      expect(source.interfaces.map(({ name, description, linkType }) => [name, description, linkType])).toEqual([
        ["eth0", "uplink", 1],
        ["tun0", undefined, 101],
        [undefined, undefined, 1],
        [undefined, undefined, 1],
      ]);
    }
  });

  it("simple and obsolete packet blocks, names, statistics, comments, flags, unknown blocks", async () => {
    const order = "big";
    const word = (value: number) => uint32(value, order);
    const file = joined(
      sectionBlock(order),
      block(0x0bad, order, word(32_473), new Uint8Array(100)),
      interfaceBlock(order, 1, option(2, order, text("eth0"))),
      block(
        4,
        order,
        uint16(1, order),
        uint16(4 + 9, order),
        Uint8Array.of(10, 0, 1, 5),
        text("shop/web\0"),
        new Uint8Array(3),
        word(0),
      ),
      block(
        2,
        order,
        uint16(0, order),
        uint16(0, order),
        word(0),
        word(2_000_000),
        word(frame.length),
        word(frame.length),
        frame,
      ),
      block(3, order, word(frame.length), frame),
      block(
        6,
        order,
        word(0),
        word(0),
        word(3_000_000),
        word(frame.length),
        word(frame.length),
        joined(frame, new Uint8Array(-frame.length & 3)),
        option(1, order, text("accept by rule 3")),
        option(2, order, word(2)),
        option(0, order, new Uint8Array(0)),
      ),
      block(5, order, word(0), word(0), word(0), option(5, order, joined(word(0), word(42)))),
    );
    const { source, rows } = await readTraffic(file);
    expect(source.issues).toEqual([]);
    expect(linesOfRows(rows)).toEqual([LINE, LINE, LINE]);
    expect(rows.map(({ packet }) => packet.time)).toEqual([2, 2, 3]);
    expect(rows.map(({ comment }) => comment)).toEqual([undefined, undefined, "accept by rule 3"]);
    expect(rows[2]?.direction).toBe(CAPTURED.outbound);
    expect(source.names.get("10.0.1.5")).toBe("shop/web");
    expect([...source.notes].sort()).toEqual([
      "1 simple packet block without a time: taken as simultaneous with the packet before",
      "the capture says that it lost 42 packets of interface eth0",
    ]);
  });

  it("that is damaged ends there, with the byte", async () => {
    const start = joined(
      sectionBlock("little"),
      interfaceBlock("little", 1),
      packetBlock("little", { interfaceId: 0, high: 0, low: 9 }, frame),
    );
    const damaged: readonly (readonly [string, Uint8Array])[] = [
      ["a length that is no multiple of 4", joined(uint32(6, "little"), uint32(33, "little"), new Uint8Array(33))],
      ["two lengths", joined(uint32(6, "little"), uint32(32, "little"), new Uint8Array(20), uint32(36, "little"))],
      ["an interface that is not described", packetBlock("little", { interfaceId: 5, high: 0, low: 9 }, frame)],
      ["a packet block of 4 GB", joined(uint32(6, "little"), uint32(0xfffffffc, "little"), new Uint8Array(50))],
    ];
    for (const [what, bytes] of damaged) {
      const { source, rows } = await readTraffic(joined(start, bytes));
      expect([what, rows.length, source.issues.map(({ offset, severity }) => [offset, severity])]).toEqual([
        what,
        1,
        [[start.length, "error"]],
      ]);
    }
    const skipped = await readTraffic(
      joined(start, uint32(0x0bad, "little"), uint32(0xfffffffc, "little"), new Uint8Array(50)),
    );
    expect(skipped.source.issues.map(({ offset, severity }) => [offset, severity])).toEqual([
      [start.length, "warning"],
    ]);
    const cut = await readTraffic(joined(start, start.subarray(0, 50)));
    expect(cut.source.issues.map(({ offset }) => offset)).toEqual([start.length + 48]);
  });
});

describe("writers", () => {
  it("pass frames on byte for byte, with comments, names and times to the nanosecond", async () => {
    const frames = [0, 1, 2].map((index) => ({
      seconds: 1_700_000_000 + 1000 * index,
      fraction: 999_999_999 - index,
      bytes: ethernet(datagramOf({ ...TCP, payloadBytes: index })),
      wireBytes: 2000,
    }));
    const file = pcapBytes({ order: "big", magic: 0xa1b23c4d, linkType: 1 }, frames);
    const source = await openTraffic(piecesOf(file, 50));
    const writer = new PcapngWriter({ application: "test" });
    const interfaceId = writer.addInterface({ linkType: 1, name: "eth0" });
    writer.addNames([[TCP.source, "shop/web"]]);
    for await (const batch of source.batches()) {
      for (let row = 0; row < batch.packets.length; row++) {
        const captured = capturedFrame(batch, row);
        if (captured !== undefined) writer.frame({ ...captured, interfaceId, comments: ["drop", "rule ü"] });
      }
    }
    const { source: again, rows } = await readTraffic(writer.take());
    expect(again.issues).toEqual([]);
    expect(
      rows.map(({ seconds, nanoseconds, frame, frameBytes }) => [seconds, nanoseconds, frame, frameBytes]),
    ).toEqual(frames.map(({ seconds, fraction, bytes, wireBytes }) => [seconds, fraction, bytes, wireBytes]));
    expect(rows.map(({ comment }) => comment)).toEqual(["drop\nrule ü", "drop\nrule ü", "drop\nrule ü"]);
    expect(again.names.get("10.0.1.5")).toBe("shop/web");
    expect(again.interfaces[0]?.name).toBe("eth0");
  });
});
