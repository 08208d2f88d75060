/** Numbers as people read them: three figures, and what is small to the eye is small in print. */

/** `0.42`, `12.3`, `1,230`, `45,600`. */
export function figures(value: number): string {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 100) return Math.round(value).toLocaleString("en-US");
  return size >= 10 ? value.toFixed(1) : size >= 1 ? value.toFixed(2) : value.toPrecision(2);
}

/** Half of the interval's width as a share of the value: `±3 %`. */
export function plusMinus(value: number, [low, high]: readonly [number, number]): string {
  const share = (high - low) / 2 / value;
  if (!Number.isFinite(share)) return "";
  return `±${share >= 0.1 ? Math.round(share * 100) : (share * 100).toFixed(1)} %`;
}

/** A ratio: `×0.42`; nothing where there is none. */
export function times(ratio: number | undefined): string {
  return ratio === undefined ? "" : `×${figures(ratio)}`;
}

const EIGHTHS = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/** A bar of `share` (0–1) of the width, in eighths of a character. */
export function bar(share: number, width: number): string {
  const eighths = Math.round(Math.max(0, Math.min(1, share)) * width * 8);
  return "█".repeat(Math.floor(eighths / 8)) + (EIGHTHS[eighths % 8] ?? "");
}

/** Where a value lies between the smallest and the largest, both above 0, on a log scale. */
export function logShare(value: number, [low, high]: readonly [number, number]): number {
  if (!(value > 0)) return 0;
  return high <= low ? 1 : Math.log(value / low) / Math.log(high / low);
}

const LEVELS = "▁▂▃▄▅▆▇█";

/** A histogram as one line of `width` characters, from the 1st to the 99th percentile. */
export function sparkline(values: readonly (readonly [value: number, count: number])[], width: number): string {
  const total = values.reduce((sum, [, count]) => sum + count, 0);
  let seen = 0;
  const kept = values.filter(([, count]) => {
    seen += count;
    return seen > total * 0.01 && seen - count <= total * 0.99;
  });
  const [low] = kept[0] ?? [];
  const [high] = kept.at(-1) ?? [];
  if (low === undefined || high === undefined) return "";
  const columns = new Float64Array(width);
  for (const [value, count] of kept) {
    const at = Math.min(width - 1, Math.floor(logShare(value, [low, high]) * width));
    columns[at] = (columns[at] ?? 0) + count;
  }
  const most = Math.max(...columns);
  return [...columns]
    .map((count) => (count === 0 ? " " : (LEVELS[Math.ceil((count / most) * LEVELS.length) - 1] ?? "")))
    .join("");
}
