/** The bytes of IP as rows of a batch: what a capture holds. The one decoder of the house. */
import type { IpAddress } from "../dataplane/address.ts";
import {
  createBatch,
  type FiveTuple,
  hasPorts,
  PACKET_FLAG,
  type Packet,
  type PacketBatch,
  PROTOCOL,
  SCTP_CHUNK,
} from "../dataplane/packet.ts";
import { clearRow, packetAt } from "./packetRow.ts";
import { IPV6_FRAGMENT, isIcmpError, OPAQUE_HEADER_BYTES, sctpChunkLength, TCP_OPTION } from "./wire.ts";

/** What the decoder says of a datagram. After anything but `ok` the row holds leftovers: `clearRow` before it is used again. */
export const DECODED = {
  ok: 0,
  /** Neither version 4 nor 6. */
  notIp: 1,
  /** The captured bytes end inside a header. */
  cut: 2,
  /** A length field contradicts its own header. */
  malformed: 3,
} as const;

/** First byte of an IPv4 datagram without options: version 4, five words. */
const PLAIN_IPV4 = 0x45;

const NO_VIEW = new DataView(new ArrayBuffer(0));

/**
 * Reads IP datagrams into rows of a batch. What it works on is in fields, set by the caller, because a call per packet with
 * an object per packet for its arguments would cost more than the reading.
 *
 * Columns that few packets have (flags, ICMP, SCTP, numbers of TCP, the rest of IPv6 addresses) are written only where the
 * packet has them: they must be zero before (`clearBatch`, `clearRow`).
 */
export class DatagramDecoder {
  readonly batch: PacketBatch;
  /** The row to fill. */
  row = 0;
  view: DataView = NO_VIEW;
  /** Where the captured bytes of the frame end in `view`. */
  captured = 0;
  /**
   * Where the frame ended on the wire, at or after `captured`. Counts where a datagram does not say its length
   * (segmentation offload above 64 KiB, jumbograms).
   */
  wire = 0;
  /** After `decode`: where layer 4 starts. */
  transport = 0;

  constructor(batch: PacketBatch) {
    this.batch = batch;
  }

  /**
   * Reads the datagram at `start`; answers one of `DECODED`. Needs the headers, not the payload, whose length is that of
   * the wire. IPv6 extension headers are skipped, except AH, which is a protocol of its own as in IPv4; ports of later
   * fragments are 0.
   */
  decode(start: number): number {
    if (start >= this.captured) return DECODED.cut;
    const version = this.view.getUint8(start) >>> 4;
    if (version === 4) return this.#ipv4(start);
    if (version === 6) return this.#ipv6(start);
    return DECODED.notIp;
  }

  /**
   * Reads the datagram at `start` if it is what most are: IPv4 without options, whole, with the headers of TCP or UDP captured. A
   * straight line of what `decode` does with such a one; of any other nothing is read, and the answer is false. Its ports may
   * be those of a tunnel.
   */
  decodePlain(start: number): boolean {
    const { view, batch, row, captured } = this;
    const at = start + 20;
    if (at + 8 > captured || view.getUint8(start) !== PLAIN_IPV4) return false;
    const length = view.getUint16(start + 2) - 20;
    const protocol = view.getUint8(start + 9);
    if ((view.getUint16(start + 6) & 0x1fff) !== 0) return false;
    if (protocol === PROTOCOL.tcp) {
      if (length < 20 || at + 20 > captured) return false;
      const header = Math.min(length, Math.max(20, 4 * (view.getUint8(at + 12) >>> 4)));
      if (header > 20) {
        const end = at + Math.min(header, length, captured - at);
        batch.windowScale[row] = windowScaleIn(view, at + 20, end);
      }
      batch.sequence[row] = view.getUint32(at + 4);
      batch.acknowledgment[row] = view.getUint32(at + 8);
      batch.tcpFlags[row] = view.getUint8(at + 13);
      batch.window[row] = view.getUint16(at + 14);
      batch.payloadBytes[row] = length - header;
    } else if (protocol === PROTOCOL.udp && length >= 8) {
      batch.payloadBytes[row] = length - 8;
    } else {
      return false;
    }
    batch.family[row] = 4;
    batch.protocol[row] = protocol;
    batch.source0[row] = view.getInt32(start + 12);
    batch.destination0[row] = view.getInt32(start + 16);
    batch.sourcePort[row] = view.getUint16(at);
    batch.destinationPort[row] = view.getUint16(at + 2);
    this.transport = at;
    return true;
  }

