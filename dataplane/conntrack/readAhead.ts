/** Hints to the processor's caches for packets that are looked up one after the other. */
import type { PacketBatch } from "../packet.ts";
import { FLOW_WORDS, WORD } from "./flow.ts";
import type { FlowIndex } from "./flowIndex.ts";
import type { FlowStore } from "./flowStore.ts";
import { PacketTuple } from "./tuple.ts";

/** Rows that are read ahead. */
const ROWS_AHEAD = 16;

/**
 * Touches the memory that the next rows will need. Each packet reads three cache lines that depend on each other, and
 * its tracker keeps the processor busy for longer than it can look ahead; so one packet after the other would wait for
 * each line. Here sixteen packets wait at once: a third of the time per packet at 100,000 connections, half at a
 * million. It is a hint only; what it finds may be outdated by the time its row comes.
 */
export class ReadAhead {
  readonly #index: FlowIndex;
  readonly #store: FlowStore;
  readonly #tuple = new PacketTuple();
  readonly #hashes = new Int32Array(ROWS_AHEAD);
  /** Rows of this batch up to here were read ahead, as long as rows are looked up one after the other. */
  #batch: PacketBatch | undefined;
  #to = 0;
  #lastRow = 0;

  constructor(index: FlowIndex, store: FlowStore) {
    this.#index = index;
    this.#store = store;
  }

  /** Rows `from` (inclusive) to `to` (exclusive) were read by others; some of them are about to be looked up, in their order. */
  skip(batch: PacketBatch, from: number, to: number): void {
    this.#batch = batch;
    this.#lastRow = from - 1;
    this.#to = to;
  }

  /** The row is about to be looked up. */
  touch(batch: PacketBatch, row: number): void {
    const isRead = batch === this.#batch && row > this.#lastRow && row < this.#to;
    this.#lastRow = row;
    if (isRead) return;
    const rows = Math.min(ROWS_AHEAD, batch.length - row);
    this.#batch = batch;
    this.#to = row + Math.max(1, rows);
    if (rows < 2) return;
    const hashes = this.#hashes;
    const { places, shift, mask } = this.#index;
    const { words } = this.#store;
    let sum = 0;
    for (let ahead = 0; ahead < rows; ahead++) {
      const hash = this.#tuple.hashOf(batch, row + ahead);
      hashes[ahead] = hash;
      sum ^= places[(hash >>> shift) * 2] ?? 0;
    }
    for (let ahead = 0; ahead < rows; ahead++) {
      const hash = hashes[ahead] ?? 0;
      let place = hash >>> shift;
      while (places[place * 2] !== hash && places[place * 2 + 1] !== 0) place = (place + 1) & mask;
      const at = Math.max(0, (places[place * 2 + 1] ?? 0) - 1) * FLOW_WORDS;
      sum ^= (words[at] ?? 0) ^ (words[at + FLOW_WORDS / 2] ?? 0) ^ (words[at + WORD.memo] ?? 0);
    }
    hashes[0] = sum; // so that the reads are not optimised away
  }
}
