/** Charts as SVG: curves with bands on logarithmic axes, dots with whiskers, and distributions. */
import { escapeHtml } from "../html.ts";
import { type LogScale, logScale, shortNumber, withUnit } from "./scale.ts";

/** The style of charts, in a page or in a file of their own. */
export const CHART_STYLE = [
  "svg{width:100%;height:auto;font:12px ui-sans-serif,system-ui,sans-serif;overflow:visible}",
  ".minor{stroke:currentColor;stroke-opacity:.05}.major{stroke:currentColor;stroke-opacity:.16}",
  ".tick,.axis{fill:currentColor;fill-opacity:.65}.row{fill:currentColor}.name,.value{font-weight:600}",
  ".band{fill-opacity:.1}.line{fill:none;stroke-width:2.2;stroke-linejoin:round}.thread{stroke-opacity:.45;fill:none}",
  ".whisker{stroke-width:3;stroke-opacity:.28;stroke-linecap:round}.ridge{fill-opacity:.35;stroke-width:1.2}",
  ".hit{fill:transparent}.dot:hover circle:last-child{r:6.5}",
];

/** A measured point: the median, and between what the middle 98 % of the samples lie. */
export interface ChartPoint {
  readonly y: number;
  readonly low: number;
  readonly high: number;
  /** What a reader who points at it is told. */
  readonly tip: string;
}

export interface Curve {
  readonly name: string;
  readonly points: readonly (ChartPoint & { readonly x: number })[];
}

export interface CurveChart {
  readonly label: string;
  readonly xLabel: string;
  readonly unit: string;
  readonly curves: readonly Curve[];
}

const WIDTH = 860;
const HEIGHT = 400;
const LEFT = 68;
const RIGHT = 190;
const TOP = 14;
const BOTTOM = 46;
/** Apart for the eye in light and dark, and for those who see few colours (after Okabe and Ito). */
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a6ff0", "#8c8c8c"];

export function colourOf(index: number): string {
  return COLOURS[index % COLOURS.length] ?? "#888";
}

export function curveChart({ label, xLabel, unit, curves }: CurveChart): readonly string[] {
  const points = curves.flatMap((curve) => curve.points);
  const x = logScale(
    points.map((point) => point.x),
    LEFT,
    WIDTH - RIGHT,
  );
  const y = logScale(
    points.flatMap(({ low, high, y: middle }) => [low, middle, Math.min(high, 20 * middle)]),
    HEIGHT - BOTTOM,
    TOP,
  );
  const labels = spread(
    curves.map((curve) => y.at(curve.points.at(-1)?.y ?? y.low)),
    15,
  );
  return [
    svgHead(label, HEIGHT),
    ...grid({ x, y, unit, xLabel }),
    `<g clip-path="inset(0)">`,
    ...curves.map(({ points: own }, index) => band(own, { x, y, colour: colourOf(index) })),
    ...curves.map(({ points: own }, index) => line(own, { x, y, colour: colourOf(index) })),
    "</g>",
    ...curves.flatMap(({ name, points: own }, index) => [
      ...own.map((point) =>
        dot(x.at(point.x), y.at(point.y), { colour: colourOf(index), tip: `${name}\n${point.tip}` }),
      ),
      endLabel({
        name,
        from: [x.at(own.at(-1)?.x ?? x.high), y.at(own.at(-1)?.y ?? y.low)],
        at: labels[index] ?? 0,
        index,
      }),
    ]),
    "</svg>",
  ];
}

function svgHead(label: string, height: number): string {
  return `<svg viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${escapeHtml(label)}" xmlns="http://www.w3.org/2000/svg">`;
}

interface GridOptions {
  readonly x: LogScale;
  readonly y: LogScale;
  readonly unit: string;
  readonly xLabel: string;
}

function grid({ x, y, unit, xLabel }: GridOptions): readonly string[] {
  const right = WIDTH - RIGHT;
  const bottom = HEIGHT - BOTTOM;
  return [
    ...y.minor.map((value) => `<path class="minor" d="M${LEFT} ${px(y.at(value))}H${right}"/>`),
    ...y.major.map(
      (value) =>
        `<path class="major" d="M${LEFT} ${px(y.at(value))}H${right}"/><text class="tick" x="${LEFT - 8}" y="${px(y.at(value) + 4)}" text-anchor="end">${withUnit(value, unit)}</text>`,
    ),
    ...x.minor.map((value) => `<path class="minor" d="M${px(x.at(value))} ${TOP}V${bottom}"/>`),
    ...x.major.map(
      (value) =>
        `<path class="major" d="M${px(x.at(value))} ${TOP}V${bottom}"/><text class="tick" x="${px(x.at(value))}" y="${bottom + 18}" text-anchor="middle">${shortNumber(value)}</text>`,
    ),
    `<text class="axis" x="${(LEFT + right) / 2}" y="${HEIGHT - 6}" text-anchor="middle">${escapeHtml(xLabel)} (log)</text>`,
  ];
}

