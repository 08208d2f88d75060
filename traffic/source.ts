/**
 * Where packets to replay come from: captures, flow logs, generators. All give the same columns, a batch at a time, so that
 * memory does not grow with the traffic.
 */
import { createBatch, type PacketBatch } from "../dataplane/packet.ts";
import type { Resolve } from "./transcript.ts";

export const TRAFFIC_FORMATS = [
  "pcap",
  "pcapng",
  "hubble",
  "cilium-flow",
  "calico-flow",
  "aws-vpc",
  "zeek",
  "csv",
  "packets",
] as const;

export type TrafficFormat = (typeof TRAFFIC_FORMATS)[number];

/** What was made of a packet where it was recorded: values of the `recorded` column. */
export const RECORDED = { unknown: 0, accept: 1, drop: 2 } as const;

/** Which way the packet passed the interface, as the machine that captured it saw it: values of `direction`. */
export const CAPTURED = { unknown: 0, inbound: 1, outbound: 2 } as const;

/**
 * Packets in columns, in order of time. The arrays are those of every batch of the source and are overwritten by the next:
 * who keeps something copies it. `packets.length` rows are filled.
 */
export interface TrafficBatch {
  /**
   * The packets. `time` is in seconds since the epoch (a float64, good to a quarter of a microsecond) and never decreases;
   * a packet stamped before its predecessor has the predecessor's time here, and its own in the two columns below.
   */
  readonly packets: PacketBatch;
  /** The time as recorded: whole seconds since the epoch, and nanoseconds 0–999,999,999 after them. */
  readonly seconds: Float64Array;
  readonly nanoseconds: Uint32Array;
  /** Length on the wire. Rows that a log implies share the bytes it counted: their sum is the log's. */
  readonly frameBytes: Uint32Array;
  /** Where the row stands: byte offset of its record (captures), line from 1 (logs), number from 0 (generators). */
  readonly offset: Float64Array;
  /** Index into `TrafficSource.interfaces`. */
  readonly interfaceId: Uint16Array;
  /** `RECORDED`. */
  readonly recorded: Uint8Array;
  /** `CAPTURED`; known from Linux cooked headers and pcapng's packet flags. */
  readonly direction: Uint8Array;
  /** Number of the device that Linux cooked v2 (`tcpdump -i any`) puts into each packet; 0: not said. */
  readonly device: Uint32Array;
  /** The frame as captured is `bytes[frameStart, frameStart + capturedBytes)`; logs have none (`capturedBytes` 0). */
  bytes: Uint8Array;
  readonly frameStart: Uint32Array;
  readonly capturedBytes: Uint32Array;
  /** Of rows whose frame was left out on the way: a hash of its end, which tells packets with equal headers apart. */
  readonly frameTail: Int32Array;
  /** Sparse: comments that a pcapng has on a packet, by row. */
  readonly comments: Map<number, string>;
}

/** What a capture says of an interface it was taken on. */
export interface CaptureInterface {
  /** As the capture names it (`eth0`); undefined where the format has no names. */
  readonly name: string | undefined;
  readonly description: string | undefined;
  /** LINKTYPE_ number (https://www.tcpdump.org/linktypes.html); undefined for logs and generators. */
  readonly linkType: number | undefined;
  /** Most bytes of a frame that were kept; 0: no limit was stated. */
  readonly snapBytes: number;
  /** Node on which a log record was made, where the log says so. */
  readonly node: string | undefined;
}

/** Something wrong with the input. Messages say what was found and what is allowed. */
export interface TrafficIssue {
  /** An error ends the reading where it stands; after a warning it went on. */
  readonly severity: "error" | "warning";
  /** Byte offset in the (decompressed) input, for captures. */
  readonly offset: number | undefined;
  /** Line from 1, for logs. */
  readonly line: number | undefined;
  readonly message: string;
}

/** A reader in the middle of its work. The lists grow while `batches` runs and are complete when it has ended. */
export interface TrafficSource {
  readonly format: TrafficFormat;
  /** Whether rows are packets that a log implies, not packets that were seen. */
  readonly isImplied: boolean;
  /** What the format cannot say, and what was assumed in its place; one sentence each. */
  readonly notes: readonly string[];
  readonly interfaces: readonly CaptureInterface[];
  /** Records that are no packet to replay: reason → count (`ARP`, `link type 105 is not supported`, `cut inside a header`). */
  readonly skipped: ReadonlyMap<string, number>;
  /** At most `MAX_ISSUES`; the last one then says that there are more. */
  readonly issues: readonly TrafficIssue[];
  /** Address → name, as name resolution blocks and logs give them; the first 100,000. */
  readonly names: ReadonlyMap<string, string>;
  /** To be called once. Bad input ends it early with an issue of severity `error`; it does not throw for that. */
  batches(): AsyncGenerator<TrafficBatch>;
}

export interface TrafficOptions {
  /** Default: told from the first bytes. */
  readonly format?: TrafficFormat;
  /** Of VXLAN, Geneve and IP-in-IP: the packet inside (default), or the packet that carries it. */
  readonly tunnels?: "inner" | "outer";
  /** What names in logs stand for. Default: rows that have only names are skipped and counted. */
  readonly resolve?: Resolve;
  /** Rows of a batch at most. */
  readonly batchRows?: number;
  /** Columns to fill instead of new ones: for who reads many small inputs, one after the other. */
  readonly batch?: TrafficBatch;
}

/** The input cannot be read at all. Ends a command with exit code 2. */
export class TrafficError extends Error {
  override readonly name = "TrafficError";
  /** Byte offset at which the reader gave up. */
  readonly offset: number;

  constructor(message: string, offset: number) {
    super(`${message} (byte ${offset})`);
    this.offset = offset;
  }
}

/** Issues kept of one source. */
export const MAX_ISSUES = 1000;

/** Names kept of one source. */
export const MAX_NAMES = 100_000;

/** Within what performance.md found best, 1,000 to 4,000. */
export const BATCH_ROWS = 2048;

const NO_BYTES = new Uint8Array(0);

export function createTrafficBatch(rows: number): TrafficBatch {
  return {
    packets: createBatch(rows),
    seconds: new Float64Array(rows),
    nanoseconds: new Uint32Array(rows),
    frameBytes: new Uint32Array(rows),
    offset: new Float64Array(rows),
    interfaceId: new Uint16Array(rows),
    recorded: new Uint8Array(rows),
    direction: new Uint8Array(rows),
    device: new Uint32Array(rows),
    bytes: NO_BYTES,
    frameStart: new Uint32Array(rows),
    capturedBytes: new Uint32Array(rows),
    frameTail: new Int32Array(rows),
    comments: new Map(),
  };
}
