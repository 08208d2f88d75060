/**
 * Outcomes of the walks of packets that begin a connection, by what the walk asked about the packet and was told.
 *
 * The first packet of a kind has to be walked: fifty rules in twenty chains under Calico. Kinds are many, since classes are made
 * by all rules there are, but one walk meets few of them. Most ask for what the situation answers, which is devices, path, marks,
 * TCP flags and protocol, each by its class, and is the same for many packets; about addresses and ports a walk asks five things.
 * So these are kept as runs, with their answers, and a run that is followed to its end gives the outcome of a walk
 * that nobody has to make: it would be told the same, ask the same next, and end alike.
 *
 *     a situation          source in A? no · port 80? no · outcome 3
 *     port 80, yes         destination in B? yes · outcome 7
 *
 * Most is asked of the classes of addresses, which have their answers as bits: whether an address is in a set, in each set
 * of a list, in the prefix of a rule's head, the node's own. Such questions one after the other are one comparison, as long
 * as they look at the same word and go up in it: then the lowest bit that differs is the first question that was answered
 * otherwise. What a walk asks again is left out, since it is told the same.
 *
 * Each step has a record of 16 bytes in one array, those of a run one after the other, as memory is quickest to read:
 *
 *     | bits, how many | word << 1 of the source's or destination's answers | which bits | what they are expected to be |
 *     | what is asked, devices seen there | of what | | expected answer |           the last:   | outcome | its number | | |
 *
 * Another answer goes on at the run that `#branches` has for (record, answer, or which bit differs); the first runs stand
 * there by situation. Invariant: no outcome is given that a walk of the packet would not have, counts included, so an answer is
 * whether it holds and how many sets were looked up for it. Who asks depends on nothing else: limits make an outcome that
 * is never entered, programs that read marks of connections are kept out (tableMemo.ts).
 *
 * The price: a walk that is listened to, and 16 bytes for each step that is taken there for the first time.
 */
import { AddressTable } from "../addressTable.ts";
import type { CurrentPacket } from "../currentPacket.ts";
import { NO_DEVICE } from "../devices.ts";
import type { PacketBatch } from "../packet.ts";
import { HEAD, HEAD_WORDS, nextHeadMatch } from "../tables/headIndex.ts";
import type { LoadedTables } from "../tables/load.ts";
import type { WalkListener } from "../tables/walk.ts";
import { ASKED, NO_QUESTION, type SetAnswers } from "./setAnswers.ts";

const RECORD = 4;
const WORD = { step: 0, of: 1, mask: 2, expected: 3 } as const;

/**
 * What a step asks: what the classes of addresses answer; the next head from a slot on; a match, by record. Above these bits
 * stands how many questions it is, or which devices are seen there.
 */
const STEP = { outcome: 0, bits: 1, head: 2, match: 3 } as const;
const STEP_BITS = 2;
const STEP_MASK = (1 << STEP_BITS) - 1;

/** Words of all runs at most; then all are forgotten. */
const MOST_WORDS = 1 << 20;

/** Walks that have numbers; then they begin anew. */
const MOST_WALKS = 1 << 30;

/** Which of a packet's devices a hook shows. */
const SEEN = { in: 1, out: 2 } as const;

const NONE = -1;

/** In place of a question about the address on one side of a head: none is asked, or one that has no number. */
const NOT_ASKED = -2;
const UNTOLD = NO_QUESTION;

export class AnswerTree implements WalkListener {
  readonly #tables: LoadedTables;
  readonly #packet: CurrentPacket;
  readonly #answers: Int32Array;
  /** By slot: how many heads before it test an address. The others ask what packets of a context have in common. */
  readonly #addressHeads: Int32Array;
  /** By slot what its head asks about the source, then about the destination. */
  readonly #headQuestions: Int32Array;
  #words = new Int32Array(0);
  #size = 0;
  /** Where runs begin: the first ones by (~situation, protocol and family), the others by (record, answer). */
  #branches = new AddressTable(4);
  /** By question and side: the last walk that asked it. */
  readonly #askedIn: Int32Array;
  #walk = 0;
  /** Where `find` found nothing to go on with, and how many questions had been answered. */
  #missedAt = 0;
  #missedAnswer = 0;
  #asked = 0;
  /** What the walk that is listened to has asked so far that `find` had not, as records. */
  #heard = new Int32Array(64 * RECORD);
  #heardWords = 0;
  /** Look-ups in sets until its last match. */
  #lookups = 0;
  /** How many of its next questions `find` has asked already. */
  #followed = 0;

  /** Asks the packet that the walker of those tables walks. */
  constructor(tables: LoadedTables, packet: CurrentPacket, answers: SetAnswers) {
    this.#tables = tables;
    this.#packet = packet;
    this.#answers = answers.words;
    this.#addressHeads = addressHeadsOf(tables.heads);
    this.#headQuestions = headQuestionsOf(tables, answers);
    this.#askedIn = new Int32Array(answers.count * 2);
    this.clear();
  }

