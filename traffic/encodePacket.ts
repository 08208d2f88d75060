/**
 * Packets as the bytes of IP: what the kernel judge injects and what a capture holds.
 *
 * Only headers carry meaning; payloads are zeros of the stated length. Checksums are right (a wrong one is `invalid` to
 * connection tracking).
 */
import { type FiveTuple, hasPorts, makePacket, type Packet, PROTOCOL, SCTP_CHUNK } from "../dataplane/packet.ts";
import { crc32c, inetChecksum } from "./checksum.ts";
import {
  FRAGMENT_OFFSET_BYTES,
  IPV6_FRAGMENT,
  OPAQUE_HEADER_BYTES,
  sctpChunkLength,
  TCP_OPTION,
  TCP_WINDOW_SCALE_BYTES,
} from "./wire.ts";

export interface EncodeOptions {
  /** IPv4 identification, or IPv6 flow label (20 bits): a name for the packet that forwarding leaves alone. Default 0. */
  readonly identification?: number;
  /** TTL or hop limit. Default 64, as Linux sends. */
  readonly hopLimit?: number;
}

/** A datagram in the middle of writing. */
interface Datagram {
  readonly bytes: Uint8Array;
  /** Where the IP header starts, where layer 4 starts, where it ends. */
  readonly start: number;
  readonly header: number;
  readonly end: number;
}

/** Bytes that `encodePacket` writes for the packet. */
export function packetLength(packet: Packet): number {
  const ip = packet.source.family === 4 ? 20 : packet.fragment ? 48 : 40;
  return ip + transportLength(packet);
}

/**
 * Writes the packet as an IP datagram at `offset` of `bytes` and returns its length.
 *
 * A field that the protocol has no place for is not written: `decodePacket` gives the defaults back. `fragment` makes a
 * last fragment at offset 1480. An ICMP error quotes the packet of `quoted` as far as RFC 792 asks: IP header and 8 bytes;
 * a quoted ICMP packet is an echo request with the identifier `icmpId` of the error.
 */
export function encodePacket(packet: Packet, bytes: Uint8Array, offset: number, options: EncodeOptions = {}): number {
  const length = packetLength(packet);
  if (offset + length > bytes.length) throw new RangeError(`no room for ${length} bytes at ${offset}`);
  bytes.fill(0, offset, offset + length);
  const header = writeIp(packet, bytes, offset, { ...options, length });
  const datagram = { bytes, start: offset, header, end: offset + length };
  if (!packet.fragment) writeTransport(packet, datagram);
  return length;
}

function transportLength(packet: Packet): number {
  if (packet.fragment) return Math.max(OPAQUE_HEADER_BYTES, packet.payloadBytes);
  switch (packet.protocol) {
    case PROTOCOL.tcp:
      return 20 + tcpOptionsLength(packet) + packet.payloadBytes;
    case PROTOCOL.dccp:
      return 20 + packet.payloadBytes;
    case PROTOCOL.udp:
    case PROTOCOL.udplite:
      return 8 + packet.payloadBytes;
    case PROTOCOL.sctp:
      return 12 + sctpChunkLength(packet.sctpChunk) + packet.payloadBytes;
    case PROTOCOL.icmp:
    case PROTOCOL.icmpv6:
      return 8 + (packet.quoted === undefined ? packet.payloadBytes : quotedLength(packet.quoted));
    default:
      return OPAQUE_HEADER_BYTES + packet.payloadBytes;
  }
}

/** The window scale option, padded to a whole word in front. */
function tcpOptionsLength(packet: Packet): number {
  return packet.windowScale === undefined ? 0 : 4;
}

function writeIp(packet: Packet, bytes: Uint8Array, at: number, options: EncodeOptions & { length: number }): number {
  const { identification = 0, hopLimit = 64, length } = options;
  if (packet.source.family === 4) {
    bytes[at] = 0x45;
    put16(bytes, at + 2, length);
    put16(bytes, at + 4, identification);
    put16(bytes, at + 6, packet.fragment ? FRAGMENT_OFFSET_BYTES / 8 : 0x4000); // else: don't fragment, as Linux sends
    bytes[at + 8] = hopLimit;
    bytes[at + 9] = packet.protocol;
    put32(bytes, at + 12, packet.source.words[0] ?? 0);
    put32(bytes, at + 16, packet.destination.words[0] ?? 0);
    put16(bytes, at + 10, inetChecksum(bytes, at, at + 20, 0));
    return at + 20;
  }
  put32(bytes, at, 0x60000000 | (identification & 0xfffff));
  put16(bytes, at + 4, length - 40);
  bytes[at + 6] = packet.fragment ? IPV6_FRAGMENT : packet.protocol;
  bytes[at + 7] = hopLimit;
  for (let word = 0; word < 4; word++) {
    put32(bytes, at + 8 + 4 * word, packet.source.words[word] ?? 0);
    put32(bytes, at + 24 + 4 * word, packet.destination.words[word] ?? 0);
  }
  if (!packet.fragment) return at + 40;
  bytes[at + 40] = packet.protocol;
  put16(bytes, at + 42, FRAGMENT_OFFSET_BYTES); // 13 bits of 8-byte units, 2 reserved, more-fragments clear
  put32(bytes, at + 44, identification);
  return at + 48;
}

