/**
 * The loops of establishedLoops.ts as WebAssembly, and where in its memory they find things.
 *
 * A row that cannot pass does not end the loops: it is left for whoever looks at rows one by one, and the rows behind it are
 * tried. That nobody can tell the order, three things see to:
 *
 * - No row passes whose entry a row left before it may have to do with. Entries of rows that are left get the stamp of the
 *   call; a row whose entry has it is left as well. Entries that a row left would make are in the index for none of these rows.
 * - A row's time is that of the latest row up to it, left or not. Rows that are left may or may not let time pass (what is
 *   never tracked does not), so a row before whose time one was left is left, too.
 * - A row that is left may take away entries to make room, or because their time is up. Established ones never make room, and
 *   one whose time is up lets no later row pass.
 */
import { PACKET_FLAG, type PacketBatch, PROTOCOL, TCP_FLAG } from "../packet.ts";
import {
  all,
  attempt,
  type Code,
  f64,
  get,
  i32,
  i32x4,
  type Local,
  leaveIf,
  number,
  repeat,
  select,
  selectDouble,
  set,
  v128,
} from "../wasm/code.ts";
import { Locals, moduleBytes } from "../wasm/module.ts";
import { FLOW_BYTES, WORD } from "./flow.ts";
import { HEAD_WORD, LAST, ofBoth, SEGMENT, SIDE, SIDE_BITS, SIDES_WORD, WINDOW } from "./tcpEntry.ts";
import {
  ESTABLISHED_HEAD,
  FIRST_WINDOW,
  HEAD_MASK,
  MOST_ROWS,
  RETRANSMISSIONS_WORD,
  TCP4,
  TELLING,
  WINDOW_WORDS,
} from "./tcpEstablished.ts";
import { LEAST_ACK_WINDOW } from "./tcpWindow.ts";
import { HASH_FACTORS } from "./tuple.ts";

export const MOST_CONTEXTS = 0x1_0000;
export const FLAG_BYTES = 256;

/* ---------------------------------------------- Where things lie -------------------------------------------------- */

let end = 0;

/** Room for so many things of a size; cache lines are not shared. */
function room(count: number, bytes: number): number {
  const at = end;
  end = (at + count * bytes + 63) & ~63;
  return at;
}

