/** Measures targets one after the other, each in a process of its own, so that none warms or slows another. */
import { z } from "zod";
import { type MeasureOptions, rowOf, type Target, type TargetRow } from "./target.ts";

export interface RunTargetsOptions extends MeasureOptions {
  readonly signal: AbortSignal;
  readonly where: "here" | "processes";
  /** For all of them, when each has a process of its own; those that come when it is over are not measured. */
  readonly budgetMs?: number | undefined;
}

/** A row for each target, as it is measured; ends early when the signal fires. */
export async function* runTargets(targets: readonly Target[], options: RunTargetsOptions): AsyncGenerator<TargetRow> {
  const endMs = options.clock() + (options.budgetMs ?? Number.POSITIVE_INFINITY);
  for (const target of targets) {
    if (options.signal.aborted) return;
    const limitMs = Math.min(target.limitMs, Math.max(0, endMs - options.clock()));
    const row =
      options.where === "here"
        ? rowOf(target, await target.measure(options))
        : await aside(target, Math.round(limitMs), options);
    if (!options.signal.aborted || row.measured !== null) yield row;
  }
}

const rowSchema = z.object({
  target: z.string(),
  unit: z.string(),
  goal: z.number(),
  stretch: z.number(),
  measured: z.number().nullable(),
  peer: z.number().nullable(),
  ratio: z.number().nullable(),
  pass: z.boolean(),
  note: z.string(),
});

/** Reads what `bench targets -o json` wrote. Throws when it is something else. */
export function readTargetRows(text: string): readonly TargetRow[] {
  return z.array(rowSchema).parse(JSON.parse(text));
}

/** A process that measures this one target, ended when it takes too long. */
async function aside(target: Target, limitMs: number, options: RunTargetsOptions): Promise<TargetRow> {
  const { runSelf, seed, signal } = options;
  if (limitMs === 0) return rowOf(target, { measured: undefined, note: "the time for all targets was over" });
  const limit = AbortSignal.timeout(limitMs);
  const lines: string[] = [];
  const code = await runSelf({
    argv: ["bench", "targets", "--only", target.name, "--here", "--seed", String(seed), "-o", "json", "--quiet"],
    signal: AbortSignal.any([limit, signal]),
    onLine: (line) => lines.push(line),
  });
  if (limit.aborted) {
    return rowOf(target, { measured: undefined, note: `not done within ${seconds(limitMs)} s` });
  }
  if (code !== 0) return rowOf(target, { measured: undefined, note: `the measuring process ended with ${code}` });
  const [row] = readTargetRows(lines.join("\n"));
  return row ?? rowOf(target, { measured: undefined, note: "the measuring process said nothing" });
}

function seconds(ms: number): number {
  return ms < 1_000 ? ms / 1_000 : Math.round(ms / 1_000);
}
