/** The flows of a recording: 5-tuples with what was seen of them, in columns that grow with the number of flows. */
import type { Family, IpAddress } from "../dataplane/address.ts";
import { type FiveTuple, hasPorts, type PacketBatch, PROTOCOL } from "../dataplane/packet.ts";
import type { TrafficBatch } from "../traffic/source.ts";
import { finish, isOfShare, mixEnd, type Share } from "./flowHash.ts";
import { FLOW_STATE, IDLE_SECONDS, TURNS } from "./flowState.ts";
import { grown } from "./grown.ts";
import { SideColumns } from "./sideColumns.ts";

export const NO_FLOW = -1;

/**
 * A flow is a record of 64 bytes, the size of a cache line: all that a packet of a flow that is known reads and writes. As words, and
 * as float64 (the second row):
 *
 *      0     1     2       3            4      5      6  7      8  9     10 11   12 13      14             15
 *     hash  kind  source  destination  ports  state                                        firstSequence  firstDetail
 *                                                    lastTime  packets  bytes   firstTime
 *
 * `kind` is `family << 16 | ICMP class << 8 | protocol`, `ports` is `source port << 16 | destination port`. An echo request and its
 * reply are one flow: the identifier stands for both ports. Other ICMP messages have their type as class (plus one, so that
 * 0 is "not ICMP"). Words 1 to 3 of IPv6 addresses are in an array beside the records.
 */
const RECORD_WORDS = 16;
const WORD = {
  hash: 0,
  kind: 1,
  source: 2,
  destination: 3,
  ports: 4,
  state: 5,
  firstSequence: 14,
  firstDetail: 15,
} as const;
const RECORD_FLOATS = RECORD_WORDS / 2;
const FLOAT = { lastTime: 3, packets: 4, bytes: 5, firstTime: 6 } as const;

/** Words 1 to 3 of the source, then of the destination. */
const TAIL_WORDS = 6;
const ECHO_CLASS = 0xff;

/** The kind of a plain row, without its protocol. */
const IPV4 = 4 << 16;

/** The flows of a table as data that can be kept or sent to another thread. */
export interface FlowTableState {
  readonly slots: number;
  readonly records: Int32Array;
  readonly tails: Int32Array;
  readonly firstIndex: Float64Array;
  readonly firstOffset: Float64Array;
  readonly sides: readonly {
    readonly verdict: Uint8Array;
    readonly ctState: Uint8Array;
    readonly cause: Int32Array;
    readonly packets: Float64Array;
  }[];
}

/** Rows of a batch that are to be pushed, and their flows; `length` of them count. */
export interface TakenRows {
  readonly rows: Int32Array;
  readonly flows: Int32Array;
  length: number;
}

interface KnownRows {
  readonly hashes: Int32Array;
  readonly share: Share;
  readonly taken: TakenRows;
}

/** What a flow remembers of its first packet. */
interface FirstPacket {
  readonly time: number;
  readonly sequence: number;
  readonly detail: number;
}

/**
 * Flows by tuple, either direction. A flow's source is whoever sent the first packet seen of it.
 *
 * Open addressing over slot numbers with linear probing; the hash is the same for both directions, so that one probe finds
 * a reply too. Invariants: at most half of the index is taken; a slot is indexed from `open` until `retire`, and its
 * columns keep their values until `release` gives the slot away.
 */
export class FlowTable {
  /** Number of the first packet in the whole recording, from 0: the order of flows. */
  firstIndex: Float64Array;
  /** Where it stands in its file (`TrafficBatch.offset`). */
  firstOffset: Float64Array;
  readonly sides: readonly SideColumns[];

  /** Set by `find`: whether the row goes from the flow's destination to its source. */
  isReply = false;
  /** Set by `load`. */
  hash = 0;
  /** The tuple loaded, as in a record. */
  #kind = 0;
  #source = 0;
  #destination = 0;
  #ports = 0;
  readonly #tail = new Int32Array(TAIL_WORDS);
  #words: Int32Array;
  #floats: Float64Array;
  /** Empty until a flow of IPv6 comes, which may be never. */
  #tails = new Int32Array(0);
  #places: Int32Array;
  #mask: number;
  #indexed = 0;
  #used = 0;
  #capacity: number;
  readonly #free: number[] = [];
  /** What reading ahead has read, so that it is not optimised away. */
  #sum = 0;

