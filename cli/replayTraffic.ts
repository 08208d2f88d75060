/** The traffic of a replay: files and standard input, compressed or not, as one stream of batches in order of time. */

import { setFlagsFromString } from "node:v8";
import * as zlib from "node:zlib";
import { createGunzip } from "node:zlib";
import type { Issue } from "../compiler/issue.ts";
import { type MergedTraffic, mergeTraffic } from "../replay/mergeTraffic.ts";
import { openTraffic } from "../traffic/openTraffic.ts";
import { TrafficError, type TrafficIssue, type TrafficSource } from "../traffic/source.ts";
import type { Resolve } from "../traffic/transcript.ts";
import { type Io, UsageError } from "./io.ts";

/** What is said of the traffic beside its flows. */
export interface TrafficFindings {
  /** Records that were not replayed, by reason. */
  readonly skipped: Map<string, number>;
  readonly notes: string[];
}

/** What the sources of a recording found. */
export interface SourceFindings extends TrafficFindings {
  readonly issues: readonly Issue[];
}

/** What one pass found beside flows. */
export interface ReadFindings extends SourceFindings {
  /** Packets that were recorded on several interfaces, counted once. */
  readonly copies: number;
  /** Connections that a node sent on under its own address, counted as the pod's. */
  readonly masqueraded: number;
  /** Services of which an endpoint had to be chosen. */
  readonly guessedServices: readonly string[];
}

/** What reading traffic needs of the world. */
export type TrafficIo = Pick<Io, "stdin" | "readStream" | "kindOf" | "sizeOf">;

interface OpenFile {
  readonly name: string;
  /** Read so far. */
  readonly own: { bytes: number };
  /** Of its compression. */
  readonly issues: readonly TrafficIssue[];
  readonly source: TrafficSource;
}

/** Everything the user named, opened. */
export class Recording {
  readonly merged: MergedTraffic;
  readonly #files: readonly OpenFile[];
  readonly #read: { bytes: number };
  readonly #totalBytes: number | undefined;

  private constructor(files: readonly OpenFile[], { frames, ahead }: OpenOptions, size: Size) {
    this.#files = files;
    this.#read = size.read;
    this.#totalBytes = size.total;
    this.merged = mergeTraffic(
      files.map(({ source }) => source),
      { frames, ...(ahead && { ahead }) },
    );
  }

  static async open(io: TrafficIo, names: readonly string[], options: OpenOptions): Promise<Recording> {
    const read = { bytes: 0 };
    const files: OpenFile[] = [];
    let total: number | undefined = 0;
    for (const name of names) {
      const size = name === "-" ? undefined : await io.sizeOf(name).catch(() => undefined);
      total = total === undefined || size === undefined ? undefined : total + size;
      const own = { bytes: 0 };
      const onRead = (bytes: number): void => {
        own.bytes += bytes;
        read.bytes += bytes;
      };
      const issues: TrafficIssue[] = [];
      const onIssue = (issue: TrafficIssue): void => {
        issues.push(issue);
      };
      files.push({ name, own, issues, source: await openFile(io, name, { ...options, onRead, onIssue }) });
    }
    return new Recording(files, options, { read, total });
  }

  /** How much of the files has been read, 0 to 1; undefined where one has no size. */
  share(): number | undefined {
    return this.#totalBytes === undefined || this.#totalBytes === 0 ? undefined : this.#read.bytes / this.#totalBytes;
  }

  /** What the sources found, once they are read. */
  findings(): SourceFindings {
    const skipped = new Map<string, number>();
    const notes: string[] = [];
    const issues: Issue[] = [];
    for (const { name, own, issues: compression, source } of this.#files) {
      if (own.bytes === 0) notes.push(`${name === "-" ? "standard input" : name} is empty`);
      for (const [reason, count] of source.skipped) skipped.set(reason, (skipped.get(reason) ?? 0) + count);
      notes.push(...source.notes.map((note) => `${name}: ${note}`));
      issues.push(...[...source.issues, ...compression].map((issue) => issueOf(name, issue)));
    }
    return { skipped, notes, issues };
  }
}

interface Size {
  readonly read: { bytes: number };
  readonly total: number | undefined;
}

export interface OpenOptions {
  /** What names in logs and lines stand for. */
  readonly resolve: Resolve;
  readonly frames: "copied" | "left out";
  /** Seconds that the clock of each file is ahead. */
  readonly ahead?: readonly number[];
}

interface OpenFileOptions extends Partial<Pick<OpenOptions, "resolve">> {
  /** Told of every piece read, in bytes of the file. */
  readonly onRead: (bytes: number) => void;
  /** Told of what is wrong with a compressed file; the reader of what is in it takes it to end there. */
  readonly onIssue: (issue: TrafficIssue) => void;
}

