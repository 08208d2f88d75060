/**
 * The loops of establishedLoops.ts as WebAssembly.
 *
 * A row that cannot pass does not end the loops: it is left for whoever looks at rows one by one, and the rows behind it are
 * tried. That nobody can tell the order, four things see to:
 *
 * - No row passes whose entry a row left before it may have to do with. Entries of rows that are left get the stamp of the
 *   call; a row whose entry has it is left as well. Entries that a row left would make are in the index for none of these rows.
 * - Segments of no connection are refused where one like them was: what was remembered lies in a table of small records, in which a
 *   tuple has one place for both directions. A row without an entry that is left puts its stamp there, so that no later row of the
 *   connection that it may begin is refused.
 * - A row's time is that of the latest row up to it, left or not. Rows that are left may or may not let time pass (what is
 *   never tracked does not), so a row before whose time one was left is left, too.
 * - A row that is left may take away entries to make room, or because their time is up. Established ones never make room, and
 *   one whose time is up lets no later row pass.
 */
import { OUTCOME, OUTCOME_WORDS } from "../classes/outcomes.ts";
import { PACKET_FLAG, PROTOCOL, TCP_FLAG } from "../packet.ts";
import {
  all,
  attempt,
  type Code,
  f64,
  f64x2,
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
import { fourAtOnce } from "./establishedFour.ts";
import {
  BLOCK_ROWS,
  CLOCK,
  COLUMN,
  CONTEXTS,
  COUNTS,
  FLAG_CLASSES,
  FOUND,
  NOW,
  OUTCOMES,
  PLACES,
  REFUSED,
  REFUSED_BITS,
  REFUSED_BYTES,
  REFUSED_WORD,
  RESULT,
  UNTIL,
} from "./establishedLayout.ts";
import { LOW_WORDS, pairsOf, transposed } from "./establishedVectors.ts";
import { FLOW_BYTES, WORD } from "./flow.ts";
import { HEAD_WORD, LAST, ofBoth, SEGMENT, SIDE, SIDE_BITS, SIDES_WORD, WINDOW } from "./tcpEntry.ts";
import {
  ESTABLISHED_HEAD,
  FIRST_WINDOW,
  HEAD_MASK,
  RETRANSMISSIONS_WORD,
  TCP4,
  TELLING,
  WINDOW_WORDS,
} from "./tcpEstablished.ts";
import { LEAST_ACK_WINDOW } from "./tcpWindow.ts";
import { HASH_FACTORS } from "./tuple.ts";

/* ---------------------------------------------- The loops --------------------------------------------------------- */

/** What a row says, by its number. */
const byteOf = (row: Local, column: number): Code => i32.load8(get(row), column);
const halfOf = (row: Local, column: number): Code => i32.load16(i32.shl(get(row), 1), column);
const wordOf = (row: Local, column: number): Code => i32.load(i32.shl(get(row), 2), column);

/** A tuple from the other end: addresses swapped, ports swapped. */
const TURNED = [4, 5, 6, 7, 0, 1, 2, 3, 10, 11, 8, 9, 12, 13, 14, 15];

/** The first and the second bytes of words. */
const VERDICTS_AND_STATES = [0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15];

/**
 * Added to a whole number of 51 bits at most, it leaves that number modulo 2^32 in the lower half of the sum: the last bit of
 * a double of this size counts one.
 */
const WRAPPING = 1.5 * 2 ** 52;

/** 1: negative. */
const sign = (value: Code): Code => i32.shrU(value, 31);

/**
 * The module whose function lets rows pass. It is given how many there are, shift and mask of the index, where the entries
 * start, two timeouts (with nothing to acknowledge, and with something), the stamp of the call, and whether rows may be refused;
 * it says how many rows were looked at.
 */
export function loops(): Uint8Array {
  const locals = new Locals();
  const [count, shift, mask, words] = [locals.parameter(), locals.parameter(), locals.parameter(), locals.parameter()];
  const [established, unacknowledged, stamp] = [locals.parameter(), locals.parameter(), locals.parameter()];
  const refuses = locals.parameter();
  const int = () => locals.int();
  /** A row; the first one of the block and the one behind its last; and where in `FOUND` there is something of the row. */
  const [row, first, behind, found] = [int(), int(), int(), int()];
  const [sum, hash, place, looked] = [int(), int(), int(), int()];
  const eachRow = (...statements: readonly Code[]): readonly Code[] => [
    set(row, get(first)),
    set(found, 0),
    repeat(
      leaveIf(i32.eq(get(row), get(behind))),
      ...statements,
      set(row, i32.add(get(row), 1)),
      set(found, i32.add(get(found), 4)),
    ),
  ];

  const placeOf = (number: Local) => i32.shl(get(number), 3);
  /** What was found of a row: a word, or a record of four. */
  const foundWord = (at: number) => i32.load(get(found), at);
  const foundRecord = (at: number) => v128.load(i32.shl(get(found), 2), at);

  const vector = () => locals.vector();
  const [source, destination, near, far, from, to] = [vector(), vector(), vector(), vector(), vector(), vector()];
  const [port, factor1, factor2, kind, thousand, half, one, magic] = [
    vector(),
    vector(),
    vector(),
    vector(),
    vector(),
    vector(),
    vector(),
    vector(),
  ];
  const [tcp, fragment, telling, ack] = [vector(), vector(), vector(), vector()];
  const bytesOf = (column: number) => v128.load(get(row), column);
  const wordsOf = (column: number) => v128.load(i32.shl(get(row), 2), column);
  const halvesOf = (column: number) => i32x4.load16(i32.shl(get(row), 1), column);
  const doublesOf = (column: number, number: number) => v128.load(i32.shl(get(row), 3), column + number * 16);
  const mix = (value: Local): readonly Code[] => {
    const folded = (bits: number) => v128.xor(get(value), i32x4.shrU(get(value), bits));
    return [
      set(value, i32x4.mul(folded(16), get(factor1))),
      set(value, i32x4.mul(folded(13), get(factor2))),
      set(value, folded(16)),
    ];
  };
  const storeRecords = (at: number, columns: readonly [Local, Local, Local, Local]) =>
    transposed(columns, [from, to], (words4, number) => [v128.store(i32.shl(get(found), 2), at + number * 16, words4)]);
  /** Rounds the milliseconds of two rows as Math.round does: up from the half. */
  const rounded = (value: Local): readonly Code[] => [
    set(near, f64x2.ceil(get(value))),
    set(value, f64x2.sub(get(near), v128.and(f64x2.lt(get(value), f64x2.sub(get(near), get(half))), get(one)))),
  ];
  const constants: readonly Code[] = [
    set(port, i32x4.splat(HASH_FACTORS.port)),
    set(factor1, i32x4.splat(HASH_FACTORS.first)),
    set(factor2, i32x4.splat(HASH_FACTORS.second)),
    set(kind, i32x4.splat(TCP4)),
    set(thousand, f64x2.splat(1000)),
    set(half, f64x2.splat(0.5)),
    set(one, f64x2.splat(1)),
    set(magic, f64x2.splat(WRAPPING)),
    set(fragment, v128.ofBytes(PACKET_FLAG.fragment)),
    set(telling, v128.ofBytes(TELLING)),
    set(ack, v128.ofBytes(TCP_FLAG.A)),
    set(tcp, v128.ofBytes(PROTOCOL.tcp)),
  ];
  // Several rows at once, and so some behind the last; what is found of those is overwritten by the next block or call.
  const columns: readonly Code[] = [
    set(row, get(first)),
    set(from, v128.ofBytes(4)),
    repeat(
      leaveIf(i32.ge(get(row), get(behind))),
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
    set(row, get(first)),
    set(found, 0),
    repeat(
      leaveIf(i32.ge(get(row), get(behind))),
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
      v128.store(get(found), FOUND.hashes, v128.xor(get(from), i32x4.shrU(get(from), 15))),
      set(near, pairsOf(far, near)),
      ...storeRecords(FOUND.tuples, [source, destination, near, kind]),
      set(near, halvesOf(COLUMN.inDevice)),
      set(far, halvesOf(COLUMN.outDevice)),
      set(source, pairsOf(near, far)),
      set(near, halvesOf(COLUMN.physInDevice)),
      set(far, halvesOf(COLUMN.physOutDevice)),
      set(destination, pairsOf(near, far)),
      set(near, wordsOf(COLUMN.mark)),
      ...storeRecords(FOUND.contexts, [source, destination, near, near]),
      set(from, f64x2.mul(doublesOf(COLUMN.time, 0), get(thousand))),
      set(to, f64x2.mul(doublesOf(COLUMN.time, 1), get(thousand))),
      ...rounded(from),
      ...rounded(to),
      v128.store(i32.shl(get(found), 1), FOUND.milliseconds, get(from)),
      v128.store(i32.shl(get(found), 1), FOUND.milliseconds + 16, get(to)),
      v128.store(
        get(found),
        FOUND.nows,
        v128.shuffle(f64x2.add(get(from), get(magic)), f64x2.add(get(to), get(magic)), LOW_WORDS),
      ),
      set(row, i32.add(get(row), 4)),
      set(found, i32.add(get(found), 16)),
    ),
    ...eachRow(
      set(place, i32.shrU(foundWord(FOUND.hashes), get(shift))),
      set(sum, i32.xor(get(sum), i32.load(placeOf(place), PLACES))),
    ),
  ];

  const slot = int();
  const entries: readonly Code[] = [
    ...eachRow(
      set(hash, foundWord(FOUND.hashes)),
      set(place, i32.shrU(get(hash), get(shift))),
      repeat(
        leaveIf(i32.eq(i32.load(placeOf(place), PLACES), get(hash))),
        leaveIf(i32.isZero(i32.load(placeOf(place), PLACES + 4))),
        set(place, i32.and(i32.add(get(place), 1), get(mask))),
      ),
      set(slot, i32.load(placeOf(place), PLACES + 4)),
      i32.store(
        get(found),
        FOUND.entries,
        select(
          get(slot),
          i32.add(get(words), i32.mul(i32.sub(get(slot), 1), FLOW_BYTES)),
          i32.add(i32.mul(i32.shrU(get(hash), 32 - REFUSED_BITS), REFUSED_BYTES), REFUSED),
        ),
      ),
    ),
    ...eachRow(
      set(slot, foundWord(FOUND.entries)),
      set(sum, i32.xor(get(sum), i32.xor(i32.load(get(slot), 0), i32.load(get(slot), WORD.memo * 4)))),
    ),
    // So that what was read ahead is not optimised away.
    i32.store(number(0), FOUND.sum, get(sum)),
  ];

  const at = int();
  const word = (number: number, from: Local = at) => i32.load(get(from), number * 4);
  const [same, turned, direction, remembered, context] = [int(), int(), int(), int(), int()];
  /** Whether the row has no entry, and where something may be remembered of it. */
  const [isNew, memo] = [int(), int()];
  const stampAfterMemo = (WORD.stamp - WORD.memo) * 4;
  const [tuple, key] = [vector(), vector()];
  const recognise: readonly Code[] = [
    leaveIf(byteOf(row, FOUND.isOther)),
    leaveIf(i32.eq(i32.load(get(memo), stampAfterMemo), get(stamp))),
    set(tuple, foundRecord(FOUND.tuples)),
    set(key, v128.load(get(at), 0)),
    set(same, v128.any(v128.xor(get(key), get(tuple)))),
    set(turned, v128.any(v128.xor(get(key), v128.shuffle(get(tuple), get(tuple), TURNED)))),
    set(direction, i32.isZero(get(turned))),
    leaveIf(i32.and(get(same), get(turned))),
    set(remembered, i32.load(i32.add(get(memo), i32.shl(get(direction), 2)), 0)),
    set(context, i32.shl(i32.shrU(get(remembered), 16), 4)),
    leaveIf(i32.isZero(get(context))),
    leaveIf(
      v128.any(
        v128.xor(
          v128.load(get(context), CONTEXTS),
          i32x4.withLast(
            foundRecord(FOUND.contexts),
            i32.or(byteOf(row, COLUMN.path), i32.shl(i32.load8(byteOf(row, COLUMN.tcpFlags), FLAG_CLASSES), 8)),
          ),
        ),
      ),
    ),
  ];

  const double = () => locals.double();
  const [seconds, until, rowSeconds] = [double(), double(), double()];
  /** The latest time of a row that was left, and the time of the row if it passes. */
  const [leftSeconds, reached] = [double(), double()];
  const [head, now, rowNow, isLater] = [int(), int(), int(), int()];
  const time: readonly Code[] = [
    set(rowSeconds, f64.load(i32.shl(get(row), 3), COLUMN.time)),
    set(isLater, f64.gt(get(rowSeconds), get(seconds))),
    leaveIf(i32.and(get(isLater), f64.ge(f64.load(i32.shl(get(found), 1), FOUND.milliseconds), get(until)))),
    set(reached, selectDouble(get(isLater), get(rowSeconds), get(seconds))),
    set(rowNow, select(get(isLater), foundWord(FOUND.nows), get(now))),
  ];
  const [passes, left, refused] = [int(), int(), int()];
  const isEstablished: readonly Code[] = [
    leaveIf(f64.gt(get(leftSeconds), get(reached))),
    set(passes, i32.and(get(isNew), get(refuses))),
    leaveIf(get(isNew)),
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

  const notePassed: readonly Code[] = [
    i32.store(get(found), FOUND.outcomes, i32.and(get(remembered), 0xffff)),
    set(seconds, get(reached)),
    set(now, get(rowNow)),
    set(passes, 1),
  ];
  const noteRefused: readonly Code[] = [
    ...notePassed,
    i32.store(i32.shl(get(refused), 2), FOUND.refused, get(row)),
    i32.store(i32.shl(get(refused), 2), FOUND.refusals, get(remembered)),
    set(refused, i32.add(get(refused), 1)),
  ];
  const noteLeft: readonly Code[] = [
    i32.store(get(found), FOUND.outcomes, number(1)),
    i32.store(i32.shl(get(left), 2), FOUND.left, get(row)),
    f64.store(i32.shl(get(left), 3), FOUND.leftSeconds, get(seconds)),
    set(left, i32.add(get(left), 1)),
    i32.store(get(memo), stampAfterMemo, get(stamp)),
    set(leftSeconds, selectDouble(f64.ge(get(leftSeconds), get(rowSeconds)), get(leftSeconds), get(rowSeconds))),
  ];

  const outcome = int();
  const outcomeWord = (number: number) => OUTCOMES + (number - OUTCOME_WORDS) * 4;
  const loadOutcome = (number: number, to: Local): readonly Code[] => [
    set(outcome, i32.mul(i32.load(get(found), FOUND.outcomes + number * 4), OUTCOME_WORDS * 4)),
    set(to, v128.load(get(outcome), outcomeWord(OUTCOME.verdictAndState))),
    i32.store(
      i32.shl(get(row), 2),
      RESULT.setLookups + number * 4,
      i32.load(get(outcome), outcomeWord(OUTCOME.setLookups)),
    ),
  ];
  const resultWords = [undefined, RESULT.decision, RESULT.rules, RESULT.chains];
  const results: readonly Code[] = [
    set(row, get(first)),
    set(found, 0),
    repeat(
      leaveIf(i32.ge(get(row), get(behind))),
      ...[source, destination, near, far].flatMap((vector, number) => loadOutcome(number, vector)),
      ...transposed([source, destination, near, far], [from, to], (words4, number) => {
        const column = resultWords[number];
        if (column !== undefined) return [v128.store(i32.shl(get(row), 2), column, words4)];
        return [
          set(key, v128.shuffle(words4, words4, VERDICTS_AND_STATES)),
          i32.store(get(row), RESULT.verdict, i32x4.extract(get(key), 0)),
          i32.store(get(row), RESULT.ctState, i32x4.extract(get(key), 1)),
        ];
      }),
      set(row, i32.add(get(row), 4)),
      set(found, i32.add(get(found), 16)),
    ),
  ];

  const behindFour = int();
  const four = fourAtOnce(locals, {
    row,
    found,
    seconds,
    until,
    leftSeconds,
    now,
    words,
    stamp,
    established,
    unacknowledged,
  });

  return moduleBytes(locals, [
    set(seconds, f64.load(number(0), CLOCK)),
    set(until, f64.load(number(0), UNTIL)),
    set(now, i32.load(number(0), NOW)),
    set(leftSeconds, Number.NEGATIVE_INFINITY),
    repeat(
      leaveIf(i32.ge(get(first), get(count))),
      set(behind, i32.add(get(first), BLOCK_ROWS)),
      set(behind, select(i32.lt(get(behind), get(count)), get(behind), get(count))),
      ...constants,
      ...columns,
      ...entries,
      set(row, get(first)),
      set(found, 0),
      repeat(
        leaveIf(i32.eq(get(row), get(behind))),
        set(behindFour, i32.add(get(row), 4)),
        set(behindFour, select(i32.lt(get(behindFour), get(behind)), get(behindFour), get(behind))),
        attempt(
          leaveIf(i32.ne(i32.sub(get(behindFour), get(row)), 4)),
          ...four,
          set(row, get(behindFour)),
          set(found, i32.add(get(found), 16)),
        ),
        repeat(
          leaveIf(i32.eq(get(row), get(behindFour))),
          ...time,
          set(at, foundWord(FOUND.entries)),
          set(isNew, i32.ltU(get(at), get(words))),
          set(memo, i32.add(get(at), select(get(isNew), REFUSED_WORD.memo * 4, WORD.memo * 4))),
          set(passes, 0),
          attempt(...recognise, ...isEstablished, ...inWindow, ...pass, ...notePassed),
          attempt(leaveIf(i32.isZero(i32.and(get(isNew), get(passes)))), ...noteRefused),
          attempt(leaveIf(get(passes)), ...noteLeft),
          set(row, i32.add(get(row), 1)),
          set(found, i32.add(get(found), 4)),
        ),
        leaveIf(i32.ne(get(row), get(behindFour))),
      ),
      set(looked, get(row)),
      ...results,
      leaveIf(i32.ne(get(looked), get(behind))),
      set(first, get(behind)),
    ),
    f64.store(number(0), CLOCK, get(seconds)),
    i32.store(number(0), COUNTS, get(left)),
    i32.store(number(0), COUNTS + 4, get(unhung)),
    i32.store(number(0), COUNTS + 8, get(refused)),
    get(looked),
  ]);
}
