/**
 * Zeek's conn.log: tab-separated with a `#fields` line, or JSON lines. Each record is a whole connection, seen from its opener.
 *
 * Source: https://docs.zeek.org/en/current/scripts/base/protocols/conn/main.zeek.html (conn_state, history).
 */
import { PROTOCOL } from "../../dataplane/packet.ts";
import { RECORDED, type TrafficFormat } from "../source.ts";
import { isProblem, type TextProblem } from "../transcript.ts";
import { countAt, type Fields, numberAt, parseObject, portAt, protocolAt, quoted, textAt, timeAt } from "./fields.ts";
import type { Closing, FlowRecord, Opening } from "./flowRecord.ts";
import type { LogReader, LogSink } from "./logReader.ts";

/** What each conn_state says of beginning and end. */
const STATES: ReadonlyMap<string, readonly [Opening, Closing]> = new Map([
  ["S0", ["unanswered", "open"]],
  ["S1", ["handshake", "open"]],
  ["S2", ["handshake", "open"]],
  ["S3", ["handshake", "open"]],
  ["SF", ["handshake", "closed"]],
  ["REJ", ["refused", "open"]],
  ["RSTO", ["handshake", "reset-by-source"]],
  ["RSTR", ["handshake", "reset-by-destination"]],
  ["RSTOS0", ["unanswered", "reset-by-source"]],
  ["RSTRH", ["underway", "reset-by-destination"]],
  ["SH", ["unanswered", "open"]],
  ["SHR", ["underway", "open"]],
  ["OTH", ["underway", "open"]],
]);

export class ZeekReader implements LogReader {
  readonly format: TrafficFormat = "zeek";
  #separator = "\t";
  #fields: readonly string[] | undefined;
  #unset = "-";

  limits(): readonly string[] {
    return [
      "conn.log says when a connection began and how long it lasted, not when its packets were sent: data is implied at the start, the end at the end",
      "it does not say what a firewall did: a connection without answer (S0) may have been dropped or not",
    ];
  }

  line(text: string, sink: LogSink): TextProblem | undefined {
    if (text.startsWith("#")) return this.#directive(text);
    if (text.startsWith("{")) {
      const value = parseObject(text);
      return isProblem(value) ? value : record(value, sink);
    }
    const names = this.#fields;
    if (names === undefined) return { problem: "a record before the #fields line that names its columns" };
    const values = text.split(this.#separator);
    if (values.length !== names.length) {
      return { problem: `a record has ${names.length} columns by the #fields line, found ${values.length}` };
    }
    const fields: Record<string, string> = {};
    for (let index = 0; index < values.length; index++) {
      const value = values[index] ?? "";
      if (value !== this.#unset && value !== "(empty)") fields[names[index] ?? ""] = value;
    }
    return record(fields, sink);
  }

  #directive(text: string): TextProblem | undefined {
    if (text.startsWith("#separator ")) {
      const code = /^\\x([0-9a-fA-F]{2})$/.exec(text.slice("#separator ".length).trim());
      if (code?.[1] === undefined) return { problem: `#separator is \\x and two hex digits, found ${quoted(text)}` };
      this.#separator = String.fromCharCode(Number.parseInt(code[1], 16));
      return undefined;
    }
    const [name = "", ...values] = text.split(this.#separator);
    if (name === "#fields") this.#fields = values;
    if (name === "#unset_field") this.#unset = values[0] ?? "-";
    if (name === "#path" && values[0] !== undefined && values[0] !== "conn") {
      return { problem: `conn.log is read, found #path ${quoted(values[0])}` };
    }
    return undefined;
  }
}

function record(fields: Fields, sink: LogSink): TextProblem | undefined {
  const proto = textAt(fields, "proto");
  const responder = textAt(fields, "id.resp_h");
  // Zeek says icmp for both families, and "unknown_transport" for the rest.
  const isV6 = responder?.includes(":") === true;
  // Since 7.1 its number stands in a column of its own.
  const isNumbered = proto === "unknown_transport";
  if (isNumbered && textAt(fields, "ip_proto") === undefined) {
    sink.skip("transport protocol that Zeek does not know");
    return undefined;
  }
  const protocol = proto === "icmp" && isV6 ? PROTOCOL.icmpv6 : protocolAt(fields, isNumbered ? "ip_proto" : "proto");
  if (typeof protocol !== "number") return protocol;
  const source = sink.addressOf(textAt(fields, "id.orig_h") ?? "");
  const destination = sink.addressOf(responder ?? "");
  if (source === undefined) return { problem: `id.orig_h is an address, found ${quoted(fields["id.orig_h"])}` };
  if (destination === undefined) return { problem: `id.resp_h is an address, found ${quoted(responder)}` };
  const sourcePort = portAt(fields, "id.orig_p");
  const destinationPort = portAt(fields, "id.resp_p");
  if (typeof sourcePort === "object") return sourcePort;
  if (typeof destinationPort === "object") return destinationPort;
  const start = timeAt(fields, "ts");
  if (typeof start !== "number") return start;
  const state = textAt(fields, "conn_state") ?? "OTH";
  const meaning = STATES.get(state);
  if (meaning === undefined) {
    return { problem: `conn_state is one of ${[...STATES.keys()].join(", ")}, found ${quoted(state)}` };
  }
  const isIcmp = protocol === PROTOCOL.icmp || protocol === PROTOCOL.icmpv6;
  const flow: FlowRecord = {
    line: sink.lineNumber,
    start,
    end: start + Math.max(0, numberAt(fields, "duration") ?? 0),
    protocol,
    source,
    destination,
    // Ports of ICMP are type and code.
    sourcePort: isIcmp ? 0 : (sourcePort ?? 0),
    destinationPort: isIcmp ? 0 : (destinationPort ?? 0),
    ...(isIcmp ? { icmpType: sourcePort, icmpCode: destinationPort } : {}),
    role: "opener",
    sent: countsOf(fields, "orig"),
    received: countsOf(fields, "resp"),
    recorded: RECORDED.unknown,
    opening: meaning[0],
    closing: meaning[1],
  };
  sink.flow(flow);
  return undefined;
}

/** Bytes of IP where the log has them, else of payload. */
function countsOf(
  fields: Fields,
  side: "orig" | "resp",
): { readonly packets: number | undefined; readonly bytes: number } {
  return {
    packets: countAt(fields, `${side}_pkts`),
    bytes: countAt(fields, `${side}_ip_bytes`) ?? countAt(fields, `${side}_bytes`) ?? 0,
  };
}
