/**
 * What establishedRows.ts and tcpEstablished.ts do with rows, as WebAssembly.
 *
 * The loops there make a hundred accesses to arrays for a row, and JavaScript checks the bounds of each. Code over a memory
 * of its own has its bounds from the hardware: a row takes about half of the time, and engines of other programs in the process
 * do not slow it down. The price: the table must lie in that memory, so it moves there (`LoopMemory`), and it does so only
 * when enough rows have passed to pay for that.
 *
 * The loops in JavaScript stay: they are the meaning, they serve until then, and wherever a page's policy forbids to compile.
 * `test/dataplane/establishedRuns.test.ts` holds both against the engine that walks.
 */
import { PACKET_FLAG, type PacketBatch, PROTOCOL, TCP_FLAG } from "../packet.ts";
import {
  all,
  type Code,
  f64,
  get,
  i32,
  type Local,
  leaveIf,
  number,
  repeat,
  select,
  selectDouble,
  set,
} from "../wasm/code.ts";
import { compiled, instantiated, Locals, memoryOf, moduleBytes, type WasmFunction } from "../wasm/module.ts";
import { type RememberedContexts, TCP4, TELLING } from "./establishedRows.ts";
import { FLOW_BYTES, type Flow, WORD } from "./flow.ts";
import { TIMEOUT_SLOT } from "./options.ts";
import {
  HEAD_WORD,
  LAST,
  ofBoth,
  SEGMENT,
  SIDE,
  SIDE_BITS,
  SIDES_WORD,
  segmentOf,
  TCP_STATE,
  WINDOW,
} from "./tcpEntry.ts";
import {
  ESTABLISHED_HEAD,
  FIRST_WINDOW,
  HEAD_MASK,
  MOST_ROWS,
  RETRANSMISSIONS_WORD,
  type RowClock,
  WINDOW_WORDS,
} from "./tcpEstablished.ts";
import { LEAST_ACK_WINDOW } from "./tcpWindow.ts";
import { HASH_FACTORS } from "./tuple.ts";

/** Bytes of a table that this is worth at most. */
const MOST_BYTES = 2 ** 30;
const MOST_CONTEXTS = 0x1_0000;
const FLAG_BYTES = 256;

/* ---------------------------------------------- Where things lie -------------------------------------------------- */

let end = 0;

/** Room for so many things of a size; cache lines are not shared. */
function room(count: number, bytes: number): number {
  const at = end;
  end = (at + count * bytes + 63) & ~63;
  return at;
}

/** Doubles: seconds, and milliseconds that stop the rows; then the present millisecond as an integer. */
const CLOCK = room(3, 8);
const UNTIL = CLOCK + 8;
const NOW = CLOCK + 16;
const COLUMN = {
  family: room(MOST_ROWS, 1),
  protocol: room(MOST_ROWS, 1),
  flags: room(MOST_ROWS, 1),
  tcpFlags: room(MOST_ROWS, 1),
  path: room(MOST_ROWS, 1),
  source0: room(MOST_ROWS, 4),
  destination0: room(MOST_ROWS, 4),
  sourcePort: room(MOST_ROWS, 2),
  destinationPort: room(MOST_ROWS, 2),
  inDevice: room(MOST_ROWS, 2),
  outDevice: room(MOST_ROWS, 2),
  physInDevice: room(MOST_ROWS, 2),
  physOutDevice: room(MOST_ROWS, 2),
  mark: room(MOST_ROWS, 4),
  window: room(MOST_ROWS, 2),
  sequence: room(MOST_ROWS, 4),
  acknowledgment: room(MOST_ROWS, 4),
  payloadBytes: room(MOST_ROWS, 4),
  time: room(MOST_ROWS, 8),
} as const satisfies Partial<Record<keyof PacketBatch, number>>;
const FOUND = {
  hashes: room(MOST_ROWS, 4),
  /** Addresses of entries. */
  entries: room(MOST_ROWS, 4),
  directions: room(MOST_ROWS, 1),
  outcomes: room(MOST_ROWS, 4),
  sum: room(1, 4),
};
const FLAG_CLASSES = room(FLAG_BYTES, 1);
/** 1: the flags make the segment an ACK. */
const IS_ACK = room(FLAG_BYTES, 1);
const CONTEXTS = room(MOST_CONTEXTS * 4, 4);
const PLACES = room(1, 0);

