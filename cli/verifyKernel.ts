/** `verify --kernel`: does the Linux kernel do with the program what we say it does? */
import type { ResolvedCluster } from "../compiler/resolve.ts";
import type { Strategy } from "../compiler/strategies/strategy.ts";
import type { TableProgram } from "../dataplane/program.ts";
import { packetToObject } from "../traffic/packetObject.ts";
import { formatPacket } from "../traffic/transcript.ts";
import {
  type CampaignOptions,
  type ClusterCase,
  type Finding,
  isTables,
  judgePrograms,
  programsOf,
  shrinkCluster,
} from "../verify/kernel/campaign.ts";
import { missingCapabilities, reasonAgainst } from "../verify/kernel/capabilities.ts";
import type { Difference, JudgeReport } from "../verify/kernel/comparison.ts";
import { findingFiles } from "../verify/kernel/finding.ts";
import { isOnNode } from "../verify/lane.ts";
import { namerOf } from "../verify/who.ts";
import type { ImportFlags, InputFlags, StrategyFlags } from "./flags.ts";
import { asksForImport, readNode } from "./imported.ts";
import { joinPath } from "./input.ts";
import { EXIT } from "./io.ts";
import { ownSettings, settingsOf, strategiesOf } from "./lanes.ts";
import type { Session } from "./session.ts";

export interface KernelFlags extends InputFlags, StrategyFlags, ImportFlags {
  readonly output: "table" | "json";
  readonly packets: number;
  readonly seed: number;
  readonly findings: string;
}

/** Packets of a strategy when the user names no number: a second or two. */
export const DEFAULT_PACKETS = 20_000;

/** What the kernel was asked under one strategy. */
interface Judged {
  readonly strategy: Strategy;
  readonly nodes: readonly string[];
  readonly report: JudgeReport;
  readonly seed: number;
}

/** Ends with 4 when the machine cannot ask its kernel, with 1 when the kernel disagrees, with 3 when a verdict is unknown. */
export async function verifyKernel(flags: KernelFlags, cluster: ResolvedCluster, session: Session): Promise<void> {
  const missing = await missingCapabilities();
  const reason = reasonAgainst(missing, "bridge");
  if (reason !== undefined) {
    await session.error(`the kernel judge cannot run here: ${reason}`);
    session.end(EXIT.incapable);
    return;
  }
  const judged: Judged[] = [];
  for (const strategy of strategiesOf(flags)) {
    const one = await judge({ flags, cluster, session, strategy });
    if (one !== undefined) judged.push(one);
    if (session.io.interrupted.aborted) break;
  }
  if (flags.output === "json") await session.out.line(JSON.stringify(judged.flatMap((one) => jsonOf(one, cluster))));
  else for (const one of judged) for (const line of tableOf(one, cluster)) await session.out.line(line);
  if (judged.some(({ report }) => report.differences.length > 0)) session.end(EXIT.findings);
  if (judged.some(({ report }) => report.unknown > 0)) session.end(EXIT.incomplete);
}

interface Question {
  readonly flags: KernelFlags;
  readonly cluster: ResolvedCluster;
  readonly session: Session;
  readonly strategy: Strategy;
}

/** Undefined: the strategy programs no tables, or the user stopped. */
async function judge(question: Question): Promise<Judged | undefined> {
  const { flags, cluster, session, strategy } = question;
  const { programs, subject } = await programsFor(question);
  if (programs.length === 0) {
    await session.note(`${strategy.name} programs no tables: there is nothing that the kernel judge could load`);
    return undefined;
  }
  const [only] = subject === undefined ? programs : [];
  const progress = session.progress("packets", flags.packets);
  const options: CampaignOptions = {
    variant: "legacy",
    walks: true,
    packets: flags.packets,
    seed: flags.seed,
    proceed: (count) => progress.step(count),
    // An imported node sees no packet between two others; what its bridge would do with one says nothing.
    ...(only !== undefined && {
      only: only.node,
      concerns: ({ source, destination }) => [source, destination].some((end) => isOnNode(cluster, only.node, end)),
    }),
  };
  try {
    const report = await judgePrograms(programs, options);
    const [difference] = report.differences;
    if (difference !== undefined && subject !== undefined) {
      await tellFinding(question, await shrinkCluster(subject, difference, { ...options, proceed: async () => true }));
    }
    return { strategy, nodes: programs.map(({ node }) => node), report, seed: flags.seed };
  } catch (error) {
    // Ctrl-C ends the tools at work in the namespace too, and what they say of it is no finding.
    if (session.io.interrupted.aborted) return undefined;
    throw error;
  } finally {
    await progress.done();
  }
}

