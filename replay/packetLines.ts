/** Packets as JSON lines (transcript.ts) in the columns of a traffic source. */
import { appendPacket, hasPorts, type Packet, PROTOCOL } from "../dataplane/packet.ts";
import { createTrafficBatch, type TrafficBatch, type TrafficIssue, type TrafficSource } from "../traffic/source.ts";
import { isProblem, packetOf, parsePacketLine, type Resolve, type TextProblem } from "../traffic/transcript.ts";

/** Bytes of headers that a packet of such a line would have, without options. */
const HEADER_BYTES = new Map<number, number>([
  [PROTOCOL.tcp, 20],
  [PROTOCOL.udp, 8],
  [PROTOCOL.sctp, 12],
  [PROTOCOL.icmp, 8],
  [PROTOCOL.icmpv6, 8],
]);

/** `blocks` are lines without their ends. Blank lines are read over; a bad one ends the reading. */
export function packetLines(
  blocks: AsyncIterable<readonly string[]>,
  resolve: Resolve,
  batchRows: number,
): TrafficSource {
  const issues: TrafficIssue[] = [];
  return {
    format: "packets",
    isImplied: false,
    notes: [],
    interfaces: [],
    skipped: new Map(),
    issues,
    names: new Map(),
    batches: () => readBatches({ blocks, resolve, batchRows, issues }),
  };
}

interface Reading {
  readonly blocks: AsyncIterable<readonly string[]>;
  readonly resolve: Resolve;
  readonly batchRows: number;
  readonly issues: TrafficIssue[];
}

async function* readBatches({ blocks, resolve, batchRows, issues }: Reading): AsyncGenerator<TrafficBatch> {
  const batch = createTrafficBatch(batchRows);
  const { packets } = batch;
  let line = 0;
  let time = 0;
  packets.length = 0;
  for await (const lines of blocks) {
    for (const text of lines) {
      line++;
      if (text.trim() === "") continue;
      const packet = readLine(text, time, resolve);
      if (isProblem(packet)) {
        issues.push({ severity: "error", offset: undefined, line, message: packet.problem });
        if (packets.length > 0) yield batch;
        return;
      }
      time = packet.time;
      const row = appendPacket(packets, packet);
      batch.seconds[row] = Math.floor(time);
      batch.nanoseconds[row] = Math.round((time - Math.floor(time)) * 1e9);
      batch.frameBytes[row] = bytesOf(packet);
      batch.offset[row] = line;
      batch.interfaceId[row] = 0;
      batch.recorded[row] = 0;
      batch.capturedBytes[row] = 0;
      if (packets.length < batchRows) continue;
      yield batch;
      packets.length = 0;
    }
    // Whoever writes packet by packet is answered packet by packet.
    if (packets.length > 0) yield batch;
    packets.length = 0;
  }
}

function readLine(text: string, earliest: number, resolve: Resolve): Packet | TextProblem {
  const read = parsePacketLine(text);
  if (isProblem(read)) return read;
  const time = read.details.time ?? earliest;
  if (time < earliest) return { problem: `time never decreases: found ${time} after ${earliest}` };
  return packetOf({ ...read, details: { ...read.details, time } }, resolve);
}

function bytesOf({ source, protocol, payloadBytes }: Packet): number {
  const layer4 = HEADER_BYTES.get(protocol) ?? (hasPorts(protocol) ? 8 : 0);
  return (source.family === 4 ? 20 : 40) + layer4 + payloadBytes;
}
