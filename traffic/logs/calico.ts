/**
 * Calico: flows of Goldmane and Whisker (lines, `data: ` events, or the whole answer of /whisker-backend/flows in one line) and
 * flow log files. Flows are summed over an interval and over the pods of one owner.
 *
 * Sources in projectcalico/calico: goldmane/proto/api.proto (FlowResult, Flow, FlowKey and their enums) and
 * goldmane/pkg/emitter/emitter.go, which writes that with Go's own JSON (snake_case, enums as numbers), where gRPC clients write
 * protobuf's (camelCase, enums as names, 64-bit numbers as text); whisker-backend/pkg/apis/v1/flows.go (FlowResponse);
 * felix/collector/flowlog/json_output.go (flow log files), felix/collector/types/endpoint/endpoint.go (what names are).
 */
import { hasPorts } from "../../dataplane/packet.ts";
import { counted } from "../findings.ts";
import { RECORDED, type TrafficFormat } from "../source.ts";
import { isProblem, type TextProblem } from "../transcript.ts";
import { BothEnds } from "./bothEnds.ts";
import {
  countAt,
  type Fields,
  isFields,
  objectAt,
  parseObject,
  portAt,
  protocolAt,
  quoted,
  textAt,
  timeAt,
} from "./fields.ts";
import type { FlowRecord, LoggedEnd } from "./flowRecord.ts";
import type { LogReader, LogSink } from "./logReader.ts";

/** Where the log drops source ports, each record gets one of its own from here on, so that connections stay apart. */
const FIRST_INVENTED_PORT = 32_768;
const INVENTED_PORTS = 28_232;

/** Enums by number (goldmane/proto/api.proto) and by every name in use. */
const ACTIONS: ReadonlyMap<string, "allow" | "deny" | "pass"> = new Map([
  ["1", "allow"],
  ["2", "deny"],
  ["3", "pass"],
  ["allow", "allow"],
  ["deny", "deny"],
  ["pass", "pass"],
]);
const REPORTERS: ReadonlyMap<string, string> = new Map([
  ["1", "src"],
  ["2", "dst"],
]);
const END_TYPES: ReadonlyMap<string, "pod" | "host" | "set" | "network"> = new Map([
  ["1", "pod"],
  ["2", "host"],
  ["3", "set"],
  ["4", "network"],
  ["workloadendpoint", "pod"],
  ["hostendpoint", "host"],
  ["networkset", "set"],
  ["network", "network"],
  ["wep", "pod"],
  ["hep", "host"],
  ["ns", "set"],
  ["net", "network"],
]);

/** Why an end has no address that anyone could look up. */
interface Nowhere {
  readonly reason: string;
}

export class CalicoReader implements LogReader {
  readonly format: TrafficFormat = "calico-flow";
  #inventedPorts = 0;
  #named = 0;
  #summed = 0;
  #sink: LogSink | undefined;
  readonly #ends = new BothEnds((record) => this.#give(record));

  limits(): readonly string[] {
    const notes = [
      "Calico sums flows over an interval: when in it packets were sent, and in which order, is not known; each record is taken as one connection",
    ];
    const { count, denied } = this.#ends;
    if (count > 0) {
      const but =
        denied > 0 ? `; ${denied} of them were allowed by one end and denied by the other, and count as denied` : "";
      notes.push(`${counted(count, "flow")} reported by both ends, and counted once${but}`);
    }
    if (this.#inventedPorts > 0) {
      notes.push(
        `${counted(this.#inventedPorts, "record")} with no source port: each got one of its own from 32768 on`,
      );
    }
    if (this.#named > 0) {
      notes.push(
        `${counted(this.#named, "record")} with names in the place of addresses, which are those of the manifests`,
      );
    }
    if (this.#summed > 0) {
      notes.push(
        `${counted(this.#summed, "record")} about all pods of an owner (web-*): which of them talked is lost, and how many; each record is taken as a connection of one of them, chosen evenly`,
      );
    }
    return notes;
  }

  line(text: string, sink: LogSink): TextProblem | undefined {
    const json = text.startsWith("data:") ? text.slice("data:".length) : text;
    // Other lines of an event stream.
    if (/^(?:event|id|retry):/.test(text)) return undefined;
    const value = parseObject(json);
    if (isProblem(value)) return value;
    const { items } = value;
    if (!Array.isArray(items)) return this.#flow(value, sink);
    for (const item of items) {
      const problem = isFields(item)
        ? this.#flow(item, sink)
        : { problem: `an item is an object, found ${quoted(item)}` };
      if (problem !== undefined) return problem;
    }
    return undefined;
  }

