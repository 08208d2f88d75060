/** One traffic recorded twice, of which one recording keeps the headers alone (`tcpdump -s 64`). */
import { describe, expect, it } from "vitest";
import { parseAddress } from "../../dataplane/address.ts";
import { makePacket, type Packet, PROTOCOL } from "../../dataplane/packet.ts";
import { Duplicates } from "../../replay/duplicates.ts";
import { mergeTraffic } from "../../replay/mergeTraffic.ts";
import { PACKET_LINK_TYPE, packetFrame } from "../../traffic/captureWriter.ts";
import { openTraffic } from "../../traffic/openTraffic.ts";
import { PcapWriter } from "../../traffic/writePcap.ts";
import { piecesOf } from "../traffic/readTraffic.ts";

const FILE_HEADER = 24;
const RECORD_HEADER = 16;
const PAYLOAD = 40;

/** Requests of one client, with equal headers as far as they are at one `port`. */
function requests(ports: readonly number[]): readonly Packet[] {
  const [source, destination] = ["10.10.2.10", "10.10.1.10"].map((text) => parseAddress(text));
  if (source === undefined || destination === undefined) throw new Error("no addresses");
  return ports.map((sourcePort, at) =>
    makePacket({
      time: 1_700_000_000 + at / 1000,
      protocol: PROTOCOL.udp,
      source,
      destination,
      sourcePort,
      destinationPort: 80,
      payloadBytes: PAYLOAD,
    }),
  );
}

/** A recording of them that keeps so much of a frame; their payload ends with `mark`. */
function recording(packets: readonly Packet[], snap: number, mark = 7): Uint8Array {
  const parts: Uint8Array[] = [];
  for (const packet of packets) {
    const writer = new PcapWriter(PACKET_LINK_TYPE);
    writer.frame({ ...packetFrame(packet), interfaceId: 0 });
    const bytes = writer.take();
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    const isLittleEndian = view.getUint32(0) !== 0xa1b2c3d4 && view.getUint32(0) !== 0xa1b23c4d;
    const kept = Math.min(snap, view.getUint32(FILE_HEADER + 8, isLittleEndian));
    view.setUint32(16, snap, isLittleEndian);
    view.setUint32(FILE_HEADER + 8, kept, isLittleEndian);
    bytes[bytes.length - 1] = mark;
    parts.push(bytes.subarray(parts.length === 0 ? 0 : FILE_HEADER, FILE_HEADER + RECORD_HEADER + kept));
  }
  return Buffer.concat(parts);
}

/** Packets of recordings that are no copies. */
async function packetsOf(...recordings: readonly Uint8Array[]): Promise<number> {
  const sources = await Promise.all(recordings.map((bytes) => openTraffic(piecesOf(bytes, bytes.length))));
  const merged = mergeTraffic(sources, { frames: "left out" });
  const duplicates = new Duplicates(merged.interfaces);
  let count = 0;
  for await (const batch of merged.batches()) {
    for (let row = 0; row < batch.packets.length; row++) if (!duplicates.isRepeated(batch, row)) count++;
  }
  return count;
}

describe("copies of which one is cut", () => {
  const packets = requests([4001, 4002, 4003]);
  const whole = recording(packets, 65_535);
  const cut = recording(packets, 64);

  it("count once, whichever was seen first", async () => {
    expect(await packetsOf(whole, cut)).toBe(3);
    expect(await packetsOf(cut, whole)).toBe(3);
    expect(await packetsOf(cut, recording(packets, 60))).toBe(3);
  });

  it("are no copies where both are whole and end differently, or where one recording has both", async () => {
    expect(await packetsOf(whole, recording(packets, 1500, 8))).toBe(6);
    const twice = requests([4001, 4001]);
    expect(await packetsOf(recording(twice, 64), recording(requests([4002]), 1500))).toBe(3);
  });
});
