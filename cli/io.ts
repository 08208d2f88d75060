/** What a command may touch of the world, handed in, so that tests run whole commands in their own process. */
import type { RunSelf } from "../bench/runner.ts";

export interface Io {
  readonly stdin: AsyncIterable<Uint8Array | string>;
  readonly stdout: Writer;
  readonly stderr: Writer;
  /** The whole file as UTF-8; rejects as `node:fs` does. */
  readFile(path: string): Promise<string>;
  /** The file piece by piece, for what may not fit into memory. A piece holds until the one after the next is asked for (`readAhead`). */
  readStream(path: string): AsyncIterable<Uint8Array | string>;
  /** Every entry of a folder, not recursive. */
  readdir(path: string): Promise<readonly FolderEntry[]>;
  /** Undefined: there is nothing of that name. */
  kindOf(path: string): Promise<"file" | "folder" | undefined>;
  /** Bytes of a file; undefined: it has no size, or is none. */
  sizeOf(path: string): Promise<number | undefined>;
  /** Writes a file, and the folders above it that are missing. */
  writeFile(path: string, data: string | Uint8Array): Promise<void>;
  /** Adds to the end of a file, as `writeFile` makes it. */
  appendFile(path: string, text: string): Promise<void>;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Set when the user pressed Ctrl-C: finish the line at hand, flush, end with 130. */
  readonly interrupted: AbortSignal;
  /** Milliseconds of a monotonic clock, for progress lines only. */
  now(): number;
  /** Runs this program once more, in a process of its own; its messages go to our stderr. */
  readonly runSelf: RunSelf;
  /** Of this package. */
  version(): string;
  /** Where the page was built, in this package. */
  pageFolder(): string;
  /** Shows an address in the person's browser; resolves to why it cannot, or to undefined. */
  openBrowser(address: string): Promise<string | undefined>;
}

export interface FolderEntry {
  readonly name: string;
  readonly kind: "file" | "folder";
}

export interface Writer {
  /** Resolves when more may be written, so that a slow reader slows the command instead of filling memory. */
  write(data: string | Uint8Array): Promise<void>;
  readonly isTerminal: boolean;
  /** Width of the terminal; undefined when there is none. */
  readonly columns: number | undefined;
}

/** The exit codes of the public contract. */
export const EXIT = {
  fine: 0,
  /** A difference, a failed expectation, a mismatch. */
  findings: 1,
  /** Usage or invalid input. */
  invalid: 2,
  /** Evidence incomplete: a verdict is unknown. */
  incomplete: 3,
  /** The machine lacks a capability that was asked for. */
  incapable: 4,
  interrupted: 130,
} as const;

/** The user asked for something that cannot be done; `message` says what is allowed. Ends the command with 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** A file that cannot be written (no such folder, no right, a full disk): the user's to mend, and no mistake of ours. */
export async function writing<T>(path: string, written: Promise<T>): Promise<T> {
  try {
    return await written;
  } catch (error) {
    throw new UsageError(`${path} cannot be written: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** What cannot be read to its end (no right, a disk that fails, a device that has nothing to read) is the user's to mend too. */
export async function* readable<Piece>(path: string, pieces: AsyncIterable<Piece>): AsyncGenerator<Piece> {
  try {
    yield* pieces;
  } catch (error) {
    throw error instanceof Error && "syscall" in error ? new UsageError(`${path}: ${error.message}`) : error;
  }
}

/** Input was bad and its issues are already written to stderr. Ends the command with 2. */
export class InvalidInput extends Error {
  override readonly name = "InvalidInput";
}

/** Longest line that is taken into memory, in characters; as the reader of logs has it in bytes. */
export const MAX_LINE = 1 << 24;

/**
 * Lines of a stream of bytes, without their ends, in blocks as they arrive: who answers a block before asking for the next
 * one answers as soon as the other end has stopped to listen. Holds one block and one unfinished line. A line that has grown
 * longer than `MAX_LINE` is the last: what there is of it.
 */
export async function* lineBlocks(stream: AsyncIterable<Uint8Array | string>): AsyncGenerator<readonly string[]> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const piece of stream) {
    const [first = "", ...lines] = (typeof piece === "string" ? piece : decoder.decode(piece, { stream: true })).split(
      "\n",
    );
    rest += first;
    const last = lines.pop();
    if (last !== undefined) {
      yield [rest, ...lines].map(withoutReturn);
      rest = last;
    }
    if (rest.length > MAX_LINE) {
      yield [rest];
      return;
    }
  }
  rest += decoder.decode();
  if (rest !== "") yield [withoutReturn(rest)];
}

function withoutReturn(line: string): string {
  return line.endsWith("\r") ? line.slice(0, -1) : line;
}

/** Longest text that is taken whole; V8 has none much longer. */
const MAX_TEXT = 500_000_000;

/** The whole stream as text; rejects where it has more than `most` characters, since one that never ends would take all memory. */
export async function textOf(stream: AsyncIterable<Uint8Array | string>, most = MAX_TEXT): Promise<string> {
  const decoder = new TextDecoder();
  const pieces: string[] = [];
  let length = 0;
  for await (const piece of stream) {
    const text = typeof piece === "string" ? piece : decoder.decode(piece, { stream: true });
    length += text.length;
    if (length > most) throw new RangeError(`more than ${most} characters`);
    pieces.push(text);
  }
  return pieces.join("") + decoder.decode();
}

/** Collects short lines into writes of this many characters: one system call each, and memory stays flat. */
const CHUNK_CHARACTERS = 65_536;

/** A buffer in front of a writer. Whoever writes must `flush` at the end. */
export class LineWriter {
  readonly #writer: Writer;
  #pending: string[] = [];
  #length = 0;

  constructor(writer: Writer) {
    this.#writer = writer;
  }

  async line(text: string): Promise<void> {
    await this.text(`${text}\n`);
  }

  /** Text that has its own line ends. */
  async text(text: string): Promise<void> {
    this.#pending.push(text);
    this.#length += text.length;
    if (this.#length >= CHUNK_CHARACTERS) await this.flush();
  }

  /** Binary data, after whatever text came before. */
  async bytes(data: Uint8Array): Promise<void> {
    await this.flush();
    if (data.length > 0) await this.#writer.write(data);
  }

  async flush(): Promise<void> {
    if (this.#length === 0) return;
    const text = this.#pending.join("");
    this.#pending = [];
    this.#length = 0;
    await this.#writer.write(text);
  }
}
