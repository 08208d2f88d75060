/** Two reports of one flow, by the node of its source and by that of its destination, as one record. */
import { RECORDED } from "../source.ts";
import type { FlowRecord } from "./flowRecord.ts";

/** Records that wait for the other end's; their packets, some eight each, are well within what is put in order of time. */
const MOST_WAITING = 1024;
/** Places for records given on of which the other end's may still come; one may take another's. */
const PLACES = 32_768;

export interface Report {
  /** The same for both ends. */
  readonly key: string;
  readonly reporter: string;
  readonly record: FlowRecord;
}

interface Waiting {
  readonly report: Report;
  /** With what the other end says. */
  record: FlowRecord;
  isPaired: boolean;
}

export class BothEnds {
  /** Flows that both ends reported; those of them that one allowed and the other denied. */
  count = 0;
  denied = 0;
  readonly #give: (record: FlowRecord) => void;
  readonly #waiting = new Map<string, Waiting>();
  /** In order of arrival: the place of the next one is that of the one that has waited longest. */
  readonly #order: (Waiting | undefined)[] = [];
  #next = 0;
  readonly #given = new GivenRecords();

  /** `give` is told of each flow once, in the order of the first reports. */
  constructor(give: (record: FlowRecord) => void) {
    this.#give = give;
  }

  add(report: Report): void {
    const { key, record } = report;
    const waiting = this.#waiting.get(key);
    if (waiting !== undefined && !waiting.isPaired && isOther(waiting.report, report)) {
      this.count++;
      const denying = [waiting.record, record].filter(({ recorded }) => recorded === RECORDED.drop);
      if (denying.length === 1) this.denied++;
      waiting.isPaired = true;
      if (denying.length > 0) waiting.record = { ...waiting.record, recorded: RECORDED.drop };
      return;
    }
    const given = this.#given.take(report);
    if (given !== undefined) {
      this.count++;
      if (given === record.recorded || record.recorded !== RECORDED.drop) return;
      // Too late to take back that it passed: its denial stands beside.
      this.denied++;
      this.#give(record);
      return;
    }
    this.#leave(this.#order[this.#next]);
    const fresh = { report, record, isPaired: false };
    this.#order[this.#next] = fresh;
    this.#next = (this.#next + 1) % MOST_WAITING;
    this.#waiting.set(key, fresh);
  }

  /** No more reports come. */
  finish(): void {
    for (let at = 0; at < MOST_WAITING; at++) this.#leave(this.#order[(this.#next + at) % MOST_WAITING]);
    this.#order.length = 0;
    this.#next = 0;
  }

  #leave(waiting: Waiting | undefined): void {
    if (waiting === undefined) return;
    const { report, record, isPaired } = waiting;
    if (this.#waiting.get(report.key) === waiting) this.#waiting.delete(report.key);
    if (!isPaired) this.#given.add(report);
    this.#give(record);
  }
}

/** Whether they are of both ends, about the same time. */
function isOther(one: Report, other: Report): boolean {
  return one.reporter !== other.reporter && overlaps(one.record, other.record);
}

interface Interval {
  readonly start: number;
  readonly end: number;
}

/** Nodes sum over intervals of the same length that begin when they like. */
function overlaps(a: Interval, b: Interval): boolean {
  return a.start === b.start || (a.start < b.end && b.start < a.end);
}

/** In columns: as objects, a log's past would fill the heap. Keys are told apart by 64 bits of hash. */
class GivenRecords {
  readonly #checks = new Int32Array(PLACES);
  /** Hash of the reporter's name; 0: the place is free. */
  readonly #reporters = new Int32Array(PLACES);
  readonly #starts = new Float64Array(PLACES);
  readonly #ends = new Float64Array(PLACES);
  readonly #recorded = new Uint8Array(PLACES);

  add({ key, reporter, record }: Report): void {
    const hash = hashOf(key, 1);
    const at = (hash >>> 1) & (PLACES - 1);
    this.#checks[at] = hashOf(key, hash);
    this.#reporters[at] = hashOf(reporter, 1);
    this.#starts[at] = record.start;
    this.#ends[at] = record.end;
    this.#recorded[at] = record.recorded;
  }

  /** `RECORDED` of the other end's record, which is forgotten; undefined: it is not known. */
  take({ key, reporter, record }: Report): number | undefined {
    const hash = hashOf(key, 1);
    const at = (hash >>> 1) & (PLACES - 1);
    if (this.#reporters[at] === 0 || this.#checks[at] !== hashOf(key, hash)) return undefined;
    if (this.#reporters[at] === hashOf(reporter, 1)) return undefined;
    if (!overlaps({ start: this.#starts[at] ?? 0, end: this.#ends[at] ?? 0 }, record)) return undefined;
    this.#reporters[at] = 0;
    return this.#recorded[at];
  }
}

/** FNV-1a, mixed once more, never 0. */
function hashOf(text: string, seed: number): number {
  let hash = 0x811c9dc5 ^ seed;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return Math.imul(hash ^ (hash >>> 15), 0x85ebca6b) | 1;
}