/* ---------------------------------------------- The loops --------------------------------------------------------- */

/** What a row says, by its number. */
const byteOf = (row: Local, column: number): Code => i32.load8(get(row), column);
const halfOf = (row: Local, column: number): Code => i32.load16(i32.shl(get(row), 1), column);
const wordOf = (row: Local, column: number): Code => i32.load(i32.shl(get(row), 2), column);
const pairOf = (low: Code, high: Code): Code => i32.or(low, i32.shl(high, 16));

function mix(value: Local): readonly Code[] {
  const folded = (bits: number) => i32.xor(get(value), i32.shrU(get(value), bits));
  return [
    set(value, i32.mul(folded(16), HASH_FACTORS.first)),
    set(value, i32.mul(folded(13), HASH_FACTORS.second)),
    set(value, folded(16)),
  ];
}

/** 1: negative. */
const sign = (value: Code): Code => i32.shrU(value, 31);

function loops(): Uint8Array {
  const locals = new Locals();
  const [given, shift, mask, words] = [locals.parameter(), locals.parameter(), locals.parameter(), locals.parameter()];
  const [established, unacknowledged] = [locals.parameter(), locals.parameter()];
  const int = () => locals.int();
  const [row, count, sum, hash, place] = [int(), int(), int(), int(), int()];

  const placeOf = (number: Local) => i32.shl(get(number), 3);
  const hashes: readonly Code[] = [
    repeat(
      leaveIf(i32.eq(get(row), get(given))),
      leaveIf(
        all(
          i32.xor(byteOf(row, COLUMN.family), 4),
          i32.xor(byteOf(row, COLUMN.protocol), PROTOCOL.tcp),
          i32.and(byteOf(row, COLUMN.flags), PACKET_FLAG.fragment),
          i32.xor(i32.and(byteOf(row, COLUMN.tcpFlags), TELLING), TCP_FLAG.A),
        ),
      ),
      set(hash, i32.add(wordOf(row, COLUMN.source0), i32.mul(halfOf(row, COLUMN.sourcePort), HASH_FACTORS.port))),
      ...mix(hash),
      set(
        place,
        i32.add(wordOf(row, COLUMN.destination0), i32.mul(halfOf(row, COLUMN.destinationPort), HASH_FACTORS.port)),
      ),
      ...mix(place),
      set(hash, i32.mul(i32.xor(i32.add(get(hash), get(place)), TCP4), HASH_FACTORS.port)),
      set(hash, i32.xor(get(hash), i32.shrU(get(hash), 15))),
      i32.store(i32.shl(get(row), 2), FOUND.hashes, get(hash)),
      set(place, i32.shrU(get(hash), get(shift))),
      set(sum, i32.xor(get(sum), i32.load(placeOf(place), PLACES))),
      set(row, i32.add(get(row), 1)),
    ),
    set(count, get(row)),
    set(row, 0),
  ];

  const slot = int();
  const entries: readonly Code[] = [
    repeat(
      leaveIf(i32.eq(get(row), get(count))),
      set(hash, wordOf(row, FOUND.hashes)),
      set(place, i32.shrU(get(hash), get(shift))),
      repeat(
        leaveIf(i32.eq(i32.load(placeOf(place), PLACES), get(hash))),
        leaveIf(i32.isZero(i32.load(placeOf(place), PLACES + 4))),
        set(place, i32.and(i32.add(get(place), 1), get(mask))),
      ),
      set(slot, i32.load(placeOf(place), PLACES + 4)),
      leaveIf(i32.isZero(get(slot))),
      i32.store(i32.shl(get(row), 2), FOUND.entries, i32.add(get(words), i32.mul(i32.sub(get(slot), 1), FLOW_BYTES))),
      set(row, i32.add(get(row), 1)),
    ),
    set(count, get(row)),
    set(row, 0),
    repeat(
      leaveIf(i32.eq(get(row), get(count))),
      set(slot, wordOf(row, FOUND.entries)),
      set(sum, i32.xor(get(sum), i32.xor(i32.load(get(slot), 0), i32.load(get(slot), WORD.memo * 4)))),
      set(row, i32.add(get(row), 1)),
    ),
    // So that what was read ahead is not optimised away.
    i32.store(number(0), FOUND.sum, get(sum)),
    set(row, 0),
  ];

  const at = int();
  const word = (number: number, from: Local = at) => i32.load(get(from), number * 4);
  const [near, far, same, turned, direction, remembered, context] = [int(), int(), int(), int(), int(), int(), int()];
  const contextWord = (number: number) => i32.load(get(context), CONTEXTS + number * 4);
  const recognise: readonly Code[] = [
    set(at, wordOf(row, FOUND.entries)),
    set(near, halfOf(row, COLUMN.sourcePort)),
    set(far, halfOf(row, COLUMN.destinationPort)),
    set(
      same,
      all(
        i32.xor(word(WORD.source), wordOf(row, COLUMN.source0)),
        i32.xor(word(WORD.destination), wordOf(row, COLUMN.destination0)),
        i32.xor(word(WORD.ports), pairOf(get(far), get(near))),
      ),
    ),
    set(
      turned,
      all(
        i32.xor(word(WORD.source), wordOf(row, COLUMN.destination0)),
        i32.xor(word(WORD.destination), wordOf(row, COLUMN.source0)),
        i32.xor(word(WORD.ports), pairOf(get(near), get(far))),
      ),
    ),
    set(direction, i32.isZero(get(turned))),
    leaveIf(i32.and(i32.ne(get(same), 0), i32.ne(get(turned), 0))),
    leaveIf(i32.ne(word(WORD.kind), TCP4)),
    set(remembered, i32.load(i32.add(get(at), i32.shl(get(direction), 2)), WORD.memo * 4)),
    set(context, i32.shl(i32.shrU(get(remembered), 16), 4)),
    leaveIf(i32.isZero(get(context))),
    leaveIf(
      all(
        i32.xor(contextWord(0), pairOf(halfOf(row, COLUMN.inDevice), halfOf(row, COLUMN.outDevice))),
        i32.xor(contextWord(1), pairOf(halfOf(row, COLUMN.physInDevice), halfOf(row, COLUMN.physOutDevice))),
        i32.xor(contextWord(2), wordOf(row, COLUMN.mark)),
        i32.xor(
          contextWord(3),
          i32.or(byteOf(row, COLUMN.path), i32.shl(i32.load8(byteOf(row, COLUMN.tcpFlags), FLAG_CLASSES), 8)),
        ),
      ),
    ),
  ];

  const [seconds, until, rowSeconds, milliseconds] = [
    locals.double(),
    locals.double(),
    locals.double(),
    locals.double(),
  ];
  const [head, now, rowNow, isLater] = [int(), int(), int(), int()];
  const rounded = f64.ceil(get(milliseconds));
  const time: readonly Code[] = [
    set(head, word(HEAD_WORD)),
    leaveIf(i32.ne(i32.and(get(head), HEAD_MASK), ESTABLISHED_HEAD)),
    leaveIf(i32.isZero(i32.load8(byteOf(row, COLUMN.tcpFlags), IS_ACK))),
    set(rowSeconds, f64.load(i32.shl(get(row), 3), COLUMN.time)),
    set(isLater, f64.gt(get(rowSeconds), get(seconds))),
    set(milliseconds, f64.mul(get(rowSeconds), 1000)),
    // As Math.round: up from the half.
    set(milliseconds, selectDouble(f64.ge(get(milliseconds), f64.sub(rounded, 0.5)), rounded, f64.sub(rounded, 1))),
    leaveIf(i32.and(get(isLater), f64.ge(get(milliseconds), get(until)))),
    set(rowNow, select(get(isLater), f64.toI32(get(milliseconds)), get(now))),
  ];

  const [sender, receiver, stated, sequence, acknowledgment, last] = [int(), int(), int(), int(), int(), int()];
  const [senderEnd, senderMaxEnd, senderMaxWindow, receiverEnd, receiverMaxWindow] = [
    int(),
    int(),
    int(),
    int(),
    int(),
  ];
  const windowWord = (of: Local, number: number) => i32.load(get(of), FIRST_WINDOW * 4 + number * 4);
  const setWindowWord = (of: Local, number: number, value: Code) =>
    i32.store(get(of), FIRST_WINDOW * 4 + number * 4, value);
  const inWindow: readonly Code[] = [
    set(sender, i32.add(get(at), i32.mul(get(direction), WINDOW_WORDS * 4))),
    set(receiver, i32.sub(i32.add(get(at), WINDOW_WORDS * 4), i32.mul(get(direction), WINDOW_WORDS * 4))),
    set(stated, halfOf(row, COLUMN.window)),
    set(sequence, wordOf(row, COLUMN.sequence)),
    set(acknowledgment, wordOf(row, COLUMN.acknowledgment)),
    set(last, i32.add(get(sequence), wordOf(row, COLUMN.payloadBytes))),
    set(senderEnd, windowWord(sender, WINDOW.end)),
    set(senderMaxEnd, windowWord(sender, WINDOW.maxEnd)),
    set(senderMaxWindow, windowWord(sender, WINDOW.maxWindow)),
    set(receiverEnd, windowWord(receiver, WINDOW.end)),
    set(receiverMaxWindow, windowWord(receiver, WINDOW.maxWindow)),
    leaveIf(
      all(
        i32.le(get(senderMaxWindow), 0),
        i32.le(get(receiverMaxWindow), 0),
        i32.isZero(get(stated)),
        i32.le(i32.sub(word(WORD.deadline), get(rowNow)), 0),
      ),
    ),
    leaveIf(
      i32.lt(
        all(
          i32.sub(get(senderMaxEnd), get(sequence)),
          i32.sub(get(receiverEnd), get(acknowledgment)),
          i32.sub(get(last), i32.sub(get(senderEnd), get(receiverMaxWindow))),
          i32.sub(
            get(acknowledgment),
            i32.sub(
              get(receiverEnd),
              select(i32.lt(get(senderMaxWindow), LEAST_ACK_WINDOW), LEAST_ACK_WINDOW, get(senderMaxWindow)),
            ),
          ),
        ),
        0,
      ),
    ),
    leaveIf(
      i32.isZero(
        all(
          i32.xor(word(LAST.sequence), get(sequence)),
          i32.xor(word(LAST.acknowledgment), get(acknowledgment)),
          i32.xor(word(LAST.end), get(last)),
          i32.xor(word(LAST.window), get(stated)),
          i32.xor(i32.shrU(get(head), 24), get(direction)),
        ),
      ),
    ),
  ];

  const [sides, bits, window, advances, known, expiry] = [int(), int(), int(), int(), int(), int()];
  const ownBits = (flags: number) => i32.shl(number(flags), get(bits));
  const pass: readonly Code[] = [
    set(bits, i32.mul(get(direction), SIDE_BITS)),
    set(sides, word(SIDES_WORD)),
    set(window, i32.shl(get(stated), i32.and(i32.shrU(get(sides), i32.add(get(bits), 8)), 0xff))),
    setWindowWord(
      sender,
      WINDOW.maxWindow,
      select(i32.lt(get(senderMaxWindow), get(window)), get(window), get(senderMaxWindow)),
    ),
    set(advances, sign(i32.sub(get(senderEnd), get(last)))),
    setWindowWord(sender, WINDOW.end, select(get(advances), get(last), get(senderEnd))),
    set(sides, i32.or(get(sides), select(get(advances), ownBits(SIDE.dataUnacknowledged), 0))),
    set(known, windowWord(sender, WINDOW.maxAck)),
    set(
      advances,
      i32.or(i32.isZero(i32.and(get(sides), ownBits(SIDE.maxAckSet))), sign(i32.sub(get(known), get(acknowledgment)))),
    ),
    setWindowWord(sender, WINDOW.maxAck, select(get(advances), get(acknowledgment), get(known))),
    set(sides, i32.or(get(sides), ownBits(SIDE.maxAckSet))),
    set(known, i32.sub(get(last), get(senderMaxEnd))),
    setWindowWord(
      receiver,
      WINDOW.maxWindow,
      i32.add(get(receiverMaxWindow), select(sign(i32.sub(get(senderMaxEnd), get(last))), get(known), 0)),
    ),
    set(known, windowWord(receiver, WINDOW.maxEnd)),
    set(window, i32.add(get(acknowledgment), get(window))),
    setWindowWord(
      receiver,
      WINDOW.maxEnd,
      select(i32.ge(i32.sub(get(window), get(known)), 0), get(window), get(known)),
    ),
    // The other side's data is acknowledged: its bits are those that are not this side's.
    set(
      sides,
      i32.and(
        get(sides),
        i32.xor(
          select(
            i32.eq(get(acknowledgment), get(receiverEnd)),
            i32.shl(number(SIDE.dataUnacknowledged), i32.sub(SIDE_BITS, get(bits))),
            0,
          ),
          -1,
        ),
      ),
    ),
    i32.store(get(at), SIDES_WORD * 4, get(sides)),
    i32.store8(get(at), RETRANSMISSIONS_WORD * 4, number(0)),
    i32.store(get(at), LAST.sequence * 4, get(sequence)),
    i32.store(get(at), LAST.acknowledgment * 4, get(acknowledgment)),
    i32.store(get(at), LAST.end * 4, get(last)),
    i32.store(get(at), LAST.window * 4, get(stated)),
    i32.store(get(at), HEAD_WORD * 4, i32.or(ESTABLISHED_HEAD | (SEGMENT.ack << 16), i32.shl(get(direction), 24))),
    set(
      expiry,
      i32.add(
        get(rowNow),
        select(i32.and(get(sides), ofBoth(SIDE.dataUnacknowledged)), get(unacknowledged), get(established)),
      ),
    ),
    i32.store(get(at), WORD.deadline * 4, get(expiry)),
    set(now, get(rowNow)),
    set(seconds, selectDouble(get(isLater), get(rowSeconds), get(seconds))),
    i32.store8(get(row), FOUND.directions, get(direction)),
    i32.store(i32.shl(get(row), 2), FOUND.outcomes, i32.and(get(remembered), 0xffff)),
    set(row, i32.add(get(row), 1)),
    leaveIf(i32.lt(i32.sub(get(expiry), word(WORD.visit)), 0)),
  ];

  return moduleBytes(locals, [
    ...hashes,
    ...entries,
    set(seconds, f64.load(number(0), CLOCK)),
    set(until, f64.load(number(0), UNTIL)),
    set(now, i32.load(number(0), NOW)),
    repeat(leaveIf(i32.eq(get(row), get(count))), ...recognise, ...time, ...inWindow, ...pass),
    f64.store(number(0), CLOCK, get(seconds)),
    i32.store(number(0), NOW, get(now)),
    get(row),
  ]);
}

