/** The hash of a flow's tuple: an end at a time, so that both directions have the same. */

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
