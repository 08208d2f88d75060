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
 * Packets of connections that are established are most packets, and their tuples are in the connection's entry already. So
 * an entry remembers the outcome of its established packets, one for each direction, with the context it was found in: all
 * that a chain can read beside the tuple. A packet in the same context saves its classes; the entry was to be read anyway.
 * Packets that begin a connection find theirs by classes and context in a table of small records (firstPackets.ts), the first of
 * a kind by what its walk would ask (answerTree.ts): kinds are many, but few are walked in a way that none was before. TCP segments that
 * were refused as such leave it with connection tracking, under their tuple.
 *
 * Invariant: rows get the same results, connections the same entries and marks, and limits the same charges as if
 * `TableWalker` had walked each of them. It walks the first packet of every kind and state, but for those just named, and
 * everything below:
 *
 * - Packets that a limit was asked about, when its answer can change anything but who is told: always walked.
 *   A limit before a rule that only logs is charged, which is all it would be in a walk.
 * - Programs with limits in their raw tables: always walked. No solution has one.
 * - Packets that somebody listens to: their rules are to be told.
 *
 * The price: classes, which take as long as a walk through all rules and members of sets (some 10 ms for a node's program,
 * more with many sets). So they wait until walks have cost as much: at worst the two together cost twice the better of
 * them, and a node that sees three packets never pays. And
 * 128 bytes for each kind. Kinds are bounded; when there are too many all are forgotten, which costs less than choosing.
 * Classes belong to a program: a new one brings an engine of its own.
 */
import { AddressTable } from "../addressTable.ts";
import type { RememberedContexts } from "../conntrack/tcpEstablished.ts";
import { NO_BATCH, PACKET_FLAG, type PacketBatch, PROTOCOL } from "../packet.ts";
import type { TableProgram } from "../program.ts";
import { type DecisionMeaning, NO_RESULTS, type ResultBatch } from "../result.ts";
import { type PassedRows, PREPARATION, TableWalker, type WalkSurroundings } from "../tables/walk.ts";
import type { TraceSink } from "../trace.ts";
import { CT_STATE_CODE, VERDICT_CODE } from "../verdict.ts";
import { AnswerTree } from "./answerTree.ts";
import { Contexts } from "./contexts.ts";
import { FirstPackets } from "./firstPackets.ts";
import { KIND, KindTable } from "./kindTable.ts";
import { writeOutcomes } from "./outcomeRows.ts";
import { OUTCOME, OUTCOME_WORDS, Outcomes } from "./outcomes.ts";
import { classesOf, type ProgramClasses } from "./programClasses.ts";

/** The word of a tuple that has all small fields, and the bit in it that stands for IPv4. */
const REST = 6;
const IPV4 = 1 << 25;

/** Kinds and outcomes remembered at most. The number of an outcome and 1 must fit the half word that an entry has for it. */
const MOST_KINDS = 1 << 17;
const MOST_OUTCOMES = 0xfff0;

/**
 * Situations of a kind, in the order of their outcomes: `CT_STATE_CODE`, and more. A kind that raw tables refuse is never
 * looked up, so the word of `refused` serves the others as `relatedEntry`: related, and with an entry of its own.
 */
const SITUATION = { newEntry: 5, refused: 6, relatedEntry: 6, tableFull: 7 } as const;

