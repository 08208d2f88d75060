/** Packets as `trace --packets` reads them, one JSON object a line. */
import type { TrafficFormat } from "../source.ts";
import { isProblem, packetOf, parsePacketLine, type Resolve, type TextProblem } from "../transcript.ts";
import type { LogReader, LogSink } from "./logReader.ts";

export class PacketLineReader implements LogReader {
  readonly format: TrafficFormat = "packets";
  #time = 0;

  limits(): readonly string[] {
    return [];
  }

  line(text: string, sink: LogSink): TextProblem | undefined {
    const read = parsePacketLine(text);
    if (isProblem(read)) return read;
    const time = read.details.time ?? this.#time;
    if (time < this.#time) return { problem: `time never decreases: found ${time} after ${this.#time}` };
    const packet = packetOf({ ...read, details: { ...read.details, time } }, sink.resolve ?? addressesOnly(sink));
    if (isProblem(packet)) return packet;
    this.#time = time;
    sink.packet(packet);
    return undefined;
  }
}

function addressesOnly(sink: LogSink): Resolve {
  return (name) => sink.addressOf(name) ?? { problem: `${name} is no address, and names are not known here` };
}
