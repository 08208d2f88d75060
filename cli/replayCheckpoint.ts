/** `--resume`: what a replay has done so far, in a file, so that one that was killed can go on. */
import { createHash } from "node:crypto";
import { readFile, rename, rm, writeFile } from "node:fs/promises";
import { deserialize, serialize } from "node:v8";
import type { ReplayState } from "../replay/replay.ts";
import { UsageError } from "./io.ts";

interface Checkpoint {
  readonly format: typeof FORMAT;
  /** Hash of everything the report depends on: manifests, flags, names and sizes of the files. */
  readonly question: string;
  /** Of each thread, which need not have come equally far: each goes on with its own flows from where it was. */
  readonly states: readonly ReplayState[];
}

const FORMAT = "chainwalk replay checkpoint 3";

export class CheckpointFile {
  readonly #path: string;
  readonly #question: string;
  readonly #intervalMs: number;
  #savedMs: number;

  /** `nowMs`: of a monotonic clock. */
  constructor(
    path: string,
    question: object,
    { intervalMs, nowMs }: { readonly intervalMs: number; readonly nowMs: number },
  ) {
    this.#path = path;
    this.#question = createHash("sha256").update(JSON.stringify(question)).digest("hex");
    this.#intervalMs = intervalMs;
    this.#savedMs = nowMs;
  }

  /** The states of the run before; undefined: there was none, or it was finished. */
  async load(): Promise<readonly ReplayState[] | undefined> {
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
    return checkpoint.states;
  }

  /** Whether it is time to save again. */
  isDue(nowMs: number): boolean {
    return nowMs - this.#savedMs >= this.#intervalMs;
  }

  /** Replaces the file as a whole: a kill in the middle leaves the one before. */
  async save(states: readonly ReplayState[], nowMs: number): Promise<void> {
    const checkpoint: Checkpoint = { format: FORMAT, question: this.#question, states };
    const draft = `${this.#path}.new`;
    await writeFile(draft, serialize(checkpoint));
    await rename(draft, this.#path);
    this.#savedMs = nowMs;
  }

  /** The report is written: nothing is left to resume. */
  async remove(): Promise<void> {
    await rm(this.#path, { force: true });
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
