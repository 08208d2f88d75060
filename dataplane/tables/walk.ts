/**
 * The walk of a packet through the hooks of one node: netfilter's order of tables, its chains and its rules.
 *
 * One evaluator serves the fast run and the trace: with a sink it also says what it does. It is the readable meaning of
 * a program, which every faster engine is compared with.
 */

import type { Family } from "../address.ts";
import { NO_QUESTION } from "../classes/setAnswers.ts";
import type { EstablishedResults } from "../conntrack/establishedLoops.ts";
import type { RememberedContexts } from "../conntrack/tcpEstablished.ts";
import { CurrentPacket } from "../currentPacket.ts";
import { type DeviceTable, NO_DEVICE } from "../devices.ts";
import { NO_BATCH, PATH, type PacketBatch } from "../packet.ts";
import type { Hook, Match, TableName, TableProgram } from "../program.ts";
import { DECISION, type DecisionMeaning, NO_RESULTS, type ResultBatch } from "../result.ts";
import type { NodeRoutes } from "../routes.ts";
import type { TraceSink } from "../trace.ts";
import { CT_STATE_CODE, CT_STATES, VERDICT_CODE } from "../verdict.ts";
import { HEAD, HEAD_WORDS, nextHeadMatch } from "./headIndex.ts";
import { ACTION, builtInChains, type LoadedChain, type LoadedTables, loadTables } from "./load.ts";
import { hideDevices, WAYS } from "./ways.ts";

/** A built-in chain on a packet's way. */
interface HookCall {
  readonly hook: Hook;
  readonly table: TableName;
  readonly start: number;
}

/** The built-in chains before and after connection tracking. */
interface Way {
  readonly before: readonly HookCall[];
  readonly after: readonly HookCall[];
}

/** What became of rows that were looked at together. */
export interface PassedRows {
  /** How many they are. */
  readonly looked: number;
  /** By row: the outcome that was left with the connection, or by `dropRecalled`; anything for a row that was left. */
  readonly results: EstablishedResults;
  /** So many were left: which, and the seconds to come to before each; the seconds to come to in the end. */
  readonly leftCount: number;
  readonly left: Int32Array;
  readonly leftSeconds: Float64Array;
  readonly seconds: number;
  /** So many were dropped: which, and the words left by `dropRecalled`. */
  readonly refusedCount: number;
  readonly refused: Int32Array;
  readonly refusals: Int32Array;
}

/** What the walk asks of connection tracking (conntrack.ts): one packet at a time, looked up, then kept or dropped. */
export interface Connections {
  /** The `CT_STATE_CODE` of a packet, as nf_conntrack_in finds it before any rule of mangle, nat or filter. */
  lookupCode(batch: PacketBatch, row: number, zone: number): number;
  /**
   * A word that was left with the packet's connection in zone 0 for its direction (`remember`); 0: none. Changes nothing.
   * If the packet is looked up next, in zone 0, `lookupRecalled` is a `lookupCode` that need not search again.
   */
  recall(batch: PacketBatch, row: number): number;
  lookupRecalled(batch: PacketBatch, row: number): number;
  /**
   * If the packet recalled last would be new, with an entry of its own, it is looked up and abandoned, and the word is left for
   * packets of its direction (0: none is). False: it is to be looked up.
   */
  dropRecalled(batch: PacketBatch, row: number, word: number): boolean;
  /** Whether `recall` searched for the packet's connection and there was none. */
  readonly recalledNone: boolean;
  /**
   * Of rows from `from` on, before `to`, those that are established segments whose connections remember something of
   * packets in the row's context are looked up and confirmed; such as left a word when they were dropped are dropped again. The
   * others of so many rows are left, to be looked up next.
   */
  passEstablished(batch: PacketBatch, from: number, to: number, contexts: RememberedContexts): PassedRows | undefined;
  /** Before each row that was left, and after the last: the time is that of rows which passed before. */
  comeTo(seconds: number): void;
  /** Leaves a word with the connection of the packet looked up last, for packets of its direction. */
  remember(word: number): void;
  /** No such word is known any more. */
  forgetRemembered(): void;
  /** Of the packet looked up last: whether it has an entry, */
  readonly isTracked: boolean;
  /** whether that entry is new with it and waits for `confirm`, */
  readonly isPending: boolean;
  /** or whether it found no room for one, and is dropped on the spot. */
  readonly isFull: boolean;
  /** CONNMARK of its entry. */
  mark: number;
  /** Why its state is what it is, for people. */
  lastWhy(): string;
  /** It got through: a new entry is in the table from now on. */
  confirm(): void;
  /** It did not get through: a new entry is forgotten. */
  abandon(): void;
}

