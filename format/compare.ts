/** Comparisons for people: text for a terminal, Markdown for a pull request, one page of HTML, and JSON. */

import type { Packet } from "../dataplane/packet.ts";
import { packetToObject } from "../traffic/packetObject.ts";
import type { ComparedGroup, Comparison } from "../verify/compare.ts";
import type { Cost, Spread } from "../verify/cost.ts";
import { coverageRatio } from "../verify/exhaustive.ts";
import type { Answer } from "../verify/lane.ts";
import { type Cell, cut, formatColumns } from "./columns.ts";
import { leftLines, shareText } from "./coverage.ts";
import { escapeHtml, htmlPage, htmlRow } from "./html.ts";
import { resultObject } from "./result.ts";

export const COMPARE_FORMATS = ["table", "json", "md", "html"] as const;
export type CompareFormat = (typeof COMPARE_FORMATS)[number];

/** What one strategy, or the reference, did with the example of a group. */
export interface ShownSide {
  readonly name: string;
  readonly answer: Answer;
  /** Why, in words. */
  readonly because: readonly string[];
  /** The picture of its walk, line by line. */
  readonly walk: readonly string[];
}

export interface ComparisonStyle {
  readonly format: CompareFormat;
  readonly walks: "shown" | "left out";
  /** Of the terminal; undefined: none. */
  readonly columns: number | undefined;
  /** A packet in one line. */
  readonly show: (packet: Packet) => string;
  /** The example of a group under each strategy, in order. */
  readonly sides: (group: ComparedGroup) => readonly ShownSide[];
}

/** Boxes of a group that a person is shown. */
const SHOWN_BOXES = 3;
/** Where no terminal says how wide it is. */
const DEFAULT_COLUMNS = 100;

export function formatComparison(comparison: Comparison, style: ComparisonStyle): readonly string[] {
  switch (style.format) {
    case "json":
      return [JSON.stringify(jsonOf(comparison, style))];
    case "table":
      return textOf(comparison, style);
    case "md":
      return markdownOf(comparison, style);
    case "html":
      return htmlOf(comparison, style);
  }
}

/** The form of interface.md. Packet counts are numbers, exact up to 2^53. */
function jsonOf({ strategies, groups, cost, coverage }: Comparison, { show, sides, walks }: ComparisonStyle) {
  return {
    strategies,
    groups: groups.map((group) => ({
      cause: group.cause,
      packets: Number(group.packets),
      tuples: group.tuples,
      example: packetToObject(group.example),
      text: show(group.example),
      verdicts: group.verdicts,
      boxes: group.boxes,
      results: sides(group).map(({ name, answer, walk }) => ({
        ...resultObject({ index: 0, id: undefined, strategy: name }, answer),
        ...(walks === "shown" && { walk }),
      })),
    })),
    cost,
    coverage: coverageRatio(coverage),
    notCovered: coverage.left,
  };
}

/** The rule or entry that decided, with where it comes from in the policies. */
function decidedText({ answer: { by }, because }: ShownSide): string {
  if (by.kind === "reference") return because.join("; ");
  const { decidedBy, hops, reason } = by.result;
  if (decidedBy === undefined) {
    if (hops.length === 0) return "no node sees it";
    return reason === undefined ? `no rule on ${hops.at(-1)?.node}` : `${reason} on ${hops.at(-1)?.node}`;
  }
  const origin = decidedBy.origin === undefined ? "" : ` (${decidedBy.origin})`;
  switch (decidedBy.kind) {
    case "rule":
      return `${decidedBy.node} ${decidedBy.table} ${decidedBy.chain} ${decidedBy.rule}${origin}`;
    case "map":
      return `${decidedBy.node} ${decidedBy.map} ${decidedBy.key === "" ? "no entry" : decidedBy.key}${origin}`;
  }
}

interface Column {
  readonly title: string;
  readonly cell: (cost: Cost) => string;
}

const spread = ([min, median, max]: Spread) => (min === max ? String(min) : `${min} · ${median} · ${max}`);

