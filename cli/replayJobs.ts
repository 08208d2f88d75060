/** `replay --jobs`: the recording read once, and sent to several threads that each push their share of the flows. */
import { Worker } from "node:worker_threads";
import type { Replay, ReplayState } from "../replay/replay.ts";
import type { Cause } from "../replay/side.ts";
import type { Io } from "./io.ts";
import type { EndedFlow, Told } from "./replayOutput.ts";
import type { ShareResult, ShareSetup } from "./replayShare.ts";
import type { ReadFindings } from "./replayTraffic.ts";
import { openBytes, type TrafficIo } from "./replayTraffic.ts";
import type { CrewMessage, WorkerMessage } from "./replayWorker.ts";

/**
 * Pieces of each file that a worker may have waiting: a few, so that the slowest sets the pace and memory stays flat. Of each, since
 * a worker that merges by time may need all of one file before any of the next.
 */
const MOST_WAITING = 8;

export interface JobsOptions {
  readonly io: TrafficIo & Pick<Io, "interrupted">;
  readonly jobs: number;
  readonly worker: Omit<ShareSetup, "share" | "from">;
  /** Of each worker, to go on from; undefined: all begin anew. */
  readonly from: readonly ReplayState[] | undefined;
  /** Told how many packets were read; false: no more. */
  readonly proceed: (packets: number, crew: Crew) => Promise<boolean>;
  /** Told of bytes of the files. */
  readonly onRead: (bytes: number) => void;
  /** What all workers said of a part of the recording, in order. */
  readonly onRound: (told: readonly Told[]) => void;
  /** Somebody has more to say of the same part: it is asked for once this is done. */
  readonly onPart: () => Promise<void>;
}

export interface JobsResult {
  /** By side: the causes of every worker. */
  readonly causes: readonly (readonly Cause[])[];
  readonly findings: ReadFindings;
  readonly index: number;
}

/** Runs the workers and puts what they found into `replay`, which has read nothing itself. */
export async function replayInWorkers(replay: Replay, options: JobsOptions): Promise<JobsResult> {
  const { jobs, worker, from, onRound, onPart } = options;
  const crew = new Crew(
    Array.from({ length: jobs }, (_, index) => ({ ...worker, share: { index, of: jobs }, from: from?.[index] })),
    onRound,
    onPart,
  );
  try {
    await feed(crew, options);
    return gather(replay, await crew.results());
  } finally {
    await crew.end();
  }
}

/** All threads. */
export class Crew {
  readonly mates: readonly Crewmate[];

  constructor(setups: readonly ShareSetup[], onRound: (told: readonly Told[]) => void, onPart: () => Promise<void>) {
    const rounds = new Rounds(setups.length, onRound, (worker) => {
      void onPart().then(() => this.mates[worker]?.goOn());
    });
    this.mates = setups.map((setup, number) => new Crewmate(setup, (told) => rounds.add(number, told)));
  }

  /** Packets read since the last call; all read the same. */
  takePackets(): number {
    return this.mates[0]?.takePackets() ?? 0;
  }

  /** The states of all, each between two batches of its own; undefined: one has not come as far as where it began. */
  async save(): Promise<readonly ReplayState[] | undefined> {
    const states = await Promise.all(this.mates.map((mate) => mate.save()));
    const saved = states.filter((state) => state !== undefined);
    return saved.length === states.length ? saved : undefined;
  }

  results(): Promise<readonly ShareResult[]> {
    return Promise.all(this.mates.map(({ result }) => result));
  }

  async end(): Promise<void> {
    await Promise.all(this.mates.map((mate) => mate.end()));
  }
}

/** A worker's flows of the round at hand, as far as it has told them. */
interface Part {
  flows: readonly EndedFlow[];
  isLast: boolean;
}

/** What several workers say at the end of each round, put together as soon as all of them have said it. */
export class Rounds {
  readonly #waiting: Told[][];
  /** Of each worker in the round at hand, once it has told some. */
  readonly #parts: (Part | undefined)[];
  readonly #onRound: (told: readonly Told[]) => void;
  readonly #askMore: (worker: number) => void;

  /** `askMore`: what a worker has told of a round is used up, and it has more. */
  constructor(workers: number, onRound: (told: readonly Told[]) => void, askMore: (worker: number) => void) {
    this.#waiting = Array.from({ length: workers }, () => []);
    this.#parts = this.#waiting.map(() => undefined);
    this.#onRound = onRound;
    this.#askMore = askMore;
  }

