/**
 * Hubble: lines of `hubble observe -o jsonpb` (and `-o json`, its other name since 0.11; before, the bare flow), and files of
 * Cilium's flow exporter, which are the same. Each line is one packet that Cilium saw, sampled by monitor aggregation.
 *
 * Source: cilium/api/v1/flow/flow.proto, in the JSON mapping of protobuf.
 */
import { RECORDED, type TrafficFormat } from "../source.ts";
import { isProblem, type TextProblem } from "../transcript.ts";
import { type Fields, numberAt, objectAt, parseObject, portAt, quoted, textAt, timeAt } from "./fields.ts";
import type { Closing, FlowRecord, Opening } from "./flowRecord.ts";
import type { LogReader, LogSink } from "./logReader.ts";

/** What each verdict says of the packet. REDIRECTED went to a proxy, AUDIT was let through although policy says no. */
const VERDICTS: ReadonlyMap<string, number> = new Map([
  ["FORWARDED", RECORDED.accept],
  ["REDIRECTED", RECORDED.accept],
  ["AUDIT", RECORDED.accept],
  ["TRACED", RECORDED.unknown],
  ["VERDICT_UNKNOWN", RECORDED.unknown],
  ["DROPPED", RECORDED.drop],
  ["ERROR", RECORDED.drop],
]);

const PROTOCOLS = [
  ["TCP", 6],
  ["UDP", 17],
  ["ICMPv4", 1],
  ["ICMPv6", 58],
  ["SCTP", 132],
] as const;

export class HubbleReader implements LogReader {
  readonly format: TrafficFormat;
  #lost = 0;
  #audited = 0;

  constructor(format: "hubble" | "cilium-flow") {
    this.format = format;
  }

  limits(): readonly string[] {
    const notes = [
      "Hubble lists single packets, few of a connection, and some at several points of their way: the packets of each connection are implied, repeated ones given once",
      "Hubble counts no bytes: lengths are 0",
    ];
    if (this.#lost > 0) notes.push(`the log says that ${this.#lost} events were lost`);
    if (this.#audited > 0) notes.push(`${this.#audited} packets passed only because policy was in audit mode`);
    return notes;
  }

  line(text: string, sink: LogSink): TextProblem | undefined {
    const value = parseObject(text);
    if (isProblem(value)) return value;
    const lost = objectAt(value, "lost_events", "lostEvents");
    if (lost !== undefined) {
      this.#lost += numberAt(lost, "num_events_lost", "numEventsLost") ?? 0;
      sink.skip("lost-events record");
      return undefined;
    }
    if (objectAt(value, "node_status", "nodeStatus", "agent_event", "debug_event") !== undefined) {
      sink.skip("status record");
      return undefined;
    }
    const flow = objectAt(value, "flow") ?? value;
    if (textAt(flow, "verdict") === undefined && objectAt(flow, "IP") === undefined) {
      return { problem: `a Hubble record has a flow with IP and verdict, found ${quoted(value)}` };
    }
    return this.#flow(flow, value, sink);
  }

  #flow(flow: Fields, outer: Fields, sink: LogSink): TextProblem | undefined {
    const verdict = textAt(flow, "verdict") ?? "VERDICT_UNKNOWN";
    if (textAt(flow, "Type", "type") === "L7") return skip(sink, "L7 record; its connection has its own");
    if (verdict === "TRANSLATED" || textAt(flow, "Type", "type") === "SOCK") {
      return skip(sink, "socket-level translation record");
    }
    const recorded = VERDICTS.get(verdict);
    if (recorded === undefined) {
      return { problem: `verdict is one of ${[...VERDICTS.keys()].join(", ")}, found ${quoted(verdict)}` };
    }
    if (verdict === "AUDIT") this.#audited++;
    const l4 = objectAt(flow, "l4");
    const found = PROTOCOLS.find(([name]) => objectAt(l4, name) !== undefined);
    if (found === undefined) return skip(sink, "no transport protocol that Hubble knows");
    const [name, protocol] = found;
    const layer = objectAt(l4, name);
    const ends = endsOf(flow, sink);
    if (isProblem(ends)) return ends;
    const sourcePort = portAt(layer, "source_port", "sourcePort");
    const destinationPort = portAt(layer, "destination_port", "destinationPort");
    if (typeof sourcePort === "object") return sourcePort;
    if (typeof destinationPort === "object") return destinationPort;
    const time = timeAt({ time: flow.time ?? outer.time }, "time");
    if (typeof time !== "number") return time;
    const flags = objectAt(layer, "flags");
    const record: FlowRecord = {
      line: sink.lineNumber,
      start: time,
      end: time,
      protocol,
      ...ends,
      sourcePort: sourcePort ?? 0,
      destinationPort: destinationPort ?? 0,
      icmpType: numberAt(layer, "type"),
      icmpCode: numberAt(layer, "code"),
      role: roleOf(flow, flags, layer),
      sent: undefined,
      received: undefined,
      recorded,
      opening: openingOf(flags),
      closing: closingOf(flags),
      interfaceId: sink.interfaceOf(
        interfaceName(flow),
        textAt(flow, "node_name", "nodeName") ?? textAt(outer, "node_name"),
      ),
    };
    sink.flow(record);
    return undefined;
  }
}

function skip(sink: LogSink, reason: string): undefined {
  sink.skip(reason);
  return undefined;
}

/** Addresses, and the pods that Cilium knew them by. */
function endsOf(flow: Fields, sink: LogSink): Pick<FlowRecord, "source" | "destination"> | TextProblem {
  const ip = objectAt(flow, "IP", "ip");
  const found: Record<"source" | "destination", FlowRecord["source"]> = { source: "", destination: "" };
  for (const side of ["source", "destination"] as const) {
    const text = textAt(ip, side);
    const address = text === undefined ? undefined : sink.addressOf(text);
    if (text === undefined || address === undefined) {
      return { problem: `IP.${side} is an address, found ${quoted(text)}` };
    }
    const endpoint = objectAt(flow, side);
    const pod = textAt(endpoint, "pod_name", "podName");
    if (pod !== undefined) sink.name(text, `${textAt(endpoint, "namespace") ?? "default"}/${pod}`);
    found[side] = address;
  }
  return found;
}

/** Cilium's connection tracking says whether a packet is a reply; where it does not, TCP flags or the ICMP type do. */
function roleOf(flow: Fields, flags: Fields | undefined, layer: Fields | undefined): FlowRecord["role"] {
  const reply = flow.is_reply ?? flow.isReply;
  // Protobuf leaves false out; `reply` is the older field, always there when known.
  if (reply === true || flow.reply === true) return "answerer";
  if (reply === false) return "opener";
  if (flags?.SYN === true) return flags.ACK === true ? "answerer" : "opener";
  const type = numberAt(layer, "type");
  if (type === 0 || type === 129) return "answerer";
  return type === 8 || type === 128 ? "opener" : "unknown";
}

function openingOf(flags: Fields | undefined): Opening {
  return flags === undefined || flags.SYN === true ? "handshake" : "underway";
}

function closingOf(flags: Fields | undefined): Closing {
  if (flags?.RST === true) return "reset-by-source";
  return flags?.FIN === true ? "closed" : "open";
}

function interfaceName(flow: Fields): string | undefined {
  return textAt(objectAt(flow, "interface"), "name");
}
