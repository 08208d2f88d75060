/** The contract of a target: a number that was promised, and how it is measured here. */
import type { RunSelf } from "../runner.ts";

export interface Target {
  /** Short and unique: what stands in the report, and what `--only` takes. */
  readonly name: string;
  readonly unit: string;
  readonly goal: number;
  /** Where we want to be. */
  readonly stretch: number;
  /** `lower`: the goal is a ceiling. `higher`: a floor. */
  readonly better: "lower" | "higher";
  /** What the peer is, in words; undefined: none runs here. */
  readonly peer?: string;
  /** Longest that measuring may take, set-up included; it is ended then, and the row says so. */
  readonly limitMs: number;
  measure(options: MeasureOptions): Promise<Measured>;
}

export interface MeasureOptions {
  readonly seed: number;
  readonly clock: () => number;
  /** Runs this program, for what is measured as a whole process; answers its exit code. */
  readonly runSelf: RunSelf;
}

export interface Measured {
  /** Undefined: it could not be measured; the note says why. */
  readonly measured: number | undefined;
  /** The peer or limit in the same run, in the same unit. */
  readonly peer?: number;
  /** Replaces the goal where that depends on something measured in the same run. */
  readonly goal?: number;
  readonly note: string;
}

/** A row of `bench targets`. */
export interface TargetRow {
  readonly target: string;
  readonly unit: string;
  readonly goal: number;
  readonly stretch: number;
  readonly measured: number | null;
  readonly peer: number | null;
  /** measured / peer. */
  readonly ratio: number | null;
  readonly pass: boolean;
  readonly note: string;
}

export function rowOf(target: Target, { measured, peer, goal = target.goal, note }: Measured): TargetRow {
  const reached = measured !== undefined && (target.better === "lower" ? measured <= goal : measured >= goal);
  const what = peer === undefined || target.peer === undefined ? [] : [`peer: ${target.peer}`];
  return {
    target: target.name,
    unit: target.unit,
    goal,
    stretch: target.stretch + goal - target.goal,
    measured: measured ?? null,
    peer: peer ?? null,
    ratio: measured === undefined || peer === undefined ? null : measured / peer,
    pass: reached,
    note: [note, ...what].filter((part) => part !== "").join("; "),
  };
}
