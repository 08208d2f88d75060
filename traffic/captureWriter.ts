/** What writers of captures have in common: frames in, bytes out. */
import type { Packet } from "../dataplane/packet.ts";
import { LINK_TYPE } from "./decodeFrame.ts";
import { encodePacket, packetLength } from "./encodePacket.ts";
import type { TrafficBatch } from "./source.ts";

/** A frame to write. `bytes` goes into the file as it is. */
export interface Frame {
  readonly bytes: Uint8Array;
  /** Length on the wire, at least that of `bytes`. */
  readonly wireBytes: number;
  readonly seconds: number;
  /** 0–999,999,999. */
  readonly nanoseconds: number;
  /** As `addInterface` of the writer gave it; pcap has one interface, 0. */
  readonly interfaceId: number;
  /** For whoever looks at the packet; pcap has no place for it. */
  readonly comments?: readonly string[];
}

export interface CaptureWriter {
  frame(frame: Frame): void;
  /** Bytes held. */
  readonly length: number;
  /** The bytes written since the last call. Call it now and then: until then they are held. */
  take(): Uint8Array;
}

/** Frames of packets that have none of their own are bare IP. */
export const PACKET_LINK_TYPE = LINK_TYPE.raw;

/** The frame of a row as it was captured, byte for byte; undefined for rows of logs and generators. */
export function capturedFrame(batch: TrafficBatch, row: number): Omit<Frame, "interfaceId"> | undefined {
  const captured = batch.capturedBytes[row] ?? 0;
  if (captured === 0) return undefined;
  const start = batch.frameStart[row] ?? 0;
  return {
    bytes: batch.bytes.subarray(start, start + captured),
    wireBytes: batch.frameBytes[row] ?? captured,
    seconds: batch.seconds[row] ?? 0,
    nanoseconds: batch.nanoseconds[row] ?? 0,
  };
}

/** A packet as a frame of `PACKET_LINK_TYPE`, payload zero. Its time is good to a microsecond. */
export function packetFrame(packet: Packet): Omit<Frame, "interfaceId"> {
  const bytes = new Uint8Array(packetLength(packet));
  encodePacket(packet, bytes, 0);
  return { bytes, wireBytes: bytes.length, ...splitTime(packet.time) };
}

/** Seconds as a float64 hold microseconds at most: what would look like nanoseconds is rounded away. */
export function splitTime(time: number): { readonly seconds: number; readonly nanoseconds: number } {
  const microseconds = Math.round((time - Math.floor(time)) * 1e6);
  return microseconds === 1e6
    ? { seconds: Math.floor(time) + 1, nanoseconds: 0 }
    : { seconds: Math.floor(time), nanoseconds: microseconds * 1000 };
}