interface DrawOptions {
  readonly x: LogScale;
  readonly y: LogScale;
  readonly colour: string;
}

function band(points: Curve["points"], { x, y, colour }: DrawOptions): string {
  const clamp = (value: number) => y.at(Math.min(value, y.high));
  const upper = points.map((point) => `${px(x.at(point.x))},${px(clamp(point.high))}`);
  const lower = [...points].reverse().map((point) => `${px(x.at(point.x))},${px(y.at(point.low))}`);
  return `<polygon class="band" fill="${colour}" points="${[...upper, ...lower].join(" ")}"/>`;
}

function line(points: Curve["points"], { x, y, colour }: DrawOptions): string {
  const places = points.map((point) => `${px(x.at(point.x))},${px(y.at(point.y))}`);
  return `<polyline class="line" stroke="${colour}" points="${places.join(" ")}"/>`;
}

function dot(x: number, y: number, { colour, tip }: { readonly colour: string; readonly tip: string }): string {
  return `<g class="dot" data-tip="${escapeHtml(tip)}"><circle class="hit" cx="${px(x)}" cy="${px(y)}" r="11"/><circle cx="${px(x)}" cy="${px(y)}" r="4" fill="${colour}"/></g>`;
}

interface EndLabel {
  readonly name: string;
  readonly from: readonly [x: number, y: number];
  readonly at: number;
  readonly index: number;
}

/** The name of a curve at its end, with a thread to it where others pushed it aside. */
function endLabel({ name, from: [x, y], at, index }: EndLabel): string {
  const left = WIDTH - RIGHT + 26;
  return `<path class="thread" stroke="${colourOf(index)}" d="M${px(x + 6)} ${px(y)}L${left - 4} ${px(at)}"/><text class="name" fill="${colourOf(index)}" x="${left}" y="${px(at + 4)}">${escapeHtml(name)}</text>`;
}

/** Moves places apart until neighbours are `least` pixels from each other, as little as needed. */
export function spread(places: readonly number[], least: number): readonly number[] {
  const order = places.map((place, index) => ({ place, index })).sort((a, b) => a.place - b.place);
  const moved = order.map(({ place }) => place);
  for (let pass = 0; pass < 50; pass++) {
    for (let at = 1; at < moved.length; at++) {
      const gap = (moved[at] ?? 0) - (moved[at - 1] ?? 0);
      if (gap >= least) continue;
      moved[at - 1] = (moved[at - 1] ?? 0) - (least - gap) / 2;
      moved[at] = (moved[at] ?? 0) + (least - gap) / 2;
    }
  }
  const result: number[] = [];
  for (const [at, { index }] of order.entries()) result[index] = moved[at] ?? 0;
  return result;
}

export interface DotChart {
  readonly label: string;
  readonly unit: string;
  /** Names along the side, each with a dot for each series that has it. */
  readonly rows: readonly {
    readonly name: string;
    readonly dots: readonly (ChartPoint & { readonly series: string })[];
  }[];
}

const ROW = 15;
const ROW_GAP = 16;
const SIDE = 150;

