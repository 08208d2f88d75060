/** The table of targets. */
import type { TargetRow } from "../../bench/targets/target.ts";
import { type Cell, formatColumns } from "../columns.ts";
import type { Paint } from "../paint.ts";
import { figures } from "./figures.ts";
import { csvLine } from "./lines.ts";
import { markdownTable } from "./markdown.ts";

export function formatTargets(
  rows: readonly TargetRow[],
  format: "table" | "json" | "md" | "csv",
  paint: Paint,
): readonly string[] {
  switch (format) {
    case "json":
      return [JSON.stringify(rows)];
    case "csv":
      return [
        "target,unit,goal,stretch,measured,peer,ratio,pass,note",
        ...rows.map((row) => csvLine(Object.values(row).map((value) => value ?? ""))),
      ];
    case "md":
      return markdownTable(HEAD, rows.map(cellsOf));
    case "table":
      return table(rows, paint);
  }
}

const HEAD = ["target", "goal", "stretch", "measured", "peer", "ratio", "", "note"];

function cellsOf(row: TargetRow): readonly string[] {
  const { target, unit, goal, stretch, measured, peer, ratio, note } = row;
  const value = (number: number | null) => (number === null ? "–" : figures(number));
  return [
    target,
    `${figures(goal)} ${unit}`,
    figures(stretch),
    value(measured),
    value(peer),
    ratio === null ? "–" : `×${figures(ratio)}`,
    wordFor(row),
    note,
  ];
}

function wordFor({ pass, measured }: TargetRow): string {
  return pass ? "pass" : measured === null ? "not measured" : "miss";
}

function table(rows: readonly TargetRow[], paint: Paint): readonly string[] {
  const right = new Set([1, 2, 3, 4, 5]);
  const cells = (texts: readonly string[], look: (index: number) => keyof Paint | undefined): readonly Cell[] =>
    texts.map((text, index) => {
      const looked = look(index);
      return {
        text,
        ...(right.has(index) && { align: "right" as const }),
        ...(looked !== undefined && { look: looked }),
      };
    });
  const lines = formatColumns(
    [
      cells(HEAD.slice(0, -1), () => "faint"),
      ...rows.map((row) =>
        cells(cellsOf(row).slice(0, -1), (index) => (index === 6 ? (row.pass ? "good" : "bad") : undefined)),
      ),
    ],
    { paint },
  );
  const [head = "", ...body] = lines;
  return [head, ...body.flatMap((line, index) => [line, paint.faint(`    ${rows[index]?.note ?? ""}`)])];
}
