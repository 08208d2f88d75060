/** Compares with each peer, or says why not. */
import { z } from "zod";
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

const rowSchema = z.object({
  peer: z.string(),
  what: z.string(),
  unit: z.string(),
  ours: z.number().nullable(),
  theirs: z.number().nullable(),
  ratio: z.number().nullable(),
  range: z.tuple([z.number(), z.number()]).nullable(),
  skipped: z.string().nullable(),
  note: z.string(),
});

/** Reads what `bench peers -o json` wrote. Throws when it is something else. */
export function readPeerRows(text: string): readonly PeerRow[] {
  return z.array(rowSchema).parse(JSON.parse(text));
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
