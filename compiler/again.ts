/**
 * What a change leaves as it is need not be looked at again: lists of one state of a cluster and of the next, which share
 * every object that has not changed. They differ in few places, mostly in one, so that what is equal at both ends is passed
 * over by comparing pointers, and only what is left between is worked on.
 */

export interface ListChange<T> {
  readonly gone: readonly T[];
  readonly come: readonly T[];
}

interface Middle {
  readonly start: number;
  readonly beforeEnd: number;
  readonly afterEnd: number;
}

/** The part of each list that is left when equal beginnings and ends are taken off. */
function middleOf<T>(before: readonly T[], after: readonly T[]): Middle {
  const shorter = Math.min(before.length, after.length);
  let start = 0;
  while (start < shorter && before[start] === after[start]) start++;
  let [beforeEnd, afterEnd] = [before.length, after.length];
  while (beforeEnd > start && afterEnd > start && before[beforeEnd - 1] === after[afterEnd - 1]) {
    beforeEnd--;
    afterEnd--;
  }
  return { start, beforeEnd, afterEnd };
}

export function sameItems<T>(a: readonly T[], b: readonly T[]): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  for (let index = 0; index < a.length; index++) if (a[index] !== b[index]) return false;
  return true;
}

/** The items that only one of the lists has. */
export function listChange<T>(before: readonly T[], after: readonly T[]): ListChange<T> {
  if (before === after) return { gone: [], come: [] };
  const { start, beforeEnd, afterEnd } = middleOf(before, after);
  const old = before.slice(start, beforeEnd);
  const now = after.slice(start, afterEnd);
  if (old.length === 0 || now.length === 0) return { gone: old, come: now };
  const [known, kept] = [new Set(old), new Set(now)];
  return { gone: old.filter((item) => !kept.has(item)), come: now.filter((item) => !known.has(item)) };
}

export interface Mapped<T, U> {
  readonly items: readonly T[];
  readonly mapped: readonly U[];
}

/** A list mapped item by item, where another list with mostly the same items was. */
export function mappedAgain<T, U>(before: Mapped<T, U>, items: readonly T[], map: (item: T) => U): readonly U[] {
  if (items === before.items) return before.mapped;
  const { start, beforeEnd, afterEnd } = middleOf(before.items, items);
  if (beforeEnd === start && afterEnd === start) return before.mapped;
  const known = new Map<T, U>();
  for (let index = start; index < beforeEnd; index++) {
    known.set(before.items[index] as T, before.mapped[index] as U);
  }
  const between = items.slice(start, afterEnd).map((item) => known.get(item) ?? map(item));
  return before.mapped.slice(0, start).concat(between, before.mapped.slice(beforeEnd));
}

/** A list mapped item by item, each state from the one before. `map` depends on nothing but the item. */
export class MappedAgain<T, U> {
  #latest: Mapped<T, U> = { items: [], mapped: [] };

  /** The same array when nothing changed. */
  of(items: readonly T[], map: (item: T) => U): readonly U[] {
    const mapped = mappedAgain(this.#latest, items, map);
    this.#latest = { items, mapped };
    return mapped;
  }
}

/** How many items of a list have each property, each state from the one before. */
export class CountedAgain<T, Property> {
  #items: readonly T[] = [];
  readonly #counts = new Map<Property, number>();

