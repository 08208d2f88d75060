/**
 * Frames as rows: from the link layer to the datagram, and through tunnels to the datagram inside.
 *
 * Sources: https://www.tcpdump.org/linktypes.html (header layouts), IEEE 802.1Q and 802.1ad (tags), RFC 7348 (VXLAN), RFC 8926
 * (Geneve), RFC 2003 and 2473 (IP in IP), include/uapi/linux/if_packet.h (packet types of Linux cooked headers).
 */
import { type PacketBatch, PROTOCOL } from "../dataplane/packet.ts";
import { DatagramDecoder, DECODED } from "./decodePacket.ts";
import { clearRow } from "./packetRow.ts";
import { CAPTURED, type TrafficBatch } from "./source.ts";

/** LINKTYPE_ numbers. The two values that BSDs once wrote for raw IP are read as such (libpcap's own header says why). */
export const LINK_TYPE = {
  null: 0,
  ethernet: 1,
  rawBsd: 12,
  rawOpenBsd: 14,
  raw: 101,
  loop: 108,
  linuxCooked: 113,
  ipv4: 228,
  ipv6: 229,
  linuxCooked2: 276,
} as const;

/**
 * Why a frame gives no row: 0 for none, an EtherType as it is, `UNSUPPORTED_LINK` plus a link type, or one of these.
 * Numbers, so that a capture full of ARP builds no strings; `skipText` says them.
 */
const SKIP = {
  none: 0,
  notIp: 0x1_0000,
  cut: 0x1_0001,
  malformed: 0x1_0002,
  llc: 0x1_0003,
  family: 0x1_0004,
  tags: 0x1_0005,
  unsupportedLink: 0x2_0000,
} as const;

const ETHER_TYPE = { ipv4: 0x0800, ipv6: 0x86dd } as const;

const ETHER_TYPE_NAMES: ReadonlyMap<number, string> = new Map([
  [0x0806, "ARP"],
  [0x8035, "RARP"],
  [0x8808, "Ethernet flow control"],
  [0x8809, "LACP"],
  [0x8847, "MPLS"],
  [0x8848, "MPLS"],
  [0x8863, "PPPoE"],
  [0x8864, "PPPoE"],
  [0x888e, "EAPOL"],
  [0x88cc, "LLDP"],
]);

/** What a number that `FrameDecoder.decode` answers means, for people. */
export function skipText(skip: number): string {
  switch (skip) {
    case SKIP.notIp:
      return "neither IPv4 nor IPv6";
    case SKIP.cut:
      return "cut inside a header";
    case SKIP.malformed:
      return "lengths contradict each other";
    case SKIP.llc:
      return "IEEE 802.3 (LLC)";
    case SKIP.family:
      return "an address family other than IP";
    case SKIP.tags:
      return `more than ${MAX_TAGS} VLAN tags`;
    default:
      if (skip >= SKIP.unsupportedLink) return `link type ${skip - SKIP.unsupportedLink} is not supported`;
      return ETHER_TYPE_NAMES.get(skip) ?? `EtherType 0x${skip.toString(16).padStart(4, "0")}`;
  }
}

/** 802.1Q, 802.1ad, and what preceded the latter. */
function isTag(etherType: number): boolean {
  return etherType === 0x8100 || etherType === 0x88a8 || etherType === 0x9100;
}

/** Two are QinQ; more are an accident or an attack. */
const MAX_TAGS = 4;

/** UDP destination ports: VXLAN (IANA; Linux' older default, which flannel and Cilium kept) and Geneve (IANA). */
const VXLAN_PORTS: readonly number[] = [4789, 8472];
const GENEVE_PORT = 6081;

/** Tunnels in tunnels that are followed. */
const MAX_TUNNELS = 4;

const TRANS_ETHER_BRIDGING = 0x6558;

export interface FrameDecoderOptions {
  readonly tunnels: "inner" | "outer";
}

/** Tunnels whose inner packet was taken, by kind. */
export interface TunnelCounts {
  vxlan: number;
  geneve: number;
  ipip: number;
}

/** One per source. `datagram.view`, `captured` and `wire` are set by the caller for each frame. */
export class FrameDecoder {
  readonly datagram: DatagramDecoder;
  readonly tunnels: TunnelCounts = { vxlan: 0, geneve: 0, ipip: 0 };
  readonly #batch: TrafficBatch;
  readonly #packets: PacketBatch;
  readonly #followsTunnels: boolean;
  /** Where the next layer starts, as the last of the private methods found it. */
  #next = 0;

  constructor(batch: TrafficBatch, { tunnels }: FrameDecoderOptions) {
    this.#batch = batch;
    this.#packets = batch.packets;
    this.#followsTunnels = tunnels === "inner";
    this.datagram = new DatagramDecoder(batch.packets);
  }