/** Doubles: seconds, and milliseconds that stop the rows. */
export const CLOCK = room(2, 8);
const UNTIL = CLOCK + 8;
/** The present millisecond as an integer. */
export const NOW = room(1, 4);
/** How many rows were left, and how many entries are to be hung elsewhere in the timer wheel. */
export const COUNTS = room(2, 4);
export const COLUMN = {
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
export const FOUND = {
  /** Not 0: no segment of those, whatever its entry. */
  isOther: room(MOST_ROWS, 1),
  hashes: room(MOST_ROWS, 4),
  /** Source, destination, ports and kind as an entry has them; and the context but for its last word. */
  tuples: room(MOST_ROWS, 16),
  contexts: room(MOST_ROWS, 16),
  /** Addresses of entries. */
  entries: room(MOST_ROWS, 4),
  /** What was remembered, without the context; 1 for rows that were left. */
  outcomes: room(MOST_ROWS, 4),
  /** Numbers of the rows that were left, and the seconds before each: those of the rows that passed before it. */
  left: room(MOST_ROWS, 4),
  leftSeconds: room(MOST_ROWS, 8),
  /** Addresses of entries that have to be visited earlier than they would be. */
  unhung: room(MOST_ROWS, 4),
  sum: room(1, 4),
};
/** Stands for the entry of a row that has none: of no kind. */
const NOBODY = room(1, FLOW_BYTES);
export const FLAG_CLASSES = room(FLAG_BYTES, 1);
export const CONTEXTS = room(MOST_CONTEXTS * 4, 4);
export const PLACES = room(1, 0);

/* ---------------------------------------------- The loops --------------------------------------------------------- */

/** What a row says, by its number. */
const byteOf = (row: Local, column: number): Code => i32.load8(get(row), column);
const halfOf = (row: Local, column: number): Code => i32.load16(i32.shl(get(row), 1), column);
const wordOf = (row: Local, column: number): Code => i32.load(i32.shl(get(row), 2), column);
const pairsOf = (low: Local, high: Local): Code => v128.or(get(low), i32x4.shl(get(high), 16));

/** Numbers of bytes that interleave two vectors: words of their lower or upper halves, or these halves. */
const LOWER_WORDS = [0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23];
const UPPER_WORDS = [8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31];
const LOWER_HALVES = [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23];
const UPPER_HALVES = [8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31];

/** A tuple from the other end: addresses swapped, ports swapped. */
const TURNED = [4, 5, 6, 7, 0, 1, 2, 3, 10, 11, 8, 9, 12, 13, 14, 15];

/** Stores columns of four rows as four records, row by row. `spare` are overwritten. */
function storeRecords(row: Local, at: number, columns: readonly Local[], spare: readonly Local[]): readonly Code[] {
  const [a, b, c, d] = columns.map(get);
  const [ab, cd] = spare;
  if (
    a === undefined ||
    b === undefined ||
    c === undefined ||
    d === undefined ||
    ab === undefined ||
    cd === undefined
  ) {
    throw new Error("four columns and two spare ones are needed");
  }
  return [LOWER_WORDS, UPPER_WORDS].flatMap((words, pair) => [
    set(ab, v128.shuffle(a, b, words)),
    set(cd, v128.shuffle(c, d, words)),
    v128.store(i32.shl(get(row), 4), at + pair * 32, v128.shuffle(get(ab), get(cd), LOWER_HALVES)),
    v128.store(i32.shl(get(row), 4), at + pair * 32 + 16, v128.shuffle(get(ab), get(cd), UPPER_HALVES)),
  ]);
}

/** 1: negative. */
const sign = (value: Code): Code => i32.shrU(value, 31);

/**
 * The module whose function lets rows pass. It is given how many there are, shift and mask of the index, where the entries
 * start, two timeouts (with nothing to acknowledge, and with something), and the stamp of the call; it says how many rows
 * were looked at.
 */
export function loops(): Uint8Array {
  const locals = new Locals();
  const [count, shift, mask, words] = [locals.parameter(), locals.parameter(), locals.parameter(), locals.parameter()];
  const [established, unacknowledged, stamp] = [locals.parameter(), locals.parameter(), locals.parameter()];
  const int = () => locals.int();
  const [row, sum, hash, place] = [int(), int(), int(), int()];

  const placeOf = (number: Local) => i32.shl(get(number), 3);
  const vector = () => locals.vector();
  const [source, destination, near, far, from, to] = [vector(), vector(), vector(), vector(), vector(), vector()];
  const [port, first, second, kind] = [vector(), vector(), vector(), vector()];
  const [tcp, fragment, telling, ack] = [vector(), vector(), vector(), vector()];
  const bytesOf = (column: number) => v128.load(get(row), column);
  const wordsOf = (column: number) => v128.load(i32.shl(get(row), 2), column);
  const halvesOf = (column: number) => i32x4.load16(i32.shl(get(row), 1), column);
  const mix = (value: Local): readonly Code[] => {
    const folded = (bits: number) => v128.xor(get(value), i32x4.shrU(get(value), bits));
    return [
      set(value, i32x4.mul(folded(16), get(first))),
      set(value, i32x4.mul(folded(13), get(second))),
      set(value, folded(16)),
    ];
  };
  // Several rows at once, and so some behind the last; what is found of those is overwritten by the next call.
  const columns: readonly Code[] = [
    set(from, v128.ofBytes(4)),
    set(tcp, v128.ofBytes(PROTOCOL.tcp)),
    set(fragment, v128.ofBytes(PACKET_FLAG.fragment)),
    set(telling, v128.ofBytes(TELLING)),
    set(ack, v128.ofBytes(TCP_FLAG.A)),
    repeat(
      leaveIf(i32.ge(get(row), get(count))),
      v128.store(
        get(row),
        FOUND.isOther,
        v128.or(
          v128.or(v128.xor(bytesOf(COLUMN.family), get(from)), v128.xor(bytesOf(COLUMN.protocol), get(tcp))),
          v128.or(
            v128.and(bytesOf(COLUMN.flags), get(fragment)),
            v128.xor(v128.and(bytesOf(COLUMN.tcpFlags), get(telling)), get(ack)),
          ),
        ),
      ),
      set(row, i32.add(get(row), 16)),
    ),
    set(row, 0),
    set(port, i32x4.splat(HASH_FACTORS.port)),
    set(first, i32x4.splat(HASH_FACTORS.first)),
    set(second, i32x4.splat(HASH_FACTORS.second)),
    set(kind, i32x4.splat(TCP4)),
    repeat(
      leaveIf(i32.ge(get(row), get(count))),
      // As if all were segments over IPv4: of another row, some entry is kept from the rows behind it.
      set(source, wordsOf(COLUMN.source0)),
      set(destination, wordsOf(COLUMN.destination0)),
      set(near, halvesOf(COLUMN.sourcePort)),
      set(far, halvesOf(COLUMN.destinationPort)),
      set(from, i32x4.add(get(source), i32x4.mul(get(near), get(port)))),
      ...mix(from),
      set(to, i32x4.add(get(destination), i32x4.mul(get(far), get(port)))),
      ...mix(to),
      set(from, i32x4.mul(v128.xor(i32x4.add(get(from), get(to)), get(kind)), get(port))),
      v128.store(i32.shl(get(row), 2), FOUND.hashes, v128.xor(get(from), i32x4.shrU(get(from), 15))),
      set(near, pairsOf(far, near)),
      ...storeRecords(row, FOUND.tuples, [source, destination, near, kind], [from, to]),
      set(near, halvesOf(COLUMN.inDevice)),
      set(far, halvesOf(COLUMN.outDevice)),
      set(source, pairsOf(near, far)),
      set(near, halvesOf(COLUMN.physInDevice)),
      set(far, halvesOf(COLUMN.physOutDevice)),
      set(destination, pairsOf(near, far)),
      set(near, wordsOf(COLUMN.mark)),
      ...storeRecords(row, FOUND.contexts, [source, destination, near, near], [from, to]),
      set(row, i32.add(get(row), 4)),
    ),
    set(row, 0),
    repeat(
      leaveIf(i32.eq(get(row), get(count))),
      set(place, i32.shrU(wordOf(row, FOUND.hashes), get(shift))),
      set(sum, i32.xor(get(sum), i32.load(placeOf(place), PLACES))),
      set(row, i32.add(get(row), 1)),
    ),
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
      i32.store(
        i32.shl(get(row), 2),
        FOUND.entries,
        select(get(slot), i32.add(get(words), i32.mul(i32.sub(get(slot), 1), FLOW_BYTES)), NOBODY),
      ),
      set(row, i32.add(get(row), 1)),
    ),
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
  const [same, turned, direction, remembered, context] = [int(), int(), int(), int(), int()];
  const [tuple, key] = [vector(), vector()];
  const recordOf = (column: number) => v128.load(i32.shl(get(row), 4), column);
  const recognise: readonly Code[] = [
    leaveIf(byteOf(row, FOUND.isOther)),
    leaveIf(i32.eq(word(WORD.stamp), get(stamp))),
    set(tuple, recordOf(FOUND.tuples)),
    set(key, v128.load(get(at), 0)),
    set(same, v128.any(v128.xor(get(key), get(tuple)))),
    set(turned, v128.any(v128.xor(get(key), v128.shuffle(get(tuple), get(tuple), TURNED)))),
    set(direction, i32.isZero(get(turned))),
    leaveIf(i32.and(get(same), get(turned))),
    set(remembered, i32.load(i32.add(get(at), i32.shl(get(direction), 2)), WORD.memo * 4)),
    set(context, i32.shl(i32.shrU(get(remembered), 16), 4)),
    leaveIf(i32.isZero(get(context))),
    leaveIf(
      v128.any(
        v128.xor(
          v128.load(get(context), CONTEXTS),
          i32x4.withLast(
            recordOf(FOUND.contexts),
            i32.or(byteOf(row, COLUMN.path), i32.shl(i32.load8(byteOf(row, COLUMN.tcpFlags), FLAG_CLASSES), 8)),
          ),
        ),
      ),
    ),
  ];

  const double = () => locals.double();
  const [seconds, until, rowSeconds, milliseconds] = [double(), double(), double(), double()];
  /** The latest time of a row that was left, and the time of the row if it passes. */
  const [leftSeconds, reached] = [double(), double()];
  const [head, now, rowNow, isLater] = [int(), int(), int(), int()];
  const rounded = f64.ceil(get(milliseconds));
  const time: readonly Code[] = [
    set(rowSeconds, f64.load(i32.shl(get(row), 3), COLUMN.time)),
    set(isLater, f64.gt(get(rowSeconds), get(seconds))),
    set(milliseconds, f64.mul(get(rowSeconds), 1000)),
    // As Math.round: up from the half.
    set(milliseconds, selectDouble(f64.ge(get(milliseconds), f64.sub(rounded, 0.5)), rounded, f64.sub(rounded, 1))),
    leaveIf(i32.and(get(isLater), f64.ge(get(milliseconds), get(until)))),
    set(reached, selectDouble(get(isLater), get(rowSeconds), get(seconds))),
    set(rowNow, select(get(isLater), f64.toI32(get(milliseconds)), get(now))),
  ];
  const isEstablished: readonly Code[] = [
    leaveIf(f64.gt(get(leftSeconds), get(reached))),
    set(head, word(HEAD_WORD)),
    leaveIf(i32.ne(i32.and(get(head), HEAD_MASK), ESTABLISHED_HEAD)),
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

  const [sides, bits, window, advances, known, expiry, unhung] = [int(), int(), int(), int(), int(), int(), int()];
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
    i32.store(i32.shl(get(unhung), 2), FOUND.unhung, get(at)),
    set(unhung, i32.add(get(unhung), sign(i32.sub(get(expiry), word(WORD.visit))))),
  ];

  const [passes, left] = [int(), int()];
  const note: readonly Code[] = [
    i32.store(i32.shl(get(row), 2), FOUND.outcomes, select(get(passes), i32.and(get(remembered), 0xffff), 1)),
    i32.store(i32.shl(get(left), 2), FOUND.left, get(row)),
    f64.store(i32.shl(get(left), 3), FOUND.leftSeconds, get(seconds)),
    set(left, i32.add(get(left), i32.isZero(get(passes)))),
    i32.store(select(get(passes), NOBODY, get(at)), WORD.stamp * 4, get(stamp)),
    set(
      leftSeconds,
      selectDouble(i32.or(get(passes), f64.ge(get(leftSeconds), get(rowSeconds))), get(leftSeconds), get(rowSeconds)),
    ),
    set(seconds, selectDouble(get(passes), get(reached), get(seconds))),
    set(now, select(get(passes), get(rowNow), get(now))),
  ];

  return moduleBytes(locals, [
    ...columns,
    ...entries,
    set(seconds, f64.load(number(0), CLOCK)),
    set(until, f64.load(number(0), UNTIL)),
    set(now, i32.load(number(0), NOW)),
    set(leftSeconds, Number.NEGATIVE_INFINITY),
    repeat(
      leaveIf(i32.eq(get(row), get(count))),
      ...time,
      set(at, wordOf(row, FOUND.entries)),
      set(passes, 0),
      attempt(...recognise, ...isEstablished, ...inWindow, ...pass, set(passes, 1)),
      ...note,
      set(row, i32.add(get(row), 1)),
    ),
    f64.store(number(0), CLOCK, get(seconds)),
    i32.store(number(0), COUNTS, get(left)),
    i32.store(number(0), COUNTS + 4, get(unhung)),
    get(row),
  ]);
}