export async function openFile(
  io: TrafficIo,
  name: string,
  { resolve, onRead, onIssue }: OpenFileOptions,
): Promise<TrafficSource> {
  const plain = await decompressed(counted(await openBytes(io, name), onRead), name, ({ message }, isAtEnd) =>
    onIssue({
      severity: isAtEnd ? "warning" : "error",
      offset: undefined,
      line: undefined,
      message: isAtEnd
        ? `the compressed data ends too early (${message}); what came before is read`
        : `the compressed data is damaged (${message}); what came before is read`,
    }),
  );
  try {
    const source = await openTraffic(plain, { ...(resolve && { resolve }) });
    if (source.isImplied) keepHeapSmall();
    return source;
  } catch (error) {
    if (error instanceof TrafficError) throw new UsageError(`${name}: ${error.message}`);
    throw error;
  }
}

/**
 * Lines of a log are objects that die at once, for which V8 makes their nursery large (16 MB, thrice) and collects what outlived it late.
 * With the nursery as it is, and collecting at a third more, 200,000 lines take 50 to 80 MB less and no more time.
 */
function keepHeapSmall(): void {
  setFlagsFromString("--semi-space-growth-factor=1 --heap-growing-percent=30");
}

function issueOf(file: string, { severity, offset, line, message }: TrafficIssue): Issue {
  const place = offset === undefined ? "" : `byte ${offset}: `;
  return {
    code: "traffic",
    severity,
    message: `${place}${message}`,
    file,
    line: line ?? 0,
    column: line === undefined ? 0 : 1,
    path: "",
  };
}

/** The bytes of a file or of standard input. */
export async function openBytes(io: TrafficIo, name: string): Promise<AsyncIterable<Uint8Array | string>> {
  if (name === "-") return io.stdin;
  const kind = await io.kindOf(name);
  if (kind === "file") return io.readStream(name);
  throw new UsageError(kind === "folder" ? `${name} is a folder, traffic is a file or -` : `${name}: no such file`);
}

async function* counted(
  stream: AsyncIterable<Uint8Array | string>,
  onRead: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  const encoder = new TextEncoder();
  for await (const piece of stream) {
    const bytes = typeof piece === "string" ? encoder.encode(piece) : piece;
    onRead(bytes.length);
    yield bytes;
  }
}

/** gzip (RFC 1952) and Zstandard (RFC 8878) by their magic numbers. */
async function decompressed(
  stream: AsyncGenerator<Uint8Array>,
  name: string,
  onFailure: (failure: Error, isAtEnd: boolean) => void,
): Promise<AsyncIterable<Uint8Array>> {
  const first: Uint8Array[] = [];
  let length = 0;
  for (let next = await stream.next(); next.done !== true; next = await stream.next()) {
    first.push(next.value);
    length += next.value.length;
    if (length >= 4) break;
  }
  const head = Buffer.concat(first);
  const whole = rejoined(head, stream);
  if (head[0] === 0x1f && head[1] === 0x8b) return throughStream(whole, createGunzip(), onFailure);
  if (head.length >= 4 && head.readUInt32LE(0) === 0xfd2fb528) {
    const create = (zlib as { createZstdDecompress?: () => NodeJS.ReadWriteStream }).createZstdDecompress;
    if (create === undefined) {
      throw new UsageError(
        `${name} is compressed with zstd, which this Node.js cannot read: zstd -dc ${name} | chainwalk replay … -`,
      );
    }
    return throughStream(whole, create(), onFailure);
  }
  return whole;
}

/** Fed to decompression at a time; gzip makes at most a thousand times as many of them. */
const COMPRESSED_BYTES = 1 << 14;

async function* rejoined(head: Uint8Array, rest: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  if (head.length > 0) yield head;
  yield* rest;
}

/**
 * What comes out of a stream that decompresses, up to where it fails: a file that was cut short is worth what is whole of it. The stream
 * gets little at a time and is emptied in between, so that nothing is lost in it, and a few bytes do not become all of memory.
 */
async function* throughStream(
  input: AsyncIterable<Uint8Array>,
  through: NodeJS.ReadWriteStream,
  onFailure: (failure: Error, isAtEnd: boolean) => void,
): AsyncGenerator<Uint8Array> {
  const out: Uint8Array[] = [];
  let failure: Error | undefined;
  /** Who waits for the stream; where it fails it answers nobody. */
  let wake = (): void => undefined;
  through.on("data", (piece: Uint8Array) => out.push(piece));
  through.on("error", (error: Error) => {
    failure = error;
    wake();
  });
  for await (const piece of input) {
    for (let at = 0; at < piece.length && failure === undefined; at += COMPRESSED_BYTES) {
      await new Promise<void>((resolve) => {
        wake = resolve;
        through.write(piece.subarray(at, at + COMPRESSED_BYTES), () => resolve());
      });
      yield* out.splice(0);
    }
    if (failure !== undefined) {
      onFailure(failure, false);
      return;
    }
  }
  await new Promise<void>((resolve) => {
    wake = resolve;
    through.once("end", resolve);
    through.end();
  });
  yield* out.splice(0);
  if (failure !== undefined) onFailure(failure, true);
}