export class TableMemo {
  readonly #program: TableProgram;
  readonly #surroundings: WalkSurroundings;
  readonly #walker: TableWalker;
  #batch: PacketBatch = NO_BATCH;
  #results: ResultBatch = NO_RESULTS;
  #isTraced = false;
  /** Undefined until they are worth their price. */
  #classes: ProgramClasses | undefined;
  /** What classes cost and what walks have cost so far, both in rules and members of sets looked at. */
  readonly #price: number;
  #walked = 0;
  readonly #kinds = new KindTable();
  /** For programs that ask for marks of connections: numbers of outcomes by kind, situation and mark. */
  #outcomeByMark = new AddressTable(4);
  readonly #outcomes = new Outcomes();
  readonly #contexts = new Contexts();
  readonly #first = new FirstPackets();
  /** As the classes. */
  #answers: AnswerTree | undefined;
  /** Contexts of classes of devices, in place of devices; their numbers by context, 0: none yet. */
  readonly #situations = new Contexts();
  #situationOf = new Uint16Array(64);
  /** Whether the numbers of classes of addresses fit half words, which `#first` has for them. */
  #hasShortTuples = false;
  /** What connection tracking is told of them. */
  readonly #known: { -readonly [Part in keyof RememberedContexts]: RememberedContexts[Part] } = {
    words: this.#contexts.words,
    count: 0,
    tcpFlags: new Uint8Array(256),
    outcomes: this.#outcomes.words,
    outcomeCount: 0,
  };

  constructor(program: TableProgram, surroundings: WalkSurroundings) {
    this.#program = program;
    this.#surroundings = surroundings;
    this.#walker = new TableWalker(program, surroundings);
    this.#price = priceOf(program);
    surroundings.connections.forgetRemembered();
  }

  /** Kinds of packets known. */
  get size(): number {
    return this.#kinds.size;
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
    const start = this.#isTraced ? from : this.#walkFirst(from, to);
    const classes = this.#classes;
    if (this.#isTraced || classes === undefined || classes.limitsBeforeTracking) this.#walker.runRows(start, to);
    else this.#decide(classes, start, to);
  }

  /** Walks rows until classes are worth it; the first row that is to be decided by them. */
  #walkFirst(from: number, to: number): number {
    let row = from;
    for (; row < to && this.#classes === undefined; row++) {
      this.#walker.run(row);
      this.#walked += 1 + (this.#results.rules[row] ?? 0);
      if (this.#walked >= this.#price) this.#learnClasses();
    }
    return row;
  }

  #learnClasses(): void {
    this.#classes = classesOf(this.#program, this.#surroundings);
    const { source4, source6, destination4, destination6, tcpFlags } = this.#classes;
    this.#hasShortTuples = [source4, source6, destination4, destination6].every(({ count }) => count <= 0x1_0000);
    this.#known.tcpFlags = tcpFlags;
    this.#walker.tables.matches.know(this.#classes.setAnswers);
    this.#answers = new AnswerTree(this.#walker.tables, this.#walker.packet, this.#classes.setAnswers);
  }

  /** The next walk is of a packet with those classes of addresses, which answer for sets; `forgetAnswers` afterwards. */
  #nameAnswers({ setAnswers }: ProgramClasses, words: Int32Array, tuple: number): void {
    const isIpv4 = ((words[tuple + REST] ?? 0) & IPV4) !== 0;
    setAnswers.name(this.#walker.packet, isIpv4, words[tuple] ?? 0, words[tuple + 1] ?? 0);
  }

  #forgetAnswers(): void {
    const { packet } = this.#walker;
    packet.sourceAnswers = -1;
    packet.destinationAnswers = -1;
  }

  decision(index: number): DecisionMeaning {
    return this.#walker.decision(index);
  }

  /** Asks connection tracking for each row in turn and writes its outcome: for established packets many at once. */
  #decide(classes: ProgramClasses, from: number, to: number): void {
    const { connections } = this.#surroundings;
    const batch = this.#batch;
    for (let row = from; row < to; ) {
      if (!classes.asksConnmark) {
        this.#known.words = this.#contexts.words;
        this.#known.count = this.#contexts.count;
        this.#known.outcomes = this.#outcomes.words;
        this.#known.outcomeCount = this.#outcomes.size;
        const passed = connections.passEstablished(batch, row, to, this.#known);
        if (passed !== undefined) {
          this.#decideLeft(classes, row, passed);
          row += passed.looked;
          continue;
        }
      }
      this.#decideRow(classes, row++);
    }
  }

  /** Decides one row, whatever it is. */
  #decideRow(classes: ProgramClasses, row: number): void {
    const { connections } = this.#surroundings;
    const batch = this.#batch;
    const context = classes.asksConnmark ? 0 : this.#contextOf(classes, row);
    const remembered = connections.recall(batch, row);
    if (context !== 0 && remembered >>> 16 === context) {
      const situation = connections.lookupRecalled(batch, row);
      if (situation === CT_STATE_CODE.established) {
        const outcome = (remembered & 0xffff) - 1;
        this.#results.conntrackLookups[row] = 1;
        this.#write(row, outcome);
        const word = this.#outcomes.words[outcome * OUTCOME_WORDS + OUTCOME.verdictAndState] ?? 0;
        if ((word & 0xff) === VERDICT_CODE.accept) connections.confirm();
        else connections.abandon();
        return;
      }
      this.#decideKnown(classes, row, this.#kindOf(classes, row), situation);
      return;
    }
    const isFirst = context !== 0 && connections.recalledNone && this.#hasShortTuples;
    if (isFirst && this.#decideFirst(classes, row, context)) return;
    if (isFirst) this.#listen();
    // Of a kind that was known, what comes before connection tracking, or all of it, is not walked again.
    const kinds = this.#kinds.size;
    const kind = this.#kindOf(classes, row);
    const isHeardWhole = isFirst && this.#kinds.size !== kinds;
    const preparation = this.#kinds.words[kind + KIND.preparation] ?? 0;
    switch ((preparation & 0xff) - 1) {
      case PREPARATION.tracked: {
        const zone = preparation >>> 8;
        const state = zone === 0 ? connections.lookupRecalled(batch, row) : connections.lookupCode(batch, row, zone);
        const isNewEntry = state === CT_STATE_CODE.new && connections.isPending;
        const outcome = this.#decideKnown(classes, row, kind, state);
        if (isHeardWhole && isNewEntry && zone === 0) this.#keepAnswers(kind);
        if (context === 0 || outcome < 0 || zone !== 0) break;
        const word = (context << 16) | (outcome + 1);
        if (state === CT_STATE_CODE.established && this.#isPlain(row, outcome)) connections.remember(word);
        else if (isFirst && isNewEntry) this.#first.add(word);
        break;
      }
      case PREPARATION.untracked:
        this.#decideUntracked(row, kind, CT_STATE_CODE.untracked);
        break;
      default:
        this.#decideUntracked(row, kind, SITUATION.refused);
    }
    if (isFirst) this.#walker.listener = undefined;
  }

  /** Has the walks of the row heard. */
  #listen(): void {
    this.#answers?.begin();
    this.#walker.listener = this.#answers;
  }

  /** What was heard of a walk leads to the outcome of its kind from now on, unless that depends on more. */
  #keepAnswers(kind: number): void {
    const outcome = (this.#kinds.words[kind + KIND.outcomes + SITUATION.newEntry] ?? 0) - 1;
    if (outcome < 0 || this.#outcomes.words[outcome * OUTCOME_WORDS + OUTCOME.walks] === 1) return;
    this.#answers?.keep(outcome);
  }

  /** The outcome of a packet that begins a connection, by what its walk would ask; it is entered where `#first` finds it. */
  #askFirst(classes: ProgramClasses, row: number, context: number): number {
    const { addresses, rest } = this.#first;
    const { packet } = this.#walker;
    const situation = this.#situationOf[context] || this.#learnSituation(classes, context);
    classes.setAnswers.name(packet, (rest & IPV4) !== 0, addresses >>> 16, addresses & 0xffff);
    const outcome = this.#answers?.find(this.#batch, row, situation, rest) ?? -1;
    this.#forgetAnswers();
    if (outcome >= 0) this.#first.add((context << 16) | (outcome + 1));
    return outcome;
  }

  /**
   * Decides a packet that begins a connection, if one of its kind in that context was seen to. False: it was not; nothing
   * was asked of connection tracking.
   */
  #decideFirst(classes: ProgramClasses, row: number, context: number): boolean {
    const { connections } = this.#surroundings;
    const batch = this.#batch;
    const first = this.#first;
    if (batch.family[row] === 4) {
      const source = classes.source4.of4(batch.source0[row] ?? 0);
      first.addresses = (source << 16) | classes.destination4.of4(batch.destination0[row] ?? 0);
      first.rest = IPV4;
    } else {
      this.#classify6(classes, row);
      const [source = 0, destination = 0] = this.#kinds.tuple;
      first.addresses = (source << 16) | destination;
      first.rest = 0;
    }
    first.ports = headerOf(classes, batch, row);
    first.rest |= classes.protocols[batch.protocol[row] ?? 0] ?? 0;
    const known = first.find(context);
    const outcome = known < 0 ? this.#askFirst(classes, row, context) : known;
    if (outcome < 0) return false;
    const word = this.#outcomes.words[outcome * OUTCOME_WORDS + OUTCOME.verdictAndState] ?? 0;
    const isAccepted = (word & 0xff) === VERDICT_CODE.accept;
    if (isAccepted || !connections.dropRecalled(batch, row, (context << 16) | (outcome + 1))) {
      const state = connections.lookupRecalled(batch, row);
      if (state !== CT_STATE_CODE.new || !connections.isPending) {
        this.#decideKnown(classes, row, this.#kindOf(classes, row), state);
        return true;
      }
      if (isAccepted) connections.confirm();
      else connections.abandon();
    }
    this.#results.conntrackLookups[row] = 1;
    this.#write(row, outcome);
    return true;
  }

  #learnSituation(classes: ProgramClasses, context: number): number {
    const [devices = 0, ports = 0, mark = 0, rest = 0] = this.#contexts.words.subarray(context * 4, context * 4 + 4);
    const found = this.#situations.of(
      classes.in.of(devices & 0xffff) | (classes.out.of(devices >>> 16) << 16),
      classes.physIn.of(ports & 0xffff) | (classes.physOut.of(ports >>> 16) << 16),
      mark,
      rest,
    );
    if (context >= this.#situationOf.length) {
      const grown = new Uint16Array(context * 2);
      grown.set(this.#situationOf);
      this.#situationOf = grown;
    }
    this.#situationOf[context] = found;
    return found;
  }

  /** The number of everything that a chain can read of a row beside its connection's tuple. */
  #contextOf(classes: ProgramClasses, row: number): number {
    const { protocol, tcpFlags, mark, path, inDevice, outDevice, physInDevice, physOutDevice } = this.#batch;
    const flagsClass = protocol[row] === PROTOCOL.tcp ? (classes.tcpFlags[tcpFlags[row] ?? 0] ?? 0) : 0;
    return this.#contexts.of(
      (inDevice[row] ?? 0) | ((outDevice[row] ?? 0) << 16),
      (physInDevice[row] ?? 0) | ((physOutDevice[row] ?? 0) << 16),
      (mark[row] ?? 0) | 0,
      (path[row] ?? 0) | (flagsClass << 8),
    );
  }

  /** Writes the outcomes of rows of which connection tracking has let some pass, and decides the others. */
  #decideLeft(classes: ProgramClasses, from: number, passed: PassedRows): void {
    const { connections } = this.#surroundings;
    // Of its own: when the table grows while the others are decided, what passes rows is another one.
    const { looked, results, leftCount, left, leftSeconds, seconds, refusedCount, refused, refusals } = passed;
    writeOutcomes(this.#results, from, looked, results);
    const limitsOf = this.#outcomes.limitsSoFar();
    let charged = 0;
    for (let index = 0; index <= leftCount; index++) {
      // Limits are charged in the order of all rows.
      const row = index < leftCount ? (left[index] ?? 0) : looked;
      for (; charged < refusedCount && (refused[charged] ?? 0) < row; charged++) {
        this.#charge(from + (refused[charged] ?? 0), limitsOf(((refusals[charged] ?? 0) & 0xffff) - 1));
      }
      if (row === looked) break;
      connections.comeTo(leftSeconds[index] ?? 0);
      this.#decideRow(classes, from + row);
    }
    connections.comeTo(seconds);
  }

  /** Whether whole packets of a connection may have the outcome of a row, and out of turn: without limits to charge. */
  #isPlain(row: number, outcome: number): boolean {
    if (((this.#batch.flags[row] ?? 0) & PACKET_FLAG.fragment) !== 0) return false;
    return this.#outcomes.words[outcome * OUTCOME_WORDS + OUTCOME.limits] === 0;
  }

  /**
   * Decides a row that connection tracking has seen. The number of its outcome, or -1 when it is not to be remembered: the
   * packet had to be walked.
   */
  #decideKnown(classes: ProgramClasses, row: number, kind: number, state: number): number {
    const { connections } = this.#surroundings;
    const { isTracked } = connections;
    let situation = state;
    if (connections.isFull) situation = SITUATION.tableFull;
    else if (connections.isPending && state === CT_STATE_CODE.new) situation = SITUATION.newEntry;
    else if (connections.isPending && state === CT_STATE_CODE.related) situation = SITUATION.relatedEntry;
    const connmark = classes.asksConnmark && isTracked ? connections.mark | 0 : 0;
    const outcome = classes.asksConnmark
      ? this.#outcomeByMark.find4(kind + situation, connmark)
      : (this.#kinds.words[kind + KIND.outcomes + situation] ?? 0) - 1;
    if (outcome < 0 || this.#outcomes.words[outcome * OUTCOME_WORDS + OUTCOME.walks] === 1) {
      this.#nameAnswers(classes, this.#kinds.words, kind);
      this.#walker.resume(row, state);
      this.#forgetAnswers();
      if (outcome < 0) this.#learn(row, kind, situation, connmark);
      return -1;
    }
    this.#results.conntrackLookups[row] = 1;
    this.#write(row, outcome);
    if (!isTracked) return outcome;
    const at = outcome * OUTCOME_WORDS;
    const { words } = this.#outcomes;
    if (words[at + OUTCOME.connmark] !== connmark) connections.mark = words[at + OUTCOME.connmark] ?? 0;
    if (((words[at + OUTCOME.verdictAndState] ?? 0) & 0xff) === VERDICT_CODE.accept) connections.confirm();
    else connections.abandon();
    return outcome;
  }

  /** Decides a row that connection tracking does not see. */
  #decideUntracked(row: number, kind: number, situation: number): void {
    const outcome = this.#kinds.words[kind + KIND.outcomes + situation] ?? 0;
    if (outcome === 0 || this.#outcomes.words[(outcome - 1) * OUTCOME_WORDS + OUTCOME.walks] === 1) {
      this.#walker.run(row);
      if (outcome === 0) this.#learn(row, kind, situation, 0);
      return;
    }
    this.#results.conntrackLookups[row] = 0;
    this.#write(row, outcome - 1);
  }

  /** Writes an outcome into a row of the results, and charges its limits. */
  #write(row: number, outcome: number): void {
    const results = this.#results;
    const { words } = this.#outcomes;
    const at = outcome * OUTCOME_WORDS;
    const word = words[at + OUTCOME.verdictAndState] ?? 0;
    results.verdict[row] = word & 0xff;
    results.ctState[row] = word >>> 8;
    results.decision[row] = words[at + OUTCOME.decision] ?? 0;
    results.rules[row] = words[at + OUTCOME.rules] ?? 0;
    results.chains[row] = words[at + OUTCOME.chains] ?? 0;
    results.setLookups[row] = words[at + OUTCOME.setLookups] ?? 0;
    results.mapLookups[row] = 0;
    results.trieLookups[row] = 0;
    if (words[at + OUTCOME.limits] !== 0) this.#charge(row, this.#outcomes.limitsOf(outcome));
  }

  /** Charges the limits that a walk would have asked, to no other effect. */
  #charge(row: number, limits: readonly number[]): void {
    const { matches } = this.#walker.tables;
    for (const record of limits) matches.charge(record, this.#batch.time[row] ?? 0);
  }

  /** Remembers what the walker has just written about the first packet of a kind in a situation. */
  #learn(row: number, kind: number, situation: number, connmark: number): void {
    if (this.#outcomes.size >= MOST_OUTCOMES || this.#outcomeByMark.size >= MOST_KINDS) {
      this.#forget();
      return;
    }
    const walker = this.#walker;
    const asksConnmark = this.#classes?.asksConnmark === true;
    const outcome = this.#outcomes.add(this.#results, row, {
      connmark: asksConnmark ? walker.connmark : 0,
      limits: walker.limits,
      idleLimits: walker.tables.idleLimits,
    });
    if (asksConnmark) this.#outcomeByMark.set([kind + situation], connmark, outcome);
    this.#kinds.words[kind + KIND.outcomes + situation] = outcome + 1;
  }

  /** The kind of a row. */
  #kindOf(classes: ProgramClasses, row: number): number {
    const batch = this.#batch;
    const { tuple } = this.#kinds;
    const protocol = batch.protocol[row] ?? 0;
    const isFragment = (batch.flags[row] ?? 0) & PACKET_FLAG.fragment;
    const isIpv4 = batch.family[row] === 4;
    if (isIpv4) {
      tuple[0] = classes.source4.of4(batch.source0[row] ?? 0);
      tuple[1] = classes.destination4.of4(batch.destination0[row] ?? 0);
    } else this.#classify6(classes, row);
    tuple[2] = classes.in.of(batch.inDevice[row] ?? 0) | (classes.out.of(batch.outDevice[row] ?? 0) << 16);
    tuple[3] =
      classes.physIn.of(batch.physInDevice[row] ?? 0) | (classes.physOut.of(batch.physOutDevice[row] ?? 0) << 16);
    tuple[4] = isFragment === 0 ? headerOf(classes, batch, row) : 0;
    tuple[5] = batch.mark[row] ?? 0;
    const readsFlags = protocol === PROTOCOL.tcp && isFragment === 0;
    tuple[REST] =
      (classes.protocols[protocol] ?? 0) |
      ((readsFlags ? (classes.tcpFlags[batch.tcpFlags[row] ?? 0] ?? 0) : 0) << 8) |
      ((batch.path[row] ?? 0) << 16) |
      (isFragment << 24) |
      (isIpv4 ? IPV4 : 0);
    const kind = this.#kinds.find();
    return kind < 0 ? this.#learnKind(classes, row) : kind;
  }

  #classify6(classes: ProgramClasses, row: number): void {
    const { source0, source1, source2, source3, destination0, destination1, destination2, destination3 } = this.#batch;
    const { tuple } = this.#kinds;
    tuple[0] = classes.source6.of6(source0[row] ?? 0, source1[row] ?? 0, source2[row] ?? 0, source3[row] ?? 0);
    tuple[1] = classes.destination6.of6(
      destination0[row] ?? 0,
      destination1[row] ?? 0,
      destination2[row] ?? 0,
      destination3[row] ?? 0,
    );
  }

  /** The first packet of a kind. */
  #learnKind(classes: ProgramClasses, row: number): number {
    if (this.#kinds.size >= MOST_KINDS) this.#forgetKinds();
    // Outcomes by mark go by the names of kinds.
    if (this.#kinds.reserve(1)) this.#outcomeByMark = new AddressTable(4);
    this.#nameAnswers(classes, this.#kinds.tuple, 0);
    const preparation = this.#walker.prepare(row);
    this.#forgetAnswers();
    return this.#kinds.add(preparation, this.#walker.zone);
  }

  #forget(): void {
    this.#forgetKinds();
    this.#outcomes.clear();
    this.#first.clear();
    this.#answers?.clear();
    this.#surroundings.connections.forgetRemembered();
  }

  #forgetKinds(): void {
    this.#kinds.clear();
    this.#outcomeByMark = new AddressTable(4);
  }
}

/** Rules and members of sets: what `classesOf` goes through. */
function priceOf({ families, sets }: TableProgram): number {
  let price = 0;
  for (const { tables } of families)
    for (const { chains } of tables) for (const { rules } of chains) price += rules.length;
  for (const { members } of sets) price += members.length;
  return price;
}

/** Classes of ports, or of an ICMP message, in one word. */
function headerOf(classes: ProgramClasses, batch: PacketBatch, row: number): number {
  const protocol = batch.protocol[row] ?? 0;
  const { sourcePorts, destinationPorts, messages } = classes;
  if (protocol === PROTOCOL.icmp || protocol === PROTOCOL.icmpv6) {
    const message = ((batch.icmpType[row] ?? 0) << 8) | (batch.icmpCode[row] ?? 0);
    return messages.table[message & messages.mask] ?? 0;
  }
  const source = sourcePorts.table[(batch.sourcePort[row] ?? 0) & sourcePorts.mask] ?? 0;
  const destination = destinationPorts.table[(batch.destinationPort[row] ?? 0) & destinationPorts.mask] ?? 0;
  return (source << 16) | destination;
}
