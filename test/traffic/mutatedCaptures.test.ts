/**
 * Damaged captures and logs: whatever bytes come, reading ends, does not throw, holds no more than the file's size asks for, and
 * every issue has its place.
 */
import { describe, expect, it } from "vitest";
import { parseAddress } from "../../dataplane/address.ts";
import { makePacket, type Packet, PROTOCOL } from "../../dataplane/packet.ts";
import { packetFrame } from "../../traffic/captureWriter.ts";
import { SeededRandom } from "../../traffic/generate/random.ts";
import { openTraffic } from "../../traffic/openTraffic.ts";
import { createTrafficBatch, MAX_ISSUES, TrafficError } from "../../traffic/source.ts";
import { PcapngWriter } from "../../traffic/writePcapng.ts";
import { isWhole } from "../extent.ts";
import {
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
import { piecesOf } from "./readTraffic.ts";

const SEED = 20_240_501;
const CAPTURES = isWhole ? 1_000_000 : 3000;
const LOGS = isWhole ? 20_000 : 200;

function address(text: string) {
  const parsed = parseAddress(text);
  if (parsed === undefined) throw new Error(text);
  return parsed;
}
const V4 = { source: address("10.0.1.5"), destination: address("10.0.2.6"), destinationPort: 3306 };
const V6 = { source: address("fd00::5"), destination: address("fd00::6"), destinationPort: 53 };
const PACKETS: readonly Packet[] = [
  makePacket({ protocol: PROTOCOL.tcp, ...V4, windowScale: 7 }),
  makePacket({ protocol: PROTOCOL.udp, ...V6, payloadBytes: 10 }),
  makePacket({ protocol: PROTOCOL.sctp, ...V4 }),
  makePacket({ protocol: PROTOCOL.icmp, ...V4, icmpType: 3, quoted: { protocol: 6, sourcePort: 1, ...V4 } }),
];

/** Small files, so that every byte of a structure is hit often. */
function seeds(): readonly Uint8Array[] {
  const frames = PACKETS.map((packet, second) => ({
    seconds: second,
    fraction: 0,
    bytes: ethernet(datagramOf(packet)),
  }));
  const vxlan = datagramOf(makePacket({ protocol: PROTOCOL.udp, ...V4, destinationPort: 4789, payloadBytes: 66 }));
  vxlan.set([8, 0, 0, 0, 0, 0, 7, 0], 28);
  vxlan.set(ethernet(datagramOf(PACKETS[0] ?? makePacket({ protocol: 6, ...V4 }))), 36);
  const writer = new PcapngWriter({ application: "chainwalk" });
  const interfaceId = writer.addInterface({ linkType: 101, name: "eth0" });
  writer.addNames([[V4.source, "shop/web"]]);
  for (const packet of PACKETS) writer.frame({ ...packetFrame(packet), interfaceId, comments: ["drop"] });
  const frame = frames[1]?.bytes ?? new Uint8Array(0);
  return [
    pcapBytes({ order: "little", magic: 0xa1b2c3d4, linkType: 1 }, frames),
    pcapBytes({ order: "big", magic: 0xa1b23c4d, linkType: 101 }, [
      { seconds: 1, fraction: 0, bytes: vxlan },
      ...PACKETS.map((packet) => ({ seconds: 2, fraction: 0, bytes: datagramOf(packet) })),
    ]),
    writer.take(),
    joined(
      sectionBlock("big"),
      interfaceBlock("big", 1, option(9, "big", Uint8Array.of(0x80 | 30))),
      packetBlock("big", { interfaceId: 0, high: 7, low: 9 }, frame),
      block(3, "big", uint32(frame.length, "big"), frame),
      block(4, "big", uint16(2, "big"), uint16(18, "big"), new Uint8Array(16), uint16(0x6100, "big")),
      block(5, "big", uint32(0, "big"), new Uint8Array(8), option(5, "big", new Uint8Array(8))),
    ),
  ];
}

/** Making 50 columns anew costs more than reading the file. */
const BATCH = createTrafficBatch(16);

/** Values that lengths and counts break at. */
const EDGES = [0, 1, 4, 0x7f, 0x80, 0xff, 0x7fffffff, 0x80000000, 0xfffffffc, 0xffffffff];

/** A copy with one to four of the ways in which files get damaged. */
function mutated(seed: Uint8Array, random: SeededRandom): Uint8Array {
  let bytes: Uint8Array = seed.slice();
  for (let times = 1 + random.below(4); times > 0; times--) {
    const at = random.below(bytes.length);
    switch (random.below(6)) {
      case 0:
        bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8));
        break;
      case 1:
        bytes[at] = random.below(256);
        break;
      case 2:
        bytes.set(
          uint32(random.pick(EDGES), random.chance(50) ? "big" : "little").subarray(0, bytes.length - at),
          at & ~3,
        );
        break;
      case 3:
        bytes = bytes.slice(0, Math.max(1, at));
        break;
      case 4:
        bytes.copyWithin(at, random.below(bytes.length), random.below(bytes.length));
        break;
      default:
        bytes = joined(bytes.subarray(0, at), bytes.subarray(random.below(bytes.length)));
    }
    if (bytes.length === 0 || bytes.length > 4096) return seed.slice(0, 100);
  }
  return bytes;
}

