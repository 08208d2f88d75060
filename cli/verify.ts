/** `verify`: does the program mean what the policies say? */
import { type Command, Option } from "commander";
import { compileNode, resolvePolicies } from "../compiler/compile.ts";
import type { ResolvedCluster } from "../compiler/resolve.ts";
import { leftLines, shareText } from "../format/coverage.ts";
import { counted } from "../traffic/findings.ts";
import { packetToObject } from "../traffic/packetObject.ts";
import { formatPacket } from "../traffic/transcript.ts";
import { coverageRatio } from "../verify/exhaustive.ts";
import { importedLane, type Lane, strategyLane } from "../verify/lane.ts";
import { comparePrograms, type Proof, type ProofOptions, proveStrategy } from "../verify/proof.ts";
import { namerOf } from "../verify/who.ts";
import {
  addImportFlags,
  addInputFlags,
  addOutputFlag,
  addStrategyFlags,
  collect,
  folderName,
  wholeNumber,
} from "./flags.ts";
import { refuseIdle } from "./idle.ts";
import { asksForImport, readNode, savesFlags } from "./imported.ts";
import { loadModel } from "./input.ts";
import { EXIT, UsageError } from "./io.ts";
import { lanesOf, ownSettings, settingsOf, strategiesOf } from "./lanes.ts";
import type { Session } from "./session.ts";
import { DEFAULT_PACKETS, type KernelFlags, verifyKernel } from "./verifyKernel.ts";

/** Some minutes for one strategy. */
const DEFAULT_LIMIT = 5_000_000;

interface VerifyFlags extends KernelFlags {
  readonly exhaustive?: boolean;
  readonly kernel?: boolean;
  readonly limit: number;
  readonly against?: string;
  readonly before: readonly string[];
  readonly strict?: boolean;
}

export function define(command: Command, session: Session): void {
  addImportFlags(addOutputFlag(addStrategyFlags(addInputFlags(command)), ["table", "json"]))
    .option("--exhaustive", "every class of packet against the API text and the declared deviations (the default)")
    .option("--strict", "the API text alone: declared deviations are differences too")
    .option("--against <STRATEGY>", "every class of packet against another strategy's programs instead")
    .addOption(
      new Option(
        "--before <FILE|DIR>",
        "every class of packet against these manifests instead: what a change changes; repeatable",
      )
        .argParser(collect)
        .default([], "none"),
    )
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
    .option(
      "--findings <DIR>",
      "with --kernel: where the least case of a difference is written",
      folderName,
      "findings",
    )
    .action((flags: VerifyFlags) => {
      const isKernel = flags.kernel === true;
      refuseIdle(command, [
        { flags: ["--packets", "--seed", "--findings"], why: "goes with --kernel", isIdle: !isKernel },
        {
          flags: ["--limit"],
          why: "and --kernel exclude each other: --packets says how many are drawn",
          isIdle: isKernel,
        },
        savesFlags(flags),
      ]);
      return verify(flags, session);
    });
}

/** One proof, and where it holds: a node, or `*` for the whole cluster. */
interface Verified {
  readonly proof: Proof;
  readonly node: string;
  /** A strategy's name with `--against`, `before` with `--before`. */
  readonly against: string;
}

/** What the programs are held against; one at a time. */
function standardOf(flags: VerifyFlags): "kernel" | "import" | "strategy" | "before" | "reference" {
  const asked = [
    ...(flags.kernel === true ? (["kernel"] as const) : []),
    ...(flags.against === undefined ? [] : (["strategy"] as const)),
    ...(flags.before.length === 0 ? [] : (["before"] as const)),
  ];
  if (asked.length > 1 || (asked.length === 1 && asked[0] !== "kernel" && asksForImport(flags))) {
    throw new UsageError("--kernel, --against, --before and a node's saves are one at a time");
  }
  const standard = asked[0] ?? (asksForImport(flags) ? "import" : "reference");
  if (flags.strict === true && standard !== "reference") {
    throw new UsageError("--strict is about the API text's deviations, and nothing is held against the API text here");
  }
  return standard;
}

