/**
 * Connection tracking of one node: nf_conntrack of Linux 6.18, packet for packet.
 *
 * `lookup` is nf_conntrack_in, what the kernel does at PREROUTING and OUTPUT: find the entry that the packet belongs to or
 * prepare one, and let the protocol's tracker move it. A prepared entry is not in the table yet. `confirm` puts it there
 * when the packet has passed every rule (nf_conntrack_confirm, at the end of INPUT and POSTROUTING), `abandon` forgets it,
 * so a dropped packet leaves no entry. What a packet did to an entry that existed stays done, accepted or not.
 *
 * Left out, because packets here have nothing of it: address translation, helpers and the connections they expect,
 * checksums, zones of one direction only, several chunks in an SCTP packet. Fragments: the kernel puts datagrams together
 * before it tracks them. A first fragment stands for its whole datagram here; a later one belongs to the entry of its
 * tuple, which it does not touch, and is invalid when there is none (the kernel would hold it until its datagram is whole).
 */
import { type ConntrackEntry, formatFlow, readEntry } from "./conntrack/entry.ts";
import type { EstablishedLoops } from "./conntrack/establishedLoops.ts";
import { EstablishedPass, ROWS_UNTIL_LOOPS } from "./conntrack/establishedPass.ts";
import { type EvictionGrounds, earlyDropVictims, pressureLevel, pressureVictims } from "./conntrack/eviction.ts";
import {
  addStatus,
  BYTE,
  FLOW_BYTES,
  FLOW_WORDS,
  type Flow,
  ORIGINAL,
  OUTCOME,
  REPLY,
  STATUS,
  statusOf,
  WORD,
} from "./conntrack/flow.ts";
import { FlowIndex } from "./conntrack/flowIndex.ts";
import { FlowStore, isInUse, NONE } from "./conntrack/flowStore.ts";
import { icmpClass, icmpv6Class } from "./conntrack/icmp.ts";
import { type ConntrackOptions, type ConntrackSettings, conntrackSettings, timeoutTable } from "./conntrack/options.ts";
import { type ConntrackParts, type ConntrackState, restoreParts, saveParts } from "./conntrack/parts.ts";
import { ReadAhead } from "./conntrack/readAhead.ts";
import { surelyBegins } from "./conntrack/tcp.ts";
import { passSegment, type RememberedContexts, type RowClock } from "./conntrack/tcpEstablished.ts";
import { TimerWheel } from "./conntrack/timerWheel.ts";
import { track } from "./conntrack/track.ts";
import { type FlowTuple, goesTo, isTrackedByPorts, PacketTuple } from "./conntrack/tuple.ts";
import { PACKET_FLAG, type PacketBatch, PROTOCOL } from "./packet.ts";
import { CT_STATE_CODE, CT_STATES, type CtState } from "./verdict.ts";

/** What became of the entry that a packet was about to make. */
export type Confirmation = "confirmed" | "table-full";

/** No state yet: an ordinary message, which has an entry or makes one. */
const UNDECIDED = -1;

/** In place of a slot: `recall` did not search. */
const UNASKED = -2;

/** How often the garbage collector makes room when the table is full (eviction.ts). */
const PRESSURE_SECONDS = 60;

/** Number of entries from which reading ahead pays: when they outgrow the processor's cache. */
const ENTRIES_WORTH_IT = 8_192;

/** What the packet under way has to do with its entry. */
const HOLD = {
  /** It has none. */
  nothing: 0,
  /** The entry is in the table. */
  known: 1,
  /** The entry waits for `confirm`. */
  pending: 2,
  /** The entry has left the table and lives until the packet is done. */
  dying: 3,
} as const;

export class ConntrackTable {
  readonly #settings: ConntrackSettings;
  readonly #store: FlowStore;
  readonly #index = new FlowIndex();
  readonly #wheel: TimerWheel;
  readonly #established: EstablishedPass;
  readonly #ahead: ReadAhead;
  readonly #tuple = new PacketTuple();
  /** For tuples of entries, while `#tuple` is the packet's. */
  readonly #scratch = new PacketTuple();
  readonly #flow: Flow;
  readonly #grounds: EvictionGrounds;
  /** Seconds, never going back, and where rows that pass together have to stop. */
  readonly #clock: RowClock = { seconds: Number.NEGATIVE_INFINITY, until: 0 };
  #slot = NONE;
  #hold: (typeof HOLD)[keyof typeof HOLD] = HOLD.nothing;
  #isReply = false;
  #isFull = false;
  /** Slot that `recall` found. */
  #recalled = UNASKED;
  /** Second from which the garbage collector makes room, if it has to. */
  #pressureFrom = Number.POSITIVE_INFINITY;

