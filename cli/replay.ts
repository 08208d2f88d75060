/** `replay`: recorded traffic against policies, and against a change of them. */
import { type Command, Option } from "commander";
import { addImportFlags, addInputFlags, addOutputFlag, addStrategyFlags, wholeNumber } from "./flags.ts";
import { REPLAY_FORMATS } from "./replayOutput.ts";
import { type ReplayFlags, runReplay } from "./replayRun.ts";
import type { Session } from "./session.ts";

export function define(command: Command, session: Session): void {
  addOutputFlag(addImportFlags(addStrategyFlags(addInputFlags(command))), REPLAY_FORMATS)
    .argument(
      "<TRAFFIC...>",
      "captures, flow logs or packets as JSON lines; several are merged by time; - is standard input",
    )
    .option("--before <DIR>", "manifests before the change: a whole cluster, or what is applied over -f")
    .option("--after <DIR>", "manifests after the change: a whole cluster, or what is applied over -f")
    .option("--prune", "policies of -f that the folder does not have go, as with kubectl apply --prune")
    .addOption(new Option("--top <N>", "rows of each table").argParser(wholeNumber(1, 1_000_000)).default(20))
    .action((traffic: readonly string[], flags: ReplayFlags) => runReplay(traffic, flags, session));
}