/** Of all tables; undefined where nothing may be compiled. */
const code: { module?: ReturnType<typeof compiled> } = {};

function moduleOfLoops() {
  if (!("module" in code)) code.module = compiled(loops());
  return code.module;
}

/* ---------------------------------------------- A table's memory -------------------------------------------------- */

/** Rows to pass, one after the other, and what is known of them. */
export interface RowsToPass {
  readonly batch: PacketBatch;
  readonly first: number;
  /** `MOST_ROWS` at most. */
  readonly count: number;
  readonly contexts: RememberedContexts;
}

/** The memory in which a table lies for the loops to run over it, and they. */
export class EstablishedLoops {
  /** Room for the places of the index, two words each, and for the words of all entries; all zero. */
  readonly places: Int32Array;
  readonly words: Int32Array;
  /** Of the rows that passed last: directions, and what was remembered for them without the context. */
  readonly directions: Uint8Array;
  readonly outcomes: Int32Array;
  readonly #run: WasmFunction;
  readonly #columns: readonly (readonly [name: keyof typeof COLUMN, column: Columns])[];
  readonly #entries: Int32Array;
  readonly #clock: Float64Array;
  readonly #now: Int32Array;
  readonly #contexts: Int32Array;
  readonly #flagClasses: Uint8Array;
  /** The contexts at hand: these words, so many of them. */
  #known: Int32Array | undefined;
  #knownCount = 0;

