/**
 * A recording through the sides of a replay: batches of packets in, flows with verdicts out.
 *
 * Connection state is carried, as on a node: a flow's verdict is that of the packet that opened it, and every later
 * packet meets the connection table the earlier ones left. What a packet costs here beside its pushes is one probe of the
 * flow table; owners, causes and texts are looked up once a flow.
 */
import type { ResolvedCluster } from "../compiler/resolve.ts";
import { createBatch, type PacketBatch, PROTOCOL, SCTP_CHUNK, TCP_FLAG } from "../dataplane/packet.ts";
import { VERDICT_CODE } from "../dataplane/verdict.ts";
import { copyRow } from "../traffic/copyRow.ts";
import { type BATCH_ROWS, RECORDED, type TrafficBatch } from "../traffic/source.ts";
import type { Duplicates } from "./duplicates.ts";
import { isOfShare, type Share } from "./flowHash.ts";
import { FLOW_STATE, IDLE_SECONDS } from "./flowState.ts";
import { FlowTable, type FlowTableState, NO_FLOW, type TakenRows } from "./flowTable.ts";
import type { Masquerades } from "./masquerades.ts";
import { canOpen, detailOf } from "./openingPacket.ts";
import type { AddressBook } from "./owners.ts";
import type { CapturePoints, Place } from "./places.ts";
import type { Services } from "./services.ts";
import type { Side, SideState } from "./side.ts";
import type { SideColumns } from "./sideColumns.ts";
import type { ReplayedStory } from "./story.ts";
import { StepStarts } from "./storyTime.ts";
import { Tally } from "./tally.ts";
import { Timeline, type TimelineState } from "./timeline.ts";

/** Which flows are wanted. */
export interface FlowFilter {
  /** Asked once, about the row that opens the flow. */
  opens(batch: PacketBatch, row: number): boolean;
  /** Asked once the opening packet has its verdict (`VERDICT_CODE` of the main side). */
  verdict(code: number): boolean;
  /** The cluster is another now: names stand for what has them there. */
  step?(cluster: ResolvedCluster): void;
}

/** Rows just pushed, for who looks at every packet. */
export interface PushedRows {
  readonly traffic: TrafficBatch;
  /** The rows of `traffic` that were pushed, and their flows; `length` of them count. */
  readonly rows: Int32Array;
  readonly flows: Int32Array;
  readonly length: number;
  /** Number of the batch's row 0 in the whole recording. */
  readonly firstIndex: number;
  /** Rows of the sides' columns are counted from 0: `rows[i]` is row i there. */
  readonly sides: readonly Side[];
}

/** A replay between two batches, as data. */
export interface ReplayState {
  readonly index: number;
  readonly now: number;
  readonly table: FlowTableState;
  readonly timeline: TimelineState;
  readonly sides: readonly SideState[];
}

export interface ReplayOptions {
  readonly sides: readonly Side[];
  /** Index of the side whose verdicts are the flows' own: what would become of them. */
  readonly main: number;
  readonly book: AddressBook;
  readonly filter?: FlowFilter;
  /** Where the recording was made. */
  readonly places?: readonly Place[];
  readonly services?: Services;
  /** What becomes of the cluster while the packets pass. */
  readonly story?: ReplayedStory;
  /** Of `of` workers the one that has flows whose hash falls on `index`. */
  readonly share?: Share;
  /** `told`: flows that have ended are forgotten once `takeEnded` has told them. Default `kept`: all stay in the table. */
  readonly ended?: "told" | "kept";
  readonly onPushed?: (pushed: PushedRows) => void;
  /** Told at fixed places of the recording, and at its end: what several workers say between two of them belongs together. */
  readonly rounds?: { readonly rows: RoundRows; readonly onEnd: () => void };
}

/** Rows of a round: as many as a batch, or as lie between two looks for flows that have ended. */
export type RoundRows = typeof BATCH_ROWS | typeof SWEEP_ROWS;

