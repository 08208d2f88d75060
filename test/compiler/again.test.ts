import { describe, expect, it } from "vitest";
import { FilteredAgain, SortedAgain } from "../../compiler/again.ts";

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
