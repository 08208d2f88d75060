import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  FilteredAgain,
  listChange,
  MappedAgain,
  replacedBetween,
  replacedItems,
  SortedAgain,
  sameItems,
} from "../../compiler/again.ts";

describe("a list that is sorted again", () => {
  const numbers = () => new SortedAgain<number>((a, b) => a - b);

  it("holds nothing more when all of it is gone", () => {
    const sorted = numbers();
    expect(sorted.of([2, 1])).toEqual([1, 2]);
    // Too many for putting together; kube-router's sets of a cluster that lost its last policy stayed there.
    expect(sorted.patched({ gone: [2, 1], come: [] })).toBeUndefined();
    expect(sorted.of([])).toEqual([]);
  });

  it("is put together where little changes, and sorted where much does", () => {
    const sorted = numbers();
    const many = Array.from({ length: 40 }, (_, index) => 40 - index);
    sorted.of(many);
    expect(sorted.patched({ gone: [7], come: [90] })).toEqual([...many.filter((n) => n !== 7).toReversed(), 90]);
    expect(sorted.of([3, 1, 2])).toEqual([1, 2, 3]);
  });

  it("is what sorting from scratch gives, whatever goes and comes", () => {
    const change = fc.tuple(fc.uniqueArray(fc.nat(30)), fc.uniqueArray(fc.nat(30)));
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat(30)), fc.array(change), (start, changes) => {
        const item = (n: number) => ({ n });
        const sorted = new SortedAgain<{ readonly n: number }>((a, b) => a.n - b.n);
        let items = start.map(item);
        sorted.of(items);
        for (const [leave, enter] of changes) {
          // One that is equal in order to another that goes may come; one that is equal to one that stays is an equal.
          items = [...items.filter(({ n }) => !leave.includes(n)), ...enter.map(item)];
          expect(sorted.of(items)).toEqual(items.toSorted((a, b) => a.n - b.n));
          expect(new Set(sorted.of(items))).toEqual(new Set(items));
        }
      }),
    );
  });
});

describe("a list that is filtered again", () => {
  it("is what filtering from scratch gives, wherever it changes", () => {
    const item = (n: number) => ({ n });
    const even = ({ n }: { readonly n: number }) => n % 2 === 0;
    const again = new FilteredAgain<{ readonly n: number }>();
    const first = [1, 2, 3, 4, 5, 6].map(item);
    const states = [
      first,
      first.with(2, item(8)), // where none was kept one is
      first.with(0, item(10)), // before all that are kept
      first.toSpliced(3, 2),
      [...first, item(12)],
      [],
      first.toReversed(),
    ];
    for (const state of states) expect(again.of(state, even)).toEqual(state.filter(even));
    const kept = again.of(first, even);
    expect(again.of(first.with(0, item(7)), even)).toBe(kept);
  });
});

describe("lists of 300 objects that change in some places", () => {
  interface Item {
    readonly n: number;
  }
  const first: readonly Item[] = Array.from({ length: 300 }, (_, n) => ({ n }));
  /** Items go, come, are replaced or change their places; what is derived of a list is noted, another list is searched. */
  const edits = fc.array(fc.tuple(fc.nat(3), fc.nat(320), fc.nat(320)), { maxLength: 6 });
  const edited = (list: readonly Item[], [kind, at, other]: readonly [number, number, number]): readonly Item[] => {
    const start = Math.min(at, list.length - 1);
    if (kind === 0) return replacedBetween(list, { start, end: start + 1 }, []);
    if (kind === 1) return replacedBetween(list, { start, end: start }, [{ n: (other % 3) + 0.5 }]);
    if (kind === 2) return at < list.length ? replacedItems(list, new Map([[at, { n: other + 0.25 }]])) : list;
    const item = list[at];
    return item === undefined ? list : list.toSpliced(at, 1).toSpliced(other, 0, item);
  };

  it("say what came and went, and are mapped, filtered and sorted as from scratch", () => {
    fc.assert(
      fc.property(fc.array(edits, { minLength: 2, maxLength: 5 }), (steps) => {
        const images = new WeakMap<Item, { readonly of: Item }>();
        const image = (of: Item) => images.get(of) ?? images.set(of, { of }).get(of);
        const isEven = ({ n }: Item) => n % 2 === 0;
        const order = (a: Item, b: Item) => a.n - b.n;
        const [mapped, ofSorted, filtered, sorted] = [
          new MappedAgain<Item, unknown>(),
          new MappedAgain<Item, unknown>(),
          new FilteredAgain<Item>(),
          new SortedAgain<Item>(order),
        ];
        const states: (readonly Item[])[] = [first];
        for (const step of steps) states.push(step.reduce(edited, states.at(-1) ?? first));
        // An earlier one again, and one from which nothing is noted.
        states.splice(2, 0, first, [...first]);
        for (const [index, list] of states.entries()) {
          const before = states[index - 1] ?? [];
          const { gone, come } = listChange(before, list);
          expect(new Set(gone)).toEqual(new Set(before.filter((item) => !list.includes(item))));
          expect(new Set(come)).toEqual(new Set(list.filter((item) => !before.includes(item))));
          expect(gone).toHaveLength(new Set(gone).size);
          const all = mapped.of(list, image);
          expect(all.length).toBe(list.length);
          expect(all.every((each, at) => each === images.get(list[at] as Item))).toBe(true);
          expect(filtered.of(list, isEven)).toEqual(list.filter(isEven));
          const inOrder = sorted.of(list);
          expect(sameItems([...inOrder], list.toSorted(order))).toBe(true);
          expect(ofSorted.of(inOrder, image).every((each, at) => each === images.get(inOrder[at] as Item))).toBe(true);
          for (const other of states) {
            expect(sameItems(other, list)).toBe(
              other.length === list.length && other.every((item, at) => item === list[at]),
            );
          }
        }
      }),
      { numRuns: 60 },
    );
  });
});
