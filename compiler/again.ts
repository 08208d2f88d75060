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

/** A place at which lists differ: `[start, end)` of each. */
interface Place {
  readonly start: number;
  readonly end: number;
  readonly afterStart: number;
  readonly afterEnd: number;
}

/** Beyond so many places, or so many items at one of them, lists are looked at as a whole. */
const MOST_PLACES = 8;
const PLACE_ITEMS = 4;

/**
 * Where two lists differ. An object that changes its place in an order leaves two places far apart, and what stands between
 * them need not be worked on either; where the places are not few and small, the whole middle is the one place.
 */
export function placesOf<T>(before: readonly T[], after: readonly T[]): readonly Place[] {
  if (before === after) return [];
  const isLong = Math.min(before.length, after.length) > LONG_LIST;
  if (!isLong) return searchedPlaces(before, after);
  const known = PLACES.get(after);
  if (known !== undefined && known.before === NUMBERS.get(before)) return known.places;
  const places = searchedPlaces(before, after);
  notePlaces(before, after, places);
  return places;
}

/*
 * A dozen stages ask for the same change of the list of pods, and most lists are made of the list before, at places that
 * are known then: to compare 10,000 pointers to objects takes 100 µs, because the engine looks at each object. The list
 * before is known by a number: an entry that held it would keep every state of a history alive.
 */
const LONG_LIST = 256;
let listCount = 0;
const NUMBERS = new WeakMap<readonly unknown[], number>();
const PLACES = new WeakMap<readonly unknown[], { readonly before: number; readonly places: readonly Place[] }>();

function notePlaces<T>(before: readonly T[], after: readonly T[], places: readonly Place[]): void {
  if (Math.min(before.length, after.length) <= LONG_LIST || places.length > MOST_PLACES) return;
  PLACES.set(after, { before: rememberedBy(NUMBERS, before, () => ++listCount), places });
}

/** The part of each list that is left when equal beginnings and ends are taken off. */
export function middleOf<T>(before: readonly T[], after: readonly T[]): Middle {
  const places = placesOf(before, after);
  const [first, last] = [places[0], places.at(-1)];
  if (first === undefined || last === undefined) {
    return { start: before.length, beforeEnd: before.length, afterEnd: after.length };
  }
  return { start: first.start, beforeEnd: last.end, afterEnd: last.afterEnd };
}

function searchedPlaces<T>(before: readonly T[], after: readonly T[]): readonly Place[] {
  const shorter = Math.min(before.length, after.length);
  const start = equalBeginning(before, after, shorter);
  const ends = equalEnd(before, after, shorter - start);
  const [beforeEnd, afterEnd] = [before.length - ends, after.length - ends];
  const places: Place[] = [];
  let [at, now] = [start, start];
  while (at < beforeEnd || now < afterEnd) {
    const place = placeAt(before, after, { at, now, beforeEnd, afterEnd });
    if (place === undefined || places.push(place) > MOST_PLACES) {
      return [{ start, end: beforeEnd, afterStart: start, afterEnd }];
    }
    const shift = place.afterEnd - place.end;
    const equal = equalRun(before, after, { at: place.end, shift, end: Math.min(beforeEnd, afterEnd - shift) });
    [at, now] = [place.end + equal, place.afterEnd + equal];
  }
  return places;
}

interface Rest {
  readonly at: number;
  readonly now: number;
  readonly beforeEnd: number;
  readonly afterEnd: number;
}

/** How much of each list is another until both go on alike, at most `PLACE_ITEMS`. */
function placeAt<T>(before: readonly T[], after: readonly T[], rest: Rest): Place | undefined {
  const { at, now, beforeEnd, afterEnd } = rest;
  for (let skipped = 1; skipped <= PLACE_ITEMS; skipped++) {
    for (const [gone, come] of [
      [skipped, 0],
      [0, skipped],
      [skipped, skipped],
    ] as const) {
      const [end, nowEnd] = [at + gone, now + come];
      if (end > beforeEnd || nowEnd > afterEnd) continue;
      const isEnd = end === beforeEnd && nowEnd === afterEnd;
      const isAlike = end < beforeEnd && nowEnd < afterEnd && before[end] === after[nowEnd];
      if (isEnd || isAlike) return { start: at, end, afterStart: now, afterEnd: nowEnd };
    }
  }
  return undefined;
}

function equalRun<T>(
  before: readonly T[],
  after: readonly T[],
  { at, shift, end }: { readonly at: number; readonly shift: number; readonly end: number },
): number {
  let next = at;
  while (next < end && before[next] === after[next + shift]) next++;
  return next - at;
}

/** The items that are at these places, in the list before or in the one after. */
export function itemsAt<T>(list: readonly T[], places: readonly Place[], when: "before" | "after"): readonly T[] {
  const [first] = places;
  if (places.length === 1 && first !== undefined) return itemsOf(list, first, when);
  return places.flatMap((place) => itemsOf(list, place, when));
}

