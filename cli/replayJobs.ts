/** `replay --jobs`: the recording read once, and sent to several threads that each push their share of the flows. */
import { Worker } from "node:worker_threads";
import type { Replay } from "../replay/replay.ts";
import type { Cause } from "../replay/side.ts";
import type { ReadFindings } from "./replayTraffic.ts";
import { openBytes, type TrafficIo } from "./replayTraffic.ts";
import type { Piece, WorkerMessage, WorkerResult, WorkerSetup } from "./replayWorker.ts";

/** Pieces of a file that a worker may have waiting: a few, so that the slowest sets the pace and memory stays flat. */
const MOST_WAITING = 8;

export interface JobsOptions {
  readonly io: TrafficIo;
  readonly jobs: number;
  readonly worker: Omit<WorkerSetup, "share">;
  /** Told how many packets were read, and of bytes of the files; false: no more. */
  readonly proceed: (packets: number) => Promise<boolean>;
  readonly onRead: (bytes: number) => void;
}

export interface JobsResult {
  /** By side: the causes of every worker. */
  readonly causes: readonly (readonly Cause[])[];
  readonly findings: ReadFindings;
  readonly index: number;
}

/** Runs the workers and puts what they found into `replay`, which has read nothing itself. */
export async function replayInWorkers(replay: Replay, options: JobsOptions): Promise<JobsResult> {
  const { jobs, worker, proceed } = options;
  const crew = Array.from({ length: jobs }, (_, index) => new Crewmate({ ...worker, share: { index, of: jobs } }));
  try {
    await feed(crew, options, async () => proceed(crew[0]?.takePackets() ?? 0));
    const results = await Promise.all(crew.map(({ result }) => result));
    return gather(replay, results);
  } finally {
    await Promise.all(crew.map((mate) => mate.end()));
  }
}

/** One thread, and how much of what it was sent it has read. */
class Crewmate {
  readonly result: Promise<WorkerResult>;
  readonly #worker: Worker;
  #waiting = 0;
  #packets = 0;
  #wake: (() => void) | undefined;
  #isOver = false;

  constructor(setup: WorkerSetup) {
    // Built, modules end in .js.
    const file = new URL(import.meta.url.endsWith(".ts") ? "./replayWorker.ts" : "./replayWorker.js", import.meta.url);
    this.#worker = new Worker(file, { workerData: setup });
    this.result = new Promise((resolve, reject) => {
      this.#worker.on("message", (message: WorkerMessage) => {
        switch (message.kind) {
          case "read":
            this.#waiting--;
            break;
          case "packets":
            this.#packets += message.count;
            break;
          case "done":
            resolve(message.result);
            break;
          case "failed":
            reject(new Error(message.message));
            break;
        }
        this.#wake?.();
      });
      this.#worker.on("error", reject);
      this.#worker.on("exit", () => reject(new Error("a worker ended before it was done")));
    });
    this.result.catch(() => {
      this.#isOver = true;
      this.#wake?.();
    });
  }

  async send(piece: Piece): Promise<void> {
    while (this.#waiting >= MOST_WAITING && !this.#isOver) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    if (piece.bytes !== undefined) this.#waiting++;
    this.#worker.postMessage(piece);
  }

  /** Packets read since the last call. */
  takePackets(): number {
    const packets = this.#packets;
    this.#packets = 0;
    return packets;
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }
}

/** Each file to every worker, the files abreast: merging by time reads them so. */
async function feed(crew: readonly Crewmate[], options: JobsOptions, proceed: () => Promise<boolean>): Promise<void> {
  const { io, worker, onRead } = options;
  const encoder = new TextEncoder();
  let goesOn = true;
  await Promise.all(
    worker.names.map(async (name, file) => {
      const stream = await openBytes(io, name);
      try {
        for await (const piece of stream) {
          const bytes = typeof piece === "string" ? encoder.encode(piece) : piece;
          onRead(bytes.length);
          for (const mate of crew) await mate.send({ file, bytes });
          goesOn = goesOn && (await proceed());
          if (!goesOn) break;
        }
      } finally {
        for (const mate of crew) await mate.send({ file, bytes: undefined });
      }
    }),
  );
}

function gather(replay: Replay, results: readonly WorkerResult[]): JobsResult {
  const causes: Cause[][] = replay.table.sides.map(() => []);
  const known = causes.map(() => new Map<string, number>());
  for (const { table, causes: theirs, timeline } of results) {
    const numbers = theirs.map((list, side) =>
      list.map((cause) => {
        const key = JSON.stringify(cause);
        const found = known[side]?.get(key);
        if (found !== undefined) return found;
        const number = (causes[side]?.push(cause) ?? 1) - 1;
        known[side]?.set(key, number);
        return number;
      }),
    );
    replay.table.absorb(table, numbers);
    replay.timeline.merge(timeline);
  }
  const [first] = results;
  if (first === undefined) throw new RangeError("no workers");
  return { causes, findings: first.findings, index: first.index };
}
