/** Measures targets one after the other, each in a process of its own, so that none warms or slows another. */
import { z } from "zod";
import { type MeasureOptions, rowOf, type Target, type TargetRow } from "./target.ts";

export interface RunTargetsOptions extends MeasureOptions {
  readonly signal: AbortSignal;
  readonly where: "here" | "processes";
}

/** A row for each target, as it is measured; ends early when the signal fires. */
export async function* runTargets(targets: readonly Target[], options: RunTargetsOptions): AsyncGenerator<TargetRow> {
  for (const target of targets) {
    if (options.signal.aborted) return;
    const row = options.where === "here" ? rowOf(target, await target.measure(options)) : await aside(target, options);
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
async function aside(target: Target, { runSelf, seed, signal }: RunTargetsOptions): Promise<TargetRow> {
  const limit = AbortSignal.timeout(target.limitMs);
  const lines: string[] = [];
  const code = await runSelf({
    argv: ["bench", "targets", "--only", target.name, "--here", "--seed", String(seed), "-o", "json", "--quiet"],
    signal: AbortSignal.any([limit, signal]),
    onLine: (line) => lines.push(line),
  });
  if (limit.aborted) {
    return rowOf(target, { measured: undefined, note: `not done within ${target.limitMs / 1_000} s` });
  }
  if (code !== 0) return rowOf(target, { measured: undefined, note: `the measuring process ended with ${code}` });
  const [row] = readTargetRows(lines.join("\n"));
  return row ?? rowOf(target, { measured: undefined, note: "the measuring process said nothing" });
}