/** Reads to the end; answers what a test must hold of it. */
async function readDamaged(
  bytes: Uint8Array,
): Promise<{ readonly rows: number; readonly isPlaced: boolean; readonly issues: number }> {
  try {
    const source = await openTraffic(piecesOf(bytes, bytes.length), { batch: BATCH });
    let rows = 0;
    let time = 0;
    let isOrdered = true;
    for await (const { packets, frameStart, capturedBytes, bytes: window } of source.batches()) {
      rows += packets.length;
      for (let row = 0; row < packets.length; row++) {
        isOrdered &&= (packets.time[row] ?? 0) >= time;
        isOrdered &&= (frameStart[row] ?? 0) + (capturedBytes[row] ?? 0) <= window.length;
        time = packets.time[row] ?? 0;
      }
    }
    const isPlaced = source.issues.every(
      ({ offset, line }) => (offset !== undefined && offset >= 0 && offset <= bytes.length) || line !== undefined,
    );
    return {
      rows,
      isPlaced: isPlaced && isOrdered && source.issues.length <= MAX_ISSUES,
      issues: source.issues.length,
    };
  } catch (error) {
    if (error instanceof TrafficError) return { rows: 0, isPlaced: error.offset <= bytes.length, issues: 1 };
    throw error;
  }
}

async function campaign(
  files: readonly Uint8Array[],
  count: number,
): Promise<{ rows: number; broken: number; sound: number }> {
  const random = new SeededRandom(SEED);
  const found = { rows: 0, broken: 0, sound: 0 };
  for (let run = 0; run < count; run++) {
    const bytes = mutated(random.pick(files), random);
    const { rows, isPlaced, issues } = await readDamaged(bytes);
    if (!isPlaced) throw new Error(`run ${run} of seed ${SEED}: ${Buffer.from(bytes).toString("hex")}`);
    found.rows += rows;
    if (issues > 0) found.broken++;
    else found.sound++;
  }
  return found;
}

describe("damaged input", () => {
  it(`captures, ${CAPTURES} times: reading ends, every issue has its byte, memory stays`, {
    timeout: 600_000,
  }, async () => {
    const before = process.memoryUsage().rss;
    const found = await campaign(seeds(), CAPTURES);
    // The 256 MB that a reader may need, above what the test runner has already.
    expect(process.memoryUsage().rss - before).toBeLessThan(256 << 20);
    // The mutations reach into records and leave records whole: neither all is refused nor all is read.
    expect(found.broken).toBeGreaterThan(CAPTURES / 10);
    expect(found.sound).toBeGreaterThan(CAPTURES / 10);
    expect(found.rows).toBeGreaterThan(CAPTURES);
  });

  it(`logs, ${LOGS} times: a bad line has its number and takes nothing from the others`, {
    timeout: 300_000,
  }, async () => {
    const text = (value: string) => new TextEncoder().encode(value);
    const found = await campaign(
      [
        text(
          '{"flow":{"time":"2024-05-01T12:00:00Z","verdict":"FORWARDED","IP":{"source":"10.0.1.5","destination":"10.0.2.6"},"l4":{"TCP":{"source_port":40000,"destination_port":80,"flags":{"SYN":true}}}}}\n'.repeat(
            2,
          ),
        ),
        text(
          '{"start_time":1714564800,"end_time":1714564860,"source_ip":"10.0.1.5","dest_ip":"10.0.2.6","dest_port":80,"proto":"tcp","action":"allow","reporter":"src","bytes_in":10,"bytes_out":20}\n'.repeat(
            2,
          ),
        ),
        text("2 123456789010 eni-1 10.0.2.6 10.0.1.5 3306 40001 6 20 4249 1418530010 1418530070 ACCEPT OK\n".repeat(3)),
        text(
          "#separator \\x09\n#fields\tts\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tconn_state\n1.5\t10.0.1.5\t1\t10.0.2.6\t2\ttcp\tSF\n",
        ),
        text("time,source,destination,protocol,port\n1,10.0.1.5,10.0.2.6,tcp,80\n2,10.0.1.5,10.0.2.6,udp,53\n"),
        text('{"protocol":"tcp","source":"10.0.1.5","destination":"10.0.2.6","destinationPort":80}\n'.repeat(3)),
      ],
      LOGS,
    );
    expect(found.broken).toBeGreaterThan(LOGS / 10);
    expect(found.rows).toBeGreaterThan(LOGS);
  });
});
