/** Plain CSV with a header line: flows from anywhere. */
import { hasPorts } from "../../dataplane/packet.ts";
import { RECORDED, type TrafficFormat } from "../source.ts";
import type { TextProblem } from "../transcript.ts";
import { countAt, type Fields, numberAt, portAt, protocolAt, quoted, textAt, timeAt } from "./fields.ts";
import type { LoggedEnd } from "./flowRecord.ts";
import type { LogReader, LogSink } from "./logReader.ts";

/** Columns by the names that are understood, in lower case without blanks, `_`, `-` and `.`; the first is the one we print. */
const COLUMNS = {
  time: ["time", "timestamp", "start", "starttime", "ts", "date", "firstseen"],
  end: ["end", "endtime", "lastseen"],
  protocol: ["protocol", "proto", "ipproto"],
  source: ["source", "src", "srcaddr", "srcip", "sourceip", "sourceaddress", "ipsrc", "from"],
  sourcePort: ["sourceport", "srcport", "sport", "sourceportnumber"],
  destination: [
    "destination",
    "dst",
    "dest",
    "dstaddr",
    "dstip",
    "destip",
    "destinationip",
    "destinationaddress",
    "ipdst",
    "to",
  ],
  destinationPort: ["destinationport", "dstport", "destport", "dport", "port"],
  packets: ["packets", "pkts", "packetcount"],
  bytes: ["bytes", "octets", "length", "bytecount"],
  replyBytes: ["replybytes", "bytesin", "bytesreceived"],
  verdict: ["verdict", "action", "decision"],
  icmpType: ["icmptype"],
  icmpCode: ["icmpcode"],
} as const;

type Column = keyof typeof COLUMNS;

const REQUIRED: readonly Column[] = ["protocol", "source", "destination"];

const VERDICTS: ReadonlyMap<string, number> = new Map([
  ...["accept", "accepted", "allow", "allowed", "forwarded", "pass", "permit"].map(
    (word) => [word, RECORDED.accept] as const,
  ),
  ...["drop", "dropped", "deny", "denied", "reject", "rejected", "block", "blocked"].map(
    (word) => [word, RECORDED.drop] as const,
  ),
]);

function columnOf(name: string): Column | undefined {
  const plain = name.toLowerCase().replace(/[\s_.-]/g, "");
  const entries = Object.entries(COLUMNS) as readonly (readonly [Column, readonly string[]])[];
  return entries.find(([, names]) => names.includes(plain))?.[0];
}

/** `,`, `;` or a tab: whichever the header has most of. */
function separatorOf(header: string): string {
  const count = (separator: string) => header.split(separator).length;
  return [",", ";", "\t"].reduce((best, separator) => (count(separator) > count(best) ? separator : best));
}

/** Whether the line names the columns of a CSV that is understood. */
export function isCsvHeader(line: string): boolean {
  const found = new Set(cellsOf(line, separatorOf(line)).map(columnOf));
  return REQUIRED.every((column) => found.has(column));
}

/** Cells, with quotes (`""` inside them is one) taken off. A cell does not go on over the end of its line. */
function cellsOf(line: string, separator: string): readonly string[] {
  if (!line.includes('"')) return line.split(separator).map((cell) => cell.trim());
  const cells: string[] = [];
  let cell = "";
  let isQuoted = false;
  for (let at = 0; at < line.length; at++) {
    const letter = line[at] ?? "";
    if (letter === '"') {
      if (isQuoted && line[at + 1] === '"') {
        cell += '"';
        at++;
      } else isQuoted = !isQuoted;
    } else if (letter === separator && !isQuoted) {
      cells.push(cell.trim());
      cell = "";
    } else cell += letter;
  }
  cells.push(cell.trim());
  return cells;
}

export class CsvReader implements LogReader {
  readonly format: TrafficFormat = "csv";
  #separator = ",";
  #columns: readonly (Column | undefined)[] | undefined;
  #ignored: readonly string[] = [];
  #lastTime = 0;