  #flow(item: Fields, sink: LogSink): TextProblem | undefined {
    // Goldmane's own form nests the key; the times may stand outside the flow.
    const flow = objectAt(item, "flow") ?? item;
    const key = objectAt(flow, "Key") ?? flow;
    const protocol = protocolAt(key, "proto", "protocol");
    if (typeof protocol !== "number") return protocol;
    const start = timeAt(flow, "start_time", "startTime");
    const end = timeAt(flow, "end_time", "endTime");
    if (typeof start !== "number") return start;
    if (typeof end !== "number") return end;
    const actionText = textAt(key, "action");
    const action = ACTIONS.get(actionText?.toLowerCase() ?? "");
    if (action === undefined) return { problem: `action is allow, deny or pass, found ${quoted(actionText)}` };
    if (action === "pass") return skip(sink, "action pass: another record has the verdict");
    const source = this.#end(key, "source", sink);
    const destination = this.#end(key, "dest", sink);
    if (isNowhere(source)) return skip(sink, source.reason);
    if (isNowhere(destination)) return skip(sink, destination.reason);
    if (typeof source === "string" || typeof destination === "string") this.#named++;
    if (isSummed(source) || isSummed(destination)) this.#summed++;
    this.#sink = sink;
    const ported = hasPorts(protocol);
    const sourcePort = portAt(key, "source_port", "sourcePort");
    const destinationPort = portAt(key, "dest_port", "destPort");
    if (typeof sourcePort === "object") return sourcePort;
    if (typeof destinationPort === "object") return destinationPort;
    const reporterText = textAt(key, "reporter")?.toLowerCase() ?? "src";
    const reporter = REPORTERS.get(reporterText) ?? reporterText;
    const record: FlowRecord = {
      line: sink.lineNumber,
      start,
      end,
      protocol,
      source,
      destination,
      sourcePort: ported ? (sourcePort ?? 0) : 0,
      destinationPort: ported ? (destinationPort ?? 0) : 0,
      role: "opener",
      ...countsOf(flow, reporter),
      recorded: action === "deny" ? RECORDED.drop : RECORDED.accept,
      opening: "handshake",
      closing:
        (countAt(flow, "num_flows_completed", "num_connections_completed", "numConnectionsCompleted") ?? 0) > 0
          ? "closed"
          : "open",
      interfaceId: sink.interfaceOf(reporter, textAt(flow, "host")),
    };
    const ends = `${endKey(key, "source")} ${record.sourcePort} ${endKey(key, "dest")} ${record.destinationPort}`;
    this.#ends.add({ key: `${protocol} ${ends}`, reporter, record });
    return undefined;
  }

  finish(): void {
    this.#ends.finish();
  }

  #give(record: FlowRecord): void {
    const isPortless = record.sourcePort === 0 && hasPorts(record.protocol);
    this.#sink?.flow(isPortless ? { ...record, sourcePort: this.#inventPort() } : record);
  }

  /** The address of an end, or its name where the log has no address. `-` is how Felix writes that there is none. */
  #end(key: Fields, side: "source" | "dest", sink: LogSink): LoggedEnd | Nowhere {
    const one = textAt(key, `${side}_name`, `${side}Name`);
    const name = one ?? textAt(key, `${side}_name_aggr`);
    const namespace = textAt(key, `${side}_namespace`, `${side}Namespace`);
    const text = textAt(key, `${side}_ip`);
    const address = text === undefined ? undefined : sink.addressOf(text);
    if (text !== undefined && address !== undefined) {
      if (one !== undefined && namespace !== undefined && !isSummed(one)) sink.name(text, `${namespace}/${one}`);
      return address;
    }
    if (name === undefined) return { reason: "an end with neither address nor name" };
    switch (END_TYPES.get(textAt(key, `${side}_type`, `${side}Type`)?.toLowerCase() ?? "")) {
      case "host":
        return `node:${textAt(key, `${side}_name_aggr`) ?? name}`;
      case "set":
        return { reason: `a network set (${name}), of which the log has no address` };
      case "network":
        return { reason: `outside the cluster (${name}), without an address in the log` };
      default:
        // Whisker leaves types out; a pod has a namespace, and these two names are no pod's.
        if (namespace === undefined && (name === "pub" || name === "pvt")) {
          return { reason: `outside the cluster (${name}), without an address in the log` };
        }
        return namespace === undefined ? name : `${namespace}/${name}`;
    }
  }

  #inventPort(): number {
    return FIRST_INVENTED_PORT + (this.#inventedPorts++ % INVENTED_PORTS);
  }
}

/** The same in what either end reports. */
function endKey(key: Fields, side: "source" | "dest"): string {
  const name = textAt(key, `${side}_name`, `${side}Name`) ?? textAt(key, `${side}_name_aggr`);
  return `${textAt(key, `${side}_ip`) ?? ""} ${textAt(key, `${side}_namespace`, `${side}Namespace`) ?? ""}/${name ?? ""}`;
}

function isNowhere(end: LoggedEnd | Nowhere): end is Nowhere {
  return typeof end === "object" && "reason" in end;
}

/** What Felix makes of `generateName`: any pod that was made from it. */
function isSummed(end: LoggedEnd): boolean {
  return typeof end === "string" && end.endsWith("*");
}

/** In and out are as the reporting end sees it: what goes in at the destination, the source has sent. */
function countsOf(flow: Fields, reporter: string): Pick<FlowRecord, "sent" | "received"> {
  const into = { packets: countAt(flow, "packets_in", "packetsIn"), bytes: countAt(flow, "bytes_in", "bytesIn") ?? 0 };
  const out = {
    packets: countAt(flow, "packets_out", "packetsOut"),
    bytes: countAt(flow, "bytes_out", "bytesOut") ?? 0,
  };
  return reporter.startsWith("d") ? { sent: into, received: out } : { sent: out, received: into };
}

function skip(sink: LogSink, reason: string): undefined {
  sink.skip(reason);
  return undefined;
}
