/**
 * The connections of many rows found at once.
 *
 * Each packet reads cache lines that depend on each other: the place that its hash names, then the entry. One packet
 * after the other would wait for each of them. So rows go through loops, each of which does one step for all of them: their
 * hashes, then their places, then their entries. Within a loop no row waits for another, and the processor has the lines
 * of many under way. The loops are small enough for the compiler to keep what they use in registers.
 *
 * Only what most packets are comes through: IPv4 segments that carry an ACK, in zone 0. Nothing is changed here, so a row
 * that does not come through ends the loops and costs what was found out about those behind it.
 */
import { PACKET_FLAG, type PacketBatch, PROTOCOL, TCP_FLAG } from "../packet.ts";
import { FLOW_WORDS, WORD } from "./flow.ts";
import type { FlowIndex } from "./flowIndex.ts";
import { type FlowStore, kindOf, NONE } from "./flowStore.ts";
import { MOST_ROWS } from "./tcpEstablished.ts";
import { hashEnds } from "./tuple.ts";

/** Rows under way, one set for all tables, as in tcpEstablished.ts and for its reason. */
const family = new Uint8Array(MOST_ROWS);
const protocol = new Uint8Array(MOST_ROWS);
const flags = new Uint8Array(MOST_ROWS);
const tcpFlags = new Uint8Array(MOST_ROWS);
const path = new Uint8Array(MOST_ROWS);
const source0 = new Int32Array(MOST_ROWS);
const destination0 = new Int32Array(MOST_ROWS);
const sourcePort = new Uint16Array(MOST_ROWS);
const destinationPort = new Uint16Array(MOST_ROWS);
const inDevice = new Uint16Array(MOST_ROWS);
const outDevice = new Uint16Array(MOST_ROWS);
const physInDevice = new Uint16Array(MOST_ROWS);
const physOutDevice = new Uint16Array(MOST_ROWS);
const mark = new Uint32Array(MOST_ROWS);
const hashes = new Int32Array(MOST_ROWS);
const slots = new Int32Array(MOST_ROWS);
const directions = new Uint8Array(MOST_ROWS);
const outcomes = new Int32Array(MOST_ROWS);

/** Contexts in which outcomes were remembered (classes/contexts.ts), and what it takes to tell the context of a row. */
export interface RememberedContexts {
  /** By number from 1, four words each; `count` of them. */
  readonly words: Int32Array;
  readonly count: number;
  /** By flags byte of TCP: what of it chains read. */
  readonly tcpFlags: Uint8Array;
}

export const TCP4 = kindOf(PROTOCOL.tcp, 4, 0);

/** Flags that decide whether a segment is one of those. */
export const TELLING = TCP_FLAG.S | TCP_FLAG.F | TCP_FLAG.R | TCP_FLAG.A;

export class EstablishedRows {
  /** The first row, and how many came through. */
  first = 0;
  count = 0;
  /** Of each of them: its slot, its direction, and the lower half of what was remembered. */
  readonly slots = slots;
  readonly directions = directions;
  readonly outcomes = outcomes;
  readonly #index: FlowIndex;
  readonly #store: FlowStore;
  /** What reading ahead has read, so that it is not optimised away. */
  #sum = 0;

  constructor(index: FlowIndex, store: FlowStore) {
    this.#index = index;
    this.#store = store;
  }

  /** Sends so many rows from `from` on through, `MOST_ROWS` at most: the first of them come through. */
  find(batch: PacketBatch, from: number, tried: number, contexts: RememberedContexts): void {
    this.first = from;
    copyTuples(batch, from, from + tried);
    this.count = this.#hash(tried);
    if (this.count === 0) return;
    this.count = this.#meet(this.count);
    copyContexts(batch, from, from + this.count);
    this.count = this.#recognise(this.count, contexts);
  }

