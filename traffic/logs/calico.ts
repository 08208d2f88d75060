/**
 * Calico: flows of Goldmane and Whisker (lines, `data: ` events, or the whole answer of /whisker-backend/flows in one line) and
 * flow log files. Flows are aggregated over an interval and over the pods of one owner.
 *
 * Sources: goldmane/proto/api.proto and whisker-backend/pkg/apis/v1/flow.go of projectcalico/calico; the field list of flow log
 * files in Calico's documentation ("Flow log data types").
 */
import { hasPorts } from "../../dataplane/packet.ts";
import { RECORDED, type TrafficFormat } from "../source.ts";
import { isProblem, type TextProblem } from "../transcript.ts";
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

export class CalicoReader implements LogReader {
  readonly format: TrafficFormat = "calico-flow";
  #inventedPorts = 0;
  #named = 0;

  limits(): readonly string[] {
    const notes = [
      "Calico sums flows over an interval: when in it packets were sent, and in which order, is not known; each record is taken as one connection",
      "both ends report a flow, so a flow inside the cluster can stand twice, and be allowed by the one and denied by the other",
    ];
    if (this.#inventedPorts > 0) {
      notes.push(`${this.#inventedPorts} records have no source port: each got one of its own from 32768 on`);
    }
    if (this.#named > 0) {
      notes.push(`${this.#named} records name pods, often all pods of an owner, and no addresses`);
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
    const flow = objectAt(item, "flow", "Flow") ?? item;
    const key = objectAt(flow, "Key", "key") ?? flow;
    const protocol = protocolAt(key, "proto", "protocol");
    if (typeof protocol !== "number") return protocol;
    const start = timeAt({ ...item, ...flow }, "start_time", "startTime");
    const end = timeAt({ ...item, ...flow }, "end_time", "endTime");
    if (typeof start !== "number") return start;
    if (typeof end !== "number") return end;
    const action = textAt(key, "action")?.toLowerCase();
    if (action !== "allow" && action !== "deny") {
      return action === "pass"
        ? skip(sink, "action pass: another record has the verdict")
        : { problem: `action is allow or deny, found ${quoted(action)}` };
    }
    const source = this.#end(key, "source", sink);
    const destination = this.#end(key, "dest", sink);
    if (source === undefined || destination === undefined) return skip(sink, "an end with neither address nor name");
    if (typeof source === "string" || typeof destination === "string") this.#named++;
    const ported = hasPorts(protocol);
    const sourcePort = portAt(key, "source_port", "sourcePort");
    const destinationPort = portAt(key, "dest_port", "destPort", "dest_port_num");
    if (typeof sourcePort === "object") return sourcePort;
    if (typeof destinationPort === "object") return destinationPort;
    const record: FlowRecord = {
      line: sink.lineNumber,
      start,
      end,
      protocol,
      source,
      destination,
      sourcePort: ported ? sourcePort || this.#inventPort() : 0,
      destinationPort: ported ? (destinationPort ?? 0) : 0,
      role: "opener",
      ...countsOf(flow, textAt(key, "reporter")?.toLowerCase() ?? "src"),
      recorded: action === "deny" ? RECORDED.drop : RECORDED.accept,
      opening: "handshake",
      closing:
        (countAt(flow, "num_flows_completed", "numConnectionsCompleted", "num_connections_completed") ?? 0) > 0
          ? "closed"
          : "open",
      interfaceId: sink.interfaceOf(textAt(key, "reporter"), textAt(flow, "host")),
    };
    sink.flow(record);
    return undefined;
  }

  /** The address of an end, or its name where the log has none. */
  #end(key: Fields, side: "source" | "dest", sink: LogSink): LoggedEnd | undefined {
    const nested = objectAt(key, side === "dest" ? "destination" : "source");
    const name = textAt(key, `${side}_name`) ?? textAt(nested, "name") ?? textAt(key, `${side}_name_aggr`);
    const namespace = textAt(key, `${side}_namespace`) ?? textAt(nested, "namespace");
    const full = name === undefined || namespace === undefined ? name : `${namespace}/${name}`;
    const text = textAt(key, `${side}_ip`);
    const address = text === undefined ? undefined : sink.addressOf(text);
    if (text === undefined || address === undefined) return full;
    if (full !== undefined && namespace !== undefined) sink.name(text, full);
    return address;
  }

  #inventPort(): number {
    return FIRST_INVENTED_PORT + (this.#inventedPorts++ % INVENTED_PORTS);
  }
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
