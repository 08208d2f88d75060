/** Hashes of flows, and whose of several workers a flow is by them. */

/** Of so many workers the one that has flows whose hash falls on `index`. */
export interface Share {
  readonly index: number;
  readonly of: number;
}

export function isOfShare(hash: number, { index, of }: Share): boolean {
  return of === 1 || (hash >>> 8) % of === index;
}

/** Of an end of a flow: `rest` is what its address has beyond the first word. */
export function mixEnd(word: number, rest: number, port: number): number {
  return finish(Math.imul(word ^ Math.imul(rest, 0x85ebca6b), 0x9e3779b1) ^ Math.imul(port + 1, 0xc2b2ae35));
}

/** The finaliser of MurmurHash3 (public domain). */
export function finish(value: number): number {
  let hash = value;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}