  constructor(sideCount: number, capacity = 1024) {
    this.#capacity = capacity;
    this.#words = new Int32Array(capacity * RECORD_WORDS);
    this.#floats = new Float64Array(this.#words.buffer);
    this.firstIndex = new Float64Array(capacity);
    this.firstOffset = new Float64Array(capacity);
    this.sides = Array.from({ length: sideCount }, () => new SideColumns(capacity));
    this.#places = new Int32Array(capacity * 4);
    this.#mask = capacity * 4 - 1;
  }

  /** Slots handed out so far; those released among them hold nothing. */
  get slots(): number {
    return this.#used;
  }

  /**
   * The hashes of rows `from` to `to`, by row. What `find` will read of them is touched as well: row by row it would wait for two cache
   * lines that depend on each other, in loops of one step each the processor has many under way.
   */
  hashRows(batch: PacketBatch, from: number, to: number, hashes: Int32Array): void {
    const { protocol, source0, destination0, sourcePort, destinationPort } = batch;
    const places = this.#places;
    const mask = this.#mask;
    const words = this.#words;
    for (let row = from; row < to; row++) {
      if (FlowTable.isPlain(batch, row)) {
        const near = mixEnd(source0[row] ?? 0, 0, sourcePort[row] ?? 0);
        const far = mixEnd(destination0[row] ?? 0, 0, destinationPort[row] ?? 0);
        hashes[row] = finish((near + far) ^ (IPV4 | (protocol[row] ?? 0)));
      } else {
        hashes[row] = this.#hashAny(batch, row);
      }
    }
    let sum = 0;
    for (let row = from; row < to; row++) sum ^= places[(hashes[row] ?? 0) & mask] ?? 0;
    for (let row = from; row < to; row++) {
      const slot = (places[(hashes[row] ?? 0) & mask] ?? 0) - 1;
      sum ^= words[Math.max(0, slot) * RECORD_WORDS] ?? 0;
    }
    this.#sum ^= sum;
  }

