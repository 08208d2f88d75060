/**
 * The fast path of table programs: walk one packet of each kind, remember what came of it.
 *
 * Naively, every packet walks its chains: thousands of rules on a busy node, although packets fall into few kinds. One
 * could remember the outcome of each five-tuple, but five-tuples are as many as connections, and the next one is new. A
 * program, however, asks little of a packet: whether its source is in this set, whether its port is 80. So each field is
 * partitioned into classes that no match of the program can tell apart (programClasses.ts), a packet becomes a tuple of
 * class numbers, and the outcome of a tuple is walked once. Open vSwitch's megaflows (lib/classifier.h) serve the same
 * end from the other side: they find out during a walk which bits it looked at and widen the tuple by those it did not.
 * That needs no knowledge of the program in advance, but a look-up for every combination of bits that ever occurred;
 * classes take one.
 *
 * The scheme, for a packet that nobody listens to:
 *
 *     fields --classes--> tuple --hash--> kind of packet --+
 *     connection tracking ---------> state, mark ----------+--> outcome: verdict, deciding slot, work, mark
 *
 * The tuple holds all that a chain can read before connection tracking has spoken: addresses, ports or ICMP message, protocol,
 * TCP flags, fragment, devices, path, family, packet mark. Of a kind is known whether raw tables refuse it or keep it from
 * being tracked, and in which zone it is. What tracking says then picks the outcome: the state, whether the entry is new
 * with the packet (nat is walked only then) and, if the program asks for it, the mark of the connection. Tracking itself is
 * never remembered: it is asked packet by packet, in order.
 *
 * Invariant: rows get the same results, connections the same entries and marks, and limits the same charges as if
 * `TableWalker` had walked each of them. It walks the first packet of every kind and state, and everything below:
 *
 * - Packets that a limit was asked about, when its answer can change anything but who is told: always walked.
 *   A limit before a rule that only logs is charged, which is all it would be in a walk.
 * - Programs with limits in their raw tables: always walked. No solution has one.
 * - Packets that somebody listens to: their rules are to be told.
 *
 * The price: classes are computed when the first packet comes (some 10 ms for a node's program, more with many sets), and
 * 100 bytes for each kind. Kinds are bounded; when there are too many all are forgotten, which costs less than choosing.
 * Classes belong to a program: a new one brings an engine of its own.
 */
import { AddressTable } from "../addressTable.ts";
import { createBatch, PACKET_FLAG, type PacketBatch, PROTOCOL } from "../packet.ts";
import type { TableProgram } from "../program.ts";
import { createResults, type DecisionMeaning, type ResultBatch } from "../result.ts";
import { PREPARATION, TableWalker, type WalkSurroundings } from "../tables/walk.ts";
import type { TraceSink } from "../trace.ts";
import { CT_STATE_CODE, VERDICT_CODE } from "../verdict.ts";
import { OUTCOME, OUTCOME_WORDS, Outcomes } from "./outcomes.ts";
import { classesOf, type ProgramClasses } from "./programClasses.ts";
import { TupleTable } from "./tupleTable.ts";

/** Kinds and outcomes remembered at most. */
const MOST_KINDS = 1 << 17;
const MOST_OUTCOMES = 1 << 18;

/** Rows whose kinds are found before their connections are. */
const STAGE_ROWS = 1024;

/** Situations of a kind, in the order of their outcomes: `CT_STATE_CODE`, and three more. */
const SITUATIONS = 8;
const SITUATION = { newEntry: 5, refused: 6, tableFull: 7 } as const;

export class TableMemo {
  readonly #program: TableProgram;
  readonly #surroundings: WalkSurroundings;
  readonly #walker: TableWalker;
  #batch: PacketBatch = createBatch(0);
  #results: ResultBatch = createResults(0);
  #isTraced = false;
  /** Undefined until the first packet. */
  #classes: ProgramClasses | undefined;
  readonly #tuples = new TupleTable();
  /** By kind: `PREPARATION` and zone. */
  #preparations = new Uint8Array(64);
  #zones = new Int32Array(64);
  /** By kind and situation: number of the outcome + 1. With connection marks: by those too, in a table. */
  #outcomeOf = new Int32Array(64 * SITUATIONS);
  #outcomeByMark = new AddressTable(4);
  readonly #outcomes = new Outcomes();
  readonly #kinds = new Int32Array(STAGE_ROWS);

  constructor(program: TableProgram, surroundings: WalkSurroundings) {
    this.#program = program;
    this.#surroundings = surroundings;
    this.#walker = new TableWalker(program, surroundings);
  }

  /** Kinds of packets known. */
  get size(): number {
    return this.#tuples.size;
  }

