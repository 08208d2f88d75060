/** Compares with each peer, or says why not. */
import { quantile } from "../statistics.ts";
import type { MeasureOptions } from "../targets/target.ts";
import type { Peer } from "./peer.ts";

/** A row of `bench peers`. */
export interface PeerRow {
  readonly peer: string;
  readonly what: string;
  readonly unit: string;
  readonly ours: number | null;
  readonly theirs: number | null;
  /** theirs / ours, median of the pairs: above 1 we are faster by that factor. */
  readonly ratio: number | null;
  /** Smallest and largest of the pairs. */
  readonly range: readonly [number, number] | null;
  /** Why there is nothing to compare with; null when there is. */
  readonly skipped: string | null;
  readonly note: string;
}

export async function comparePeer(peer: Peer, options: MeasureOptions): Promise<PeerRow> {
  const { name, what, unit } = peer;
  const reason = await peer.reasonAgainst();
  const row = { peer: name, what, unit };
  if (reason !== undefined) {
    return { ...row, ours: null, theirs: null, ratio: null, range: null, skipped: reason, note: "" };
  }
  const { ours, theirs, note } = await peer.compare(options);
  const ratios = ours.map((own, pair) => (theirs[pair] ?? Number.NaN) / own);
  return {
    ...row,
    ours: quantile(ours, 0.5),
    theirs: quantile(theirs, 0.5),
    ratio: quantile(ratios, 0.5),
    range: [Math.min(...ratios), Math.max(...ratios)],
    skipped: null,
    note,
  };
}
