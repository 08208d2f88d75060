/** Stacks as folded text, which every flame graph tool reads, and as a flame graph. */
import type { Stacks } from "../../bench/flame.ts";
import { escapeHtml } from "../html.ts";

/** One line a stack: frames separated by `;`, a blank, the count. */
export function formatFolded(stacks: Stacks): readonly string[] {
  return [...stacks].map(([stack, count]) => `${stack} ${count}`).sort();
}

interface Frame {
  readonly name: string;
  count: number;
  readonly inside: Map<string, Frame>;
}

const WIDTH = 1_200;
const ROW = 19;
/** Narrower frames cannot be seen; narrower ones than the second hold no text. */
const LEAST = 0.4;
const LEAST_FOR_TEXT = 26;
const CHARACTER = 6.6;

const STYLE =
  "svg{font:11px ui-monospace,Menlo,monospace;background:#fbfbf9}rect{stroke:#fbfbf9;stroke-width:.7}g:hover rect{stroke:#000;stroke-width:1.4}text{pointer-events:none;fill:#1d2025}.title{font:600 15px system-ui,sans-serif}.note{font:12px system-ui,sans-serif;fill:#666}";

/** An SVG that stands alone: the widest frames are where rules are looked at; point at one for its share. */
export function formatFlame(stacks: Stacks, title: string): readonly string[] {
  const root = treeOf(stacks);
  const shapes: string[] = [];
  const depth = draw({ frame: root, x: 0, level: 0, total: root.count, shapes });
  const height = 56 + (depth + 1) * ROW;
  return [
    `<svg viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" xmlns="http://www.w3.org/2000/svg">`,
    `<style>${STYLE}</style>`,
    `<text class="title" x="6" y="20">${escapeHtml(title)}</text>`,
    `<text class="note" x="6" y="38">${root.count.toLocaleString("en-US")} rules and maps looked at; width is share, below is called by above</text>`,
    ...shapes,
    "</svg>",
  ];
}

function treeOf(stacks: Stacks): Frame {
  const root: Frame = { name: "all", count: 0, inside: new Map() };
  for (const [stack, count] of stacks) {
    root.count += count;
    let frame = root;
    for (const name of stack.split(";")) {
      const next = frame.inside.get(name) ?? { name, count: 0, inside: new Map<string, Frame>() };
      frame.inside.set(name, next);
      next.count += count;
      frame = next;
    }
  }
  return root;
}

interface DrawOptions {
  readonly frame: Frame;
  readonly x: number;
  readonly level: number;
  readonly total: number;
  readonly shapes: string[];
}

/** Draws a frame and what is inside of it; answers the deepest level. */
function draw({ frame, x, level, total, shapes }: DrawOptions): number {
  const width = (frame.count / total) * WIDTH;
  if (width < LEAST) return level;
  const y = 48 + level * ROW;
  const share = ((frame.count / total) * 100).toFixed(1);
  const label = width < LEAST_FOR_TEXT ? "" : cutTo(frame.name, Math.floor((width - 6) / CHARACTER));
  shapes.push(
    `<g><title>${escapeHtml(`${frame.name}: ${frame.count.toLocaleString("en-US")} (${share} %)`)}</title><rect x="${x.toFixed(1)}" y="${y}" width="${width.toFixed(1)}" height="${ROW - 1}" rx="2" fill="${colourOf(frame)}"/>${label === "" ? "" : `<text x="${(x + 4).toFixed(1)}" y="${y + 13}">${escapeHtml(label)}</text>`}</g>`,
  );
  let deepest = level;
  let at = x;
  for (const inner of [...frame.inside.values()].sort((a, b) => orderOf(a.name, b.name))) {
    deepest = Math.max(deepest, draw({ frame: inner, x: at, level: level + 1, total, shapes }));
    at += (inner.count / total) * WIDTH;
  }
  return deepest;
}

/** Rules by their number, chains by name. */
function orderOf(a: string, b: string): number {
  return Number(a) - Number(b) || (a < b ? -1 : 1);
}

function cutTo(text: string, characters: number): string {
  if (text.length <= characters) return text;
  return characters < 3 ? "" : `${text.slice(0, characters - 1)}…`;
}

/** Warm for rules, cool for chains; of one name always the same. */
function colourOf({ name, inside }: Frame): string {
  let hash = 0;
  for (const character of name) hash = (hash * 31 + (character.codePointAt(0) ?? 0)) % 9973;
  return inside.size === 0
    ? `hsl(${28 + (hash % 22)} 85% ${66 + (hash % 9)}%)`
    : `hsl(${195 + (hash % 40)} 55% ${72 + (hash % 8)}%)`;
}