const SIZES: readonly Column[] = [
  { title: "rules", cell: ({ rules }) => String(rules) },
  { title: "chains", cell: ({ chains }) => String(chains) },
  { title: "sets", cell: ({ sets }) => String(sets) },
  { title: "set entries", cell: ({ setEntries }) => String(setEntries) },
  { title: "map entries", cell: ({ mapEntries }) => String(mapEntries) },
  { title: "bytes", cell: ({ bytes }) => String(bytes) },
  { title: "one address changed", cell: (cost) => String(cost.changedByOneAddress ?? "") },
];

const NEW: readonly Column[] = [
  { title: "rules", cell: (cost) => spread(cost.rulesPerNewPacket) },
  { title: "set look-ups", cell: (cost) => spread(cost.setLookupsPerNewPacket) },
  { title: "map look-ups", cell: (cost) => spread(cost.mapLookupsPerNewPacket) },
  { title: "trie look-ups", cell: (cost) => spread(cost.trieLookupsPerNewPacket) },
];

const ESTABLISHED: readonly Column[] = [
  { title: "rules", cell: (cost) => spread(cost.rulesPerEstablishedPacket) },
  { title: "set look-ups", cell: (cost) => spread(cost.setLookupsPerEstablishedPacket) },
  { title: "map look-ups", cell: (cost) => spread(cost.mapLookupsPerEstablishedPacket) },
  { title: "trie look-ups", cell: (cost) => spread(cost.trieLookupsPerEstablishedPacket) },
];

interface CostTable {
  readonly title: string;
  readonly rows: readonly (readonly string[])[];
}

/** One row a strategy; first the heads. */
function costTables({ strategies, cost }: Comparison): readonly CostTable[] {
  const table = (title: string, columns: readonly Column[]): CostTable => ({
    title,
    rows: [
      ["", ...columns.map((column) => column.title)],
      ...strategies.flatMap((name) => {
        const own = cost[name];
        return own === undefined ? [] : [[name, ...columns.map(({ cell }) => cell(own))]];
      }),
    ],
  });
  return [
    table("What the nodes hold, and the lines or entries that differ when the pod in most peers moves", SIZES),
    table("What a new packet meets: least · median · most", NEW),
    table("What a packet of an established connection meets", ESTABLISHED),
  ];
}

function summary({ groups, coverage, strategies }: Comparison): string {
  const found = ["no difference", "1 kind of difference"][groups.length] ?? `${groups.length} kinds of difference`;
  return `${strategies.join(", ")}: ${found}; ${coverage.tuples} classes of packets asked, ${shareText(coverageRatio(coverage))} of all first packets`;
}

function causeText({ cause, tuples }: ComparedGroup): string {
  return `${cause || "no cause is declared"} (${tuples} classes)`;
}

function shownBoxes({ boxes }: ComparedGroup): readonly string[] {
  const more = boxes.length - SHOWN_BOXES;
  return more > 0 ? [...boxes.slice(0, SHOWN_BOXES), `and ${more} more`] : boxes;
}

function textOf(comparison: Comparison, style: ComparisonStyle): readonly string[] {
  const columns = style.columns ?? DEFAULT_COLUMNS;
  const lines = [...wrapped(summary(comparison), { columns, first: "", rest: "  " })];
  for (const line of leftLines(comparison.coverage.left)) {
    lines.push(...wrapped(line, { columns, first: "  ", rest: "    " }));
  }
  for (const group of comparison.groups) {
    const sides = style.sides(group);
    const rows = sides.map((side): readonly Cell[] => [
      { text: `    ${side.name}` },
      { text: side.answer.verdict },
      { text: decidedText(side) },
    ]);
    lines.push("", ...wrapped(causeText(group), { columns, first: "", rest: "  " }));
    lines.push(cut(`  e.g. ${style.show(group.example)}`, columns));
    lines.push(...formatColumns(rows, { columns, elastic: [2] }));
    for (const box of shownBoxes(group)) lines.push(...wrapped(box, { columns, first: "  ", rest: "    " }));
    if (style.walks === "shown") {
      for (const { name, walk } of sides)
        lines.push("", `  ${name}`, ...walk.map((line) => (line ? `    ${line}` : "")));
    }
  }
  for (const { title, rows } of costTables(comparison)) {
    const cells = rows.map((row) => row.map((text, at): Cell => ({ text, align: at === 0 ? "left" : "right" })));
    lines.push("", title, ...formatColumns(cells));
  }
  return lines;
}

