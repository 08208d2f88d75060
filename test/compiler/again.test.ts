import { describe, expect, it } from "vitest";
import { SortedAgain } from "../../compiler/again.ts";

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
