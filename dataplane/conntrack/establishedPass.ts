/**
 * Lets runs of established segments pass together: by loops in JavaScript (establishedRows.ts, tcpEstablished.ts) at
 * first, in WebAssembly (establishedLoops.ts) once so many have passed that to move the table there has paid.
 */
import { type PacketBatch, TCP_FLAG } from "../packet.ts";
import { EstablishedLoops, type RowsToPass } from "./establishedLoops.ts";
import { EstablishedRows, type RememberedContexts, TELLING } from "./establishedRows.ts";
import type { Flow } from "./flow.ts";
import type { FlowIndex } from "./flowIndex.ts";
import { type FlowStore, NONE } from "./flowStore.ts";
import { MOST_ROWS, passSegments, type RowClock } from "./tcpEstablished.ts";

/** Rows from which it pays to copy and try them together. */
const LEAST_ROWS = 32;

/** Rows that go one by one at most after too few came through. */
const MOST_PATIENCE = 1_024;

/** Rows after which the table moves: what it costs to compile and to move has been saved by then. */
export const ROWS_UNTIL_LOOPS = 1 << 16;

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
  /** Of the last row that passed. */
  slot = NONE;
  direction = 0;
  readonly #parts: PassParts;
  readonly #rows: EstablishedRows;
  #loops: EstablishedLoops | undefined;
  /** Rows still to pass before the table moves. */
  #left: number;
  #atATime = LEAST_ROWS;
  /** Rows that go one by one before rows are tried together again, and how many those were the last time. */
  #patience = 0;
  #lastPatience = 0;

  constructor(parts: PassParts) {
    this.#parts = parts;
    this.#rows = new EstablishedRows(parts.index, parts.store);
    this.#left = parts.rowsUntilLoops;
    if (this.#left <= 0) this.#move();
  }

  /** Of the rows that passed last: what their entries remember, without the context. */
  get remembered(): Int32Array {
    return this.#loops === undefined ? this.#rows.outcomes : this.#loops.outcomes;
  }

  /** Whether to try rows from `from` on together would pay. Asked once before each `pass`. */
  isWorthTrying(batch: PacketBatch, from: number, to: number): boolean {
    if (to - from < LEAST_ROWS || ((batch.tcpFlags[from] ?? 0) & TELLING) !== TCP_FLAG.A) return false;
    if (this.#patience === 0) return true;
    this.#patience--;
    return false;
  }

  /** Lets rows `from` (inclusive) to `to` (exclusive) pass, or the first of them; how many. The table may move before. */
  pass(batch: PacketBatch, from: number, to: number, contexts: RememberedContexts): number {
    if (this.#left <= 0) this.#move();
    const tried = Math.min(to - from, this.#atATime);
    const passed =
      this.#loops === undefined
        ? this.#passRows(batch, from, tried, contexts)
        : this.#passLoops(this.#loops, { batch, first: from, count: tried, contexts });
    this.#learn(tried, passed);
    this.#left -= passed;
    return passed;
  }

  #passRows(batch: PacketBatch, from: number, tried: number, contexts: RememberedContexts): number {
    const { flow, clock, store } = this.#parts;
    const rows = this.#rows;
    rows.find(batch, from, tried, contexts);
    if (rows.count === 0) return 0;
    flow.words = store.words;
    const passed = passSegments(flow, batch, rows, clock);
    if (passed === 0) return 0;
    this.slot = rows.slots[passed - 1] ?? NONE;
    this.direction = rows.directions[passed - 1] ?? 0;
    return passed;
  }

  #passLoops(loops: EstablishedLoops, rows: RowsToPass): number {
    const { flow, clock, index } = this.#parts;
    const passed = loops.pass(rows, index, flow, clock);
    if (passed === 0) return 0;
    this.slot = loops.slotOf(passed - 1);
    this.direction = loops.directions[passed - 1] ?? 0;
    return passed;
  }

  /** Tries more or fewer next time, or none for a while. */
  #learn(tried: number, passed: number): void {
    if (passed >= tried) this.#atATime = Math.min(MOST_ROWS, this.#atATime * 4);
    else this.#atATime = Math.max(LEAST_ROWS, passed);
    this.#lastPatience = passed >= LEAST_ROWS / 2 ? 0 : Math.min(MOST_PATIENCE, this.#lastPatience * 2 + LEAST_ROWS);
    this.#patience = this.#lastPatience;
  }

  /** Once: where there is no WebAssembly there will be none. */
  #move(): void {
    this.#left = Number.POSITIVE_INFINITY;
    const { index, store, most } = this.#parts;
    const loops = EstablishedLoops.of(most);
    if (loops === undefined) return;
    index.moveTo(loops.places);
    store.moveTo(loops.words);
    this.#loops = loops;
  }
}
