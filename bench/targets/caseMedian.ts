/** One prepared case, timed here and now. */
import { type Clock, measure, type Prepared } from "../measure.ts";
import { median } from "../statistics.ts";

const ROUNDS = 15;

/** Median of the rounds, in the case's unit. */
export function caseMedian(prepared: Prepared, clock: Clock, forMs = 1_500): number {
  const timing = { warmUpMs: forMs / 3, measureMs: (forMs * 2) / 3, rounds: ROUNDS };
  return median(measure(prepared, timing, clock).rounds);
}
