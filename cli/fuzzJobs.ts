/** The jobs of a campaign: one in this thread, or several in threads of their own. */
import { setTimeout } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { counted } from "../traffic/findings.ts";
import { Campaign, type CampaignSettings, type JobReport } from "../verify/fuzz/campaign.ts";
import type { FuzzLedger } from "./fuzzLedger.ts";
import { SURROUNDINGS } from "./fuzzSurroundings.ts";
import type { FromJob, ToJob } from "./fuzzWorker.ts";
import { UsageError } from "./io.ts";
import type { Session } from "./session.ts";

export interface JobsOptions {
  readonly session: Session;
  readonly ledger: FuzzLedger;
  readonly settings: Omit<CampaignSettings, "job">;
  readonly jobs: number;
  readonly maxSeconds: number;
  /** Of the whole campaign, earlier sessions included. */
  readonly maxRuns: number;
}

/** Until time or runs are used up, or the user stops. */
export async function runJobs(options: JobsOptions): Promise<void> {
  const clerk = new Clerk(options);
  if (options.jobs === 1) await runHere(options, clerk);
  else await runThreads(options, clerk);
  await clerk.close();
}

/** Runs and time are written down this often; a killed campaign forgets at most so much of them. */
const JOURNAL_MS = 1_000;

/** A thread that has not ended so long after it was told to is ended. */
const PATIENCE_MS = 3_000;

/** Hears what jobs report, and says when it is enough. */
class Clerk {
  readonly #options: JobsOptions;
  readonly #progress;
  readonly #startMs: number;
  #spentMs: number;
  #spentRuns: number;

  constructor(options: JobsOptions) {
    this.#options = options;
    const { session, ledger } = options;
    this.#progress = session.progress("runs", undefined, () => this.#detail());
    this.#startMs = session.io.now();
    this.#spentMs = this.#startMs;
    this.#spentRuns = ledger.runs;
  }

  #detail(): string {
    const { features, corpusSize, findings } = this.#options.ledger;
    return `${features.size} features, ${corpusSize} cases kept, ${counted(findings.length, "finding")}`;
  }

  /** Undefined: go on. */
  async hear(report: JobReport): Promise<void> {
    const { ledger, session } = this.#options;
    switch (report.kind) {
      case "ran":
        ledger.ran(report.runs);
        await this.#progress.step(report.runs);
        break;
      case "kept":
        await ledger.keep(report.files, report.features);
        break;
      case "finding":
        if (await ledger.find(report.finding)) await session.note(`found: ${report.finding.cause}`);
        break;
    }
    if (session.io.now() - this.#spentMs >= JOURNAL_MS) await this.#spend();
  }

  isEnough(): boolean {
    const { session, ledger, maxRuns, maxSeconds } = this.#options;
    if (session.io.interrupted.aborted || ledger.runs >= maxRuns) return true;
    return session.io.now() - this.#startMs >= maxSeconds * 1000;
  }

  async #spend(): Promise<void> {
    const { ledger, session } = this.#options;
    const nowMs = session.io.now();
    await ledger.spend(ledger.runs - this.#spentRuns, (nowMs - this.#spentMs) / 1000);
    this.#spentMs = nowMs;
    this.#spentRuns = ledger.runs;
  }

  async close(): Promise<void> {
    await this.#spend();
    await this.#progress.done();
  }
}

async function runHere({ settings, ledger }: JobsOptions, clerk: Clerk): Promise<void> {
  const campaign = new Campaign({ ...settings, job: 0 }, SURROUNDINGS);
  campaign.learn(ledger.earlier, []);
  while (!clerk.isEnough()) for (const report of await campaign.step()) await clerk.hear(report);
}

async function runThreads(options: JobsOptions, clerk: Clerk): Promise<void> {
  const { settings, ledger, jobs } = options;
  const workers = Array.from(
    { length: jobs },
    (_, job) => new Worker(new URL("./fuzzWorker.cjs", import.meta.url), { workerData: { ...settings, job } }),
  );
  const ends = workers.map((worker) => new Promise((resolve) => worker.once("exit", resolve)));
  const tell = (worker: Worker, message: ToJob) => worker.postMessage(message);
  // Reports are heard one after the other, whoever sent them.
  let hearing = Promise.resolve();
  try {
    await new Promise<void>((resolve, reject) => {
      for (const worker of workers) {
        tell(worker, { kind: "learn", files: ledger.earlier, features: [] });
        // What crosses threads keeps its name and loses its class.
        worker.on("error", (error) => reject(error.name === "UsageError" ? new UsageError(error.message) : error));
        worker.on("message", ({ reports }: FromJob) => {
          hearing = hearing.then(async () => {
            for (const report of reports) {
              await clerk.hear(report);
              if (report.kind !== "kept") continue;
              for (const other of workers) {
                if (other !== worker) tell(other, { kind: "learn", files: report.files, features: report.features });
              }
            }
            if (clerk.isEnough()) resolve();
            else tell(worker, { kind: "on" });
          });
          hearing.catch(reject);
        });
        tell(worker, { kind: "on" });
      }
    });
  } finally {
    // What a thread is about may have a folder and a process of its own (fuzzCommand.ts), which it puts away if it is let to.
    for (const worker of workers) tell(worker, { kind: "end" });
    await Promise.race([Promise.all(ends), setTimeout(PATIENCE_MS, undefined, { ref: false })]);
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}
