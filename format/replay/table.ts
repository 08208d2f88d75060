/** A report for a terminal. */
import { protocolName } from "../../dataplane/packet.ts";
import type { ChangeGroup, FlowReport, ReplayReport } from "../../replay/report.ts";
import { isRefused } from "../../replay/report.ts";
import { type Cell, formatColumns } from "../columns.ts";
import type { Paint } from "../paint.ts";
import { formatDecision } from "../trace.ts";
import type { Comparison, ReportNumbers } from "./flowObject.ts";
import { isCount, STORY_HEAD, storyCells } from "./story.ts";
import { walksOf } from "./walks.ts";
import { firstText, flowText, headline, policiesText, portsText, timeText, verdictsText } from "./words.ts";

export interface TableOptions extends ReportNumbers {
  readonly comparison: Comparison;
  /** Rows of each table. */
  readonly top: number;
  readonly paint: Paint;
  readonly columns: number | undefined;
}

export function* formatReplayTable(report: ReplayReport, options: TableOptions): Generator<string> {
  const { paint, comparison } = options;
  const [first = "", ...others] = headline(report, comparison, options);
  yield paint.strong(first);
  yield* others;
  yield* storyTable(report, options);
  if (comparison !== "none") yield* changesTable(report, options);
  yield* deniedTable(report, options);
  if (comparison === "none") yield* flowsTable(report, options);
  yield* timelineRows(report, options);
  yield* unknownTable(report, options);
}

const right = (text: string | number): Cell => ({ text: String(text), align: "right" });

function* table(head: readonly string[], rows: readonly (readonly Cell[])[], options: TableOptions): Generator<string> {
  const heads = head.map((text, index): Cell => ({ text, look: "faint", align: rows[0]?.[index]?.align ?? "left" }));
  const elastic = head.flatMap((name, index) => (name === "decided by" || name === "flow" ? [index] : []));
  yield* formatColumns([heads, ...rows], { paint: options.paint, columns: options.columns, elastic });
}

function* more(total: number, top: number): Generator<string> {
  if (total > top) yield `… and ${total - top} more: --top ${total} shows all`;
}

function* storyTable(report: ReplayReport, options: TableOptions): Generator<string> {
  const story = report.story();
  if (story.length === 0) return;
  yield "";
  yield options.paint.strong("Story");
  const rows = story
    .slice(0, options.top)
    .map((step) => storyCells(step).map((text, index) => (isCount(STORY_HEAD[index] ?? "") ? right(text) : { text })));
  yield* table(STORY_HEAD, rows, options);
  yield* more(story.length, options.top);
}

function* changesTable(report: ReplayReport, options: TableOptions): Generator<string> {
  const { top, paint } = options;
  const changes = report.changes();
  if (changes.length === 0) return;
  yield "";
  yield paint.strong("What changes");
  const rows = changes
    .slice(0, top)
    .map((group): readonly Cell[] => [
      { text: verdictsText(group), look: group.kind === "now accepted" ? "good" : "bad" },
      { text: policiesText(group) },
      { text: group.source },
      { text: group.destination },
      { text: portsText(group) },
      right(group.flows),
      right(group.packets),
    ]);
  const verdicts = report.options.sides.map(({ name }) => name).join(" → ");
  yield* table([verdicts, "policy", "source", "destination", "ports", "flows", "packets"], rows, options);
  yield* more(changes.length, top);
  for (const group of changes.slice(0, SHOWN_WALKS)) yield* walks(report, group, paint);
  if (changes.length > SHOWN_WALKS) {
    yield "";
    yield `the walks of the first ${SHOWN_WALKS} groups are shown; -o html has all`;
  }
}

/** Groups whose walks are shown: a walk is a screen. */
const SHOWN_WALKS = 3;

function* walks(report: ReplayReport, group: ChangeGroup, paint: Paint): Generator<string> {
  yield "";
  yield paint.strong(`${verdictsText(group)}: ${flowText(group.example)}`);
  yield `first packet at ${firstText(group.example)}`;
  for (const { side, verdict, lines } of walksOf(report, group.example)) {
    yield "";
    yield `${paint.strong(side)}: ${verdict === "accept" ? paint.good(verdict) : paint.bad(verdict)}`;
    // The head says the packet again.
    for (const line of lines.slice(1)) yield line === "" ? "" : `  ${line}`;
  }
}

