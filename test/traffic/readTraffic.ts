/** Traffic read to its end, as objects that tests can compare. */
import { formatAddress } from "../../dataplane/address.ts";
import type { Packet } from "../../dataplane/packet.ts";
import { openTraffic } from "../../traffic/openTraffic.ts";
import { packetAt } from "../../traffic/packetRow.ts";
import { readAhead } from "../../traffic/readAhead.ts";
import type { TrafficOptions, TrafficSource } from "../../traffic/source.ts";
import { formatPacket } from "../../traffic/transcript.ts";

export interface ReadRow {
  readonly packet: Packet;
  readonly seconds: number;
  readonly nanoseconds: number;
  readonly frameBytes: number;
  readonly offset: number;
  readonly interfaceId: number;
  readonly recorded: number;
  readonly direction: number;
  readonly device: number;
  readonly comment: string | undefined;
  readonly frame: Uint8Array;
}

export interface ReadTraffic {
  readonly source: TrafficSource;
  readonly rows: readonly ReadRow[];
}

/** `pieces` bytes at a time, so that records lie across the pieces; default: all at once. */
export async function readTraffic(
  input: Uint8Array | string,
  options: TrafficOptions & { readonly pieces?: number } = {},
): Promise<ReadTraffic> {
  const bytes = typeof input === "string" ? new TextEncoder().encode(input) : input;
  const source = await openTraffic(piecesOf(bytes, options.pieces ?? bytes.length), { batchRows: 64, ...options });
  const rows: ReadRow[] = [];
  for await (const batch of source.batches()) {
    for (let row = 0; row < batch.packets.length; row++) {
      const start = batch.frameStart[row] ?? 0;
      rows.push({
        packet: packetAt(batch.packets, row),
        seconds: batch.seconds[row] ?? 0,
        nanoseconds: batch.nanoseconds[row] ?? 0,
        frameBytes: batch.frameBytes[row] ?? 0,
        offset: batch.offset[row] ?? 0,
        interfaceId: batch.interfaceId[row] ?? 0,
        recorded: batch.recorded[row] ?? 0,
        direction: batch.direction[row] ?? 0,
        device: batch.device[row] ?? 0,
        comment: batch.comments.get(row),
        frame: batch.bytes.slice(start, start + (batch.capturedBytes[row] ?? 0)),
      });
    }
  }
  return { source, rows };
}

/** `pieces` bytes at a time, in memory that is used again, as files are read; all at once where they are not more. */
export async function* piecesOf(bytes: Uint8Array, pieces: number): AsyncGenerator<Uint8Array> {
  if (pieces >= bytes.length) {
    if (bytes.length > 0) yield bytes;
    return;
  }
  let at = 0;
  const read = async (room: Uint8Array) => {
    const piece = bytes.subarray(at, at + Math.min(pieces, room.length));
    room.set(piece);
    at += piece.length;
    return { bytesRead: piece.length };
  };
  yield* readAhead(async () => ({ read, close: async () => undefined }));
}

/** The one-line form of each packet. */
export function linesOfRows(rows: readonly ReadRow[]): readonly string[] {
  return rows.map(({ packet }) => formatPacket(packet, formatAddress));
}