async function verify(flags: VerifyFlags, session: Session): Promise<void> {
  const standard = standardOf(flags);
  const cluster = resolvePolicies(await loadModel(session, flags.filename));
  if (standard === "kernel") return verifyKernel(flags, cluster, session);
  const earlier = standard === "before" ? resolvePolicies(await loadModel(session, flags.before)) : undefined;
  const progress = session.progress("classes of packets");
  const options: ProofOptions = { limit: flags.limit, proceed: (count) => progress.step(count) };
  const verified: Verified[] = [];
  for (const strategy of strategiesOf(flags)) {
    const settings = ownSettings(strategy, settingsOf(flags));
    if (standard === "import") {
      const imported = await readNode({ flags, strategy, cluster, session });
      const compiled = compileNode(cluster, strategy, { node: imported.node, settings });
      const lanes = [importedLane(imported, strategy, {}), importedLane(compiled, strategy, {})] as const;
      verified.push({ proof: await comparePrograms(cluster, lanes, options), node: imported.node, against: "import" });
      continue;
    }
    const lane = strategyLane(cluster, strategy, { settings });
    const others: readonly Lane[] =
      earlier !== undefined
        ? [strategyLane(earlier, strategy, { settings })]
        : standard === "strategy"
          ? lanesOf({ strategy: flags.against ?? "", set: [] }, cluster, {})
          : [];
    for (const other of others) {
      const proof = await comparePrograms(cluster, [lane, other], options);
      verified.push({ proof, node: "*", against: earlier === undefined ? other.name : "before" });
    }
    if (standard !== "reference") continue;
    const judged = flags.strict === true ? { ...strategy, deviations: [] } : strategy;
    const proof = await proveStrategy(cluster, { lane, strategy: judged }, options);
    verified.push({ proof, node: "*", against: "reference" });
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
      packet: packetToObject(packet),
      text: formatPacket(packet, nameOf),
      ctState,
      expected,
      actual,
      because,
      where: boxes,
    })),
    deviations: proof.deviations,
    notCovered: [...proof.blindSpots, ...proof.coverage.left],
    // Nothing is drawn: every class is asked.
    seed: null,
  };
}

/** Boxes of a difference that a person is shown. */
const SHOWN_BOXES = 5;

function tableOf({ proof, node, against }: Verified, cluster: ResolvedCluster): readonly string[] {
  const nameOf = namerOf(cluster.model);
  const { coverage, differences, deviations } = proof;
  const equal = coverageOf(proof) < 1 ? "no difference found" : "equal";
  const verdict = differences.length === 0 ? equal : counted(differences.length, "difference");
  const whom = {
    import: `node ${node}, imported against compiled`,
    reference: "program against the API text",
    before: "these manifests against those before",
  }[against];
  const lines = [
    `${proof.strategy}: ${whom ?? `against ${against}`}: ${verdict} (${coverage.tuples} classes, ${shareText(coverageOf(proof))} of all first packets)`,
  ];
  for (const [name, count] of Object.entries(deviations)) lines.push(`  declared deviation ${name}: ${count} classes`);
  lines.push(...leftLines([...proof.blindSpots, ...coverage.left]).map((line) => `  ${line}`));
  for (const { packet, expected, actual, because, boxes } of differences) {
    const parted = against === "before" ? `was ${expected}, is now ${actual}` : `expected ${expected}, found ${actual}`;
    lines.push(`  ${parted}: e.g. ${formatPacket(packet, nameOf)}`);
    lines.push(...boxes.slice(0, SHOWN_BOXES).map((box) => `    ${box}`));
    if (boxes.length > SHOWN_BOXES) lines.push(`    and ${boxes.length - SHOWN_BOXES} more`);
    lines.push(...because.map((reason) => `    because ${reason}`));
  }
  return lines;
}