  /** Names the columns to read and write until the next call, and who listens. */
  attach(batch: PacketBatch, results: ResultBatch, sink: TraceSink | undefined): void {
    this.#batch = batch;
    this.#results = results;
    this.#isTraced = sink !== undefined;
    this.#walker.attach(batch, results, sink);
  }

  /** Decides one row. */
  run(row: number): void {
    this.runRows(row, row + 1);
  }

  /** Decides rows `from` (inclusive) to `to` (exclusive), in order. */
  runRows(from: number, to: number): void {
    if (!this.#isTraced) this.#classes ??= classesOf(this.#program, this.#surroundings);
    const classes = this.#classes;
    if (this.#isTraced || classes === undefined || classes.limitsBeforeTracking) {
      this.#walker.runRows(from, to);
      return;
    }
    for (let start = from; start < to; start += STAGE_ROWS) {
      const end = Math.min(to, start + STAGE_ROWS);
      const isFull = this.#tuples.size > MOST_KINDS - STAGE_ROWS || this.#outcomes.size > MOST_OUTCOMES - STAGE_ROWS;
      if (isFull) this.#forget();
      this.#classify(classes, start, end);
      this.#decide(classes, start, end);
    }
  }

  decision(index: number): DecisionMeaning {
    return this.#walker.decision(index);
  }

  /** Finds the kinds of rows. They depend on nothing but the packets, so that the memory of one need not wait for the next. */
  #classify(classes: ProgramClasses, from: number, to: number): void {
    const { family, protocol, source0, destination0, sourcePort, destinationPort } = this.#batch;
    const { tcpFlags, icmpType, icmpCode, flags, mark, path } = this.#batch;
    const { inDevice, outDevice, physInDevice, physOutDevice } = this.#batch;
    const { source4, destination4, sourcePorts, destinationPorts, messages, protocols } = classes;
    const tuples = this.#tuples;
    const { tuple } = tuples;
    const kinds = this.#kinds;
    for (let row = from; row < to; row++) {
      const number = protocol[row] ?? 0;
      const isFragment = (flags[row] ?? 0) & PACKET_FLAG.fragment;
      const isIpv4 = family[row] === 4;
      if (isIpv4) {
        tuple[0] = source4.of4(source0[row] ?? 0);
        tuple[1] = destination4.of4(destination0[row] ?? 0);
      } else this.#classify6(classes, row);
      let header = 0;
      let flagsClass = 0;
      if (isFragment === 0) {
        if (number === PROTOCOL.icmp || number === PROTOCOL.icmpv6) {
          const message = ((icmpType[row] ?? 0) << 8) | (icmpCode[row] ?? 0);
          header = messages.table[message & messages.mask] ?? 0;
        } else {
          const source = sourcePorts.table[(sourcePort[row] ?? 0) & sourcePorts.mask] ?? 0;
          const destination = destinationPorts.table[(destinationPort[row] ?? 0) & destinationPorts.mask] ?? 0;
          header = (source << 16) | destination;
        }
        if (number === PROTOCOL.tcp) flagsClass = classes.tcpFlags[tcpFlags[row] ?? 0] ?? 0;
      }
      tuple[2] = classes.in.of(inDevice[row] ?? 0) | (classes.out.of(outDevice[row] ?? 0) << 16);
      tuple[3] = classes.physIn.of(physInDevice[row] ?? 0) | (classes.physOut.of(physOutDevice[row] ?? 0) << 16);
      tuple[4] = header;
      tuple[5] = mark[row] ?? 0;
      tuple[6] =
        (protocols[number] ?? 0) |
        (flagsClass << 8) |
        ((path[row] ?? 0) << 16) |
        (isFragment << 24) |
        (Number(isIpv4) << 25);
      const kind = tuples.find();
      kinds[row - from] = kind < 0 ? this.#learnKind(row) : kind;
    }
  }

