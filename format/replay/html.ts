/** A report as one page that needs nothing else: no script, no font, no request. */
import type { ChangeGroup, FlowGroup, MatrixCell, ReplayReport } from "../../replay/report.ts";
import { escapeHtml, htmlPage, htmlRow } from "../html.ts";
import { type Comparison, groupObject, type ReportNumbers, totalsObject } from "./flowObject.ts";
import { STORY_HEAD, storyCells } from "./story.ts";
import { walksOf } from "./walks.ts";
import { counted, firstText, flowText, headline, policiesText, portsText, timeText, verdictsText } from "./words.ts";

export interface HtmlOptions extends ReportNumbers {
  readonly comparison: Comparison;
  /** Rows of each table. */
  readonly top: number;
  readonly notes: readonly string[];
}

const STYLE = [
  ":root{--pass:#2e7d4f;--refuse:#c2402f;--change:#b7791f;--ink:#1c2430;--soft:#5d6b7a;--line:#d9dee5;--panel:#f6f8fa}",
  "@media(prefers-color-scheme:dark){:root{--pass:#5dbb83;--refuse:#ef7a6b;--change:#e0a84e;--ink:#e6ebf1;--soft:#9aa7b5;--line:#39424e;--panel:#1a2028}}",
  "body{color:var(--ink);max-width:76rem}h1{font-size:1.4rem;margin-bottom:.2rem}h2{font-size:1.05rem;margin:2rem 0 .5rem}",
  ".sub,.axis,.note{color:var(--soft)}.axis{font-size:11px;fill:var(--soft)}.figures{display:flex;gap:1rem;flex-wrap:wrap;margin:1rem 0}",
  ".figure{background:var(--panel);border:1px solid var(--line);border-radius:6px;padding:.6rem 1rem;min-width:7rem}.figure b{display:block;font-size:1.5rem}",
  "table.rows{width:100%}table.rows td,table.rows th{border:0;border-bottom:1px solid var(--line)}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}",
  "pre{background:var(--panel);padding:.8rem;overflow-x:auto;border-radius:6px}details{margin:.4rem 0}summary{cursor:pointer}",
  ".scroll{overflow-x:auto}.pass{fill:var(--pass)}.refuse{fill:var(--refuse)}.grid{stroke:var(--line)}svg text{font-family:system-ui,sans-serif;fill:var(--ink)}",
  ".accept{color:var(--pass)}.drop,.reject{color:var(--refuse)}.walks>section{min-width:0;flex:1}",
];

export function* formatReplayHtml(report: ReplayReport, options: HtmlOptions): Generator<string> {
  const { comparison, top, notes } = options;
  const [first = "", ...others] = headline(report, comparison, options);
  const changes = comparison === "none" ? [] : report.changes();
  const denied = report.denied();
  const body = [
    `<style>${STYLE.join("\n")}</style>`,
    `<h1>${escapeHtml(comparison === "none" ? "Replay" : (others[0] ?? "Replay"))}</h1>`,
    `<p class="sub">${escapeHtml([first, ...others.slice(comparison === "none" ? 0 : 1)].join(" · "))}</p>`,
    figures(report, comparison),
    ...timeline(report),
    ...storyTable(report, top),
    ...heatMap(report.matrix()),
    ...changeSections(report, changes.slice(0, top), comparison),
    ...groupTable("Most refused", denied.slice(0, top)),
    ...unknownTable(report, top),
    ...notes.map((note) => `<p class="note">${escapeHtml(note)}</p>`),
  ];
  const data = {
    totals: totalsObject(report, options),
    changes: changes.slice(0, top).map((group) => groupObject(report, group, comparison)),
    denied: denied.slice(0, top).map((group) => groupObject(report, group, "none")),
  };
  yield* htmlPage({ title: "chainwalk replay", body, data });
}

function figures({ options: { tally } }: ReplayReport, comparison: Comparison): string {
  const [accept, drop, reject] = tally.flowVerdicts;
  const shown: (readonly [string | number, string])[] = [
    [tally.packets, "packets"],
    [tally.flows, "flows"],
    [accept, "pass"],
    [drop + reject, "refused"],
  ];
  if (comparison === "change") shown.push([tally.nowRefused, "refused by the change"]);
  if (comparison === "strategies") shown.push([tally.changed, "judged differently"]);
  shown.push([tally.unknownAddressCount, "unknown addresses"]);
  const boxes = shown.map(([number, what]) => `<div class="figure"><b>${number}</b>${escapeHtml(what)}</div>`);
  return `<div class="figures">${boxes.join("")}</div>`;
}

const WIDTH = 1100;
const HEIGHT = 150;
const LEFT = 46;

