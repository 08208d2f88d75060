/** Comparisons for people: tables on a terminal, Markdown for a pull request, one page of HTML, and JSON. */
import type { Packet } from "../../dataplane/packet.ts";
import type { ComparedGroup, Comparison } from "../../verify/compare.ts";
import type { Cost, Spread } from "../../verify/cost.ts";
import { coverageRatio } from "../../verify/exhaustive.ts";
import { formatColumns } from "./columns.ts";

export const COMPARE_FORMATS = ["table", "json", "md", "html"] as const;
export type CompareFormat = (typeof COMPARE_FORMATS)[number];

/** Boxes of a group that a person is shown. */
const SHOWN_BOXES = 3;

/** `show` writes a packet in one line. */
export function formatComparison(
  comparison: Comparison,
  format: CompareFormat,
  show: (packet: Packet) => string,
): readonly string[] {
  switch (format) {
    case "json":
      return [JSON.stringify(jsonOf(comparison, show))];
    case "table":
      return tableOf(comparison, show);
    case "md":
      return markdownOf(comparison, show);
    case "html":
      return htmlOf(comparison, show);
  }
}

type Show = (packet: Packet) => string;

/** The form of interface.md. Packet counts are numbers, exact up to 2^53. */
function jsonOf({ strategies, groups, cost, coverage }: Comparison, show: Show) {
  return {
    strategies,
    groups: groups.map(({ cause, packets, tuples, example, verdicts, boxes }) => ({
      cause,
      packets: Number(packets),
      tuples,
      example: show(example),
      verdicts,
      boxes,
    })),
    cost,
    coverage: coverageRatio(coverage),
  };
}

interface Row {
  readonly title: string;
  readonly cell: (cost: Cost) => string;
}

const spread = ([min, median, max]: Spread) => `${min} · ${median} · ${max}`;

const COST_ROWS: readonly Row[] = [
  { title: "rules", cell: ({ rules }) => String(rules) },
  { title: "chains", cell: ({ chains }) => String(chains) },
  { title: "sets", cell: ({ sets }) => String(sets) },
  { title: "set entries", cell: ({ setEntries }) => String(setEntries) },
  { title: "map entries", cell: ({ mapEntries }) => String(mapEntries) },
  { title: "bytes", cell: ({ bytes }) => String(bytes) },
  { title: "rules, new packet (min · median · max)", cell: (cost) => spread(cost.rulesPerNewPacket) },
  { title: "rules, established packet", cell: (cost) => spread(cost.rulesPerEstablishedPacket) },
  { title: "set look-ups, new packet", cell: (cost) => spread(cost.setLookupsPerNewPacket) },
  { title: "map look-ups, new packet", cell: (cost) => spread(cost.mapLookupsPerNewPacket) },
  { title: "trie look-ups, new packet", cell: (cost) => spread(cost.trieLookupsPerNewPacket) },
  { title: "lines or entries changed by one address", cell: (cost) => String(cost.changedByOneAddress) },
];

function costTable({ strategies, cost }: Comparison): readonly (readonly string[])[] {
  const names = strategies.filter((name) => cost[name] !== undefined);
  return [
    ["", ...names],
    ...COST_ROWS.map(({ title, cell }) => [title, ...names.map((name) => (cost[name] ? cell(cost[name]) : ""))]),
  ];
}

function summary({ groups, coverage, strategies }: Comparison): string {
  const asked = `${coverage.tuples} classes of packets asked, ${(coverageRatio(coverage) * 100).toFixed(4).replace(/\.?0+$/, "")} % of all first packets`;
  const found = groups.length === 0 ? "no difference" : `${groups.length} kinds of difference`;
  return `${strategies.join(", ")}: ${found}; ${asked}`;
}

