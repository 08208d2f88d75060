/**
 * How far apart the clocks of recordings are, told by packets that are in two of them. A packet crosses a cluster within a
 * millisecond or so; when most packets that two recordings share lie thirteen seconds apart, their clocks do.
 *
 * What is compared are the first packets of each recording (`sampleRows`), by what does not change on the way
 * (`signatureOf`); a packet that occurs again later in one recording says nothing. A difference is believed when
 * - at least `LEAST_MATCHES` shared packets agree on it, and at least `MOST_AGREE` of all that are shared, and
 * - of the packets that either has between addresses that both know, in the time that both then have in common, at least
 *   `LEAST_SHARE` are shared. Repeated SYNs and keepalives link pieces of one recording too, but few of their packets.
 *
 * One difference a recording: a clock that drifts by more than `WINDOW_SECONDS` while it records is put right at its beginning only.
 */
import type { TrafficBatch, TrafficSource } from "../traffic/source.ts";
import { signatureOf, WINDOW_SECONDS } from "./duplicates.ts";

/** Of one recording, and of all together: what is kept of them takes some 100 bytes each. */
const MOST_ROWS = 65_536;
const MOST_ROWS_OF_ALL = 262_144;
const LEAST_MATCHES = 8;
const MOST_AGREE = 0.8;
const LEAST_SHARE = 0.2;

/** Smaller differences are left: copies are recognised all the same, and a packet's way through the cluster is among them. */
const SMALLEST_SECONDS = WINDOW_SECONDS / 2;

/** The beginning of a recording. */
export interface ClockSample {
  /** By signature: when it was seen, and between which addresses. */
  readonly packets: ReadonlyMap<number, { readonly time: number; readonly ends: number }>;
  readonly first: number;
  readonly last: number;
}

/** What a recording's clock shows more than the first one's. */
export interface ClockDifference {
  readonly seconds: number;
  /** Index of the recording that says so, and packets that both have. 0: nothing is known of this clock, or it is right. */
  readonly against: number;
  readonly matches: number;
}

const NO_DIFFERENCE: ClockDifference = { seconds: 0, against: 0, matches: 0 };

/** Rows of each of so many recordings that are compared. */
export function sampleRows(recordings: number): number {
  return Math.min(MOST_ROWS, Math.ceil(MOST_ROWS_OF_ALL / recordings));
}

/** Reads the beginning of a recording: `most` rows, to the end of a batch. */
export async function clockSample(source: TrafficSource, most: number): Promise<ClockSample> {
  const packets = new Map<number, { time: number; ends: number }>();
  const repeated = new Set<number>();
  let rows = 0;
  let first = Number.POSITIVE_INFINITY;
  let last = Number.NEGATIVE_INFINITY;
  for await (const batch of source.batches()) {
    for (let row = 0; row < batch.packets.length; row++) {
      const time = batch.packets.time[row] ?? 0;
      const signature = signatureOf(batch, row);
      const known = packets.get(signature);
      if (known === undefined) packets.set(signature, { time, ends: endsOf(batch, row) });
      else if (time - known.time > WINDOW_SECONDS) repeated.add(signature);
      first = Math.min(first, time);
      last = Math.max(last, time);
    }
    rows += batch.packets.length;
    if (rows >= most) break;
  }
  for (const signature of repeated) packets.delete(signature);
  return { packets, first, last };
}

/** The difference of each recording's clock from the first one's; recordings without a sample are taken to be right. */
export function clockDifferences(samples: readonly (ClockSample | undefined)[]): readonly ClockDifference[] {
  const found: (ClockDifference | undefined)[] = samples.map((sample, index) =>
    sample === undefined || index === 0 ? NO_DIFFERENCE : undefined,
  );
  // From one that is known to the next, as long as there are such: the third may share packets with the second alone.
  for (let hasChanged = true; hasChanged; ) {
    hasChanged = false;
    for (const [index, sample] of samples.entries()) {
      if (sample === undefined || found[index] !== undefined) continue;
      for (const [against, other] of samples.entries()) {
        const known = found[against];
        if (other === undefined || known === undefined) continue;
        const difference = differenceOf(other, sample);
        if (difference === undefined) continue;
        const seconds = known.seconds + difference.seconds;
        found[index] = Math.abs(seconds) < SMALLEST_SECONDS ? NO_DIFFERENCE : { ...difference, seconds, against };
        hasChanged = true;
        break;
      }
    }
  }
  return found.map((difference) => difference ?? NO_DIFFERENCE);
}

/** What the second one's clock shows more than the first one's; undefined: they do not share enough to say. */
function differenceOf(
  one: ClockSample,
  other: ClockSample,
): { readonly seconds: number; readonly matches: number } | undefined {
  const differences: number[] = [];
  for (const [signature, { time }] of other.packets) {
    const match = one.packets.get(signature);
    if (match !== undefined) differences.push(time - match.time);
  }
  differences.sort((a, b) => a - b);
  const { from, to } = densest(differences);
  const matches = to - from;
  if (matches < LEAST_MATCHES || matches < MOST_AGREE * differences.length) return undefined;
  // Whole milliseconds: finer than that it is the packets' way.
  const seconds = Math.round((differences[from + (matches >>> 1)] ?? 0) * 1000) / 1000;
  const could = Math.max(inCommon(one, other, seconds), inCommon(other, one, -seconds));
  return matches < LEAST_SHARE * could ? undefined : { seconds, matches };
}

/** The window of `WINDOW_SECONDS` that holds most of sorted numbers. */
function densest(sorted: readonly number[]): { readonly from: number; readonly to: number } {
  let best = { from: 0, to: 0 };
  let from = 0;
  for (let to = 1; to <= sorted.length; to++) {
    while ((sorted[to - 1] ?? 0) - (sorted[from] ?? 0) > WINDOW_SECONDS) from++;
    if (to - from > best.to - best.from) best = { from, to };
  }
  return best;
}

/** Packets of a sample that the other should have, if its clock shows so much more: of its time, between addresses it knows. */
function inCommon(one: ClockSample, other: ClockSample, seconds: number): number {
  const known = new Set([...other.packets.values()].map(({ ends }) => ends));
  let count = 0;
  for (const { time, ends } of one.packets.values()) {
    const there = time + seconds;
    if (there >= other.first && there <= other.last && known.has(ends)) count++;
  }
  return count;
}

/** A number for the two addresses of a row, the same both ways. */
function endsOf({ packets }: TrafficBatch, row: number): number {
  const mixed = (word0: number, word3: number): number => Math.imul(word0 ^ Math.imul(word3, 0x85ebca6b), 0x9e3779b1);
  return (
    mixed(packets.source0[row] ?? 0, packets.source3[row] ?? 0) +
    mixed(packets.destination0[row] ?? 0, packets.destination3[row] ?? 0)
  );
}
