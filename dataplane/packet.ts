/**
 * Packets: one at a time at the edges (`Packet`), in batches of columns inside (`PacketBatch`).
 */
import type { Family, IpAddress } from "./address.ts";

export interface FiveTuple {
  /** IANA number. */
  readonly protocol: number;
  readonly source: IpAddress;
  readonly destination: IpAddress;
  /** 0 where the protocol has none. */
  readonly sourcePort: number;
  readonly destinationPort: number;
}

/** One packet as it enters the dataplane. Times in seconds, never decreasing within a run. */
export interface Packet extends FiveTuple {
  readonly time: number;
  /** TCP flags, bits of `TCP_FLAG`; 0 for other protocols. */
  readonly tcpFlags: number;
  readonly icmpType: number;
  readonly icmpCode: number;
  /** Echo identifier. */
  readonly icmpId: number;
  /**
   * TCP sequence and acknowledgment numbers, unsigned 32-bit. `sequence` of an SCTP INIT or INIT ACK: the verification
   * tag it asks the other side to use.
   */
  readonly sequence: number;
  readonly acknowledgment: number;
  readonly window: number;
  /**
   * Shift count of a SYN's window scale option (RFC 7323), 0–14; absent: no such option. Without it connection tracking
   * would take the windows of a captured connection for up to 16,384 times smaller than they are.
   */
  readonly windowScale?: number;
  /** Layer-4 payload, bytes. */
  readonly payloadBytes: number;
  /** First SCTP chunk type (`SCTP_CHUNK`), and the packet's verification tag. */
  readonly sctpChunk: number;
  readonly verificationTag: number;
  /** The tuple that an ICMP error quotes. */
  readonly quoted?: FiveTuple;
  /** Second or later fragment. */
  readonly fragment: boolean;
}

/** Bits of the TCP flags byte (RFC 9293 section 3.1). Letters as in interface.md: `FSRPAUEC`. */
export const TCP_FLAG = { F: 0x01, S: 0x02, R: 0x04, P: 0x08, A: 0x10, U: 0x20, E: 0x40, C: 0x80 } as const;

/** IANA protocol numbers that chainwalk names. */
export const PROTOCOL = {
  icmp: 1,
  ipencap: 4,
  tcp: 6,
  udp: 17,
  dccp: 33,
  ipv6: 41,
  gre: 47,
  esp: 50,
  ah: 51,
  icmpv6: 58,
  sctp: 132,
  udplite: 136,
} as const;

const PROTOCOL_NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(PROTOCOL).map(([name, number]) => [number, name]),
);

/** `tcp`, `udp`, … or the number as text. */
export function protocolName(protocol: number): string {
  return PROTOCOL_NAMES.get(protocol) ?? String(protocol);
}

/** The inverse of `protocolName`; any case. Undefined when it is neither a known name nor 0–255. */
export function parseProtocol(text: string): number | undefined {
  const named = PROTOCOL[text.toLowerCase() as keyof typeof PROTOCOL] as number | undefined;
  if (named !== undefined) return named;
  if (!/^\d{1,3}$/.test(text)) return undefined;
  const number = Number(text);
  return number <= 255 ? number : undefined;
}

/** Whether packets of the protocol carry ports where netfilter's port matches and `hash:ip,port` sets read them. */
export function hasPorts(protocol: number): boolean {
  return (
    protocol === PROTOCOL.tcp ||
    protocol === PROTOCOL.udp ||
    protocol === PROTOCOL.sctp ||
    protocol === PROTOCOL.udplite ||
    protocol === PROTOCOL.dccp
  );
}

/** SCTP chunk types (RFC 9260 section 3.2). */
export const SCTP_CHUNK = {
  DATA: 0,
  INIT: 1,
  INIT_ACK: 2,
  SACK: 3,
  HEARTBEAT: 4,
  HEARTBEAT_ACK: 5,
  ABORT: 6,
  SHUTDOWN: 7,
  SHUTDOWN_ACK: 8,
  ERROR: 9,
  COOKIE_ECHO: 10,
  COOKIE_ACK: 11,
  SHUTDOWN_COMPLETE: 14,
} as const;

/** Bits of the `flags` column. */
export const PACKET_FLAG = {
  fragment: 1,
} as const;

