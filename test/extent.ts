/**
 * How much a run asks. A plain `npm test` should be over in three minutes, so it takes a sample of what is long and many of
 * a kind; CI, and whoever sets CHAINWALK_KERNEL_PACKETS, takes all of it.
 */
export const isWhole = process.env.CI !== undefined || process.env.CHAINWALK_KERNEL_PACKETS !== undefined;

/** How often a property is tried; a sample tries one of twenty-five, and five at least. */
export function runsOf(whole: number): number {
  return isWhole ? whole : Math.min(whole, Math.max(5, Math.ceil(whole / 25)));
}

/** All items in a whole run, otherwise so many of them at even distances, the first among them. */
export function sampled<T>(items: readonly T[], most: number): readonly T[] {
  if (isWhole || items.length <= most) return items;
  return items.filter(
    (_, index) => Math.floor((index * most) / items.length) !== Math.floor(((index - 1) * most) / items.length),
  );
}
