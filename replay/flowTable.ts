/** The flows of a recording: 5-tuples with what was seen of them, in columns that grow with the number of flows. */
import type { Family, IpAddress } from "../dataplane/address.ts";
import { type FiveTuple, hasPorts, PACKET_FLAG, type PacketBatch, PROTOCOL, TCP_FLAG } from "../dataplane/packet.ts";

export const NO_FLOW = -1;

/** Bits of the `state` column. */
export const FLOW_STATE = {
  /** FIN seen from the source, from the destination. */
  finSource: 1,
  finDestination: 2,
  reset: 4,
  /** The first packet seen does not open a connection: the recording began after it. */
  startMissing: 8,
  /** A filter does not want the flow: its packets are not pushed. */
  filtered: 16,
  /** The filter on verdicts does not want it: its packets are pushed, but not counted. */
  hidden: 32,
  /** Its packets were sent to a Service address, and are pushed as the endpoint's. */
  translated: 64,
  /** The log says that its first packet was dropped where it was recorded. */
  recordedDrop: 128,
} as const;

/**
 * Words of a key: source (4), destination (4), source port << 16 | destination port, and the kind
 * `family << 16 | ICMP class << 8 | protocol`. An echo request and its reply are one flow: the identifier stands for both
 * ports. Other ICMP messages have their type as class (plus one, so that 0 is "not ICMP").
 */
const KEY_WORDS = 10;
const PORTS = 8;
const KIND = 9;
const ECHO_CLASS = 0xff;

/** What one side (a strategy over a cluster) did with a flow. */
export class SideColumns {
  /** `VERDICT_CODE` of the packet that opened it. */
  verdict: Uint8Array;
  ctState: Uint8Array;
  /** Index into the side's causes. */
  cause: Int32Array;
  /** Packets by verdict: accept, drop, reject, unknown. */
  packets: Float64Array;

  constructor(capacity: number) {
    this.verdict = new Uint8Array(capacity);
    this.ctState = new Uint8Array(capacity);
    this.cause = new Int32Array(capacity);
    this.packets = new Float64Array(capacity * 4);
  }

  grow(capacity: number): void {
    this.verdict = grown(this.verdict, new Uint8Array(capacity));
    this.ctState = grown(this.ctState, new Uint8Array(capacity));
    this.cause = grown(this.cause, new Int32Array(capacity));
    this.packets = grown(this.packets, new Float64Array(capacity * 4));
  }
}

/** Columns of one value a flow, beside the key. */
const COLUMNS = [
  "hashes",
  "firstTime",
  "lastTime",
  "packets",
  "bytes",
  "firstIndex",
  "firstOffset",
  "firstDetail",
  "firstSequence",
  "state",
] as const;

export type FlowColumns = { readonly [Name in (typeof COLUMNS)[number]]: FlowTable[Name] };

/** The flows of a table as data that can be kept or sent to another thread. */
export interface FlowTableState {
  readonly slots: number;
  readonly keys: Int32Array;
  readonly columns: FlowColumns;
  readonly sides: readonly {
    readonly verdict: Uint8Array;
    readonly ctState: Uint8Array;
    readonly cause: Int32Array;
    readonly packets: Float64Array;
  }[];
}

function grown<T extends { set(from: T): void }>(from: T, to: T): T {
  to.set(from);
  return to;
}

/**
 * Flows by tuple, either direction. A flow's source is whoever sent the first packet seen of it.
 *
 * Open addressing over slot numbers with linear probing; the hash is the same for both directions, so that one probe finds
 * a reply too. Invariants: at most half of the index is taken; a slot is indexed from `open` until `retire`, and its
 * columns keep their values until `release` gives the slot away.
 */
