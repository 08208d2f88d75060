/** Connection tracking that says what a test tells it to. */
import { isTrackedByPorts } from "../../dataplane/conntrack/tuple.ts";
import { PACKET_FLAG, type PacketBatch } from "../../dataplane/packet.ts";
import type { Connections } from "../../dataplane/tables/walk.ts";
import { CT_STATE_CODE, type CtState } from "../../dataplane/verdict.ts";

export class GivenConnections implements Connections {
  state: CtState = "new";
  isPending = true;
  isFull = false;
  mark = 0;
  /** Zones asked for, packet by packet. */
  readonly zones: number[] = [];
  confirmed = 0;
  abandoned = 0;

  get isTracked(): boolean {
    return !this.isFull && this.state !== "invalid" && this.state !== "untracked";
  }

  lookupCode(_batch: unknown, _row: number, zone: number): number {
    this.zones.push(zone);
    return CT_STATE_CODE[this.state];
  }

  recall(): number {
    return 0;
  }

  readonly recalledNone = false;

  lookupRecalled(batch: unknown, row: number): number {
    return this.lookupCode(batch, row, 0);
  }

  dropRecalled(): boolean {
    return false;
  }

  passEstablished(): undefined {
    return undefined;
  }

  comeTo(): void {}

  remember(): void {}

  forgetRemembered(): void {}

  lastWhy(): string {
    return "given";
  }

  confirm(): void {
    this.confirmed++;
  }

  abandon(): void {
    this.abandoned++;
  }
}

/** What was given for each row of a batch, and what became of it. */
export class ConnectionsByRow implements Connections {
  /** Of every row looked up, in turn: zone, and mark in the end and whether the packet got through. */
  readonly told: string[] = [];
  readonly #given: readonly { readonly state: CtState; readonly isPending: boolean; readonly connmark: number }[];
  #row = 0;
  mark = 0;
  isPending = false;
  readonly isFull = false;

  constructor(given: readonly { readonly state: CtState; readonly isPending: boolean; readonly connmark: number }[]) {
    this.#given = given;
  }

  get isTracked(): boolean {
    const state = this.#given[this.#row]?.state;
    return state !== "invalid" && state !== "untracked";
  }

  lookupCode(_batch: unknown, row: number, zone: number): number {
    const given = this.#given[row];
    if (given === undefined) throw new RangeError(`row ${row}`);
    this.#row = row;
    this.mark = given.connmark;
    this.isPending = given.isPending;
    this.told.push(`zone ${zone}`);
    return CT_STATE_CODE[given.state];
  }

  recalledNone = false;

  /** No connection remembers anything; one that the row begins is not there yet. */
  recall(batch: PacketBatch, row: number): number {
    const given = this.#given[row];
    const isFragment = ((batch.flags[row] ?? 0) & PACKET_FLAG.fragment) !== 0;
    const begins = given?.state === "invalid" || (given?.state === "new" && given.isPending);
    this.recalledNone = begins && !isFragment && isTrackedByPorts(batch.protocol[row] ?? 0);
    return 0;
  }

  lookupRecalled(batch: unknown, row: number): number {
    return this.lookupCode(batch, row, 0);
  }

  dropRecalled(): boolean {
    return false;
  }

  passEstablished(): undefined {
    return undefined;
  }

  comeTo(): void {}

  remember(): void {}

  forgetRemembered(): void {}

  lastWhy(): string {
    return "given";
  }

  confirm(): void {
    this.told.push(`confirm ${this.mark >>> 0}`);
  }

  abandon(): void {
    this.told.push(`abandon ${this.mark >>> 0}`);
  }
}
