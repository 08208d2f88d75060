/** BPF_MAP_TYPE_LPM_TRIE: the longest prefix that covers a key. */
import { maskWord } from "../address.ts";
import { HashMap } from "./hashMap.ts";

export interface LpmTrieShape {
  /** Words of the data behind the prefix length, big-endian, the last one padded with zeros. */
  readonly dataWords: number;
  readonly maxEntries: number;
}

/**
 * Prefixes with a number ≥ 0 each.
 *
 * The kernel walks a binary trie, one node and one cache miss per branching bit. The maps here have few different prefix
 * lengths (a policy map up to eighteen, an ipcache those of the CIDRs that policies name), so one hash look-up per
 * length that occurs, longest first, takes fewer: the first hit is the longest prefix. The price is a map with a prefix
 * of every length, which costs a look-up for each.
 */
export class LpmTrie {
  readonly #dataWords: number;
  readonly #map: HashMap;
  /** Prefix length, then the data with the bits beyond it cleared. */
  readonly #key: Int32Array;
  /** How many prefixes of each length there are, by length. */
  readonly #counts: Int32Array;
  /** Lengths that occur, longest first. */
  #lengths = new Uint16Array(0);

  constructor({ dataWords, maxEntries }: LpmTrieShape) {
    this.#dataWords = dataWords;
    this.#map = new HashMap({ keyWords: dataWords + 1, valueWords: 1, maxEntries, whenFull: "refuse" });
    this.#key = new Int32Array(dataWords + 1);
    this.#counts = new Int32Array(32 * dataWords + 1);
  }

  get size(): number {
    return this.#map.size;
  }

  /** Sets the number of a prefix. Bits of `data` beyond it do not matter. A full trie refuses new prefixes, as the kernel does. */
  update(prefixLength: number, data: Int32Array, value: number): "updated" | "ENOSPC" {
    this.#mask(prefixLength, data);
    const before = this.#map.size;
    const at = this.#map.insert(this.#key);
    if (at < 0) return "ENOSPC";
    this.#map.words[at] = value;
    if (this.#map.size > before) this.#count(prefixLength, 1);
    return "updated";
  }

  /** Whether the prefix was there. */
  delete(prefixLength: number, data: Int32Array): boolean {
    this.#mask(prefixLength, data);
    if (!this.#map.delete(this.#key)) return false;
    this.#count(prefixLength, -1);
    return true;
  }

  /** The number of the longest prefix that covers `data`, all of whose bits count; -1 when none does. */
  find(data: Int32Array): number {
    for (let index = 0; index < this.#lengths.length; index++) {
      this.#mask(this.#lengths[index] ?? 0, data);
      const at = this.#map.find(this.#key);
      if (at >= 0) return this.#map.words[at] ?? -1;
    }
    return -1;
  }

  #mask(prefixLength: number, data: Int32Array): void {
    this.#key[0] = prefixLength;
    for (let index = 0; index < this.#dataWords; index++) {
      this.#key[index + 1] = (data[index] ?? 0) & maskWord(prefixLength - 32 * index);
    }
  }

  #count(prefixLength: number, change: 1 | -1): void {
    const before = this.#counts[prefixLength];
    if (before === undefined) throw new RangeError(`prefix length ${prefixLength} of ${this.#counts.length - 1} bits`);
    this.#counts[prefixLength] = before + change;
    if (before !== 0 && before + change !== 0) return;
    const lengths = Array.from(this.#counts.keys()).filter((length) => this.#counts[length] !== 0);
    this.#lengths = Uint16Array.from(lengths.reverse());
  }
}
