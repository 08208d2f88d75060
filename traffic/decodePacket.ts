/** The bytes of IP as packets: what comes out of the kernel judge and what a capture holds. */
import type { IpAddress } from "../dataplane/address.ts";
import { type FiveTuple, hasPorts, makePacket, type Packet, PROTOCOL, SCTP_CHUNK } from "../dataplane/packet.ts";
import { IPV6_FRAGMENT, isIcmpError, OPAQUE_HEADER_BYTES, sctpChunkLength, TCP_OPTION } from "./wire.ts";

/** What `decodePacket` reads: the packet, and the header fields a `Packet` has no room for. */
export interface DecodedPacket {
  readonly packet: Packet;
  readonly identification: number;
  readonly hopLimit: number;
}

/**
 * Reads the datagram that starts at `offset` (`bytes` may go on after it; `time` is the packet's). Undefined when it is
 * not an IP datagram or when a header is cut off. IPv6 extension headers are skipped; ports of later fragments are 0.
 */
export function decodePacket(bytes: Uint8Array, offset: number, time: number): DecodedPacket | undefined {
  const version = (bytes[offset] ?? 0) >>> 4;
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset, bytes.length - offset);
  if (version === 4) return decodeIpv4(view, time);
  if (version === 6) return decodeIpv6(view, time);
  return undefined;
}

function decodeIpv4(view: DataView, time: number): DecodedPacket | undefined {
  if (view.byteLength < 20) return undefined;
  const header = (view.getUint8(0) & 15) * 4;
  const end = view.getUint16(2);
  if (header < 20 || end < header || end > view.byteLength) return undefined;
  const packet = decodeTransport(new DataView(view.buffer, view.byteOffset + header, end - header), {
    time,
    protocol: view.getUint8(9),
    source: { family: 4, words: [view.getInt32(12)] },
    destination: { family: 4, words: [view.getInt32(16)] },
    fragment: (view.getUint16(6) & 0x1fff) !== 0,
  });
  return packet && { packet, identification: view.getUint16(4), hopLimit: view.getUint8(8) };
}

/** Extension headers with the length field of RFC 8200 section 4: hop-by-hop, routing, destination options. */
const IPV6_EXTENSIONS: ReadonlySet<number> = new Set([0, 43, 60]);

function decodeIpv6(view: DataView, time: number): DecodedPacket | undefined {
  if (view.byteLength < 40) return undefined;
  const end = 40 + view.getUint16(4);
  if (end > view.byteLength) return undefined;
  let protocol = view.getUint8(6);
  let header = 40;
  let fragment = false;
  while (IPV6_EXTENSIONS.has(protocol) || protocol === IPV6_FRAGMENT) {
    if (header + 8 > end) return undefined;
    const length = protocol === IPV6_FRAGMENT ? 8 : 8 * (view.getUint8(header + 1) + 1);
    if (protocol === IPV6_FRAGMENT) fragment = view.getUint16(header + 2) >= 8;
    protocol = view.getUint8(header);
    header += length;
  }
  if (header > end) return undefined;
  const packet = decodeTransport(new DataView(view.buffer, view.byteOffset + header, end - header), {
    time,
    protocol,
    source: ipv6At(view, 8),
    destination: ipv6At(view, 24),
    fragment,
  });
  return packet && { packet, identification: view.getUint32(0) & 0xfffff, hopLimit: view.getUint8(7) };
}

function ipv6At(view: DataView, at: number): IpAddress {
  return { family: 6, words: [0, 4, 8, 12].map((word) => view.getInt32(at + word)) };
}

type NetworkFields = Pick<Packet, "time" | "protocol" | "source" | "destination" | "fragment">;