  /** For a table of at most so many entries; undefined where there is no WebAssembly, or no room. */
  static of(most: number): EstablishedLoops | undefined {
    const places = 2 ** Math.max(7, Math.ceil(Math.log2(2 * most)));
    const bytes = PLACES + places * 8 + most * FLOW_BYTES;
    const module = bytes > MOST_BYTES ? undefined : moduleOfLoops();
    const memory = module === undefined ? undefined : memoryOf(bytes);
    if (module === undefined || memory === undefined) return undefined;
    return new EstablishedLoops(memory.buffer, instantiated(module, memory), places, most);
  }

  private constructor(buffer: ArrayBuffer, run: WasmFunction, places: number, most: number) {
    this.#run = run;
    this.places = new Int32Array(buffer, PLACES, places * 2);
    this.words = new Int32Array(buffer, PLACES + places * 8, (most * FLOW_BYTES) / 4);
    this.directions = new Uint8Array(buffer, FOUND.directions, MOST_ROWS);
    this.outcomes = new Int32Array(buffer, FOUND.outcomes, MOST_ROWS);
    this.#columns = (Object.keys(COLUMN) as (keyof typeof COLUMN)[]).map((name) => [name, columnIn(buffer, name)]);
    this.#entries = new Int32Array(buffer, FOUND.entries, MOST_ROWS);
    this.#clock = new Float64Array(buffer, CLOCK, 2);
    this.#now = new Int32Array(buffer, NOW, 1);
    this.#contexts = new Int32Array(buffer, CONTEXTS, MOST_CONTEXTS * 4);
    this.#flagClasses = new Uint8Array(buffer, FLAG_CLASSES, FLAG_BYTES);
    const acks = new Uint8Array(buffer, IS_ACK, FLAG_BYTES);
    for (let flags = 0; flags < FLAG_BYTES; flags++) acks[flags] = Number(segmentOf(flags) === SEGMENT.ack);
  }

