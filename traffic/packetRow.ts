/** Rows of a batch as objects for people, and rows made ready to be filled again. */
import {
  destinationOf,
  makePacket,
  PACKET_FLAG,
  type Packet,
  type PacketBatch,
  PROTOCOL,
  sourceOf,
} from "../dataplane/packet.ts";

/** The packet of a row. Fields that its protocol does not have are at the defaults of `makePacket`. */
export function packetAt(batch: PacketBatch, row: number): Packet {
  const protocol = batch.protocol[row] ?? 0;
  const isFragment = ((batch.flags[row] ?? 0) & PACKET_FLAG.fragment) !== 0;
  const tuple = {
    protocol,
    source: sourceOf(batch, row),
    destination: destinationOf(batch, row),
    sourcePort: batch.sourcePort[row] ?? 0,
    destinationPort: batch.destinationPort[row] ?? 0,
    time: batch.time[row] ?? 0,
    payloadBytes: batch.payloadBytes[row] ?? 0,
  };
  if (isFragment) return makePacket({ ...tuple, fragment: true });
  switch (protocol) {
    case PROTOCOL.tcp: {
      const windowScale = batch.windowScale[row] ?? 0;
      return makePacket({
        ...tuple,
        tcpFlags: batch.tcpFlags[row] ?? 0,
        sequence: batch.sequence[row] ?? 0,
        acknowledgment: batch.acknowledgment[row] ?? 0,
        window: batch.window[row] ?? 0,
        ...(windowScale === 0 ? {} : { windowScale: windowScale - 1 }),
      });
    }
    case PROTOCOL.sctp:
      return makePacket({
        ...tuple,
        sctpChunk: batch.sctpChunk[row] ?? 0,
        verificationTag: batch.verificationTag[row] ?? 0,
        sequence: batch.sequence[row] ?? 0,
      });
    case PROTOCOL.icmp:
    case PROTOCOL.icmpv6: {
      const quoted = batch.quoted.get(row);
      return makePacket({
        ...tuple,
        icmpType: batch.icmpType[row] ?? 0,
        icmpCode: batch.icmpCode[row] ?? 0,
        icmpId: batch.icmpId[row] ?? 0,
        ...(quoted === undefined ? {} : { quoted }),
      });
    }
    default:
      return makePacket(tuple);
  }
}

/** The columns that a decoder writes only for packets that have something for them. */
const SPARSE = [
  "source1",
  "source2",
  "source3",
  "destination1",
  "destination2",
  "destination3",
  "tcpFlags",
  "icmpType",
  "icmpCode",
  "icmpId",
  "flags",
  "sequence",
  "acknowledgment",
  "window",
  "windowScale",
  "sctpChunk",
  "verificationTag",
  "mark",
] as const satisfies readonly (keyof PacketBatch)[];

/** An empty batch again, with zeros in the sparse columns: one memset a column instead of a store a packet. Rows that were never filled are clear. */
export function clearBatch(batch: PacketBatch): void {
  for (const column of SPARSE) batch[column].fill(0, 0, batch.length);
  batch.quoted.clear();
  batch.length = 0;
}

/** Zeros in the sparse columns of a row whose filling was given up. */
export function clearRow(batch: PacketBatch, row: number): void {
  // Column by column: a loop over the names would look each one up, in every packet of a tunnel.
  batch.source1[row] = 0;
  batch.source2[row] = 0;
  batch.source3[row] = 0;
  batch.destination1[row] = 0;
  batch.destination2[row] = 0;
  batch.destination3[row] = 0;
  batch.tcpFlags[row] = 0;
  batch.icmpType[row] = 0;
  batch.icmpCode[row] = 0;
  batch.icmpId[row] = 0;
  batch.flags[row] = 0;
  batch.sequence[row] = 0;
  batch.acknowledgment[row] = 0;
  batch.window[row] = 0;
  batch.windowScale[row] = 0;
  batch.sctpChunk[row] = 0;
  batch.verificationTag[row] = 0;
  batch.mark[row] = 0;
  batch.quoted.delete(row);
}
