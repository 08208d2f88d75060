/** Outcomes of many rows written at once. */
import type { EstablishedResults } from "../conntrack/establishedLoops.ts";
import type { ResultBatch } from "../result.ts";

/** Writes the results of so many rows that connection tracking has looked up, from row `from` on. */
export function writeOutcomes(results: ResultBatch, from: number, count: number, given: EstablishedResults): void {
  results.verdict.set(given.verdict.subarray(0, count), from);
  results.ctState.set(given.ctState.subarray(0, count), from);
  results.decision.set(given.decision.subarray(0, count), from);
  results.rules.set(given.rules.subarray(0, count), from);
  results.chains.set(given.chains.subarray(0, count), from);
  results.setLookups.set(given.setLookups.subarray(0, count), from);
  results.mapLookups.fill(0, from, from + count);
  results.trieLookups.fill(0, from, from + count);
  results.conntrackLookups.fill(1, from, from + count);
}
