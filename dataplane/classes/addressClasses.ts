/** Which addresses a program cannot tell apart. */
import { type Family, maskWord } from "../address.ts";
import { AddressTable } from "../addressTable.ts";
import { AddressTrie, findIn } from "./addressTrie.ts";

/** The question of `cut`, whose answer is the prefix itself. */
const ITSELF = -1;

/** What nothing was folded into. */
const NOTHING = 0;

/** The answer that classes tell. */
export const YES = 1;

/** Words of told answers at most: beyond, to keep them would take more than to ask. */
const MOST_ANSWER_WORDS = 1 << 20;

/** Told answers of classes: bit `question` of the `stride` words from `class * stride` on says whether it was `YES`. */
export interface ClassAnswers {
  readonly words: Int32Array;
  readonly stride: number;
}

/**
 * What a program asks of addresses on one side, collected prefix by prefix.
 *
 * The naive way keeps a list of questions for each prefix and compares the lists; a node's sets have millions of members.
 * Here a list is one number: `fold` maps (number so far, next word) to a number never given out before, or to the one
 * given out for the same pair. So two numbers are equal exactly if the same words were folded in the same order, and no
 * list is kept. Questions must be asked in one order for all prefixes, which a program gives by itself: a set is gone
 * through from end to end.
 */
export class AddressCuts {
  readonly #family: Family;
  /** Number of each prefix: its words with its length beside them. */
  readonly #prefixes: AddressTable;
  readonly #words: number[] = [];
  readonly #lengths: number[] = [];
  /** By prefix: what was folded into it. */
  readonly #folded: number[] = [];
  readonly #pairs = new AddressTable(4);
  /** By number that `#fold` gave out: the number so far, and the word. */
  readonly #before: number[] = [NOTHING];
  readonly #word: number[] = [0];

  constructor(family: Family) {
    this.#family = family;
    this.#prefixes = new AddressTable(family);
  }

  /** Within the prefix, and in no longer one that names the same question, that is the answer: any words. */
  answer(prefix: Prefix, question: number, answer: number): void {
    const number = this.#numberOf(prefix);
    this.#folded[number] = this.#fold(this.#fold(this.#folded[number] ?? NOTHING, question), answer);
  }

