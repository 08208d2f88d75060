/** The contract of a peer: something else that answers the same question, measured in the same run. */
import type { MeasureOptions } from "../targets/target.ts";

export interface Peer {
  readonly name: string;
  /** What both do. */
  readonly what: string;
  readonly unit: string;
  /** Why it cannot run here; undefined when it can. */
  reasonAgainst(): Promise<string | undefined>;
  compare(options: MeasureOptions): Promise<Comparison>;
}

export interface Comparison {
  /** Paired: value `n` of both was measured one after the other. */
  readonly ours: readonly number[];
  readonly theirs: readonly number[];
  readonly note: string;
}
