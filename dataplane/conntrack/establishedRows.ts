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
import { hashEnds } from "./tuple.ts";

/** Rows that go through together at most: what is noted of them stays in the nearest cache beside what they read. */
export const MOST_ROWS = 128;

/** Rows that are tried together when the last ones did not come through. */
const LEAST_ROWS = 2;

/** Contexts in which outcomes were remembered (classes/contexts.ts), and what it takes to tell the context of a row. */
export interface RememberedContexts {
  /** By number, four words each. */
  readonly words: Int32Array;
  /** By flags byte of TCP: what of it chains read. */
  readonly tcpFlags: Uint8Array;
}

const TCP4 = kindOf(PROTOCOL.tcp, 4, 0);

/** Flags that decide whether a segment is one of those. */
const TELLING = TCP_FLAG.S | TCP_FLAG.F | TCP_FLAG.R | TCP_FLAG.A;

export class EstablishedRows {
  /** The first row, and how many came through. */
  first = 0;
  count = 0;
  /** Of each of them: its slot, its direction, and the lower half of what was remembered. */
  readonly slots = new Int32Array(MOST_ROWS);
  readonly directions = new Int32Array(MOST_ROWS);
  readonly outcomes = new Int32Array(MOST_ROWS);
  readonly #index: FlowIndex;
  readonly #store: FlowStore;
  readonly #hashes = new Int32Array(MOST_ROWS);
  #tried = 0;
  #rows = LEAST_ROWS;
  /** What reading ahead has read, so that it is not optimised away. */
  #sum = 0;

  constructor(index: FlowIndex, store: FlowStore) {
    this.#index = index;
    this.#store = store;
  }

  /** Sends rows `from` (inclusive) to `to` (exclusive) through, or the first of them. */
  find(batch: PacketBatch, from: number, to: number, contexts: RememberedContexts): void {
    this.first = from;
    this.#tried = Math.min(to - from, this.#rows);
    this.count = this.#hash(batch);
    if (this.count === 0) return;
    this.count = this.#meet();
    this.count = this.#recognise(batch, contexts);
  }

  /** Is told how many of the rows found passed, and tries more or fewer next time. */
  learn(passed: number): void {
    if (passed < this.#tried) this.#rows = Math.max(LEAST_ROWS, passed);
    else this.#rows = Math.min(MOST_ROWS, this.#rows * 4);
  }

  /** One row whose entry was found otherwise. */
  take(row: number, slot: number, direction: number): void {
    this.first = row;
    this.count = 1;
    this.slots[0] = slot;
    this.directions[0] = direction;
  }

  /** Hashes rows until one is of another kind, and touches their places. */
  #hash(batch: PacketBatch): number {
    const { first } = this;
    const count = this.#tried;
    const { family, protocol, flags, tcpFlags, source0, destination0, sourcePort, destinationPort } = batch;
    const { places, shift } = this.#index;
    const hashes = this.#hashes;
    let sum = 0;
    let at = 0;
    for (; at < count; at++) {
      const row = first + at;
      const isOther =
        ((family[row] ?? 0) ^ 4) |
        ((protocol[row] ?? 0) ^ PROTOCOL.tcp) |
        ((flags[row] ?? 0) & PACKET_FLAG.fragment) |
        (((tcpFlags[row] ?? 0) & TELLING) ^ TCP_FLAG.A);
      if (isOther !== 0) break;
      const hash = hashEnds(
        source0[row] ?? 0,
        destination0[row] ?? 0,
        sourcePort[row] ?? 0,
        destinationPort[row] ?? 0,
        TCP4,
      );
      hashes[at] = hash;
      sum ^= places[(hash >>> shift) * 2] ?? 0;
    }
    this.#sum = sum;
    return at;
  }

  /** Finds the slots that hashes name, until one names none, and touches their entries. */
  #meet(): number {
    const { places, shift, mask } = this.#index;
    const { words } = this.#store;
    const { slots, count } = this;
    const hashes = this.#hashes;
    let sum = 0;
    let row = 0;
    for (; row < count; row++) {
      const hash = hashes[row] ?? 0;
      let place = hash >>> shift;
      while (places[place * 2] !== hash && places[place * 2 + 1] !== 0) place = (place + 1) & mask;
      const slot = (places[place * 2 + 1] ?? 0) - 1;
      if (slot === NONE) break;
      slots[row] = slot;
      sum ^= (words[slot * FLOW_WORDS] ?? 0) ^ (words[slot * FLOW_WORDS + WORD.memo] ?? 0);
    }
    this.#sum ^= sum;
    return row;
  }

  /** Compares rows with their entries until one is not the entry's, or is in another context than what its entry remembers. */
  #recognise(batch: PacketBatch, contexts: RememberedContexts): number {
    const { source0, destination0, sourcePort, destinationPort, tcpFlags, mark, path } = batch;
    const { inDevice, outDevice, physInDevice, physOutDevice } = batch;
    const { words } = this.#store;
    const { words: context, tcpFlags: flagClasses } = contexts;
    const { first, count, slots, directions, outcomes } = this;
    let index = 0;
    for (; index < count; index++) {
      const row = first + index;
      const at = (slots[index] ?? 0) * FLOW_WORDS;
      const source = source0[row] ?? 0;
      const destination = destination0[row] ?? 0;
      const from0 = words[at + WORD.source] ?? 0;
      const to0 = words[at + WORD.destination] ?? 0;
      const ports = words[at + WORD.ports] ?? 0;
      const near = sourcePort[row] ?? 0;
      const far = destinationPort[row] ?? 0;
      // As in tuple.ts: computed, since the branch predictor cannot know the direction; 0 means equal in every bit.
      const same = (from0 ^ source) | (to0 ^ destination) | (ports ^ ((near << 16) | far));
      const turned = (from0 ^ destination) | (to0 ^ source) | (ports ^ ((far << 16) | near));
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
      directions[index] = isReply;
      outcomes[index] = remembered & 0xffff;
    }
    return index;
  }
}