/** `view` is layer 4 up to the end of the datagram. */
function decodeTransport(view: DataView, network: NetworkFields): Packet | undefined {
  const length = view.byteLength;
  if (network.fragment) return makePacket({ ...network, sourcePort: 0, payloadBytes: length });
  switch (network.protocol) {
    case PROTOCOL.tcp: {
      if (length < 20) return undefined;
      const header = Math.min(length, Math.max(20, 4 * (view.getUint8(12) >>> 4)));
      const windowScale = windowScaleIn(view, header);
      return makePacket({
        ...network,
        ...portsAt(view),
        sequence: view.getUint32(4),
        acknowledgment: view.getUint32(8),
        tcpFlags: view.getUint8(13),
        window: view.getUint16(14),
        ...(windowScale === undefined ? {} : { windowScale }),
        payloadBytes: length - header,
      });
    }
    case PROTOCOL.udp:
    case PROTOCOL.udplite:
      if (length < 8) return undefined;
      return makePacket({ ...network, ...portsAt(view), payloadBytes: length - 8 });
    case PROTOCOL.dccp:
      if (length < 12) return undefined;
      return makePacket({
        ...network,
        ...portsAt(view),
        payloadBytes: Math.max(0, length - 4 * view.getUint8(4)),
      });
    case PROTOCOL.sctp:
      return decodeSctp(view, network);
    case PROTOCOL.icmp:
    case PROTOCOL.icmpv6:
      return decodeIcmp(view, network);
    default:
      return makePacket({ ...network, payloadBytes: Math.max(0, length - OPAQUE_HEADER_BYTES) });
  }
}

/** The shift count of a window scale option among the options that end at `end`; at most 14 (RFC 7323 section 2.3). */
function windowScaleIn(view: DataView, end: number): number | undefined {
  for (let at = 20; at < end; ) {
    const kind = view.getUint8(at);
    if (kind === TCP_OPTION.end) return undefined;
    if (kind === TCP_OPTION.noOperation) {
      at++;
      continue;
    }
    const length = at + 1 < end ? view.getUint8(at + 1) : 0;
    if (length < 2 || at + length > end) return undefined;
    if (kind === TCP_OPTION.windowScale && length === 3) return Math.min(14, view.getUint8(at + 2));
    at += length;
  }
  return undefined;
}

function decodeSctp(view: DataView, network: NetworkFields): Packet | undefined {
  if (view.byteLength < 16) return undefined;
  const sctpChunk = view.getUint8(12);
  const hasTag = sctpChunk === SCTP_CHUNK.INIT || sctpChunk === SCTP_CHUNK.INIT_ACK;
  return makePacket({
    ...network,
    ...portsAt(view),
    sctpChunk,
    verificationTag: view.getUint32(4),
    sequence: hasTag && view.byteLength >= 20 ? view.getUint32(16) : 0,
    payloadBytes: Math.max(0, view.byteLength - 12 - sctpChunkLength(sctpChunk)),
  });
}

function decodeIcmp(view: DataView, network: NetworkFields): Packet | undefined {
  if (view.byteLength < 8) return undefined;
  const icmpType = view.getUint8(0);
  const found = { ...network, icmpType, icmpCode: view.getUint8(1) };
  if (!isIcmpError(network.protocol, icmpType)) {
    return makePacket({ ...found, icmpId: view.getUint16(4), payloadBytes: view.byteLength - 8 });
  }
  const quoted = decodeQuoted(new DataView(view.buffer, view.byteOffset + 8, view.byteLength - 8));
  if (quoted === undefined) return makePacket({ ...found, payloadBytes: view.byteLength - 8 });
  return makePacket({ ...found, icmpId: quoted.icmpId, quoted: quoted.tuple });
}

/** The packet an ICMP error quotes; it is cut, so its own length field says nothing. */
function decodeQuoted(view: DataView): { tuple: FiveTuple; icmpId: number } | undefined {
  const version = view.byteLength < 20 ? 0 : view.getUint8(0) >>> 4;
  const header = version === 4 ? (view.getUint8(0) & 15) * 4 : 40;
  if ((version !== 4 && version !== 6) || view.byteLength < header + OPAQUE_HEADER_BYTES) return undefined;
  const protocol = view.getUint8(version === 4 ? 9 : 6);
  const source: IpAddress = version === 4 ? { family: 4, words: [view.getInt32(12)] } : ipv6At(view, 8);
  const destination: IpAddress = version === 4 ? { family: 4, words: [view.getInt32(16)] } : ipv6At(view, 24);
  const isIcmp = protocol === PROTOCOL.icmp || protocol === PROTOCOL.icmpv6;
  const ported = hasPorts(protocol);
  return {
    tuple: {
      protocol,
      source,
      destination,
      sourcePort: ported ? view.getUint16(header) : 0,
      destinationPort: ported ? view.getUint16(header + 2) : 0,
    },
    icmpId: isIcmp ? view.getUint16(header + 4) : 0,
  };
}

function portsAt(view: DataView): Pick<Packet, "sourcePort" | "destinationPort"> {
  return { sourcePort: view.getUint16(0), destinationPort: view.getUint16(2) };
}
