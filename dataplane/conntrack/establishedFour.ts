/**
 * Four rows of established segments at once: what the loops of establishedCode.ts do to one row after the other, when none of
 * the four is in the way of another.
 *
 * Most of what is done to a segment are additions and comparisons of words, a dozen of its row with two dozen of its entry.
 * Four rows of four different entries take them as vectors, one word of each. Nothing is written before it is sure that all
 * four pass; otherwise they go one by one, as do four of which two have the same entry.
 */
import { type Code, f64, f64x2, get, i32, i32x4, type Local, leaveIf, set, v128 } from "../wasm/code.ts";
import type { Locals } from "../wasm/module.ts";
import { COLUMN, CONTEXTS, FLAG_CLASSES, FOUND } from "./establishedLayout.ts";
import { LOW_WORDS, LOWER_WORDS, pairsOf, transposed, UPPER_WORDS } from "./establishedVectors.ts";
import { WORD } from "./flow.ts";
import { HEAD_WORD, LAST, ofBoth, SEGMENT, SIDE, SIDE_BITS, SIDES_WORD } from "./tcpEntry.ts";
import { ESTABLISHED_HEAD, FIRST_WINDOW, HEAD_MASK, TCP4, WINDOW_WORDS } from "./tcpEstablished.ts";
import { LEAST_ACK_WINDOW } from "./tcpWindow.ts";

/** Variables of the loops: what a row is, and what has become of those before it. */
export interface RowsSoFar {
  readonly row: Local;
  readonly found: Local;
  readonly seconds: Local;
  readonly until: Local;
  readonly leftSeconds: Local;
  readonly now: Local;
  /** Where the entries start. */
  readonly words: Local;
  readonly stamp: Local;
  readonly established: Local;
  readonly unacknowledged: Local;
}

type Four = readonly [Local, Local, Local, Local];

const ROWS = [0, 1, 2, 3] as const;

/** Vectors with their words moved by one and by two places; and the halves of their words exchanged. */
const NEXT_WORDS = [4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3];
const FAR_WORDS = [8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7];
const EXCHANGED = [2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13];

/** Shifts up to this one are multiplications by what a float can hold; none is larger (RFC 7323 section 2.3). */
const MOST_SCALE = 14;
const FLOAT_BIAS = 127;
const FLOAT_FRACTION_BITS = 23;

/** All bits of words that are negative. */
const negative = (value: Code): Code => i32x4.shrS(value, 31);
const splat = (value: number): Code => i32x4.splat(value);

