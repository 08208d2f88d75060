/** Which log it is, by its first line. */
import type { TrafficFormat } from "../source.ts";
import { isProblem } from "../transcript.ts";
import { isAwsHeader } from "./awsVpc.ts";
import { isCsvHeader } from "./csv.ts";
import { type Fields, parseObject } from "./fields.ts";

/** Undefined: none that is known. `line` may be cut at its end when it is very long. */
export function sniffLog(line: string): TrafficFormat | undefined {
  if (line.startsWith("#separator") || line.startsWith("#fields")) return "zeek";
  if (line.startsWith("data:") || line.startsWith("event:")) return "calico-flow";
  if (line.startsWith("{")) {
    const value = parseObject(line);
    return isProblem(value) ? sniffCut(line) : sniffObject(value);
  }
  const words = line.trim().split(/\s+/);
  if (isAwsHeader(words) || isAwsRecord(words)) return "aws-vpc";
  return isCsvHeader(line) ? "csv" : undefined;
}

function sniffObject(value: Fields): TrafficFormat | undefined {
  const has = (...names: readonly string[]) => names.some((name) => name in value);
  if (has("id.orig_h")) return "zeek";
  if (has("items", "source_name", "source_name_aggr", "dest_name", "source_ip", "reporter")) return "calico-flow";
  const { flow } = value;
  if (has("Key") || (typeof flow === "object" && flow !== null && "Key" in flow)) return "calico-flow";
  if (has("flow", "IP", "lost_events", "rate_limit_info", "node_status", "agent_event", "debug_event")) return "hubble";
  return has("protocol", "destination") ? "packets" : undefined;
}

/** A line that is damaged, or too long for the look at it (an export of many flows at once): told by its first fields. */
function sniffCut(line: string): TrafficFormat | undefined {
  if (/"(?:items|dest_name|source_name|Key)"\s*:/.test(line)) return "calico-flow";
  if (/"flow"\s*:\s*\{/.test(line)) return "hubble";
  return /"source"\s*:\s*"/.test(line) && /"protocol"\s*:/.test(line) ? "packets" : undefined;
}

/** Default fields of version 2, with or without the time that CloudWatch puts in front. */
function isAwsRecord(words: readonly string[]): boolean {
  const at = words.length === 15 ? 1 : 0;
  return words.length - at === 14 && /^[2-9]$/.test(words[at] ?? "") && /^\d{12}$|^unknown$/.test(words[at + 1] ?? "");
}
