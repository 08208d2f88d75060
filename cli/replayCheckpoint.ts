/** `--resume`: what a replay has done so far, in a file, so that one that was killed can go on. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { appendFile, readFile, rename, rm, truncate, writeFile } from "node:fs/promises";
import { deserialize, serialize } from "node:v8";
import type { WrittenInterfaces } from "../format/replay/pcapng.ts";
import type { ReplayState } from "../replay/replay.ts";
import { UsageError, writing } from "./io.ts";

/** How far an annotated recording is written. */
export interface WrittenOutput {
  /** Of the draft. */
  readonly bytes: number;
  readonly interfaces: WrittenInterfaces;
}

/** What a run has done. */
export interface Progress {
  /** Of each thread, which need not have come equally far: each goes on with its own flows from where it was. */
  readonly states: readonly ReplayState[];
  /** Where packets are written, by one thread. */
  readonly output?: WrittenOutput;
}

interface Checkpoint extends Progress {
  readonly format: typeof FORMAT;
  /** Hash of everything the report depends on: manifests, flags, names and sizes of the files. */
  readonly question: string;
}

const FORMAT = "chainwalk replay checkpoint 4";

/** Ends the command where no checkpoint could be written, before hours of work that none would keep. */
export async function requirePlace(path: string): Promise<void> {
  const draft = draftOf(path);
  await writing(path, writeFile(draft, ""));
  await writing(path, rm(draft));
}

/** Where a checkpoint is written before it takes the place of the one before. */
function draftOf(path: string): string {
  return `${path}.new`;
}

export class CheckpointFile {
  readonly #path: string;
  readonly #question: string;
  readonly #intervalMs: number;
  #savedMs: number;
  /** What is written while the recording is read. */
  readonly draft: DraftFile;

  /** `nowMs`: of a monotonic clock. */
  constructor(
    path: string,
    question: object,
    { intervalMs, nowMs }: { readonly intervalMs: number; readonly nowMs: number },
  ) {
    this.#path = path;
    this.draft = new DraftFile(`${path}.draft`);
    this.#question = createHash("sha256").update(JSON.stringify(question)).digest("hex");
    this.#intervalMs = intervalMs;
    this.#savedMs = nowMs;
  }

  /** What the run before has done; undefined: there was none, or it was finished. */
  async load(): Promise<Progress | undefined> {
    const bytes = await readFile(this.#path).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return undefined;
      throw new UsageError(`${this.#path}: ${error.message}`);
    });
    if (bytes === undefined) return undefined;
    const checkpoint = this.#parse(bytes);
    if (checkpoint?.format !== FORMAT) throw new UsageError(`${this.#path} is no checkpoint of this version's replay`);
    if (checkpoint.question !== this.#question) {
      throw new UsageError(
        `${this.#path} is of a replay with other manifests, traffic or flags: repeat them, or remove the file to begin anew`,
      );
    }
    return checkpoint;
  }

  /** Whether it is time to save again. */
  isDue(nowMs: number): boolean {
    return nowMs - this.#savedMs >= this.#intervalMs;
  }

  /** Replaces the file as a whole: a kill in the middle leaves the one before. */
  async save(progress: Progress, nowMs: number): Promise<void> {
    const checkpoint: Checkpoint = { ...progress, format: FORMAT, question: this.#question };
    const draft = draftOf(this.#path);
    await writing(this.#path, writeFile(draft, serialize(checkpoint)));
    await writing(this.#path, rename(draft, this.#path));
    this.#savedMs = nowMs;
  }

  /** The report is written: nothing is left to resume. */
  async remove(): Promise<void> {
    await rm(this.#path, { force: true });
    await rm(this.draft.path, { force: true });
  }

  #parse(bytes: Uint8Array): Checkpoint | undefined {
    try {
      const value: unknown = deserialize(bytes);
      return typeof value === "object" && value !== null && "format" in value ? (value as Checkpoint) : undefined;
    } catch {
      return undefined; // whatever it is, we did not write it
    }
  }
}

/** Output that may have to be taken back: beside the checkpoint, until all of it is there. */
export class DraftFile {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  /** Keeps so many bytes of what an earlier run has left. */
  async begin(bytes: number): Promise<void> {
    if (bytes === 0) await writing(this.path, writeFile(this.path, ""));
    else {
      await truncate(this.path, bytes).catch((error: Error) => {
        throw new UsageError(`${this.path}, which belongs to the checkpoint: ${error.message}`);
      });
    }
  }

  async append(bytes: Uint8Array): Promise<void> {
    await writing(this.path, appendFile(this.path, bytes));
  }

  pieces(): AsyncIterable<Uint8Array> {
    return createReadStream(this.path);
  }
}