  /**
   * The outcome of a packet in a situation (a number, and its protocol and family) whose classes have been named
   * (`SetAnswers.name`), if it begins a connection; -1: nobody knows.
   */
  find(batch: PacketBatch, row: number, situation: number, rest: number): number {
    const packet = this.#packet;
    const words = this.#words;
    const answers = this.#answers;
    const { sourceAnswers: ofSource, destinationAnswers: ofDestination } = packet;
    let isLoaded = false;
    let count = 0;
    let place = ~situation;
    let answer = rest;
    for (;;) {
      let at = this.#branches.find4(place, answer);
      if (at < 0) break;
      for (; ; at += RECORD) {
        const step = words[at + WORD.step] ?? 0;
        const of = words[at + WORD.of] ?? 0;
        const expected = words[at + WORD.expected] ?? 0;
        const asked = step & STEP_MASK;
        if (asked === STEP.bits) {
          const mask = words[at + WORD.mask] ?? 0;
          const differs = ((answers[((of & 1) !== 0 ? ofSource : ofDestination) + (of >>> 1)] ?? 0) & mask) ^ expected;
          if (differs === 0) {
            count += step >>> STEP_BITS;
            continue;
          }
          answer = differs & -differs;
          count += bitCount(mask & (answer ^ (answer - 1)));
          break;
        }
        if (asked === STEP.outcome) return of;
        if (!isLoaded) this.#load(batch, row);
        isLoaded = true;
        const seen = step >>> STEP_BITS;
        packet.inDevice = (seen & SEEN.in) !== 0 ? (batch.inDevice[row] ?? NO_DEVICE) : NO_DEVICE;
        packet.outDevice = (seen & SEEN.out) !== 0 ? (batch.outDevice[row] ?? NO_DEVICE) : NO_DEVICE;
        answer = this.#ask(asked, of);
        count++;
        if (answer !== expected) break;
      }
      place = at;
    }
    this.#missedAt = place;
    this.#missedAnswer = answer;
    this.#asked = count;
    return NONE;
  }