/** Lets the four rows from `row` on pass, or is left before anything was done: statements of an `attempt`. */
export function fourAtOnce(locals: Locals, so: RowsSoFar): readonly Code[] {
  const { row, found, seconds, until, leftSeconds, now, words, stamp, established, unacknowledged } = so;
  const int = () => locals.int();
  const vector = () => locals.vector();
  const four = (): Four => [vector(), vector(), vector(), vector()];
  const fourInts = (): Four => [int(), int(), int(), int()];

  const wordsOf = (column: number) => v128.load(i32.shl(get(row), 2), column);
  const halvesOf = (column: number) => i32x4.load16(i32.shl(get(row), 1), column);
  const foundWords = (at: number) => v128.load(get(found), at);
  const rows = four();
  const spare = [vector(), vector()] as const;
  /** Four words of each entry, as a vector of each; those that nobody needs are left out. */
  const loadWords = (from: Four, word: number, to: readonly (Local | undefined)[]): readonly Code[] => [
    ...ROWS.map((index) => set(rows[index], v128.load(get(from[index]), word * 4))),
    ...transposed(rows, spare, (turned, index) => {
      const local = to[index];
      return local === undefined ? [] : [set(local, turned)];
    }),
  ];
  const storeWords = (to: Four, word: number, from: Four): readonly Code[] =>
    transposed(from, spare, (turned, index) => [v128.store(get(to[index as 0 | 1 | 2 | 3]), word * 4, turned)]);

  const entries = vector();
  const isTwice = (moved: readonly number[]) => i32x4.eq(get(entries), v128.shuffle(get(entries), get(entries), moved));
  const differ: readonly Code[] = [
    leaveIf(i32.load(get(row), FOUND.isOther)),
    set(entries, foundWords(FOUND.entries)),
    leaveIf(v128.any(v128.or(isTwice(NEXT_WORDS), isTwice(FAR_WORDS)))),
  ];

  // Times that do not go back let each row have its own; others go one by one.
  const times = [locals.double(), locals.double(), locals.double(), locals.double()] as const;
  const nows = vector();
  const latest = f64.load(i32.shl(get(found), 1), FOUND.milliseconds + 3 * 8);
  const later = (pair: number) =>
    f64x2.gt(v128.load(i32.shl(get(row), 3), COLUMN.time + pair * 16), f64x2.splat(get(seconds)));
  const inTime: readonly Code[] = [
    ...ROWS.map((index) => set(times[index], f64.load(i32.shl(get(row), 3), COLUMN.time + index * 8))),
    leaveIf(
      i32.isZero(
        [
          f64.ge(get(times[0]), get(seconds)),
          f64.ge(get(times[0]), get(leftSeconds)),
          f64.ge(get(times[1]), get(times[0])),
          f64.ge(get(times[2]), get(times[1])),
          f64.ge(get(times[3]), get(times[2])),
          f64.gt(get(until), latest),
        ].reduce((sum, holds) => i32.and(sum, holds)),
      ),
    ),
    set(nows, v128.select(foundWords(FOUND.nows), i32x4.splat(get(now)), v128.shuffle(later(0), later(1), LOW_WORDS))),
  ];

  const at = fourInts();
  const [source, destination, near, far, ports] = [vector(), vector(), vector(), vector(), vector()];
  const [keySource, keyDestination, keyPorts, kind] = four();
  /** All bits set: the row is of the reply's direction. */
  const reply = vector();
  const [original, remembered, stamps] = [vector(), vector(), vector()];
  const contextAt = (index: number) => i32.shl(i32x4.extract(i32x4.shrU(get(remembered), 16), index), 4);
  const contextOf = (index: number) =>
    i32x4.withLast(
      v128.load(i32.shl(get(found), 2), FOUND.contexts + index * 16),
      i32.or(
        i32.load8(get(row), COLUMN.path + index),
        i32.shl(i32.load8(i32.load8(get(row), COLUMN.tcpFlags + index), FLAG_CLASSES), 8),
      ),
    );
  const recognised: readonly Code[] = [
    ...ROWS.map((index) => set(at[index], i32x4.extract(get(entries), index))),
    // Below the entries lie records of segments that have none.
    leaveIf(ROWS.map((index) => i32.ltU(get(at[index]), get(words))).reduce((sum, isNew) => i32.or(sum, isNew))),
    set(source, wordsOf(COLUMN.source0)),
    set(destination, wordsOf(COLUMN.destination0)),
    set(near, halvesOf(COLUMN.sourcePort)),
    set(far, halvesOf(COLUMN.destinationPort)),
    set(ports, pairsOf(far, near)),
    ...loadWords(at, WORD.source, [keySource, keyDestination, keyPorts, kind]),
    set(
      reply,
      v128.and(
        v128.and(i32x4.eq(get(keySource), get(destination)), i32x4.eq(get(keyDestination), get(source))),
        i32x4.eq(get(keyPorts), pairsOf(near, far)),
      ),
    ),
    set(
      original,
      v128.and(
        v128.and(i32x4.eq(get(keySource), get(source)), i32x4.eq(get(keyDestination), get(destination))),
        i32x4.eq(get(keyPorts), get(ports)),
      ),
    ),
    leaveIf(i32.isZero(i32x4.all(v128.and(v128.or(get(original), get(reply)), i32x4.eq(get(kind), splat(TCP4)))))),
    ...loadWords(at, WORD.memo, [original, remembered, stamps]),
    set(remembered, v128.select(get(remembered), get(original), get(reply))),
    leaveIf(i32.isZero(i32x4.all(i32x4.shrU(get(remembered), 16)))),
    leaveIf(i32.isZero(i32x4.all(v128.xor(get(stamps), i32x4.splat(get(stamp)))))),
    leaveIf(
      v128.any(
        ROWS.map((index) => v128.xor(v128.load(contextAt(index), CONTEXTS), contextOf(index))).reduce(
          (sum, difference) => v128.or(sum, difference),
        ),
      ),
    ),
  ];

  const [deadline, visit, head] = [vector(), vector(), vector()];
  const isEstablished: readonly Code[] = [
    ...loadWords(at, WORD.deadline, [deadline, visit, undefined, head]),
    leaveIf(v128.any(v128.xor(v128.and(get(head), splat(HEAD_MASK)), splat(ESTABLISHED_HEAD)))),
    leaveIf(i32.isZero(i32x4.all(i32x4.gt(i32x4.sub(get(deadline), get(nows)), splat(0))))),
  ];

  const [sender, receiver] = [fourInts(), fourInts()];
  const [sent, received] = [four(), four()];
  const [senderEnd, senderMaxEnd, senderMaxWindow, senderMaxAck] = sent;
  const [receiverEnd, receiverMaxEnd, receiverMaxWindow] = received;
  const [stated, sequence, acknowledgment, last] = [vector(), vector(), vector(), vector()];
  const [sides, retransmissions, lastSequence, lastAcknowledgment] = four();
  const [lastEnd, lastWindow] = [vector(), vector()];
  const inWindow: readonly Code[] = [
    set(near, v128.and(get(reply), splat(WINDOW_WORDS * 4))),
    ...ROWS.flatMap((index) => [
      set(sender[index], i32.add(get(at[index]), i32x4.extract(get(near), index))),
      set(receiver[index], i32.sub(i32.add(get(at[index]), WINDOW_WORDS * 4), i32x4.extract(get(near), index))),
    ]),
    ...loadWords(sender, FIRST_WINDOW, sent),
    ...loadWords(receiver, FIRST_WINDOW, received),
    set(stated, halvesOf(COLUMN.window)),
    set(sequence, wordsOf(COLUMN.sequence)),
    set(acknowledgment, wordsOf(COLUMN.acknowledgment)),
    set(last, i32x4.add(get(sequence), wordsOf(COLUMN.payloadBytes))),
    leaveIf(
      i32.isZero(
        i32x4.all(
          v128.and(
            v128.and(i32x4.gt(get(senderMaxWindow), splat(0)), i32x4.gt(get(receiverMaxWindow), splat(0))),
            i32x4.gt(get(stated), splat(0)),
          ),
        ),
      ),
    ),
    leaveIf(
      i32x4.signs(
        v128.or(
          v128.or(i32x4.sub(get(senderMaxEnd), get(sequence)), i32x4.sub(get(receiverEnd), get(acknowledgment))),
          v128.or(
            i32x4.sub(get(last), i32x4.sub(get(senderEnd), get(receiverMaxWindow))),
            i32x4.sub(
              get(acknowledgment),
              i32x4.sub(get(receiverEnd), i32x4.max(get(senderMaxWindow), splat(LEAST_ACK_WINDOW))),
            ),
          ),
        ),
      ),
    ),
    ...loadWords(at, SIDES_WORD, [sides, retransmissions, lastSequence, lastAcknowledgment]),
    ...loadWords(at, LAST.end, [lastEnd, lastWindow]),
    leaveIf(
      i32.isZero(
        i32x4.all(
          v128.or(
            v128.or(
              v128.or(
                v128.xor(get(lastSequence), get(sequence)),
                v128.xor(get(lastAcknowledgment), get(acknowledgment)),
              ),
              v128.or(v128.xor(get(lastEnd), get(last)), v128.xor(get(lastWindow), get(stated))),
            ),
            v128.xor(i32x4.shrU(get(head), 24), i32x4.shrU(get(reply), 31)),
          ),
        ),
      ),
    ),
  ];

  /** Flags and scale of the sender's side in the lower half, the receiver's in the upper. */
  const own = vector();
  const exchanged = (words: Local) =>
    v128.select(v128.shuffle(get(words), get(words), EXCHANGED), get(words), get(reply));
  const [scale, window, room, expiry] = [vector(), vector(), vector(), vector()];
  const isUnset = (flags: number) => i32x4.eq(v128.and(get(own), splat(flags)), splat(0));
  const pass: readonly Code[] = [
    set(own, exchanged(sides)),
    set(scale, v128.and(i32x4.shrU(get(own), 8), splat(0xff))),
    leaveIf(v128.any(i32x4.gt(get(scale), splat(MOST_SCALE)))),
    set(
      window,
      i32x4.mul(get(stated), i32x4.ofFloats(i32x4.shl(i32x4.add(get(scale), splat(FLOAT_BIAS)), FLOAT_FRACTION_BITS))),
    ),
    // Whether the sender's data goes on, or its acknowledgments.
    set(near, negative(i32x4.sub(get(senderEnd), get(last)))),
    set(own, v128.or(get(own), v128.and(get(near), splat(SIDE.dataUnacknowledged)))),
    set(far, v128.or(negative(i32x4.sub(get(senderMaxAck), get(acknowledgment))), isUnset(SIDE.maxAckSet))),
    set(own, v128.or(get(own), splat(SIDE.maxAckSet))),
    set(
      own,
      v128.andNot(
        get(own),
        v128.and(i32x4.eq(get(acknowledgment), get(receiverEnd)), splat(SIDE.dataUnacknowledged << SIDE_BITS)),
      ),
    ),
    set(
      expiry,
      i32x4.add(
        get(nows),
        v128.select(
          i32x4.splat(get(established)),
          i32x4.splat(get(unacknowledged)),
          isUnset(ofBoth(SIDE.dataUnacknowledged)),
        ),
      ),
    ),
    leaveIf(i32x4.signs(i32x4.sub(get(expiry), get(visit)))),

    set(senderEnd, v128.select(get(last), get(senderEnd), get(near))),
    set(senderMaxAck, v128.select(get(acknowledgment), get(senderMaxAck), get(far))),
    set(senderMaxWindow, i32x4.max(get(senderMaxWindow), get(window))),
    set(near, i32x4.sub(get(senderMaxEnd), get(last))),
    set(receiverMaxWindow, i32x4.sub(get(receiverMaxWindow), v128.and(negative(get(near)), get(near)))),
    set(room, i32x4.add(get(acknowledgment), get(window))),
    set(
      receiverMaxEnd,
      v128.select(get(receiverMaxEnd), get(room), negative(i32x4.sub(get(room), get(receiverMaxEnd)))),
    ),
    set(sides, exchanged(own)),
    set(retransmissions, v128.andNot(get(retransmissions), splat(0xff))),
    set(head, v128.or(splat(ESTABLISHED_HEAD | (SEGMENT.ack << 16)), v128.and(get(reply), splat(1 << 24)))),
    ...storeWords(sender, FIRST_WINDOW, sent),
    ...storeWords(receiver, FIRST_WINDOW, received),
    ...storeWords(at, SIDES_WORD, [sides, retransmissions, sequence, acknowledgment]),
    set(near, v128.shuffle(get(last), get(stated), LOWER_WORDS)),
    set(far, v128.shuffle(get(last), get(stated), UPPER_WORDS)),
    ...ROWS.flatMap((index) => [
      v128.storePair(get(at[index]), LAST.end * 4, get(index < 2 ? near : far), index & 1),
      v128.storeWord(get(at[index]), WORD.deadline * 4, get(expiry), index),
      v128.storeWord(get(at[index]), HEAD_WORD * 4, get(head), index),
    ]),
    v128.store(get(found), FOUND.outcomes, v128.and(get(remembered), splat(0xffff))),
    set(seconds, get(times[3])),
    set(now, i32x4.extract(get(nows), 3)),
  ];

  return [...differ, ...inTime, ...recognised, ...isEstablished, ...inWindow, ...pass];
}
