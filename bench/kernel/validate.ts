/** Whole real programs in the kernel: what the profile predicts beside what is measured. */
import { z } from "zod";
import { compileNode, resolvePolicies } from "../../compiler/compile.ts";
import type { Strategy } from "../../compiler/strategies/strategy.ts";
import type { Packet } from "../../dataplane/packet.ts";
import type { TableProgram } from "../../dataplane/program.ts";
import { quietValue } from "../model/fit.ts";
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
  /** Nanoseconds that the program adds to a packet's way through the node. */
  readonly predicted: number;
  readonly predictedCi95: readonly [number, number];
  readonly measured: number;
  /** How far apart the measurements are, ns: a smaller difference cannot be told. */
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
  proceed(): Promise<boolean>;
}

const NODE = "node-0";
const SIZES = [10, 40, 120] as const;
const TIMES = 5;
const TURNS = 3;
const STATES: readonly ConnectionState[] = ["new", "established"];
/** Openings among which the packet with the most rules that passes is looked for. */
const CANDIDATES = 60;

function clusterSize(policies: number, seed: number): WorkloadSize {
  return { pods: 60, policies, namespaces: 3, nodes: 5, seed, shape: "mixed" };
}

export function validationsOf(strategies: readonly Strategy[]): number {
  return strategies.length * SIZES.length;
}

/** A row for each strategy with tables, size and state of the connection. */
export async function* validate({ strategies, profile, seed, proceed }: ValidateOptions): AsyncGenerator<Validation> {
  for (const policies of SIZES) {
    const cluster = resolvePolicies(clusterOf(clusterSize(policies, seed)));
    const candidates = openingPackets(cluster, NODE, { count: CANDIDATES, random: new Random(seed) });
    for (const strategy of strategies) {
      const program = compileNode(cluster, strategy, { node: NODE });
      if (program.kind === "maps") continue;
      const packet = longestWay(program, candidates);
      if (packet === undefined) continue;
      const node = await PacedNode.start(program.attachment, profile.variant);
      try {
        for (const state of STATES) {
          const counts = countWork(program, packet, state);
          if (counts === undefined) continue;
          const added = await addedBy(node, program, packet, state);
          yield rowOf({ strategy: strategy.name, policies, state, counts, ...added, profile });
        }
      } finally {
        await node.close();
      }
      if (!(await proceed())) return;
    }
  }
}

/** The packet that passes after the most rules. */
function longestWay(program: TableProgram, candidates: readonly Packet[]): Packet | undefined {
  let best: { readonly packet: Packet; readonly rules: number } | undefined;
  for (const packet of candidates) {
    const rules = countWork(program, packet, "new")?.get("rule") ?? -1;
    if (rules > (best?.rules ?? -1)) best = { packet, rules };
  }
  return best?.packet;
}

interface Added {
  readonly measured: number;
  readonly noise: number;
}

/** What the program adds: measured without it and with it, in turn. */
async function addedBy(node: PacedNode, program: TableProgram, packet: Packet, state: ConnectionState): Promise<Added> {
  const bare = { ...BARE, attachment: program.attachment };
  const without: number[] = [];
  const withIt: number[] = [];
  const turns: number[] = [];
  for (let turn = 0; turn < TURNS; turn++) {
    await node.load(bare);
    const before = await node.measure(packet, state, TIMES);
    await node.load(program);
    const after = await node.measure(packet, state, TIMES);
    without.push(...before);
    withIt.push(...after);
    turns.push(quietValue(after) - quietValue(before));
  }
  return { measured: quietValue(withIt) - quietValue(without), noise: (Math.max(...turns) - Math.min(...turns)) / 2 };
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
    predicted: ns,
    predictedCi95: ci95,
    error: ns / row.measured - 1,
    unknown,
  };
}