  /** The slot of a row that passed. */
  slotOf(row: number): number {
    return ((this.#entries[row] ?? 0) - this.words.byteOffset) / FLOW_BYTES;
  }

  /** `passSegments` for those of the rows that are what most packets are; how many passed. */
  pass(
    rows: RowsToPass,
    index: { readonly shift: number; readonly mask: number },
    flow: Flow,
    clock: RowClock,
  ): number {
    const { timeouts, settings } = flow;
    if (settings.tcpMaxRetransmissions === 0) return 0;
    const { batch, first, count, contexts } = rows;
    for (const [name, column] of this.#columns) column.set(batch[name].subarray(first, first + count));
    this.#learn(contexts);
    this.#clock[0] = clock.seconds;
    this.#clock[1] = clock.until;
    this.#now[0] = flow.now;
    const established = timeouts[TIMEOUT_SLOT.tcp + TCP_STATE.established] ?? 0;
    const unacknowledged = Math.min(established, timeouts[TIMEOUT_SLOT.tcpUnacknowledged] ?? 0);
    const passed = this.#run(count, index.shift, index.mask, this.words.byteOffset, established, unacknowledged);
    flow.now = this.#now[0] ?? 0;
    clock.seconds = this.#clock[0] ?? 0;
    return passed;
  }

  /** Contexts are only ever added to, until others come in other words. */
  #learn({ words, count, tcpFlags }: RememberedContexts): void {
    if (words === this.#known && count === this.#knownCount) return;
    this.#contexts.set(words.subarray(0, (count + 1) * 4));
    this.#flagClasses.set(tcpFlags);
    this.#known = words;
    this.#knownCount = count;
  }
}

type Columns = Uint8Array | Uint16Array | Int32Array | Uint32Array | Float64Array;

function columnIn(buffer: ArrayBuffer, name: keyof typeof COLUMN): Columns {
  const at = COLUMN[name];
  switch (name) {
    case "family":
    case "protocol":
    case "flags":
    case "tcpFlags":
    case "path":
      return new Uint8Array(buffer, at, MOST_ROWS);
    case "sourcePort":
    case "destinationPort":
    case "inDevice":
    case "outDevice":
    case "physInDevice":
    case "physOutDevice":
    case "window":
      return new Uint16Array(buffer, at, MOST_ROWS);
    case "source0":
    case "destination0":
      return new Int32Array(buffer, at, MOST_ROWS);
    case "mark":
    case "sequence":
    case "acknowledgment":
    case "payloadBytes":
      return new Uint32Array(buffer, at, MOST_ROWS);
    case "time":
      return new Float64Array(buffer, at, MOST_ROWS);
  }
}
