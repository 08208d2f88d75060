/**
 * Hubble: lines of `hubble observe -o jsonpb` (and `-o json`, its other name since 0.11; before, the bare flow), and files of
 * Cilium's flow exporter, which are the same. Each line is one packet that Cilium saw, sampled by monitor aggregation.
 *
 * Sources in cilium/cilium: api/v1/flow/flow.proto (Flow), api/v1/observer/observer.proto (GetFlowsResponse, ExportEvent), in
 * the JSON mapping of protobuf with the names of the .proto files: what is at its default (an ICMP type of 0, a flag that is not
 * set) is left out. pkg/hubble/exporter/ratelimit.go writes `rate_limit_info`.
 */
import { hasPorts } from "../../dataplane/packet.ts";
import { RECORDED, type TrafficFormat } from "../source.ts";
import { isProblem, type TextProblem } from "../transcript.ts";
import { countAt, type Fields, objectAt, parseObject, portAt, quoted, textAt, timeAt } from "./fields.ts";
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

/** Names of DropReason that are policy's; others are the network's. */
const POLICY_DROPS: ReadonlySet<string> = new Set(["POLICY_DENIED", "POLICY_DENY", "AUTH_REQUIRED"]);

/** DropReason has some 80; a hostile file could invent more. */
const MAX_REASONS = 200;

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
  /** Drops for other reasons than policy: name of the reason → packets. */
  readonly #otherDrops = new Map<string, number>();

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
    if (this.#otherDrops.size > 0) {
      const reasons = [...this.#otherDrops].slice(0, 5).map(([reason, count]) => `${reason} ${count}`);
      notes.push(`packets that were dropped for other reasons than policy: ${reasons.join(", ")}`);
    }
    return notes;
  }

  line(text: string, sink: LogSink): TextProblem | undefined {
    const value = parseObject(text);
    if (isProblem(value)) return value;
    const lost = objectAt(value, "lost_events", "rate_limit_info");
    if (lost !== undefined) {
      this.#lost += countAt(lost, "num_events_lost", "number_of_dropped_events") ?? 0;
      sink.skip("lost-events record");
      return undefined;
    }
    if (objectAt(value, "node_status", "agent_event", "debug_event") !== undefined) {
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
    if (textAt(flow, "Type") === "L7") return skip(sink, "L7 record; its connection has its own");
    if (verdict === "TRANSLATED" || textAt(flow, "Type") === "SOCK") {
      return skip(sink, "socket-level translation record");
    }
    const recorded = VERDICTS.get(verdict);
    if (recorded === undefined) {
      return { problem: `verdict is one of ${[...VERDICTS.keys()].join(", ")}, found ${quoted(verdict)}` };
    }
    if (verdict === "AUDIT") this.#audited++;
    const l4 = objectAt(flow, "l4");
    const found = PROTOCOLS.find(([name]) => objectAt(l4, name) !== undefined);
    // VRRP, IGMP, and frames that are no IP.
    if (found === undefined) return skip(sink, `${Object.keys(l4 ?? {})[0] ?? "no"} transport protocol`);
    const [name, protocol] = found;
    const layer = objectAt(l4, name);
    const ends = endsOf(flow, sink);
    if (isProblem(ends)) return ends;
    const sourcePort = portAt(layer, "source_port");
    const destinationPort = portAt(layer, "destination_port");
    if (typeof sourcePort === "object") return sourcePort;
    if (typeof destinationPort === "object") return destinationPort;
    const time = timeAt({ time: flow.time ?? outer.time }, "time");
    if (typeof time !== "number") return time;
    const flags = objectAt(layer, "flags");
    const icmpType = hasPorts(protocol) ? undefined : (countAt(layer, "type") ?? 0);
    if (recorded === RECORDED.drop) this.#dropped(textAt(flow, "drop_reason_desc"));
    const record: FlowRecord = {
      line: sink.lineNumber,
      start: time,
      end: time,
      protocol,
      ...ends,
      sourcePort: sourcePort ?? 0,
      destinationPort: destinationPort ?? 0,
      icmpType,
      icmpCode: countAt(layer, "code"),
      role: roleOf(flow, flags, icmpType),
      sent: undefined,
      received: undefined,
      recorded,
      opening: openingOf(flags),
      closing: closingOf(flags),
      interfaceId: sink.interfaceOf(interfaceName(flow), textAt(flow, "node_name") ?? textAt(outer, "node_name")),
    };
    sink.flow(record);
    return undefined;
  }

  #dropped(reason: string | undefined): void {
    if (reason === undefined || POLICY_DROPS.has(reason)) return;
    if (this.#otherDrops.size < MAX_REASONS || this.#otherDrops.has(reason)) {
      this.#otherDrops.set(reason, (this.#otherDrops.get(reason) ?? 0) + 1);
    }
  }
}

function skip(sink: LogSink, reason: string): undefined {
  sink.skip(reason);
  return undefined;
}

/** Addresses, and the pods that Cilium knew them by. */
function endsOf(flow: Fields, sink: LogSink): Pick<FlowRecord, "source" | "destination"> | TextProblem {
  const ip = objectAt(flow, "IP");
  const found: Record<"source" | "destination", FlowRecord["source"]> = { source: "", destination: "" };
  for (const side of ["source", "destination"] as const) {
    const text = textAt(ip, side);
    const address = text === undefined ? undefined : sink.addressOf(text);
    if (text === undefined || address === undefined) {
      return { problem: `IP.${side} is an address, found ${quoted(text)}` };
    }
    const endpoint = objectAt(flow, side);
    const pod = textAt(endpoint, "pod_name");
    if (pod !== undefined) sink.name(text, `${textAt(endpoint, "namespace") ?? "default"}/${pod}`);
    found[side] = address;
  }
  return found;
}

/** Cilium's connection tracking says whether a packet is a reply; where it does not, TCP flags or the ICMP type do. */
function roleOf(flow: Fields, flags: Fields | undefined, icmpType: number | undefined): FlowRecord["role"] {
  const reply = flow.is_reply;
  // Protobuf leaves false out; `reply` is the older field, always there when known.
  if (reply === true || flow.reply === true) return "answerer";
  if (reply === false) return "opener";
  if (flags?.SYN === true) return flags.ACK === true ? "answerer" : "opener";
  if (icmpType === 0 || icmpType === 129) return "answerer";
  return icmpType === 8 || icmpType === 128 ? "opener" : "unknown";
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
