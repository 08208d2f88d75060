/**
 * Numbers for the label sets of a large cluster that stay when few of them come or go, and follow from the sets alone.
 *
 * A number is a slot of a table with linear probing, where of two that ask for one slot the lesser text has it: such a
 * table has one form, whatever was put in or taken out before (Amble and Knuth, Ordered hash tables, 1974).
 */
import { listChange } from "../../again.ts";
import { compareText } from "../../age.ts";

/** A set of labels that pods share, under the text that the key-value store has for it (pkg/labels SortedList). */
export interface IdentityKey {
  readonly text: string;
  readonly labels: readonly string[];
}

/** As many as numbers of two bytes leave beside the reserved ones; doubled while it would be more than three quarters full. */
const SLOTS = 65_536 - 256;
const FULLEST = 0.75;

export class IdentityTable {
  #items: readonly IdentityKey[] = [];
  #slots: (IdentityKey | undefined)[] = [];
  #numbers = new Map<IdentityKey, number>();

  /** From here on the table holds these; answers whether one that it held before has another number now. */
  hold(items: readonly IdentityKey[]): boolean {
    const { gone, come } = listChange(this.#items, items);
    this.#items = items;
    let size = SLOTS;
    while (items.length > size * FULLEST) size *= 2;
    if (size !== this.#slots.length) {
      this.#slots = new Array(size).fill(undefined);
      this.#numbers = new Map();
      for (const key of items) this.#put(key);
      return true;
    }
    let isMoved = false;
    for (const key of gone) isMoved = this.#take(key) || isMoved;
    for (const key of come) isMoved = this.#put(key) || isMoved;
    return isMoved;
  }

  /** From 0. */
  numberOf(key: IdentityKey): number {
    const number = this.#numbers.get(key);
    if (number === undefined) throw new Error("labels that the table does not hold");
    return number;
  }

  #put(key: IdentityKey): boolean {
    const slots = this.#slots;
    let carried = key;
    for (let at = hashOf(key.text) % slots.length; ; at = (at + 1) % slots.length) {
      const there = slots[at];
      if (there !== undefined && compareText(there.text, carried.text) < 0) continue;
      slots[at] = carried;
      this.#numbers.set(carried, at);
      if (there === undefined) return carried !== key;
      carried = there;
    }
  }

  #take(key: IdentityKey): boolean {
    const slots = this.#slots;
    let hole = this.numberOf(key);
    let isMoved = false;
    this.#numbers.delete(key);
    for (let at = (hole + 1) % slots.length; ; at = (at + 1) % slots.length) {
      const there = slots[at];
      if (there === undefined) break;
      const home = hashOf(there.text) % slots.length;
      const distance = (at - home + slots.length) % slots.length;
      if (distance < (at - hole + slots.length) % slots.length) continue;
      slots[hole] = there;
      this.#numbers.set(there, hole);
      isMoved = true;
      hole = at;
    }
    slots[hole] = undefined;
    return isMoved;
  }
}

/** FNV-1a over the code units, its bits mixed once more. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  return (hash ^ (hash >>> 13)) >>> 0;
}
