/**
 * The memory of the entries: one growing array of fixed-size records, a list of free ones, and the addresses of IPv6
 * entries beside it, so that an IPv4 entry pays nothing for them.
 *
 * Growth doubles the array and copies it, which costs each entry less than two moves in all; capacity never exceeds what
 * the table may hold, so a table for a million flows ends at 128 MB and not at the next power of two. Users of `words`
 * fetch the array anew after anything that may allocate.
 */
import { FLOW_WORDS, WORD } from "./flow.ts";

/** Words of an IPv6 pair: source, then destination. */
export const PAIR_WORDS = 8;

const FIRST_CAPACITY = 64;

/** No slot. */
export const NONE = -1;

export interface FlowStoreState {
  readonly words: Int32Array;
  readonly pairs: Int32Array;
  readonly used: number;
  readonly free: number;
  readonly live: number;
  readonly pairsUsed: number;
  readonly freePairs: readonly number[];
}

export class FlowStore {
  words: Int32Array = new Int32Array(0);
  bytes: Uint8Array = new Uint8Array(0);
  /** IPv6 addresses, `PAIR_WORDS` per entry that needs them. */
  pairs = new Int32Array(0);
  readonly #most: number;
  /** Its memory was given to it, and stays until it is outgrown. */
  #isGiven = false;
  #capacity = 0;
  /** Slots handed out at least once. */
  #used = 0;
  #free = NONE;
  #live = 0;
  #pairsUsed = 0;
  readonly #freePairs: number[] = [];

  /** `most`: entries that may exist at once. */
  constructor(most: number) {
    this.#most = most;
  }

  /** Moves to memory of zeros that has room for more entries. */
  moveTo(words: Int32Array): void {
    words.set(this.words.subarray(0, this.#used * FLOW_WORDS));
    this.#use(words);
    this.#isGiven = true;
  }

  /** A copy of everything, to go on from later. */
  save(): FlowStoreState {
    return {
      words: this.words.slice(0, this.#used * FLOW_WORDS),
      pairs: this.pairs.slice(0, this.#pairsUsed * PAIR_WORDS),
      used: this.#used,
      free: this.#free,
      live: this.#live,
      pairsUsed: this.#pairsUsed,
      freePairs: [...this.#freePairs],
    };
  }

  restore({ words, pairs, used, free, live, pairsUsed, freePairs }: FlowStoreState): void {
    if (this.#isGiven && words.length <= this.words.length) {
      this.words.fill(0, 0, this.#used * FLOW_WORDS);
      this.words.set(words);
    } else this.#use(words.slice());
    this.pairs = pairs.slice();
    this.#used = used;
    this.#free = free;
    this.#live = live;
    this.#pairsUsed = pairsUsed;
    this.#freePairs.splice(0, this.#freePairs.length, ...freePairs);
  }

  /** Entries that exist. */
  get live(): number {
    return this.#live;
  }

  /** One more than the highest slot that was ever in use. */
  get slots(): number {
    return this.#used;
  }

  /** A slot with all words zero. Throws when `most` are in use. */
  allocate(): number {
    const slot = this.#free !== NONE ? this.#free : this.#used;
    if (slot === this.#used) {
      if (slot === this.#most) throw new RangeError(`no room for more than ${this.#most} entries`);
      if (slot === this.#capacity) this.#grow();
      this.#used++;
    } else {
      const { words } = this;
      const at = slot * FLOW_WORDS;
      this.#free = words[at + WORD.next] ?? NONE;
      // A loop, since to call `fill` costs more than to fill so little.
      for (let word = at; word < at + FLOW_WORDS; word++) words[word] = 0;
    }
    this.#live++;
    return slot;
  }

  /** Gives the slot back. Its `kind` becomes 0, which no entry has, until it is allocated again. */
  release(slot: number): void {
    const at = slot * FLOW_WORDS;
    if (isIpv6(this.words[at + WORD.kind] ?? 0)) this.#freePairs.push(this.words[at + WORD.source] ?? 0);
    this.words[at + WORD.kind] = 0;
    this.words[at + WORD.next] = this.#free;
    this.#free = slot;
    this.#live--;
  }

  /** Room for the addresses of an IPv6 entry; its number, to be kept in the entry's source word. */
  allocatePair(): number {
    const recycled = this.#freePairs.pop();
    if (recycled !== undefined) return recycled;
    const pair = this.#pairsUsed++;
    if ((pair + 1) * PAIR_WORDS > this.pairs.length) {
      const capacity = Math.min(Math.max(FIRST_CAPACITY, pair * 2), this.#most);
      const pairs = new Int32Array(capacity * PAIR_WORDS);
      pairs.set(this.pairs);
      this.pairs = pairs;
    }
    return pair;
  }

  /** What is small is kept for the next entries: who asks about single packets clears after each. */
  clear(): void {
    if (this.#isGiven || this.#capacity <= FIRST_CAPACITY) this.words.fill(0, 0, this.#used * FLOW_WORDS);
    else this.#use(new Int32Array(0));
    if (this.pairs.length > FIRST_CAPACITY * PAIR_WORDS) this.pairs = new Int32Array(0);
    this.#used = this.#live = this.#pairsUsed = 0;
    this.#free = NONE;
    this.#freePairs.length = 0;
  }

  #grow(): void {
    const capacity = Math.min(Math.max(FIRST_CAPACITY, this.#capacity * 2), this.#most);
    const words = new Int32Array(capacity * FLOW_WORDS);
    words.set(this.words);
    this.#use(words);
  }

  #use(words: Int32Array): void {
    this.words = words;
    this.#isGiven = false;
    this.bytes = new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
    this.#capacity = words.length / FLOW_WORDS;
  }
}

/** The `kind` word of an entry or packet (flow.ts). */
export function kindOf(protocol: number, family: number, zone: number): number {
  return (zone << 16) | (family === 6 ? IPV6_BIT : IN_USE_BIT) | protocol;
}

/** So that protocol 0 in zone 0 is no free slot. */
const IN_USE_BIT = 0x200;
const IPV6_BIT = 0x300;

export function isIpv6(kind: number): boolean {
  return (kind & IPV6_BIT) === IPV6_BIT;
}

export function isInUse(kind: number): boolean {
  return (kind & IN_USE_BIT) !== 0;
}
