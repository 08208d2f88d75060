/** Rows of columns as objects, for the places where single packets are looked at; and rows moved between columns. */
import { destinationOf, PACKET_FLAG, type Packet, type PacketBatch, sourceOf } from "../dataplane/packet.ts";

/** A row as a packet: the way back of `appendPacket`. */
export function packetAt(batch: PacketBatch, row: number): Packet {
  const scale = batch.windowScale[row] ?? 0;
  const quoted = batch.quoted.get(row);
  return {
    protocol: batch.protocol[row] ?? 0,
    source: sourceOf(batch, row),
    destination: destinationOf(batch, row),
    sourcePort: batch.sourcePort[row] ?? 0,
    destinationPort: batch.destinationPort[row] ?? 0,
    time: batch.time[row] ?? 0,
    tcpFlags: batch.tcpFlags[row] ?? 0,
    icmpType: batch.icmpType[row] ?? 0,
    icmpCode: batch.icmpCode[row] ?? 0,
    icmpId: batch.icmpId[row] ?? 0,
    sequence: batch.sequence[row] ?? 0,
    acknowledgment: batch.acknowledgment[row] ?? 0,
    window: batch.window[row] ?? 0,
    ...(scale > 0 && { windowScale: scale - 1 }),
    payloadBytes: batch.payloadBytes[row] ?? 0,
    sctpChunk: batch.sctpChunk[row] ?? 0,
    verificationTag: batch.verificationTag[row] ?? 0,
    ...(quoted !== undefined && { quoted }),
    fragment: ((batch.flags[row] ?? 0) & PACKET_FLAG.fragment) !== 0,
  };
}

/**
 * Copies row `from` to row `to` of other columns. Path and devices are left: whoever routes the packet sets them. Written
 * out, since a loop over the columns would go through objects for every word.
 */
export function copyRow(source: PacketBatch, from: number, target: PacketBatch, to: number): void {
  target.family[to] = source.family[from] ?? 0;
  target.protocol[to] = source.protocol[from] ?? 0;
  target.source0[to] = source.source0[from] ?? 0;
  target.source1[to] = source.source1[from] ?? 0;
  target.source2[to] = source.source2[from] ?? 0;
  target.source3[to] = source.source3[from] ?? 0;
  target.destination0[to] = source.destination0[from] ?? 0;
  target.destination1[to] = source.destination1[from] ?? 0;
  target.destination2[to] = source.destination2[from] ?? 0;
  target.destination3[to] = source.destination3[from] ?? 0;
  target.sourcePort[to] = source.sourcePort[from] ?? 0;
  target.destinationPort[to] = source.destinationPort[from] ?? 0;
  target.tcpFlags[to] = source.tcpFlags[from] ?? 0;
  target.icmpType[to] = source.icmpType[from] ?? 0;
  target.icmpCode[to] = source.icmpCode[from] ?? 0;
  target.icmpId[to] = source.icmpId[from] ?? 0;
  target.flags[to] = source.flags[from] ?? 0;
  target.time[to] = source.time[from] ?? 0;
  target.sequence[to] = source.sequence[from] ?? 0;
  target.acknowledgment[to] = source.acknowledgment[from] ?? 0;
  target.window[to] = source.window[from] ?? 0;
  target.windowScale[to] = source.windowScale[from] ?? 0;
  target.payloadBytes[to] = source.payloadBytes[from] ?? 0;
  target.sctpChunk[to] = source.sctpChunk[from] ?? 0;
  target.verificationTag[to] = source.verificationTag[from] ?? 0;
  target.mark[to] = source.mark[from] ?? 0;
  const quoted = source.quoted.get(from);
  if (quoted === undefined) target.quoted.delete(to);
  else target.quoted.set(to, quoted);
}