/** Packets over time: what passed upwards, what was refused downwards from the same line, each to its own scale. */
function timeline({ options }: ReplayReport): readonly string[] {
  const buckets = options.timeline.buckets();
  if (buckets.length === 0) return [];
  const { bucketSeconds } = options.timeline;
  const refused = buckets.map(({ drop, reject }) => drop + reject);
  const mostPassed = Math.max(1, ...buckets.map(({ accept }) => accept));
  const mostRefused = Math.max(1, ...refused);
  const middle = 92;
  const step = (WIDTH - LEFT) / Math.max(buckets.length, 24);
  const bars = buckets.flatMap(({ time, accept }, index) => {
    const x = (LEFT + index * step).toFixed(1);
    const width = Math.max(1, step - 1).toFixed(1);
    const up = (accept / mostPassed) * 80;
    const down = ((refused[index] ?? 0) / mostRefused) * 36;
    const title = `<title>${escapeHtml(timeText(time))}: ${accept} passed, ${refused[index]} refused</title>`;
    return [
      accept > 0 ? bar("pass", { x, y: middle - Math.max(1, up), width, height: Math.max(1, up), title }) : "",
      (refused[index] ?? 0) > 0 ? bar("refuse", { x, y: middle + 1, width, height: Math.max(1, down), title }) : "",
    ];
  });
  const first = buckets[0]?.time ?? 0;
  const last = (buckets.at(-1)?.time ?? 0) + bucketSeconds;
  return [
    `<h2>Over time</h2><div class="scroll"><svg viewBox="0 0 ${WIDTH} ${HEIGHT}" width="100%" role="img" aria-label="packets over time">`,
    `<line class="grid" x1="${LEFT}" x2="${WIDTH}" y1="${middle}" y2="${middle}"/>`,
    `<text class="axis" x="${LEFT - 6}" y="18" text-anchor="end">${mostPassed}</text><text class="axis" x="${LEFT - 6}" y="${middle + 38}" text-anchor="end">${Math.max(0, ...refused)}</text>`,
    ...bars,
    `<text class="axis" x="${LEFT}" y="${HEIGHT - 6}">${escapeHtml(timeText(first))}</text>`,
    `<text class="axis" x="${WIDTH}" y="${HEIGHT - 6}" text-anchor="end">${escapeHtml(timeText(last))}, ${bucketSeconds} s a bar</text>`,
    "</svg></div>",
    '<p class="note"><span class="accept">■</span> packets that pass, upwards &nbsp; <span class="drop">■</span> packets refused, downwards; each to its own scale</p>',
  ];
}

interface Bar {
  readonly x: string;
  readonly y: number;
  readonly width: string;
  readonly height: number;
  readonly title: string;
}

function bar(look: string, { x, y, width, height, title }: Bar): string {
  return `<rect class="${look}" x="${x}" y="${y.toFixed(1)}" width="${width}" height="${height.toFixed(1)}">${title}</rect>`;
}

/** Workloads of a side that fit a page; the rest of a large cluster is in the tables. */
const MAX_WORKLOADS = 40;
const CELL = 26;
const LABEL_CHARACTERS = 34;

/**
 * Sources down, destinations across. The colour says what share of the flows is refused, the strength how many there are
 * (logarithmic, or a scan would leave everything else white).
 */
function heatMap(cells: readonly MatrixCell[]): readonly string[] {
  if (cells.length === 0) return [];
  const busiest = (end: "source" | "destination"): readonly string[] => {
    const flows = new Map<string, number>();
    for (const cell of cells) flows.set(cell[end], (flows.get(cell[end]) ?? 0) + cell.accepted + cell.refused);
    const kept = [...flows].sort(([, a], [, b]) => b - a).slice(0, MAX_WORKLOADS);
    return kept.map(([name]) => name).sort();
  };
  const sources = busiest("source");
  const destinations = busiest("destination");
  const label = (name: string) =>
    escapeHtml(name.length > LABEL_CHARACTERS ? `${name.slice(0, LABEL_CHARACTERS - 1)}…` : name);
  const left = 7 * Math.min(LABEL_CHARACTERS, Math.max(...sources.map(({ length }) => length))) + 16;
  const topSpace = 5.2 * Math.min(LABEL_CHARACTERS, Math.max(...destinations.map(({ length }) => length))) + 20;
  const most = Math.max(...cells.map(({ accepted, refused }) => accepted + refused));
  const width = left + destinations.length * CELL + topSpace;
  const height = topSpace + sources.length * CELL + 8;
  const squares = cells.flatMap((cell) => {
    const [row, column] = [sources.indexOf(cell.source), destinations.indexOf(cell.destination)];
    if (row < 0 || column < 0) return [];
    const total = cell.accepted + cell.refused;
    const strength = 0.25 + 0.75 * (Math.log1p(total) / Math.log1p(most));
    const hue = 145 - 138 * (cell.refused / total);
    const fill = `hsl(${hue.toFixed(0)} 55% 45% / ${strength.toFixed(2)})`;
    const [x, y] = [left + column * CELL, topSpace + row * CELL];
    const text = `${cell.source} > ${cell.destination}: ${cell.accepted} pass, ${cell.refused} refused${cell.changed > 0 ? `, ${cell.changed} change` : ""}`;
    const frame = cell.changed > 0 ? ' stroke="var(--change)" stroke-width="3"' : "";
    const inner = frame === "" ? 0 : 1.5;
    return [
      `<rect x="${x + 1 + inner}" y="${y + 1 + inner}" width="${CELL - 2 - 2 * inner}" height="${CELL - 2 - 2 * inner}" rx="3" fill="${fill}"${frame}><title>${escapeHtml(text)}</title></rect>`,
      `<text x="${x + CELL / 2}" y="${y + CELL / 2 + 4}" text-anchor="middle" font-size="10" pointer-events="none">${total > 999 ? `${Math.round(total / 1000)}k` : total}</text>`,
    ];
  });
  return [
    "<h2>Source × destination</h2>",
    `<div class="scroll"><svg viewBox="0 0 ${width.toFixed(0)} ${height.toFixed(0)}" width="${width.toFixed(0)}" role="img" aria-label="flows by source and destination workload">`,
    ...sources.map(
      (name, row) =>
        `<text x="${left - 8}" y="${topSpace + row * CELL + CELL / 2 + 4}" text-anchor="end" font-size="12">${label(name)}</text>`,
    ),
    ...destinations.map((name, column) => {
      const [x, y] = [left + column * CELL + CELL / 2 + 4, topSpace - 6];
      return `<text x="${x}" y="${y.toFixed(0)}" font-size="12" transform="rotate(-45 ${x} ${y.toFixed(0)})">${label(name)}</text>`;
    }),
    ...squares,
    "</svg></div>",
    '<p class="note">Flows; green pass, red are refused, between them a share; framed: the sides differ</p>',
  ];
}

