/**
 * A worker thread of `replay --jobs`: reads the whole recording as the others do, and pushes the flows that are its share.
 * Decoding is done in every thread; it is the small part, and so nothing has to be taken apart and sent.
 */
import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import { type FilterSetup, filterOf } from "../replay/filter/filter.ts";
import type { FlowTableState } from "../replay/flowTable.ts";
import { loadSetup, type ReplaySetup } from "../replay/setup.ts";
import type { Cause } from "../replay/side.ts";
import type { TimelineState } from "../replay/timeline.ts";
import { BATCH_ROWS } from "../traffic/source.ts";
import { ReplayPass } from "./replayPass.ts";
import type { ReadFindings } from "./replayTraffic.ts";

export interface WorkerSetup {
  readonly setup: ReplaySetup;
  readonly filter: FilterSetup;
  readonly namespace: string;
  readonly duplicates: "kept" | "counted once";
  readonly share: { readonly index: number; readonly of: number };
  /** Of the files, in order. */
  readonly names: readonly string[];
}

/** From the main thread: the next bytes of a file, or its end. */
export interface Piece {
  readonly file: number;
  /** Undefined: the file ends. */
  readonly bytes: Uint8Array | undefined;
}

/** To the main thread. */
export type WorkerMessage =
  | { readonly kind: "read" }
  | { readonly kind: "packets"; readonly count: number }
  | { readonly kind: "done"; readonly result: WorkerResult }
  | { readonly kind: "failed"; readonly message: string };

export interface WorkerResult {
  readonly table: FlowTableState;
  /** By side. */
  readonly causes: readonly (readonly Cause[])[];
  readonly timeline: TimelineState;
  readonly findings: ReadFindings;
  /** Rows seen, of every share. */
  readonly index: number;
}

/** The pieces of each file as they come. */
class Pieces {
  readonly #port: MessagePort;
  readonly #waiting: Piece[][];
  readonly #wake: (() => void)[] = [];

  constructor(port: MessagePort, count: number) {
    this.#port = port;
    this.#waiting = Array.from({ length: count }, () => []);
    port.on("message", (piece: Piece) => {
      this.#waiting[piece.file]?.push(piece);
      this.#wake[piece.file]?.();
    });
  }

  async *stream(file: number): AsyncGenerator<Uint8Array> {
    for (;;) {
      const piece = this.#waiting[file]?.shift();
      if (piece === undefined) {
        await new Promise<void>((resolve) => {
          this.#wake[file] = resolve;
        });
        continue;
      }
      if (piece.bytes === undefined) return;
      this.#say({ kind: "read" });
      yield piece.bytes;
    }
  }

  #say(message: WorkerMessage): void {
    this.#port.postMessage(message);
  }
}

async function work(port: MessagePort, given: WorkerSetup): Promise<WorkerResult> {
  const { setup, filter, namespace, duplicates, share, names } = given;
  const { loaded } = loadSetup(setup, BATCH_ROWS);
  if (loaded === undefined) throw new Error("the manifests were good in the main thread, and are not here");
  const made = filterOf(
    filter,
    loaded.sides.map(({ cluster }) => cluster.model),
    loaded.book,
  );
  if (made !== undefined && "refusal" in made) throw new Error(made.refusal.join("\n"));
  const pieces = new Pieces(port, names.length);
  const pass = new ReplayPass({ loaded, main: setup.main, filter: made, namespace, duplicates, share });
  const io = {
    stdin: pieces.stream(names.indexOf("-")),
    readStream: (name: string) => pieces.stream(names.indexOf(name)),
    kindOf: async () => "file" as const,
    sizeOf: async () => undefined,
  };
  const recording = await pass.open(io, names);
  await pass.run(recording, async (count) => {
    port.postMessage({ kind: "packets", count } satisfies WorkerMessage);
    return true;
  });
  const { table, timeline, index } = pass.replay;
  return {
    table: table.save(),
    causes: loaded.sides.map(({ causes }) => causes),
    timeline: timeline.state(),
    findings: pass.findings(recording),
    index,
  };
}

if (parentPort !== null) {
  const port = parentPort;
  try {
    port.postMessage({ kind: "done", result: await work(port, workerData as WorkerSetup) } satisfies WorkerMessage);
  } catch (error) {
    const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
    port.postMessage({ kind: "failed", message } satisfies WorkerMessage);
  }
  port.close();
}
