/**
 * One map of flows, BPF_MAP_TYPE_LRU_HASH, made for what a packet asks of it: whether its flow is there in either direction.
 *
 * The two keys of that question are one tuple, straight and turned. The hash does not tell them apart, nor who opened, so
 * both records lie in one run of places, mostly in one cache line, and one search answers both. Open addressing with
 * linear probing, at most half full:
 *
 *     | last use, 0 = free | kind · family · protocol | ports | source | destination | dead from | flags | hash |
 *     IPv6, behind these   | three more words of the source | three more of the destination | – | – |
 */
import { foldAddress, hashEnds } from "../conntrack/tuple.ts";

/** Words of a record from its first. */
const WORD = { use: 0, head: 1, ports: 2, source: 3, destination: 4, deadFrom: 5, flags: 6, hash: 7, more: 8 } as const;
export const FLOW_RECORD = { deadFrom: WORD.deadFrom, flags: WORD.flags } as const;
const STRIDE4 = 8;
const STRIDE6 = 16;
const FIRST_BITS = 3;
/** Records whose room a table keeps when it is cleared; as a power of two as well. */
const KEPT_BITS = 7;
const NOWHERE = -1;

/** Places looked at when the least recently used entry is sought; the kernel's LRU is approximate too. */
const EVICTION_SAMPLE = 16;

/** A packet's addresses and ports; all fields int32. */
export class FlowTuple {
  source0 = 0;
  source1 = 0;
  source2 = 0;
  source3 = 0;
  destination0 = 0;
  destination1 = 0;
  destination2 = 0;
  destination3 = 0;
  /** Source port in the upper half, and the ports of the answer. */
  ports = 0;
  turnedPorts = 0;
  /** The same for a tuple and its answer. */
  hash = 0;

  /** After the addresses were set. */
  setPorts(family: number, protocol: number, source: number, destination: number): void {
    this.ports = (source << 16) | destination;
    this.turnedPorts = (destination << 16) | source;
    let from = this.source0;
    let to = this.destination0;
    if (family === 6) {
      from = foldAddress(foldAddress(foldAddress(from, this.source1), this.source2), this.source3);
      to = foldAddress(foldAddress(foldAddress(to, this.destination1), this.destination2), this.destination3);
    }
    this.hash = hashEnds(from, to, source, destination, protocol);
  }
}

/** A table as data. */
export interface FlowTableState {
  readonly words: Int32Array;
  readonly shift: number;
  readonly size: number;
  readonly clock: number;
  readonly hand: number;
}

export class FlowTable {
  /** All records. Valid until the next `enter`. */
  words: Int32Array;
  /** Of the last `look`: the record of the tuple, and the one of its answer; -1: not there. */
  straightAt = NOWHERE;
  turnedAt = NOWHERE;
  readonly #isIpv6: boolean;
  readonly #stride: number;
  readonly #most: number;
  /** The free record behind the last `look`. */
  #freeAt = 0;
  #shift = 32 - FIRST_BITS;
  #size = 0;
  #clock = 1;
  #hand = 0;

