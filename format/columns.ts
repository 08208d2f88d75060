/** Aligned columns of text, with colour that does not count as width. */
import { type Paint, PLAIN } from "./paint.ts";

export interface Cell {
  readonly text: string;
  readonly align?: "left" | "right";
  readonly look?: keyof Paint;
}

export interface ColumnsOptions {
  readonly paint?: Paint;
  /** Between columns. */
  readonly gap?: string;
  /** Width of the terminal; undefined: no limit. */
  readonly columns?: number | undefined;
  /** The columns that give way, with `…`, when a line is too wide: the first as far as it can, then the next. */
  readonly elastic?: readonly number[];
}

/** Narrower than this a cut column says nothing; the line runs over instead. */
const MIN_ELASTIC_WIDTH = 14;

/** Rows as lines; every column as wide as its widest cell, no spaces at line ends. */
export function formatColumns(rows: readonly (readonly Cell[])[], options: ColumnsOptions = {}): readonly string[] {
  const { paint = PLAIN, gap = "  ", columns, elastic = [] } = options;
  const widths: number[] = [];
  const most = rows.reduce((count, { length }) => Math.max(count, length), 0);
  for (const row of rows) {
    for (const [index, cell] of row.entries()) {
      // Behind the last column is nothing to align, and what stands there can be long.
      if (columns === undefined && index === most - 1 && cell.align !== "right" && !elastic.includes(index)) continue;
      widths[index] = Math.max(widths[index] ?? 0, widthOf(cell.text));
    }
  }
  const total = widths.reduce((sum, width) => sum + width, 0) + gap.length * Math.max(0, widths.length - 1);
  let excess = columns === undefined ? 0 : Math.max(0, total - columns);
  for (const index of elastic) {
    const width = widths[index] ?? 0;
    const given = Math.min(excess, Math.max(0, width - MIN_ELASTIC_WIDTH));
    widths[index] = width - given;
    excess -= given;
  }
  return rows.map((row) => {
    const last = row.findLastIndex((cell) => cell.text !== "");
    return row
      .slice(0, last + 1)
      .map((cell, index) => {
        const width = widths[index] ?? 0;
        const text = elastic.includes(index) ? cut(cell.text, width) : cell.text;
        const painted = cell.look === undefined ? text : paint[cell.look](text);
        if (index === last && cell.align !== "right") return painted;
        const space = " ".repeat(Math.max(0, width - widthOf(text)));
        return cell.align === "right" ? space + painted : painted + space;
      })
      .join(gap);
  });
}

/** Characters as a terminal counts them; our own texts and Kubernetes names are one column each. */
function widthOf(text: string): number {
  return SURROGATE.test(text) ? [...text].length : text.length;
}

/** The first half of a character that takes two units. */
const SURROGATE = /[\ud800-\udbff]/;

/** The text, or its beginning and `…`. */
export function cut(text: string, width: number): string {
  return widthOf(text) <= width ? text : `${[...text].slice(0, width - 1).join("")}…`;
}
