/** The straight line for the datagrams that most are, against the decoder for all: equal columns, or hands off. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseAddress } from "../../dataplane/address.ts";
import { createBatch, makePacket, type PacketBatch, PROTOCOL } from "../../dataplane/packet.ts";
import { DatagramDecoder, DECODED } from "../../traffic/decodePacket.ts";
import { encodePacket, packetLength } from "../../traffic/encodePacket.ts";
import { clearRow, packetAt } from "../../traffic/packetRow.ts";
import { wirePacketArbitrary } from "../arbitraries/wirePacket.ts";
import { runsOf } from "../extent.ts";
import { datagramOf, ethernet, pcapBytes } from "./captureBytes.ts";
import { readTraffic } from "./readTraffic.ts";

function address(text: string) {
  const parsed = parseAddress(text);
  if (parsed === undefined) throw new Error(text);
  return parsed;
}
const ENDS = { source: address("10.0.1.5"), destination: address("10.0.2.6"), destinationPort: 53 };

/** Places and values of a few damaged bytes, near the start where the headers are, and how many bytes were captured less. */
const damage = fc.record({
  bytes: fc.array(fc.tuple(fc.nat(60), fc.nat(255)), { maxLength: 3 }),
  cut: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.nat(60)),
});

function columnsOf(batch: PacketBatch): object {
  return { ...batch, time: undefined, quoted: undefined, packet: packetAt(batch, 0) };
}

describe("a plain datagram", () => {
  it("is read as the decoder for all reads it, and nothing else is taken for one", () => {
    const whole = new DatagramDecoder(createBatch(1));
    const plain = new DatagramDecoder(createBatch(1));
    let taken = 0;
    let left = 0;
    fc.assert(
      fc.property(wirePacketArbitrary, damage, (packet, { bytes: damaged, cut }) => {
        const bytes = new Uint8Array(packetLength(packet) + 4);
        encodePacket(packet, bytes, 2);
        for (const [at, value] of damaged) if (at < bytes.length - 4) bytes[2 + at] = value;
        for (const decoder of [whole, plain]) {
          decoder.view = new DataView(bytes.buffer);
          decoder.captured = Math.max(2, bytes.length - cut);
          decoder.wire = bytes.length;
          clearRow(decoder.batch, 0);
        }
        if (!plain.decodePlain(2)) {
          left++;
          const untouched = new DatagramDecoder(createBatch(1)).batch;
          for (const batch of [plain.batch, untouched]) {
            // What every datagram writes may be of the one before.
            for (const column of ["family", "protocol", "source0", "destination0", "payloadBytes"] as const)
              batch[column][0] = 0;
            batch.sourcePort[0] = batch.destinationPort[0] = 0;
          }
          expect(columnsOf(plain.batch)).toEqual(columnsOf(untouched));
          return;
        }
        taken++;
        expect(whole.decode(2)).toBe(DECODED.ok);
        expect(columnsOf(plain.batch)).toEqual(columnsOf(whole.batch));
        expect(plain.transport).toBe(whole.transport);
      }),
      { numRuns: runsOf(4000) },
    );
    expect(taken).toBeGreaterThan(left / 20);
    expect(left).toBeGreaterThan(taken / 2);
  });
});

describe("a capture in chunks", () => {
  it("is the same however it was cut, records across chunks included", async () => {
    // Records of 70 to 20,000 bytes: longer and shorter than what is taken of a chunk to complete one.
    const frames = Array.from({ length: 60 }, (_, number) => {
      const packet = makePacket({ protocol: PROTOCOL.udp, ...ENDS, payloadBytes: (number * number * 17) % 20_000 });
      return { seconds: 1_700_000_000 + number, fraction: number, bytes: ethernet(datagramOf(packet)) };
    });
    const file = pcapBytes({ order: "little", magic: 0xa1b2c3d4, linkType: 1 }, frames);
    const read = async (pieces: number) =>
      // Frames as text: the matcher would compare a megabyte of numbers one by one.
      (await readTraffic(file, { pieces })).rows.map(
        ({ offset, frame }) => `${offset} ${Buffer.from(frame).toString("hex")}`,
      );
    const whole = await read(file.length);
    expect(whole).toHaveLength(frames.length);
    for (const pieces of [700, 4095, 4096, 4097, 9_999, 50_000, file.length - 1]) {
      expect(
        (await read(pieces)).findIndex((line, row) => line !== whole[row]),
        `chunks of ${pieces}`,
      ).toBe(-1);
    }
  });
});
