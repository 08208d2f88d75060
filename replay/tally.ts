/** Sums over flows. A flow is added once: when it has ended and is forgotten, or at the end of the recording. */
import { formatAddress, type IpAddress } from "../dataplane/address.ts";
import { VERDICT_CODE } from "../dataplane/verdict.ts";
import { FLOW_STATE } from "./flowState.ts";
import type { FlowTable } from "./flowTable.ts";
import { type AddressBook, NOBODY } from "./owners.ts";
import { isOn, type Place } from "./places.ts";
import type { StepStarts } from "./storyTime.ts";

export interface UnknownAddress {
  readonly address: string;
  readonly flows: number;
  readonly packets: number;
  /** A node hands out addresses like it to its pods. */
  readonly isPodAddress: boolean;
}

interface AddressSum {
  readonly address: IpAddress;
  flows: number;
  packets: number;
}

/** Whether the sides do not agree on a flow. Dropped and rejected are one: neither passes. */
export function hasChanged(table: FlowTable, slot: number): boolean {
  const [first, ...others] = table.sides;
  const verdict = outcome(first?.verdict[slot] ?? 0);
  return others.some((side) => outcome(side.verdict[slot] ?? 0) !== verdict);
}

function outcome(code: number): number {
  return code === VERDICT_CODE.reject ? VERDICT_CODE.drop : code;
}

/** Counts by `VERDICT_CODE`. */
type ByVerdict = [accept: number, drop: number, reject: number, unknown: number];

/** The sums of a part of the flows, to be sent elsewhere. */
export interface TallyState {
  /** In the order of `SUMS`. */
  readonly sums: readonly number[];
  readonly packetVerdicts: readonly number[];
  readonly flowVerdicts: readonly number[];
  readonly unknown: ReadonlyMap<string, Readonly<AddressSum>>;
}

const SUMS = [
  "packets",
  "bytes",
  "flows",
  "startMissing",
  "translated",
  "elsewhere",
  "disproved",
  "filteredPackets",
  "filteredFlows",
  "changed",
  "nowRefused",
] as const;

export interface TallyOptions {
  readonly book: AddressBook;
  /** Index of the main side. */
  readonly main: number;
  readonly steps: StepStarts;
  /** Where the recording was made, as far as the user says. */
  readonly places: readonly Place[];
}

export class Tally {
  packets = 0;
  bytes = 0;
  flows = 0;
  /** By the main side's verdict, of packets and of flows. */
  readonly packetVerdicts: ByVerdict = [0, 0, 0, 0];
  readonly flowVerdicts: ByVerdict = [0, 0, 0, 0];
  /** Flows whose beginning is not in the recording, and flows whose Service address was translated. */
  startMissing = 0;
  translated = 0;
  /** Flows of which neither end is where the recording was made. */
  elsewhere = 0;
  /** Flows that the first side refuses, and that had met every policy where they were recorded. */
  disproved = 0;
  /** Packets of flows that a filter did not want. */
  filteredPackets = 0;
  filteredFlows = 0;
  /** Flows on which the sides do not agree; of these, those that the first side lets pass and the last refuses. */
  changed = 0;
  nowRefused = 0;
  readonly #unknown = new Map<string, AddressSum>();
  readonly #book: AddressBook;
  readonly #main: number;
  readonly #steps: StepStarts;
  readonly #places: readonly Place[];

  constructor({ book, main, steps, places }: TallyOptions) {
    this.#book = book;
    this.#main = main;
    this.#steps = steps;
    this.#places = places;
  }

  add(table: FlowTable, slot: number): void {
    const state = table.state(slot);
    if ((state & (FLOW_STATE.filtered | FLOW_STATE.hidden)) !== 0) {
      this.filteredFlows++;
      this.filteredPackets += table.packets(slot);
      return;
    }
    const side = table.sides[this.#main];
    if (side === undefined) throw new RangeError(`side ${this.#main} of ${table.sides.length}`);
    const packets = table.packets(slot);
    this.flows++;
    this.packets += packets;
    this.bytes += table.bytes(slot);
    const verdict = side.verdict[slot] ?? 0;
    this.flowVerdicts[verdict as 0] += 1;
    for (let code = 0; code < 4; code++) this.packetVerdicts[code as 0] += side.packets[slot * 4 + code] ?? 0;
    if ((state & FLOW_STATE.startMissing) !== 0) this.startMissing++;
    if ((state & FLOW_STATE.translated) !== 0) this.translated++;
    if (this.#places.length > 0 && !this.#isAt(this.#places, table, slot)) this.elsewhere++;
    if ((state & FLOW_STATE.metAll) !== 0 && (state & FLOW_STATE.startMissing) === 0) {
      const first = table.sides[0]?.verdict[slot];
      if (first === VERDICT_CODE.drop || first === VERDICT_CODE.reject) this.disproved++;
    }
    if (hasChanged(table, slot)) {
      this.changed++;
      if (table.sides[0]?.verdict[slot] === VERDICT_CODE.accept) {
        const last = table.sides.at(-1)?.verdict[slot];
        if (last === VERDICT_CODE.drop || last === VERDICT_CODE.reject) this.nowRefused++;
      }
    }
    const step = this.#steps.before(table.firstIndex[slot] ?? 0);
    this.#addEnd(table.source(slot), step, packets);
    this.#addEnd(table.destination(slot), step, packets);
  }

  state(): TallyState {
    const { packetVerdicts, flowVerdicts } = this;
    return { sums: SUMS.map((sum) => this[sum]), packetVerdicts, flowVerdicts, unknown: this.#unknown };
  }

  /** Adds what another tally counted, of other flows. */
  merge({ sums, packetVerdicts, flowVerdicts, unknown }: TallyState): void {
    for (const [at, sum] of SUMS.entries()) this[sum] += sums[at] ?? 0;
    for (let code = 0; code < 4; code++) {
      this.packetVerdicts[code as 0] += packetVerdicts[code] ?? 0;
      this.flowVerdicts[code as 0] += flowVerdicts[code] ?? 0;
    }
    for (const [text, { address, flows, packets }] of unknown) this.#addUnknown(text, address, { flows, packets });
  }

  /** Addresses of no pod and no node, the busiest first. */
  unknownAddresses(): readonly UnknownAddress[] {
    return [...this.#unknown]
      .map(([address, sum]) => ({
        address,
        flows: sum.flows,
        packets: sum.packets,
        isPodAddress: this.#book.isPodAddress(sum.address),
      }))
      .sort((a, b) => b.flows - a.flows || b.packets - a.packets || (a.address < b.address ? -1 : 1));
  }

  get unknownAddressCount(): number {
    return this.#unknown.size;
  }

  #isAt(places: readonly Place[], table: FlowTable, slot: number): boolean {
    const step = this.#steps.before(table.firstIndex[slot] ?? 0);
    return [table.source(slot), table.destination(slot)].some((address) => {
      const owner = this.#book.owner(this.#book.numberOf(address, step));
      return places.some(({ node, pod }) => (pod === undefined ? isOn(owner, node) : owner?.name === pod));
    });
  }

  #addEnd(address: IpAddress, step: number, packets: number): void {
    if (this.#book.numberOf(address, step) !== NOBODY) return;
    this.#addUnknown(formatAddress(address), address, { flows: 1, packets });
  }

  #addUnknown(text: string, address: IpAddress, { flows, packets }: Omit<AddressSum, "address">): void {
    const sum = this.#unknown.get(text);
    if (sum === undefined) this.#unknown.set(text, { address, flows, packets });
    else {
      sum.flows += flows;
      sum.packets += packets;
    }
  }
}