  #classify6(classes: ProgramClasses, row: number): void {
    const { source0, source1, source2, source3, destination0, destination1, destination2, destination3 } = this.#batch;
    const { tuple } = this.#tuples;
    tuple[0] = classes.source6.of6(source0[row] ?? 0, source1[row] ?? 0, source2[row] ?? 0, source3[row] ?? 0);
    tuple[1] = classes.destination6.of6(
      destination0[row] ?? 0,
      destination1[row] ?? 0,
      destination2[row] ?? 0,
      destination3[row] ?? 0,
    );
  }

  /** The first packet of a kind. */
  #learnKind(row: number): number {
    const kind = this.#tuples.add();
    if (kind >= this.#preparations.length) this.#grow();
    this.#preparations[kind] = this.#walker.prepare(row);
    this.#zones[kind] = this.#walker.zone;
    return kind;
  }

  /** Asks connection tracking for each row in turn and writes its outcome. */
  #decide(classes: ProgramClasses, from: number, to: number): void {
    const { connections } = this.#surroundings;
    const { asksConnmark } = classes;
    const { verdict, ctState, decision, rules, chains, setLookups } = this.#results;
    const { mapLookups, trieLookups, conntrackLookups } = this.#results;
    for (let row = from; row < to; row++) {
      const kind = this.#kinds[row - from] ?? 0;
      const preparation = this.#preparations[kind];
      let situation: number = SITUATION.refused;
      let connmark = 0;
      let isTracked = false;
      if (preparation === PREPARATION.tracked) {
        situation = connections.lookupCode(this.#batch, row, this.#zones[kind] ?? 0);
        isTracked = connections.isTracked;
        if (connections.isFull) situation = SITUATION.tableFull;
        else if (situation === CT_STATE_CODE.new && connections.isPending) situation = SITUATION.newEntry;
        if (asksConnmark && isTracked) connmark = connections.mark | 0;
      } else if (preparation === PREPARATION.untracked) situation = CT_STATE_CODE.untracked;
      const key = kind * SITUATIONS + situation;
      const outcome = asksConnmark ? this.#outcomeByMark.find4(key, connmark) : (this.#outcomeOf[key] ?? 0) - 1;
      const { words } = this.#outcomes;
      const at = outcome * OUTCOME_WORDS;
      if (outcome < 0 || words[at + OUTCOME.walks] === 1) {
        this.#walkKnown(row, { kind, situation, connmark, isNew: outcome < 0 });
        continue;
      }
      const word = words[at + OUTCOME.verdictAndState] ?? 0;
      verdict[row] = word & 0xff;
      ctState[row] = word >>> 8;
      decision[row] = words[at + OUTCOME.decision] ?? 0;
      rules[row] = words[at + OUTCOME.rules] ?? 0;
      chains[row] = words[at + OUTCOME.chains] ?? 0;
      setLookups[row] = words[at + OUTCOME.setLookups] ?? 0;
      mapLookups[row] = 0;
      trieLookups[row] = 0;
      conntrackLookups[row] = preparation === PREPARATION.tracked ? 1 : 0;
      if (words[at + OUTCOME.limits] !== 0) this.#charge(row, outcome);
      if (!isTracked) continue;
      if (words[at + OUTCOME.connmark] !== connmark) connections.mark = words[at + OUTCOME.connmark] ?? 0;
      if ((word & 0xff) === VERDICT_CODE.accept) connections.confirm();
      else connections.abandon();
    }
  }

  /** Walks a packet about whose connection all is known, and remembers the outcome when it is the first. */
  #walkKnown(row: number, { kind, situation, connmark, isNew }: KnownPacket): void {
    const walker = this.#walker;
    const isFresh = situation === SITUATION.newEntry || situation === SITUATION.tableFull;
    if (this.#preparations[kind] === PREPARATION.tracked) walker.resume(row, isFresh ? CT_STATE_CODE.new : situation);
    else walker.run(row);
    if (!isNew) return;
    const outcome = this.#outcomes.add(this.#results, row, {
      connmark: this.#classes?.asksConnmark === true ? walker.connmark : 0,
      limits: walker.limits,
      idleLimits: walker.tables.idleLimits,
    });
    const key = kind * SITUATIONS + situation;
    if (this.#classes?.asksConnmark === true) this.#outcomeByMark.set([key], connmark, outcome);
    else this.#outcomeOf[key] = outcome + 1;
  }

  /** Charges the limits that a walk would have asked, to no other effect. */
  #charge(row: number, outcome: number): void {
    const { matches } = this.#walker.tables;
    for (const record of this.#outcomes.limitsOf(outcome)) matches.charge(record, this.#batch.time[row] ?? 0);
  }

  #grow(): void {
    const room = this.#preparations.length * 2;
    const preparations = new Uint8Array(room);
    preparations.set(this.#preparations);
    this.#preparations = preparations;
    const zones = new Int32Array(room);
    zones.set(this.#zones);
    this.#zones = zones;
    const outcomeOf = new Int32Array(room * SITUATIONS);
    outcomeOf.set(this.#outcomeOf);
    this.#outcomeOf = outcomeOf;
  }

  #forget(): void {
    this.#tuples.clear();
    this.#outcomes.clear();
    this.#outcomeOf.fill(0);
    this.#outcomeByMark = new AddressTable(4);
  }
}

interface KnownPacket {
  readonly kind: number;
  readonly situation: number;
  readonly connmark: number;
  readonly isNew: boolean;
}