/** Rows between two looks for flows that have ended. */
export const SWEEP_ROWS = 65_536;
/** Seconds that a closed flow waits for stragglers: last ACKs, repeated FINs. */
const LINGER_SECONDS = 10;
/** Flows told at a time: who writes them need not have all in memory as text. */
const TOLD_FLOWS = 1024;
/** Of the one worker there is. */
const EVERYTHING: Share = { index: 0, of: 1 };
/** Rows of which the flows are looked up together: so few that what was touched for the last is still near when the first is counted. */
const BLOCK_ROWS = 256;

/** Whether a row is to be replayed, and whether it was sent to a Service address. */
const MEANT = { no: 0, yes: 1, translated: 2 } as const;

const CLOSED = FLOW_STATE.finSource | FLOW_STATE.finDestination;

export class Replay {
  readonly table: FlowTable;
  readonly timeline = new Timeline();
  readonly steps = new StepStarts();
  readonly tally: Tally;
  readonly #options: ReplayOptions;
  readonly #scratch: PacketBatch;
  readonly #taken: TakenRows;
  /** Of the rows taken: 1 where it opens its flow. */
  readonly #opens: Uint8Array;
  /** Of all rows of a batch: `MEANT`, and the hash of their tuple. */
  readonly #meant: Uint8Array;
  readonly #hashes: Int32Array;
  #duplicates: Duplicates | undefined;
  #masquerades: Masquerades | undefined;
  #points: CapturePoints | undefined;
  /** Ended, and not told yet. */
  #ended: number[] = [];
  #index = 0;
  /** Rows before this were pushed before `restore`. */
  #skipTo = 0;
  #now = 0;

  constructor(options: ReplayOptions, capacity: number) {
    this.#options = options;
    this.table = new FlowTable(options.sides.length);
    const { book, main, places = [], story, filter } = options;
    this.tally = new Tally({ book, main, steps: this.steps, places });
    if (story !== undefined) filter?.step?.(story.start);
    this.#scratch = createBatch(capacity);
    this.#taken = { rows: new Int32Array(capacity), flows: new Int32Array(capacity), length: 0 };
    this.#opens = new Uint8Array(capacity);
    this.#meant = new Uint8Array(capacity);
    this.#hashes = new Int32Array(capacity);
  }

  /** Rows seen so far, of every worker's share. */
  get index(): number {
    return this.#index;
  }

  /** Whether rows are pushed, and not read over after `restore`. */
  get isPushing(): boolean {
    return this.#index >= this.#skipTo;
  }

  /** Everything between two batches, to go on from later; undefined: a side cannot. */
  save(): ReplayState | undefined {
    const sides = this.#options.sides.map((side) => side.save());
    const kept = sides.filter((side) => side !== undefined);
    if (kept.length < sides.length) return undefined;
    return {
      index: this.#index,
      now: this.#now,
      table: this.table.save(),
      timeline: this.timeline.state(),
      sides: kept,
    };
  }

  /** Goes on from there: rows up to it are read over. To be called before the first batch. */
  restore({ index, now, table, timeline, sides }: ReplayState): void {
    const same = sides.map(({ causes }) => causes.map((_, number) => number));
    this.table.absorb(table, same);
    this.timeline.merge(timeline);
    for (const [number, side] of this.#options.sides.entries()) {
      const state = sides[number];
      if (state === undefined) throw new Error(`no state of side ${side.name}`);
      side.restore(state);
    }
    this.#skipTo = index;
    this.#now = now;
  }

  /** From now on copies of packets are recognised by these: each source has its own interfaces. */
  recognise(duplicates: Duplicates, masquerades: Masquerades): void {
    this.#duplicates = duplicates;
    this.#masquerades = masquerades;
  }

  /** From now on what is known of the interfaces says what packets had met when they were recorded. */
  locate(points: CapturePoints): void {
    this.#points = points;
  }