  #ipv4(start: number): number {
    const { view, batch, row } = this;
    if (start + 20 > this.captured) return DECODED.cut;
    const headerBytes = (view.getUint8(start) & 15) * 4;
    const stated = view.getUint16(start + 2);
    const length = stated === 0 ? this.wire - start : stated;
    if (headerBytes < 20 || length < headerBytes) return DECODED.malformed;
    const protocol = view.getUint8(start + 9);
    batch.family[row] = 4;
    batch.protocol[row] = protocol;
    batch.source0[row] = view.getInt32(start + 12);
    batch.destination0[row] = view.getInt32(start + 16);
    this.transport = start + headerBytes;
    return this.#transport(protocol, start + length, (view.getUint16(start + 6) & 0x1fff) !== 0);
  }

  #ipv6(start: number): number {
    const { view, batch, row } = this;
    if (start + 40 > this.captured) return DECODED.cut;
    const stated = view.getUint16(start + 4);
    const end = stated === 0 ? this.wire : start + 40 + stated;
    let protocol = view.getUint8(start + 6);
    let at = start + 40;
    let isFragment = false;
    while (isSkippedExtension(protocol)) {
      if (at + 8 > end) return DECODED.malformed;
      if (at + 8 > this.captured) return DECODED.cut;
      const length = protocol === IPV6_FRAGMENT ? 8 : 8 * (view.getUint8(at + 1) + 1);
      if (protocol === IPV6_FRAGMENT) isFragment = view.getUint16(at + 2) >= 8;
      protocol = view.getUint8(at);
      at += length;
      // What follows the header of a later fragment is a piece of the datagram, not a header.
      if (isFragment) break;
    }
    if (at > end) return DECODED.malformed;
    if (at > this.captured) return DECODED.cut;
    batch.family[row] = 6;
    batch.protocol[row] = protocol;
    batch.source0[row] = view.getInt32(start + 8);
    batch.source1[row] = view.getInt32(start + 12);
    batch.source2[row] = view.getInt32(start + 16);
    batch.source3[row] = view.getInt32(start + 20);
    batch.destination0[row] = view.getInt32(start + 24);
    batch.destination1[row] = view.getInt32(start + 28);
    batch.destination2[row] = view.getInt32(start + 32);
    batch.destination3[row] = view.getInt32(start + 36);
    this.transport = at;
    return this.#transport(protocol, end, isFragment);
  }

  /** Layer 4, which ends at `end` on the wire. */
  #transport(protocol: number, end: number, isFragment: boolean): number {
    const { view, batch, row, transport: at } = this;
    const length = end - at;
    // Headers are read as far as they were captured and belong to the datagram; what follows it in the frame is padding.
    const readable = Math.min(this.captured, end) - at;
    batch.sourcePort[row] = 0;
    batch.destinationPort[row] = 0;
    if (isFragment) {
      batch.flags[row] = PACKET_FLAG.fragment;
      batch.payloadBytes[row] = length;
      return DECODED.ok;
    }
    switch (protocol) {
      case PROTOCOL.tcp: {
        if (readable < 20) return shortOf(20, length);
        const header = Math.min(length, Math.max(20, 4 * (view.getUint8(at + 12) >>> 4)));
        // Options that a short snap length cut off are taken for absent.
        if (header > 20) batch.windowScale[row] = windowScaleIn(view, at + 20, at + Math.min(header, readable));
        this.#ports(at);
        batch.sequence[row] = view.getUint32(at + 4);
        batch.acknowledgment[row] = view.getUint32(at + 8);
        batch.tcpFlags[row] = view.getUint8(at + 13);
        batch.window[row] = view.getUint16(at + 14);
        batch.payloadBytes[row] = length - header;
        return DECODED.ok;
      }
      case PROTOCOL.udp:
      case PROTOCOL.udplite:
        if (readable < 8) return shortOf(8, length);
        this.#ports(at);
        batch.payloadBytes[row] = length - 8;
        return DECODED.ok;
      case PROTOCOL.dccp:
        if (readable < 12) return shortOf(12, length);
        this.#ports(at);
        batch.payloadBytes[row] = Math.max(0, length - 4 * view.getUint8(at + 4));
        return DECODED.ok;
      case PROTOCOL.sctp:
        return this.#sctp(length, readable);
      case PROTOCOL.icmp:
      case PROTOCOL.icmpv6:
        return this.#icmp(protocol, length, readable);
      default:
        batch.payloadBytes[row] = Math.max(0, length - OPAQUE_HEADER_BYTES);
        return DECODED.ok;
    }
  }

  #ports(at: number): void {
    this.batch.sourcePort[this.row] = this.view.getUint16(at);
    this.batch.destinationPort[this.row] = this.view.getUint16(at + 2);
  }

  #sctp(length: number, readable: number): number {
    const { view, batch, row, transport: at } = this;
    if (readable < 16) return shortOf(16, length);
    const chunk = view.getUint8(at + 12);
    const hasTag = chunk === SCTP_CHUNK.INIT || chunk === SCTP_CHUNK.INIT_ACK;
    this.#ports(at);
    batch.sctpChunk[row] = chunk;
    batch.verificationTag[row] = view.getUint32(at + 4);
    if (hasTag && readable >= 20) batch.sequence[row] = view.getUint32(at + 16);
    batch.payloadBytes[row] = Math.max(0, length - 12 - sctpChunkLength(chunk));
    return DECODED.ok;
  }

  #icmp(protocol: number, length: number, readable: number): number {
    const { view, batch, row, transport: at } = this;
    if (readable < 8) return shortOf(8, length);
    const type = view.getUint8(at);
    batch.icmpType[row] = type;
    batch.icmpCode[row] = view.getUint8(at + 1);
    batch.payloadBytes[row] = length - 8;
    if (!isIcmpError(protocol, type)) {
      batch.icmpId[row] = view.getUint16(at + 4);
      return DECODED.ok;
    }
    const quoted = quotedAt(view, at + 8, at + readable);
    if (quoted === undefined) return DECODED.ok;
    batch.icmpId[row] = quoted.icmpId;
    batch.quoted.set(row, quoted.tuple);
    batch.payloadBytes[row] = 0;
    return DECODED.ok;
  }
}

