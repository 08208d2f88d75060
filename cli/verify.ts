/** `verify`: does the program mean what the policies say? */
import type { Command } from "commander";
import { compileNode, resolvePolicies } from "../compiler/compile.ts";
import type { ResolvedCluster } from "../compiler/resolve.ts";
import { formatPacket } from "../traffic/transcript.ts";
import { coverageRatio } from "../verify/exhaustive.ts";
import { importedLane, strategyLane } from "../verify/lane.ts";
import { compareNode, type Proof, type ProofOptions, proveStrategy } from "../verify/proof.ts";
import { namerOf } from "../verify/who.ts";
import { addImportFlags, addInputFlags, addOutputFlag, addStrategyFlags, wholeNumber } from "./flags.ts";
import { asksForImport, readNode } from "./imported.ts";
import { loadModel } from "./input.ts";
import { EXIT } from "./io.ts";
import { ownSettings, settingsOf, strategiesOf } from "./lanes.ts";
import type { Session } from "./session.ts";
import { DEFAULT_PACKETS, type KernelFlags, verifyKernel } from "./verifyKernel.ts";

/** Some minutes for one strategy. */
const DEFAULT_LIMIT = 5_000_000;

interface VerifyFlags extends KernelFlags {
  readonly exhaustive?: boolean;
  readonly kernel?: boolean;
  readonly limit: number;
}

export function define(command: Command, session: Session): void {
  addImportFlags(addOutputFlag(addStrategyFlags(addInputFlags(command)), ["table", "json"]))
    .option("--exhaustive", "every class of packet against the API text and the declared deviations (the default)")
    .option(
      "--limit <TUPLES>",
      "ask about so many classes of packets at most; beyond it coverage is below 1 and the exit code 3",
      wholeNumber(1, Number.MAX_SAFE_INTEGER),
      DEFAULT_LIMIT,
    )
    .option(
      "--kernel",
      "the same packets through the Linux kernel of this machine instead (needs root): verdicts and walks",
    )
    .option("--packets <N>", "with --kernel: packets to draw", wholeNumber(1, 100_000_000), DEFAULT_PACKETS)
    .option("--seed <N>", "with --kernel: which packets", wholeNumber(0, 0xffff_ffff), 1)
    .option("--findings <DIR>", "with --kernel: where the least case of a difference is written", "findings")
    .action((flags: VerifyFlags) => verify(flags, session));
}

/** One proof, and where it holds: a node, or `*` for the whole cluster. */
interface Verified {
  readonly proof: Proof;
  readonly node: string;
  readonly against: "reference" | "import";
}

async function verify(flags: VerifyFlags, session: Session): Promise<void> {
  const cluster = resolvePolicies(await loadModel(session, flags.filename));
  if (flags.kernel === true) return verifyKernel(flags, cluster, session);
  const progress = session.progress("classes of packets");
  const options: ProofOptions = { limit: flags.limit, proceed: (count) => progress.step(count) };
  const verified: Verified[] = [];
  for (const strategy of strategiesOf(flags)) {
    const settings = ownSettings(strategy, settingsOf(flags));
    if (asksForImport(flags)) {
      const imported = await readNode({ flags, strategy, cluster, session });
      const compiled = compileNode(cluster, strategy, { node: imported.node, settings });
      const lanes = [importedLane(imported, strategy, {}), importedLane(compiled, strategy, {})] as const;
      verified.push({ proof: await compareNode(cluster, lanes, options), node: imported.node, against: "import" });
    } else {
      const lane = strategyLane(cluster, strategy, { settings });
      const proof = await proveStrategy(cluster, { lane, strategy }, options);
      verified.push({ proof, node: "*", against: "reference" });
    }
  }
  await progress.done();
  const lines = flags.output === "json" ? [JSON.stringify(verified.map((one) => jsonOf(one, cluster)))] : [];
  if (flags.output === "table") for (const one of verified) lines.push(...tableOf(one, cluster));
  for (const line of lines) await session.out.line(line);
  if (verified.some(({ proof }) => proof.differences.length > 0)) session.end(EXIT.findings);
  if (verified.some(({ proof }) => coverageOf(proof) < 1)) session.end(EXIT.incomplete);
}

/** What programs read beside the space is not covered by it. */
function coverageOf({ coverage, blindSpots }: Proof): number {
  return blindSpots.length > 0 ? Math.min(coverageRatio(coverage), 0.999999) : coverageRatio(coverage);
}

function jsonOf({ proof, node, against }: Verified, cluster: ResolvedCluster) {
  const nameOf = namerOf(cluster.model);
  return {
    strategy: proof.strategy,
    node,
    against,
    packets: Number(proof.coverage.packets),
    walks: 0,
    tuples: proof.coverage.tuples,
    coverage: coverageOf(proof),
    differences: proof.differences.map(({ packet, ctState, expected, actual, because, boxes }) => ({
      packet: formatPacket(packet, nameOf),
      ctState,
      expected,
      actual,
      because,
      where: boxes,
    })),
    deviations: proof.deviations,
    notCovered: proof.blindSpots,
    // Nothing is drawn: every class is asked.
    seed: null,
  };
}

/** Boxes of a difference that a person is shown. */
const SHOWN_BOXES = 5;

function tableOf({ proof, node, against }: Verified, cluster: ResolvedCluster): readonly string[] {
  const nameOf = namerOf(cluster.model);
  const { coverage, differences, deviations } = proof;
  const share = `${(coverageOf(proof) * 100).toFixed(4).replace(/\.?0+$/, "")} %`;
  const verdict = differences.length === 0 ? "equal" : `${differences.length} differences`;
  const whom = against === "import" ? `node ${node}, imported against compiled` : "program against the API text";
  const lines = [`${proof.strategy}: ${whom}: ${verdict} (${coverage.tuples} classes, ${share} of all first packets)`];
  for (const [name, count] of Object.entries(deviations)) lines.push(`  declared deviation ${name}: ${count} classes`);
  for (const spot of proof.blindSpots) lines.push(`  not covered: ${spot}`);
  for (const { packet, expected, actual, because, boxes } of differences) {
    lines.push(`  expected ${expected}, found ${actual}: e.g. ${formatPacket(packet, nameOf)}`);
    lines.push(...boxes.slice(0, SHOWN_BOXES).map((box) => `    ${box}`));
    if (boxes.length > SHOWN_BOXES) lines.push(`    and ${boxes.length - SHOWN_BOXES} more`);
    lines.push(...because.map((reason) => `    because ${reason}`));
  }
  return lines;
}