  /** The hash of a row of any kind. */
  #hashAny(batch: PacketBatch, row: number): number {
    const tuple = batch.quoted.size > 0 ? batch.quoted.get(row) : undefined;
    if (tuple === undefined) this.load(batch, row);
    else this.loadTuple(tuple);
    return this.hash;
  }

  /**
   * Counts rows from `from` on as long as they are plain and go on with flows that are known and wanted: nothing in them begins or ends
   * one. They are added to `taken`. The first row that is otherwise, or `to`.
   */
  passKnown(traffic: TrafficBatch, from: number, to: number, { hashes, share, taken }: KnownRows): number {
    const { packets, frameBytes } = traffic;
    const { protocol, tcpFlags, time } = packets;
    const { rows, flows } = taken;
    const words = this.#words;
    let { length } = taken;
    let row = from;
    for (; row < to; row++) {
      const hash = hashes[row] ?? 0;
      if (!isOfShare(hash, share)) continue;
      if (!FlowTable.isPlain(packets, row)) break;
      const flow = this.findRow(packets, row, hash);
      if (flow === NO_FLOW || ((words[flow * RECORD_WORDS + WORD.state] ?? 0) & FLOW_STATE.filtered) !== 0) break;
      const now = time[row] ?? 0;
      if (protocol[row] === PROTOCOL.tcp) {
        if (((tcpFlags[row] ?? 0) & TURNS) !== 0) break;
      } else if (protocol[row] === PROTOCOL.sctp || now - this.lastTime(flow) > IDLE_SECONDS) {
        break;
      }
      this.count(flow, frameBytes[row] ?? 0, now);
      rows[length] = row;
      flows[length] = flow;
      length++;
    }
    taken.length = length;
    return row;
  }

  /** Whether a row is of a kind that `findRow` finds: IPv4, and nothing that quotes or has a class. */
  static isPlain(batch: PacketBatch, row: number): boolean {
    const protocol = batch.protocol[row] ?? 0;
    return batch.family[row] === 4 && protocol !== PROTOCOL.icmp && protocol !== PROTOCOL.icmpv6;
  }

  /** `load` and `find` for a plain row whose hash is known; nothing is loaded. */
  findRow(batch: PacketBatch, row: number, hash: number): number {
    const places = this.#places;
    const mask = this.#mask;
    const words = this.#words;
    const source = batch.source0[row] ?? 0;
    const destination = batch.destination0[row] ?? 0;
    const near = batch.sourcePort[row] ?? 0;
    const far = batch.destinationPort[row] ?? 0;
    const kind = IPV4 | (batch.protocol[row] ?? 0);
    for (let place = hash & mask; ; place = (place + 1) & mask) {
      const slot = (places[place] ?? 0) - 1;
      if (slot < 0) return NO_FLOW;
      const at = slot * RECORD_WORDS;
      if (words[at] !== hash || words[at + WORD.kind] !== kind) continue;
      const from = words[at + WORD.source] ?? 0;
      const to = words[at + WORD.destination] ?? 0;
      const ports = words[at + WORD.ports] ?? 0;
      // Which way a packet goes is a coin toss to the branch predictor, so both are computed: 0 means equal in every bit.
      const same = (from ^ source) | (to ^ destination) | (ports ^ ((near << 16) | far));
      const turned = (from ^ destination) | (to ^ source) | (ports ^ ((far << 16) | near));
      if (same !== 0 && turned !== 0) continue;
      this.isReply = same !== 0;
      return slot;
    }
  }

  /** Reads the tuple of a row: `hash` and the next `find` and `open` are about it. */
  load(batch: PacketBatch, row: number): void {
    const tail = this.#tail;
    this.#source = batch.source0[row] ?? 0;
    tail[0] = batch.source1[row] ?? 0;
    tail[1] = batch.source2[row] ?? 0;
    tail[2] = batch.source3[row] ?? 0;
    this.#destination = batch.destination0[row] ?? 0;
    tail[3] = batch.destination1[row] ?? 0;
    tail[4] = batch.destination2[row] ?? 0;
    tail[5] = batch.destination3[row] ?? 0;
    const protocol = batch.protocol[row] ?? 0;
    let icmp = 0;
    let ports = ((batch.sourcePort[row] ?? 0) << 16) | (batch.destinationPort[row] ?? 0);
    if (protocol === PROTOCOL.icmp || protocol === PROTOCOL.icmpv6) {
      const type = batch.icmpType[row] ?? 0;
      const isEcho = protocol === PROTOCOL.icmp ? type === 8 || type === 0 : type === 128 || type === 129;
      const id = batch.icmpId[row] ?? 0;
      icmp = isEcho ? ECHO_CLASS : Math.min(type + 1, ECHO_CLASS - 1);
      ports = isEcho ? (id << 16) | id : 0;
    }
    this.#ports = ports;
    this.#kind = ((batch.family[row] ?? 0) << 16) | (icmp << 8) | protocol;
    this.#mix();
  }

  /** Reads a tuple that an ICMP error quotes. */
  loadTuple(tuple: FiveTuple): void {
    const { source, destination } = tuple;
    this.#source = source.words[0] ?? 0;
    this.#destination = destination.words[0] ?? 0;
    for (let word = 1; word < 4; word++) {
      this.#tail[word - 1] = source.words[word] ?? 0;
      this.#tail[word + 2] = destination.words[word] ?? 0;
    }
    this.#ports = (tuple.sourcePort << 16) | tuple.destinationPort;
    this.#kind = (source.family << 16) | tuple.protocol;
    this.#mix();
  }

  /** The indexed flow of the tuple loaded, or `NO_FLOW`. */
  find(): number {
    const places = this.#places;
    const mask = this.#mask;
    const { hash } = this;
    for (let place = hash & mask; ; place = (place + 1) & mask) {
      const slot = (places[place] ?? 0) - 1;
      if (slot < 0) return NO_FLOW;
      if (this.#words[slot * RECORD_WORDS] === hash && this.#isAt(slot)) return slot;
    }
  }

  /** A new flow of the tuple loaded. Its columns are zero but for the tuple. */
  open(): number {
    const slot = this.#free.pop() ?? this.#used++;
    if (slot >= this.#capacity) this.#grow();
    const words = this.#words;
    const at = slot * RECORD_WORDS;
    words[at] = this.hash;
    words[at + WORD.kind] = this.#kind;
    words[at + WORD.source] = this.#source;
    words[at + WORD.destination] = this.#destination;
    words[at + WORD.ports] = this.#ports;
    if (this.#kind >>> 16 === 6) this.#keepTail(slot);
    if ((this.#indexed + 1) * 2 > this.#mask) this.#reindex((this.#mask + 1) * 2);
    this.#insert(slot);
    this.#indexed++;
    this.isReply = false;
    return slot;
  }

  #keepTail(slot: number): void {
    if (this.#tails.length === 0) this.#tails = new Int32Array(this.#capacity * TAIL_WORDS);
    this.#tails.set(this.#tail, slot * TAIL_WORDS);
  }

  /** Counts a packet of a flow. */
  count(slot: number, bytes: number, time: number): void {
    const floats = this.#floats;
    const at = slot * RECORD_FLOATS;
    floats[at + FLOAT.lastTime] = time;
    floats[at + FLOAT.packets] = (floats[at + FLOAT.packets] ?? 0) + 1;
    floats[at + FLOAT.bytes] = (floats[at + FLOAT.bytes] ?? 0) + bytes;
  }

  /** Says what the first packet of a flow was. */
  begin(slot: number, { time, sequence, detail }: FirstPacket): void {
    this.#floats[slot * RECORD_FLOATS + FLOAT.firstTime] = time;
    this.#words[slot * RECORD_WORDS + WORD.firstSequence] = sequence;
    this.#words[slot * RECORD_WORDS + WORD.firstDetail] = detail;
  }

  /** Bits of `FLOW_STATE`. */
  state(slot: number): number {
    return this.#words[slot * RECORD_WORDS + WORD.state] ?? 0;
  }

  addState(slot: number, bits: number): void {
    const at = slot * RECORD_WORDS + WORD.state;
    this.#words[at] = (this.#words[at] ?? 0) | bits;
  }

  /** Packets seen; 0: nothing is in the slot. */
  packets(slot: number): number {
    return this.#floats[slot * RECORD_FLOATS + FLOAT.packets] ?? 0;
  }

  bytes(slot: number): number {
    return this.#floats[slot * RECORD_FLOATS + FLOAT.bytes] ?? 0;
  }

  /** Seconds, as is `lastTime`. */
  firstTime(slot: number): number {
    return this.#floats[slot * RECORD_FLOATS + FLOAT.firstTime] ?? 0;
  }

  lastTime(slot: number): number {
    return this.#floats[slot * RECORD_FLOATS + FLOAT.lastTime] ?? 0;
  }

  /** Sequence number of the first packet, to tell a repeated SYN from a new connection. */
  firstSequence(slot: number): number {
    return (this.#words[slot * RECORD_WORDS + WORD.firstSequence] ?? 0) >>> 0;
  }

  /** TCP flags, `type << 8 | code` of ICMP, or the SCTP chunk of the first packet. */
  firstDetail(slot: number): number {
    return this.#words[slot * RECORD_WORDS + WORD.firstDetail] ?? 0;
  }

  /** The flow has ended: its tuple is free for another one, its columns stay. */
  retire(slot: number): void {
    const places = this.#places;
    const mask = this.#mask;
    let place = this.#homeOf(slot);
    while (places[place] !== slot + 1) {
      if (places[place] === 0) return;
      place = (place + 1) & mask;
    }
    this.#indexed--;
    // Backward shift: whoever probed over this place moves up, so that no probe ends early.
    for (let hole = place, next = (place + 1) & mask; ; next = (next + 1) & mask) {
      const other = (places[next] ?? 0) - 1;
      if (other < 0) {
        places[hole] = 0;
        return;
      }
      const home = this.#homeOf(other);
      if (((next - home) & mask) < ((next - hole) & mask)) continue;
      places[hole] = other + 1;
      hole = next;
    }
  }

  /** Gives the slot of a retired flow away. */
  release(slot: number): void {
    this.#words.fill(0, slot * RECORD_WORDS, (slot + 1) * RECORD_WORDS);
    for (const side of this.sides) side.packets.fill(0, slot * 4, slot * 4 + 4);
    this.#free.push(slot);
  }

  /** A copy of everything. */
  save(): FlowTableState {
    const slots = this.#used;
    return {
      slots,
      records: this.#words.slice(0, slots * RECORD_WORDS),
      tails: this.#tails.slice(0, slots * TAIL_WORDS),
      firstIndex: this.firstIndex.slice(0, slots),
      firstOffset: this.firstOffset.slice(0, slots),
      sides: this.sides.map(({ verdict, ctState, cause, packets }) => ({
        verdict: verdict.slice(0, slots),
        ctState: ctState.slice(0, slots),
        cause: cause.slice(0, slots),
        packets: packets.slice(0, slots * 4),
      })),
    };
  }

  /**
   * Adds the flows of another table. `causes[side][n]` is the number here of what is cause n there. Of flows with one tuple
   * the youngest is the one that later packets belong to.
   */
  absorb(state: FlowTableState, causes: readonly (readonly number[])[]): void {
    const { slots, records, tails, firstIndex, firstOffset } = state;
    const floats = new Float64Array(records.buffer, records.byteOffset, records.length / 2);
    const order = Array.from({ length: slots }, (_, slot) => slot)
      .filter((slot) => (floats[slot * RECORD_FLOATS + FLOAT.packets] ?? 0) > 0)
      .sort((a, b) => (firstIndex[a] ?? 0) - (firstIndex[b] ?? 0));
    for (const from of order) {
      const at = from * RECORD_WORDS;
      this.hash = records[at] ?? 0;
      this.#kind = records[at + WORD.kind] ?? 0;
      this.#source = records[at + WORD.source] ?? 0;
      this.#destination = records[at + WORD.destination] ?? 0;
      this.#ports = records[at + WORD.ports] ?? 0;
      if (tails.length > 0) this.#tail.set(tails.subarray(from * TAIL_WORDS, (from + 1) * TAIL_WORDS));
      const older = this.find();
      if (older !== NO_FLOW) this.retire(older);
      const slot = this.open();
      this.#words.set(records.subarray(at, at + RECORD_WORDS), slot * RECORD_WORDS);
      this.firstIndex[slot] = firstIndex[from] ?? 0;
      this.firstOffset[slot] = firstOffset[from] ?? 0;
      for (const [index, side] of this.sides.entries()) {
        const other = state.sides[index];
        if (other === undefined) continue;
        side.verdict[slot] = other.verdict[from] ?? 0;
        side.ctState[slot] = other.ctState[from] ?? 0;
        side.cause[slot] = causes[index]?.[other.cause[from] ?? 0] ?? 0;
        side.packets.set(other.packets.subarray(from * 4, from * 4 + 4), slot * 4);
      }
    }
  }

  /** The slots that hold a flow, in order of their first packets. */
  ordered(): readonly number[] {
    const slots: number[] = [];
    let isOrdered = true;
    let last = -1;
    for (let slot = 0; slot < this.#used; slot++) {
      if (this.packets(slot) === 0) continue;
      const index = this.firstIndex[slot] ?? 0;
      isOrdered &&= index > last;
      last = index;
      slots.push(slot);
    }
    // Slots are given out in that order, as long as none is given out twice.
    return isOrdered ? slots : slots.sort((a, b) => (this.firstIndex[a] ?? 0) - (this.firstIndex[b] ?? 0));
  }

  protocol(slot: number): number {
    return (this.#words[slot * RECORD_WORDS + WORD.kind] ?? 0) & 0xff;
  }

  source(slot: number): IpAddress {
    return this.#address(slot, WORD.source, 0);
  }

  destination(slot: number): IpAddress {
    return this.#address(slot, WORD.destination, 3);
  }

  /** The tuple of the first packet; ports are 0 where the protocol has none. */
  tuple(slot: number): FiveTuple {
    const protocol = this.protocol(slot);
    const ports = hasPorts(protocol) ? (this.#words[slot * RECORD_WORDS + WORD.ports] ?? 0) : 0;
    return {
      protocol,
      source: this.source(slot),
      destination: this.destination(slot),
      sourcePort: ports >>> 16,
      destinationPort: ports & 0xffff,
    };
  }

  /** Echo identifier; 0 where there is none. */
  icmpId(slot: number): number {
    return hasPorts(this.protocol(slot)) ? 0 : (this.#words[slot * RECORD_WORDS + WORD.ports] ?? 0) & 0xffff;
  }

  #address(slot: number, word: number, tail: number): IpAddress {
    const at = slot * RECORD_WORDS;
    const family = ((this.#words[at + WORD.kind] ?? 0) >>> 16) as Family;
    const first = this.#words[at + word] ?? 0;
    const rest = slot * TAIL_WORDS + tail;
    return { family, words: family === 4 ? [first] : [first, ...this.#tails.subarray(rest, rest + 3)] };
  }

  #mix(): void {
    const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = this.#tail;
    const source = mixEnd(this.#source, a ^ b ^ c, this.#ports >>> 16);
    const destination = mixEnd(this.#destination, d ^ e ^ f, this.#ports & 0xffff);
    this.hash = finish((source + destination) ^ this.#kind);
  }

  /** Whether the flow at a slot has the tuple loaded, in either direction. */
  #isAt(slot: number): boolean {
    const words = this.#words;
    const at = slot * RECORD_WORDS;
    if (words[at + WORD.kind] !== this.#kind) return false;
    const source = words[at + WORD.source];
    const destination = words[at + WORD.destination];
    const recorded = words[at + WORD.ports];
    const ports = this.#ports;
    if (
      source === this.#source &&
      destination === this.#destination &&
      recorded === ports &&
      this.#hasTail(slot, 0, 3)
    ) {
      this.isReply = false;
      return true;
    }
    const turned = (ports << 16) | (ports >>> 16);
    if (source !== this.#destination || destination !== this.#source || recorded !== turned) return false;
    if (!this.#hasTail(slot, 3, 0)) return false;
    this.isReply = true;
    return true;
  }

  /** Whether the rest of its addresses is that of the tuple loaded, whose source's starts at `source` and destination's at `destination`. */
  #hasTail(slot: number, source: number, destination: number): boolean {
    if (this.#kind >>> 16 !== 6) return true;
    const tails = this.#tails;
    const tail = this.#tail;
    const at = slot * TAIL_WORDS;
    return (
      tails[at] === tail[source] &&
      tails[at + 1] === tail[source + 1] &&
      tails[at + 2] === tail[source + 2] &&
      tails[at + 3] === tail[destination] &&
      tails[at + 4] === tail[destination + 1] &&
      tails[at + 5] === tail[destination + 2]
    );
  }

  #homeOf(slot: number): number {
    return (this.#words[slot * RECORD_WORDS] ?? 0) & this.#mask;
  }

  #insert(slot: number): void {
    const places = this.#places;
    const mask = this.#mask;
    let place = this.#homeOf(slot);
    while (places[place] !== 0) place = (place + 1) & mask;
    places[place] = slot + 1;
  }

  #reindex(size: number): void {
    const old = this.#places;
    this.#places = new Int32Array(size);
    this.#mask = size - 1;
    for (const stored of old) if (stored !== 0) this.#insert(stored - 1);
  }

  #grow(): void {
    const capacity = this.#capacity * 2;
    this.#capacity = capacity;
    this.#words = grown(this.#words, new Int32Array(capacity * RECORD_WORDS));
    this.#floats = new Float64Array(this.#words.buffer);
    if (this.#tails.length > 0) this.#tails = grown(this.#tails, new Int32Array(capacity * TAIL_WORDS));
    this.firstIndex = grown(this.firstIndex, new Float64Array(capacity));
    this.firstOffset = grown(this.firstOffset, new Float64Array(capacity));
    for (const side of this.sides) side.grow(capacity);
  }
}