  /** Somebody tests for exactly this prefix. */
  cut(prefix: Prefix): void {
    this.answer(prefix, ITSELF, this.#numberOf(prefix));
  }

  /**
   * The classes, in which two addresses are one exactly if the prefixes around them give the same answers in turn. Of
   * questions 0 up to `told` they can tell whether the answer is `YES`.
   */
  classes(told = 0): AddressClasses {
    const outers = [0];
    const lists = [NOTHING];
    const byLength = this.#lengths.map((_, number) => number).sort((a, b) => this.#length(a) - this.#length(b));
    const classes = new AddressTable(4);
    const tree = new PrefixClasses(this.#family);
    for (const number of byLength) {
      const words = this.#words.slice(number * 4, number * 4 + 4);
      const outer = tree.find(words[0] ?? 0, words[1] ?? 0, words[2] ?? 0, words[3] ?? 0);
      const folded = this.#folded[number] ?? NOTHING;
      const known = classes.find4(outer, folded);
      const found = known >= 0 ? known : classes.size + 1;
      if (known < 0) {
        classes.set([outer], folded, found);
        outers.push(outer);
        lists.push(folded);
      }
      tree.add({ words, length: this.#length(number) }, found);
    }
    return new AddressClasses(tree, classes.size + 1, this.#answers(outers, lists, told));
  }

  /** By class: what its longest prefix answers, behind what the class around it does. */
  #answers(outers: readonly number[], lists: readonly number[], told: number): ClassAnswers | undefined {
    const stride = (told + 31) >>> 5;
    if (stride === 0 || outers.length * stride > MOST_ANSWER_WORDS) return undefined;
    const words = new Int32Array(outers.length * stride);
    const pairs: number[] = [];
    for (let found = 1; found < outers.length; found++) {
      const outer = (outers[found] ?? 0) * stride;
      words.copyWithin(found * stride, outer, outer + stride);
      pairs.length = 0;
      for (let list = lists[found] ?? NOTHING; list !== NOTHING; list = this.#before[list] ?? NOTHING) {
        pairs.push(this.#word[list] ?? 0);
      }
      // Backwards: each question stands before its answer.
      for (let at = pairs.length - 1; at > 0; at -= 2) {
        const question = pairs[at] ?? 0;
        if (question < 0 || question >= told) continue;
        const word = found * stride + (question >>> 5);
        const bit = 1 << (question & 31);
        words[word] = pairs[at - 1] === YES ? (words[word] ?? 0) | bit : (words[word] ?? 0) & ~bit;
      }
    }
    return { words, stride };
  }

  #fold(soFar: number, word: number): number {
    const known = this.#pairs.find4(soFar, word);
    if (known >= 0) return known;
    const fresh = this.#pairs.size + 1;
    this.#pairs.set([soFar], word, fresh);
    this.#before.push(soFar);
    this.#word.push(word);
    return fresh;
  }

  #numberOf({ words, length }: Prefix): number {
    const word0 = (words[0] ?? 0) & maskWord(length);
    const word1 = (words[1] ?? 0) & maskWord(length - 32);
    const word2 = (words[2] ?? 0) & maskWord(length - 64);
    const word3 = (words[3] ?? 0) & maskWord(length - 96);
    const known =
      this.#family === 4
        ? this.#prefixes.find4(word0, length)
        : this.#prefixes.find6(word0, word1, word2, word3, length);
    if (known >= 0) return known;
    const number = this.#lengths.length;
    this.#prefixes.set([word0, word1, word2, word3], length, number);
    this.#words.push(word0, word1, word2, word3);
    this.#lengths.push(length);
    this.#folded.push(NOTHING);
    return number;
  }

  #length(number: number): number {
    return this.#lengths[number] ?? 0;
  }
}

export interface Prefix {
  /** Of the family of the cuts. */
  readonly words: readonly number[];
  readonly length: number;
}

/** The class of the longest prefix around an address; 0 outside of all. */
class PrefixClasses {
  readonly family: Family;
  /** For IPv4, as long as it has room for all; else they are in the table, which is asked for each length that occurs. */
  trie: AddressTrie | undefined;
  readonly #table: AddressTable;
  /** Lengths in the table, longest first. */
  readonly #lengths: number[] = [];
  /** What is in the trie: an address, a length and a value, one prefix after the other. */
  readonly #added: number[] = [];

  constructor(family: Family) {
    this.family = family;
    this.trie = family === 4 ? new AddressTrie() : undefined;
    this.#table = new AddressTable(family);
  }

  /** Prefixes must come in the order of their lengths, the shortest first. */
  add({ words, length }: Prefix, value: number): void {
    if (this.trie === undefined) {
      this.#enter(words, length, value);
      return;
    }
    const [word = 0] = words;
    this.#added.push(word, length, value);
    if (this.trie.add(word, length, value)) return;
    this.trie = undefined;
    const added = this.#added;
    for (let at = 0; at < added.length; at += 3) this.#enter([added[at] ?? 0], added[at + 1] ?? 0, added[at + 2] ?? 0);
    added.length = 0;
  }

  #enter(words: readonly number[], length: number, value: number): void {
    this.#table.set(words, length, value);
    if (this.#lengths[0] !== length) this.#lengths.unshift(length);
  }

  find(word0: number, word1: number, word2: number, word3: number): number {
    if (this.trie !== undefined) return this.trie.find(word0);
    for (const length of this.#lengths) {
      const found =
        this.family === 4
          ? this.#table.find4(word0 & maskWord(length), length)
          : this.#table.find6(
              word0 & maskWord(length),
              word1 & maskWord(length - 32),
              word2 & maskWord(length - 64),
              word3 & maskWord(length - 96),
              length,
            );
      if (found >= 0) return found;
    }
    return 0;
  }
}

/** Addresses remembered at most; then all are forgotten, which is cheaper than to choose. */
const MOST_REMEMBERED = 1 << 19;
const FIRST_BITS = 8;
/** Words of a record: four address words (IPv4: one), class + 1. */
const RECORD4 = 2;
const RECORD6 = 5;
const NO_ENTRIES = new Uint16Array(0);
/** Golden ratio of 2^32: neighbours in a subnet land far apart. */
const SPREAD = 0x9e3779b1;

/**
 * Classes of addresses by number, 0 up to `count - 1`.
 *
 * Those of IPv4 stand in a trie (addressTrie.ts). Where it has no room, and for IPv6, the longest prefix takes a look-up for
 * each prefix length that occurs. Traffic comes back to the same addresses, so what was found is remembered then: one probe
 * of a hash table of whole addresses. Invariant: at most half of the records are taken.
 */
export class AddressClasses {
  readonly count: number;
  /** Undefined: they were too many, or none was to be told. */
  readonly answers: ClassAnswers | undefined;
  /** Of the tree's trie, while it has one; else empty. */
  readonly #entries: Uint16Array;
  readonly #tree: PrefixClasses;
  readonly #record: number;
  #records = new Int32Array(0);
  #shift = 32;
  #size = 0;