function itemsOf<T>(list: readonly T[], place: Place, when: "before" | "after"): readonly T[] {
  return when === "before" ? list.slice(place.start, place.end) : list.slice(place.afterStart, place.afterEnd);
}

/** The list with others in place of those between; it itself when nothing differs. */
export function replacedBetween<T>(
  list: readonly T[],
  { start, end }: { readonly start: number; readonly end: number },
  others: readonly T[],
): readonly T[] {
  if (start === end && others.length === 0) return list;
  return replacedAt(list, [{ start, end, afterStart: start, afterEnd: start + others.length }], others);
}

/** The list with others at the places, one after the other. */
function replacedAt<T>(list: readonly T[], places: readonly Place[], others: readonly T[]): readonly T[] {
  let taken = 0;
  let made: readonly T[];
  if (places.every(isInPlace)) {
    const copy = list.slice();
    let isSame = true;
    for (const { start, end } of places) {
      for (let at = start; at < end; at++) {
        const other = others[taken++] as T;
        isSame &&= copy[at] === other;
        copy[at] = other;
      }
    }
    if (isSame) return list;
    made = copy;
  } else {
    const parts: (readonly T[])[] = [];
    for (const [index, { end, afterStart, afterEnd }] of places.entries()) {
      const count = afterEnd - afterStart;
      parts.push(others.slice(taken, taken + count), list.slice(end, places[index + 1]?.start));
      taken += count;
    }
    made = list.slice(0, places[0]?.start).concat(...parts);
  }
  notePlaces(list, made, places);
  return made;
}

/** The items there have others in their place, and nothing moves. */
function isInPlace({ start, end, afterStart, afterEnd }: Place): boolean {
  return start === afterStart && end === afterEnd;
}

/** The list with other items at these indices. */
export function replacedItems<T>(list: readonly T[], items: ReadonlyMap<number, T>): readonly T[] {
  const sorted = [...items].sort(([a], [b]) => a - b);
  const places = sorted.map(([at]) => ({ start: at, end: at + 1, afterStart: at, afterEnd: at + 1 }));
  return places.length === 0
    ? list
    : replacedAt(
        list,
        places,
        sorted.map(([, item]) => item),
      );
}

export function sameItems<T>(a: readonly T[], b: readonly T[]): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  const known = a.length > LONG_LIST ? PLACES.get(b) : undefined;
  if (known !== undefined && known.before === NUMBERS.get(a) && known.places.every(isInPlace)) {
    return known.places.every(({ start, end }) => equalRun(a, b, { at: start, shift: 0, end }) === end - start);
  }
  // A loop of its own: lists of numbers in `middleOf` would make it slower for lists of objects.
  for (let index = 0; index < a.length; index++) if (a[index] !== b[index]) return false;
  return true;
}

/** Whether the lists differ by nothing but some items that others are in the place of; of these, each pair is `alike`. */
export function isReplaced<T>(
  before: readonly T[],
  after: readonly T[],
  alike: (before: T, after: T) => boolean,
): boolean {
  const places = placesOf(before, after);
  if (!places.every(isInPlace)) return false;
  const [old, now] = [itemsAt(before, places, "before"), itemsAt(after, places, "after")];
  return old.every((item, index) => alike(item, now[index] as T));
}

/** The items that only one of the lists has. */
export function listChange<T>(before: readonly T[], after: readonly T[]): ListChange<T> {
  if (before === after) return { gone: [], come: [] };
  const places = placesOf(before, after);
  const [old, now] = [itemsAt(before, places, "before"), itemsAt(after, places, "after")];
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
  const places = placesOf(before.items, items);
  if (places.length === 0) return before.mapped;
  const known = new Map<T, U>();
  for (const { start, end } of places) {
    for (let at = start; at < end; at++) known.set(before.items[at] as T, before.mapped[at] as U);
  }
  const come = itemsAt(items, places, "after");
  const mapped = come.map((item) => known.get(item) ?? map(item));
  if (isItsOwn(before) && isItsOwn({ items: come, mapped })) return items as readonly unknown[] as readonly U[];
  return replacedAt(before.mapped, places, mapped);
}

/** Whether every item maps to itself: such a list is its own image, with no copy for each state. */
function isItsOwn<T, U>({ items, mapped }: Mapped<T, U>): boolean {
  return sameItems<unknown>(items, mapped);
}

/** A list mapped item by item, each state from the one before. `map` depends on nothing but the item. */
export class MappedAgain<T, U> {
  readonly #recent = new Recent<Mapped<T, U>>({ items: [], mapped: [] });