interface Wrapping {
  readonly columns: number;
  /** What the first line begins with, and what the others do. */
  readonly first: string;
  readonly rest: string;
}

/** The text in lines of at most so many columns, broken at blanks. */
function wrapped(text: string, { columns, first, rest }: Wrapping): readonly string[] {
  const lines: string[] = [];
  let line = first;
  let isEmpty = true;
  for (const word of text.split(" ")) {
    if (!isEmpty && line.length + 1 + word.length > columns) {
      lines.push(line);
      line = rest;
      isEmpty = true;
    }
    line += isEmpty ? word : ` ${word}`;
    isEmpty = false;
  }
  return [...lines, line];
}

function markdownRow(cells: readonly string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
}

/** Text that stands for itself: no emphasis, links, elements or code of its own. */
function markdownText(text: string): string {
  return text.replace(/[\\`*_[\]<>]/g, "\\$&");
}

function markdownOf(comparison: Comparison, style: ComparisonStyle): readonly string[] {
  const lines = ["## Comparison", "", markdownText(summary(comparison)), ""];
  const left = leftLines(comparison.coverage.left);
  if (left.length > 0) lines.push(...left.map((line) => `- ${markdownText(line)}`), "");
  for (const [index, group] of comparison.groups.entries()) {
    const sides = style.sides(group);
    lines.push(`### ${index + 1}. ${markdownText(causeText(group))}`, "", `\`${style.show(group.example)}\``, "");
    lines.push(markdownRow(["strategy", "verdict", "decided by"]), markdownRow(["---", "---", "---"]));
    for (const side of sides) {
      lines.push(markdownRow([side.name, side.answer.verdict, markdownText(decidedText(side))]));
    }
    lines.push("", ...shownBoxes(group).map((box) => `- ${markdownText(box)}`), "");
    if (style.walks === "shown") {
      for (const { name, walk } of sides) lines.push(`Walk under ${name}:`, "", "```", ...walk, "```", "");
    }
  }
  lines.push("### Cost", "");
  for (const { title, rows } of costTables(comparison)) {
    const [head = [], ...body] = rows;
    lines.push(`${title}.`, "", markdownRow(head), markdownRow(head.map((_, at) => (at === 0 ? "---" : "---:"))));
    lines.push(...body.map(markdownRow), "");
  }
  return lines.slice(0, -1);
}

function htmlOf(comparison: Comparison, style: ComparisonStyle): readonly string[] {
  const body = ["<h1>Comparison</h1>", `<p>${escapeHtml(summary(comparison))}</p>`];
  const left = leftLines(comparison.coverage.left);
  if (left.length > 0) body.push("<ul>", ...left.map((line) => `<li>${escapeHtml(line)}</li>`), "</ul>");
  for (const group of comparison.groups) {
    const sides = style.sides(group);
    body.push(
      `<h2>${escapeHtml(causeText(group))}</h2>`,
      `<p><code>${escapeHtml(style.show(group.example))}</code></p>`,
    );
    body.push("<table><thead>", htmlRow("th", ["strategy", "verdict", "decided by"]), "</thead><tbody>");
    for (const side of sides) {
      const verdict = `<td class="${side.answer.verdict}">${side.answer.verdict}</td>`;
      body.push(`<tr><td>${escapeHtml(side.name)}</td>${verdict}<td>${escapeHtml(decidedText(side))}</td></tr>`);
    }
    body.push("</tbody></table>", "<ul>", ...shownBoxes(group).map((box) => `<li>${escapeHtml(box)}</li>`), "</ul>");
    body.push('<details><summary>The walks, side by side</summary><div class="walks">');
    for (const { name, walk } of sides) {
      body.push(`<section><h3>${escapeHtml(name)}</h3><pre>${escapeHtml(walk.join("\n"))}</pre></section>`);
    }
    body.push("</div></details>");
  }
  body.push("<h2>Cost</h2>");
  for (const { title, rows } of costTables(comparison)) {
    const [head = [], ...rest] = rows;
    body.push(`<table><caption>${escapeHtml(title)}</caption><thead>`, htmlRow("th", head), "</thead><tbody>");
    body.push(...rest.map((row) => htmlRow("td", row)), "</tbody></table>");
  }
  return htmlPage({ title: "chainwalk comparison", body, data: jsonOf(comparison, { ...style, walks: "left out" }) });
}
