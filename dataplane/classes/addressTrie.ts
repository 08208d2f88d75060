/** Which prefix is the longest around an IPv4 address, in three steps at most. */

/** Entries of the root, one for each 16 bits that an address begins with, and of the blocks below it, one a byte. */
const ROOT = 1 << 16;
const BLOCK = 1 << 8;

/** An entry with this bit names a block to go on in; without it, it is a value. */
const GO_ON = 1 << 15;

/** Blocks at most: 4 MB. Those of a cluster of 5,000 nodes with a /24 each fit. */
const MOST_BLOCKS = 1 << 13;
const FIRST_BLOCKS = 1 << 5;

/**
 * A multibit trie with strides of 16, 8 and 8 bits (Srinivasan and Varghese 1999; DIR-24-8 is its sister), every prefix
 * expanded to the entries it covers.
 *
 * A hash table has to be asked for each prefix length that occurs, and what it says of an address is worth remembering,
 * which is another table to fill and to grow. Here an address is found by three reads, the first time as any other, since pods
 * come in blocks of addresses: the leaves of 10,000 pods on a hundred nodes are 50 kB, and stay in the cache.
 */
export class AddressTrie {
  /** The root, then block after block. */
  entries = new Uint16Array(ROOT + FIRST_BLOCKS * BLOCK);
  #blocks = 0;

  /** The value of the longest prefix around an address; 0 outside of all. */
  find(word: number): number {
    return findIn(this.entries, word);
  }

  /**
   * Prefixes must come in the order of their lengths, the shortest first, so that each may overwrite what is there. False: there is
   * no room for it, or the value is too large.
   */
  add(word: number, length: number, value: number): boolean {
    if (value >= GO_ON || this.#blocks + 2 > MOST_BLOCKS) return false;
    let at = word >>> 16;
    if (length > 16) at = this.#blockAt(at) + ((word >>> 8) & 0xff);
    if (length > 24) at = this.#blockAt(at) + (word & 0xff);
    // So many bits more has the level that the prefix ends on.
    const rest = length <= 16 ? 16 - length : length <= 24 ? 24 - length : 32 - length;
    if (rest === 0) this.entries[at] = value;
    else this.entries.fill(value, at, at + (1 << rest));
    return true;
  }

  /** Where the block begins that an entry names; a new one has the entry's value throughout. */
  #blockAt(at: number): number {
    const entry = this.entries[at] ?? 0;
    if (entry >= GO_ON) return ROOT + (entry - GO_ON) * BLOCK;
    const block = this.#blocks++;
    const start = ROOT + block * BLOCK;
    if (start === this.entries.length) {
      const grown = new Uint16Array(ROOT + block * 2 * BLOCK);
      grown.set(this.entries);
      this.entries = grown;
    }
    this.entries[at] = GO_ON + block;
    this.entries.fill(entry, start, start + BLOCK);
    return start;
  }
}

/** `AddressTrie.find` for who holds on to the entries. */
export function findIn(entries: Uint16Array, word: number): number {
  let entry = entries[word >>> 16] ?? 0;
  if (entry < GO_ON) return entry;
  entry = entries[ROOT - GO_ON * BLOCK + entry * BLOCK + ((word >>> 8) & 0xff)] ?? 0;
  if (entry < GO_ON) return entry;
  return entries[ROOT - GO_ON * BLOCK + entry * BLOCK + (word & 0xff)] ?? 0;
}