export class FlowTable {
  keys: Int32Array;
  hashes: Int32Array;
  /** Seconds. */
  firstTime: Float64Array;
  lastTime: Float64Array;
  packets: Float64Array;
  bytes: Float64Array;
  /** Number of the first packet in the whole recording, from 0: the order of flows. */
  firstIndex: Float64Array;
  /** Where it stands in its file (`TrafficBatch.offset`). */
  firstOffset: Float64Array;
  /** TCP flags, `type << 8 | code` of ICMP, or the SCTP chunk of the first packet. */
  firstDetail: Uint16Array;
  /** Sequence number of the first packet, to tell a repeated SYN from a new connection. */
  firstSequence: Uint32Array;
  state: Uint8Array;
  readonly sides: readonly SideColumns[];

  /** Set by `find`: whether the row goes from the flow's destination to its source. */
  isReply = false;
  /** Set by `load`. */
  hash = 0;
  readonly #key = new Int32Array(KEY_WORDS);
  #places: Int32Array;
  #mask: number;
  #indexed = 0;
  #used = 0;
  #capacity: number;
  readonly #free: number[] = [];

  constructor(sideCount: number, capacity = 1024) {
    this.#capacity = capacity;
    this.keys = new Int32Array(capacity * KEY_WORDS);
    this.hashes = new Int32Array(capacity);
    this.firstTime = new Float64Array(capacity);
    this.lastTime = new Float64Array(capacity);
    this.packets = new Float64Array(capacity);
    this.bytes = new Float64Array(capacity);
    this.firstIndex = new Float64Array(capacity);
    this.firstOffset = new Float64Array(capacity);
    this.firstDetail = new Uint16Array(capacity);
    this.firstSequence = new Uint32Array(capacity);
    this.state = new Uint8Array(capacity);
    this.sides = Array.from({ length: sideCount }, () => new SideColumns(capacity));
    this.#places = new Int32Array(capacity * 4);
    this.#mask = capacity * 4 - 1;
  }

  /** Slots handed out so far; those released among them hold nothing. */
  get slots(): number {
    return this.#used;
  }

  /** Reads the tuple of a row: `hash` and the next `find` and `open` are about it. */
  load(batch: PacketBatch, row: number): void {
    const key = this.#key;
    key[0] = batch.source0[row] ?? 0;
    key[1] = batch.source1[row] ?? 0;
    key[2] = batch.source2[row] ?? 0;
    key[3] = batch.source3[row] ?? 0;
    key[4] = batch.destination0[row] ?? 0;
    key[5] = batch.destination1[row] ?? 0;
    key[6] = batch.destination2[row] ?? 0;
    key[7] = batch.destination3[row] ?? 0;
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
    key[PORTS] = ports;
    key[KIND] = ((batch.family[row] ?? 0) << 16) | (icmp << 8) | protocol;
    this.#mix();
  }

  /** Reads a tuple that an ICMP error quotes. */
  loadTuple(tuple: FiveTuple): void {
    const key = this.#key;
    for (let word = 0; word < 4; word++) {
      key[word] = tuple.source.words[word] ?? 0;
      key[4 + word] = tuple.destination.words[word] ?? 0;
    }
    key[PORTS] = (tuple.sourcePort << 16) | tuple.destinationPort;
    key[KIND] = (tuple.source.family << 16) | tuple.protocol;
    this.#mix();
  }