function tableOf(comparison: Comparison, show: Show): readonly string[] {
  const lines = [summary(comparison)];
  for (const group of comparison.groups) {
    lines.push("", causeText(group), `  ${verdictsText(group)}`, `  e.g. ${show(group.example)}`);
    lines.push(...shownBoxes(group).map((box) => `  ${box}`));
  }
  const table = costTable(comparison).map((row) =>
    row.map((text, column) => ({ text, align: column === 0 ? ("left" as const) : ("right" as const) })),
  );
  return [...lines, "", ...formatColumns(table)];
}

function causeText({ cause, tuples }: ComparedGroup): string {
  return `${cause || "no cause is declared"} (${tuples} classes)`;
}

function verdictsText({ verdicts }: ComparedGroup): string {
  return Object.entries(verdicts)
    .map(([name, verdict]) => `${name} ${verdict}`)
    .join(" · ");
}

function shownBoxes({ boxes }: ComparedGroup): readonly string[] {
  const more = boxes.length - SHOWN_BOXES;
  return more > 0 ? [...boxes.slice(0, SHOWN_BOXES), `and ${more} more`] : boxes;
}

function markdownOf(comparison: Comparison, show: Show): readonly string[] {
  const [head = [], ...body] = costTable(comparison);
  const row = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  const names = comparison.strategies;
  return [
    "## Comparison",
    "",
    summary(comparison),
    "",
    ...(comparison.groups.length === 0
      ? []
      : [
          row(["cause", ...names, "example", "where"]),
          row(["---", ...names.map(() => "---"), "---", "---"]),
          ...comparison.groups.map((group) =>
            row([
              causeText(group),
              ...names.map((name) => group.verdicts[name] ?? ""),
              `\`${show(group.example)}\``,
              shownBoxes(group).join("; "),
            ]),
          ),
          "",
        ]),
    "### Cost",
    "",
    row(head),
    row(head.map((_, column) => (column === 0 ? "---" : "---:"))),
    ...body.map(row),
  ];
}

function htmlOf(comparison: Comparison, show: Show): readonly string[] {
  const [head = [], ...body] = costTable(comparison);
  const cells = (tag: "td" | "th", row: readonly string[]) =>
    row.map((cell) => `<${tag}>${escapeHtml(cell)}</${tag}>`).join("");
  const names = comparison.strategies;
  const groups = comparison.groups.map((group) => {
    const verdicts = names.map((name) => `<td class="${group.verdicts[name]}">${group.verdicts[name] ?? ""}</td>`);
    const where = shownBoxes(group).map(escapeHtml).join("<br>");
    return `<tr><td>${escapeHtml(causeText(group))}</td>${verdicts.join("")}<td><code>${escapeHtml(show(group.example))}</code></td><td>${where}</td></tr>`;
  });
  // "<" is escaped in the data too: a name cannot end the script element.
  const data = JSON.stringify(jsonOf(comparison, show)).replaceAll("<", "\\u003c");
  return [
    "<!doctype html>",
    '<html lang="en"><head><meta charset="utf-8"><title>chainwalk comparison</title><style>',
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:80rem;padding:0 1rem}",
    "table{border-collapse:collapse;margin:1rem 0}td,th{border:1px solid #8884;padding:.3rem .6rem;text-align:left;vertical-align:top}",
    ".accept{color:#176f2c}.drop,.reject{color:#b3261e}@media(prefers-color-scheme:dark){body{background:#111;color:#eee}.accept{color:#7ddc8f}.drop,.reject{color:#ff8a80}}",
    "</style></head><body>",
    "<h1>Comparison</h1>",
    `<p>${escapeHtml(summary(comparison))}</p>`,
    ...(groups.length === 0
      ? []
      : [
          "<table><thead>",
          `<tr>${cells("th", ["cause", ...names, "example", "where"])}</tr></thead><tbody>`,
          ...groups,
          "</tbody></table>",
        ]),
    "<h2>Cost</h2>",
    `<table><thead><tr>${cells("th", head)}</tr></thead><tbody>`,
    ...body.map((row) => `<tr>${cells("td", row)}</tr>`),
    "</tbody></table>",
    `<script type="application/json" id="data">${data}</script>`,
    "</body></html>",
  ];
}

function escapeHtml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
