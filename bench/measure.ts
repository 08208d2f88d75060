/** Timing with a clock that costs about as much as what is timed: bursts, rounds, warm-up. */
import { Bench } from "tinybench";
import { Histogram } from "./histogram.ts";
import type { Finding, Params } from "./result.ts";
import { median } from "./statistics.ts";

/** Something that is done again and again. */
export interface Probe {
  /** Gets ready for the next burst, outside of the timing. */
  between?(): void;
  /** Does one burst; answers how many operations that was. */
  burst(): number;
}

/** What a case is, ready to be timed. */
export type Prepared =
  /** Small operations, timed in bursts. `probe` makes bursts of about so many operations. */
  | { readonly kind: "bursts"; probe(operations: number): Probe }
  /** A whole thing that is done a few times; `once` answers its value in the case's unit. */
  | { readonly kind: "whole"; once(): number }
  /** The same of what waits for the system: files, other processes. */
  | { readonly kind: "awaited"; once(): Promise<number> }
  /** One function, for tinybench; values are nanoseconds a call. */
  | { readonly kind: "task"; run(): unknown };

/** Thrown while a case is prepared: there is nothing to time under that solution, and why. */
export class NothingToTime extends Error {
  override readonly name = "NothingToTime";
}

export interface Timing {
  readonly warmUpMs: number;
  readonly measureMs: number;
  readonly rounds: number;
}

/** Milliseconds of a monotonic clock. */
export type Clock = () => number;

/** A burst is at least this long, so that the clock's own 50 ns are below 2 % of it (and subtracted). */
const BURST_NS = 4_000;
const MOST_OPERATIONS = 256;

/** Times one case. What takes a burst to do often has many samples a round, what is done whole has one. */
export function measure(
  prepared: Exclude<Prepared, { kind: "awaited" }>,
  timing: Timing,
  clock: Clock,
): Pick<Finding, "rounds" | "histogram"> {
  switch (prepared.kind) {
    case "bursts":
      return measureBursts(prepared, timing, clock);
    case "whole":
      return measureWhole(prepared, timing, clock);
    case "task":
      return measureTask(prepared, timing);
  }
}

function measureBursts(
  prepared: Extract<Prepared, { kind: "bursts" }>,
  { warmUpMs, measureMs, rounds }: Timing,
  clock: Clock,
): Pick<Finding, "rounds" | "histogram"> {
  const guess = warmUp(prepared.probe(16), warmUpMs / 2, clock);
  const operations = Math.max(1, Math.min(MOST_OPERATIONS, Math.ceil(BURST_NS / guess)));
  const probe = prepared.probe(operations);
  warmUp(probe, warmUpMs / 2, clock);
  const clockNs = costOf(clock);
  const histogram = new Histogram();
  const medians: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const values: number[] = [];
    const end = clock() + measureMs / rounds;
    let after = 0;
    do {
      probe.between?.();
      const before = clock();
      const done = probe.burst();
      after = clock();
      values.push(Math.max(0, (after - before) * 1e6 - clockNs) / done);
    } while (after < end);
    for (const value of values) histogram.add(value);
    medians.push(median(values));
  }
  return { rounds: medians, histogram: histogram.buckets };
}

/** So many operations the optimiser has to have seen, however slow the machine, unless they take longer than this. */
const WARM_OPERATIONS = 30_000;
const LONGEST_WARM_UP_MS = 400;

/** Runs for so long and so often; answers what an operation took in the second half of that, ns. */
function warmUp(probe: Probe, forMs: number, clock: Clock): number {
  const start = clock();
  const values: number[] = [];
  let operations = 0;
  let now = start;
  do {
    probe.between?.();
    const before = clock();
    const done = probe.burst();
    now = clock();
    operations += done;
    values.push(((now - before) * 1e6) / done);
  } while (
    values.length < 2 ||
    now - start < forMs ||
    (operations < WARM_OPERATIONS && now - start < LONGEST_WARM_UP_MS)
  );
  return Math.max(1, median(values.slice(values.length >> 1)));
}

/** What the clock itself adds between two readings, ns. */
function costOf(clock: Clock): number {
  const values = Array.from({ length: 200 }, () => {
    const before = clock();
    return (clock() - before) * 1e6;
  });
  return median(values);
}

function measureWhole(
  { once }: Extract<Prepared, { kind: "whole" }>,
  timing: Timing,
  clock: Clock,
): Pick<Finding, "rounds" | "histogram"> {
  const start = clock();
  const first = once();
  // What takes long needs no warm-up of its own: it warms itself, and the first time is one of few.
  const values = clock() - start > timing.warmUpMs + timing.measureMs ? [first] : [];
  while (isWanted(values, clock() - start, timing)) values.push(once());
  return wholeOf(values);
}

/** Fewer say nothing about what waits for a file system. */
const LEAST_ROUNDS = 3;

/** `measure` of what has to be awaited: once to warm up, whatever it takes. */
export async function measureAwaited(
  { once }: Extract<Prepared, { kind: "awaited" }>,
  timing: Timing,
  clock: Clock,
): Promise<Pick<Finding, "rounds" | "histogram">> {
  await once();
  const start = clock();
  const values: number[] = [];
  while (values.length < LEAST_ROUNDS || isWanted(values, clock() - start, timing)) values.push(await once());
  return wholeOf(values);
}

function isWanted(values: readonly number[], spentMs: number, { warmUpMs, measureMs, rounds }: Timing): boolean {
  return values.length < rounds && (values.length === 0 || spentMs < warmUpMs + measureMs);
}

function wholeOf(values: readonly number[]): Pick<Finding, "rounds" | "histogram"> {
  const histogram = new Histogram();
  for (const value of values) histogram.add(value);
  return { rounds: values, histogram: histogram.buckets };
}

/** A run of tinybench each round: it keeps its samples sorted, so one run could not be cut into rounds. */
function measureTask(
  { run }: Extract<Prepared, { kind: "task" }>,
  { warmUpMs, measureMs, rounds }: Timing,
): Pick<Finding, "rounds" | "histogram"> {
  const histogram = new Histogram();
  const medians: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const bench = new Bench({
      time: measureMs / rounds,
      iterations: 2,
      warmup: round === 0,
      warmupTime: warmUpMs,
      warmupIterations: 2,
      retainSamples: true,
    });
    bench.add("task", run);
    bench.runSync();
    const result = bench.tasks[0]?.result;
    if (result?.state !== "completed") throw new Error(`tinybench: ${result?.state}`);
    // Milliseconds there.
    for (const ms of result.latency.samples ?? []) histogram.add(ms * 1e6);
    medians.push(result.latency.p50 * 1e6);
  }
  return { rounds: medians, histogram: histogram.buckets };
}

/** One thing to measure. */
export interface BenchCase {
  readonly suite: string;
  readonly params: Params;
  readonly unit: string;
  /** What setting it up takes, roughly: who is short of time leaves the dear ones out. */
  readonly setUpMs: number;
  prepare(): Prepared;
}
