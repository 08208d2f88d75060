/**
 * Rows held back until everything before them in time is there. Kept in columns: objects that wait would outlive the
 * collector's nursery, all of them, and a log would fill the heap with its past.
 */
import { appendPacket } from "../../dataplane/packet.ts";
import { splitTime } from "../captureWriter.ts";
import { copyRow } from "../copyRow.ts";
import { createTrafficBatch, type TrafficBatch } from "../source.ts";
import type { ImpliedPacket } from "./impliedPackets.ts";

/** A binary heap over slots; the first in time is at 0, order of arrival decides among equals. */
export class WaitingRows {
  #rows: TrafficBatch;
  #heap: Int32Array;
  #serials: Float64Array;
  #length = 0;
  #serial = 0;
  /** Slots that were used and are free again: `#free[0, #freeLength)`. */
  #free: Int32Array;
  #freeLength = 0;
  /** Slots used so far. */
  #used = 0;

  constructor(capacity: number) {
    this.#rows = createTrafficBatch(capacity);
    this.#heap = new Int32Array(capacity);
    this.#serials = new Float64Array(capacity);
    this.#free = new Int32Array(capacity);
  }

  get length(): number {
    return this.#length;
  }

  push({ packet, record, bytes }: ImpliedPacket): void {
    const slot = this.#freeLength > 0 ? (this.#free[--this.#freeLength] ?? 0) : this.#used++;
    if (slot >= this.#rows.packets.capacity) this.#grow();
    const rows = this.#rows;
    rows.packets.length = slot;
    appendPacket(rows.packets, packet);
    rows.frameBytes[slot] = bytes;
    rows.offset[slot] = record.line;
    rows.interfaceId[slot] = record.interfaceId ?? 0;
    rows.recorded[slot] = record.recorded;
    this.#serials[slot] = this.#serial++;
    const heap = this.#heap;
    let at = this.#length++;
    while (at > 0) {
      const parent = (at - 1) >>> 1;
      const above = heap[parent] ?? 0;
      if (this.#isBefore(above, slot)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = slot;
  }

  /** Moves the first one to the end of `target`, not before `earliest`; answers its own time. There must be one. */
  popInto(target: TrafficBatch, earliest: number): number {
    const slot = this.#takeFirst();
    const rows = this.#rows;
    const row = target.packets.length++;
    copyRow(rows.packets, slot, target.packets, row);
    const time = rows.packets.time[slot] ?? 0;
    target.packets.time[row] = Math.max(time, earliest);
    const { seconds, nanoseconds } = splitTime(time);
    target.seconds[row] = seconds;
    target.nanoseconds[row] = nanoseconds;
    target.frameBytes[row] = rows.frameBytes[slot] ?? 0;
    target.offset[row] = rows.offset[slot] ?? 0;
    target.interfaceId[row] = rows.interfaceId[slot] ?? 0;
    target.recorded[row] = rows.recorded[slot] ?? 0;
    return time;
  }

  #takeFirst(): number {
    const heap = this.#heap;
    const first = heap[0] ?? 0;
    const last = heap[--this.#length] ?? 0;
    const length = this.#length;
    let at = 0;
    for (;;) {
      const left = 2 * at + 1;
      if (left >= length) break;
      const one = heap[left] ?? 0;
      const other = heap[left + 1] ?? 0;
      const isOther = left + 1 < length && this.#isBefore(other, one);
      const child = isOther ? other : one;
      if (this.#isBefore(last, child)) break;
      heap[at] = child;
      at = isOther ? left + 1 : left;
    }
    heap[at] = last;
    this.#free[this.#freeLength++] = first;
    return first;
  }

  #isBefore(a: number, b: number): boolean {
    const { time } = this.#rows.packets;
    const before = time[a] ?? 0;
    const after = time[b] ?? 0;
    return before < after || (before === after && (this.#serials[a] ?? 0) < (this.#serials[b] ?? 0));
  }

  /** At the end of a log, when all connections end at once. */
  #grow(): void {
    const old = this.#rows;
    const capacity = old.packets.capacity * 2;
    const rows = createTrafficBatch(capacity);
    for (let slot = 0; slot < old.packets.capacity; slot++) copyRow(old.packets, slot, rows.packets, slot);
    rows.frameBytes.set(old.frameBytes);
    rows.offset.set(old.offset);
    rows.interfaceId.set(old.interfaceId);
    rows.recorded.set(old.recorded);
    this.#rows = rows;
    this.#heap = grown(this.#heap, new Int32Array(capacity));
    this.#free = grown(this.#free, new Int32Array(capacity));
    this.#serials = grown(this.#serials, new Float64Array(capacity));
  }
}

function grown<T extends { set(from: T): void }>(from: T, to: T): T {
  to.set(from);
  return to;
}
