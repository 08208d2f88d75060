/** Whole real programs in the kernel: what the profile predicts beside what is measured. */
import { z } from "zod";
import { compileNode, resolvePolicies } from "../../compiler/compile.ts";
import type { Strategy } from "../../compiler/strategies/strategy.ts";
import type { Packet } from "../../dataplane/packet.ts";
import type { MapProgram, Program, TableProgram } from "../../dataplane/program.ts";
import { KernelMaps } from "../../verify/bpf/kernelMaps.ts";
import { MapJudge } from "../../verify/bpf/mapJudge.ts";
import { quietCost, quietDifference } from "../model/fit.ts";
import { predict } from "../model/predict.ts";
import type { CostProfile } from "../model/profile.ts";
import type { WorkCounts } from "../model/workCounts.ts";
import { Random } from "../workloads/random.ts";
import { openingPackets } from "../workloads/traffic.ts";
import { clusterOf, type WorkloadSize } from "../workloads.ts";
import { BARE } from "./experiments.ts";
import { type ConnectionState, countWork, PacedNode } from "./pacedNode.ts";

export interface Validation {
  readonly strategy: string;
  /** Policies in the cluster. */
  readonly policies: number;
  readonly state: ConnectionState;
  /** Rules that the packet visits. */
  readonly rules: number;
  /** Maps that are asked for it. */
  readonly lookups: number;
  /** Nanoseconds that the program adds to a packet's way through the node; of a map program, that its look-ups take. */
  readonly predicted: number;
  readonly predictedCi95: readonly [number, number];
  readonly measured: number;
  /** How far off that may be (half of the 95 % interval), ns: a smaller difference cannot be told. */
  readonly noise: number;
  /** predicted / measured - 1. */
  readonly error: number;
  /** Kinds of work without a cost. */
  readonly unknown: readonly string[];
}

const rowSchema = z.object({
  strategy: z.string(),
  policies: z.number(),
  state: z.enum(["new", "established"]),
  rules: z.number(),
  lookups: z.number(),
  predicted: z.number(),
  predictedCi95: z.tuple([z.number(), z.number()]),
  measured: z.number(),
  noise: z.number(),
  error: z.number(),
  unknown: z.array(z.string()),
});

/** Reads what `bench validate -o json` wrote. Throws when it is something else. */
export function readValidations(text: string): readonly Validation[] {
  return z.array(rowSchema).parse(JSON.parse(text));
}

/** What the promise allows. */
export const ALLOWED = 0.25;

/** Whether the measurement is sure enough to hold a prediction against it. */
export function isTold({ noise, measured }: Pick<Validation, "noise" | "measured">): boolean {
  return noise < ALLOWED * measured;
}

export interface ValidateOptions {
  readonly strategies: readonly Strategy[];
  readonly profile: CostProfile;
  readonly seed: number;
  /** Whether the kernel runs eBPF programs; without, map programs are left out. */
  readonly maps: boolean;
  proceed(): Promise<boolean>;
}

const NODE = "node-0";
const SIZES = [10, 40, 120] as const;
/** Short turns and many: what the machine does besides then comes to both sides of a difference. */
const TIMES = 2;
const TURNS = 8;
/** What a program adds to a packet of an established connection is mostly little: turns go on until it is told so surely, */
const SURE = 0.06;
/** or so many were taken. */
const MOST_TURNS = 48;
/** Of a map program, whose runs are short. */
const MAP_TIMES = 15;
const STATES: readonly ConnectionState[] = ["new", "established"];
/** Openings among which the packet with the most rules that passes is looked for. */
const CANDIDATES = 60;

function clusterSize(policies: number, seed: number): WorkloadSize {
  return { pods: 60, policies, namespaces: 3, nodes: 5, seed, shape: "mixed" };
}

export function validationsOf(strategies: readonly Strategy[]): number {
  return strategies.length * SIZES.length;
}