  /** `rowsUntilLoops`: established segments after which they pass by WebAssembly; 0: at once. */
  constructor(options: ConntrackOptions = {}, rowsUntilLoops = ROWS_UNTIL_LOOPS) {
    const settings = conntrackSettings(options);
    this.#settings = settings;
    this.#store = new FlowStore(settings.maxEntries);
    this.#ahead = new ReadAhead(this.#index, this.#store);
    this.#wheel = new TimerWheel(this.#store, (slot) => {
      this.#unindex(slot);
      this.#store.release(slot);
    });
    this.#grounds = { store: this.#store, index: this.#index, buckets: settings.buckets };
    this.#flow = {
      words: this.#store.words,
      bytes: this.#store.bytes,
      at: 0,
      direction: ORIGINAL,
      now: 0,
      timeouts: timeoutTable(settings.timeouts),
      settings,
      why: "",
    };
    this.#established = new EstablishedPass({
      index: this.#index,
      store: this.#store,
      most: settings.maxEntries,
      rowsUntilLoops,
      flow: this.#flow,
      clock: this.#clock,
    });
  }

  /** Entries in the table. One whose time is up counts for at most another second. */
  get size(): number {
    return this.#store.live - (this.#hold === HOLD.pending || this.#hold === HOLD.dying ? 1 : 0);
  }

  /** Whether the last packet goes from the answering end to the one that opened. False when it has no entry. */
  get isReply(): boolean {
    return this.#isReply;
  }

  /** Whether the last packet has an entry, confirmed or not. */
  get isTracked(): boolean {
    return this.#hold !== HOLD.nothing;
  }

  /** Whether that entry is about to be made by it and waits for `confirm`. */
  get isPending(): boolean {
    return this.#hold === HOLD.pending;
  }

  /**
   * Whether the last packet would have needed an entry and there was no room. The kernel drops it on the spot, before any
   * later rule; `lookup` said "new" and `confirm` will say "table-full".
   */
  get isFull(): boolean {
    return this.#isFull;
  }

  /** Connection mark of the last packet's entry, unsigned; 0 when it has none. */
  get mark(): number {
    return this.#hold === HOLD.nothing ? 0 : (this.#store.words[this.#slot * FLOW_WORDS + WORD.mark] ?? 0) >>> 0;
  }

  set mark(value: number) {
    if (this.#hold !== HOLD.nothing) this.#store.words[this.#slot * FLOW_WORDS + WORD.mark] = value;
  }

  /** Never true: nothing here translates addresses. What `-m conntrack --ctstate SNAT,DNAT` asks for. */
  get isTranslated(): boolean {
    return false;
  }

  /**
   * Says what the packet is to the connections known, and lets it change them. Its time is `batch.time`, in seconds; a
   * time before that of the packet before counts as the same. A packet that was neither confirmed nor abandoned before is
   * abandoned.
   */
  lookup(batch: PacketBatch, row: number, zone = 0): CtState {
    return CT_STATES[this.lookupCode(batch, row, zone)] ?? "invalid";
  }

  /** `lookup` that answers with a `CT_STATE_CODE`, for those who keep columns. */
  lookupCode(batch: PacketBatch, row: number, zone: number): number {
    if (this.#hold !== HOLD.nothing || this.#isFull) this.#letGo();
    const time = batch.time[row] ?? 0;
    if (time > this.#clock.seconds) this.#advance(time);
    this.#flow.why = "";
    const protocol = batch.protocol[row] ?? 0;
    if (((batch.flags[row] ?? 0) & PACKET_FLAG.fragment) !== 0) return this.#lookupFragment(batch, row, zone);
    if (protocol === PROTOCOL.icmp || protocol === PROTOCOL.icmpv6) {
      const state = this.#lookupMessage(batch, row, zone);
      if (state !== UNDECIDED) return state;
    }
    if (this.#store.live > ENTRIES_WORTH_IT) this.#ahead.touch(batch, row);
    this.#tuple.load(batch, row, zone);
    return this.#meet(batch, row, this.#find(this.#tuple));
  }

  /**
   * What was left by `remember` with the entry of an ordinary packet in zone 0, for its direction; 0: nothing. A pure
   * question: time does not pass, so the entry may be one whose time is up.
   */
  recall(batch: PacketBatch, row: number): number {
    this.#recalled = UNASKED;
    const isFragment = ((batch.flags[row] ?? 0) & PACKET_FLAG.fragment) !== 0;
    if (isFragment || !isTrackedByPorts(batch.protocol[row] ?? 0)) return 0;
    if (this.#store.live > ENTRIES_WORTH_IT) this.#ahead.touch(batch, row);
    this.#tuple.load(batch, row, 0);
    const slot = this.#tuple.find(this.#index, this.#store);
    this.#recalled = slot;
    return slot === NONE ? 0 : (this.#store.words[slot * FLOW_WORDS + WORD.memo + this.#tuple.direction] ?? 0);
  }

  /** Whether `recall` searched for the entry of the last row and there was none. */
  get recalledNone(): boolean {
    return this.#recalled === NONE;
  }

  /** `lookupCode` in zone 0 for the row that was recalled last, which saves the search. */
  lookupRecalled(batch: PacketBatch, row: number): number {
    const recalled = this.#recalled;
    if (recalled === UNASKED) return this.lookupCode(batch, row, 0);
    if (this.#hold !== HOLD.nothing || this.#isFull) this.#letGo();
    const time = batch.time[row] ?? 0;
    if (time > this.#clock.seconds) this.#advance(time);
    this.#flow.why = "";
    // Time has passed since: the entry may be gone, but no other one can have come.
    const isThere = recalled !== NONE && this.#store.words[recalled * FLOW_WORDS + WORD.kind] === this.#tuple.kind;
    return this.#meet(batch, row, isThere ? this.#living(recalled) : NONE);
  }

  /**
   * In place of `lookupRecalled` and `abandon`, for a packet that is to be dropped if it begins a connection. To make its entry
   * and to lose it again would take longer than all else that is done about it. False: it may be something else, look it up.
   * `word`: left for packets of its direction, as long as they have no entry either; 0: none.
   */
  dropRecalled(batch: PacketBatch, row: number, word = 0): boolean {
    if (this.#recalled !== NONE) return false;
    const protocol = batch.protocol[row] ?? 0;
    const flags = batch.tcpFlags[row] ?? 0;
    const begins = protocol === PROTOCOL.tcp ? surelyBegins(flags, this.#settings) : protocol === PROTOCOL.udp;
    if (!begins) return false;
    if (this.#hold !== HOLD.nothing || this.#isFull) this.#letGo();
    this.comeTo(batch.time[row] ?? 0);
    if (this.#store.live >= this.#settings.maxEntries) return false;
    if (word !== 0) this.#established.rememberRefused(this.#tuple, batch, row, word);
    return true;
  }

  /** Leaves a word with the entry of the last packet, for packets of its direction, until the entry goes. */
  remember(word: number): void {
    if (this.#hold !== HOLD.known) return;
    this.#store.words[this.#slot * FLOW_WORDS + WORD.memo + this.#flow.direction] = word;
  }

  /** Takes back every word left. */
  forgetRemembered(): void {
    const { words, slots } = this.#store;
    this.#established.forgetRefused();
    for (let at = WORD.memo; at < slots * FLOW_WORDS; at += FLOW_WORDS) words[at] = words[at + 1] = 0;
  }

  /** The packet of `#tuple` meets its entry, or begins one. */
  #meet(batch: PacketBatch, row: number, slot: number): number {
    if (slot === NONE) return this.#begin(batch, row);
    this.#take(slot, this.#tuple);
    if (batch.protocol[row] === PROTOCOL.tcp && passSegment(this.#flow, batch, row)) {
      this.#established.count();
      this.#rehang(slot);
      return CT_STATE_CODE.established;
    }
    return this.#follow(batch, row, slot);
  }

  /**
   * Looks at rows from `from` on, up to `to`, and lets those pass that are what most packets are: segments of established
   * connections that remember something of packets in their context, and such as `dropRecalled` dropped. It is as if each had
   * been looked up and confirmed, or dropped, in its turn. The others are left: they are to be looked up next, in their order, each
   * after `comeTo` the seconds before it, and at the end comes `comeTo` the seconds after all. Undefined: no rows were looked at.
   */
  passEstablished(
    batch: PacketBatch,
    from: number,
    to: number,
    contexts: RememberedContexts,
  ): EstablishedLoops | undefined {
    if (!this.#established.isWorthTrying(batch, from, to)) return undefined;
    const rows = this.#established.pass(batch, from, to, contexts);
    if (rows === undefined || rows.looked === 0) return undefined;
    if (this.#hold !== HOLD.nothing || this.#isFull) this.#letGo();
    for (let index = 0; index < rows.unhungCount; index++) this.#rehang(rows.unhungSlot(index));
    this.#ahead.skip(batch, from, from + rows.looked);
    return rows;
  }

  /** So much time has passed at least. */
  comeTo(seconds: number): void {
    if (seconds > this.#clock.seconds) this.#advance(seconds);
  }

  /** The tracker decides what the packet does to its entry. */
  #follow(batch: PacketBatch, row: number, slot: number): number {
    const seenReply = statusOf(this.#flow) & STATUS.seenReply;
    const outcome = track(this.#flow, batch, row);
    switch (outcome) {
      case OUTCOME.accept:
        this.#rehang(slot);
        break;
      case OUTCOME.invalid:
        this.#rehang(slot);
        this.#letGo();
        return CT_STATE_CODE.invalid;
      case OUTCOME.destroy:
        this.#unlink(slot);
        break;
      case OUTCOME.restart:
        this.#unlink(slot);
        this.#letGo();
        return this.#begin(batch, row);
    }
    if (!this.#isReply) return seenReply === 0 ? CT_STATE_CODE.new : CT_STATE_CODE.established;
    if (seenReply === 0) addStatus(this.#flow, STATUS.seenReply);
    return CT_STATE_CODE.established;
  }

  /** The packet has passed: the entry that it makes is in the table from now on. */
  confirm(): Confirmation {
    if (this.#isFull) return "table-full";
    if (this.#hold !== HOLD.pending) return "confirmed";
    addStatus(this.#flow, STATUS.confirmed);
    this.#index.insert(this.#tuple.hash, this.#slot);
    this.#wheel.hang(this.#slot);
    this.#hold = HOLD.known;
    return "confirmed";
  }

  /** The packet was dropped: if it was about to make an entry, that is forgotten. */
  abandon(): void {
    if (this.#hold === HOLD.pending) this.#letGo();
  }

  /** Why the last packet is what it is, for people. */
  lastWhy(): string {
    if (this.#flow.why !== "") return this.#flow.why;
    if (this.#hold === HOLD.nothing) return "no entry";
    if (this.#hold === HOLD.pending) return "no entry: new";
    const entry = readEntry(this.#store, this.#slot, { tuple: this.#scratch, now: this.#flow.now });
    const which = `${this.#isReply ? "reply" : "same direction"} of ${formatFlow(entry)}`;
    return this.#hold === HOLD.dying ? `${which}, which it ends` : which;
  }

  /** A copy of everything between two packets, to go on from later. */
  save(): ConntrackState {
    if (this.#hold !== HOLD.nothing || this.#isFull) this.#letGo();
    return { ...saveParts(this.#parts()), time: this.#clock.seconds, pressureFrom: this.#pressureFrom };
  }

  /** Goes on from a copy made under the same settings; what was known before, and what was remembered, is forgotten. */
  restore(state: ConntrackState): void {
    this.flush();
    restoreParts(this.#parts(), state);
    this.#clock.seconds = state.time;
    this.#flow.now = Math.round(state.time * 1000) | 0;
    this.#pressureFrom = state.pressureFrom;
    this.forgetRemembered();
  }

  #parts(): ConntrackParts {
    return { store: this.#store, index: this.#index, wheel: this.#wheel };
  }

  /** Forgets everything, the time included. */
  flush(): void {
    this.#store.clear();
    this.#index.clear();
    this.#clock.seconds = Number.NEGATIVE_INFINITY;
    this.#pressureFrom = Number.POSITIVE_INFINITY;
    this.#hold = HOLD.nothing;
    this.#isFull = this.#isReply = false;
    this.#slot = NONE;
  }

  /** `conntrack -G`: the living entry that has the tuple in either direction. */
  entry(tuple: FlowTuple): ConntrackEntry | undefined {
    const scratch = new PacketTuple();
    scratch.loadTuple(tuple);
    const slot = scratch.find(this.#index, this.#store);
    if (slot === NONE || this.#isExpired(slot)) return undefined;
    return readEntry(this.#store, slot, { tuple: scratch, now: this.#flow.now });
  }

  /** `conntrack -D`: removes the entry that has the tuple in either direction. False when there is none. */
  delete(tuple: FlowTuple): boolean {
    this.#scratch.loadTuple(tuple);
    const slot = this.#find(this.#scratch);
    if (slot === NONE) return false;
    this.#unlink(slot);
    if (this.#hold !== HOLD.dying || this.#slot !== slot) this.#store.release(slot);
    return true;
  }

  /** Lets it become `now` (seconds) and removes every entry whose time is up. */
  expire(now: number): void {
    if (this.#hold === HOLD.known) this.#letGo();
    if (now > this.#clock.seconds) this.#advance(now);
    this.#wheel.sweepSecond();
  }

  /** The living entries, in no particular order. The table must not change meanwhile. */
  *entries(): Generator<ConntrackEntry> {
    const tuple = new PacketTuple();
    for (let slot = 0; slot < this.#store.slots; slot++) {
      const at = slot * FLOW_WORDS;
      const isThere = isInUse(this.#store.words[at + WORD.kind] ?? 0);
      const isConfirmed = ((this.#store.bytes[at * 4 + BYTE.status] ?? 0) & STATUS.confirmed) !== 0;
      if (!isThere || !isConfirmed || this.#isExpired(slot)) continue;
      yield readEntry(this.#store, slot, { tuple, now: this.#flow.now });
    }
  }

  /* ------------------------------------------------ Packets ------------------------------------------------------ */

  /** No entry, or none any more: one is prepared, and the tracker says whether the packet may start it. */
  #begin(batch: PacketBatch, row: number): number {
    const tuple = this.#tuple;
    if (!tuple.hasReply) {
      this.#flow.why = "ICMP message that neither asks nor answers";
      return CT_STATE_CODE.invalid;
    }
    if (this.#store.live >= this.#settings.maxEntries && !this.#makeRoom(tuple.hash)) {
      this.#flow.why = "table full";
      this.#isFull = true;
      return CT_STATE_CODE.new;
    }
    const slot = this.#store.allocate();
    tuple.write(this.#store, slot);
    tuple.direction = ORIGINAL;
    this.#take(slot, tuple);
    this.#hold = HOLD.pending;
    if (track(this.#flow, batch, row) === OUTCOME.accept) return CT_STATE_CODE.new;
    this.#letGo();
    return CT_STATE_CODE.invalid;
  }

  /** Errors belong to the entry of the packet they quote, if they go to whoever sent that packet. */
  #lookupMessage(batch: PacketBatch, row: number, zone: number): number {
    const protocol = batch.protocol[row] ?? 0;
    const type = batch.icmpType[row] ?? 0;
    const isForeign = (protocol === PROTOCOL.icmp) !== (batch.family[row] === 4);
    switch (isForeign ? "conversation" : protocol === PROTOCOL.icmp ? icmpClass(type) : icmpv6Class(type)) {
      case "conversation":
        return UNDECIDED;
      case "untracked":
        this.#flow.why = "neighbour or multicast listener discovery";
        return CT_STATE_CODE.untracked;
      case "unknown":
        this.#flow.why = "ICMP type that the kernel does not know";
        return CT_STATE_CODE.invalid;
      case "error":
        break;
    }
    const quoted = batch.quoted.get(row);
    if (quoted === undefined || quoted.source.family !== batch.family[row]) {
      this.#flow.why = "ICMP error that quotes nothing";
      return CT_STATE_CODE.invalid;
    }
    const tuple = this.#tuple;
    tuple.loadTuple({ ...quoted, icmpId: batch.icmpId[row] ?? 0, zone });
    const slot = tuple.hasReply ? this.#find(tuple) : NONE;
    if (slot === NONE) {
      this.#flow.why = "ICMP error about an unknown connection";
      return CT_STATE_CODE.invalid;
    }
    if (!goesTo(batch, row, quoted.source)) {
      this.#flow.why = "ICMP error to somebody else than it is about";
      return CT_STATE_CODE.invalid;
    }
    this.#take(slot, tuple);
    this.#isReply = !this.#isReply; // it goes against the packet that it quotes
    this.#flow.why = `ICMP error about ${formatFlow(readEntry(this.#store, slot, { tuple: this.#scratch, now: this.#flow.now }))}`;
    return CT_STATE_CODE.related;
  }

  /** A later fragment follows its datagram and changes nothing. */
  #lookupFragment(batch: PacketBatch, row: number, zone: number): number {
    this.#tuple.load(batch, row, zone);
    const slot = this.#find(this.#tuple);
    if (slot === NONE) {
      this.#flow.why = "fragment of a datagram whose start was not seen";
      return CT_STATE_CODE.invalid;
    }
    this.#take(slot, this.#tuple);
    const isNew = !this.#isReply && (statusOf(this.#flow) & STATUS.seenReply) === 0;
    return isNew ? CT_STATE_CODE.new : CT_STATE_CODE.established;
  }

  /* ------------------------------------------------ Entries ------------------------------------------------------ */

  /** The slot of the living entry with that tuple, `NONE` if there is none. */
  #find(tuple: PacketTuple): number {
    return this.#living(tuple.find(this.#index, this.#store));
  }

  /** The slot found, unless the time of its entry is up: that one goes. */
  #living(slot: number): number {
    if (slot === NONE || !this.#isExpired(slot)) return slot;
    this.#remove(slot);
    return NONE;
  }

  #isExpired(slot: number): boolean {
    return (((this.#store.words[slot * FLOW_WORDS + WORD.deadline] ?? 0) - this.#flow.now) | 0) <= 0;
  }

  /** The entry in `slot` is that of the packet under way. */
  #take(slot: number, tuple: PacketTuple): void {
    const flow = this.#flow;
    this.#useStore();
    flow.at = slot * FLOW_WORDS;
    flow.direction = tuple.direction;
    this.#slot = slot;
    this.#hold = HOLD.known;
    this.#isReply = tuple.direction === REPLY;
  }

  /** The packet under way is done, or has no entry. */
  #letGo(): void {
    if (this.#hold === HOLD.pending || this.#hold === HOLD.dying) this.#store.release(this.#slot);
    this.#hold = HOLD.nothing;
    this.#isReply = false;
    this.#isFull = false;
  }

  /** The store may have moved to other memory. */
  #useStore(): void {
    const flow = this.#flow;
    if (flow.words === this.#store.words) return;
    flow.words = this.#store.words;
    flow.bytes = this.#store.bytes;
  }

  /** Keeps the wheel's promise after a deadline may have moved. */
  #rehang(slot: number): void {
    const { words } = this.#store;
    const at = slot * FLOW_WORDS;
    if ((((words[at + WORD.deadline] ?? 0) - (words[at + WORD.visit] ?? 0)) | 0) >= 0) return;
    this.#wheel.unhook(slot);
    this.#wheel.hang(slot);
  }

  /** Takes an entry out of the table; its slot stays. */
  #unlink(slot: number): void {
    this.#wheel.unhook(slot);
    this.#unindex(slot);
    if (this.#slot === slot && this.#hold === HOLD.known) this.#hold = HOLD.dying;
  }

  #unindex(slot: number): void {
    this.#scratch.read(this.#store, slot);
    this.#index.remove(this.#scratch.hash, slot);
    const status = slot * FLOW_BYTES + BYTE.status;
    this.#store.bytes[status] = (this.#store.bytes[status] ?? 0) & ~STATUS.confirmed;
  }

  /* ------------------------------------------------ Time and room ------------------------------------------------ */

  #advance(time: number): void {
    const milliseconds = Math.round(time * 1000);
    this.#flow.now = milliseconds | 0;
    this.#clock.seconds = time;
    if (this.#store.live === 0) this.#wheel.start(milliseconds);
    else this.#wheel.advance(milliseconds);
    if (time >= this.#pressureFrom) this.#relieve();
  }

  /** Evicts entries for one with that hash. False when nobody can be. */
  #makeRoom(hash: number): boolean {
    const victims = earlyDropVictims(this.#grounds, hash);
    for (const slot of victims) this.#remove(slot);
    if (victims.length > 0) return true;
    if (this.#pressureFrom === Number.POSITIVE_INFINITY) {
      this.#pressureFrom = (Math.floor(this.#clock.seconds / PRESSURE_SECONDS) + 1) * PRESSURE_SECONDS;
    }
    return false;
  }

  /** The garbage collector's share, after packets had to go for want of room. */
  #relieve(): void {
    this.#pressureFrom = Number.POSITIVE_INFINITY;
    const level = pressureLevel(this.#settings.maxEntries);
    if (level === 0) return;
    for (const slot of pressureVictims(this.#grounds)) {
      if (this.#store.live < level) return;
      this.#remove(slot);
    }
  }

  #remove(slot: number): void {
    this.#unlink(slot);
    this.#store.release(slot);
  }
}
