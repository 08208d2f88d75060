/** Fits a profile to this machine's kernel: experiments, each measured several times, in an order that spreads drift. */

import type { Variant } from "../../verify/kernel/rules.ts";
import { fitCosts, type Observation } from "../model/fit.ts";
import type { CostProfile } from "../model/profile.ts";
import type { Params } from "../result.ts";
import { CONNECTION_MEASUREMENTS, CONNECTIONS_CURVE, measureConnections } from "./connections.ts";
import { ATTACHMENT, EXPERIMENTS, openingOf } from "./experiments.ts";
import { CURVE_MEASUREMENTS, measureCurves } from "./mapLookups.ts";
import { MAP_WRITE_MEASUREMENTS, measureMapWrites } from "./mapWrites.ts";
import { type ConnectionState, countWork, PacedNode } from "./pacedNode.ts";
import { measureUpdates, UPDATE_PASSES } from "./updateCosts.ts";

export interface CalibrateOptions {
  readonly name: string;
  readonly variant: Variant;
  readonly environment: Params;
  readonly seed: number;
  /** Passes over all experiments. */
  readonly passes: number;
  /** Whether the kernel runs eBPF programs: look-ups of its maps are measured, too. */
  readonly maps: boolean;
  /** Called after each measurement; false: stop here. */
  proceed(): Promise<boolean>;
}

/** Measurements of one experiment in one pass. */
const TIMES = 3;

/** New connections are told from old ones where nothing else is to be seen. */
const STATES: Readonly<Record<string, readonly ConnectionState[]>> = { bare: ["established", "new"] };

export function measurementsOf({ passes, maps }: Pick<CalibrateOptions, "passes" | "maps">): number {
  return (
    (maps ? CURVE_MEASUREMENTS + MAP_WRITE_MEASUREMENTS : 0) +
    UPDATE_PASSES +
    CONNECTION_MEASUREMENTS +
    passesOver(passes)
  );
}

function passesOver(passes: number): number {
  return passes * EXPERIMENTS.reduce((sum, { name }) => sum + (STATES[name]?.length ?? 1), 0);
}

export interface Calibration {
  readonly profile: CostProfile;
  readonly observations: readonly (Observation & { readonly name: string })[];
}

/**
 * Stopped, it fits what it has; undefined when that is not every experiment at least once. Rejects when the kernel cannot
 * be asked.
 */
export async function calibrate(options: CalibrateOptions): Promise<Calibration | undefined> {
  const { name, variant, environment, seed, passes } = options;
  const found: Measured = new Map();
  const node = await PacedNode.start(ATTACHMENT, variant);
  try {
    await measureAll(node, found, options);
  } catch (error) {
    // Ctrl-C reaches the tools that load rules as well: that they end is no failure then.
    if (await options.proceed()) throw error;
  } finally {
    await node.close();
  }
  if (found.size < passesOver(1) && passes > 0) return undefined;
  const observations = [...found].map(([key, observation]) => ({ name: key, ...observation }));
  const coefficients = fitCosts(observations, { seed });
  const commands = await measureUpdates(ATTACHMENT, variant, () => options.proceed());
  const writes = options.maps ? await measureMapWrites(() => options.proceed()) : {};
  const connections = await measureConnections(variant, () => options.proceed());
  const curves = {
    [CONNECTIONS_CURVE]: connections,
    ...(options.maps ? await measureCurves(() => options.proceed()) : {}),
  };
  const updates = { ...commands, ...writes };
  return {
    profile: { name, variant, environment: { ...environment }, coefficients, curves, updates },
    observations,
  };
}

type Measured = Map<string, { readonly counts: Observation["counts"]; readonly measured: number[] }>;

/** Returns early when told to stop. */
async function measureAll(node: PacedNode, found: Measured, { passes, proceed }: CalibrateOptions): Promise<void> {
  for (let pass = 0; pass < passes; pass++) {
    // There and back, so that a machine that slows down slows all of them alike.
    for (const experiment of pass % 2 === 0 ? EXPERIMENTS : [...EXPERIMENTS].reverse()) {
      await node.load(experiment.program);
      for (const state of STATES[experiment.name] ?? (["established"] as const)) {
        const key = `${experiment.name}, ${state}`;
        const known = found.get(key) ?? { counts: countsOf(experiment.program, state), measured: [] };
        known.measured.push(...(await node.measure(openingOf(0), state, TIMES)));
        found.set(key, known);
        if (!(await proceed())) return;
      }
    }
  }
}

const UNTRACKED_WORK: ReadonlySet<string> = new Set(["conntrack untracked", "target notrack"]);

/** The way through the node without rules is a kind of work as well: it is in every packet. */
export const WAY = "packet";

function countsOf(program: (typeof EXPERIMENTS)[number]["program"], state: ConnectionState): Observation["counts"] {
  const counts = countWork(program, openingOf(0), state);
  if (counts === undefined) throw new Error("an experiment refuses its own packet");
  // A node that tracks nothing is the way alone; what connection tracking adds to it is told apart by it.
  return new Map([...[...counts].filter(([kind]) => !UNTRACKED_WORK.has(kind)), [WAY, 1]]);
}
