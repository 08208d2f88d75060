/** One page for timelines: every operation a notch of a slider, with what packets meet there. */
import { escapeHtml, htmlPage } from "./html.ts";
import { type Lived, lapseText, lastsText, windowsOf, windowText } from "./timeline.ts";
import { numberedOperations, timelineObject } from "./timelineJson.ts";

export function timelinePage(lived: readonly Lived[]): readonly string[] {
  return htmlPage({
    title: "chainwalk timeline",
    body: ["<h1>timeline</h1>", ...lived.flatMap(sectionOf), "<script>", ...SCRIPT, "</script>"],
    data: lived.map(timelineObject),
  });
}

/** Each notch carries its lines; the script only chooses which one is seen, and without it all are. */
function sectionOf({ strategy, node, steps, clock }: Lived): readonly string[] {
  const notches = steps.flatMap((step) => {
    const { operations } = numberedOperations(step.operations);
    const windows = windowsOf(step);
    const { survive, stalled, cut, inherited } = step.connections;
    return [undefined, ...operations].map((operation, index) => {
      const open = windows.filter(({ from, to }) => Math.floor(Number(from)) <= index && index < Math.ceil(Number(to)));
      const isLast = index === operations.length;
      const command =
        operation === undefined ? "before the first operation" : `${operation.tool} ${operation.args.join(" ")}`;
      return [
        `<li><h3>step ${step.step.number}.${index}: ${escapeHtml(step.step.what)}</h3>`,
        `<p><code>${escapeHtml(command)}</code></p>`,
        ...(operation?.stdin === undefined
          ? []
          : [
              `<details><summary>${operation.stdin.length} bytes of input</summary><pre>${escapeHtml(operation.stdin)}</pre></details>`,
            ]),
        ...open.map(
          (window) =>
            `<p class="${window.kind === "outage" ? "drop" : "reject"}">${window.kind}: ${escapeHtml(windowText(window))} ${escapeHtml(lastsText(step, window.example, clock))}</p>`,
        ),
        ...(index === 0 ? step.lapses.map((met) => `<p class="reject">lapse ${escapeHtml(lapseText(met))}</p>`) : []),
        ...(isLast
          ? [
              `<p>connections: ${survive} survive (${stalled} of them stalled in between), ${cut} cut, ${inherited} inherited</p>`,
            ]
          : []),
        "</li>",
      ].join("");
    });
  });
  return [
    `<section><h2>${escapeHtml(strategy)} on ${escapeHtml(node)}</h2>`,
    `<input type="range" min="0" max="${Math.max(0, notches.length - 1)}" value="0" style="width:100%" aria-label="moment">`,
    `<ol class="moments" style="list-style:none;padding:0">${notches.join("\n")}</ol></section>`,
  ];
}

const SCRIPT = [
  "for(const section of document.querySelectorAll('section')){",
  "const slider=section.querySelector('input'),moments=[...section.querySelectorAll('.moments>li')];",
  "const show=()=>moments.forEach((each,index)=>{each.hidden=index!==Number(slider.value)});",
  "slider.addEventListener('input',show);show()}",
];
