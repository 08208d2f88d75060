/** Axes of charts: logarithmic, with ticks at numbers people like. */

export interface LogScale {
  readonly low: number;
  readonly high: number;
  /** Place of a value between the two ends of the axis, in pixels. */
  at(value: number): number;
  /** Labelled ticks, and those between. */
  readonly major: readonly number[];
  readonly minor: readonly number[];
}

/** A scale that holds all values above 0, with a little air, over the pixels `from`–`to`. */
export function logScale(values: readonly number[], from: number, to: number): LogScale {
  const positive = values.filter((value) => value > 0 && Number.isFinite(value));
  const least = positive.length === 0 ? 1 : Math.min(...positive);
  const most = positive.length === 0 ? 10 : Math.max(...positive);
  // At least half a decade, so that noise does not look like a mountain.
  const air = Math.max(1.15, Math.sqrt(3 / Math.max(1, most / least)));
  const low = least / air;
  const high = most * air;
  const spread = Math.log(high / low);
  const decades = range(Math.floor(Math.log10(low)), Math.ceil(Math.log10(high)));
  const inside = (value: number) => value >= low && value <= high;
  const steps = (factors: readonly number[]) =>
    decades.flatMap((decade) => factors.map((factor) => Number((factor * 10 ** decade).toPrecision(3)))).filter(inside);
  const tens = steps([1]);
  // Few decades: 2 and 5 are labelled as well.
  const major = tens.length >= 3 ? tens : steps([1, 2, 5]);
  return {
    low,
    high,
    at: (value) => from + (Math.log(Math.max(value, low) / low) / spread) * (to - from),
    major,
    minor: steps([1, 2, 3, 4, 5, 6, 7, 8, 9]).filter((value) => !major.includes(value)),
  };
}

function range(first: number, last: number): readonly number[] {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}

/** `10`, `1k`, `2.5M`; small numbers as they are. */
export function shortNumber(value: number): string {
  for (const [unit, letter] of [
    [1e9, "G"],
    [1e6, "M"],
    [1e3, "k"],
  ] as const) {
    if (value >= unit) return `${Number((value / unit).toPrecision(3))}${letter}`;
  }
  return String(Number(value.toPrecision(3)));
}

/** Nanoseconds as the unit that reads best: `850 ns`, `1.2 µs`, `3 ms`; other units behind the number. */
export function withUnit(value: number, unit: string): string {
  if (!unit.startsWith("ns")) return `${shortNumber(value)} ${unit}`;
  for (const [size, name] of [
    [1e9, "s"],
    [1e6, "ms"],
    [1e3, "µs"],
  ] as const) {
    if (value >= size) return `${Number((value / size).toPrecision(3))} ${name}`;
  }
  return `${Number(value.toPrecision(3))} ns`;
}