/** Which way a packet goes on one node, set by whoever routes it there (the fabric). */
export const PATH = {
  /** Comes in by one interface, leaves by another: PREROUTING, FORWARD, POSTROUTING. */
  forward: 0,
  /** For the node itself: PREROUTING, INPUT. */
  input: 1,
  /** From the node itself: OUTPUT, POSTROUTING. */
  output: 2,
} as const;

/**
 * Packets as columns; row `i` of every column is one packet. Nothing on the packet path allocates per row.
 *
 * Addresses: word 0 is the whole IPv4 address, or the first of four words of an IPv6 address; words 1–3 are 0 for IPv4.
 * Devices are numbers of the node's `DeviceTable` (dataplane.ts); 0 = none.
 */
export interface PacketBatch {
  readonly capacity: number;
  length: number;
  readonly family: Uint8Array;
  readonly protocol: Uint8Array;
  readonly source0: Int32Array;
  readonly source1: Int32Array;
  readonly source2: Int32Array;
  readonly source3: Int32Array;
  readonly destination0: Int32Array;
  readonly destination1: Int32Array;
  readonly destination2: Int32Array;
  readonly destination3: Int32Array;
  readonly sourcePort: Uint16Array;
  readonly destinationPort: Uint16Array;
  readonly tcpFlags: Uint8Array;
  readonly icmpType: Uint8Array;
  readonly icmpCode: Uint8Array;
  readonly icmpId: Uint16Array;
  readonly flags: Uint8Array;
  /** Seconds. */
  readonly time: Float64Array;
  readonly sequence: Uint32Array;
  readonly acknowledgment: Uint32Array;
  readonly window: Uint16Array;
  /** Shift count of the window scale option, plus 1; 0: no such option. */
  readonly windowScale: Uint8Array;
  readonly payloadBytes: Uint32Array;
  readonly sctpChunk: Uint8Array;
  readonly verificationTag: Uint32Array;
  /** Sparse: rows of ICMP errors only. */
  readonly quoted: Map<number, FiveTuple>;
  /** Packet mark on arrival. */
  readonly mark: Uint32Array;
  /** `PATH`. */
  readonly path: Uint8Array;
  readonly inDevice: Uint16Array;
  readonly outDevice: Uint16Array;
  readonly physInDevice: Uint16Array;
  readonly physOutDevice: Uint16Array;
}

/** An empty batch with room for `capacity` packets. */
export function createBatch(capacity: number): PacketBatch {
  return {
    capacity,
    length: 0,
    family: new Uint8Array(capacity),
    protocol: new Uint8Array(capacity),
    source0: new Int32Array(capacity),
    source1: new Int32Array(capacity),
    source2: new Int32Array(capacity),
    source3: new Int32Array(capacity),
    destination0: new Int32Array(capacity),
    destination1: new Int32Array(capacity),
    destination2: new Int32Array(capacity),
    destination3: new Int32Array(capacity),
    sourcePort: new Uint16Array(capacity),
    destinationPort: new Uint16Array(capacity),
    tcpFlags: new Uint8Array(capacity),
    icmpType: new Uint8Array(capacity),
    icmpCode: new Uint8Array(capacity),
    icmpId: new Uint16Array(capacity),
    flags: new Uint8Array(capacity),
    time: new Float64Array(capacity),
    sequence: new Uint32Array(capacity),
    acknowledgment: new Uint32Array(capacity),
    window: new Uint16Array(capacity),
    windowScale: new Uint8Array(capacity),
    payloadBytes: new Uint32Array(capacity),
    sctpChunk: new Uint8Array(capacity),
    verificationTag: new Uint32Array(capacity),
    quoted: new Map(),
    mark: new Uint32Array(capacity),
    path: new Uint8Array(capacity),
    inDevice: new Uint16Array(capacity),
    outDevice: new Uint16Array(capacity),
    physInDevice: new Uint16Array(capacity),
    physOutDevice: new Uint16Array(capacity),
  };
}

/** The columns of an evaluator that nobody has attached any to: one for all, since making them takes longer than a short program does. */
export const NO_BATCH = createBatch(0);