  add(worker: number, told: Told): void {
    this.#waiting[worker]?.push(told);
    if (told.kind === "flows") {
      while (this.#addFlows());
      return;
    }
    while (this.#waiting.every(({ length }) => length > 0)) {
      this.#onRound(this.#waiting.flatMap((each) => each.splice(0, 1)));
    }
  }

  /** Takes what the workers have told as far as nobody can tell an earlier flow. False: somebody is waited for. */
  #addFlows(): boolean {
    for (const [worker, waiting] of this.#waiting.entries()) {
      const part = this.#parts[worker];
      if (part?.isLast === true || (part?.flows.length ?? 0) > 0) continue;
      const next = waiting.shift();
      if (next?.kind !== "flows") return false;
      this.#parts[worker] = { flows: next.flows, isLast: next.isLast };
    }
    const parts = this.#parts.flatMap((part) => part ?? []);
    const unfinished = parts.filter(({ isLast }) => !isLast);
    const end = Math.min(...unfinished.map(({ flows }) => flows.at(-1)?.firstIndex ?? Number.POSITIVE_INFINITY));
    const flows = parts.flatMap((part) => {
      const count = part.flows.findIndex(({ firstIndex }) => firstIndex > end);
      const taken = count < 0 ? part.flows : part.flows.slice(0, count);
      part.flows = part.flows.slice(taken.length);
      return taken;
    });
    this.#onRound([{ kind: "flows", flows, isLast: unfinished.length === 0 }]);
    for (const [worker, part] of this.#parts.entries()) {
      if (part?.isLast === false && part.flows.length === 0) this.#askMore(worker);
    }
    if (unfinished.length === 0) this.#parts.fill(undefined);
    return true;
  }
}

/** One thread, and how much of what it was sent it has read. */
class Crewmate {
  readonly result: Promise<ShareResult>;
  readonly #worker: Worker;
  /** Pieces, by file. */
  readonly #waiting: number[];
  #packets = 0;
  /** Who waits for something to change, of several files that are sent abreast. */
  #wakes: (() => void)[] = [];
  #saves: ((state: ReplayState | undefined) => void)[] = [];
  #isOver = false;

  constructor(setup: ShareSetup, onRound: (told: Told) => void) {
    // Built, modules end in .cjs.
    const file = new URL(import.meta.url.endsWith(".ts") ? "./replayWorker.ts" : "./replayWorker.cjs", import.meta.url);
    this.#waiting = setup.names.map(() => 0);
    this.#worker = new Worker(file, { workerData: setup });
    this.result = new Promise((resolve, reject) => {
      this.#worker.on("message", (message: WorkerMessage) => {
        switch (message.kind) {
          case "read":
            this.#count(message.file, -1);
            break;
          case "packets":
            this.#packets += message.count;
            break;
          case "round":
            onRound(message.told);
            break;
          case "saved":
            this.#saves.shift()?.(message.state);
            break;
          case "done":
            resolve(message.result);
            break;
          case "failed":
            reject(new Error(message.message));
            break;
        }
        this.#wake();
      });
      this.#worker.on("error", reject);
      this.#worker.on("exit", () => reject(new Error("a worker ended before it was done")));
    });
    this.result.then(
      () => this.#finish(),
      () => this.#finish(),
    );
  }

  async send(file: number, bytes: Uint8Array | undefined): Promise<void> {
    while ((this.#waiting[file] ?? 0) >= MOST_WAITING && !this.#isOver) {
      await new Promise<void>((resolve) => {
        this.#wakes.push(resolve);
      });
    }
    if (bytes !== undefined) this.#count(file, 1);
    this.#say({ kind: "piece", file, bytes });
  }

  /** Its state as soon as it has a moment; undefined: it has none to say, or is over. */
  save(): Promise<ReplayState | undefined> {
    if (this.#isOver) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      this.#saves.push(resolve);
      this.#say({ kind: "save" });
    });
  }

  /** What it told last is written. */
  goOn(): void {
    this.#say({ kind: "on" });
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

  #count(file: number, change: number): void {
    this.#waiting[file] = (this.#waiting[file] ?? 0) + change;
  }

  #say(message: CrewMessage): void {
    this.#worker.postMessage(message);
  }

  #finish(): void {
    this.#isOver = true;
    for (const save of this.#saves.splice(0)) save(undefined);
    this.#wake();
  }

  #wake(): void {
    for (const wake of this.#wakes.splice(0)) wake();
  }
}

/** Each file to every worker, the files abreast: merging by time reads them so. */
async function feed(crew: Crew, options: JobsOptions): Promise<void> {
  const { io, worker, proceed, onRead } = options;
  const encoder = new TextEncoder();
  let goesOn = true;
  await Promise.all(
    worker.names.map(async (name, file) => {
      const stream = await openBytes(io, name);
      try {
        for await (const piece of stream) {
          const bytes = typeof piece === "string" ? encoder.encode(piece) : piece;
          onRead(bytes.length);
          for (const mate of crew.mates) await mate.send(file, bytes);
          goesOn = goesOn && (await proceed(crew.takePackets(), crew));
          if (!goesOn) break;
        }
      } catch (error) {
        // Ctrl-C takes standard input away in the middle of waiting for it; what is done is reported.
        if (!io.interrupted.aborted) throw error;
      } finally {
        for (const mate of crew.mates) await mate.send(file, undefined);
      }
    }),
  );
}

function gather(replay: Replay, results: readonly ShareResult[]): JobsResult {
  const causes: Cause[][] = replay.table.sides.map(() => []);
  const known = causes.map(() => new Map<string, number>());
  for (const { table, causes: theirs, timeline, tally } of results) {
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
    replay.tally.merge(tally);
  }
  const [first] = results;
  if (first === undefined) throw new RangeError("no workers");
  return { causes, findings: first.findings, index: first.index };
}
