/** Streams that somebody else writes, and may never end: standard input, and named pipes, also those that a shell makes of `<(command)`. */
import { constants, openSync } from "node:fs";
import { stat } from "node:fs/promises";
import { Socket } from "node:net";
import type { Readable } from "node:stream";

/** What comes until it ends, or until it is interrupted, which is no failure. */
export async function* untilInterrupted(stream: Readable, interrupted: AbortSignal): AsyncGenerator<Uint8Array> {
  const stop = () => stream.destroy();
  interrupted.addEventListener("abort", stop);
  try {
    if (interrupted.aborted) stop();
    yield* stream;
  } catch (error) {
    if (!interrupted.aborted) throw error;
  } finally {
    interrupted.removeEventListener("abort", stop);
  }
}

export async function isPipe(path: string): Promise<boolean> {
  return (await stat(path)).isFIFO();
}

/**
 * A named pipe. Node reads files in threads, and a thread that waits for a writer keeps the process from ending, whatever Ctrl-C
 * says. Here the event loop waits. It does not wait to open it either: there is nothing to read until there was a first writer.
 */
export function openPipe(path: string): Readable {
  return new Socket({ fd: openSync(path, constants.O_RDONLY | constants.O_NONBLOCK), writable: false });
}
