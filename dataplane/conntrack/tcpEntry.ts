/** What an entry remembers of a TCP connection, and the words for it; tcp.ts and tcpWindow.ts decide with it. */
import { type PacketBatch, TCP_FLAG } from "../packet.ts";
import type { Flow } from "./flow.ts";

/**
 * States of nf_conntrack_proto_tcp.c with the kernel's numbers. They are those of a man in the middle: what was seen,
 * not what an end knows.
 */
export const TCP_STATE = {
  none: 0,
  /** SYN seen. */
  synSent: 1,
  /** SYN-ACK seen. */
  synRecv: 2,
  /** ACK seen. */
  established: 3,
  /** FIN seen. */
  finWait: 4,
  /** ACK after FIN seen. */
  closeWait: 5,
  /** FIN after FIN seen. */
  lastAck: 6,
  /** ACK after both FINs seen. */
  timeWait: 7,
  /** RST seen. */
  close: 8,
  /** SYN seen from either side. */
  synSent2: 9,
} as const;

/** State names as `conntrack -L` prints them, by number. */
export const TCP_STATE_NAMES = [
  "NONE",
  "SYN_SENT",
  "SYN_RECV",
  "ESTABLISHED",
  "FIN_WAIT",
  "CLOSE_WAIT",
  "LAST_ACK",
  "TIME_WAIT",
  "CLOSE",
  "SYN_SENT2",
] as const;

/**
 * What the state machine sees in a segment: its most telling flag. `none`: no segment yet; `impossible`: a combination of
 * flags that no stack sends.
 */
export const SEGMENT = { syn: 0, synAck: 1, fin: 2, ack: 3, rst: 4, none: 5, impossible: 6 } as const;

/** Flags that say nothing about whether a segment makes sense. */
const ALWAYS_VALID = TCP_FLAG.P | TCP_FLAG.E | TCP_FLAG.C;

/** All combinations of the other flags that a sane stack sends (tcp_valid_flags). */
const VALID_COMBINATIONS: ReadonlySet<number> = new Set([
  TCP_FLAG.S,
  TCP_FLAG.S | TCP_FLAG.A,
  TCP_FLAG.R,
  TCP_FLAG.R | TCP_FLAG.A,
  TCP_FLAG.F | TCP_FLAG.A,
  TCP_FLAG.A,
  TCP_FLAG.S | TCP_FLAG.U,
  TCP_FLAG.F | TCP_FLAG.A | TCP_FLAG.U,
  TCP_FLAG.A | TCP_FLAG.U,
]);

/** `SEGMENT` by flags byte. */
const SEGMENTS_BY_FLAGS = Uint8Array.from({ length: 256 }, (_, flags) => {
  if (!VALID_COMBINATIONS.has(flags & ~ALWAYS_VALID)) return SEGMENT.impossible;
  if ((flags & TCP_FLAG.R) !== 0) return SEGMENT.rst;
  if ((flags & TCP_FLAG.S) !== 0) return (flags & TCP_FLAG.A) !== 0 ? SEGMENT.synAck : SEGMENT.syn;
  return (flags & TCP_FLAG.F) !== 0 ? SEGMENT.fin : SEGMENT.ack;
});

export function segmentOf(flags: number): number {
  return SEGMENTS_BY_FLAGS[flags] ?? SEGMENT.impossible;
}

/** One past the last sequence number that the segment takes; SYN and FIN take one each. Wrapping int32. */
export function segmentEnd(batch: PacketBatch, row: number): number {
  const flags = batch.tcpFlags[row] ?? 0;
  const phantom = ((flags >> 1) & 1) + (flags & 1); // SYN is bit 1, FIN bit 0
  return ((batch.sequence[row] ?? 0) + (batch.payloadBytes[row] ?? 0) + phantom) | 0;
}

/** Status, state, segment and direction at once, from the lowest byte up (`BYTE`, `TCP_BYTE`). */
export const HEAD_WORD = 7;

/** Bytes of an entry, counted from its first. */
export const TCP_BYTE = {
  lastSegment: 30,
  lastDirection: 31,
  /** Of the original direction; the reply's are `SIDE_BYTES` further. */
  flags: 64,
  scale: 65,
  retransmissions: 68,
  lastFlags: 69,
  lastScale: 70,
} as const;

const SIDE_BYTES = 2;

/** The flags and scales of both directions at once: those of a direction start at bit `direction * SIDE_BITS`. */
export const SIDES_WORD = TCP_BYTE.flags / 4;
export const SIDE_BITS = 8 * SIDE_BYTES;

/** Bits of both directions in that word. */
export function ofBoth(flags: number): number {
  return flags | (flags << SIDE_BITS);
}

/**
 * Words of one direction's window, counted from its first. All are sequence numbers in an int32 but `maxWindow`, a size.
 * `end`: highest sequence number sent. `maxEnd`: highest one the other side has room for. `maxWindow`: largest window
 * ever announced. `maxAck`: highest acknowledgment sent.
 */
export const WINDOW = { end: 0, maxEnd: 1, maxWindow: 2, maxAck: 3 } as const;

const WINDOW_WORDS = 4;
const FIRST_WINDOW_WORD = 8;

/** Words about the last segment. */
export const LAST = { sequence: 18, acknowledgment: 19, end: 20, window: 21 } as const;

/** Flags of one direction (IP_CT_TCP_FLAG_*). */
export const SIDE = {
  windowScale: 0x01,
  /** This side closes first. */
  closeInit: 0x04,
  beLiberal: 0x08,
  dataUnacknowledged: 0x10,
  maxAckSet: 0x20,
} as const;

/** Flags of `TCP_BYTE.lastFlags`, beside `SIDE.windowScale`. */
export const LAST_FLAG = {
  /** An ignored SYN may be answered by a challenge ACK (RFC 5961 section 4). */
  challengeAck: 0x40,
  simultaneousOpen: 0x80,
} as const;

/** Index of the first window word of a direction. */
export function windowAt(flow: Flow, direction: number): number {
  return flow.at + FIRST_WINDOW_WORD + direction * WINDOW_WORDS;
}

/** Index of the flags byte of a direction. */
export function flagsAt(flow: Flow, direction: number): number {
  return flow.at * 4 + TCP_BYTE.flags + direction * SIDE_BYTES;
}

/** Index of the scale byte of a direction. */
export function scaleAt(flow: Flow, direction: number): number {
  return flow.at * 4 + TCP_BYTE.scale + direction * SIDE_BYTES;
}

export function addFlags(flow: Flow, direction: number, flags: number): void {
  const at = flagsAt(flow, direction);
  flow.bytes[at] = (flow.bytes[at] ?? 0) | flags;
}

/** Whether sequence number `a` lies before `b`, modulo 2^32 (RFC 9293 section 3.4). */
export function before(a: number, b: number): boolean {
  return ((a - b) | 0) < 0;
}