function writeTransport(packet: Packet, datagram: Datagram): void {
  const { bytes, header, end } = datagram;
  switch (packet.protocol) {
    case PROTOCOL.tcp:
      putPorts(packet, bytes, header);
      put32(bytes, header + 4, packet.sequence);
      put32(bytes, header + 8, packet.acknowledgment);
      bytes[header + 12] = ((20 + tcpOptionsLength(packet)) / 4) << 4;
      bytes[header + 13] = packet.tcpFlags;
      put16(bytes, header + 14, packet.window);
      if (packet.windowScale !== undefined) {
        bytes.set(
          [TCP_OPTION.noOperation, TCP_OPTION.windowScale, TCP_WINDOW_SCALE_BYTES, packet.windowScale],
          header + 20,
        );
      }
      putChecksum(packet, datagram, 16);
      return;
    case PROTOCOL.udp:
      putPorts(packet, bytes, header);
      put16(bytes, header + 4, end - header);
      putChecksum(packet, datagram, 6);
      return;
    case PROTOCOL.udplite: // coverage 0: the whole packet
      putPorts(packet, bytes, header);
      putChecksum(packet, datagram, 6);
      return;
    case PROTOCOL.dccp: // a Request without options, short sequence numbers, service code 0
      putPorts(packet, bytes, header);
      bytes[header + 4] = 5;
      putChecksum(packet, datagram, 6);
      return;
    case PROTOCOL.sctp:
      putPorts(packet, bytes, header);
      put32(bytes, header + 4, packet.verificationTag);
      writeSctpChunk(packet, bytes, header + 12);
      putCrc32c(bytes, header, end);
      return;
    case PROTOCOL.icmp:
    case PROTOCOL.icmpv6:
      bytes[header] = packet.icmpType;
      bytes[header + 1] = packet.icmpCode;
      if (packet.quoted !== undefined) writeQuoted(packet.quoted, packet.icmpId, bytes, header + 8);
      else put16(bytes, header + 4, packet.icmpId);
      putChecksum(packet, datagram, 2);
      return;
    default:
      return;
  }
}

/* -------------------------------------------------------- SCTP ---------------------------------------------------- */

function writeSctpChunk(packet: Packet, bytes: Uint8Array, at: number): void {
  bytes[at] = packet.sctpChunk;
  put16(bytes, at + 2, sctpChunkLength(packet.sctpChunk) + packet.payloadBytes);
  if (packet.sctpChunk === SCTP_CHUNK.INIT || packet.sctpChunk === SCTP_CHUNK.INIT_ACK) {
    put32(bytes, at + 4, packet.sequence);
    put32(bytes, at + 8, 0xffff); // receiver window
    put16(bytes, at + 12, 1);
    put16(bytes, at + 14, 1);
  }
  if (packet.sctpChunk === SCTP_CHUNK.INIT_ACK) {
    put16(bytes, at + 20, 7); // State Cookie
    put16(bytes, at + 22, 8);
  }
  if (packet.sctpChunk === SCTP_CHUNK.DATA) bytes[at + 1] = 3; // first and last piece of its message
}

function putCrc32c(bytes: Uint8Array, start: number, end: number): void {
  const crc = crc32c(bytes, start, end);
  // The one little-endian field of these protocols (RFC 9260 appendix A).
  bytes[start + 8] = crc;
  bytes[start + 9] = crc >>> 8;
  bytes[start + 10] = crc >>> 16;
  bytes[start + 11] = crc >>> 24;
}

/* ------------------------------------------------- Quoted packets ------------------------------------------------ */

function quotedLength(quoted: FiveTuple): number {
  return (quoted.source.family === 4 ? 20 : 40) + OPAQUE_HEADER_BYTES;
}

/** IP header and the first 8 bytes of layer 4 of a packet that was sent earlier. */
function writeQuoted(quoted: FiveTuple, icmpId: number, bytes: Uint8Array, at: number): void {
  const inner = makePacket(quoted);
  const header = writeIp(inner, bytes, at, { length: quotedLength(quoted) });
  if (hasPorts(quoted.protocol)) putPorts(inner, bytes, header);
  if (quoted.protocol === PROTOCOL.udp) put16(bytes, header + 4, OPAQUE_HEADER_BYTES);
  if (quoted.protocol === PROTOCOL.icmp || quoted.protocol === PROTOCOL.icmpv6) {
    bytes[header] = inner.icmpType;
    put16(bytes, header + 4, icmpId);
  }
}

/* ---------------------------------------------------- Fields ----------------------------------------------------- */

/** The Internet checksum over pseudo header and layer 4 (RFC 793 section 3.1, RFC 8200 section 8.1). */
function putChecksum(packet: Packet, datagram: Datagram, field: number): void {
  const { bytes, start, header, end } = datagram;
  const pseudo = packet.protocol !== PROTOCOL.icmp; // ICMPv4 alone has none
  let sum = 0;
  if (pseudo) {
    const addresses = packet.source.family === 4 ? start + 12 : start + 8;
    const stop = packet.source.family === 4 ? start + 20 : start + 40;
    for (let at = addresses; at < stop; at += 2) sum += ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
    sum += packet.protocol + (end - header);
  }
  const checksum = inetChecksum(bytes, header, end, sum);
  // A sum of 0 says "no checksum" in UDP, so it is sent as its other form (RFC 768).
  put16(bytes, header + field, checksum === 0 && field === 6 ? 0xffff : checksum);
}

function putPorts(packet: Packet, bytes: Uint8Array, at: number): void {
  put16(bytes, at, packet.sourcePort);
  put16(bytes, at + 2, packet.destinationPort);
}

function put16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

function put32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}
