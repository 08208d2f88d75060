/**
 * A worker thread of `replay --jobs`: reads the whole recording as the others do, and pushes the flows that are its share.
 * Decoding is done in every thread; it is the small part, and so nothing has to be taken apart and sent.
 */
import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import type { ReplayState } from "../replay/replay.ts";
import type { Told } from "./replayOutput.ts";
import { ReplayShare, type ShareResult, type ShareSetup } from "./replayShare.ts";

/** From the main thread. */
export type CrewMessage =
  /** The next bytes of a file; undefined: the file ends. */
  | { readonly kind: "piece"; readonly file: number; readonly bytes: Uint8Array | undefined }
  | { readonly kind: "save" }
  /** What was told of the round is written: the next part. */
  | { readonly kind: "on" };

/** To the main thread. */
export type WorkerMessage =
  /** A piece of a file. */
  | { readonly kind: "read"; readonly file: number }
  | { readonly kind: "packets"; readonly count: number }
  | { readonly kind: "round"; readonly told: Told }
  | { readonly kind: "saved"; readonly state: ReplayState | undefined }
  | { readonly kind: "done"; readonly result: ShareResult }
  | { readonly kind: "failed"; readonly message: string };

/** The pieces of each file as they come. */
class Pieces {
  readonly #waiting: (Uint8Array | undefined)[][];
  readonly #wake: (() => void)[] = [];
  readonly #onRead: (file: number) => void;

  constructor(count: number, onRead: (file: number) => void) {
    this.#waiting = Array.from({ length: count }, () => []);
    this.#onRead = onRead;
  }

  add(file: number, bytes: Uint8Array | undefined): void {
    this.#waiting[file]?.push(bytes);
    this.#wake[file]?.();
  }

  async *stream(file: number): AsyncGenerator<Uint8Array> {
    const waiting = this.#waiting[file] ?? [];
    for (;;) {
      if (waiting.length === 0) {
        await new Promise<void>((resolve) => {
          this.#wake[file] = resolve;
        });
        continue;
      }
      const bytes = waiting.shift();
      if (bytes === undefined) return;
      this.#onRead(file);
      yield bytes;
    }
  }
}

function work(port: MessagePort, setup: ShareSetup): Promise<ShareResult> {
  const say = (message: WorkerMessage): void => port.postMessage(message);
  let goOn = (): void => undefined;
  const share = new ReplayShare(setup, {
    packets: (count) => say({ kind: "packets", count }),
    round: async (told) => {
      say({ kind: "round", told });
      if (told.kind === "frames" || told.isLast) return;
      await new Promise<void>((resolve) => {
        goOn = resolve;
      });
    },
  });
  const { names } = setup;
  // A file that is named twice is read twice.
  const opened = new Map<string, number>();
  const streamOf = (name: string): AsyncGenerator<Uint8Array> => {
    const file = names.indexOf(name, opened.get(name) ?? 0);
    opened.set(name, file + 1);
    return pieces.stream(file);
  };
  const pieces = new Pieces(names.length, (file) => say({ kind: "read", file }));
  // Messages are heard while the share waits for bytes, and then it stands between two batches.
  port.on("message", (message: CrewMessage) => {
    if (message.kind === "piece") pieces.add(message.file, message.bytes);
    else if (message.kind === "on") goOn();
    else say({ kind: "saved", state: share.save() });
  });
  return share.read({
    stdin: pieces.stream(names.indexOf("-")),
    readStream: streamOf,
    kindOf: async () => "file",
    sizeOf: async () => undefined,
  });
}

async function workAndTell(port: MessagePort, setup: ShareSetup): Promise<void> {
  try {
    const result = await work(port, setup);
    port.postMessage({ kind: "done", result } satisfies WorkerMessage);
  } catch (error) {
    const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
    port.postMessage({ kind: "failed", message } satisfies WorkerMessage);
  }
  port.close();
}

if (parentPort !== null) void workAndTell(parentPort, workerData as ShareSetup);
