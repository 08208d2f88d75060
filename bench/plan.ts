/** Which cases a process measures, how long each, and what is left out when time is short. */

import { BeyondCapacity } from "../compiler/capacity.ts";
import type { BenchCase, Clock, Prepared, Timing } from "./measure.ts";
import { measure, measureAwaited, NothingToTime } from "./measure.ts";
import { type Finding, type LeftOut, resultName } from "./result.ts";
import type { Suite, SuiteOptions } from "./suites/suite.ts";

export interface Plan {
  readonly cases: readonly BenchCase[];
  readonly timing: Timing;
}

export interface PlanOptions extends SuiteOptions {
  readonly suites: readonly Suite[];
  /** For this process. */
  readonly budgetMs: number;
  /** This is process number `turn` (from 0) of `turns`: each begins at another case, so that none is always first. */
  readonly turn: number;
  readonly turns: number;
}

/** A case gets from this to that, warm-up included. */
const LEAST_MS = 120;
const MOST_MS = 400;
const ROUNDS = 10;
/** Set-up estimates are rough, and the machine may be busy. */
const SAFETY = 1.5;

/**
 * Takes as many cases as fit: always of the suite that has got least time so far, of each the cheapest to set up first, so
 * that a map of a million entries does not take the place of many rule sets; and shares the time that is left among them.
 * Cases keep their order within a suite, because neighbours share what they set up.
 */
export function planOf(options: PlanOptions): Plan {
  const queues = options.suites.map((suite) => {
    const cases = suite.cases(options);
    return { cases, waiting: [...cases].sort((a, b) => a.setUpMs - b.setUpMs), spentMs: 0 };
  });
  const chosen = new Set<BenchCase>();
  let leftMs = options.budgetMs;
  for (;;) {
    const [queue] = queues
      .filter(({ waiting }) => waiting.length > 0)
      .sort((a, b) => a.spentMs + priceMs(a.waiting[0]) - b.spentMs - priceMs(b.waiting[0]));
    const next = queue?.waiting.shift();
    if (queue === undefined || next === undefined) break;
    const price = priceMs(next);
    if (price > leftMs && chosen.size > 0) {
      queue.waiting.length = 0;
      continue;
    }
    chosen.add(next);
    queue.spentMs += price;
    leftMs -= price;
  }
  const cases = queues.flatMap((queue) => queue.cases.filter((one) => chosen.has(one)));
  const start = Math.floor((cases.length * options.turn) / options.turns);
  const eachMs = Math.min(MOST_MS, LEAST_MS + Math.max(0, 0.8 * leftMs) / Math.max(1, cases.length));
  return {
    cases: [...cases.slice(start), ...cases.slice(0, start)],
    timing: { warmUpMs: eachMs * 0.3, measureMs: eachMs * 0.7, rounds: ROUNDS },
  };
}

/** How long cases take on this machine, in terms of what they were thought to take: estimates are of a quiet one. */
export class Pace {
  readonly #timing: Timing;
  #expectedMs = 0;
  #takenMs = 0;

  constructor(timing: Timing) {
    this.#timing = timing;
  }

  expectedMs(one: BenchCase): number {
    const slowness = this.#expectedMs === 0 ? 1 : Math.max(1, this.#takenMs / this.#expectedMs);
    return slowness * this.#estimateMs(one);
  }

  took(one: BenchCase, ms: number): void {
    this.#expectedMs += this.#estimateMs(one);
    this.#takenMs += ms;
  }

  #estimateMs({ setUpMs }: BenchCase): number {
    return setUpMs + this.#timing.warmUpMs + this.#timing.measureMs;
  }
}

/** What a case takes at least. */
function priceMs(one: BenchCase | undefined): number {
  return one === undefined ? Number.POSITIVE_INFINITY : one.setUpMs * SAFETY + LEAST_MS;
}

/**
 * Measures one case, unless it asks more of a solution than that has room for, or leaves nothing to time under it: the
 * cases after it are measured all the same.
 */
export async function findingOf(one: BenchCase, timing: Timing, clock: Clock): Promise<Finding | LeftOut> {
  const name = resultName(one.suite, one.params);
  let prepared: Prepared;
  try {
    prepared = one.prepare();
  } catch (error) {
    if (!(error instanceof BeyondCapacity || error instanceof NothingToTime)) throw error;
    return { name, leftOut: error.message };
  }
  const { rounds, histogram } =
    prepared.kind === "awaited" ? await measureAwaited(prepared, timing, clock) : measure(prepared, timing, clock);
  return { name, unit: one.unit, params: one.params, rounds, histogram };
}
