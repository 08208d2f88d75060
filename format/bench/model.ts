/** Profiles, and predictions beside measurements. */
import { ALLOWED, isTold, type Validation } from "../../bench/kernel/validate.ts";
import type { CostProfile } from "../../bench/model/profile.ts";
import { median } from "../../bench/statistics.ts";
import { type Cell, formatColumns } from "../columns.ts";
import type { Paint } from "../paint.ts";
import { bar, figures, plusMinus } from "./figures.ts";
import { markdownTable } from "./markdown.ts";

const BAR_WIDTH = 20;

export function formatCalibration(profile: CostProfile, format: "table" | "json", paint: Paint): readonly string[] {
  if (format === "json") return [JSON.stringify(profile)];
  const rows = Object.entries({ ...profile.coefficients, ...profile.updates }).map(
    ([kind, { ns, ci95 }]): readonly Cell[] => [
      { text: kind },
      { text: figures(ns), align: "right", look: "strong" },
      { text: plusMinus(ns, ci95), align: "right", look: "faint" },
      { text: bar(ns / 300, BAR_WIDTH), look: "good" },
    ],
  );
  const head: readonly Cell[] = [
    { text: `${profile.name} (${profile.variant})`, look: "strong" },
    { text: "ns each", align: "right", look: "faint" },
    { text: "95 %", align: "right", look: "faint" },
  ];
  const curves = Object.entries(profile.curves).map(
    ([kind, points]) =>
      `${kind}: ${points.map(({ entries, ns }) => `${figures(ns)} ns at ${figures(entries)}`).join(", ")}`,
  );
  return [...formatColumns([head, ...rows], { paint }), ...curves];
}

const HEAD = ["strategy", "policies", "connection", "work", "predicted ns", "measured ns", "noise ns", "error"];

export function formatValidations(
  rows: readonly Validation[],
  format: "table" | "json" | "md",
  paint: Paint,
): readonly string[] {
  if (format === "json") return [JSON.stringify(rows)];
  const cells = rows.map((row) => [
    row.strategy,
    String(row.policies),
    row.state,
    workOf(row),
    figures(row.predicted),
    figures(row.measured),
    `±${figures(row.noise)}`,
    isTold(row) ? `${row.error >= 0 ? "+" : "−"}${Math.abs(row.error * 100).toFixed(0)} %` : "in the noise",
  ]);
  const verdict = summaryOf(rows);
  if (format === "md") return [...markdownTable(HEAD, cells), "", verdict];
  const table = [
    HEAD.map((text): Cell => ({ text, look: "faint" })),
    ...cells.map((texts, at) => painted(texts, rows[at])),
  ];
  const without = [...new Set(rows.flatMap(({ unknown }) => unknown))];
  return [
    ...formatColumns(table, { paint }),
    "",
    verdict,
    ...(without.length === 0 ? [] : [`without a cost in the profile: ${without.join(", ")}`]),
  ];
}

/** `117 rules`, `3 look-ups` */
function workOf({ rules, lookups }: Validation): string {
  return lookups > 0 ? `${lookups} look-ups` : `${rules} rules`;
}

function painted(texts: readonly string[], row: Validation | undefined): readonly Cell[] {
  const isSure = row !== undefined && isTold(row);
  const isNear = Math.abs(row?.error ?? 1) <= ALLOWED;
  return texts.map((text, index): Cell => {
    if (index === texts.length - 1) return { text, align: "right", look: !isSure ? "faint" : isNear ? "good" : "bad" };
    return index >= 3 || index === 1 ? { text, align: "right" } : { text };
  });
}

/** `24 of 26 within 25 %, median error 8 %; 4 more too small to be told from the noise` */
export function summaryOf(rows: readonly Validation[]): string {
  const told = rows.filter(isTold);
  const errors = told.map(({ error }) => Math.abs(error));
  const near = errors.filter((error) => error <= ALLOWED).length;
  const rest = rows.length - told.length;
  const more = rest === 0 ? "" : `; ${rest} more cannot be told from the noise`;
  if (told.length === 0) return `nothing measured is sure enough to compare with${more}`;
  return `${near} of ${told.length} within ${ALLOWED * 100} %, median error ${(median(errors) * 100).toFixed(0)} %${more}`;
}
