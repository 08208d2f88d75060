/** One page for timelines: every operation a notch of a slider, with what packets meet there. */
import { escapeHtml, htmlPage } from "./html.ts";
import { type Lived, lapseText, lastsText, shortTexts, windowsOf, windowText } from "./timeline.ts";
import { numberedOperations, timelineObject } from "./timelineJson.ts";

/** The story alone: how the nodes came to its start is more moments than all of it, and nothing is followed there. */
export function timelinePage(whole: readonly Lived[]): readonly string[] {
  const lived = whole.map((one) => ({ ...one, steps: one.steps.filter(({ step }) => step.number > 0) }));
  return htmlPage({
    title: "chainwalk timeline",
    body: ["<h1>timeline</h1>", ...lived.flatMap(sectionOf), "<script>", ...SCRIPT, "</script>"],
    data: lived.map(timelineObject),
    style: STYLE,
  });
}

/** A moment that the slider stops at. */
interface Notch {
  readonly html: string;
  /** Windows that are open there. */
  readonly kinds: readonly string[];
}

/** Each notch carries its lines; the script only chooses which one is seen, and without it all are. */
function sectionOf({ strategy, node, steps, clock }: Lived): readonly string[] {
  const notches = steps.flatMap((step): readonly Notch[] => {
    const { operations } = numberedOperations(step.operations);
    const windows = windowsOf(step);
    const { survive, stalled, cut, inherited } = step.connections;
    return [undefined, ...operations].map((operation, index) => {
      const open = windows.filter(({ from, to }) => Math.floor(Number(from)) <= index && index < Math.ceil(Number(to)));
      const isLast = index === operations.length;
      const command =
        operation === undefined ? "before the first operation" : `${operation.tool} ${operation.args.join(" ")}`;
      const html = [
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
        ...(index === 0 ? shortTexts(step).map((text) => `<p class="faint">${escapeHtml(text)}</p>`) : []),
        ...(isLast
          ? [
              `<p>connections: ${survive} survive (${stalled} of them stalled in between), ${cut} cut, ${inherited} inherited</p>`,
            ]
          : []),
        "</li>",
      ].join("");
      return { html, kinds: [...new Set(open.map(({ kind }) => kind))].toSorted() };
    });
  });
  const last = Math.max(0, notches.length - 1);
  return [
    `<section><h2>${escapeHtml(strategy)} on ${escapeHtml(node)}</h2>`,
    `<input type="range" min="0" max="${last}" value="0" style="width:100%" aria-label="moment">`,
    `<div class="windows">${marksOf(notches, last).join("")}</div>`,
    `<ol class="moments" style="list-style:none;padding:0">${notches.map(({ html }) => html).join("\n")}</ol></section>`,
  ];
}

/** Under the slider, one mark for each run of moments with the same kinds of windows; a click goes to the first of them. */
function marksOf(notches: readonly Notch[], last: number): readonly string[] {
  const marks: string[] = [];
  for (let from = 0; from < notches.length; ) {
    const kinds = notches[from]?.kinds.join(", ") ?? "";
    let to = from;
    while (to < last && notches[to + 1]?.kinds.join(", ") === kinds) to++;
    if (kinds !== "") {
      const share = (notch: number) => (last === 0 ? 0 : notch / last).toFixed(5);
      const style = `--from:${share(from)};--to:${share(to)}`;
      const kind = kinds === "outage" ? "outage" : "leak";
      const label = `${kinds}: moments ${from} to ${to}`;
      marks.push(
        `<button class="${kind}" data-moment="${from}" style="${style}" title="${label}" aria-label="${label}"></button>`,
      );
    }
    from = to + 1;
  }
  return marks;
}

/** The middle of a slider's thumb keeps half a thumb's width from both ends. */
const STYLE = [
  ".windows{position:relative;height:14px;margin:0 8px}.windows button{position:absolute;height:14px;padding:0;border:0;cursor:pointer;",
  "left:calc(var(--from)*100% - 4px);width:calc((var(--to) - var(--from))*100% + 8px)}",
  ".windows .leak{background:#b3261e}.windows .outage{background:#c77700}",
];

const SCRIPT = [
  "for(const section of document.querySelectorAll('section')){",
  "const slider=section.querySelector('input'),moments=[...section.querySelectorAll('.moments>li')];",
  "const show=()=>moments.forEach((each,index)=>{each.hidden=index!==Number(slider.value)});",
  "for(const mark of section.querySelectorAll('.windows>button'))mark.addEventListener('click',()=>{slider.value=mark.dataset.moment;show()});",
  "slider.addEventListener('input',show);show()}",
];
