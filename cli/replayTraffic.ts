/** The traffic of a replay: files and standard input, compressed or not, as one stream of batches in order of time. */

import { Readable } from "node:stream";
import * as zlib from "node:zlib";
import { createGunzip } from "node:zlib";
import { packetLines } from "../replay/packetLines.ts";
import { BATCH_ROWS, type TrafficSource } from "../traffic/source.ts";
import type { Resolve } from "../traffic/transcript.ts";
import { type Io, lineBlocks, UsageError } from "./io.ts";

export interface TrafficFile {
  /** As the user named it; `-` is standard input. */
  readonly name: string;
  readonly source: TrafficSource;
}

export interface OpenTrafficOptions {
  readonly resolve: Resolve;
  /** Told of every piece read, in bytes of the file. */
  readonly onRead?: (bytes: number) => void;
}

export async function openTrafficFile(io: Io, name: string, options: OpenTrafficOptions): Promise<TrafficFile> {
  const bytes = counted(await openBytes(io, name), options.onRead);
  const plain = await decompressed(bytes, name);
  return { name, source: packetLines(lineBlocks(plain), options.resolve, BATCH_ROWS) };
}

async function openBytes(io: Io, name: string): Promise<AsyncIterable<Uint8Array | string>> {
  if (name === "-") return io.stdin;
  const kind = await io.kindOf(name);
  if (kind === "file") return io.readStream(name);
  throw new UsageError(kind === "folder" ? `${name} is a folder, traffic is a file or -` : `${name}: no such file`);
}

async function* counted(
  stream: AsyncIterable<Uint8Array | string>,
  onRead: ((bytes: number) => void) | undefined,
): AsyncGenerator<Uint8Array> {
  const encoder = new TextEncoder();
  for await (const piece of stream) {
    const bytes = typeof piece === "string" ? encoder.encode(piece) : piece;
    onRead?.(bytes.length);
    yield bytes;
  }
}

/** gzip (RFC 1952) and Zstandard (RFC 8878) by their magic numbers. */
async function decompressed(stream: AsyncGenerator<Uint8Array>, name: string): Promise<AsyncIterable<Uint8Array>> {
  const first: Uint8Array[] = [];
  let length = 0;
  for (let next = await stream.next(); next.done !== true; next = await stream.next()) {
    first.push(next.value);
    length += next.value.length;
    if (length >= 4) break;
  }
  const head = Buffer.concat(first);
  const whole = rejoined(head, stream);
  if (head[0] === 0x1f && head[1] === 0x8b) return throughStream(whole, createGunzip(), name);
  if (head.length >= 4 && head.readUInt32LE(0) === 0xfd2fb528) {
    const create = (zlib as { createZstdDecompress?: () => NodeJS.ReadWriteStream }).createZstdDecompress;
    if (create === undefined) {
      throw new UsageError(
        `${name} is compressed with zstd, which this Node.js cannot read: zstd -dc ${name} | chainwalk replay … -`,
      );
    }
    return throughStream(whole, create(), name);
  }
  return whole;
}

async function* rejoined(head: Uint8Array, rest: AsyncGenerator<Uint8Array>): AsyncGenerator<Uint8Array> {
  if (head.length > 0) yield head;
  yield* rest;
}

async function* throughStream(
  input: AsyncIterable<Uint8Array>,
  through: NodeJS.ReadWriteStream,
  name: string,
): AsyncGenerator<Uint8Array> {
  const source = Readable.from(input, { objectMode: false });
  source.on("error", (error) => through.emit("error", error));
  source.pipe(through);
  try {
    for await (const piece of through) yield typeof piece === "string" ? Buffer.from(piece) : piece;
  } catch (error) {
    throw new UsageError(`${name}: ${error instanceof Error ? error.message : String(error)}`);
  }
}