/** What the walk of one node stands on. */
export interface WalkSurroundings {
  readonly devices: DeviceTable;
  readonly routes: NodeRoutes;
  readonly connections: Connections;
}

/** Hears what a walk asks of its packet, and what it is told (classes/answerTree.ts). Changes nothing. */
export interface WalkListener {
  /** Of the heads from a slot on, that of `found` was the first to hold. */
  head(slot: number, found: number): void;
  /** A match held or did not. `question`: as in `MatchTable.asked`. */
  match(record: number, question: number, holds: boolean): void;
}

/** What `prepare` says: the packet is gone, goes on without a connection, or is to be looked up. */
export const PREPARATION = { refused: 0, untracked: 1, tracked: 2 } as const;
export type Preparation = (typeof PREPARATION)[keyof typeof PREPARATION];

/** In place of a row: none. */
const NO_ROW = -1;

/** In place of a `CT_STATE_CODE`: the walk itself asks connection tracking. */
const NOT_LOOKED_UP = -1;

/** `failedRecord` of a rule that matched, and of one that failed in its head columns. */
const MATCHED = -1;
const FAILED_IN_HEAD = -2;

/**
 * Walks packets through a loaded table program. `attach` names the batch, the results and the listener; `run` then
 * walks one row. Nothing is allocated per packet unless somebody listens.
 */
export class TableWalker {
  readonly #node: string;
  readonly #tables: LoadedTables;
  readonly #connections: Connections;
  readonly #ways: readonly [ipv4: readonly Way[], ipv6: readonly Way[]];
  readonly #packet = new CurrentPacket();
  /** Slots to go on at after the chains being walked. */
  readonly #stack: Int32Array;
  #batch: PacketBatch = NO_BATCH;
  #results: ResultBatch = NO_RESULTS;
  #sink: TraceSink | undefined;
  /** Who hears what the walks of packets ask; costs them time. */
  listener: WalkListener | undefined;
  /** The row that `prepare` took in and nobody walked yet, or `NO_ROW`; and the slot at which its walk goes on. */
  #preparedRow = NO_ROW;
  #preparedSlot = 0;
  #zone = 0;
  /** Whether NOTRACK or CT has spoken: the first one counts (xt_ct_target). */
  #trackingChosen = false;
  /** Whether what the packet belongs to is the template of CT, and no connection yet. */
  #hasTemplate = false;
  #rules = 0;
  #chains = 0;