  /** The indexed flow of the tuple loaded, or `NO_FLOW`. */
  find(): number {
    const places = this.#places;
    const mask = this.#mask;
    const { hashes, hash } = this;
    for (let place = hash & mask; ; place = (place + 1) & mask) {
      const slot = (places[place] ?? 0) - 1;
      if (slot < 0) return NO_FLOW;
      if (hashes[slot] === hash && this.#isAt(slot)) return slot;
    }
  }

  /** A new flow of the tuple loaded. Its columns are zero but for the key. */
  open(): number {
    const slot = this.#free.pop() ?? this.#used++;
    if (slot >= this.#capacity) this.#grow();
    this.keys.set(this.#key, slot * KEY_WORDS);
    this.hashes[slot] = this.hash;
    if ((this.#indexed + 1) * 2 > this.#mask) this.#reindex((this.#mask + 1) * 2);
    this.#insert(slot);
    this.#indexed++;
    this.isReply = false;
    return slot;
  }

  /** The flow has ended: its tuple is free for another one, its columns stay. */
  retire(slot: number): void {
    const places = this.#places;
    const mask = this.#mask;
    let place = (this.hashes[slot] ?? 0) & mask;
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
      const home = (this.hashes[other] ?? 0) & mask;
      if (((next - home) & mask) < ((next - hole) & mask)) continue;
      places[hole] = other + 1;
      hole = next;
    }
  }

  /** Gives the slot of a retired flow away. */
  release(slot: number): void {
    this.firstTime[slot] = this.lastTime[slot] = this.packets[slot] = this.bytes[slot] = 0;
    this.state[slot] = 0;
    for (const side of this.sides) side.packets.fill(0, slot * 4, slot * 4 + 4);
    this.#free.push(slot);
  }

  /** A copy of everything. */
  save(): FlowTableState {
    const slots = this.#used;
    return {
      slots,
      keys: this.keys.slice(0, slots * KEY_WORDS),
      columns: {
        hashes: this.hashes.slice(0, slots),
        firstTime: this.firstTime.slice(0, slots),
        lastTime: this.lastTime.slice(0, slots),
        packets: this.packets.slice(0, slots),
        bytes: this.bytes.slice(0, slots),
        firstIndex: this.firstIndex.slice(0, slots),
        firstOffset: this.firstOffset.slice(0, slots),
        firstDetail: this.firstDetail.slice(0, slots),
        firstSequence: this.firstSequence.slice(0, slots),
        state: this.state.slice(0, slots),
      },
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
    const order = Array.from({ length: state.slots }, (_, slot) => slot)
      .filter((slot) => (state.columns.packets[slot] ?? 0) > 0)
      .sort((a, b) => (state.columns.firstIndex[a] ?? 0) - (state.columns.firstIndex[b] ?? 0));
    for (const from of order) {
      this.#key.set(state.keys.subarray(from * KEY_WORDS, (from + 1) * KEY_WORDS));
      this.hash = state.columns.hashes[from] ?? 0;
      const older = this.find();
      if (older !== NO_FLOW) this.retire(older);
      const slot = this.open();
      for (const name of COLUMNS) this[name][slot] = state.columns[name][from] ?? 0;
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
    for (let slot = 0; slot < this.#used; slot++) if ((this.packets[slot] ?? 0) > 0) slots.push(slot);
    return slots.sort((a, b) => (this.firstIndex[a] ?? 0) - (this.firstIndex[b] ?? 0));
  }

  protocol(slot: number): number {
    return (this.keys[slot * KEY_WORDS + KIND] ?? 0) & 0xff;
  }

  source(slot: number): IpAddress {
    return this.#address(slot, 0);
  }

  destination(slot: number): IpAddress {
    return this.#address(slot, 4);
  }

  /** The tuple of the first packet; ports are 0 where the protocol has none. */
  tuple(slot: number): FiveTuple {
    const protocol = this.protocol(slot);
    const ports = hasPorts(protocol) ? (this.keys[slot * KEY_WORDS + PORTS] ?? 0) : 0;
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
    return hasPorts(this.protocol(slot)) ? 0 : (this.keys[slot * KEY_WORDS + PORTS] ?? 0) & 0xffff;
  }

  #address(slot: number, from: number): IpAddress {
    const at = slot * KEY_WORDS;
    const family = ((this.keys[at + KIND] ?? 0) >>> 16) as Family;
    return { family, words: Array.from(this.keys.subarray(at + from, at + from + (family === 4 ? 1 : 4))) };
  }

  #mix(): void {
    const key = this.#key;
    const ports = key[PORTS] ?? 0;
    const source = mixEnd(key[0] ?? 0, (key[1] ?? 0) ^ (key[2] ?? 0) ^ (key[3] ?? 0), ports >>> 16);
    const destination = mixEnd(key[4] ?? 0, (key[5] ?? 0) ^ (key[6] ?? 0) ^ (key[7] ?? 0), ports & 0xffff);
    this.hash = finish((source + destination) ^ (key[KIND] ?? 0));
  }

  /** Whether the flow at a slot has the tuple loaded, in either direction. */
  #isAt(slot: number): boolean {
    const { keys } = this;
    const key = this.#key;
    const at = slot * KEY_WORDS;
    if (keys[at + KIND] !== key[KIND]) return false;
    const ports = key[PORTS] ?? 0;
    if (
      keys[at] === key[0] &&
      keys[at + 4] === key[4] &&
      keys[at + PORTS] === ports &&
      keys[at + 3] === key[3] &&
      keys[at + 7] === key[7] &&
      keys[at + 1] === key[1] &&
      keys[at + 2] === key[2] &&
      keys[at + 5] === key[5] &&
      keys[at + 6] === key[6]
    ) {
      this.isReply = false;
      return true;
    }
    if (
      keys[at] !== key[4] ||
      keys[at + 4] !== key[0] ||
      keys[at + PORTS] !== ((ports << 16) | (ports >>> 16)) ||
      keys[at + 3] !== key[7] ||
      keys[at + 7] !== key[3] ||
      keys[at + 1] !== key[5] ||
      keys[at + 2] !== key[6] ||
      keys[at + 5] !== key[1] ||
      keys[at + 6] !== key[2]
    ) {
      return false;
    }
    this.isReply = true;
    return true;
  }

  #insert(slot: number): void {
    const places = this.#places;
    const mask = this.#mask;
    let place = (this.hashes[slot] ?? 0) & mask;
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
    this.keys = grown(this.keys, new Int32Array(capacity * KEY_WORDS));
    this.hashes = grown(this.hashes, new Int32Array(capacity));
    this.firstTime = grown(this.firstTime, new Float64Array(capacity));
    this.lastTime = grown(this.lastTime, new Float64Array(capacity));
    this.packets = grown(this.packets, new Float64Array(capacity));
    this.bytes = grown(this.bytes, new Float64Array(capacity));
    this.firstIndex = grown(this.firstIndex, new Float64Array(capacity));
    this.firstOffset = grown(this.firstOffset, new Float64Array(capacity));
    this.firstDetail = grown(this.firstDetail, new Uint16Array(capacity));
    this.firstSequence = grown(this.firstSequence, new Uint32Array(capacity));
    this.state = grown(this.state, new Uint8Array(capacity));
    for (const side of this.sides) side.grow(capacity);
  }
}

function mixEnd(word: number, rest: number, port: number): number {
  return finish(Math.imul(word ^ Math.imul(rest, 0x85ebca6b), 0x9e3779b1) ^ Math.imul(port + 1, 0xc2b2ae35));
}

/** The finaliser of MurmurHash3 (public domain). */
function finish(value: number): number {
  let hash = value;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}

/** Whether a row can be the first packet of a connection. Protocols without a beginning can always start. */
export function canOpen(batch: PacketBatch, row: number): boolean {
  if (((batch.flags[row] ?? 0) & PACKET_FLAG.fragment) !== 0) return false;
  switch (batch.protocol[row]) {
    case PROTOCOL.tcp: {
      const flags = batch.tcpFlags[row] ?? 0;
      return (flags & TCP_FLAG.S) !== 0 && (flags & (TCP_FLAG.A | TCP_FLAG.R | TCP_FLAG.F)) === 0;
    }
    case PROTOCOL.sctp:
      return batch.sctpChunk[row] === 1; // INIT
    case PROTOCOL.icmp:
      return batch.icmpType[row] !== 0; // echo reply
    case PROTOCOL.icmpv6:
      return batch.icmpType[row] !== 129;
    default:
      return true;
  }
}

/** What `firstDetail` keeps of a row. */
export function detailOf(batch: PacketBatch, row: number): number {
  switch (batch.protocol[row]) {
    case PROTOCOL.tcp:
      return batch.tcpFlags[row] ?? 0;
    case PROTOCOL.sctp:
      return batch.sctpChunk[row] ?? 0;
    case PROTOCOL.icmp:
    case PROTOCOL.icmpv6:
      return ((batch.icmpType[row] ?? 0) << 8) | (batch.icmpCode[row] ?? 0);
    default:
      return 0;
  }
}
