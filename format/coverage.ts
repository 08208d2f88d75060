/** What a check of all first packets covered, in words that `verify`, `compare` and `timeline` share. */

/** `56.2377 %`; no digits that say nothing. */
export function shareText(ratio: number): string {
  return `${(ratio * 100).toFixed(4).replace(/\.?0+$/, "")} %`;
}

/** A line for each box of packets that nobody was asked about. */
export function leftLines(left: readonly string[]): readonly string[] {
  return left.map((box) => `not covered: ${box}`);
}
