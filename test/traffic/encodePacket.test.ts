/** Packets survive the way to bytes and back, and the bytes are what other readers of the formats expect. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hasPorts, makePacket, PROTOCOL } from "../../dataplane/packet.ts";
import { crc32c } from "../../traffic/checksum.ts";
import { decodePacket } from "../../traffic/decodePacket.ts";
import { encodePacket, packetLength } from "../../traffic/encodePacket.ts";
import { wireAddresses, wirePacketArbitrary } from "../arbitraries/wirePacket.ts";
import { runsOf } from "../extent.ts";

/** One's complement sum of 16-bit words: 0xffff over anything that holds its own checksum. */
function onesSum(bytes: Uint8Array): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

describe("packets as bytes", () => {
  it("decode to the packet they were made of", () => {
    fc.assert(
      fc.property(
        wirePacketArbitrary,
        fc.nat(7),
        fc.nat(0xffff),
        fc.integer({ min: 1, max: 255 }),
        (packet, offset, identification, hopLimit) => {
          const bytes = new Uint8Array(offset + packetLength(packet) + 3).fill(0xee);
          expect(encodePacket(packet, bytes, offset, { identification, hopLimit })).toBe(packetLength(packet));
          expect(decodePacket(bytes, offset, packet.time)).toEqual({ packet, identification, hopLimit });
          expect([...bytes.subarray(offset + packetLength(packet))]).toEqual([0xee, 0xee, 0xee]);
        },
      ),
      { numRuns: runsOf(2000) },
    );
  });

  it("keep a later fragment without its ports", () => {
    for (const family of [4, 6] as const) {
      const [source, destination] = wireAddresses[family];
      if (source === undefined || destination === undefined) throw new Error("two addresses");
      const packet = makePacket({ protocol: 17, source, destination, sourcePort: 0, fragment: true, payloadBytes: 16 });
      const bytes = new Uint8Array(packetLength(packet));
      encodePacket(packet, bytes, 0, { identification: 77 });
      expect(decodePacket(bytes, 0, 0)).toEqual({ packet, identification: 77, hopLimit: 64 });
    }
  });

  it("carry checksums that add up", () => {
    fc.assert(
      fc.property(wirePacketArbitrary, (packet) => {
        const bytes = new Uint8Array(packetLength(packet));
        encodePacket(packet, bytes, 0);
        const v4 = packet.source.family === 4;
        if (v4) expect(onesSum(bytes.subarray(0, 20))).toBe(0xffff);
        const transport = bytes.subarray(v4 ? 20 : 40);
        if (packet.protocol === PROTOCOL.sctp) {
          const held = new DataView(transport.buffer, transport.byteOffset).getUint32(8, true);
          const cleared = transport.slice();
          cleared.fill(0, 8, 12);
          expect(held).toBe(crc32c(cleared, 0, cleared.length));
        } else if (packet.protocol === PROTOCOL.icmp) {
          expect(onesSum(transport)).toBe(0xffff);
        } else if (hasPorts(packet.protocol) || packet.protocol === PROTOCOL.icmpv6) {
          const pseudo = [0, packet.protocol, transport.length >>> 8, transport.length & 255];
          const ends = v4 ? bytes.subarray(12, 20) : bytes.subarray(8, 40);
          expect(onesSum(Uint8Array.from([...ends, ...pseudo, ...transport]))).toBe(0xffff);
        }
      }),
      { numRuns: runsOf(1000) },
    );
  });

  it("use the CRC of RFC 9260, whose check value is e3069283", () => {
    const digits = new TextEncoder().encode("123456789");
    expect(crc32c(digits, 0, digits.length)).toBe(0xe3069283);
  });

  it("are refused when they are cut short or no IP at all", () => {
    const [source, destination] = wireAddresses[4];
    if (source === undefined || destination === undefined) throw new Error("two addresses");
    const packet = makePacket({ protocol: 6, source, destination, destinationPort: 80 });
    const bytes = new Uint8Array(packetLength(packet));
    encodePacket(packet, bytes, 0);
    for (let length = 0; length < bytes.length; length++)
      expect(decodePacket(bytes.subarray(0, length), 0, 0)).toBeUndefined();
    expect(decodePacket(bytes.fill(0x50, 0, 1), 0, 0)).toBeUndefined();
    expect(() => encodePacket(packet, new Uint8Array(39), 0)).toThrow(RangeError);
  });
});
