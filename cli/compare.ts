/** `compare`: where strategies part over a cluster, why, and what each costs. */
import type { Command } from "commander";
import { resolvePolicies } from "../compiler/compile.ts";
import { formatPacket } from "../traffic/transcript.ts";
import { compareLanes } from "../verify/compare.ts";
import { coverageRatio } from "../verify/exhaustive.ts";
import { REFERENCE, referenceLane } from "../verify/lane.ts";
import { namerOf } from "../verify/who.ts";
import {
  addInputFlags,
  addOutputFlag,
  addStrategyFlags,
  type InputFlags,
  type StrategyFlags,
  wholeNumber,
} from "./flags.ts";
import { COMPARE_FORMATS, type CompareFormat, formatComparison } from "./format/compare.ts";
import { loadModel } from "./input.ts";
import { EXIT } from "./io.ts";
import { lanesOf } from "./lanes.ts";
import type { Session } from "./session.ts";

/** Some ten seconds for one strategy. */
const DEFAULT_LIMIT = 2_000_000;

interface CompareFlags extends InputFlags, StrategyFlags {
  readonly output: CompareFormat;
  readonly limit: number;
}

export function define(command: Command, session: Session): void {
  addOutputFlag(addStrategyFlags(addInputFlags(command)), COMPARE_FORMATS)
    .option(
      "--limit <TUPLES>",
      "ask about so many classes of packets at most; beyond it coverage is below 1 and the exit code 3",
      wholeNumber(1, Number.MAX_SAFE_INTEGER),
      DEFAULT_LIMIT,
    )
    .action((flags: CompareFlags) => compare(flags, session));
}

async function compare(flags: CompareFlags, session: Session): Promise<void> {
  const cluster = resolvePolicies(await loadModel(session, flags.filename));
  const chosen = lanesOf(flags, cluster, {});
  const lanes = chosen.some(({ name }) => name === REFERENCE) ? chosen : [...chosen, referenceLane(cluster)];
  const progress = session.progress("classes of packets");
  const comparison = await compareLanes(cluster, lanes, { limit: flags.limit, proceed: () => progress.step() });
  await progress.done();
  const nameOf = namerOf(cluster.model);
  const lines = formatComparison(comparison, flags.output, (packet) => formatPacket(packet, nameOf));
  for (const line of lines) await session.out.line(line);
  if (comparison.groups.length > 0) session.end(EXIT.findings);
  if (coverageRatio(comparison.coverage) < 1) session.end(EXIT.incomplete);
}
