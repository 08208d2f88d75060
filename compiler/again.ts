/**
 * What a change leaves as it is need not be looked at again: lists of one state of a cluster and of the next, which share
 * every object that has not changed. They differ in few places, mostly in one, so that what is equal at both ends is passed
 * over by comparing pointers, and only what is left between is worked on.
 */

export interface ListChange<T> {
  readonly gone: readonly T[];
  readonly come: readonly T[];
}

export interface Middle {
  readonly start: number;
  readonly beforeEnd: number;
  readonly afterEnd: number;
}

/*
 * Loops over whole lists are functions of their own, of one loop each: the optimizing compiler enters such a loop where it
 * stands, having seen nothing of what follows it, and then gives up behind it, each time anew (measured: 37 ns for each
 * pointer compared in place of one).
 */

function equalBeginning<T>(before: readonly T[], after: readonly T[], limit: number): number {
  let length = 0;
  while (length < limit && before[length] === after[length]) length++;
  return length;
}

function equalEnd<T>(before: readonly T[], after: readonly T[], limit: number): number {
  const last = before.length - 1;
  const lastAfter = after.length - 1;
  let length = 0;
  while (length < limit && before[last - length] === after[lastAfter - length]) length++;
  return length;
}

/** The part of each list that is left when equal beginnings and ends are taken off. */
export function middleOf<T>(before: readonly T[], after: readonly T[]): Middle {
  const shorter = Math.min(before.length, after.length);
  const isLong = shorter > LONG_LIST;
  const number = isLong ? rememberedBy(NUMBERS, before, () => ++listCount) : 0;
  const known = isLong ? MIDDLES.get(after) : undefined;
  if (known?.before === number) return known.middle;
  const start = equalBeginning(before, after, shorter);
  const end = equalEnd(before, after, shorter - start);
  const middle = { start, beforeEnd: before.length - end, afterEnd: after.length - end };
  if (isLong) MIDDLES.set(after, { before: number, middle });
  return middle;
}

/*
 * A dozen stages ask for the same change of the list of pods. The list before is known by a number: an entry that held it
 * would keep every state of a history alive.
 */
const LONG_LIST = 256;
let listCount = 0;
const NUMBERS = new WeakMap<readonly unknown[], number>();
const MIDDLES = new WeakMap<readonly unknown[], { readonly before: number; readonly middle: Middle }>();

/** The list with others in place of those between; it itself when it had none there and gets none. */
function replacedBetween<T>(
  list: readonly T[],
  { start, end }: { readonly start: number; readonly end: number },
  others: readonly T[],
): readonly T[] {
  if (start === end && others.length === 0) return list;
  if (end - start !== others.length) return list.slice(0, start).concat(others, list.slice(end));
  const copy = list.slice();
  for (const [index, other] of others.entries()) copy[start + index] = other;
  return copy;
}

export function sameItems<T>(a: readonly T[], b: readonly T[]): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  // A loop of its own: lists of numbers in `middleOf` would make it slower for lists of objects.
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

/** A list mapped item by item, where another list with mostly the same items was; the same array when it maps to the same. */
export function mappedAgain<T, U>(before: Mapped<T, U>, items: readonly T[], map: (item: T) => U): readonly U[] {
  if (items === before.items) return before.mapped;
  const { start, beforeEnd, afterEnd } = middleOf(before.items, items);
  if (start === beforeEnd && start === afterEnd) return before.mapped;
  const known = new Map(before.items.slice(start, beforeEnd).map((item, at) => [item, before.mapped[start + at] as U]));
  const come = items.slice(start, afterEnd);
  const between = come.map((item) => known.get(item) ?? map(item));
  if (sameItems(between, before.mapped.slice(start, beforeEnd))) return before.mapped;
  if (isItsOwn(before) && isItsOwn({ items: come, mapped: between }))
    return items as readonly unknown[] as readonly U[];
  return replacedBetween(before.mapped, { start, end: beforeEnd }, between);
}

/** Whether every item maps to itself: such a list is its own image, with no copy for each state. */
function isItsOwn<T, U>({ items, mapped }: Mapped<T, U>): boolean {
  return sameItems<unknown>(items, mapped);
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

/** The items of a list that are kept, each state from the one before. No item may be in the list twice. */
export class FilteredAgain<T> {
  #items: readonly T[] = [];
  #kept: readonly T[] = [];

  /** `isKept` depends on nothing but the item. The same array when nothing changed. */
  of(items: readonly T[], isKept: (item: T) => boolean): readonly T[] {
    const { start, beforeEnd, afterEnd } = middleOf(this.#items, items);
    let at = start - 1;
    while (at >= 0 && !isKept(items[at] as T)) at--;
    const last = items[at];
    const from = last === undefined ? 0 : this.#kept.indexOf(last) + 1;
    const gone = this.#items.slice(start, beforeEnd).filter(isKept);
    const come = items.slice(start, afterEnd).filter(isKept);
    this.#kept = replacedBetween(this.#kept, { start: from, end: from + gone.length }, come);
    this.#items = items;
    return this.#kept;
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
    const list = this.#sorted.slice();
    for (const item of gone) {
      const at = this.#place(list, item) - 1;
      if (list[at] !== item) return undefined;
      list.splice(at, 1);
    }
    for (const item of come) {
      const at = this.#place(list, item);
      const neighbours = [list[at - 1], list[at]];
      if (neighbours.some((other) => other !== undefined && this.#compare(other, item) === 0)) return undefined;
      list.splice(at, 0, item);
    }
    return list;
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