function* deniedTable(report: ReplayReport, options: TableOptions): Generator<string> {
  const { top, paint } = options;
  const denied = report.denied();
  if (denied.length === 0) return;
  yield "";
  yield paint.strong("Most refused");
  const rows = denied
    .slice(0, top)
    .map((group): readonly Cell[] => [
      right(group.flows),
      right(group.packets),
      { text: policiesText(group) },
      { text: group.source },
      { text: group.destination },
      { text: portsText(group) },
      { text: timeText(group.example.firstTime) },
    ]);
  yield* table(["flows", "packets", "policy", "source", "destination", "ports", "first"], rows, options);
  yield* more(denied.length, top);
}

function* flowsTable(report: ReplayReport, options: TableOptions): Generator<string> {
  const { top, paint } = options;
  const shown: FlowReport[] = [];
  for (const flow of report.flows()) {
    if (shown.length >= top) break;
    shown.push(flow);
  }
  if (shown.length === 0) return;
  yield "";
  yield paint.strong("Flows");
  const rows = shown.map((flow): readonly Cell[] => [
    { text: flow.main.verdict, look: isRefused(flow.main.verdict) ? "bad" : "good" },
    { text: flowText(flow).slice(protocolName(flow.packet.protocol).length + 1) },
    { text: protocolName(flow.packet.protocol) },
    right(flow.packets),
    { text: flow.isStartMissing ? "start not seen" : flow.main.ctState },
    { text: decidedText(report, flow) },
  ]);
  yield* table(["verdict", "flow", "protocol", "packets", "state", "decided by"], rows, options);
  yield* more(report.options.tally.flows, top);
}

/** The policies, or the rule that let it pass, and the rule or entry. */
function decidedText(report: ReplayReport, flow: FlowReport): string {
  const { cause } = flow.main;
  const policies = report.refusingPolicies(flow, report.options.main).join(" and ");
  const decision = cause.decision;
  if (decision === undefined) return cause.because?.join("; ") ?? "no node sees it";
  const origin = policies === "" ? (decision.origin ?? "") : policies;
  return `${origin === "" ? "" : `${origin}: `}${formatDecision(decision)}`;
}

/** Eight heights of a bar. */
const BARS = " ▁▂▃▄▅▆▇█";
const DEFAULT_COLUMNS = 100;

function* timelineRows(report: ReplayReport, { paint, columns = DEFAULT_COLUMNS }: TableOptions): Generator<string> {
  const { timeline } = report.options;
  const buckets = timeline.buckets();
  if (buckets.length < 2) return;
  // Neighbours share a character when the terminal is narrower than the recording is long.
  const per = Math.max(1, Math.ceil(buckets.length / Math.max(20, columns - 12)));
  const passed: number[] = [];
  const refused: number[] = [];
  for (const [index, { accept, drop, reject }] of buckets.entries()) {
    const at = Math.floor(index / per);
    passed[at] = (passed[at] ?? 0) + accept;
    refused[at] = (refused[at] ?? 0) + drop + reject;
  }
  const last = buckets.at(-1);
  const from = buckets[0]?.time ?? 0;
  const to = (last?.time ?? 0) + timeline.bucketSeconds;
  yield "";
  yield paint.strong(
    `Packets from ${timeText(from)} to ${timeText(to)}, ${Number((per * timeline.bucketSeconds).toPrecision(12))} s a column`,
  );
  yield `passed   ${paint.good(bars(passed))}  at most ${Math.max(...passed)}`;
  yield `refused  ${paint.bad(bars(refused))}  at most ${Math.max(...refused)}`;
}

function bars(counts: readonly number[]): string {
  const most = Math.max(1, ...counts);
  return counts.map((count) => BARS[count === 0 ? 0 : Math.max(1, Math.round((count / most) * 8))]).join("");
}

function* unknownTable(report: ReplayReport, options: TableOptions): Generator<string> {
  const { top, paint } = options;
  const unknown = report.options.tally.unknownAddresses();
  if (unknown.length === 0) return;
  yield "";
  yield paint.strong("Addresses of no pod and no node");
  const rows = unknown.slice(0, top).map(({ address, flows, packets, isPodAddress }): readonly Cell[] => [
    { text: address },
    right(flows),
    right(packets),
    {
      text: isPodAddress
        ? "of a node's pod range: a pod that the manifests do not have"
        : "outside, or a Service whose manifests are not given",
    },
  ]);
  yield* table(["address", "flows", "packets", "what it may be"], rows, options);
  yield* more(unknown.length, top);
}
