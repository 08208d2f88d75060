/** Truth tables of pod pairs: `.` accept, `X` drop, `R` reject, `#` itself. */

import { formatColumns } from "./columns.ts";
import type { Paint } from "./paint.ts";

export interface Matrix {
  readonly strategy: string;
  readonly pods: readonly string[];
  /** One string per source in the order of `pods`, one letter per destination. */
  readonly verdicts: readonly { readonly port: string; readonly rows: readonly string[] }[];
}

const LEGEND = ". accept   X drop   R reject   # itself";

export function formatMatrix(matrix: Matrix, format: "table" | "json" | "md", paint: Paint): readonly string[] {
  switch (format) {
    case "json":
      return [JSON.stringify(matrixObject(matrix))];
    case "table":
      return formatTable(matrix, paint);
    case "md":
      return formatMarkdown(matrix);
  }
}

/** As in the public contract. */
function matrixObject({ strategy, pods, verdicts }: Matrix): object {
  return {
    strategy,
    pods,
    ports: verdicts.map(({ port }) => port),
    verdicts: Object.fromEntries(verdicts.map(({ port, rows }) => [port, rows])),
  };
}

/** Rows are sources. Columns are destinations, by the number that stands before their name in the rows. */
function formatTable({ strategy, pods, verdicts }: Matrix, paint: Paint): readonly string[] {
  const numbers = pods.map((_pod, index) => String(index + 1));
  // Cells come by the hundred thousand, a letter each: a row of them is one text beside the names, aligned here.
  const cellsOf = cellText(numbers, paint);
  return [
    ...verdicts.flatMap(({ port, rows }) => {
      const head = [
        { text: "" },
        { text: `${strategy}  ${port}`, look: "strong" as const },
        { text: numbers.map((text) => paint.faint(text)).join(" ") },
      ];
      const body = rows.map((row, index) => [
        { text: numbers[index] ?? "", align: "right" as const, look: "faint" as const },
        { text: pods[index] ?? "" },
        { text: cellsOf(row) },
      ]);
      return [...formatColumns([head, ...body], { paint, gap: " " }), ""];
    }),
    paint.faint(`row: source, column: destination   ${LEGEND}`),
  ];
}

/** Each letter under the last digit of its number. */
function cellText(numbers: readonly string[], paint: Paint): (row: string) => string {
  const spaces = numbers.map(({ length }, index) => " ".repeat(length - (index === 0 ? 1 : 0)));
  // Most ports are alike for most sources: their rows are the same.
  const texts = new Map<string, string>();
  const painted = new Map<string, string>();
  for (const letter of ".XR?#") painted.set(letter, paint[lookOf(letter)](letter));
  return (row) => {
    let text = texts.get(row);
    if (text !== undefined) return text;
    text = "";
    for (let index = 0; index < row.length; index++) {
      text += (spaces[index] ?? " ") + (painted.get(row.charAt(index)) ?? "");
    }
    texts.set(row, text);
    return text;
  };
}

function lookOf(cell: string): "good" | "bad" | "faint" {
  if (cell === ".") return "good";
  return cell === "#" ? "faint" : "bad";
}

function formatMarkdown({ strategy, pods, verdicts }: Matrix): readonly string[] {
  return verdicts.flatMap(({ port, rows }) => [
    `### ${strategy} ${port}`,
    "",
    `| from \\ to | ${pods.join(" | ")} |`,
    `| --- | ${pods.map(() => ":-:").join(" | ")} |`,
    ...rows.map((row, index) => `| ${pods[index]} | ${[...row].join(" | ")} |`),
    "",
    LEGEND,
  ]);
}
