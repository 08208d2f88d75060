/** A report as a comment on a pull request. */
import type { FlowGroup, ReplayReport } from "../../replay/report.ts";
import type { Comparison, ReportNumbers } from "./flowObject.ts";
import { isCount, STORY_HEAD, storyCells } from "./story.ts";
import { walksOf } from "./walks.ts";
import { firstText, flowText, headline, policiesText, portsText, verdictsText } from "./words.ts";

export interface MarkdownOptions extends ReportNumbers {
  readonly comparison: Comparison;
  /** Rows of each table. */
  readonly top: number;
  readonly notes: readonly string[];
}

export function* formatReplayMarkdown(report: ReplayReport, options: MarkdownOptions): Generator<string> {
  const { comparison, top, notes } = options;
  const { tally } = report.options;
  const [first = "", ...others] = headline(report, comparison, options);
  const verdict = comparison === "none" ? first : (others.shift() ?? first);
  yield `### ${comparison === "change" && tally.nowRefused > 0 ? "❌ " : comparison === "change" ? "✅ " : ""}${capital(verdict)}`;
  yield "";
  for (const line of comparison === "none" ? others : [first, ...others]) yield `${capital(line)}.  `;
  const story = report.story();
  if (story.length > 0) yield* table(STORY_HEAD, story.slice(0, top).map(storyCells));
  const changes = report.changes();
  if (comparison !== "none" && changes.length > 0) {
    const verdicts = report.options.sides.map(({ name }) => name).join(" → ");
    yield* table(
      [verdicts, ...HEAD],
      changes.slice(0, top).map((group) => [verdictsText(group), ...cells(group)]),
    );
    for (const group of changes.slice(0, top)) {
      yield "";
      yield `<details><summary>${verdictsText(group)}: <code>${html(flowText(group.example))}</code></summary>`;
      yield "";
      yield `First packet at ${firstText(group.example)}.`;
      for (const { side, lines } of walksOf(report, group.example)) {
        yield "";
        yield `**${side}**`;
        yield "";
        yield "```";
        yield* lines;
        yield "```";
      }
      yield "";
      yield "</details>";
    }
  }
  const denied = report.denied();
  if (denied.length > 0) {
    yield "";
    yield "#### Most refused";
    yield* table(
      HEAD,
      denied.slice(0, top).map((group) => cells(group)),
    );
  }
  const unknown = tally.unknownAddresses();
  if (unknown.length > 0) {
    yield "";
    const shown = unknown.slice(0, top).map(({ address }) => `\`${address}\``);
    yield `Addresses of no pod and no node: ${shown.join(", ")}${unknown.length > top ? ` and ${unknown.length - top} more` : ""}.`;
  }
  for (const note of notes) {
    yield "";
    yield `> ${note}`;
  }
}

const COUNTS: ReadonlySet<string> = new Set(["flows", "packets", ...STORY_HEAD.filter(isCount)]);

const HEAD = ["policy", "source", "destination", "ports", "flows", "packets"];

function cells(group: FlowGroup): readonly string[] {
  const { source, destination, flows, packets } = group;
  return [policiesText(group), source, destination, portsText(group), String(flows), String(packets)];
}

function* table(head: readonly string[], rows: readonly (readonly string[])[]): Generator<string> {
  yield "";
  yield row(head);
  yield row(head.map((name) => (COUNTS.has(name) ? "--:" : "---")));
  for (const each of rows) yield row(each);
}

function row(texts: readonly string[]): string {
  return `| ${texts.map((text) => text.replaceAll("|", "\\|")).join(" | ")} |`;
}

function html(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