/** Writes `packet` into the next free row and returns that row. Path and devices are left for the router. */
export function appendPacket(batch: PacketBatch, packet: Packet): number {
  const row = batch.length;
  if (row >= batch.capacity) throw new RangeError(`batch is full (${batch.capacity} packets)`);
  batch.length = row + 1;
  const { source, destination } = packet;
  batch.family[row] = source.family;
  batch.protocol[row] = packet.protocol;
  batch.source0[row] = source.words[0] ?? 0;
  batch.source1[row] = source.words[1] ?? 0;
  batch.source2[row] = source.words[2] ?? 0;
  batch.source3[row] = source.words[3] ?? 0;
  batch.destination0[row] = destination.words[0] ?? 0;
  batch.destination1[row] = destination.words[1] ?? 0;
  batch.destination2[row] = destination.words[2] ?? 0;
  batch.destination3[row] = destination.words[3] ?? 0;
  batch.sourcePort[row] = packet.sourcePort;
  batch.destinationPort[row] = packet.destinationPort;
  batch.tcpFlags[row] = packet.tcpFlags;
  batch.icmpType[row] = packet.icmpType;
  batch.icmpCode[row] = packet.icmpCode;
  batch.icmpId[row] = packet.icmpId;
  batch.flags[row] = packet.fragment ? PACKET_FLAG.fragment : 0;
  batch.time[row] = packet.time;
  batch.sequence[row] = packet.sequence;
  batch.acknowledgment[row] = packet.acknowledgment;
  batch.window[row] = packet.window;
  batch.windowScale[row] = packet.windowScale === undefined ? 0 : packet.windowScale + 1;
  batch.payloadBytes[row] = packet.payloadBytes;
  batch.sctpChunk[row] = packet.sctpChunk;
  batch.verificationTag[row] = packet.verificationTag;
  if (packet.quoted === undefined) batch.quoted.delete(row);
  else batch.quoted.set(row, packet.quoted);
  batch.mark[row] = 0;
  return row;
}

/** The source address of a row, as an object for people. */
export function sourceOf(batch: PacketBatch, row: number): IpAddress {
  return addressOf(batch.family[row] as Family, [
    batch.source0[row] ?? 0,
    batch.source1[row] ?? 0,
    batch.source2[row] ?? 0,
    batch.source3[row] ?? 0,
  ]);
}

/** The destination address of a row, as an object for people. */
export function destinationOf(batch: PacketBatch, row: number): IpAddress {
  return addressOf(batch.family[row] as Family, [
    batch.destination0[row] ?? 0,
    batch.destination1[row] ?? 0,
    batch.destination2[row] ?? 0,
    batch.destination3[row] ?? 0,
  ]);
}

function addressOf(family: Family, words: number[]): IpAddress {
  return { family, words: family === 4 ? words.slice(0, 1) : words };
}

/**
 * A packet with everything but its tuple at the defaults of interface.md: time 0, TCP SYN, SCTP INIT, ICMP echo
 * request; source port 40000 where the protocol has ports.
 */
export function makePacket(
  // `undefined` is as good as absent: to leave a field out takes an object of another shape, which costs more than the packet.
  tuple: Pick<Packet, "protocol" | "source" | "destination"> &
    Omit<Partial<Packet>, "windowScale"> & { readonly windowScale?: number | undefined },
): Packet {
  const { protocol } = tuple;
  const echoRequest = protocol === PROTOCOL.icmpv6 ? 128 : protocol === PROTOCOL.icmp ? 8 : 0;
  // Field by field: spreading costs a microsecond, and a flow log implies millions of packets.
  const packet: Writable = {
    time: tuple.time ?? 0,
    protocol,
    source: tuple.source,
    destination: tuple.destination,
    sourcePort: tuple.sourcePort ?? (hasPorts(protocol) ? 40_000 : 0),
    destinationPort: tuple.destinationPort ?? 0,
    tcpFlags: tuple.tcpFlags ?? (protocol === PROTOCOL.tcp ? TCP_FLAG.S : 0),
    icmpType: tuple.icmpType ?? echoRequest,
    icmpCode: tuple.icmpCode ?? 0,
    icmpId: tuple.icmpId ?? 0,
    sequence: tuple.sequence ?? 0,
    acknowledgment: tuple.acknowledgment ?? 0,
    window: tuple.window ?? 65_535,
    payloadBytes: tuple.payloadBytes ?? 0,
    sctpChunk: tuple.sctpChunk ?? SCTP_CHUNK.INIT,
    verificationTag: tuple.verificationTag ?? 0,
    fragment: tuple.fragment ?? false,
  };
  if (tuple.windowScale !== undefined) packet.windowScale = tuple.windowScale;
  if (tuple.quoted !== undefined) packet.quoted = tuple.quoted;
  return packet;
}

type Writable = { -readonly [Field in keyof Packet]: Packet[Field] };
