/** One run of the command line: the world handed in, how to speak, and the exit code the verb arrives at. */
import { formatIssue, hasErrors, type Issue } from "../compiler/issue.ts";
import { type Paint, PLAIN } from "../format/paint.ts";
import { visible } from "../format/visible.ts";
import type { MannerFlags } from "./flags.ts";
import { EXIT, type Io, LineWriter } from "./io.ts";
import { paintFor } from "./paint.ts";

/** Something that takes at most this long needs no progress line (design: half a second). */
const PATIENCE_MS = 500;
/** Often enough to hear Ctrl-C at once, seldom enough to cost nothing. */
const BREATH_MS = 50;
const REDRAW_MS = 250;

export class Session {
  readonly io: Io;
  /** Buffered data for stdout. */
  readonly out: LineWriter;
  #exitCode: number = EXIT.fine;
  #quiet = false;
  #paint: Paint = PLAIN;
  #errorPaint: Paint = PLAIN;

  constructor(io: Io) {
    this.io = io;
    this.out = new LineWriter(io.stdout);
  }

  get exitCode(): number {
    return this.#exitCode;
  }

  /** For stdout. */
  get paint(): Paint {
    return this.#paint;
  }

  /** Takes the flags that say how to speak; called before the verb's action. */
  async settle(flags: Partial<MannerFlags>): Promise<void> {
    this.#quiet = flags.quiet === true;
    this.#paint = paintFor(this.io.stdout, this.io.env, flags.color ?? "auto");
    this.#errorPaint = paintFor(this.io.stderr, this.io.env, flags.color ?? "auto");
    if (flags.context !== undefined) {
      await this.note(`--context ${flags.context} changes nothing: chainwalk reads manifests and contacts no cluster`);
    }
  }

  /** Ends the run with `code`; of several codes the first that is not fine stands. */
  end(code: number): void {
    if (this.#exitCode === EXIT.fine) this.#exitCode = code;
  }

  /** Something worth knowing that is no error. */
  async note(text: string): Promise<void> {
    if (!this.#quiet) await this.io.stderr.write(`${this.#errorPaint.warn("note:")} ${visible(text)}\n`);
  }

  /** Something that ends in a bad exit code; said also when quiet. */
  async error(text: string): Promise<void> {
    await this.io.stderr.write(`${this.#errorPaint.bad("error:")} ${visible(text)}\n`);
  }

  /** All issues; when quiet, warnings only where they stand beside errors. */
  async report(issues: readonly Issue[]): Promise<void> {
    if (this.#quiet && !hasErrors(issues)) return;
    for (const issue of issues) {
      const line = visible(formatIssue(issue));
      await this.io.stderr.write(`${issue.severity === "error" ? this.#errorPaint.bad(line) : line}\n`);
    }
  }

  /** A progress line for a loop of many packets; silent when not a terminal. */
  progress(what: string, total?: number | ProgressShare, detail?: () => string): Progress {
    return new Progress({ io: this.io, what, total, detail, silent: this.#quiet || !this.io.stderr.isTerminal });
  }
}

/** How much of the work is done, 0 to 1, where its parts cannot be counted beforehand; undefined: not known. */
export type ProgressShare = () => number | undefined;

interface ProgressOptions {
  readonly io: Io;
  readonly what: string;
  readonly total: number | ProgressShare | undefined;
  /** What else to say at the end of the line. */
  readonly detail: (() => string) | undefined;
  readonly silent: boolean;
}

/** Counts a loop: shows rate and time left on stderr, and gives signals a chance to be heard. */
export class Progress {
  readonly #options: ProgressOptions;
  readonly #startMs: number;
  #count = 0;
  #breathMs: number;
  #drawnMs: number;
  #shown = false;

  constructor(options: ProgressOptions) {
    this.#options = options;
    this.#startMs = options.io.now();
    this.#breathMs = this.#startMs;
    this.#drawnMs = this.#startMs;
  }

  /** One more is done, or a few more. False: the user wants to stop. */
  async step(count = 1): Promise<boolean> {
    this.#count += count;
    const nowMs = this.#options.io.now();
    if (nowMs - this.#breathMs < BREATH_MS) return true;
    this.#breathMs = nowMs;
    await new Promise((resolve) => setImmediate(resolve));
    if (!this.#options.silent && nowMs - this.#startMs > PATIENCE_MS && nowMs - this.#drawnMs > REDRAW_MS) {
      this.#drawnMs = nowMs;
      this.#shown = true;
      await this.#options.io.stderr.write(`\r\u001b[K${this.#line(nowMs)}`);
    }
    return !this.#options.io.interrupted.aborted;
  }

  /** Takes the line away. */
  async done(): Promise<void> {
    if (this.#shown) await this.#options.io.stderr.write("\r\u001b[K");
    this.#shown = false;
  }

  #line(nowMs: number): string {
    const perSecond = (this.#count / (nowMs - this.#startMs)) * 1000;
    const { what, total, detail } = this.#options;
    const rate = `${Math.round(perSecond)} a second`;
    if (total === undefined) return [`${this.#count} ${what}`, rate, ...(detail ? [detail()] : [])].join(", ");
    if (typeof total === "function") {
      const share = total();
      if (share === undefined || share <= 0) return `${this.#count} ${what}, ${rate}`;
      const left = Math.ceil(((nowMs - this.#startMs) * (1 - share)) / share / 1000);
      return `${this.#count} ${what} (${Math.floor(share * 100)} %), ${rate}, ${left} s left`;
    }
    const leftSeconds = Math.ceil((total - this.#count) / perSecond);
    return `${this.#count} of ${total} ${what}, ${rate}, ${leftSeconds} s left`;
  }
}