  /** The same array when nothing changed. */
  of(items: readonly T[], map: (item: T) => U): readonly U[] {
    const mapped = mappedAgain(this.#recent.nearest(items), items, map);
    this.#recent.note({ items, mapped });
    return mapped;
  }
}

/** The latest states of a list: an event leads to a state in between, and the state after it is known by the one before. */
class Recent<S extends { readonly items: readonly unknown[] }> {
  #states: readonly [S, ...S[]];

  constructor(none: S) {
    this.#states = [none];
  }

  /** The one from which it is known where the list differs, or else the latest. */
  nearest(items: readonly unknown[]): S {
    const [latest, ...others] = this.#states;
    const number = PLACES.get(items)?.before;
    const isKnown = ({ items: before }: S) =>
      before === items || (number !== undefined && NUMBERS.get(before) === number);
    return isKnown(latest) ? latest : (others.find(isKnown) ?? latest);
  }

  note(state: S): void {
    const others = this.#states.filter(({ items }) => items !== state.items);
    this.#states = [state, ...others.slice(0, RECENT_STATES - 1)];
  }
}

const RECENT_STATES = 3;

/** The items of a list that are kept, each state from the one before. No item may be in the list twice. */
export class FilteredAgain<T> {
  readonly #recent = new Recent<{ readonly items: readonly T[]; readonly kept: readonly T[] }>({ items: [], kept: [] });

  /** `isKept` depends on nothing but the item. The same array when nothing changed. */
  of(items: readonly T[], isKept: (item: T) => boolean): readonly T[] {
    const before = this.#recent.nearest(items);
    const places: Place[] = [];
    const others: T[] = [];
    let shift = 0;
    for (const place of placesOf(before.items, items)) {
      const gone = itemsOf(before.items, place, "before").filter(isKept);
      const come = itemsOf(items, place, "after").filter(isKept);
      if (gone.length === 0 && come.length === 0) continue;
      let at = place.start - 1;
      while (gone.length === 0 && at >= 0 && !isKept(before.items[at] as T)) at--;
      const last = before.items[at];
      const start =
        gone.length > 0 ? before.kept.indexOf(gone[0] as T) : last === undefined ? 0 : before.kept.indexOf(last) + 1;
      const afterStart = start + shift;
      places.push({ start, end: start + gone.length, afterStart, afterEnd: afterStart + come.length });
      others.push(...come);
      shift += come.length - gone.length;
    }
    const kept = places.length === 0 ? before.kept : replacedAt(before.kept, places, others);
    this.#recent.note({ items, kept });
    return kept;
  }
}

/** The pieces between so many are as many arguments as a call surely takes. */
const MOST_PATCHES = 1_024;

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
    const before = this.#sorted;
    const count = gone.length + come.length;
    if (count === 0) return before;
    if (count * 2 > before.length || count > MOST_PATCHES) return undefined;
    const holes: number[] = [];
    for (const item of gone) {
      const at = this.#place(before, item) - 1;
      if (before[at] !== item) return undefined;
      holes.push(at);
    }
    holes.sort((a, b) => a - b);
    const pieces: T[][] = [];
    let [from, hole] = [0, 0];
    const copyUntil = (end: number) => {
      for (; from < end; hole++) {
        const next = Math.min(end, holes[hole] ?? end);
        if (next > from) pieces.push(before.slice(from, next));
        from = next < end ? next + 1 : end;
        if (next === end) return;
      }
    };
    const entries: number[] = [];
    for (const item of [...come].sort(this.#compare)) {
      const entry = this.#place(before, item);
      entries.push(entry);
      copyUntil(entry);
      const last = pieces.at(-1)?.at(-1);
      if (last !== undefined && this.#compare(last, item) === 0) return undefined;
      pieces.push([item]);
    }
    copyUntil(before.length);
    const after = ([] as T[]).concat(...pieces);
    notePlaces(before, after, placesOfPatch(holes, entries));
    return after;
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

/** Where a list differs from one less the items at `holes`, with items more in front of those at `entries`; both ascend. */
function placesOfPatch(holes: readonly number[], entries: readonly number[]): readonly Place[] {
  const places: Place[] = [];
  let [hole, entry, shift] = [0, 0, 0];
  while (hole < holes.length || entry < entries.length) {
    const isEntry = (entries[entry] ?? Number.POSITIVE_INFINITY) <= (holes[hole] ?? Number.POSITIVE_INFINITY);
    const start = (isEntry ? entries[entry++] : holes[hole++]) as number;
    const [end, afterStart] = [isEntry ? start : start + 1, start + shift];
    const afterEnd = isEntry ? afterStart + 1 : afterStart;
    shift += isEntry ? 1 : -1;
    const last = places.at(-1);
    if (last !== undefined && last.end === start) places[places.length - 1] = { ...last, end, afterEnd };
    else places.push({ start, end, afterStart, afterEnd });
  }
  return places;
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
