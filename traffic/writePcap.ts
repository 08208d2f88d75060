/** Writes pcap: little-endian, nanoseconds, one link type, no comments. */
import { ByteSink } from "./byteSink.ts";
import { MAX_FRAME_BYTES } from "./captureRows.ts";
import type { CaptureWriter, Frame } from "./captureWriter.ts";

const NANOSECOND_MAGIC = 0xa1b23c4d;

export class PcapWriter implements CaptureWriter {
  readonly #sink = new ByteSink();

  constructor(linkType: number) {
    const sink = this.#sink;
    sink.uint32(NANOSECOND_MAGIC);
    sink.uint16(2);
    sink.uint16(4);
    sink.uint32(0);
    sink.uint32(0);
    sink.uint32(MAX_FRAME_BYTES);
    sink.uint32(linkType);
  }

  frame({ bytes, wireBytes, seconds, nanoseconds }: Frame): void {
    const sink = this.#sink;
    sink.uint32(Math.max(0, seconds));
    sink.uint32(nanoseconds);
    sink.uint32(bytes.length);
    sink.uint32(wireBytes);
    sink.bytes(bytes);
  }

  get length(): number {
    return this.#sink.length;
  }

  take(): Uint8Array {
    return this.#sink.take();
  }
}
