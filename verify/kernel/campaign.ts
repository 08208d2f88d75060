/** Packets by the thousand against the kernel, and a difference made small enough to read. */

import type { ClusterModel } from "../../compiler/model.ts";
import { resolvePolicies } from "../../compiler/resolve.ts";
import type { Strategy } from "../../compiler/strategies/strategy.ts";
import { verifyProgram } from "../../compiler/verify.ts";
import type { Packet } from "../../dataplane/packet.ts";
import type { Program, TableProgram } from "../../dataplane/program.ts";
import { compileNodes } from "../lane.ts";
import type { Difference, JudgeReport } from "./comparison.ts";
import { type JudgeOptions, KernelJudge, type Subject, subjectOf } from "./judge.ts";
import { packetDomain } from "./packetDomain.ts";
import { PacketSource } from "./packetSource.ts";
import { Random } from "./random.ts";
import { shrink, smallerClusters, smallerLists, smallerPrograms } from "./shrink.ts";
import { addressKey } from "./topology.ts";

export interface CampaignOptions extends JudgeOptions {
  /** How many packets to draw. Not all of them meet a node. */
  readonly packets: number;
  readonly seed: number;
  /** How the kernel is told a program; default `subjectOf`. */
  readonly subject?: (program: TableProgram) => Subject;
  /** Packets of which it is false are not asked about. Default: all are. */
  readonly concerns?: (packet: Packet) => boolean;
  /** Called after each batch with how many packets were in it. False: stop. */
  readonly proceed?: (packets: number) => Promise<boolean>;
}

/** A difference, and the least it takes to see it again. */
export interface Finding<Case> {
  readonly difference: Difference;
  /** Pushed in this order, the last one differs. */
  readonly packets: readonly Packet[];
  readonly case: Case;
}

/** Packets between two flushes: connections of one batch stay far below `nf_conntrack_max`. */
const BATCH = 20_000;

/** Cases tried to make one finding smaller, each a tenth of a second. */
const SHRINK_BUDGET = 150;

/** Draws packets from the programs and compares. Throws with the kernel's words when it refuses a program. */
export async function judgePrograms(programs: readonly TableProgram[], options: CampaignOptions): Promise<JudgeReport> {
  const judge = await KernelJudge.start(programs.map(options.subject ?? subjectOf), options);
  try {
    return await runCampaign(judge, programs, options);
  } finally {
    await judge.close();
  }
}

/**
 * A judge for one case after another. To set up a node takes the kernel longer than thousands of packets do, so the next
 * judge is started while a case is at work, and those that are done are closed aside; all are closed at the end.
 */
export async function* judgesAhead<Case>(
  cases: Iterable<Case>,
  start: (subject: Case) => Promise<KernelJudge>,
): AsyncGenerator<readonly [subject: Case, judge: KernelJudge]> {
  type Started = readonly [subject: Case, starting: Promise<KernelJudge>];
  const closing: Promise<void>[] = [];
  let ahead: Started | undefined;
  async function* served([subject, starting]: Started): AsyncGenerator<readonly [Case, KernelJudge]> {
    const judge = await starting;
    try {
      yield [subject, judge];
    } finally {
      closing.push(judge.close());
    }
  }
  try {
    for (const subject of cases) {
      const present = ahead;
      ahead = [subject, start(subject)];
      ahead[1].catch(() => {}); // awaited when its turn comes
      if (present !== undefined) yield* served(present);
    }
    const last = ahead;
    ahead = undefined;
    if (last !== undefined) yield* served(last);
  } finally {
    if (ahead !== undefined) closing.push(ahead[1].then((judge) => judge.close()));
    await Promise.allSettled(closing);
  }
}

/** The same on a judge that is there already, with these programs loaded. */
export async function runCampaign(
  judge: KernelJudge,
  programs: readonly TableProgram[],
  options: CampaignOptions,
): Promise<JudgeReport> {
  const source = new PacketSource(packetDomain(programs), new Random(options.seed));
  let total: JudgeReport | undefined;
  for (let left = options.packets; left > 0; left -= BATCH) {
    const packets = Array.from({ length: Math.min(BATCH, left) }, () => source.next());
    const report = await judge.run(packets.filter(options.concerns ?? (() => true)));
    total = total === undefined ? report : addReports(total, report);
    const goesOn = (await options.proceed?.(packets.length)) ?? true;
    if (total.differences.length > 0 || !goesOn) break;
  }
  return total ?? EMPTY_REPORT;
}

export const EMPTY_REPORT: JudgeReport = {
  packets: 0,
  hops: 0,
  walks: 0,
  unknown: 0,
  nodes: {},
  verdicts: { accept: 0, drop: 0, reject: 0 },
  differences: [],
};

export function addReports(a: JudgeReport, b: JudgeReport): JudgeReport {
  return {
    packets: a.packets + b.packets,
    hops: a.hops + b.hops,
    walks: a.walks + b.walks,
    unknown: a.unknown + b.unknown,
    nodes: addCounts(a.nodes, b.nodes),
    verdicts: {
      accept: a.verdicts.accept + b.verdicts.accept,
      drop: a.verdicts.drop + b.verdicts.drop,
      reject: a.verdicts.reject + b.verdicts.reject,
    },
    differences: [...a.differences, ...b.differences],
  };
}