  /** The rows of a batch, in order. Its columns may be changed: Service addresses become endpoints'. */
  consume(traffic: TrafficBatch): void {
    const { rounds } = this.#options;
    const rows = traffic.packets.length;
    const stride = rounds?.rows ?? SWEEP_ROWS;
    for (let from = 0; from < rows; ) {
      const most = Math.min(rows, from + stride - (this.#index % stride));
      const to = this.#takeSteps(traffic.packets, from, most);
      this.#segment(traffic, from, to);
      from = to;
      if (this.#index % SWEEP_ROWS === 0) this.#sweep();
      if (this.#index % stride === 0) rounds?.onEnd();
    }
  }

  /** The recording is over, and so are the flows left. */
  finish(): void {
    const { ended, rounds } = this.#options;
    if (ended === "told") this.#end(this.table.ordered().filter((slot) => !this.#hasEnded(slot)));
    rounds?.onEnd();
  }

  /**
   * Flows that have ended since, a few at a time: those of each of the fixed places of the recording where they are looked for in order
   * of their beginning. To be taken after each batch and after `finish`; the slots are given away when the next few are asked for.
   */
  *takeEnded(): Generator<readonly number[]> {
    const ended = this.#ended;
    this.#ended = [];
    for (let from = 0; from < ended.length; from += TOLD_FLOWS) {
      const slots = ended.slice(from, from + TOLD_FLOWS);
      yield slots;
      for (const slot of slots) this.table.release(slot);
    }
  }

  /* -------------------------------------------- The story ---------------------------------------------------------- */

  /** Takes the steps that are due before row `from`; the row, `to` at most, before which the next one is. */
  #takeSteps(packets: PacketBatch, from: number, to: number): number {
    const { story, sides, book, filter, services } = this.#options;
    if (story === undefined) return to;
    const { clock } = story;
    const time = packets.time[from] ?? 0;
    clock.see(time);
    while (clock.timeOf(this.steps.taken + 1) <= time) {
      const step = story.step(this.steps.taken + 1);
      for (const side of sides) side.step(step);
      book.step(step.cluster.model);
      filter?.step?.(step.cluster);
      services?.become(story.servicesAt(step.number));
      this.#masquerades?.become(step.cluster.model);
      this.#points?.forget();
      this.steps.take(this.#index);
    }
    const next = clock.timeOf(this.steps.taken + 1);
    for (let row = from + 1; row < to; row++) if ((packets.time[row] ?? 0) >= next) return row;
    return to;
  }

  /* -------------------------------------------- Before the push --------------------------------------------------- */

  #segment(traffic: TrafficBatch, from: number, to: number): void {
    const { packets } = traffic;
    const pushed = Math.min(to, Math.max(from, from + this.#skipTo - this.#index));
    const hasCopies = this.#prepare(traffic, from, to);
    this.#index += pushed - from;
    const taken = this.#taken;
    taken.length = 0;
    this.#opens.fill(0, 0, to - pushed);
    const isStraight = !hasCopies && this.#points?.isKnown !== true;
    for (let start = pushed; start < to; start += BLOCK_ROWS) {
      const end = Math.min(to, start + BLOCK_ROWS);
      this.table.hashRows(packets, start, end, this.#hashes);
      for (let row = start; row < end; row++) {
        if (isStraight) row = this.#passKnown(traffic, row, end);
        if (row < end) this.#take(traffic, row);
      }
    }
    const { length, rows, flows } = taken;
    if (length === 0) return;
    const batch = length === packets.length ? packets : this.#gather(packets, taken);
    const { onPushed, sides } = this.#options;
    for (const side of sides) side.push(batch);
    this.#record(batch, taken);
    onPushed?.({ traffic, rows, flows, length, sides, firstIndex: this.#index - to });
  }

  /** Takes the rows that go on with known flows, up to the first other one, or to `to`. */
  #passKnown(traffic: TrafficBatch, from: number, to: number): number {
    const { share = EVERYTHING } = this.#options;
    const row = this.table.passKnown(traffic, from, to, { hashes: this.#hashes, share, taken: this.#taken });
    if (row === from) return row;
    this.#index += row - from;
    this.#now = Math.max(this.#now, traffic.packets.time[row - 1] ?? 0);
    return row;
  }

  /** Takes a row of any kind, if it is meant and wanted. */
  #take(traffic: TrafficBatch, row: number): void {
    const taken = this.#taken;
    const hash = this.#hashes[row] ?? 0;
    const isCopy = this.#meant[row] === MEANT.no;
    const flow = isCopy ? NO_FLOW : this.#admit(traffic, row, hash);
    if (this.#points?.isKnown === true)
      this.#see(traffic, row, isCopy ? this.#known(traffic.packets, row, hash) : flow);
    this.#index++;
    if (flow === NO_FLOW) return;
    taken.rows[taken.length] = row;
    taken.flows[taken.length] = flow;
    this.#opens[taken.length] = this.#isOpening ? 1 : 0;
    taken.length++;
  }

  /**
   * Gives rows the addresses that policies see, and says which rows are meant; also of those that were pushed before `restore`. Whether
   * one of them is a copy.
   */
  #prepare(traffic: TrafficBatch, from: number, to: number): boolean {
    const { services } = this.#options;
    const duplicates = this.#duplicates?.canRepeat === true ? this.#duplicates : undefined;
    this.#meant.fill(MEANT.yes, from, to);
    if (services === undefined && duplicates === undefined) return false;
    let hasCopies = false;
    // Where there is one interface, one side of a translation is all there is.
    const masquerades = duplicates && this.#masquerades;
    for (let row = from; row < to; row++) {
      if (services?.translate(traffic.packets, row) === 1) this.#meant[row] = MEANT.translated;
      masquerades?.translate(traffic.packets, row);
      if (duplicates?.isRepeated(traffic, row) !== true) continue;
      this.#meant[row] = MEANT.no;
      hasCopies = true;
    }
    return hasCopies;
  }

  /** Of the row under way: whether it opens its flow, and whether it is an error about it. */
  #isOpening = false;
  #isQuoted = false;

  /** The flow of a row that is to be pushed, or `NO_FLOW`. */
  #admit(traffic: TrafficBatch, row: number, hash: number): number {
    const { share = EVERYTHING } = this.#options;
    const { packets } = traffic;
    const { table } = this;
    const time = packets.time[row] ?? 0;
    if (time > this.#now) this.#now = time;
    this.#isOpening = false;
    if (!isOfShare(hash, share)) return NO_FLOW;
    this.#isQuoted = false;
    let flow = FlowTable.isPlain(packets, row) ? table.findRow(packets, row, hash) : this.#find(packets, row);
    if (flow !== NO_FLOW && !this.#isQuoted && this.#startsAnew(packets, row, flow)) {
      table.retire(flow);
      flow = NO_FLOW;
    }
    if (flow === NO_FLOW) flow = this.#open(traffic, row);
    table.count(flow, traffic.frameBytes[row] ?? 0, time);
    if (!this.#isQuoted) this.#follow(packets, row, flow);
    return (table.state(flow) & FLOW_STATE.filtered) === 0 ? flow : NO_FLOW;
  }

  /** The flow that a copy of a packet is of, or `NO_FLOW`. */
  #known(packets: PacketBatch, row: number, hash: number): number {
    this.#isQuoted = false;
    return FlowTable.isPlain(packets, row) ? this.table.findRow(packets, row, hash) : this.#find(packets, row);
  }

  /** What a packet had met when it was recorded, its flow has met. What comes back, a node may have answered. */
  #see(traffic: TrafficBatch, row: number, flow: number): void {
    const { table } = this;
    if (flow === NO_FLOW || this.#isQuoted || table.isReply || (table.state(flow) & FLOW_STATE.metAll) !== 0) return;
    const met = this.#points?.met(traffic, row, { table, flow });
    if (met === "every policy") table.addState(flow, FLOW_STATE.metAll | FLOW_STATE.metEgress);
    else if (met === "egress policy") table.addState(flow, FLOW_STATE.metEgress);
  }

  /** The flow of a row of any kind: an error's is the one that it is about, as long as that was seen. */
  #find(packets: PacketBatch, row: number): number {
    const { table } = this;
    const quoted = packets.quoted.size > 0 ? packets.quoted.get(row) : undefined;
    if (quoted !== undefined) {
      table.loadTuple(quoted);
      const flow = table.find();
      this.#isQuoted = flow !== NO_FLOW;
      if (flow !== NO_FLOW) return flow;
    }
    table.load(packets, row);
    return table.find();
  }

  /** A new flow, which a row begins. */
  #open(traffic: TrafficBatch, row: number): number {
    const { filter } = this.#options;
    const { packets } = traffic;
    const { table } = this;
    table.load(packets, row);
    const flow = table.open();
    table.firstIndex[flow] = this.#index;
    table.firstOffset[flow] = traffic.offset[row] ?? 0;
    table.begin(flow, {
      time: packets.time[row] ?? 0,
      sequence: packets.sequence[row] ?? 0,
      detail: detailOf(packets, row),
    });
    let state = canOpen(packets, row) ? 0 : FLOW_STATE.startMissing;
    if (traffic.recorded[row] === RECORDED.drop) state |= FLOW_STATE.recordedDrop;
    if (this.#meant[row] === MEANT.translated) state |= FLOW_STATE.translated;
    if (filter !== undefined && !filter.opens(packets, row)) state |= FLOW_STATE.filtered;
    table.addState(flow, state);
    this.#isOpening = true;
    return flow;
  }

  /** Whether a row with the tuple of a flow begins another connection. */
  #startsAnew(packets: PacketBatch, row: number, flow: number): boolean {
    const { table } = this;
    switch (packets.protocol[row]) {
      case PROTOCOL.tcp: {
        const flags = packets.tcpFlags[row] ?? 0;
        if ((flags & (TCP_FLAG.S | TCP_FLAG.A)) !== TCP_FLAG.S) return false;
        const state = table.state(flow);
        if (isClosed(state) || (state & FLOW_STATE.startMissing) !== 0) return true;
        return !table.isReply && table.firstSequence(flow) !== packets.sequence[row];
      }
      case PROTOCOL.sctp:
        return packets.sctpChunk[row] === SCTP_CHUNK.INIT && isClosed(table.state(flow));
      default:
        return (packets.time[row] ?? 0) - table.lastTime(flow) > IDLE_SECONDS;
    }
  }

  /** What a row says about the end of its flow. */
  #follow(packets: PacketBatch, row: number, flow: number): void {
    const { table } = this;
    const protocol = packets.protocol[row];
    let ends = 0;
    if (protocol === PROTOCOL.tcp) {
      const flags = packets.tcpFlags[row] ?? 0;
      if ((flags & TCP_FLAG.R) !== 0) ends = FLOW_STATE.reset;
      if ((flags & TCP_FLAG.F) !== 0) ends |= table.isReply ? FLOW_STATE.finDestination : FLOW_STATE.finSource;
    } else if (protocol === PROTOCOL.sctp) {
      const chunk = packets.sctpChunk[row];
      if (chunk === SCTP_CHUNK.ABORT || chunk === SCTP_CHUNK.SHUTDOWN_COMPLETE) ends = FLOW_STATE.reset;
    }
    if (ends !== 0) table.addState(flow, ends);
  }

  /** The rows to push, side by side. */
  #gather(packets: PacketBatch, { rows, length }: TakenRows): PacketBatch {
    const scratch = this.#scratch;
    for (let at = 0; at < length; at++) copyRow(packets, rows[at] ?? 0, scratch, at);
    scratch.length = length;
    return scratch;
  }

  /* -------------------------------------------- After the push ---------------------------------------------------- */

  #record(batch: PacketBatch, { flows, length }: TakenRows): void {
    const { sides, main, story } = this.#options;
    const { table } = this;
    const opens = this.#opens;
    for (let side = 0; side < sides.length; side++) {
      const pushed = sides[side];
      const columns = table.sides[side];
      if (pushed === undefined || columns === undefined) continue;
      const { verdict } = pushed;
      const { packets } = columns;
      const countsCuts = story !== undefined && side === main;
      for (let at = 0; at < length; at++) {
        const flow = flows[at] ?? 0;
        const code = verdict[at] ?? 0;
        const cell = flow * 4 + code;
        if (countsCuts && opens[at] === 0) this.#countCut(columns, flow, code);
        packets[cell] = (packets[cell] ?? 0) + 1;
        if (opens[at] === 0) continue;
        columns.verdict[flow] = code;
        columns.ctState[flow] = pushed.ctStateOf(at);
        columns.cause[flow] = pushed.causeOf(at);
      }
    }
    const verdict = sides[main]?.verdict;
    if (verdict === undefined) throw new RangeError(`side ${main} of ${sides.length}`);
    this.#recordTimes(batch, verdict);
  }

  /** Counts the rows taken at their times, and the flows that they open. */
  #recordTimes({ time: times }: PacketBatch, verdict: Uint8Array): void {
    const { filter } = this.#options;
    const { table, timeline } = this;
    const { flows, length } = this.#taken;
    if (filter === undefined) timeline.packets(times, verdict, length);
    for (let at = 0; at < length; at++) {
      const isOpening = this.#opens[at] === 1;
      if (filter === undefined && !isOpening) continue;
      const time = times[at] ?? 0;
      const code = verdict[at] ?? 0;
      if (filter !== undefined) {
        const flow = flows[at] ?? 0;
        if (isOpening && !filter.verdict(code)) table.addState(flow, FLOW_STATE.hidden);
        if ((table.state(flow) & FLOW_STATE.hidden) !== 0) continue;
        timeline.packet(time, code);
      }
      if (isOpening) timeline.flow(time, code === VERDICT_CODE.drop || code === VERDICT_CODE.reject ? 1 : 0);
    }
  }

  /** A later packet of a flow: the first one refused of a flow that passed is where the cluster's change cut it. */
  #countCut({ verdict, packets }: SideColumns, flow: number, code: number): void {
    if (code !== VERDICT_CODE.drop && code !== VERDICT_CODE.reject) return;
    if (verdict[flow] !== VERDICT_CODE.accept || (this.table.state(flow) & FLOW_STATE.hidden) !== 0) return;
    const refused = (packets[flow * 4 + VERDICT_CODE.drop] ?? 0) + (packets[flow * 4 + VERDICT_CODE.reject] ?? 0);
    if (refused === 0) this.#options.story?.cut(this.steps.taken);
  }

  #sweep(): void {
    if (this.#options.ended !== "told") return;
    const { table } = this;
    const ended: number[] = [];
    for (let slot = 0; slot < table.slots; slot++) {
      if (table.packets(slot) === 0 || this.#hasEnded(slot)) continue;
      const silent = this.#now - table.lastTime(slot);
      const isOver = isClosed(table.state(slot)) ? silent >= LINGER_SECONDS : this.#isIdle(slot, silent);
      if (isOver) ended.push(slot);
    }
    this.#end(ended.sort((a, b) => (table.firstIndex[a] ?? 0) - (table.firstIndex[b] ?? 0)));
  }

  #hasEnded(slot: number): boolean {
    return (this.table.state(slot) & FLOW_STATE.ended) !== 0;
  }

  #isIdle(slot: number, silent: number): boolean {
    const protocol = this.table.protocol(slot);
    // A connection may be silent for days; its memory is worth keeping.
    return protocol !== PROTOCOL.tcp && protocol !== PROTOCOL.sctp && silent > IDLE_SECONDS;
  }

  #end(slots: readonly number[]): void {
    const { table } = this;
    for (const slot of slots) {
      this.tally.add(table, slot);
      table.retire(slot);
      table.addState(slot, FLOW_STATE.ended);
      this.#ended.push(slot);
    }
  }
}

function isClosed(state: number): boolean {
  return (state & FLOW_STATE.reset) !== 0 || (state & CLOSED) === CLOSED;
}
