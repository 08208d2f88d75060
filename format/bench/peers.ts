/** Peers beside us. */
import type { PeerRow } from "../../bench/peers/run.ts";
import { type Cell, formatColumns } from "../columns.ts";
import type { Paint } from "../paint.ts";
import { figures } from "./figures.ts";
import { markdownTable } from "./markdown.ts";

const HEAD = ["peer", "what", "ours", "theirs", "unit", "ratio", "range"];

export function formatPeers(
  rows: readonly PeerRow[],
  format: "table" | "json" | "md",
  paint: Paint,
): readonly string[] {
  switch (format) {
    case "json":
      return [JSON.stringify(rows)];
    case "md":
      return markdownTable(
        [...HEAD, "note"],
        rows.map((row) => [...cellsOf(row), row.skipped === null ? row.note : `skipped: ${row.skipped}`]),
      );
    case "table": {
      const lines = formatColumns(
        [
          HEAD.map((text): Cell => ({ text, look: "faint" })),
          ...rows.map((row) =>
            cellsOf(row).map((text, index): Cell => {
              if (index < 2 || index === 4) return { text };
              if (index !== 5 || row.ratio === null) return { text, align: "right" };
              return { text, align: "right", look: row.ratio >= 1 ? "good" : "bad" };
            }),
          ),
        ],
        { paint },
      );
      const [head = "", ...body] = lines;
      const remarks = rows.map(({ skipped, note }) => (skipped === null ? note : `skipped: ${skipped}`));
      return [head, ...body.flatMap((line, index) => [line, paint.faint(`    ${remarks[index]}`)])];
    }
  }
}

/** `×3.1`: we are so many times faster; below 1 slower. */
function cellsOf({ peer, what, ours, theirs, unit, ratio, range }: PeerRow): readonly string[] {
  const value = (number: number | null) => (number === null ? "–" : figures(number));
  return [
    peer,
    what,
    value(ours),
    value(theirs),
    unit,
    ratio === null ? "–" : `×${figures(ratio)}`,
    range === null ? "" : `×${figures(range[0])}–${figures(range[1])}`,
  ];
}
