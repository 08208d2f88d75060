/**
 * Packet formats that encoding and decoding share. Sources: RFC 791, 8200 (IP), 9293 (TCP), 768 (UDP), 9260 (SCTP), 792 and
 * 4443 (ICMP), 3828 (UDP-Lite), 4340 (DCCP).
 */
import { PROTOCOL, SCTP_CHUNK } from "../dataplane/packet.ts";

/** Protocol number of IPv6's fragment header. */
export const IPV6_FRAGMENT = 44;

/**
 * Where a later fragment starts, in bytes: the payload of one Ethernet frame, a multiple of 8 below 1500 − 20. A first
 * fragment of that size is what Linux sends before it.
 */
export const FRAGMENT_OFFSET_BYTES = 1480;

/** Shortest layer-4 part of a protocol without a format of its own here: an ICMP error quotes 8 bytes (RFC 792). */
export const OPAQUE_HEADER_BYTES = 8;

/** Kinds of TCP options (RFC 9293 section 3.2, RFC 7323). */
export const TCP_OPTION = { end: 0, noOperation: 1, windowScale: 3 } as const;

/** Kind, length and shift count. */
export const TCP_WINDOW_SCALE_BYTES = 3;

/** Whether the message reports a problem with the packet that it quotes. */
export function isIcmpError(protocol: number, type: number): boolean {
  if (protocol === PROTOCOL.icmpv6) return type >= 1 && type <= 4;
  return type === 3 || type === 4 || type === 5 || type === 11 || type === 12;
}

/** Chunk header and the fixed fields of the chunk, RFC 9260 section 3.3. */
export function sctpChunkLength(chunk: number): number {
  switch (chunk) {
    case SCTP_CHUNK.INIT:
      return 20;
    case SCTP_CHUNK.INIT_ACK: // with the State Cookie parameter that it must carry
      return 28;
    case SCTP_CHUNK.DATA:
    case SCTP_CHUNK.SACK:
      return 16;
    case SCTP_CHUNK.SHUTDOWN:
    case SCTP_CHUNK.HEARTBEAT:
    case SCTP_CHUNK.HEARTBEAT_ACK:
    case SCTP_CHUNK.COOKIE_ECHO:
      return 8;
    default:
      return 4;
  }
}
