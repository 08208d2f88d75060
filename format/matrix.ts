/** Truth tables of pod pairs: `.` accept, `X` drop, `R` reject, `#` itself. */

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

/**
 * Rows are sources. Columns are destinations, by the number that stands before their name in the rows. Cells come by the hundred
 * thousand, a letter each: a row of them is one text, and what stands before it is the same for most ports.
 */
function formatTable({ strategy, pods, verdicts }: Matrix, paint: Paint): readonly string[] {
  const numbers = pods.map((_pod, index) => String(index + 1));
  const cellsOf = cellText(numbers, paint);
  const numberWidth = longest(numbers);
  const head = numbers.map((text) => paint.faint(text)).join(" ");
  const names = new Map<number, readonly string[]>();
  const namesOf = (width: number) => {
    const known =
      names.get(width) ??
      pods.map((pod, index) => {
        const number = numbers[index] ?? "";
        return `${" ".repeat(numberWidth - number.length)}${paint.faint(number)} ${pod.padEnd(width)} `;
      });
    names.set(width, known);
    return known;
  };
  const longestName = longest(pods);
  return [
    ...verdicts.flatMap(({ port, rows }) => {
      const title = `${strategy}  ${port}`;
      const width = Math.max(title.length, longestName);
      const before = namesOf(width);
      return [
        `${" ".repeat(numberWidth)} ${paint.strong(title)}${" ".repeat(width - title.length)} ${head}`,
        ...rows.map((row, index) => (before[index] ?? "") + cellsOf(row)),
        "",
      ];
    }),
    paint.faint(`row: source, column: destination   ${LEGEND}`),
  ];
}

function longest(texts: readonly string[]): number {
  return texts.reduce((most, { length }) => Math.max(most, length), 0);
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