/** A row for each strategy, size and state of the connection; map programs have the first packet of one alone. */
export async function* validate({
  strategies,
  profile,
  seed,
  maps,
  proceed,
}: ValidateOptions): AsyncGenerator<Validation> {
  for (const policies of SIZES) {
    const cluster = resolvePolicies(clusterOf(clusterSize(policies, seed)));
    const candidates = openingPackets(cluster, NODE, { count: CANDIDATES, random: new Random(seed) });
    for (const strategy of strategies) {
      const program = compileNode(cluster, strategy, { node: NODE });
      if (program.kind === "maps" && !maps) continue;
      const packet = longestWay(program, candidates);
      if (packet === undefined) continue;
      const about = { strategy: strategy.name, policies, profile };
      if (program.kind === "maps") yield* mapRow(program, packet, about);
      else yield* tableRows(program, packet, about);
      if (!(await proceed())) return;
    }
  }
}

type About = Pick<RowParts, "strategy" | "policies" | "profile">;

async function* tableRows(program: TableProgram, packet: Packet, about: About): AsyncGenerator<Validation> {
  const node = await PacedNode.start(program.attachment, about.profile.variant);
  try {
    for (const state of STATES) {
      const counts = countWork(program, packet, state);
      if (counts === undefined) continue;
      const added = await addedBy(node, program, packet, state);
      yield rowOf({ ...about, state, counts, ...added });
    }
  } finally {
    await node.close();
  }
}

/** Runs of a map program, of which one measurement is made. */
const MAP_RUNS = 50_000;

async function* mapRow(program: MapProgram, packet: Packet, about: About): AsyncGenerator<Validation> {
  const counts = countWork(program, packet, "new");
  if (counts === undefined) return;
  const kernel = new KernelMaps();
  try {
    const judge = await MapJudge.load(kernel, [program]);
    const measured: number[] = [];
    for (let time = 0; time < MAP_TIMES; time++) measured.push(await judge.time(packet, MAP_RUNS));
    const { ns, ci95 } = quietCost(measured, { seed: 1 });
    yield rowOf({ ...about, state: "new", counts, measured: ns, noise: (ci95[1] - ci95[0]) / 2 });
  } finally {
    await kernel.close();
  }
}

/** The packet that passes after the most work. */
function longestWay(program: Program, candidates: readonly Packet[]): Packet | undefined {
  let best: { readonly packet: Packet; readonly work: number } | undefined;
  for (const packet of candidates) {
    const counts = countWork(program, packet, "new");
    if (counts === undefined) continue;
    const work = (counts.get("rule") ?? 0) + lookupsIn(counts);
    if (work > (best?.work ?? -1)) best = { packet, work };
  }
  return best?.packet;
}

function lookupsIn(counts: WorkCounts): number {
  let sum = 0;
  for (const [kind, count] of counts) if (/^(map|miss|trie) /.test(kind)) sum += count;
  return sum;
}

interface Added {
  readonly measured: number;
  readonly noise: number;
}

/** What the program adds: measured without it and with it, in turn, there and back so that drift comes to both. */
async function addedBy(node: PacedNode, program: TableProgram, packet: Packet, state: ConnectionState): Promise<Added> {
  const without = { program: { ...BARE, attachment: program.attachment }, values: [] as number[] };
  const withIt = { program, values: [] as number[] };
  let added: Added | undefined;
  for (let turn = 0; turn < MOST_TURNS && (added === undefined || added.noise > SURE * added.measured); turn++) {
    for (const { program: loaded, values } of turn % 2 === 0 ? [without, withIt] : [withIt, without]) {
      await node.load(loaded);
      values.push(...(await node.measure(packet, state, TIMES)));
    }
    // Not before both orders had their turns.
    if (turn % 2 === 1 && turn + 1 >= TURNS) added = difference(withIt.values, without.values);
  }
  return added ?? difference(withIt.values, without.values);
}

function difference(withIt: readonly number[], without: readonly number[]): Added {
  const { ns, ci95 } = quietDifference(withIt, without, { seed: 1 });
  return { measured: ns, noise: (ci95[1] - ci95[0]) / 2 };
}

interface RowParts extends Pick<Validation, "strategy" | "policies" | "state" | "measured" | "noise"> {
  readonly counts: WorkCounts;
  readonly profile: CostProfile;
}

function rowOf({ counts, profile, ...row }: RowParts): Validation {
  // The way and connection tracking are the same with and without the program.
  const { ns, ci95, unknown } = predict(counts, profile, (kind) => kind.startsWith("conntrack "));
  return {
    ...row,
    rules: counts.get("rule") ?? 0,
    lookups: lookupsIn(counts),
    predicted: ns,
    predictedCi95: ci95,
    error: ns / row.measured - 1,
    unknown,
  };
}