/** Values by name: a dot for the median, a whisker for the middle 98 %, on a logarithmic axis. */
export function dotChart({ label, unit, rows }: DotChart): readonly string[] {
  const dots = rows.flatMap((row) => row.dots);
  const names = [...new Set(dots.map(({ series }) => series))];
  const x = logScale(
    dots.flatMap(({ low, y, high }) => [low, y, Math.min(high, 20 * y)]),
    SIDE,
    WIDTH - RIGHT,
  );
  const height = rows.reduce((sum, row) => sum + row.dots.length * ROW + ROW_GAP, 0) + 40;
  const parts: string[] = [];
  let top = 8;
  for (const { name, dots: own } of rows) {
    const middle = top + (own.length * ROW) / 2;
    parts.push(`<text class="row" x="${SIDE - 14}" y="${px(middle + 4)}" text-anchor="end">${escapeHtml(name)}</text>`);
    for (const [index, { y, low, high, tip, series }] of own.entries()) {
      const at = top + index * ROW + ROW / 2;
      const colour = colourOf(names.indexOf(series));
      const clamp = (value: number) => x.at(Math.min(value, x.high));
      parts.push(
        `<path class="whisker" stroke="${colour}" d="M${px(x.at(low))} ${px(at)}H${px(clamp(high))}"/>`,
        dot(x.at(y), at, { colour, tip: `${[name, series].filter((text) => text !== "").join(", ")}\n${tip}` }),
        `<text class="value" x="${WIDTH - RIGHT + 26}" y="${px(at + 4)}" fill="${colour}">${escapeHtml(withUnit(y, unit))}${series === "" ? "" : `  ${escapeHtml(series)}`}</text>`,
      );
    }
    top += own.length * ROW + ROW_GAP;
  }
  const ticks = x.major.map(
    (value) =>
      `<path class="major" d="M${px(x.at(value))} 4V${top - 8}"/><text class="tick" x="${px(x.at(value))}" y="${top + 8}" text-anchor="middle">${withUnit(value, unit)}</text>`,
  );
  const minor = x.minor.map((value) => `<path class="minor" d="M${px(x.at(value))} 4V${top - 8}"/>`);
  return [svgHead(label, height), ...minor, ...ticks, ...parts, "</svg>"];
}

export interface RidgeChart {
  readonly label: string;
  readonly unit: string;
  readonly rows: readonly {
    readonly name: string;
    readonly values: readonly (readonly [value: number, count: number])[];
  }[];
}

const RIDGE = 46;
const RIDGE_STEP = 30;
/** Samples beyond these quantiles are not drawn: one pause of the machine would be all there is to see. */
const DRAWN = [0.005, 0.985] as const;

/** Distributions one above the other, on a logarithmic axis. */
export function ridgeChart({ label, unit, rows }: RidgeChart): readonly string[] {
  const drawn = rows.map(({ name, values }) => ({ name, values: middleOf(values) }));
  const x = logScale(
    drawn.flatMap(({ values }) => values.map(([value]) => value)),
    SIDE,
    WIDTH - 40,
  );
  const bottom = RIDGE + drawn.length * RIDGE_STEP;
  const shapes = drawn.flatMap(({ name, values }, index) => {
    const base = RIDGE + index * RIDGE_STEP + 12;
    const most = Math.max(...values.map(([, count]) => count), 1);
    const points = values.map(([value, count]) => `${px(x.at(value))},${px(base - (count / most) * RIDGE)}`);
    const [first] = values;
    const last = values.at(-1);
    const closed = [`${px(x.at(first?.[0] ?? x.low))},${base}`, ...points, `${px(x.at(last?.[0] ?? x.low))},${base}`];
    return [
      `<polygon class="ridge" fill="${colourOf(index)}" stroke="${colourOf(index)}" points="${closed.join(" ")}"/>`,
      `<text class="row" x="${SIDE - 14}" y="${base}" text-anchor="end">${escapeHtml(name)}</text>`,
    ];
  });
  const ticks = x.major.map(
    (value) =>
      `<path class="major" d="M${px(x.at(value))} 6V${bottom}"/><text class="tick" x="${px(x.at(value))}" y="${bottom + 16}" text-anchor="middle">${withUnit(value, unit)}</text>`,
  );
  return [svgHead(label, bottom + 24), ...ticks, ...shapes, "</svg>"];
}

/** The middle of a distribution in coarse steps of 4 %, so that its shape shows and not its grain. */
function middleOf(values: RidgeChart["rows"][number]["values"]): readonly (readonly [number, number])[] {
  const total = values.reduce((sum, [, count]) => sum + count, 0);
  const bins = new Map<number, number>();
  let seen = 0;
  for (const [value, count] of values) {
    seen += count;
    if (seen < total * DRAWN[0] || seen - count > total * DRAWN[1]) continue;
    const bin = Math.round(Math.log(value) / Math.log(1.04));
    bins.set(bin, (bins.get(bin) ?? 0) + count);
  }
  return [...bins].map(([bin, count]) => [1.04 ** bin, count]);
}

/** Pixels with one decimal. */
function px(value: number): string {
  return String(Math.round(value * 10) / 10);
}
