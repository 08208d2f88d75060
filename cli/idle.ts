/** Flags that were given and change nothing beside the others: whoever gave one thinks that it does. */
import type { Command } from "commander";
import { UsageError } from "./io.ts";

export interface IdleFlags {
  /** `--seed`. */
  readonly flags: readonly string[];
  /** What is said of the one that was given: `goes with --kernel`. */
  readonly why: string;
  readonly isIdle: boolean;
}

/** Ends the command before it does anything. */
export function refuseIdle(command: Command, all: readonly IdleFlags[]): void {
  for (const { flags, why, isIdle } of all) {
    const given = isIdle ? flags.find((flag) => isGiven(command, flag)) : undefined;
    if (given !== undefined) throw new UsageError(`${given} ${why}`);
  }
}

/** On the command line, not by its default. */
function isGiven(command: Command, flag: string): boolean {
  const option = command.options.find(({ long }) => long === flag);
  if (option === undefined) throw new Error(`${command.name()} has no ${flag}`);
  return command.getOptionValueSource(option.attributeName()) === "cli";
}