  /** `most`: entries that may exist at once. */
  constructor(family: 4 | 6, most: number) {
    this.#isIpv6 = family === 6;
    this.#stride = family === 6 ? STRIDE6 : STRIDE4;
    this.#most = most;
    this.words = new Int32Array(this.#stride << FIRST_BITS);
  }

  get size(): number {
    return this.#size;
  }

  /** A copy of everything, to go on from later. */
  save(): FlowTableState {
    return { words: this.words.slice(), shift: this.#shift, size: this.#size, clock: this.#clock, hand: this.#hand };
  }

  restore({ words, shift, size, clock, hand }: FlowTableState): void {
    this.words = words.slice();
    this.#shift = shift;
    this.#size = size;
    this.#clock = clock;
    this.#hand = hand;
  }

  /** Seeks the record of `head` and the tuple, and that of `turnedHead` and its answer. Nothing counts as used by it. */
  look(tuple: FlowTuple, head: number, turnedHead: number): void {
    const { words } = this;
    const stride = this.#stride;
    const mask = words.length - 1;
    const { hash, ports, turnedPorts, source0, destination0 } = tuple;
    this.straightAt = NOWHERE;
    this.turnedAt = NOWHERE;
    let at = (hash >>> this.#shift) * stride;
    for (; words[at + WORD.use] !== 0; at = (at + stride) & mask) {
      if (words[at + WORD.hash] !== hash) continue;
      const found = words[at + WORD.head] ?? 0;
      const source = words[at + WORD.source] ?? 0;
      const destination = words[at + WORD.destination] ?? 0;
      const of = words[at + WORD.ports] ?? 0;
      if (found === turnedHead && of === turnedPorts && source === destination0 && destination === source0) {
        if (!this.#isIpv6 || this.#answersRest(tuple, at)) this.turnedAt = at;
      }
      if (found === head && of === ports && source === source0 && destination === destination0) {
        if (!this.#isIpv6 || this.#equalsRest(tuple, at)) this.straightAt = at;
      }
    }
    this.#freeAt = at;
  }

  /** The record counts as used last. */
  use(at: number): void {
    // After 2^31 uses all entries are as old as each other, once.
    this.#clock = this.#clock === 0x7fff_ffff ? 1 : this.#clock + 1;
    this.words[at + WORD.use] = this.#clock;
  }

  /** Enters `head` and the tuple, the last that was looked for, and drives out another entry when full; the record. */
  enter(tuple: FlowTuple, head: number): number {
    if (this.straightAt === NOWHERE) {
      const isFull = this.#size >= this.#most;
      if (isFull) this.#evict();
      const isCrowded = (this.#size + 1) * 2 * this.#stride > this.words.length;
      if (isCrowded) this.#grow();
      if (isFull || isCrowded) this.look(tuple, head, head);
      this.#write(this.#freeAt, tuple, head);
      this.straightAt = this.#freeAt;
      this.#size++;
    }
    this.use(this.straightAt);
    return this.straightAt;
  }

  clear(): void {
    // What is small is kept: who asks about few packets clears after each few.
    if (this.words.length > this.#stride << KEPT_BITS) {
      this.words = new Int32Array(this.#stride << FIRST_BITS);
      this.#shift = 32 - FIRST_BITS;
    } else if (this.#size > 0) this.words.fill(0);
    this.#size = 0;
    this.#hand = 0;
  }

  #write(at: number, tuple: FlowTuple, head: number): void {
    const { words } = this;
    words[at + WORD.head] = head;
    words[at + WORD.ports] = tuple.ports;
    words[at + WORD.source] = tuple.source0;
    words[at + WORD.destination] = tuple.destination0;
    words[at + WORD.hash] = tuple.hash;
    if (!this.#isIpv6) return;
    words[at + WORD.more] = tuple.source1;
    words[at + WORD.more + 1] = tuple.source2;
    words[at + WORD.more + 2] = tuple.source3;
    words[at + WORD.more + 3] = tuple.destination1;
    words[at + WORD.more + 4] = tuple.destination2;
    words[at + WORD.more + 5] = tuple.destination3;
  }

  #equalsRest(tuple: FlowTuple, record: number): boolean {
    const { words } = this;
    const at = record + WORD.more;
    return (
      words[at] === tuple.source1 &&
      words[at + 1] === tuple.source2 &&
      words[at + 2] === tuple.source3 &&
      words[at + 3] === tuple.destination1 &&
      words[at + 4] === tuple.destination2 &&
      words[at + 5] === tuple.destination3
    );
  }

  #answersRest(tuple: FlowTuple, record: number): boolean {
    const { words } = this;
    const at = record + WORD.more;
    return (
      words[at] === tuple.destination1 &&
      words[at + 1] === tuple.destination2 &&
      words[at + 2] === tuple.destination3 &&
      words[at + 3] === tuple.source1 &&
      words[at + 4] === tuple.source2 &&
      words[at + 5] === tuple.source3
    );
  }

  /** Drives out the entry unused for longest among the next few. */
  #evict(): void {
    const { words } = this;
    const mask = words.length - 1;
    let victim = NOWHERE;
    let oldest = Number.POSITIVE_INFINITY;
    for (let seen = 0; seen < EVICTION_SAMPLE && seen < this.#size; this.#hand = (this.#hand + this.#stride) & mask) {
      const use = words[this.#hand + WORD.use] ?? 0;
      if (use === 0) continue;
      seen++;
      if (use >= oldest) continue;
      oldest = use;
      victim = this.#hand;
    }
    this.#remove(victim);
  }

  /** Frees a record and moves those behind it that could not have their own place: no tombstones, so searches stay short. */
  #remove(record: number): void {
    const { words } = this;
    const stride = this.#stride;
    const mask = words.length - 1;
    let hole = record;
    for (let at = (hole + stride) & mask; words[at + WORD.use] !== 0; at = (at + stride) & mask) {
      const home = ((words[at + WORD.hash] ?? 0) >>> this.#shift) * stride;
      // It may move into the hole only if its home does not lie between the two.
      if (((at - home) & mask) < ((at - hole) & mask)) continue;
      words.copyWithin(hole, at, at + stride);
      hole = at;
    }
    words.fill(0, hole, hole + stride);
    this.#size--;
  }

  #grow(): void {
    const old = this.words;
    const stride = this.#stride;
    const words = new Int32Array(old.length * 2);
    const mask = words.length - 1;
    this.words = words;
    this.#shift--;
    this.#hand = 0;
    for (let from = 0; from < old.length; from += stride) {
      if (old[from + WORD.use] === 0) continue;
      let at = ((old[from + WORD.hash] ?? 0) >>> this.#shift) * stride;
      while (words[at + WORD.use] !== 0) at = (at + stride) & mask;
      for (let word = 0; word < stride; word++) words[at + word] = old[from + word] ?? 0;
    }
  }
}
