/** A map of a program, ready for look-ups. */
import { assertNever } from "../assertNever.ts";
import type { MapEntry, MapSpec } from "../program.ts";
import { HashMap } from "./hashMap.ts";
import { LpmTrie } from "./lpmTrie.ts";

/** Bytes of a trie key that hold the prefix length, little-endian (struct bpf_lpm_trie_key). */
export const TRIE_PREFIX_BYTES = 4;

export interface LoadedMap {
  readonly spec: MapSpec;
  /** Index in `spec.entries` of what the map answers, or -1. The key in words: for a trie without the prefix length. */
  find(key: Int32Array): number;
}

/** Loads a map. Throws when it has more entries than it holds, as the kernel answers E2BIG or ENOSPC. */
export function loadMap(spec: MapSpec): LoadedMap {
  switch (spec.type) {
    case "hash":
    case "lru-hash":
      return loadHash(spec);
    case "lpm-trie":
      return loadTrie(spec);
    case "array":
      throw new Error(`map ${spec.name}: no look-up plan reads arrays`);
    default:
      return assertNever(spec.type);
  }
}

function loadHash(spec: MapSpec): LoadedMap {
  const map = new HashMap({
    keyWords: Math.ceil(spec.keyBytes / 4),
    valueWords: 1,
    maxEntries: spec.maxEntries,
    whenFull: spec.type === "hash" ? "refuse" : "evict",
  });
  for (const [index, entry] of spec.entries.entries()) {
    checkKey(spec, entry);
    const at = map.insert(wordsOf(entry.key));
    if (at < 0) throw new Error(`map ${spec.name} is full at ${spec.maxEntries} entries (E2BIG)`);
    map.words[at] = index;
  }
  const find = (key: Int32Array) => {
    const at = map.find(key);
    return at < 0 ? -1 : (map.words[at] ?? -1);
  };
  return { spec, find };
}

function loadTrie(spec: MapSpec): LoadedMap {
  const trie = new LpmTrie({
    dataWords: Math.ceil((spec.keyBytes - TRIE_PREFIX_BYTES) / 4),
    maxEntries: spec.maxEntries,
  });
  for (const [index, entry] of spec.entries.entries()) {
    checkKey(spec, entry);
    const { key } = entry;
    const prefixLength = new DataView(key.buffer, key.byteOffset, key.byteLength).getUint32(0, true);
    if (trie.update(prefixLength, wordsOf(key.subarray(TRIE_PREFIX_BYTES)), index) === "updated") continue;
    throw new Error(`map ${spec.name} is full at ${spec.maxEntries} entries (ENOSPC)`);
  }
  return { spec, find: (key) => trie.find(key) };
}

function checkKey(spec: MapSpec, { key }: MapEntry): void {
  if (key.length === spec.keyBytes) return;
  throw new Error(`map ${spec.name}: a key of ${key.length} bytes where ${spec.keyBytes} are wanted`);
}

/** Bytes as words in network order, the last padded with zeros. */
export function wordsOf(bytes: Uint8Array): Int32Array {
  const words = new Int32Array(Math.ceil(bytes.length / 4));
  for (const [index, byte] of bytes.entries())
    words[index >> 2] = (words[index >> 2] ?? 0) | (byte << (24 - 8 * (index & 3)));
  return words;
}
