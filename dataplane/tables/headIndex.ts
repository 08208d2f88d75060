/** From a packet to the next rule of a long chain whose head holds for it, without looking at those between. */
import { AddressTable } from "../addressTable.ts";
import type { LoadedChain } from "./load.ts";

/** Words of a record in `LoadedTables.heads`, and where its fields begin. */
export const HEAD_WORDS = 8;
export const HEAD = { source: 0, destination: 2, protocol: 4, matchStart: 6, matchEnd: 7 } as const;

/** Rules from which a chain is indexed. Shorter ones are as quickly gone through. */
const LONG_CHAIN = 32;

const WHOLE_WORD = -1;

/**
 * Long chains dispatch: each rule names one address, and all but a few fail there. So such a rule stands in the list of its
 * source or, if it names none, of its destination; the rest are plain. The next rule whose head holds is the
 * first that holds of the packet's two lists and of the plain ones. Which rule that is, and how many a packet visits until
 * then, is what going through them would say.
 */
export class HeadIndex {
  readonly #heads: Int32Array;
  /** By slot: the next from it on, itself included, that stands in no list. The end of a chain never does. */
  readonly #nextPlain: Int32Array;
  /** Numbers of lists by address word, and by number where the list starts in `#slots`, which has them in order. */
  readonly #bySource = new AddressTable(4);
  readonly #byDestination = new AddressTable(4);
  readonly #starts: number[] = [];
  readonly #slots: Int32Array;
  /** Whether the lists of the packet under way are known, and from where to where they are. */
  #isKnown = false;
  #sourceFrom = 0;
  #sourceTo = 0;
  #destinationFrom = 0;
  #destinationTo = 0;

  constructor(heads: Int32Array, chains: readonly Pick<LoadedChain, "start" | "rules">[]) {
    this.#heads = heads;
    const slots = heads.length / HEAD_WORDS;
    const lists = { source: new Map<number, number[]>(), destination: new Map<number, number[]>() };
    this.#nextPlain = Int32Array.from({ length: slots }, (_, slot) => slot);
    for (const { start, rules } of chains) {
      if (rules.length < LONG_CHAIN) continue;
      let plain = start + rules.length;
      for (let slot = plain - 1; slot >= start; slot--) {
        const at = slot * HEAD_WORDS;
        const side = [HEAD.source, HEAD.destination].find((field) => heads[at + field] === WHOLE_WORD);
        if (side === undefined) plain = slot;
        else {
          const list = side === HEAD.source ? lists.source : lists.destination;
          const word = heads[at + side + 1] ?? 0;
          const known = list.get(word);
          if (known === undefined) list.set(word, [slot]);
          else known.push(slot);
        }
        this.#nextPlain[slot] = plain;
      }
    }
    const all: number[] = [];
    const enter = (table: AddressTable, list: ReadonlyMap<number, readonly number[]>) => {
      for (const [word, of] of list) {
        table.set([word], 0, this.#starts.length);
        this.#starts.push(all.length);
        for (const slot of [...of].sort((a, b) => a - b)) all.push(slot);
      }
    };
    enter(this.#bySource, lists.source);
    enter(this.#byDestination, lists.destination);
    this.#starts.push(all.length);
    this.#slots = Int32Array.from(all);
  }

  /** Another packet comes. */
  forget(): void {
    this.#isKnown = false;
  }

  /** The first slot from `slot` on whose head holds. The addresses of one packet are the same each time. */
  next(slot: number, source: number, destination: number, protocol: number): number {
    if (!this.#isKnown) this.#find(source, destination);
    const heads = this.#heads;
    const nextPlain = this.#nextPlain;
    let first = nextPlain[slot] ?? 0;
    while (!holds(heads, first, source, destination, protocol)) first = nextPlain[first + 1] ?? 0;
    const slots = this.#slots;
    for (let at = this.#from(slot, this.#sourceFrom, this.#sourceTo); at < this.#sourceTo; at++) {
      const found = slots[at] ?? 0;
      if (found >= first) break;
      if (holds(heads, found, source, destination, protocol)) first = found;
    }
    for (let at = this.#from(slot, this.#destinationFrom, this.#destinationTo); at < this.#destinationTo; at++) {
      const found = slots[at] ?? 0;
      if (found >= first) break;
      if (holds(heads, found, source, destination, protocol)) first = found;
    }
    return first;
  }

  #find(source: number, destination: number): void {
    this.#isKnown = true;
    const ofSource = this.#bySource.find4(source, 0);
    const ofDestination = this.#byDestination.find4(destination, 0);
    this.#sourceFrom = ofSource < 0 ? 0 : (this.#starts[ofSource] ?? 0);
    this.#sourceTo = ofSource < 0 ? 0 : (this.#starts[ofSource + 1] ?? 0);
    this.#destinationFrom = ofDestination < 0 ? 0 : (this.#starts[ofDestination] ?? 0);
    this.#destinationTo = ofDestination < 0 ? 0 : (this.#starts[ofDestination + 1] ?? 0);
  }

  /** The place of the first slot not below `slot` in a list. A list may be as long as a chain, so it is halved. */
  #from(slot: number, from: number, to: number): number {
    const slots = this.#slots;
    let low = from;
    let high = to;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((slots[middle] ?? 0) < slot) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** Whether a head holds for a packet: `source` and `destination` are the words that heads have (load.ts). */
export function holds(heads: Int32Array, slot: number, source: number, destination: number, protocol: number): boolean {
  const at = slot * HEAD_WORDS;
  return (
    (source & (heads[at] ?? 0)) === heads[at + 1] &&
    (destination & (heads[at + 2] ?? 0)) === heads[at + 3] &&
    (protocol & (heads[at + 4] ?? 0)) === heads[at + 5]
  );
}
