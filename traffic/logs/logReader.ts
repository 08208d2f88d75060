/** What a reader of one log format is handed, and what it gives. */
import type { IpAddress } from "../../dataplane/address.ts";
import type { Packet } from "../../dataplane/packet.ts";
import type { TrafficFormat } from "../source.ts";
import type { Resolve, TextProblem } from "../transcript.ts";
import type { FlowRecord } from "./flowRecord.ts";

export interface LogReader {
  readonly format: TrafficFormat;
  /** What the format cannot say, a sentence each; fixed when the log has been read. */
  limits(): readonly string[];
  /** Reads one line, which is not blank. What it holds goes to the sink; what is wrong with it is answered. */
  line(text: string, sink: LogSink): TextProblem | undefined;
  /** There are no more lines: what was held back goes to the sink. */
  finish?(sink: LogSink): void;
}

/** Takes what a reader finds in the line at hand. */
export interface LogSink {
  /** From 1. */
  readonly lineNumber: number;
  /** What names stand for, if anyone knows. */
  readonly resolve: Resolve | undefined;
  /** `parseAddress`, remembered. */
  addressOf(text: string): IpAddress | undefined;
  flow(record: FlowRecord): void;
  /** A packet that the line is, not one that it implies. */
  packet(packet: Packet): void;
  /** The line is no traffic; counted by reason. */
  skip(reason: string): void;
  /** The log says that `address` is `name` (`namespace/pod`). */
  name(address: string, name: string): void;
  /** Index of an interface or observer; the same for the same names. */
  interfaceOf(name: string | undefined, node: string | undefined): number;
}
