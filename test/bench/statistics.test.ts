import { describe, expect, it } from "vitest";
import { Histogram } from "../../bench/histogram.ts";
import {
  differenceProbability,
  fitGrowth,
  fitLine,
  median,
  medianInterval,
  outlierCount,
  quantile,
} from "../../bench/statistics.ts";
import { Random } from "../../bench/workloads/random.ts";

/** Values around `middle`, by a seed: the sum of six dice is nearly normal. */
function around(middle: number, count: number, seed: number): readonly number[] {
  const random = new Random(seed);
  const dice = () => [1, 2, 3, 4, 5, 6].reduce((sum) => sum + random.below(1_000) / 1_000 - 0.5, 0);
  return Array.from({ length: count }, () => middle + dice());
}

describe("quantiles", () => {
  it("lie between neighbours in proportion", () => {
    expect(quantile([4, 1, 3, 2], 0.5)).toBe(2.5);
    expect(quantile([10, 20], 0.25)).toBe(12.5);
    expect(quantile([7], 0.99)).toBe(7);
  });

  it("of nothing are no number", () => {
    expect(median([])).toBeNaN();
  });

  it("of a histogram are within one percent of the values' own", () => {
    const values = around(500, 5_000, 1).map((value) => value ** 2);
    const histogram = new Histogram();
    for (const value of values) histogram.add(value);
    for (const share of [0.01, 0.5, 0.99]) {
      expect(Math.abs(histogram.quantile(share) / quantile(values, share) - 1)).toBeLessThan(0.011);
    }
  });

  it("of two histograms added are those of all their values", () => {
    const [all, first, second] = [new Histogram(), new Histogram(), new Histogram()];
    for (const [index, value] of around(90, 400, 2).entries()) {
      all.add(value);
      (index % 2 === 0 ? first : second).add(value);
    }
    first.addBuckets(second.buckets);
    expect(first.buckets).toEqual(all.buckets);
    expect(first.total).toBe(400);
  });
});

describe("the interval of a median", () => {
  it("holds the true median in nearly all cases", () => {
    const held = Array.from({ length: 30 }, (_, seed) => {
      const groups = [0, 1, 2, 3, 4].map((group) => around(100, 8, seed * 10 + group));
      const [low, high] = medianInterval(groups, seed);
      return low <= 100 && 100 <= high;
    }).filter((holds) => holds).length;
    expect(held).toBeGreaterThanOrEqual(26);
  });

  it("is wide when processes disagree, however sure each of them is", () => {
    const [low, high] = medianInterval([around(100, 20, 1), around(200, 20, 2), around(300, 20, 3)], 1);
    expect(high - low).toBeGreaterThan(90);
  });
});

describe("the difference of two samples", () => {
  it("is rarely called sure when there is none", () => {
    const sure = Array.from({ length: 200 }, (_, seed) =>
      differenceProbability(around(100, 15, seed * 2), around(100, 15, seed * 2 + 1)),
    ).filter((probability) => probability < 0.05).length;
    expect(sure).toBeLessThanOrEqual(20);
  });

  it("is found when there is one", () => {
    expect(differenceProbability(around(100, 15, 1), around(103, 15, 2))).toBeLessThan(0.001);
  });

  it("cannot be shown by three values, or by values that are all alike", () => {
    expect(differenceProbability([1, 2, 3], [7, 8, 9])).toBe(1);
    expect(differenceProbability([5, 5, 5, 5], [5, 5, 5, 5])).toBe(1);
  });

  it("has the probability that tables of U give: n = m = 5, U = 2", () => {
    // Exact two-sided 0.0317 (Mann and Whitney 1947); the approximation with continuity correction is close.
    expect(differenceProbability([1, 2, 3, 4, 7], [5, 6, 8, 9, 10])).toBeCloseTo(0.037, 2);
  });
});

describe("growth", () => {
  const sizes = [10, 100, 1_000, 10_000];

  it("finds the power that costs were made with", () => {
    const growth = fitGrowth(sizes.map((size) => [size, 3 * size ** 1.5]));
    expect(growth?.exponent).toBeCloseTo(1.5);
    expect(growth?.last).toBeCloseTo(1.5);
    expect(growth?.error).toBeCloseTo(0);
  });

  it("shows at the end what a constant hides at the beginning", () => {
    const growth = fitGrowth(sizes.map((size) => [size, 500 + size]));
    expect(growth?.exponent).toBeLessThan(0.6);
    expect(growth?.last).toBeGreaterThan(0.8);
  });

  it("is not fitted to two sizes, or to a cost of nothing", () => {
    expect(
      fitGrowth([
        [1, 1],
        [2, 2],
      ]),
    ).toBeUndefined();
    expect(fitGrowth(sizes.map((size) => [size, 0]))).toBeUndefined();
  });

  it("fits a line as the textbook does", () => {
    const line = fitLine([
      [1, 2],
      [2, 4.1],
      [3, 5.9],
      [4, 8],
    ]);
    expect(line.slope).toBeCloseTo(1.98);
    expect(line.intercept).toBeCloseTo(0.05);
  });
});

it("values beyond the fences are outliers", () => {
  expect(outlierCount([10, 11, 10, 12, 11, 10, 11, 30])).toBe(1);
  expect(outlierCount([10, 11, 12, 13])).toBe(0);
});
