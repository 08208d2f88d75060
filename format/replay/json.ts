/** A report as one JSON object, written piece by piece: a recording can have more flows than one string can hold. */
import type { ReplayReport } from "../../replay/report.ts";
import { type Comparison, flowObject, groupObject, type ReportNumbers, totalsObject } from "./flowObject.ts";
import { storyObjects } from "./story.ts";

/** Unknown addresses that are listed; their number is in the totals. */
const LISTED_ADDRESSES = 1000;

export interface JsonReportOptions extends ReportNumbers {
  readonly comparison: Comparison;
  readonly notes: readonly string[];
}

export function* formatJsonReport(report: ReplayReport, options: JsonReportOptions): Generator<string> {
  const { comparison, notes } = options;
  yield `{"totals":${JSON.stringify(totalsObject(report, options))}`;
  yield* list(',"flows":[', objects(report, comparison, "all"));
  if (comparison !== "none") {
    yield* list(',"changed":[', objects(report, comparison, "changed"));
    const changes = report.changes().map((group) => groupObject(report, group, comparison));
    yield `,"changes":${JSON.stringify(changes)}`;
  }
  yield `,"denied":${JSON.stringify(report.denied().map((group) => groupObject(report, group, "none")))}`;
  const { timeline, tally, story } = report.options;
  if (story !== undefined) yield `,"story":${JSON.stringify(storyObjects(report))}`;
  yield `,"timeline":${JSON.stringify({ bucketSeconds: timeline.bucketSeconds, buckets: timeline.buckets() })}`;
  yield `,"unknown":${JSON.stringify(tally.unknownAddresses().slice(0, LISTED_ADDRESSES))}`;
  yield `,"notes":${JSON.stringify(notes)}}\n`;
}

function* objects(report: ReplayReport, comparison: Comparison, which: "all" | "changed"): Generator<string> {
  for (const flow of which === "all" ? report.flows() : report.changed()) {
    yield JSON.stringify(flowObject(report, flow, comparison));
  }
}

function* list(open: string, items: Iterable<string>): Generator<string> {
  let separator = open;
  for (const item of items) {
    yield separator + item;
    separator = ",";
  }
  yield separator === open ? `${open}]` : "]";
}