/** What is to be judged: the programs of all nodes, or the one that was read from a node (then no subject to shrink). */
async function programsFor({ flags, cluster, session, strategy }: Question): Promise<{
  readonly programs: readonly TableProgram[];
  readonly subject: ClusterCase | undefined;
}> {
  if (asksForImport(flags)) {
    const program = await readNode({ flags, strategy, cluster, session });
    return { programs: [program].filter(isTables), subject: undefined };
  }
  const subject = { model: cluster.model, strategy, settings: ownSettings(strategy, settingsOf(flags)) };
  return { programs: programsOf(subject), subject };
}

/** Writes the scenario folder, and says on stderr how to see the difference again. */
async function tellFinding({ flags, session, strategy }: Question, finding: Finding<ClusterCase>): Promise<void> {
  const folder = joinPath(flags.findings, `${strategy.name}-${flags.seed}`);
  for (const [name, text] of Object.entries(findingFiles(finding))) {
    await session.io.writeFile(joinPath(folder, name), text);
  }
  const files = flags.filename.map((name) => `-f ${name}`).join(" ");
  const again = `chainwalk verify --kernel ${files} -s ${strategy.name} --packets ${flags.packets} --seed ${flags.seed}`;
  await session.error(
    `${strategy.name}: the kernel disagrees; the least that shows it is in ${folder}; again: ${again}`,
  );
}

function jsonOf({ strategy, nodes, report, seed }: Judged, cluster: ResolvedCluster) {
  const nameOf = namerOf(cluster.model);
  return nodes.map((node) => {
    const compared = report.nodes[node] ?? 0;
    const differences = report.differences.filter((difference) => difference.node === node);
    return {
      strategy: strategy.name,
      node,
      against: "kernel",
      packets: compared,
      walks: compared,
      tuples: compared,
      // Of the packets that were drawn; a sample says nothing of the others.
      coverage: report.hops === 0 ? 0 : report.hops / (report.hops + report.unknown),
      differences: differences.map(({ packet, expected, actual, because }: Difference) => ({
        packet: packetToObject(packet),
        text: formatPacket(packet, nameOf),
        expected,
        actual: actual ?? null,
        because,
      })),
      deviations: {},
      seed,
    };
  });
}

function tableOf({ strategy, nodes, report, seed }: Judged, cluster: ResolvedCluster): readonly string[] {
  const nameOf = namerOf(cluster.model);
  const { accept, drop, reject } = report.verdicts;
  const counts = nodes.map((node) => `${node} ${report.nodes[node] ?? 0}`).join(", ");
  const verdict = report.differences.length === 0 ? "equal" : `${report.differences.length} differences or more`;
  const lines = [
    `${strategy.name}: ${report.packets} packets and ${report.walks} walks against the kernel: ${verdict} (seed ${seed})`,
    `  ${counts}; accepted ${accept}, dropped ${drop}, rejected ${reject}`,
  ];
  if (report.unknown > 0) lines.push(`  ${report.unknown} met what chainwalk cannot represent, and were not compared`);
  for (const { packet, node, because } of report.differences) {
    lines.push(`  ${node}: ${formatPacket(packet, nameOf)}`, ...because.map((line) => `    ${line}`));
  }
  return lines;
}
