/** Lines of a byte stream, as many at a time as lie in the window. */
import type { ByteWindow } from "../byteWindow.ts";

/** Longest line that is taken into memory: far above any record, and above an export of some ten thousand flows in one line. */
export const MAX_LINE_BYTES = 1 << 24;

const NEWLINE = 10;

/** Keeps no state between whole lines. */
const DECODER = new TextDecoder();

export class LineReader {
  readonly #window: ByteWindow;
  #ended = false;
  /** A line was longer than allowed; nothing is read after it. */
  isTooLong = false;
  /** Bytes after `start` that hold no line end. */
  #searched = 0;

  constructor(window: ByteWindow) {
    this.#window = window;
  }

  /** The next line without its end; undefined: `fill` must be called first. */
  next(): string | undefined {
    const window = this.#window;
    const end = window.bytes.subarray(0, window.end).indexOf(NEWLINE, window.start + this.#searched);
    if (end < 0) {
      this.#searched = window.available;
      if (!this.#ended || window.available === 0) return undefined;
      return this.#take(window.end, window.end);
    }
    return this.#take(end, end + 1);
  }

  /** Reads on; false: there are no more lines. */
  async fill(): Promise<boolean> {
    if (this.#ended) return false;
    if (this.#window.available >= MAX_LINE_BYTES) {
      this.isTooLong = true;
      return false;
    }
    if (await this.#window.fill(this.#window.available + 1)) return true;
    this.#ended = true;
    return this.#window.available > 0;
  }

  #take(end: number, next: number): string {
    const window = this.#window;
    const text = DECODER.decode(window.bytes.subarray(window.start, end));
    window.start = next;
    this.#searched = 0;
    return text.endsWith("\r") ? text.slice(0, -1) : text;
  }
}
