/** Runs a benchmark in several processes, one after the other, and merges what they found. */
import { type BenchResult, type Finding, mergeFindings, readFinding } from "./result.ts";

export interface ProcessRequest {
  /** Arguments of the command line. */
  readonly argv: readonly string[];
  /** Called with each line the process prints. */
  onLine(line: string): void;
  /** The process is told to stop when this fires. */
  readonly signal: AbortSignal;
}

/** This program once more, in a process of its own; answers its exit code. */
export type RunSelf = (request: ProcessRequest) => Promise<number>;

export interface RunOptions {
  readonly runSelf: RunSelf;
  readonly processes: number;
  readonly seed: number;
  /** For all processes. */
  readonly budgetMs: number;
  readonly clock: () => number;
  readonly signal: AbortSignal;
  /** Arguments of process number `turn` that may use `budgetMs`. It prints a `Finding` or a `LeftOut` a line. */
  argvOf(turn: number, budgetMs: number): readonly string[];
  /** A case is done with. */
  onCase(): void;
}

export interface RunOutcome {
  readonly results: readonly BenchResult[];
  /** Why, by the names of what nobody can measure. */
  readonly leftOut: ReadonlyMap<string, string>;
  /** Exit codes of processes that failed. */
  readonly failed: readonly number[];
}

const INTERRUPTED = 130;

/** A process may be so much late, with the case at hand and its own start, before it is told to stop. */
const OVERDUE_MS = 500;

/** What was found until the end, or until the signal. Results stand in the order in which they were first found. */
export async function runProcesses(options: RunOptions): Promise<RunOutcome> {
  const { runSelf, processes, seed, budgetMs, clock, signal, argvOf, onCase } = options;
  const endMs = clock() + budgetMs;
  const found = new Map<string, Finding[]>();
  const leftOut = new Map<string, string>();
  const failed: number[] = [];
  for (let turn = 0; turn < processes && !signal.aborted; turn++) {
    const shareMs = Math.max(0, endMs - clock()) / (processes - turn);
    const deadline = new Deadline(shareMs + OVERDUE_MS);
    const code = await runSelf({
      argv: argvOf(turn, shareMs),
      signal: AbortSignal.any([signal, deadline.signal]),
      onLine(line) {
        deadline.isFruitful();
        const finding = readFinding(line);
        onCase();
        if ("leftOut" in finding) {
          leftOut.set(finding.name, finding.leftOut);
          return;
        }
        const known = found.get(finding.name);
        if (known === undefined) found.set(finding.name, [finding]);
        else known.push(finding);
      },
    });
    deadline.clear();
    if (code !== 0 && code !== INTERRUPTED) failed.push(code);
  }
  return { results: [...found.values()].map((findings) => mergeFindings(findings, seed)), leftOut, failed };
}

/**
 * Ends a process that takes longer than it may: set-up times are estimates, a machine may be busy, and who asked for twenty
 * seconds does not wait a minute for one case. What it has printed counts. One that has printed nothing may go on until
 * it has: some answer is better than none.
 */
class Deadline {
  readonly #stop = new AbortController();
  readonly #timer: NodeJS.Timeout;
  #isOver = false;
  #hasResults = false;

  constructor(ms: number) {
    this.#timer = setTimeout(() => {
      this.#isOver = true;
      this.#stopIfDue();
    }, ms);
  }

  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  /** The process has found something. */
  isFruitful(): void {
    this.#hasResults = true;
    this.#stopIfDue();
  }

  clear(): void {
    clearTimeout(this.#timer);
  }

  #stopIfDue(): void {
    if (this.#isOver && this.#hasResults) this.#stop.abort();
  }
}
