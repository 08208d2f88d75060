/**
 * AWS VPC flow logs, versions 2 to 5: a header line with the names of the fields, or the default fields of version 2.
 *
 * Source: "Flow log records" of Amazon's VPC documentation.
 */
import { hasPorts } from "../../dataplane/packet.ts";
import { counted } from "../findings.ts";
import { RECORDED, type TrafficFormat } from "../source.ts";
import type { TextProblem } from "../transcript.ts";
import { countAt, type Fields, numberAt, parseTime, portAt, protocolAt, quoted, textAt, timeAt } from "./fields.ts";
import type { FlowRecord } from "./flowRecord.ts";
import type { LogReader, LogSink } from "./logReader.ts";

export const AWS_DEFAULT_FIELDS: readonly string[] =
  "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status".split(
    " ",
  );

/** Bits of tcp-flags; SYN-ACK is told from SYN, nothing else of ACK is recorded. */
const FLAG = { fin: 1, syn: 2, reset: 4, synAck: 18 } as const;

export class AwsVpcReader implements LogReader {
  readonly format: TrafficFormat = "aws-vpc";
  #fields: readonly string[] = AWS_DEFAULT_FIELDS;
  #skippedData = 0;

  limits(): readonly string[] {
    const notes = [
      "VPC flow logs sum each direction over up to ten minutes: when in it packets were sent is not known; the packets of each connection are implied at the start",
      "they are recorded at network interfaces of nodes: packets between pods of one node are missing",
    ];
    if (!this.#fields.includes("pkt-srcaddr")) {
      notes.push(
        "without pkt-srcaddr and pkt-dstaddr, addresses are the interface's own where a node translates its pods' addresses",
      );
    }
    if (!this.#fields.includes("tcp-flags"))
      notes.push("without tcp-flags, beginning and end of connections are not known");
    if (this.#skippedData > 0)
      notes.push(`the log says that records were lost in ${counted(this.#skippedData, "interval")} (SKIPDATA)`);
    return notes;
  }

  line(text: string, sink: LogSink): TextProblem | undefined {
    let words = text.trim().split(/\s+/);
    // Taking names apart is dear, and a record has none.
    if (text.includes("srcaddr") && isAwsHeader(words)) {
      this.#fields = words.map(fieldName);
      return undefined;
    }
    // CloudWatch exports put the time of arrival in front.
    if (
      words.length === this.#fields.length + 1 &&
      words[0]?.includes("T") === true &&
      parseTime(words[0]) !== undefined
    ) {
      words = words.slice(1);
    }
    if (words.length !== this.#fields.length) {
      return {
        problem: `a record has ${this.#fields.length} fields (${this.#fields.join(" ")}), found ${words.length}`,
      };
    }
    const record: Record<string, string | undefined> = {};
    for (let index = 0; index < words.length; index++) record[this.#fields[index] ?? ""] = words[index];
    const status = textAt(record, "log-status");
    if (status === "NODATA") return skip(sink, "interval without traffic (NODATA)");
    if (status === "SKIPDATA") {
      this.#skippedData++;
      return skip(sink, "interval with lost records (SKIPDATA)");
    }
    return this.#record(record, sink);
  }

  #record(fields: Fields, sink: LogSink): TextProblem | undefined {
    const protocol = protocolAt(fields, "protocol");
    if (typeof protocol !== "number") return protocol;
    const start = timeAt(fields, "start");
    if (typeof start !== "number") return start;
    const end = timeAt(fields, "end");
    const ends: Record<string, FlowRecord["source"]> = {};
    for (const [side, names] of [
      ["source", ["pkt-srcaddr", "srcaddr"]],
      ["destination", ["pkt-dstaddr", "dstaddr"]],
    ] as const) {
      const text = textAt(fields, ...names);
      const address = text === undefined ? undefined : sink.addressOf(text);
      if (address === undefined) return { problem: `${names[1]} is an address, found ${quoted(text)}` };
      ends[side] = address;
    }
    const sourcePort = portAt(fields, "srcport");
    const destinationPort = portAt(fields, "dstport");
    if (typeof sourcePort === "object") return sourcePort;
    if (typeof destinationPort === "object") return destinationPort;
    const action = textAt(fields, "action");
    if (action !== undefined && action !== "ACCEPT" && action !== "REJECT") {
      return { problem: `action is ACCEPT or REJECT, found ${quoted(action)}` };
    }
    const flags = numberAt(fields, "tcp-flags") ?? 0;
    const isPorted = hasPorts(protocol);
    sink.flow({
      line: sink.lineNumber,
      start,
      end: typeof end === "number" ? end : start,
      protocol,
      source: ends.source ?? "",
      destination: ends.destination ?? "",
      sourcePort: isPorted ? (sourcePort ?? 0) : 0,
      destinationPort: isPorted ? (destinationPort ?? 0) : 0,
      role: (flags & FLAG.synAck) === FLAG.synAck ? "answerer" : (flags & FLAG.syn) !== 0 ? "opener" : "unknown",
      sent: { packets: countAt(fields, "packets"), bytes: countAt(fields, "bytes") ?? 0 },
      received: undefined,
      recorded: action === undefined ? RECORDED.unknown : action === "REJECT" ? RECORDED.drop : RECORDED.accept,
      opening: (flags & FLAG.syn) !== 0 || !this.#fields.includes("tcp-flags") ? "handshake" : "underway",
      closing: (flags & FLAG.reset) !== 0 ? "reset-by-source" : (flags & FLAG.fin) !== 0 ? "closed" : "open",
      interfaceId: sink.interfaceOf(textAt(fields, "interface-id"), textAt(fields, "instance-id")),
    });
    return undefined;
  }
}

/** A header names fields; the words of a record never do. */
export function isAwsHeader(words: readonly string[]): boolean {
  const names = words.map(fieldName);
  return names.includes("srcaddr") || names.includes("pkt-srcaddr");
}

/** `pkt-srcaddr`, as a format asks for it (`${pkt-srcaddr}`) and as Athena and Parquet write it (`pkt_srcaddr`). */
function fieldName(word: string): string {
  return word.replaceAll("${", "").replace("}", "").replaceAll("_", "-");
}

function skip(sink: LogSink, reason: string): undefined {
  sink.skip(reason);
  return undefined;
}