  /** Properties in no order. */
  of(items: readonly T[], propertiesOf: (item: T) => readonly Property[]): ReadonlyMap<Property, number> {
    const { gone, come } = listChange(this.#items, items);
    this.#items = items;
    const add = (list: readonly T[], sign: 1 | -1) => {
      for (const item of list) {
        for (const property of propertiesOf(item)) {
          const count = (this.#counts.get(property) ?? 0) + sign;
          if (count === 0) this.#counts.delete(property);
          else this.#counts.set(property, count);
        }
      }
    };
    add(gone, -1);
    add(come, 1);
    return this.#counts;
  }
}

/**
 * A list in order, each state from the one before: a full sort of 10,000 addresses takes ten milliseconds, putting a few
 * into the order that is there takes the time to copy it. Items that are equal in order keep the order of the list.
 */
export class SortedAgain<T> {
  readonly #compare: (a: T, b: T) => number;
  readonly #rank: ((item: T) => number) | undefined;
  #items: readonly T[] = [];
  #sorted: readonly T[] = [];
  #hasEquals = false;

  /** `rank`: of two items with other ranks, the one with the lower is the lower. Numbers compare without a look at the items. */
  constructor(compare: (a: T, b: T) => number, rank?: (item: T) => number) {
    this.#compare = compare;
    this.#rank = rank;
  }

  /** Whether items are equal in order. */
  get hasEquals(): boolean {
    return this.#hasEquals;
  }

  /** The same array when nothing changed. No item may be in the list twice. */
  of(items: readonly T[]): readonly T[] {
    if (!sameItems(this.#items, items)) {
      const { gone, come } = listChange(this.#items, items);
      // Among equals the order of the list counts, and it may be another one.
      const patched = this.#hasEquals ? undefined : this.#patched(gone, come);
      if (patched === undefined) this.#sort(items);
      else this.#sorted = patched;
    }
    this.#items = items;
    return this.#sorted;
  }

  /** The list when so many have gone and come, where the list it is sorted from is too long to put together. */
  patched(change: ListChange<T>): readonly T[] | undefined {
    const sorted = this.#hasEquals ? undefined : this.#patched(change.gone, change.come);
    // Not put together: nothing is known any more, and an empty list is what `of` may be asked for next.
    this.#sorted = sorted ?? [];
    this.#hasEquals = false;
    this.#items = this.#sorted;
    return sorted;
  }

  #sort(items: readonly T[]): void {
    const sorted = this.#rank === undefined ? [...items].sort(this.#compare) : this.#ranked(items, this.#rank);
    this.#hasEquals = sorted.some((item, index) => index > 0 && this.#compare(sorted[index - 1] as T, item) === 0);
    this.#sorted = sorted;
  }

  #ranked(items: readonly T[], rank: (item: T) => number): T[] {
    const ranks = Float64Array.from(items, rank);
    const compare = (a: number, b: number) =>
      (ranks[a] as number) - (ranks[b] as number) || this.#compare(items[a] as T, items[b] as T);
    const order = Uint32Array.from(items, (_, index) => index).sort(compare);
    return Array.from(order, (index) => items[index] as T);
  }

  /** Undefined when a sort is cheaper, or when items are equal in order and the list has to say which is first. */
  #patched(gone: readonly T[], come: readonly T[]): readonly T[] | undefined {
    if (gone.length + come.length === 0) return this.#sorted;
    if ((gone.length + come.length) * 8 > this.#sorted.length) return undefined;
    const left = new Set(gone);
    const kept = gone.length === 0 ? this.#sorted : this.#sorted.filter((item) => !left.has(item));
    const coming = [...come].sort(this.#compare);
    const merged: T[] = [];
    let from = 0;
    for (const [index, item] of coming.entries()) {
      const at = this.#place(kept, item);
      const [previous, next, sibling] = [kept[at - 1], kept[at], coming[index - 1]];
      for (const neighbour of [previous, next, sibling]) {
        if (neighbour !== undefined && this.#compare(neighbour, item) === 0) return undefined;
      }
      for (; from < at; from++) merged.push(kept[from] as T);
      merged.push(item);
    }
    for (; from < kept.length; from++) merged.push(kept[from] as T);
    return merged;
  }

  /** The first position whose item comes behind. */
  #place(sorted: readonly T[], item: T): number {
    let [low, high] = [0, sorted.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#compare(sorted[middle] as T, item) <= 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** A value for each object, made when it is first asked for and kept as long as the object lives. */
export function rememberedBy<K extends WeakKey, V>(known: WeakMap<K, V>, key: K, make: (key: K) => V): V {
  let value = known.get(key);
  if (value === undefined) {
    value = make(key);
    known.set(key, value);
  }
  return value;
}
