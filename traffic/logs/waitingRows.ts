/**
 * Rows held back until everything before them in time is there. Objects that wait would outlive the collector's nursery, all of
 * them, and a log would fill the heap with its past; and in columns each row would be two dozen cache lines, since rows leave in
 * another order than they came. So a row is a record of two lines, and becomes columns when it leaves.
 */
import type { IpAddress } from "../../dataplane/address.ts";
import { type FiveTuple, PACKET_FLAG, type PacketBatch } from "../../dataplane/packet.ts";
import { splitTime } from "../captureWriter.ts";
import type { TrafficBatch } from "../source.ts";
import type { ImpliedPacket } from "./impliedPackets.ts";

/**
 * Words of a record; what is narrower than a word shares one:
 *
 *      0–3 source   4–7 destination   8 source port << 16 | destination port   9 sequence   10 acknowledgment   11 payload bytes
 *     12 family << 24 | protocol << 16 | TCP flags << 8 | window scale         13 window << 16 | ICMP identifier
 *     14 ICMP type << 24 | code << 16 | SCTP chunk << 8 | packet flags         15 verification tag
 *     16 bytes of the frame   17 interface << 8 | recorded   18–19 line (float64)   20–23 nothing
 */
const WORDS = 24;
const FLOATS = WORDS / 2;
const LINE = 9;

/** Children of a place in the heap: four lie in one cache line, and the heap is half as deep as with two. */
const CHILDREN = 4;

/** A heap by time; order of arrival decides among equals. What it compares is moved along with the slots. */
export class WaitingRows {
  #words: Int32Array;
  #floats: Float64Array;
  #times: Float64Array;
  #serials: Float64Array;
  #slots: Int32Array;
  /** Sparse: what ICMP errors quote, by slot; flow records imply none, lines that are packets may be some. */
  readonly #quoted = new Map<number, FiveTuple>();
  #length = 0;
  #serial = 0;
  /** Slots that were used and are free again: `#free[0, #freeLength)`. */
  #free: Int32Array;
  #freeLength = 0;
  /** Slots used so far. */
  #used = 0;

  constructor(capacity: number) {
    this.#words = new Int32Array(capacity * WORDS);
    this.#floats = new Float64Array(this.#words.buffer);
    this.#times = new Float64Array(capacity);
    this.#serials = new Float64Array(capacity);
    this.#slots = new Int32Array(capacity);
    this.#free = new Int32Array(capacity);
  }

  get length(): number {
    return this.#length;
  }

  push(implied: ImpliedPacket): void {
    const slot = this.#freeLength > 0 ? (this.#free[--this.#freeLength] ?? 0) : this.#used++;
    if (slot >= this.#slots.length) this.#grow();
    this.#write(slot, implied);
    const times = this.#times;
    const serials = this.#serials;
    const slots = this.#slots;
    const { time } = implied.packet;
    let at = this.#length++;
    while (at > 0) {
      const parent = Math.floor((at - 1) / CHILDREN);
      // Among equals the earlier arrival stays in front.
      if ((times[parent] ?? 0) <= time) break;
      times[at] = times[parent] ?? 0;
      serials[at] = serials[parent] ?? 0;
      slots[at] = slots[parent] ?? 0;
      at = parent;
    }
    times[at] = time;
    serials[at] = this.#serial++;
    slots[at] = slot;
  }

  /** Moves the first one to the end of `target`, not before `earliest`; answers its own time. There must be one. */
  popInto(target: TrafficBatch, earliest: number): number {
    const slot = this.#slots[0] ?? 0;
    const time = this.#times[0] ?? 0;
    this.#removeFirst();
    this.#free[this.#freeLength++] = slot;
    const row = target.packets.length++;
    const words = this.#words;
    const at = slot * WORDS;
    readPacket(words, at, target.packets, row);
    if (this.#quoted.size > 0) this.#moveQuoted(slot, target.packets, row);
    target.packets.time[row] = Math.max(time, earliest);
    const { seconds, nanoseconds } = splitTime(time);
    target.seconds[row] = seconds;
    target.nanoseconds[row] = nanoseconds;
    target.frameBytes[row] = words[at + 16] ?? 0;
    target.interfaceId[row] = (words[at + 17] ?? 0) >>> 8;
    target.recorded[row] = words[at + 17] ?? 0;
    target.offset[row] = this.#floats[slot * FLOATS + LINE] ?? 0;
    return time;
  }

  #moveQuoted(slot: number, { quoted }: PacketBatch, row: number): void {
    const tuple = this.#quoted.get(slot);
    if (tuple === undefined) return;
    quoted.set(row, tuple);
    this.#quoted.delete(slot);
  }

  #write(slot: number, { packet, record, bytes }: ImpliedPacket): void {
    const words = this.#words;
    const at = slot * WORDS;
    writeAddress(words, at, packet.source);
    writeAddress(words, at + 4, packet.destination);
    words[at + 8] = (packet.sourcePort << 16) | packet.destinationPort;
    words[at + 9] = packet.sequence;
    words[at + 10] = packet.acknowledgment;
    words[at + 11] = packet.payloadBytes;
    const scale = packet.windowScale === undefined ? 0 : packet.windowScale + 1;
    words[at + 12] = (packet.source.family << 24) | (packet.protocol << 16) | (packet.tcpFlags << 8) | scale;
    words[at + 13] = (packet.window << 16) | packet.icmpId;
    const flags = packet.fragment ? PACKET_FLAG.fragment : 0;
    words[at + 14] = (packet.icmpType << 24) | (packet.icmpCode << 16) | (packet.sctpChunk << 8) | flags;
    words[at + 15] = packet.verificationTag;
    words[at + 16] = bytes;
    words[at + 17] = ((record.interfaceId ?? 0) << 8) | record.recorded;
    this.#floats[slot * FLOATS + LINE] = record.line;
    if (packet.quoted !== undefined) this.#quoted.set(slot, packet.quoted);
  }

