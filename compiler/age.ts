/** Oldest first: the order in which a solution that listens to events has learnt of things. */

export interface Aged {
  readonly creationTimestamp: string;
  readonly uid: string;
  readonly key: string;
}

/** By creationTimestamp, whose resolution is a second; then by uid and name, so that the order is total. */
export function compareAge(a: Aged, b: Aged): number {
  return (
    compareText(a.creationTimestamp, b.creationTimestamp) || compareText(a.uid, b.uid) || compareText(a.key, b.key)
  );
}

/** By code units, as the sorts of the solutions do; never by locale. */
export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
