/** `strategies`: the network solutions, what each refuses, and its options; as Markdown, what each really does (docs/strategies.md). */
import type { Command } from "commander";
import { STRATEGIES } from "../compiler/strategies/registry.ts";
import { formatColumns } from "../format/columns.ts";
import { strategiesPage } from "../format/strategiesPage.ts";
import { REFERENCE } from "../verify/lane.ts";
import { addMannerFlags, addOutputFlag, type MannerFlags } from "./flags.ts";
import type { Session } from "./session.ts";

interface StrategiesFlags extends MannerFlags {
  readonly output: "table" | "json" | "md";
}

export function define(command: Command, session: Session): void {
  addOutputFlag(addMannerFlags(command), ["table", "json", "md"]).action((flags: StrategiesFlags) =>
    listStrategies(flags, session),
  );
}

async function listStrategies(flags: StrategiesFlags, session: Session): Promise<void> {
  if (flags.output === "md") {
    for (const line of strategiesPage(STRATEGIES)) await session.out.line(line);
    return;
  }
  if (flags.output === "json") {
    const listed = STRATEGIES.map(
      ({ name, summary, sources, unsupported, deviations, lapses, denyVerdict, options }) => ({
        name,
        summary,
        denyVerdict,
        options,
        unsupported,
        deviations: deviations.map(({ verdict: _verdict, ...described }) => described),
        lapses,
        sources,
      }),
    );
    await session.out.line(JSON.stringify(listed, undefined, 2));
    return;
  }
  const rows = STRATEGIES.flatMap((strategy) => [
    [{ text: strategy.name, look: "strong" as const }, { text: strategy.summary }],
    ...strategy.options.map((option) => [
      { text: "" },
      { text: `--set ${option.name}=${option.default}  ${option.summary}`, look: "faint" as const },
    ]),
  ]);
  const reference = [{ text: REFERENCE, look: "strong" as const }, { text: "the API text itself, executed" }];
  for (const line of formatColumns([...rows, reference], { paint: session.paint })) await session.out.line(line);
}
