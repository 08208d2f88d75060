/** What a story did to the flows of a recording, step by step: the same cells in every format. */
import type { ReplayReport, StepReport } from "../../replay/report.ts";
import { timeText } from "./words.ts";

export const STORY_HEAD = ["step", "at", "flows", "refused", "cut", "what"] as const;

/** Columns of `STORY_HEAD` that hold numbers. */
export function isCount(column: string): boolean {
  return column !== "at" && column !== "what";
}

export function storyCells({ number, time, what, flows, refused, cut }: StepReport): readonly string[] {
  const at = number === 0 ? "" : time === undefined ? "never" : timeText(time);
  return [String(number), at, String(flows), String(refused), String(cut), what];
}

/** As JSON, a member for each step; empty without a story. */
export function storyObjects(report: ReplayReport): readonly object[] {
  return report.story().map(({ number, time, what, flows, refused, cut }) => ({
    step: number,
    ...(number > 0 && { time: time ?? null }),
    what,
    flows,
    refused,
    cut,
  }));
}
