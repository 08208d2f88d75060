/** Rows moved between columns. */
import type { PacketBatch } from "../dataplane/packet.ts";

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