  constructor(program: TableProgram, surroundings: WalkSurroundings) {
    this.#node = program.node;
    this.#connections = surroundings.connections;
    this.#tables = loadTables(program, surroundings);
    const builtIn = builtInChains(this.#tables);
    this.#ways = [waysOf(builtIn, 4), waysOf(builtIn, 6)];
    this.#stack = new Int32Array(this.#tables.stackDepth);
  }

  /** Names the columns to read and write until the next call, and who listens. */
  attach(batch: PacketBatch, results: ResultBatch, sink: TraceSink | undefined): void {
    this.#batch = batch;
    this.#results = results;
    this.#sink = sink;
    this.#preparedRow = NO_ROW;
  }

  /** Walks rows `from` (inclusive) to `to` (exclusive) of the attached batch. */
  runRows(from: number, to: number): void {
    for (let row = from; row < to; row++) this.run(row);
  }

  /** Walks one row of the attached batch and writes its results. */
  run(row: number): void {
    this.#walk(row, NOT_LOOKED_UP);
  }

  /** Walks a row that was looked up already, in the zone that `prepare` left, and is what `state` says. */
  resume(row: number, state: number): void {
    this.#walk(row, state);
  }

  /**
   * What the chains before connection tracking say of a row. Changes neither connections nor results; if the row is walked
   * next, its walk goes on from there.
   */
  prepare(row: number): Preparation {
    this.#preparedSlot = this.#begin(row);
    this.#preparedRow = row;
    if (!this.#passes(this.#preparedSlot)) return PREPARATION.refused;
    return this.#packet.ctState === CT_STATE_CODE.untracked ? PREPARATION.untracked : PREPARATION.tracked;
  }

  /** The zone in which the last packet is, or is to be, looked up. */
  get zone(): number {
    return this.#zone;
  }

  /** The packet under the walker's eyes: who knows answers about the addresses of the next one names them there. */
  get packet(): CurrentPacket {
    return this.#packet;
  }

  /** Mark of the last packet's connection after the walk. */
  get connmark(): number {
    return this.#packet.connmark;
  }

  /** The limits that the last packet was held to, as records of `LoadedTables.matches`. */
  get limits(): readonly number[] {
    return this.#packet.limits;
  }

  /** What the program was loaded into. */
  get tables(): LoadedTables {
    return this.#tables;
  }

  /** All of the way, or what is left of it when connection tracking has already spoken. */
  #walk(row: number, known: number): void {
    const packet = this.#packet;
    this.#results.conntrackLookups[row] = 0;
    let slot = row === this.#preparedRow ? this.#preparedSlot : this.#begin(row);
    this.#preparedRow = NO_ROW;
    if (!this.#passes(slot)) packet.ctState = CT_STATE_CODE.untracked;
    else if (this.#track(row, known) === "no room") slot = DECISION.tableFull;
    else slot = this.#callHooks(this.#wayOf(row).after, row, slot);
    this.#finish(row, slot);
  }

  /** Takes the packet in and calls what comes before connection tracking. */
  #begin(row: number): number {
    const packet = this.#packet;
    packet.load(this.#batch, row);
    this.#tables.headIndex.forget();
    // Before conntrack has seen a packet it has no connection, which is what matches call invalid (conntrack_mt).
    packet.ctState = CT_STATE_CODE.invalid;
    packet.tracked = false;
    this.#zone = 0;
    this.#trackingChosen = false;
    this.#hasTemplate = false;
    this.#rules = 0;
    this.#chains = 0;
    return this.#callHooks(this.#wayOf(row).before, row, DECISION.none);
  }

  #wayOf(row: number): Way {
    const way = this.#ways[this.#batch.family[row] === 4 ? 0 : 1][this.#batch.path[row] ?? PATH.forward];
    if (way === undefined) throw new RangeError(`packet ${row} has path ${this.#batch.path[row]}`);
    return way;
  }

  /** What a decision number of the results means. */
  decision(slot: number): DecisionMeaning {
    if (slot === DECISION.none) return { decision: undefined, reason: undefined };
    if (slot === DECISION.tableFull) return { decision: undefined, reason: "table-full" };
    const chain = this.#chainOf(slot);
    const number = slot - chain.start + 1;
    const origin = chain.rules[number - 1]?.origin;
    return {
      decision: { kind: "rule", node: this.#node, table: chain.table, chain: chain.name, rule: number, origin },
      reason: this.#tables.reasons[slot],
    };
  }

  /**
   * Calls built-in chains in order until one does not let the packet pass. Returns the slot that decided: the one that
   * ended the packet, else the one by which the filter table accepted, else (no filter table here) the last table's.
   */
  #callHooks(calls: readonly HookCall[], row: number, before: number): number {
    let decided = before;
    let decidedByFilter = false;
    for (let index = 0; index < calls.length; index++) {
      const call = calls[index];
      if (call === undefined) break;
      if (call.table === "nat" && !(this.#packet.tracked && this.#connections.isPending)) continue;
      this.#seeDevices(call.hook, row);
      const slot = this.#walkChain(call.start);
      if (!this.#passes(slot)) return slot;
      if (decidedByFilter) continue;
      decided = slot;
      decidedByFilter = call.table === "filter";
    }
    return decided;
  }

  /** Whether a packet whose walk ended in the slot goes on to the next table. */
  #passes(slot: number): boolean {
    if (slot === DECISION.none) return true;
    const action = this.#tables.action[slot];
    return action === ACTION.accept || action === ACTION.policyAccept || action === ACTION.nat;
  }

  /** The devices that netfilter shows at a hook. A bridged packet has its ports from br_netfilter. */
  #seeDevices(hook: Hook, row: number): void {
    const packet = this.#packet;
    const batch = this.#batch;
    packet.inDevice = batch.inDevice[row] ?? NO_DEVICE;
    packet.outDevice = batch.outDevice[row] ?? NO_DEVICE;
    packet.physInDevice = batch.physInDevice[row] ?? NO_DEVICE;
    packet.physOutDevice = batch.physOutDevice[row] ?? NO_DEVICE;
    hideDevices(packet, hook);
  }

  /** Connection tracking between raw and the other tables. */
  #track(row: number, known: number): "done" | "no room" {
    const packet = this.#packet;
    if (packet.ctState === CT_STATE_CODE.untracked) {
      this.#sink?.step({ kind: "conntrack", node: this.#node, state: "untracked", why: "a rule says NOTRACK" });
      return "done";
    }
    this.#hasTemplate = false;
    const looksUp = known === NOT_LOOKED_UP;
    const code = looksUp ? this.#connections.lookupCode(this.#batch, row, this.#zone) : known;
    packet.ctState = code;
    packet.tracked = this.#connections.isTracked;
    packet.connmark = packet.tracked ? this.#connections.mark | 0 : 0;
    this.#results.conntrackLookups[row] = 1;
    if (this.#sink !== undefined) {
      const state = CT_STATES[code] ?? "invalid";
      this.#sink.step({ kind: "conntrack", node: this.#node, state, why: this.#connections.lastWhy() });
    }
    return this.#connections.isFull ? "no room" : "done";
  }

  /** Walks one built-in chain and returns the slot that ended it: a rule, or the chain's policy. */
  #walkChain(start: number): number {
    const { heads, headIndex, matches, action, a, b } = this.#tables;
    const packet = this.#packet;
    const stack = this.#stack;
    const tracing = this.#sink !== undefined;
    const { listener } = this;
    // Most of what policies test is whether an address is in a set, which classes have answered already.
    const { asked } = matches;
    const isAnswered = (packet.sourceAnswers | packet.destinationAnswers) >= 0;
    const builtIn = this.#chainOf(start);
    const policySlot = builtIn.start + builtIn.rules.length;
    let depth = 0;
    let rules = 0;
    this.#chains++;
    for (let slot = start; ; ) {
      const next = nextHeadMatch(heads, slot, packet, headIndex);
      rules += next - slot + 1;
      if (listener !== undefined) listener.head(slot, next);
      if (tracing) for (; slot < next; slot++) this.#traceRule(slot, FAILED_IN_HEAD);
      slot = next;
      let record = heads[slot * HEAD_WORDS + HEAD.matchStart] ?? 0;
      const end = heads[slot * HEAD_WORDS + HEAD.matchEnd] ?? 0;
      for (; record < end; record++) {
        const question = isAnswered ? (asked[record] ?? NO_QUESTION) : NO_QUESTION;
        const holds = question < 0 ? matches.test(record, packet) : matches.testAnswered(question, packet);
        if (listener !== undefined) listener.match(record, question, holds);
        if (!holds) break;
      }
      if (record < end) {
        if (tracing) this.#traceRule(slot, record);
        slot++;
        continue;
      }
      if (tracing) this.#traceRule(slot, MATCHED);
      switch (action[slot]) {
        case ACTION.pass:
        case ACTION.unknownPass:
          slot++;
          continue;
        case ACTION.jump:
          stack[depth++] = slot + 1;
          slot = a[slot] ?? 0;
          this.#chains++;
          continue;
        case ACTION.goto: // leaves no place to come back to: the end of that chain goes on where this one would
          slot = a[slot] ?? 0;
          this.#chains++;
          continue;
        case ACTION.chainEnd:
          rules--;
          slot = depth === 0 ? policySlot : (stack[--depth] ?? 0);
          continue;
        case ACTION.return:
          slot = depth === 0 ? policySlot : (stack[--depth] ?? 0);
          continue;
        case ACTION.mark:
          packet.mark = (packet.mark & ~(b[slot] ?? 0)) ^ (a[slot] ?? 0);
          slot++;
          continue;
        case ACTION.connmarkSet:
        case ACTION.connmarkSave:
        case ACTION.connmarkRestore:
        case ACTION.notrack:
        case ACTION.ctZone:
          this.#applyToConnection(slot);
          slot++;
          continue;
        case ACTION.policyAccept:
        case ACTION.policyDrop:
          this.#rules += rules - 1;
          return slot;
        case ACTION.accept:
        case ACTION.drop:
        case ACTION.reject:
        case ACTION.nat:
        case ACTION.unknown:
          this.#rules += rules;
          return slot;
        default:
          throw new Error(`slot ${slot} has action ${action[slot]}`);
      }
    }
  }

  /** CONNMARK, NOTRACK and CT: targets about the connection, after which the packet goes on. */
  #applyToConnection(slot: number): void {
    const packet = this.#packet;
    const { action, a, b } = this.#tables;
    const value = a[slot] ?? 0;
    const mask = b[slot] ?? 0;
    switch (action[slot]) {
      case ACTION.notrack:
        if (!this.#trackingChosen) packet.ctState = CT_STATE_CODE.untracked;
        this.#trackingChosen = true;
        return;
      case ACTION.ctZone:
        if (this.#trackingChosen) return;
        this.#trackingChosen = true;
        this.#zone = value;
        // The template that carries the zone is a connection to those who look (nf_ct_set(…, IP_CT_NEW)), with a mark of
        // its own. That one template serves all packets, so that a mark set on it would stay, is not modelled.
        this.#hasTemplate = true;
        packet.ctState = CT_STATE_CODE.new;
        packet.tracked = true;
        packet.connmark = 0;
        return;
      default:
        if (packet.tracked) this.#applyConnmark(action[slot] ?? ACTION.connmarkSet, value, mask);
    }
  }

  #applyConnmark(operation: number, value: number, mask: number): void {
    const packet = this.#packet;
    if (operation === ACTION.connmarkRestore) {
      packet.mark = (packet.mark & ~mask) ^ (packet.connmark & mask);
      return;
    }
    const added = operation === ACTION.connmarkSet ? value : packet.mark & mask;
    packet.connmark = (packet.connmark & ~mask) ^ added;
    if (!this.#hasTemplate) this.#connections.mark = packet.connmark;
  }

  #finish(row: number, decided: number): void {
    const packet = this.#packet;
    const results = this.#results;
    const verdict = this.#verdictOf(decided);
    if (packet.tracked && !this.#hasTemplate) {
      if (verdict === VERDICT_CODE.accept) this.#connections.confirm();
      else this.#connections.abandon();
    }
    results.verdict[row] = verdict;
    results.ctState[row] = packet.ctState;
    results.decision[row] = decided;
    results.rules[row] = this.#rules;
    results.chains[row] = this.#chains;
    results.setLookups[row] = packet.setLookups;
    results.mapLookups[row] = 0;
    results.trieLookups[row] = 0;
  }

  #verdictOf(slot: number): number {
    if (this.#passes(slot)) return VERDICT_CODE.accept;
    const action = this.#tables.action[slot];
    if (action === ACTION.unknown) return VERDICT_CODE.unknown;
    return action === ACTION.reject ? VERDICT_CODE.reject : VERDICT_CODE.drop;
  }

  #chainOf(slot: number) {
    const chain = this.#tables.chains[this.#tables.chainOf[slot] ?? -1];
    if (chain === undefined) throw new RangeError(`slot ${slot} is in no chain`);
    return chain;
  }

