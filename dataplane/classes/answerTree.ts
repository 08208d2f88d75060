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
 * Each question has a record of 16 bytes in one array, those of a run one after the other, as memory is quickest to read:
 *
 *     | what is asked | of what | expected answer | devices seen there |      the last:   | outcome | its number | | |
 *
 * Another answer goes on at the run that `#branches` has for (record, answer); the first runs stand there by
 * situation. Invariant: no outcome is given that a walk of the packet would not have, counts included, so an answer is
 * whether it holds and how many sets were looked up for it. Who asks depends on nothing else: limits make an outcome that
 * is never entered, programs that read marks of connections are kept out (tableMemo.ts).
 *
 * The price: a walk that is listened to, and 16 bytes for each of its questions that is asked there for the first time.
 */
import { AddressTable } from "../addressTable.ts";
import type { CurrentPacket } from "../currentPacket.ts";
import { NO_DEVICE } from "../devices.ts";
import type { PacketBatch } from "../packet.ts";
import { HEAD, HEAD_WORDS, nextHeadMatch } from "../tables/headIndex.ts";
import type { LoadedTables } from "../tables/load.ts";
import type { WalkListener } from "../tables/walk.ts";
import { NO_QUESTION } from "./setAnswers.ts";

const RECORD = 4;
const WORD = { asked: 0, of: 1, expected: 2, devices: 3 } as const;

/** What is asked: what the classes of addresses answer (`MatchTable.asked`); the next head from a slot on; a match, by record. */
const ASKED = { outcome: 0, answered: 1, head: 2, match: 3 } as const;

/** Words of all runs at most; then all are forgotten. */
const MOST_WORDS = 1 << 20;

/** Which of a packet's devices a hook shows. */
const SEEN = { in: 1, out: 2 } as const;

const NONE = -1;

export class AnswerTree implements WalkListener {
  readonly #tables: LoadedTables;
  readonly #packet: CurrentPacket;
  /** By slot: how many heads before it test an address. The others ask what packets of a context have in common. */
  readonly #addressHeads: Int32Array;
  #words = new Int32Array(0);
  #size = 0;
  /** Where runs begin: the first ones by (~situation, protocol and family), the others by (record, answer). */
  #branches = new AddressTable(4);
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
  constructor(tables: LoadedTables, packet: CurrentPacket) {
    this.#tables = tables;
    this.#packet = packet;
    this.#addressHeads = addressHeadsOf(tables.heads);
    this.clear();
  }

  /**
   * The outcome of a packet in a situation (a number, and its protocol and family) whose classes have been named
   * (`SetAnswers.name`), if it begins a connection; -1: nobody knows.
   */
  find(batch: PacketBatch, row: number, situation: number, rest: number): number {
    const { matches } = this.#tables;
    const packet = this.#packet;
    const words = this.#words;
    const { sourceAnswers: ofSource, destinationAnswers: ofDestination } = packet;
    let isLoaded = false;
    let count = 0;
    let place = ~situation;
    let answer = rest;
    for (;;) {
      let at = this.#branches.find4(place, answer);
      if (at < 0) break;
      for (; ; at += RECORD) {
        const asked = words[at + WORD.asked] ?? 0;
        const of = words[at + WORD.of] ?? 0;
        if (asked === ASKED.outcome) return of;
        if (asked === ASKED.answered) answer = matches.answered(of, ofSource, ofDestination);
        else {
          if (!isLoaded) this.#load(batch, row);
          isLoaded = true;
          const seen = words[at + WORD.devices] ?? 0;
          packet.inDevice = (seen & SEEN.in) !== 0 ? (batch.inDevice[row] ?? NO_DEVICE) : NO_DEVICE;
          packet.outDevice = (seen & SEEN.out) !== 0 ? (batch.outDevice[row] ?? NO_DEVICE) : NO_DEVICE;
          answer = this.#ask(asked, of);
        }
        count++;
        if (answer !== words[at + WORD.expected]) break;
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
    if (asked === ASKED.head) return nextHeadMatch(heads, of, packet, headIndex);
    const before = packet.setLookups;
    return answerOf(matches.test(of, packet), packet.setLookups - before);
  }

  /** The packet of which `find` knew nothing is walked now, and this listens from the beginning. */
  begin(): void {
    this.#lookups = 0;
    this.#heardWords = 0;
    this.#followed = this.#asked;
  }

  head(slot: number, found: number): void {
    if (this.#addressHeads[found + 1] !== this.#addressHeads[slot]) this.#hear(ASKED.head, slot, found);
  }

  match(record: number, question: number, holds: boolean): void {
    const { setLookups } = this.#packet;
    const lookups = setLookups - this.#lookups;
    this.#lookups = setLookups;
    if (question !== NO_QUESTION) this.#hear(ASKED.answered, question, Number(holds));
    else if (this.#tables.matches.isOfPacket(record)) this.#hear(ASKED.match, record, answerOf(holds, lookups));
  }

  #hear(asked: number, of: number, answer: number): void {
    if (this.#followed > 0) {
      this.#followed--;
      return;
    }
    const at = this.#heardWords;
    if (at === this.#heard.length) this.#heard = grown(this.#heard, at * 2);
    const heard = this.#heard;
    heard[at + WORD.asked] = asked;
    heard[at + WORD.of] = of;
    heard[at + WORD.expected] = answer;
    const { inDevice, outDevice } = this.#packet;
    heard[at + WORD.devices] = (inDevice === NO_DEVICE ? 0 : SEEN.in) | (outDevice === NO_DEVICE ? 0 : SEEN.out);
    this.#heardWords = at + RECORD;
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
    words[end + WORD.asked] = ASKED.outcome;
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
