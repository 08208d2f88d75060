/** The packet that opens a flow: which can, what the flow remembers of it, and the packet made of that. */
import { makePacket, PACKET_FLAG, type Packet, type PacketBatch, PROTOCOL, TCP_FLAG } from "../dataplane/packet.ts";
import type { FlowTable } from "./flowTable.ts";

/** Whether a row can be the first packet of a connection. Protocols without a beginning can always start. */
export function canOpen(batch: PacketBatch, row: number): boolean {
  if (((batch.flags[row] ?? 0) & PACKET_FLAG.fragment) !== 0) return false;
  switch (batch.protocol[row]) {
    case PROTOCOL.tcp: {
      const flags = batch.tcpFlags[row] ?? 0;
      return (flags & TCP_FLAG.S) !== 0 && (flags & (TCP_FLAG.A | TCP_FLAG.R | TCP_FLAG.F)) === 0;
    }
    case PROTOCOL.sctp:
      return batch.sctpChunk[row] === 1; // INIT
    case PROTOCOL.icmp:
      return batch.icmpType[row] !== 0; // echo reply
    case PROTOCOL.icmpv6:
      return batch.icmpType[row] !== 129;
    default:
      return true;
  }
}

/** What `firstDetail` keeps of a row. */
export function detailOf(batch: PacketBatch, row: number): number {
  switch (batch.protocol[row]) {
    case PROTOCOL.tcp:
      return batch.tcpFlags[row] ?? 0;
    case PROTOCOL.sctp:
      return batch.sctpChunk[row] ?? 0;
    case PROTOCOL.icmp:
    case PROTOCOL.icmpv6:
      return ((batch.icmpType[row] ?? 0) << 8) | (batch.icmpCode[row] ?? 0);
    default:
      return 0;
  }
}

/** The first packet seen of a flow, as far as the flow remembers it. */
export function openingPacket(table: FlowTable, slot: number): Packet {
  const tuple = table.tuple(slot);
  const detail = table.firstDetail(slot);
  const base = { ...tuple, time: table.firstTime(slot) };
  switch (tuple.protocol) {
    case PROTOCOL.tcp:
      return makePacket({ ...base, tcpFlags: detail, sequence: table.firstSequence(slot) });
    case PROTOCOL.sctp:
      return makePacket({ ...base, sctpChunk: detail });
    case PROTOCOL.icmp:
    case PROTOCOL.icmpv6:
      return makePacket({
        ...base,
        icmpType: detail >>> 8,
        icmpCode: detail & 0xff,
        icmpId: table.icmpId(slot),
      });
    default:
      return makePacket(base);
  }
}
