/** `bench targets`: what was promised, measured here. */
import type { Command } from "commander";
import { TARGETS } from "../bench/targets/registry.ts";
import { runTargets } from "../bench/targets/run.ts";
import type { Target, TargetRow } from "../bench/targets/target.ts";
import { formatTargets } from "../format/bench/targets.ts";
import { addMannerFlags, addOutputFlag, type MannerFlags, wholeNumber } from "./flags.ts";
import { refuseIdle } from "./idle.ts";
import { UsageError } from "./io.ts";
import type { Session } from "./session.ts";

interface TargetFlags extends MannerFlags {
  readonly only: readonly string[];
  readonly seed: number;
  readonly output: "table" | "json" | "md" | "csv";
  readonly here?: boolean;
  readonly time?: number;
}

export function defineTargets(command: Command, session: Session): void {
  addOutputFlag(addMannerFlags(command), ["table", "json", "md", "csv"])
    .description("the promised numbers, each measured in a process of its own, beside peers where they run here")
    .option("--only <TEXT...>", "targets whose name has this in it", [])
    .option("--seed <N>", "of clusters and traffic", wholeNumber(0, 0xffff_ffff), 1)
    .option("--time <SECONDS>", "for everything; targets that do not fit say so", wholeNumber(1, 86_400))
    .option("--here", "in this process, without a limit of time")
    .action((flags: TargetFlags) => {
      refuseIdle(command, [
        {
          flags: ["--time"],
          why: "and --here exclude each other: there time has no limit",
          isIdle: flags.here === true,
        },
      ]);
      return targets(flags, session);
    });
}

async function targets(flags: TargetFlags, session: Session): Promise<void> {
  const chosen =
    flags.only.length === 0 ? TARGETS : TARGETS.filter(({ name }) => flags.only.some((text) => name.includes(text)));
  if (chosen.length === 0) {
    throw new UsageError(`no target has ${flags.only.join(" or ")} in its name; there are: ${namesOf(TARGETS)}`);
  }
  const { io } = session;
  const progress = session.progress("targets", chosen.length);
  const rows: TargetRow[] = [];
  const options = { seed: flags.seed, clock: () => io.now(), runSelf: io.runSelf, signal: io.interrupted };
  const budgetMs = flags.time === undefined ? undefined : flags.time * 1_000;
  const where = flags.here === true ? "here" : "processes";
  for await (const row of runTargets(chosen, { ...options, where, budgetMs })) {
    rows.push(row);
    await progress.step();
  }
  await progress.done();
  for (const line of formatTargets(rows, flags.output, session.paint)) await session.out.line(line);
}

function namesOf(all: readonly Target[]): string {
  return all.map(({ name }) => `"${name}"`).join(", ");
}