  #load(batch: PacketBatch, row: number): void {
    this.#packet.load(batch, row);
    this.#tables.headIndex.forget();
  }

  #ask(asked: number, of: number): number {
    const { heads, headIndex, matches } = this.#tables;
    const packet = this.#packet;
    if (asked === STEP.head) return nextHeadMatch(heads, of, packet, headIndex);
    const before = packet.setLookups;
    return answerOf(matches.test(of, packet), packet.setLookups - before);
  }

  /** The packet of which `find` knew nothing is walked now, and this listens from the beginning. */
  begin(): void {
    this.#lookups = 0;
    this.#heardWords = 0;
    this.#followed = this.#asked;
    if (++this.#walk < MOST_WALKS) return;
    this.#walk = 1;
    this.#askedIn.fill(0);
  }

  head(slot: number, found: number): void {
    if (this.#addressHeads[found + 1] === this.#addressHeads[slot]) return;
    const packet = this.#packet;
    const { heads } = this.#tables;
    const questions = this.#headQuestions;
    for (let at = slot; at <= found; at++) {
      const ofSource = questions[at * 2] ?? NOT_ASKED;
      const ofDestination = questions[at * 2 + 1] ?? NOT_ASKED;
      const head = at * HEAD_WORDS;
      const isOther = (packet.protocol & (heads[head + HEAD.protocol] ?? 0)) !== heads[head + HEAD.protocol + 1];
      if (isOther || (ofSource === NOT_ASKED && ofDestination === NOT_ASKED)) continue;
      if (ofSource === UNTOLD || ofDestination === UNTOLD || !this.#isAnswered) {
        this.#hear(STEP.head, at, found);
        return;
      }
      if (ofSource !== NOT_ASKED) {
        const holds = (packet.headSource & (heads[head + HEAD.source] ?? 0)) === heads[head + HEAD.source + 1];
        this.#hearBit(ofSource, true, holds);
        if (!holds) continue;
      }
      if (ofDestination === NOT_ASKED) continue;
      const mask = heads[head + HEAD.destination] ?? 0;
      this.#hearBit(ofDestination, false, (packet.headDestination & mask) === heads[head + HEAD.destination + 1]);
    }
  }

  match(record: number, question: number, holds: boolean): void {
    const { matches } = this.#tables;
    const { setLookups } = this.#packet;
    const lookups = setLookups - this.#lookups;
    this.#lookups = setLookups;
    if (question !== NO_QUESTION) {
      const isNegated = (question & ASKED.negate) !== 0;
      this.#hearBit(question >>> ASKED.shift, (question & ASKED.ofSource) !== 0, holds !== isNegated);
      return;
    }
    if (!matches.isOfPacket(record)) return;
    const inTurn = this.#isAnswered ? matches.askedInTurn.get(record) : undefined;
    if (inTurn === undefined) {
      this.#hear(STEP.match, record, answerOf(holds, lookups));
      return;
    }
    const { questions, ofSource, isNegated, isCounted } = inTurn;
    const last = (isCounted ? lookups : questions.length) - 1;
    for (let index = 0; index <= last; index++) {
      this.#hearBit(questions[index] ?? 0, ofSource, index === last && holds !== isNegated);
    }
  }

  /** Whether classes answer for the packet: all of its family or none. */
  get #isAnswered(): boolean {
    return (this.#packet.sourceAnswers | this.#packet.destinationAnswers) >= 0;
  }

  #hearBit(question: number, ofSource: boolean, yes: boolean): void {
    const key = question * 2 + Number(ofSource);
    if (this.#askedIn[key] === this.#walk) return;
    this.#askedIn[key] = this.#walk;
    if (this.#followed > 0) {
      this.#followed--;
      return;
    }
    const bit = 1 << (question & 31);
    const of = ((question >>> 5) << 1) | Number(ofSource);
    const heard = this.#heard;
    const last = this.#heardWords - RECORD;
    const mask = last < 0 ? 0 : (heard[last + WORD.mask] ?? 0);
    const isNext = mask !== 0 && heard[last + WORD.of] === of && mask >>> 0 < bit >>> 0;
    const at = isNext ? last : this.#heardNext();
    const asked = isNext ? (heard[at + WORD.step] ?? 0) : STEP.bits;
    const expected = isNext ? (heard[at + WORD.expected] ?? 0) : 0;
    this.#write(at, asked + (1 << STEP_BITS), of, isNext ? mask | bit : bit, yes ? expected | bit : expected);
  }

  #hear(asked: number, of: number, answer: number): void {
    if (this.#followed > 0) {
      this.#followed--;
      return;
    }
    const { inDevice, outDevice } = this.#packet;
    const seen = (inDevice === NO_DEVICE ? 0 : SEEN.in) | (outDevice === NO_DEVICE ? 0 : SEEN.out);
    this.#write(this.#heardNext(), asked | (seen << STEP_BITS), of, 0, answer);
  }

  #heardNext(): number {
    const at = this.#heardWords;
    if (at === this.#heard.length) this.#heard = grown(this.#heard, at * 2);
    this.#heardWords = at + RECORD;
    return at;
  }

  #write(at: number, step: number, of: number, mask: number, expected: number): void {
    const heard = this.#heard;
    heard[at + WORD.step] = step;
    heard[at + WORD.of] = of;
    heard[at + WORD.mask] = mask;
    heard[at + WORD.expected] = expected;
  }

  /** The walk is over and had that outcome: what it asked beyond `find` is entered where that had to stop. */
  keep(outcome: number): void {
    const start = this.#size;
    const end = start + this.#heardWords;
    if (end + RECORD > MOST_WORDS) {
      this.clear();
      return;
    }
    if (end + RECORD > this.#words.length) this.#words = grown(this.#words, Math.max(end + RECORD, start * 2));
    const words = this.#words;
    const heard = this.#heard;
    for (let at = 0; at < this.#heardWords; at++) words[start + at] = heard[at] ?? 0;
    words[end + WORD.step] = STEP.outcome;
    words[end + WORD.of] = outcome;
    this.#size = end + RECORD;
    this.#branches.set([this.#missedAt], this.#missedAnswer, start);
  }

  /** Outcomes have other numbers from now on. */
  clear(): void {
    this.#words = new Int32Array(1024 * RECORD);
    this.#size = 0;
    this.#branches = new AddressTable(4);
  }
}

function answerOf(holds: boolean, lookups: number): number {
  return (lookups << 1) | Number(holds);
}

/** Ones in a word, counted in parallel (Warren, Hacker's Delight, 5-1). */
function bitCount(word: number): number {
  const pairs = word - ((word >>> 1) & 0x5555_5555);
  const fours = (pairs & 0x3333_3333) + ((pairs >>> 2) & 0x3333_3333);
  return Math.imul((fours + (fours >>> 4)) & 0x0f0f_0f0f, 0x0101_0101) >>> 24;
}

function grown(words: Int32Array, length: number): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(length);
  larger.set(words);
  return larger;
}

function addressHeadsOf(heads: Int32Array): Int32Array {
  const counts = new Int32Array(heads.length / HEAD_WORDS + 1);
  for (let slot = 0; slot + 1 < counts.length; slot++) {
    const at = slot * HEAD_WORDS;
    const testsAddress = heads[at + HEAD.source] !== 0 || heads[at + HEAD.destination] !== 0;
    counts[slot + 1] = (counts[slot] ?? 0) + Number(testsAddress);
  }
  return counts;
}

/** By slot: the questions of its source and of its destination. The words of IPv6 in a head are no prefix: they are not told. */
function headQuestionsOf({ heads, chains }: LoadedTables, answers: SetAnswers): Int32Array {
  const questions = new Int32Array((heads.length / HEAD_WORDS) * 2).fill(NOT_ASKED);
  for (const { start, rules, family } of chains) {
    for (let slot = start; slot < start + rules.length; slot++) {
      for (const [index, field] of [HEAD.source, HEAD.destination].entries()) {
        const mask = heads[slot * HEAD_WORDS + field] ?? 0;
        if (mask === 0) continue;
        const word = heads[slot * HEAD_WORDS + field + 1] ?? 0;
        // A single address has none, and would be most of those looked for.
        questions[slot * 2 + index] = family === 4 && mask !== -1 ? answers.prefix(word, mask) : UNTOLD;
      }
    }
  }
  return questions;
}