function addCounts(a: JudgeReport["nodes"], b: JudgeReport["nodes"]): JudgeReport["nodes"] {
  const sum = { ...a };
  for (const [node, count] of Object.entries(b)) sum[node] = (sum[node] ?? 0) + count;
  return sum;
}

/** What a strategy makes of a cluster, and whether the kernel agrees with what we make of that. */
export interface ClusterCase {
  readonly model: ClusterModel;
  readonly strategy: Strategy;
  readonly settings?: ReadonlyMap<string, string>;
}

/** The table programs of a case, one per node. */
export function programsOf({ model, strategy, settings }: ClusterCase): readonly TableProgram[] {
  const options = settings === undefined ? {} : { settings };
  return compileNodes(resolvePolicies(model), strategy, options).filter(isTables);
}

export function isTables(program: Program): program is TableProgram {
  return program.kind === "tables";
}

/** Judges the programs of a cluster on all of its nodes. */
export function judgeCluster(subject: ClusterCase, options: CampaignOptions): Promise<JudgeReport> {
  return judgePrograms(programsOf(subject), options);
}

/** The least cluster and packets that still show the first difference of a report of `judgeCluster`. */
export async function shrinkCluster(
  subject: ClusterCase,
  difference: Difference,
  options: CampaignOptions,
): Promise<Finding<ClusterCase>> {
  const differs = (model: ClusterModel, packets: readonly Packet[]) =>
    firstDifference(() => programsOf({ ...subject, model }), packets, options);
  const packets = await fewerPackets(difference, packetsUpTo(programsOf(subject), difference, options), (candidate) =>
    differs(subject.model, candidate),
  );
  const model = await shrink(subject.model, smallerClusters, {
    stillFails: async (candidate) => (await differs(candidate, packets)) !== undefined,
    budget: SHRINK_BUDGET,
  });
  const last = (await differs(model, packets)) ?? difference;
  return { difference: last, packets, case: { ...subject, model } };
}

/** The least programs and packets that still show the first difference of a report of `judgePrograms`. */
export async function shrinkProgram(
  program: TableProgram,
  difference: Difference,
  options: CampaignOptions,
): Promise<Finding<TableProgram>> {
  const differs = (candidate: TableProgram, packets: readonly Packet[]) =>
    firstDifference(() => [candidate], packets, options);
  const packets = await fewerPackets(difference, packetsUpTo([program], difference, options), (candidate) =>
    differs(program, candidate),
  );
  const smallest = await shrink(program, smallerPrograms, {
    stillFails: async (candidate) => (await differs(candidate, packets)) !== undefined,
    budget: SHRINK_BUDGET,
  });
  const last = (await differs(smallest, packets)) ?? difference;
  return { difference: last, packets, case: smallest };
}

/** The batch of the campaign in which the difference is, up to and with its packet. */
function packetsUpTo(
  programs: readonly TableProgram[],
  difference: Difference,
  options: CampaignOptions,
): readonly Packet[] {
  const source = new PacketSource(packetDomain(programs), new Random(options.seed));
  for (let left = options.packets; left > 0; left -= BATCH) {
    const packets = Array.from({ length: Math.min(BATCH, left) }, () => source.next());
    const candidate = packets[difference.index];
    if (candidate !== undefined && samePacket(candidate, difference.packet))
      return packets.slice(0, difference.index + 1);
  }
  return [difference.packet];
}

/** Mostly the packet alone differs; then what went before between the same two; at last anything before it. */
async function fewerPackets(
  difference: Difference,
  packets: readonly Packet[],
  differs: (packets: readonly Packet[]) => Promise<Difference | undefined>,
): Promise<readonly Packet[]> {
  const stillFails = async (candidate: readonly Packet[]) => (await differs(candidate)) !== undefined;
  if (await stillFails([difference.packet])) return [difference.packet];
  const ends = new Set([addressKey(difference.packet.source), addressKey(difference.packet.destination)]);
  const related = packets.filter(({ source, destination, quoted }) =>
    [source, destination, quoted?.source, quoted?.destination].some(
      (end) => end !== undefined && ends.has(addressKey(end)),
    ),
  );
  const start = (await stillFails(related)) ? related : packets;
  return shrink(start, smallerLists, { stillFails, budget: SHRINK_BUDGET });
}

/** Starts anew for each trial: a smaller cluster has other interfaces. A case that nobody can load shows nothing. */
async function firstDifference(
  compile: () => readonly TableProgram[],
  packets: readonly Packet[],
  options: CampaignOptions,
): Promise<Difference | undefined> {
  let judge: KernelJudge;
  try {
    const programs = compile();
    if (programs.some((program) => verifyProgram(program).length > 0)) return undefined;
    judge = await KernelJudge.start(programs.map(options.subject ?? subjectOf), options);
  } catch {
    return undefined;
  }
  try {
    const { differences } = await judge.run(packets);
    return differences[0];
  } finally {
    await judge.close();
  }
}

function samePacket(a: Packet, b: Packet): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
