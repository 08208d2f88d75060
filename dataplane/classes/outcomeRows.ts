/** Outcomes of many rows written at once. */
import { MOST_ROWS } from "../conntrack/tcpEstablished.ts";
import type { ResultBatch } from "../result.ts";
import { OUTCOME, OUTCOME_WORDS } from "./outcomes.ts";

/**
 * Results under way. Of an array that is a constant to the compiler it knows address and length; of one that comes with an
 * argument it fetches both for each access, having too few registers to keep them.
 */
const verdict = new Uint8Array(MOST_ROWS);
const ctState = new Uint8Array(MOST_ROWS);
const decision = new Int32Array(MOST_ROWS);
const rules = new Uint32Array(MOST_ROWS);
const chains = new Uint32Array(MOST_ROWS);
const setLookups = new Uint32Array(MOST_ROWS);
const numbers = new Int32Array(MOST_ROWS);

/**
 * Writes the results of rows that connection tracking has looked up, from row `from` on, up to `MOST_ROWS` of them: each
 * has the number of its outcome and 1.
 */
export function writeOutcomes(results: ResultBatch, from: number, given: Int32Array, words: Int32Array): void {
  const count = given.length;
  numbers.set(given);
  for (let row = 0; row < count; row++) {
    const at = ((numbers[row] ?? 0) - 1) * OUTCOME_WORDS;
    const word = words[at + OUTCOME.verdictAndState] ?? 0;
    verdict[row] = word & 0xff;
    ctState[row] = word >>> 8;
    decision[row] = words[at + OUTCOME.decision] ?? 0;
    rules[row] = words[at + OUTCOME.rules] ?? 0;
    chains[row] = words[at + OUTCOME.chains] ?? 0;
    setLookups[row] = words[at + OUTCOME.setLookups] ?? 0;
  }
  results.verdict.set(verdict.subarray(0, count), from);
  results.ctState.set(ctState.subarray(0, count), from);
  results.decision.set(decision.subarray(0, count), from);
  results.rules.set(rules.subarray(0, count), from);
  results.chains.set(chains.subarray(0, count), from);
  results.setLookups.set(setLookups.subarray(0, count), from);
  results.mapLookups.fill(0, from, from + count);
  results.trieLookups.fill(0, from, from + count);
  results.conntrackLookups.fill(1, from, from + count);
}
