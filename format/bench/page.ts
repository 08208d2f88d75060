/** Benchmark results as one page of HTML that needs nothing else. */
import { compareReports } from "../../bench/compareReports.ts";
import { growthOf } from "../../bench/growth.ts";
import { type BenchResult, suiteOf } from "../../bench/result.ts";
import { SUITES } from "../../bench/suites/registry.ts";
import { escapeHtml, htmlPage, htmlRow } from "../html.ts";
import { CHART_STYLE } from "./chart.ts";
import { figures, plusMinus } from "./figures.ts";
import { suiteChart, suiteRidges } from "./suiteChart.ts";
import type { BenchView } from "./table.ts";

const PAGE_STYLE = [
  ":root{color-scheme:light dark}",
  "body{max-width:60rem;background:#fbfbf9;color:#1d2025;line-height:1.55}",
  "h1{font-size:1.9rem;margin:2.2rem 0 .3rem;letter-spacing:-.02em}h2{font-size:1.2rem;margin:0 0 .2rem}",
  "section{background:#fff;border:1px solid #0001;border-radius:12px;padding:1.2rem 1.4rem;margin:1.2rem 0;box-shadow:0 1px 3px #0000000d}",
  ".summary{color:#666;margin:.1rem 0 1rem;max-width:48rem}.caption{color:#666;font-size:.9em;margin:1.2rem 0 .2rem}",
  ".facts{display:flex;flex-wrap:wrap;gap:.4rem;padding:0;margin:1rem 0;list-style:none}",
  ".facts li{background:#0000000a;border-radius:99px;padding:.1rem .8rem;font-size:.86em}.facts b{font-weight:500;color:#666}",
  "details{margin-top:.8rem}summary{cursor:pointer;color:#666;font-size:.9em}table{font-size:13px;font-variant-numeric:tabular-nums}",
  "td,th{border:0;border-bottom:1px solid #8883;padding:.25rem .7rem .25rem 0}th{font-weight:500;color:#666}",
  "#tip{position:fixed;pointer-events:none;background:#1d2025;color:#fff;padding:.45rem .7rem;border-radius:8px;font-size:12.5px;white-space:pre;opacity:0;transition:opacity .1s;z-index:9}",
  "@media(prefers-color-scheme:dark){body{background:#121417;color:#e8e8e6}section{background:#1a1d21;border-color:#fff1}.facts li{background:#ffffff12}.summary,.caption,.facts b,summary,th{color:#a2a5aa}#tip{background:#f2f2ef;color:#111}}",
];

/** Shows what the dot under the pointer has to say. */
const SCRIPT = [
  "<script>",
  'const tip=document.getElementById("tip");',
  'addEventListener("pointermove",e=>{const at=e.target.closest?.("[data-tip]");tip.style.opacity=at?1:0;if(!at)return;',
  "tip.textContent=at.dataset.tip;const b=tip.getBoundingClientRect();",
  'tip.style.left=Math.min(e.clientX+14,innerWidth-b.width-8)+"px";tip.style.top=Math.max(8,e.clientY-b.height-12)+"px"});',
  "</script>",
];

export function formatBenchPage({ report, before }: BenchView): readonly string[] {
  const body = ["<h1>chainwalk bench</h1>", factsOf(report.environment)];
  for (const suite of SUITES) {
    const results = report.results.filter((result) => suiteOf(result) === suite.name);
    if (results.length === 0) continue;
    body.push(
      `<section id="${suite.name}"><h2>${escapeHtml(suite.title)}</h2>`,
      `<p class="summary">${escapeHtml(suite.summary)} Line or dot: median; band or whisker: the middle 98 % of the samples.</p>`,
      ...suiteChart(suite, results),
      ...(suite.name === "rules" ? suiteRidges(suite, results) : []),
      ...details(results),
      "</section>",
    );
  }
  body.push(...growthSection(report.results), ...(before === undefined ? [] : changeSection({ report, before })));
  body.push('<div id="tip"></div>', ...SCRIPT);
  return htmlPage({ title: "chainwalk bench", body, data: report, style: [...PAGE_STYLE, ...CHART_STYLE] });
}

function factsOf(environment: BenchView["report"]["environment"]): string {
  const facts = Object.entries(environment).map(
    ([name, value]) => `<li><b>${escapeHtml(name)}</b> ${escapeHtml(String(value))}</li>`,
  );
  return `<ul class="facts">${facts.join("")}</ul>`;
}

function details(results: readonly BenchResult[]): readonly string[] {
  const [first] = results;
  const head = [...Object.keys(first?.params ?? {}), `median ${first?.unit}`, "95 %", "p01", "p50", "p99", "care"];
  const rows = results.map((result) =>
    htmlRow("td", [
      ...Object.values(result.params).map((value) => value.toLocaleString("en-US")),
      figures(result.median),
      plusMinus(result.median, result.ci95),
      figures(result.p01),
      figures(result.p50),
      figures(result.p99),
      result.warnings.join("; "),
    ]),
  );
  return [
    `<details><summary>${results.length} results</summary><table>`,
    htmlRow("th", head),
    ...rows,
    "</table></details>",
  ];
}

function growthSection(results: readonly BenchResult[]): readonly string[] {
  const rows = growthOf(results).map(({ of, series, from, to, exponent, error, last }) =>
    htmlRow("td", [
      of,
      series,
      `${from.toLocaleString("en-US")}–${to.toLocaleString("en-US")}`,
      `n^${exponent.toFixed(2)} ±${error.toFixed(2)}`,
      `n^${last.toFixed(2)}`,
    ]),
  );
  if (rows.length === 0) return [];
  return [
    '<section id="growth"><h2>How cost grows</h2><p class="summary">The slope in log–log over all sizes, and between the last two.</p><table>',
    htmlRow("th", ["cost of", "curve", "sizes", "grows as", "at the end"]),
    ...rows,
    "</table></section>",
  ];
}

function changeSection({ report, before }: Required<BenchView>): readonly string[] {
  if (before === undefined) return [];
  const rows = compareReports(before.report, report).map(
    ({ name, unit, before: was, after, ratio, probability, verdict }) =>
      htmlRow("td", [
        name,
        figures(was),
        figures(after),
        unit,
        `×${ratio.toFixed(2)}`,
        probability.toFixed(3),
        verdict,
      ]),
  );
  return [
    `<section id="changes"><h2>Against ${escapeHtml(before.name)}</h2><table>`,
    htmlRow("th", ["result", "before", "after", "unit", "ratio", "p", ""]),
    ...rows,
    "</table></section>",
  ];
}
