/** Broken inputs for one reader: it must end soon, must not throw, must not eat memory, and must say where it rejects. */
import { Script } from "node:vm";
import type { Random } from "../kernel/random.ts";
import { shrink } from "../kernel/shrink.ts";
import { mutateBytes } from "./bytes.ts";
import type { Coverage } from "./coverage.ts";
import { contentName } from "./finding.ts";
import { type InputFormat, type Reading, WORDS } from "./formats.ts";
import type { Source } from "./mutate.ts";
import type { FuzzEvent, FuzzTarget } from "./target.ts";

/** Clock and memory of the process, which only the command line may ask. */
export interface Meter {
  /** Milliseconds that this thread was at work. */
  now(): number;
  heapBytes(): number;
}

/** What a reader did that it must not. */
export type Misdeed = "throws" | "takes too long" | "eats memory" | "rejects without a place";

export interface InputFinding {
  readonly misdeed: Misdeed;
  /** Without names and numbers: equal for findings with one cause. */
  readonly words: string;
  readonly detail: string;
}

/** What the contract allows a file. */
const LONGEST_MS = 1_000;
/** A reader that has not come back then, by the clock on the wall, is stopped. */
const DEADLINE_MS = 10_000;
/** So often it is started again when it was hardly let work until then. */
const MOST_STARTS = 3;
/** Some thousand times the longest input. */
const MOST_HEAP_BYTES = 512 * 1024 * 1024;

const MOST_KEPT = 2_048;

/** Inputs tried to make one finding smaller. */
const SHRINK_BUDGET = 600;

export interface InputTargetOptions {
  readonly format: InputFormat;
  readonly source: Source;
  readonly coverage: Coverage;
  readonly meter: Meter;
}

export class InputTarget implements FuzzTarget {
  readonly name: string;
  readonly #options: InputTargetOptions;
  readonly #kept: Uint8Array[] = [];
  readonly #known = new Set<string>();

  constructor(options: InputTargetOptions) {
    this.#options = options;
    this.name = options.format.name;
  }