  /** Reads the frame at `start` into `datagram.row`; answers why not, for `skipText`, or 0. The row is clear then. */
  decode(linkType: number, start: number): number {
    let skip = this.#link(linkType, start);
    if (skip === SKIP.none && this.datagram.decodePlain(this.#next)) {
      if (this.#packets.protocol[this.datagram.row] === PROTOCOL.tcp || !this.#followsTunnels) return SKIP.none;
    } else if (skip === SKIP.none) skip = this.#datagram();
    if (skip === SKIP.none && this.#followsTunnels) skip = this.#followTunnels();
    if (skip !== SKIP.none) {
      const { row } = this.datagram;
      clearRow(this.#packets, row);
      this.#batch.direction[row] = CAPTURED.unknown;
      this.#batch.device[row] = 0;
    }
    return skip;
  }

  #datagram(): number {
    switch (this.datagram.decode(this.#next)) {
      case DECODED.ok:
        return SKIP.none;
      case DECODED.cut:
        return SKIP.cut;
      case DECODED.malformed:
        return SKIP.malformed;
      default:
        return SKIP.notIp;
    }
  }

  /** Finds the datagram behind the link-layer header. */
  #link(linkType: number, start: number): number {
    const { view, captured, row } = this.datagram;
    switch (linkType) {
      case LINK_TYPE.ethernet:
        return this.#ethernet(start);
      case LINK_TYPE.raw:
      case LINK_TYPE.rawBsd:
      case LINK_TYPE.rawOpenBsd:
      case LINK_TYPE.ipv4:
      case LINK_TYPE.ipv6:
        this.#next = start;
        return SKIP.none;
      case LINK_TYPE.null:
      case LINK_TYPE.loop:
        if (start + 4 > captured) return SKIP.cut;
        this.#next = start + 4;
        return isIpFamily(view.getUint32(start)) ? SKIP.none : SKIP.family;
      case LINK_TYPE.linuxCooked:
        if (start + 16 > captured) return SKIP.cut;
        this.#batch.direction[row] = directionOf(view.getUint16(start));
        return this.#etherType(view.getUint16(start + 14), start + 16);
      case LINK_TYPE.linuxCooked2:
        if (start + 20 > captured) return SKIP.cut;
        this.#batch.direction[row] = directionOf(view.getUint8(start + 10));
        this.#batch.device[row] = view.getUint32(start + 4);
        return this.#etherType(view.getUint16(start), start + 20);
      default:
        return SKIP.unsupportedLink + linkType;
    }
  }

  #ethernet(start: number): number {
    if (start + 14 > this.datagram.captured) return SKIP.cut;
    return this.#etherType(this.datagram.view.getUint16(start + 12), start + 14);
  }

  /** What follows at `at` is of this EtherType; tags are taken off. */
  #etherType(first: number, start: number): number {
    const { view, captured } = this.datagram;
    let etherType = first;
    let at = start;
    for (let tags = 0; isTag(etherType); tags++) {
      if (tags === MAX_TAGS) return SKIP.tags;
      if (at + 4 > captured) return SKIP.cut;
      etherType = view.getUint16(at + 2);
      at += 4;
    }
    this.#next = at;
    if (etherType === ETHER_TYPE.ipv4 || etherType === ETHER_TYPE.ipv6) return SKIP.none;
    // Below 0x600 it is a length (IEEE 802.3 clause 3.2.6).
    return etherType < 0x600 ? SKIP.llc : etherType;
  }

  /** The row holds a packet; while that is a tunnel's, the packet inside takes its place. */
  #followTunnels(): number {
    const { row } = this.datagram;
    for (let depth = 0; depth < MAX_TUNNELS; depth++) {
      const protocol = this.#packets.protocol[row] ?? 0;
      const kind = protocol === PROTOCOL.udp ? this.#udpTunnel() : this.#ipTunnel(protocol);
      if (kind === undefined) return SKIP.none;
      if (this.#inner !== SKIP.none) return this.#inner;
      clearRow(this.#packets, row);
      const skip = this.#datagram();
      if (skip !== SKIP.none) return skip;
      this.tunnels[kind]++;
    }
    return SKIP.none;
  }

  /** What the link-layer header inside the tunnel found last came to. */
  #inner: number = SKIP.none;

  #ipTunnel(protocol: number): "ipip" | undefined {
    if (protocol !== PROTOCOL.ipencap && protocol !== PROTOCOL.ipv6) return undefined;
    const { transport, captured, view, row } = this.datagram;
    if (((this.#packets.flags[row] ?? 0) & 1) !== 0 || transport >= captured) return undefined;
    if (view.getUint8(transport) >>> 4 !== (protocol === PROTOCOL.ipencap ? 4 : 6)) return undefined;
    this.#next = transport;
    this.#inner = SKIP.none;
    return "ipip";
  }

  /** VXLAN or Geneve by port, as long as the header there is one; anything else on the port is taken as plain UDP. */
  #udpTunnel(): "vxlan" | "geneve" | undefined {
    const { transport, captured, view, row } = this.datagram;
    const port = this.#packets.destinationPort[row] ?? 0;
    const header = transport + 8;
    if (VXLAN_PORTS.includes(port)) {
      // Flags with only the VNI bit that RFC 7348 defines; 24 reserved bits; VNI; 8 reserved bits.
      if (header + 8 > captured || (view.getUint8(header) & 0x08) === 0) return undefined;
      this.#inner = this.#ethernet(header + 8);
      return "vxlan";
    }
    if (port !== GENEVE_PORT || header + 8 > captured) return undefined;
    // Version 0 in two bits, length of options in words in six.
    const first = view.getUint8(header);
    if (first >>> 6 !== 0) return undefined;
    const inside = header + 8 + 4 * (first & 0x3f);
    const type = view.getUint16(header + 2);
    this.#inner = type === TRANS_ETHER_BRIDGING ? this.#ethernet(inside) : this.#etherType(type, inside);
    return "geneve";
  }
}

/** Address families of the null link type: 2 for IPv4 everywhere; IPv6 is 10 (Linux), 24, 28 or 30 (BSDs, macOS). */
function isIpFamily(value: number): boolean {
  // In the byte order of the machine that captured (null), or in network order (loop): the small one of the two.
  const family = value < 0x1_0000 ? value : value >>> 24;
  return family === 2 || family === 10 || family === 24 || family === 28 || family === 30;
}

/** PACKET_HOST, _BROADCAST, _MULTICAST came in; PACKET_OUTGOING went out; PACKET_OTHERHOST was not for this machine. */
function directionOf(packetType: number): number {
  if (packetType <= 2) return CAPTURED.inbound;
  return packetType === 4 ? CAPTURED.outbound : CAPTURED.unknown;
}
