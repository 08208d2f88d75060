/** `compare`: where strategies part over a cluster, why, and what each costs. */
import type { Command } from "commander";
import { resolvePolicies } from "../compiler/compile.ts";
import type { ResolvedCluster } from "../compiler/resolve.ts";
import { TraceRecorder } from "../dataplane/trace.ts";
import { becauseOf, formatAnswer } from "../format/answer.ts";
import { COMPARE_FORMATS, type CompareFormat, formatComparison, type ShownSide } from "../format/compare.ts";
import { PLAIN } from "../format/paint.ts";
import { formatPacket } from "../traffic/transcript.ts";
import { type ComparedGroup, compareLanes } from "../verify/compare.ts";
import { coverageRatio } from "../verify/exhaustive.ts";
import { isOnNode, type Lane, nodeReferenceLane, REFERENCE, referenceLane } from "../verify/lane.ts";
import { namerOf } from "../verify/who.ts";
import {
  addImportFlags,
  addInputFlags,
  addOutputFlag,
  addStrategyFlags,
  type ImportFlags,
  type InputFlags,
  type StrategyFlags,
  wholeNumber,
} from "./flags.ts";
import { refuseIdle } from "./idle.ts";
import { asksForImport, importedLanes, savesFlags } from "./imported.ts";
import { loadModel } from "./input.ts";
import { EXIT, UsageError } from "./io.ts";
import { choicesOf, lanesOf } from "./lanes.ts";
import { addMomentFlag, type MomentFlags, momentOf } from "./moment.ts";
import { addOpenFlag, firstStrategy, type OpenFlags, openShown, requireShown, shownSaves } from "./open.ts";
import type { Session } from "./session.ts";

/** Some ten seconds for one strategy. */
const DEFAULT_LIMIT = 2_000_000;

interface CompareFlags extends InputFlags, StrategyFlags, ImportFlags, MomentFlags, OpenFlags {
  readonly output: CompareFormat;
  readonly limit: number;
  readonly walks?: boolean;
}

export function define(command: Command, session: Session): void {
  addOpenFlag(addMomentFlag(addImportFlags(addOutputFlag(addStrategyFlags(addInputFlags(command)), COMPARE_FORMATS))))
    .option(
      "--limit <TUPLES>",
      "ask about so many classes of packets at most; beyond it coverage is below 1 and the exit code 3",
      wholeNumber(1, Number.MAX_SAFE_INTEGER),
      DEFAULT_LIMIT,
    )
    .option("--walks", "show the whole walk of each example under every strategy (html always has them)")
    .action((flags: CompareFlags) => {
      refuseIdle(command, [savesFlags(flags)]);
      return compare(flags, session);
    });
}

async function compare(flags: CompareFlags, session: Session): Promise<void> {
  const { at } = flags;
  requireShown(flags, [
    ["--at", at !== undefined],
    ["the saves under several strategies", asksForImport(flags) && choicesOf(flags).length > 1],
  ]);
  if (at !== undefined && asksForImport(flags)) throw new UsageError("--at and a node's saves exclude each other");
  const moment = at === undefined ? undefined : await momentOf({ ...flags, at }, { walk: true }, session);
  const cluster = moment?.cluster ?? resolvePolicies(await loadModel(session, flags.filename));
  const { lanes, node } =
    moment === undefined
      ? await lanesToCompare(flags, cluster, session)
      : { lanes: withReference(moment.lanes, cluster), node: undefined };
  const progress = session.progress("classes of packets");
  const comparison = await compareLanes(cluster, lanes, {
    limit: flags.limit,
    // An imported node sees no packet between two others.
    ...(node !== undefined && {
      meets: (...ends) => ends.some((address) => isOnNode(cluster, node, address)),
    }),
    proceed: (count) => progress.step(count),
  });
  await progress.done();
  const nameOf = namerOf(cluster.model);
  const lines = formatComparison(comparison, {
    format: flags.output,
    walks: flags.walks === true || flags.output === "html" ? "shown" : "left out",
    columns: session.io.stdout.columns,
    show: (packet) => formatPacket(packet, nameOf),
    sides: (group) => lanes.map((lane) => sideOf(lane, group, cluster)),
  });
  for (const line of lines) await session.out.line(line);
  if (comparison.groups.length > 0) session.end(EXIT.findings);
  if (coverageRatio(comparison.coverage) < 1) session.end(EXIT.incomplete);
  const state = {
    view: "compare",
    strategy: firstStrategy(flags),
    compared: lanes.map(({ name }) => name).filter((name) => name !== REFERENCE),
    limit: flags.limit,
    ...(await shownSaves(flags, cluster, session)),
  } as const;
  await openShown(flags, { state }, session);
}

/** What was chosen, and the reference. An imported node is compared with what the policies mean on that node. */
async function lanesToCompare(
  flags: CompareFlags,
  cluster: ResolvedCluster,
  session: Session,
): Promise<{ readonly lanes: readonly Lane[]; readonly node?: string }> {
  if (asksForImport(flags)) {
    const imported = await importedLanes(flags, cluster, session);
    const [node = ""] = imported.flatMap(({ programs }) => programs.map((program) => program.node));
    return { lanes: [...imported, nodeReferenceLane(cluster, node)], node };
  }
  return { lanes: withReference(lanesOf(flags, cluster, {}), cluster) };
}

function withReference(lanes: readonly Lane[], cluster: ResolvedCluster): readonly Lane[] {
  return lanes.some(({ name }) => name === REFERENCE) ? lanes : [...lanes, referenceLane(cluster)];
}

/** The example of a group through one lane again, this time to be looked at. */
function sideOf(lane: Lane, { example }: ComparedGroup, cluster: ResolvedCluster): ShownSide {
  lane.flush();
  const recorder = new TraceRecorder();
  const answer = lane.push(example, recorder);
  const view = {
    lane,
    packet: example,
    answer,
    cluster,
    steps: recorder.steps,
    nameOf: namerOf(cluster.model),
  };
  return {
    name: lane.name,
    answer,
    because: becauseOf(view),
    walk: formatAnswer(view, { format: "summary", paint: PLAIN, columns: undefined }),
  };
}