  limits(): readonly string[] {
    const notes = ["each line of the CSV is taken as one whole connection, opened by its source"];
    const missing = (["time", "sourcePort", "bytes", "verdict"] as const).filter(
      (column) => !this.#columns?.includes(column),
    );
    if (missing.length > 0) notes.push(`the CSV has no column for ${missing.join(", ")}`);
    if (this.#ignored.length > 0) notes.push(`columns not understood: ${this.#ignored.slice(0, 20).join(", ")}`);
    return notes;
  }

  line(text: string, sink: LogSink): TextProblem | undefined {
    if (this.#columns === undefined) return this.#header(text);
    const cells = cellsOf(text, this.#separator);
    if (cells.length !== this.#columns.length) {
      return { problem: `a line has ${this.#columns.length} cells by the header, found ${cells.length}` };
    }
    const fields: Record<string, string> = {};
    for (const [index, column] of this.#columns.entries())
      if (column !== undefined) fields[column] ??= cells[index] ?? "";
    return this.#record(fields, sink);
  }

  #header(text: string): TextProblem | undefined {
    this.#separator = separatorOf(text);
    const names = cellsOf(text, this.#separator);
    const columns = names.map(columnOf);
    const missing = REQUIRED.filter((column) => !columns.includes(column));
    if (missing.length > 0) {
      return {
        problem: `the header of a CSV names ${REQUIRED.join(", ")}; ${missing.join(", ")} not found in ${quoted(text)}`,
      };
    }
    this.#columns = columns;
    this.#ignored = names.filter((_, index) => columns[index] === undefined);
    return undefined;
  }

  #record(fields: Fields, sink: LogSink): TextProblem | undefined {
    const protocol = protocolAt(fields, "protocol");
    if (typeof protocol !== "number") return protocol;
    const sourcePort = portAt(fields, "sourcePort");
    const destinationPort = portAt(fields, "destinationPort");
    if (typeof sourcePort === "object") return sourcePort;
    if (typeof destinationPort === "object") return destinationPort;
    const isPorted = hasPorts(protocol);
    if (isPorted && destinationPort === undefined) return { problem: "destinationPort is missing" };
    const time = textAt(fields, "time") === undefined ? this.#lastTime : timeAt(fields, "time");
    if (typeof time !== "number") return time;
    this.#lastTime = time;
    const end = textAt(fields, "end") === undefined ? time : timeAt(fields, "end");
    if (typeof end !== "number") return end;
    const source = endAt(fields, "source", sink);
    const destination = endAt(fields, "destination", sink);
    if (typeof source === "object" && "problem" in source) return source;
    if (typeof destination === "object" && "problem" in destination) return destination;
    const verdict = textAt(fields, "verdict")?.toLowerCase();
    const recorded = verdict === undefined ? RECORDED.unknown : VERDICTS.get(verdict);
    if (recorded === undefined) {
      return { problem: `verdict is one of ${[...VERDICTS.keys()].join(", ")}, found ${quoted(verdict)}` };
    }
    sink.flow({
      line: sink.lineNumber,
      start: time,
      end,
      protocol,
      source,
      destination,
      // As everywhere else where a packet's source port is left out.
      sourcePort: isPorted ? (sourcePort ?? 40_000) : 0,
      destinationPort: isPorted ? (destinationPort ?? 0) : 0,
      icmpType: numberAt(fields, "icmpType"),
      icmpCode: numberAt(fields, "icmpCode"),
      role: "opener",
      sent: { packets: countAt(fields, "packets"), bytes: countAt(fields, "bytes") ?? 0 },
      received: { packets: undefined, bytes: countAt(fields, "replyBytes") ?? 0 },
      recorded,
      opening: "handshake",
      closing: "closed",
    });
    return undefined;
  }
}

/** An address, or a name as it is written: `namespace/pod`. */
function endAt(fields: Fields, side: "source" | "destination", sink: LogSink): LoggedEnd | TextProblem {
  const text = textAt(fields, side);
  if (text === undefined) return { problem: `${side} is missing` };
  return sink.addressOf(text) ?? text;
}