/** Why layer 4 has fewer readable bytes than its header needs: the datagram is too short for it, or the capture is. */
function shortOf(headerBytes: number, length: number): number {
  return length < headerBytes ? DECODED.malformed : DECODED.cut;
}

/** Hop-by-hop, routing, destination options (RFC 8200 section 4) and the fragment header. */
function isSkippedExtension(protocol: number): boolean {
  return protocol === 0 || protocol === 43 || protocol === 60 || protocol === IPV6_FRAGMENT;
}

/**
 * The shift count, plus 1, of a window scale option among the options in [at, end); at most 14 (RFC 7323 section 2.3).
 * 0: no such option.
 */
function windowScaleIn(view: DataView, start: number, end: number): number {
  for (let at = start; at < end; ) {
    const kind = view.getUint8(at);
    if (kind === TCP_OPTION.end) return 0;
    if (kind === TCP_OPTION.noOperation) {
      at++;
      continue;
    }
    const length = at + 1 < end ? view.getUint8(at + 1) : 0;
    if (length < 2 || at + length > end) return 0;
    if (kind === TCP_OPTION.windowScale && length === 3) return 1 + Math.min(14, view.getUint8(at + 2));
    at += length;
  }
  return 0;
}

interface Quoted {
  readonly tuple: FiveTuple;
  readonly icmpId: number;
}

