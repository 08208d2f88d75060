/** Rows of captures: what pcap and pcapng readers do alike with a frame once they have found it. */
import type { ByteWindow } from "./byteWindow.ts";
import { FrameDecoder, skipText } from "./decodeFrame.ts";
import { counted, type Findings } from "./findings.ts";
import { clearBatch } from "./packetRow.ts";
import { BATCH_ROWS, createTrafficBatch, type TrafficBatch, type TrafficOptions } from "./source.ts";

/** Largest frame a capture may hold: MAXIMUM_SNAPLEN of libpcap. A longer one is a damaged length, and is never allocated. */
export const MAX_FRAME_BYTES = 262_144;

/** Fills a batch with frames that lie in a window. The fields are set for each frame before `add`. */
export class CaptureRows {
  readonly batch: TrafficBatch;
  readonly #findings: Findings;
  readonly #frames: FrameDecoder;
  /** Counts by the decoder's number; they become text when someone asks. */
  readonly #skips = new Map<number, number>();
  #lastTime = 0;
  /** Rows whose time lay before their predecessor's, and by how many seconds at most. */
  #backward = 0;
  #backwardMost = 0;

  /** Time of the frame: whole seconds and nanoseconds. */
  seconds = 0;
  nanoseconds = 0;
  interfaceId = 0;
  linkType = 0;
  /** Of the record in the input. */
  offset = 0;

  constructor(findings: Findings, { tunnels = "inner", batchRows = BATCH_ROWS, batch }: TrafficOptions) {
    this.#findings = findings;
    this.batch = batch ?? createTrafficBatch(batchRows);
    this.#frames = new FrameDecoder(this.batch, { tunnels });
  }

  get isFull(): boolean {
    return this.batch.packets.length === this.batch.packets.capacity;
  }

  /** Starts a batch over what now lies in the window. */
  begin(window: ByteWindow): void {
    const { batch } = this;
    batch.direction.fill(0, 0, batch.packets.length);
    batch.device.fill(0, 0, batch.packets.length);
    clearBatch(batch.packets);
    batch.comments.clear();
    batch.bytes = window.bytes;
    this.#frames.datagram.view = window.view;
  }

  /**
   * One frame: `captured` bytes at `start`, of `wire` bytes. Answers the row, or -1 when there is no packet in it to replay.
   */
  add(start: number, captured: number, wire: number): number {
    const { batch } = this;
    const { packets } = batch;
    const { datagram } = this.#frames;
    const row = packets.length;
    datagram.row = row;
    datagram.captured = start + captured;
    datagram.wire = start + wire;
    const skip = this.#frames.decode(this.linkType, start);
    if (skip !== 0) {
      this.#skips.set(skip, (this.#skips.get(skip) ?? 0) + 1);
      return -1;
    }
    const time = this.seconds + this.nanoseconds / 1e9;
    packets.time[row] = time >= this.#lastTime ? time : this.#timeAfter(time);
    this.#lastTime = Math.max(this.#lastTime, time);
    batch.seconds[row] = this.seconds;
    batch.nanoseconds[row] = this.nanoseconds;
    batch.frameBytes[row] = wire;
    batch.capturedBytes[row] = captured;
    batch.frameStart[row] = start;
    batch.offset[row] = this.offset;
    batch.interfaceId[row] = this.interfaceId;
    batch.recorded[row] = 0;
    packets.length = row + 1;
    return row;
  }

  #timeAfter(time: number): number {
    this.#backward++;
    this.#backwardMost = Math.max(this.#backwardMost, this.#lastTime - time);
    return this.#lastTime;
  }

  /** Time of the packet before, for records that carry none. */
  repeatTime(): void {
    this.seconds = Math.floor(this.#lastTime);
    this.nanoseconds = Math.floor((this.#lastTime - this.seconds) * 1e9);
  }

  /** Moves the counts into the findings; at the end of the input. */
  finish(): void {
    for (const [skip, count] of this.#skips) this.#findings.skip(skipText(skip), count);
    this.#skips.clear();
    const { vxlan, geneve, ipip } = this.#frames.tunnels;
    const found = [
      [vxlan, "VXLAN"],
      [geneve, "Geneve"],
      [ipip, "IP-in-IP"],
    ] as const;
    for (const [count, name] of found) {
      if (count > 0) this.#findings.notes.push(`of ${counted(count, "packet")} in ${name} the packet inside is taken`);
    }
    if (this.#backward > 0) {
      const most = this.#backwardMost.toPrecision(2);
      this.#findings.notes.push(
        `${counted(this.#backward, "packet")} stamped earlier than the packet before, by up to ${most} s: taken as simultaneous with it`,
      );
    }
  }
}