  /** Hashes rows until one is of another kind, and touches their places. */
  #hash(count: number): number {
    const { places, shift } = this.#index;
    let sum = 0;
    let row = 0;
    for (; row < count; row++) {
      const isOther =
        ((family[row] ?? 0) ^ 4) |
        ((protocol[row] ?? 0) ^ PROTOCOL.tcp) |
        ((flags[row] ?? 0) & PACKET_FLAG.fragment) |
        (((tcpFlags[row] ?? 0) & TELLING) ^ TCP_FLAG.A);
      if (isOther !== 0) break;
      const source = source0[row] ?? 0;
      const hash = hashEnds(source, destination0[row] ?? 0, sourcePort[row] ?? 0, destinationPort[row] ?? 0, TCP4);
      hashes[row] = hash;
      sum ^= places[(hash >>> shift) * 2] ?? 0;
    }
    this.#sum = sum;
    return row;
  }

  /** Finds the slots that hashes name, until one names none, and touches their entries. */
  #meet(count: number): number {
    const { places, shift, mask } = this.#index;
    const { words } = this.#store;
    let sum = 0;
    let row = 0;
    for (; row < count; row++) {
      const hash = hashes[row] ?? 0;
      let place = hash >>> shift;
      while (places[place * 2] !== hash && places[place * 2 + 1] !== 0) place = (place + 1) & mask;
      const slot = (places[place * 2 + 1] ?? 0) - 1;
      if (slot === NONE) break;
      slots[row] = slot;
    }
    // In a loop of its own: where the search misses its guess, the processor drops what it has read ahead.
    for (let found = 0; found < row; found++) {
      const at = (slots[found] ?? 0) * FLOW_WORDS;
      sum ^= (words[at] ?? 0) ^ (words[at + WORD.memo] ?? 0);
    }
    this.#sum ^= sum;
    return row;
  }

  /** Compares rows with their entries until one is not the entry's, or is in another context than what its entry remembers. */
  #recognise(count: number, contexts: RememberedContexts): number {
    const { words } = this.#store;
    const { words: context, tcpFlags: flagClasses } = contexts;
    let row = 0;
    for (; row < count; row++) {
      const at = (slots[row] ?? 0) * FLOW_WORDS;
      const source = source0[row] ?? 0;
      const destination = destination0[row] ?? 0;
      const from = words[at + WORD.source] ?? 0;
      const to = words[at + WORD.destination] ?? 0;
      const ports = words[at + WORD.ports] ?? 0;
      const near = sourcePort[row] ?? 0;
      const far = destinationPort[row] ?? 0;
      // As in tuple.ts: computed, since the branch predictor cannot know the direction; 0 means equal in every bit.
      const same = (from ^ source) | (to ^ destination) | (ports ^ ((near << 16) | far));
      const turned = (from ^ destination) | (to ^ source) | (ports ^ ((far << 16) | near));
      const isReply = 1 - ((turned | -turned) >>> 31);
      if (((same | -same) & (turned | -turned)) < 0 || words[at + WORD.kind] !== TCP4) break;
      const remembered = words[at + WORD.memo + isReply] ?? 0;
      const number = (remembered >>> 16) * 4;
      const difference =
        ((context[number] ?? 0) ^ ((inDevice[row] ?? 0) | ((outDevice[row] ?? 0) << 16))) |
        ((context[number + 1] ?? 0) ^ ((physInDevice[row] ?? 0) | ((physOutDevice[row] ?? 0) << 16))) |
        ((context[number + 2] ?? 0) ^ ((mark[row] ?? 0) | 0)) |
        ((context[number + 3] ?? 0) ^ ((path[row] ?? 0) | ((flagClasses[tcpFlags[row] ?? 0] ?? 0) << 8)));
      if (difference !== 0 || number === 0) break;
      directions[row] = isReply;
      outcomes[row] = remembered & 0xffff;
    }
    return row;
  }
}

function copyTuples(batch: PacketBatch, from: number, to: number): void {
  family.set(batch.family.subarray(from, to));
  protocol.set(batch.protocol.subarray(from, to));
  flags.set(batch.flags.subarray(from, to));
  tcpFlags.set(batch.tcpFlags.subarray(from, to));
  source0.set(batch.source0.subarray(from, to));
  destination0.set(batch.destination0.subarray(from, to));
  sourcePort.set(batch.sourcePort.subarray(from, to));
  destinationPort.set(batch.destinationPort.subarray(from, to));
}

function copyContexts(batch: PacketBatch, from: number, to: number): void {
  path.set(batch.path.subarray(from, to));
  inDevice.set(batch.inDevice.subarray(from, to));
  outDevice.set(batch.outDevice.subarray(from, to));
  physInDevice.set(batch.physInDevice.subarray(from, to));
  physOutDevice.set(batch.physOutDevice.subarray(from, to));
  mark.set(batch.mark.subarray(from, to));
}
