/** Captures byte by byte, in either byte order: what our writer does not write but others do. */

import type { Packet } from "../../dataplane/packet.ts";
import { encodePacket, packetLength } from "../../traffic/encodePacket.ts";

export type ByteOrder = "little" | "big";

export function uint16(value: number, order: ByteOrder): Uint8Array {
  return order === "little" ? Uint8Array.of(value, value >>> 8) : Uint8Array.of(value >>> 8, value);
}

export function uint32(value: number, order: ByteOrder): Uint8Array {
  const bytes = Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
  return order === "big" ? bytes : bytes.reverse();
}

export function joined(...parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

export interface RawFrame {
  readonly seconds: number;
  /** Of the file's unit. */
  readonly fraction: number;
  readonly bytes: Uint8Array;
  /** Default: as many as there are. */
  readonly wireBytes?: number;
}

export interface PcapShape {
  readonly order: ByteOrder;
  readonly magic: number;
  readonly linkType: number;
}

export function pcapBytes({ order, magic, linkType }: PcapShape, frames: readonly RawFrame[]): Uint8Array {
  const word = (value: number) => uint32(value, order);
  return joined(
    word(magic),
    uint16(2, order),
    uint16(4, order),
    word(0),
    word(0),
    word(65_535),
    word(linkType),
    ...frames.map(({ seconds, fraction, bytes, wireBytes = bytes.length }) =>
      joined(word(seconds), word(fraction), word(bytes.length), word(wireBytes), bytes),
    ),
  );
}

/** A block of a pcapng around its body. */
export function block(type: number, order: ByteOrder, ...body: readonly Uint8Array[]): Uint8Array {
  const whole = joined(...body);
  const filled = joined(whole, new Uint8Array(-whole.length & 3));
  const length = uint32(filled.length + 12, order);
  return joined(uint32(type, order), length, filled, length);
}

export function option(code: number, order: ByteOrder, value: Uint8Array): Uint8Array {
  return joined(uint16(code, order), uint16(value.length, order), value, new Uint8Array(-value.length & 3));
}

export function sectionBlock(order: ByteOrder): Uint8Array {
  const unknown = Uint8Array.of(255, 255, 255, 255, 255, 255, 255, 255);
  return block(0x0a0d0d0a, order, uint32(0x1a2b3c4d, order), uint16(1, order), uint16(0, order), unknown);
}

export function interfaceBlock(order: ByteOrder, linkType: number, ...options: readonly Uint8Array[]): Uint8Array {
  return block(1, order, uint16(linkType, order), uint16(0, order), uint32(0, order), ...options);
}

export interface Stamp {
  readonly interfaceId: number;
  readonly high: number;
  readonly low: number;
}

export function packetBlock(order: ByteOrder, { interfaceId, high, low }: Stamp, frame: Uint8Array): Uint8Array {
  const word = (value: number) => uint32(value, order);
  return block(6, order, word(interfaceId), word(high), word(low), word(frame.length), word(frame.length), frame);
}

export function datagramOf(packet: Packet): Uint8Array {
  const bytes = new Uint8Array(packetLength(packet));
  encodePacket(packet, bytes, 0, { identification: 7 });
  return bytes;
}

/** The Ethernet header in front of a datagram, with the tags given (outermost first). */
export function ethernet(
  datagram: Uint8Array,
  tags: readonly (readonly [etherType: number, id: number])[] = [],
): Uint8Array {
  const etherType = (datagram[0] ?? 0) >>> 4 === 6 ? 0x86dd : 0x0800;
  return joined(
    Uint8Array.of(2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1),
    ...tags.map(([type, id]) => joined(uint16(type, "big"), uint16(id, "big"))),
    uint16(etherType, "big"),
    datagram,
  );
}
