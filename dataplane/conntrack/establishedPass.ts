/**
 * Lets rows of established segments pass many at once where that pays: once so many have passed one by one that to move the
 * table to the memory of the loops (establishedLoops.ts) has paid.
 */
import { type PacketBatch, TCP_FLAG } from "../packet.ts";
import { areLoopsCompiled, EstablishedLoops } from "./establishedLoops.ts";
import { FLOW_WORDS, type Flow } from "./flow.ts";
import type { FlowIndex } from "./flowIndex.ts";
import type { FlowStore } from "./flowStore.ts";
import { MOST_ROWS, type RememberedContexts, type RowClock, TCP4, TELLING } from "./tcpEstablished.ts";
import type { PacketTuple } from "./tuple.ts";

/** Rows from which it pays to copy and try them together. */
const LEAST_ROWS = 32;

/** What rows that are looked at together may last: their milliseconds wrap, as those of entries do. */
const MOST_SECONDS = 60;

/** Until when rows may be looked at together: milliseconds that the loops can take modulo 2^32. */
const MOST_MILLISECONDS = 2 ** 51;

/** Rows that go one by one at most after too few came through. */
const MOST_PATIENCE = 1_024;

/** Rows after which the table moves: what it costs to compile and to move has been saved by then. */
export const ROWS_UNTIL_LOOPS = 1 << 14;

/** The same where another table of the process has had them compiled. */
const ROWS_UNTIL_MOVE = 1 << 11;

/** The table gets room for so many times the entries that it had room for: it moves again when it has outgrown that. */
const ROOM_TO_GROW = 4;
const LEAST_CAPACITY = 4_096;

export interface PassParts {
  readonly index: FlowIndex;
  readonly store: FlowStore;
  /** Entries that may exist at once. */
  readonly most: number;
  /** Rows that pass before the table moves. */
  readonly rowsUntilLoops: number;
  /** The entry under the tracker's eyes, and the time. */
  readonly flow: Flow;
  readonly clock: RowClock;
}

export class EstablishedPass {
  readonly #parts: PassParts;
  #loops: EstablishedLoops | undefined;
  /** Rows still to pass before the table moves. */
  #left: number;
  /** So many of them need not when the loops are compiled already. */
  readonly #spared: number;
  #atATime = LEAST_ROWS;
  /** Rows that go one by one before rows are tried together again, and how many those were the last time. */
  #patience = 0;
  #lastPatience = 0;

  constructor(parts: PassParts) {
    this.#parts = parts;
    this.#left = parts.rowsUntilLoops;
    this.#spared = Math.max(0, parts.rowsUntilLoops - ROWS_UNTIL_MOVE);
  }

  /** A row has passed by itself. */
  count(): void {
    this.#left--;
  }

  /** A segment of no connection was refused: those of its direction are to be as well, as the word says. */
  rememberRefused(tuple: PacketTuple, { tcpFlags }: PacketBatch, row: number, word: number): void {
    if (tuple.kind !== TCP4 || ((tcpFlags[row] ?? 0) & TELLING) !== TCP_FLAG.A) return;
    this.#loops?.rememberRefused(tuple, word);
  }

  /** Nothing of that is remembered any more. */
  forgetRefused(): void {
    this.#loops?.forgetRefused();
  }

  /** Whether to try rows from `from` on together would pay. Asked once before each `pass`. */
  isWorthTrying(batch: PacketBatch, from: number, to: number): boolean {
    if (this.#left > (areLoopsCompiled() ? this.#spared : 0) || to - from < LEAST_ROWS) return false;
    if (((batch.tcpFlags[from] ?? 0) & TELLING) !== TCP_FLAG.A) return false;
    if (this.#patience === 0) return true;
    this.#patience--;
    return false;
  }

  /**
   * Looks at rows from `from` (inclusive) to `to` (exclusive), or the first of them: what has become of them is said by
   * whom it returns. The table may move before.
   */
  pass(batch: PacketBatch, from: number, to: number, contexts: RememberedContexts): EstablishedLoops | undefined {
    const loops = this.#loopsHere();
    if (loops === undefined) return undefined;
    const { flow, clock, index, store, most } = this.#parts;
    const count = Math.min(to - from, this.#atATime);
    clock.until = (clock.seconds + MOST_SECONDS) * 1000;
    if (Math.abs(clock.until) > MOST_MILLISECONDS) return undefined;
    loops.pass({ batch, first: from, count, contexts, hasRoom: store.live + count < most }, index, flow, clock);
    this.#learn(count, loops);
    return loops;
  }

  /** Tries more or fewer next time, or none for a while. */
  #learn(tried: number, { looked, leftCount }: EstablishedLoops): void {
    if (looked >= tried) this.#atATime = Math.min(MOST_ROWS, this.#atATime * 4);
    else this.#atATime = Math.max(LEAST_ROWS, looked);
    const isWorthIt = looked - leftCount >= Math.max(LEAST_ROWS, looked) / 2;
    this.#lastPatience = isWorthIt ? 0 : Math.min(MOST_PATIENCE, this.#lastPatience * 2 + LEAST_ROWS);
    this.#patience = this.#lastPatience;
  }

  /** The loops with the table in their memory. */
  #loopsHere(): EstablishedLoops | undefined {
    const { index, store, most } = this.#parts;
    const loops = this.#loops;
    if (loops !== undefined && store.words === loops.words && index.places.buffer === loops.places.buffer) return loops;
    const capacity = Math.max(LEAST_CAPACITY, (store.words.length / FLOW_WORDS) * ROOM_TO_GROW);
    this.#loops = EstablishedLoops.of(Math.min(most, capacity));
    if (this.#loops === undefined) {
      this.#left = Number.POSITIVE_INFINITY; // where there is no WebAssembly there will be none
      return undefined;
    }
    index.moveTo(this.#loops.places);
    store.moveTo(this.#loops.words);
    return this.#loops;
  }
}