/**
 * The packet an ICMP error quotes, in [at, end); it is cut, so its own length field says nothing. A quoted later fragment
 * has no ports.
 */
function quotedAt(view: DataView, at: number, end: number): Quoted | undefined {
  if (end - at < 20) return undefined;
  const version = view.getUint8(at) >>> 4;
  if (version === 4) {
    const header = at + Math.max(20, (view.getUint8(at) & 15) * 4);
    const source: IpAddress = { family: 4, words: [view.getInt32(at + 12)] };
    const destination: IpAddress = { family: 4, words: [view.getInt32(at + 16)] };
    const protocol = view.getUint8(at + 9);
    const isFragment = (view.getUint16(at + 6) & 0x1fff) !== 0;
    return quotedTransport({ view, at: header, end, protocol, isFragment, source, destination });
  }
  if (version !== 6 || end - at < 40) return undefined;
  let protocol = view.getUint8(at + 6);
  let header = at + 40;
  let isFragment = false;
  while (isSkippedExtension(protocol) && !isFragment) {
    if (header + 8 > end) return undefined;
    isFragment = protocol === IPV6_FRAGMENT && view.getUint16(header + 2) >= 8;
    const length = protocol === IPV6_FRAGMENT ? 8 : 8 * (view.getUint8(header + 1) + 1);
    protocol = view.getUint8(header);
    header += length;
  }
  const source = ipv6At(view, at + 8);
  return quotedTransport({
    view,
    at: header,
    end,
    protocol,
    isFragment,
    source,
    destination: ipv6At(view, at + 24),
  });
}

interface QuotedHeader extends Pick<FiveTuple, "protocol" | "source" | "destination"> {
  readonly view: DataView;
  /** Layer 4 of the quoted packet, and the end of what is quoted. */
  readonly at: number;
  readonly end: number;
  readonly isFragment: boolean;
}

function quotedTransport(header: QuotedHeader): Quoted | undefined {
  const { view, at, end, protocol, isFragment, source, destination } = header;
  if (end - at < OPAQUE_HEADER_BYTES) return undefined;
  const isIcmp = protocol === PROTOCOL.icmp || protocol === PROTOCOL.icmpv6;
  const isPorted = hasPorts(protocol) && !isFragment;
  return {
    tuple: {
      protocol,
      source,
      destination,
      sourcePort: isPorted ? view.getUint16(at) : 0,
      destinationPort: isPorted ? view.getUint16(at + 2) : 0,
    },
    icmpId: isIcmp && !isFragment ? view.getUint16(at + 4) : 0,
  };
}

function ipv6At(view: DataView, at: number): IpAddress {
  return {
    family: 6,
    words: [view.getInt32(at), view.getInt32(at + 4), view.getInt32(at + 8), view.getInt32(at + 12)],
  };
}

/** What `decodePacket` reads: the packet, and the header fields a `Packet` has no room for. */
export interface DecodedPacket {
  readonly packet: Packet;
  readonly identification: number;
  readonly hopLimit: number;
}

/**
 * One datagram, which starts at `offset` and of which every byte must be there (`bytes` may go on after it; `time` is the
 * packet's). Undefined when it is not an IP datagram, or not whole.
 */
export function decodePacket(bytes: Uint8Array, offset: number, time: number): DecodedPacket | undefined {
  const decoder = new DatagramDecoder(createBatch(1));
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  decoder.view = view;
  decoder.captured = bytes.length;
  decoder.wire = bytes.length;
  clearRow(decoder.batch, 0);
  if (decoder.decode(offset) !== DECODED.ok) return undefined;
  decoder.batch.time[0] = time;
  const packet = packetAt(decoder.batch, 0);
  const isV4 = packet.source.family === 4;
  const length = isV4 ? view.getUint16(offset + 2) : 40 + view.getUint16(offset + 4);
  if (offset + length > bytes.length) return undefined;
  return {
    packet,
    identification: isV4 ? view.getUint16(offset + 4) : view.getUint32(offset) & 0xfffff,
    hopLimit: view.getUint8(offset + (isV4 ? 8 : 7)),
  };
}