  constructor(tree: PrefixClasses, count: number, answers: ClassAnswers | undefined) {
    this.#tree = tree;
    this.#entries = tree.trie?.entries ?? NO_ENTRIES;
    this.count = count;
    this.answers = answers;
    this.#record = tree.family === 4 ? RECORD4 : RECORD6;
    this.#clear(FIRST_BITS);
  }

  of4(word: number): number {
    return this.#entries.length > 0 ? findIn(this.#entries, word) : this.#remembered4(word);
  }

  #remembered4(word: number): number {
    const records = this.#records;
    const mask = records.length - 1;
    for (let at = (Math.imul(word, SPREAD) >>> this.#shift) * RECORD4; ; at = (at + RECORD4) & mask) {
      const stored = records[at + 1] ?? 0;
      if (stored === 0) break;
      if (records[at] === word) return stored - 1;
    }
    return this.#learn(word, 0, 0, 0);
  }

  of6(word0: number, word1: number, word2: number, word3: number): number {
    const records = this.#records;
    const hash = Math.imul(word0 ^ Math.imul(word1, 0x85ebca6b) ^ Math.imul(word2, 0xc2b2ae35) ^ word3, SPREAD);
    for (let at = (hash >>> this.#shift) * RECORD6; ; at = at + RECORD6 === records.length ? 0 : at + RECORD6) {
      const stored = records[at + 4] ?? 0;
      if (stored === 0) break;
      if (
        records[at + 3] === word3 &&
        records[at + 2] === word2 &&
        records[at + 1] === word1 &&
        records[at] === word0
      ) {
        return stored - 1;
      }
    }
    return this.#learn(word0, word1, word2, word3);
  }

  #learn(word0: number, word1: number, word2: number, word3: number): number {
    const found = this.#tree.find(word0, word1, word2, word3);
    const capacity = this.#records.length / this.#record;
    if ((this.#size + 1) * 2 > capacity) {
      if (capacity < 2 * MOST_REMEMBERED) this.#grow();
      else this.#clear(32 - this.#shift);
    }
    this.#put(word0, word1, word2, word3, found);
    this.#size++;
    return found;
  }

  #put(word0: number, word1: number, word2: number, word3: number, found: number): void {
    const records = this.#records;
    const record = this.#record;
    const folded =
      record === RECORD4 ? word0 : word0 ^ Math.imul(word1, 0x85ebca6b) ^ Math.imul(word2, 0xc2b2ae35) ^ word3;
    let at = (Math.imul(folded, SPREAD) >>> this.#shift) * record;
    while (records[at + record - 1] !== 0) at = at + record === records.length ? 0 : at + record;
    records[at] = word0;
    if (record === RECORD6) {
      records[at + 1] = word1;
      records[at + 2] = word2;
      records[at + 3] = word3;
    }
    records[at + record - 1] = found + 1;
  }

  #grow(): void {
    const old = this.#records;
    const record = this.#record;
    this.#clear(33 - this.#shift);
    for (let at = 0; at < old.length; at += record) {
      const stored = old[at + record - 1] ?? 0;
      if (stored === 0) continue;
      if (record === RECORD4) this.#put(old[at] ?? 0, 0, 0, 0, stored - 1);
      else this.#put(old[at] ?? 0, old[at + 1] ?? 0, old[at + 2] ?? 0, old[at + 3] ?? 0, stored - 1);
      this.#size++;
    }
  }

  #clear(bits: number): void {
    this.#shift = 32 - bits;
    this.#records = new Int32Array(this.#record << bits);
    this.#size = 0;
  }
}