  learn(bytes: Uint8Array): void {
    if (this.#kept.length >= MOST_KEPT) this.#kept.splice(0, MOST_KEPT / 4);
    this.#kept.push(bytes);
  }

  async step(): Promise<readonly FuzzEvent[]> {
    const { format, coverage, source } = this.#options;
    const bytes = this.#draw(source.random);
    const tried = await tryInput(format, bytes, this.#options.meter);
    const events: FuzzEvent[] = [{ kind: "ran", runs: 1 }];
    if ("misdeed" in tried) {
      const key = `${tried.misdeed} ${tried.words}`;
      if (!this.#known.has(key)) {
        this.#known.add(key);
        events.push({ kind: "input", format: format.name, ...(await leastInput(this.#options, bytes, tried)) });
      }
      return events;
    }
    for (const feature of featuresOf(tried)) coverage.text(`${format.name} ${feature}`);
    if (coverage.take() > 0) {
      this.learn(bytes);
      events.push({ kind: "kept", files: [{ path: inputPath(format, bytes), content: bytes }] });
    }
    return events;
  }

  #draw(random: Random): Uint8Array {
    const { format, source } = this.#options;
    if (this.#kept.length === 0 || random.oneIn(8)) {
      const made = format.make(source);
      return random.oneIn(8) ? made : mutateBytes(made, random, WORDS[format.name] ?? []);
    }
    return mutateBytes(random.pick(this.#kept), random, WORDS[format.name] ?? []);
  }
}

/** The input without whatever is not needed for the misdeed. */
export async function leastInput(
  { format, meter }: Pick<InputTargetOptions, "format" | "meter">,
  bytes: Uint8Array,
  finding: InputFinding,
): Promise<{ readonly bytes: Uint8Array; readonly finding: InputFinding }> {
  const same = async (candidate: Uint8Array) => {
    const again = await tryInput(format, candidate, meter);
    return "misdeed" in again && again.misdeed === finding.misdeed && again.words === finding.words;
  };
  // What took ten seconds once need not take them six hundred times.
  const budget = finding.misdeed === "takes too long" ? 8 : SHRINK_BUDGET;
  return { bytes: await shrink(bytes, smallerBytes, { stillFails: same, budget }), finding };
}

export function inputPath({ name, extension }: InputFormat, bytes: Uint8Array): string {
  return `${name}/${contentName(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""))}.${extension}`;
}

/** Without a part: halves first, then less, at last single bytes. */
export function* smallerBytes(bytes: Uint8Array): Generator<Uint8Array> {
  for (let size = Math.ceil(bytes.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let start = 0; start < bytes.length; start += size) {
      const smaller = new Uint8Array(bytes.length - Math.min(size, bytes.length - start));
      smaller.set(bytes.subarray(0, start));
      smaller.set(bytes.subarray(start + size), start);
      yield smaller;
    }
  }
}

/** The reader's answer, or what it did that it must not. */
export async function tryInput(format: InputFormat, bytes: Uint8Array, meter: Meter): Promise<Reading | InputFinding> {
  const heapBefore = meter.heapBytes();
  const first = await timed(format, bytes, meter);
  if ("misdeed" in first) return first;
  if (first.ms > LONGEST_MS) {
    // A busy machine makes anything slow once; a slow reader is slow again.
    const again = await timed(format, bytes, meter);
    const ms = "misdeed" in again ? DEADLINE_MS : Math.min(first.ms, again.ms);
    if (ms > LONGEST_MS)
      return { misdeed: "takes too long", words: "", detail: `${Math.round(ms)} ms for ${bytes.length} bytes` };
  }
  const grown = meter.heapBytes() - heapBefore;
  if (grown > MOST_HEAP_BYTES) {
    return { misdeed: "eats memory", words: "", detail: `${Math.round(grown / 1e6)} MB for ${bytes.length} bytes` };
  }
  const lost = first.reading.rejections.find(({ place }) => place === undefined);
  if (lost !== undefined)
    return { misdeed: "rejects without a place", words: wordsOf(lost.message), detail: lost.message };
  return first.reading;
}

interface Timed {
  readonly reading: Reading;
  readonly ms: number;
}

async function timed(
  format: InputFormat,
  bytes: Uint8Array,
  meter: Meter,
  starts = MOST_STARTS,
): Promise<Timed | InputFinding> {
  const started = meter.now();
  try {
    const answer = withDeadline(() => format.read(bytes));
    const reading = answer instanceof Promise ? await answer : answer;
    return { reading, ms: meter.now() - started };
  } catch (error) {
    if (isTimeout(error)) {
      if (meter.now() - started <= LONGEST_MS && starts > 1) return timed(format, bytes, meter, starts - 1);
      return { misdeed: "takes too long", words: "", detail: `stopped after ${DEADLINE_MS} ms, ${bytes.length} bytes` };
    }
    const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    const at = error instanceof Error ? (error.stack?.split("\n").find((line) => /\s+at /.test(line)) ?? "") : "";
    const place = at.replace(/^.*[/\\](?=[^/\\]+$)|:\d+:\d+\)?$/g, "");
    return { misdeed: "throws", words: `${wordsOf(text)} at ${place}`, detail: text };
  }
}

/**
 * Runs what does not come back by itself: V8 can stop a script that has a timeout wherever it is, our functions under it
 * included. Of a reader that answers later only the first part is guarded.
 */
function withDeadline<T>(work: () => T): T {
  let answer: { readonly value: T } | undefined;
  Object.defineProperty(globalThis, "fuzzedWork", {
    configurable: true,
    value: () => {
      answer = { value: work() };
    },
  });
  CALL.runInThisContext({ timeout: DEADLINE_MS, displayErrors: false });
  if (answer === undefined) throw new Error("the work did not begin");
  return answer.value;
}

const CALL = new Script("fuzzedWork()");

function isTimeout(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ERR_SCRIPT_EXECUTION_TIMEOUT";
}

function wordsOf(message: string): string {
  return message
    .replace(/"[^"]*"|'[^']*'/g, "…")
    .replace(/\d+/g, "N")
    .slice(0, 160);
}

function featuresOf({ rejections, features }: Reading): ReadonlySet<string> {
  return new Set([...features, ...rejections.map(({ message }) => `rejects ${wordsOf(message).slice(0, 60)}`)]);
}