  /** The last of the heap sinks from the top to where it belongs. */
  #removeFirst(): void {
    const times = this.#times;
    const serials = this.#serials;
    const slots = this.#slots;
    const length = --this.#length;
    const time = times[length] ?? 0;
    const serial = serials[length] ?? 0;
    let at = 0;
    for (;;) {
      const first = at * CHILDREN + 1;
      if (first >= length) break;
      const end = Math.min(length, first + CHILDREN);
      let child = first;
      let childTime = times[first] ?? 0;
      for (let other = first + 1; other < end; other++) {
        const otherTime = times[other] ?? 0;
        if (otherTime > childTime) continue;
        if (otherTime === childTime && (serials[other] ?? 0) > (serials[child] ?? 0)) continue;
        child = other;
        childTime = otherTime;
      }
      if (time < childTime || (time === childTime && serial < (serials[child] ?? 0))) break;
      times[at] = childTime;
      serials[at] = serials[child] ?? 0;
      slots[at] = slots[child] ?? 0;
      at = child;
    }
    times[at] = time;
    serials[at] = serial;
    slots[at] = slots[length] ?? 0;
  }

  /** At the end of a log, when all connections end at once. */
  #grow(): void {
    const capacity = this.#slots.length * 2;
    this.#words = grown(this.#words, new Int32Array(capacity * WORDS));
    this.#floats = new Float64Array(this.#words.buffer);
    this.#times = grown(this.#times, new Float64Array(capacity));
    this.#serials = grown(this.#serials, new Float64Array(capacity));
    this.#slots = grown(this.#slots, new Int32Array(capacity));
    this.#free = grown(this.#free, new Int32Array(capacity));
  }
}

function grown<T extends { set(from: T): void }>(from: T, to: T): T {
  to.set(from);
  return to;
}

function writeAddress(words: Int32Array, at: number, { words: from }: IpAddress): void {
  words[at] = from[0] ?? 0;
  words[at + 1] = from[1] ?? 0;
  words[at + 2] = from[2] ?? 0;
  words[at + 3] = from[3] ?? 0;
}

/** The packet of a record, but for its time, as a row. */
function readPacket(words: Int32Array, at: number, packets: PacketBatch, row: number): void {
  packets.source0[row] = words[at] ?? 0;
  packets.source1[row] = words[at + 1] ?? 0;
  packets.source2[row] = words[at + 2] ?? 0;
  packets.source3[row] = words[at + 3] ?? 0;
  packets.destination0[row] = words[at + 4] ?? 0;
  packets.destination1[row] = words[at + 5] ?? 0;
  packets.destination2[row] = words[at + 6] ?? 0;
  packets.destination3[row] = words[at + 7] ?? 0;
  const ports = words[at + 8] ?? 0;
  packets.sourcePort[row] = ports >>> 16;
  packets.destinationPort[row] = ports;
  packets.sequence[row] = words[at + 9] ?? 0;
  packets.acknowledgment[row] = words[at + 10] ?? 0;
  packets.payloadBytes[row] = words[at + 11] ?? 0;
  // Columns are as wide as what they take, and cut off the rest.
  const head = words[at + 12] ?? 0;
  packets.family[row] = head >>> 24;
  packets.protocol[row] = head >>> 16;
  packets.tcpFlags[row] = head >>> 8;
  packets.windowScale[row] = head;
  const window = words[at + 13] ?? 0;
  packets.window[row] = window >>> 16;
  packets.icmpId[row] = window;
  const message = words[at + 14] ?? 0;
  packets.icmpType[row] = message >>> 24;
  packets.icmpCode[row] = message >>> 16;
  packets.sctpChunk[row] = message >>> 8;
  packets.flags[row] = message & 0xff;
  packets.verificationTag[row] = words[at + 15] ?? 0;
  packets.mark[row] = 0;
}