function storyTable(report: ReplayReport, top: number): readonly string[] {
  const story = report.story();
  if (story.length === 0) return [];
  const rows = story.slice(0, top).map((step) => htmlRow("td", storyCells(step)));
  return [
    "<h2>Story</h2>",
    `<table class="rows"><thead>${htmlRow("th", STORY_HEAD)}</thead><tbody>`,
    ...rows,
    "</tbody></table>",
  ];
}

function changeSections(
  report: ReplayReport,
  changes: readonly ChangeGroup[],
  comparison: Comparison,
): readonly string[] {
  if (comparison === "none") return [];
  if (changes.length === 0) return ["<h2>What changes</h2><p>Nothing that was seen.</p>"];
  return [
    "<h2>What changes</h2>",
    ...groupRows(changes, (group) => verdictsText(group)),
    ...changes.flatMap((group) => {
      const walks = walksOf(report, group.example).map(
        ({ side, verdict, lines }) =>
          `<section><h3>${escapeHtml(side)}: <span class="${verdict}">${verdict}</span></h3><pre>${escapeHtml(lines.join("\n"))}</pre></section>`,
      );
      return [
        `<details><summary>${escapeHtml(verdictsText(group))}: <code>${escapeHtml(flowText(group.example))}</code>, first packet at ${escapeHtml(firstText(group.example))}</summary>`,
        `<div class="walks">${walks.join("")}</div></details>`,
      ];
    }),
  ];
}

function groupTable(title: string, groups: readonly FlowGroup[]): readonly string[] {
  if (groups.length === 0) return [];
  return [`<h2>${escapeHtml(title)}</h2>`, ...groupRows(groups, ({ example }) => example.main.verdict)];
}

function groupRows<T extends FlowGroup>(groups: readonly T[], verdict: (group: T) => string): readonly string[] {
  const head =
    '<tr><th>verdict</th><th>policy</th><th>source</th><th>destination</th><th>ports</th><th class="n">flows</th><th class="n">packets</th></tr>';
  const rows = groups.map((group) => {
    const cells = [verdict(group), policiesText(group), group.source, group.destination, portsText(group)];
    return `<tr>${cells.map((cell) => `<td>${escapeHtml(cell)}</td>`).join("")}<td class="n">${group.flows}</td><td class="n">${group.packets}</td></tr>`;
  });
  return [`<table class="rows"><thead>${head}</thead><tbody>`, ...rows, "</tbody></table>"];
}

function unknownTable({ options: { tally } }: ReplayReport, top: number): readonly string[] {
  const unknown = tally.unknownAddresses();
  if (unknown.length === 0) return [];
  const rows = unknown
    .slice(0, top)
    .map(({ address, flows, packets, isPodAddress }) =>
      htmlRow("td", [
        address,
        counted(flows, "flow"),
        counted(packets, "packet"),
        isPodAddress ? "of a node's pod range" : "outside, or a Service whose manifests are not given",
      ]),
    );
  return ["<h2>Addresses of no pod and no node</h2>", '<table class="rows"><tbody>', ...rows, "</tbody></table>"];
}