  /** Tells the listener about a slot; `failedRecord` is the match record that did not hold. */
  #traceRule(slot: number, failedRecord: number): void {
    const sink = this.#sink;
    if (sink === undefined) return;
    if (failedRecord !== MATCHED && sink.detail === "matches") return;
    const chain = this.#chainOf(slot);
    const number = slot - chain.start + 1;
    const place = { node: this.#node, table: chain.table, chain: chain.name, number };
    const rule = chain.rules[number - 1];
    if (rule === undefined) {
      sink.step({ kind: "chainEnd", ...place, policy: chain.policy });
      return;
    }
    const failed = this.#failedMatch(slot, failedRecord, rule.matches);
    if (failed !== undefined && sink.detail === "matches") return;
    sink.step({ kind: "rule", ...place, rule, failed, mark: this.#packet.mark >>> 0 });
  }

  #failedMatch(slot: number, failedRecord: number, ruleMatches: readonly Match[]): Match | undefined {
    const { matches, headStart, action } = this.#tables;
    if (failedRecord === MATCHED) {
      if (action[slot] !== ACTION.unknownPass) return undefined;
      return ruleMatches.find(({ kind }) => kind === "opaque");
    }
    let record = failedRecord;
    // The columns say that the rule failed, not where: its header records do, which come first.
    if (record === FAILED_IN_HEAD) {
      for (record = headStart[slot] ?? 0; matches.test(record, this.#packet); record++);
    }
    return ruleMatches[matches.matchIndex(record)];
  }
}

function waysOf(builtIn: readonly LoadedChain[], family: Family): readonly Way[] {
  return WAYS.map((hooks) => {
    const way = { before: [] as HookCall[], after: [] as HookCall[] };
    for (const [hook, tableNames] of hooks) {
      for (const table of tableNames) {
        const chain = builtIn.find((one) => one.name === hook && one.table === table && one.family === family);
        if (chain !== undefined) way[table === "raw" ? "before" : "after"].push({ hook, table, start: chain.start });
      }
    }
    return way;
  });
}
