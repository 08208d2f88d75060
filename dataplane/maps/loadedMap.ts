/** A map of a program, ready for look-ups. */
import { assertNever } from "../assertNever.ts";
import type { MapEntry, MapSpec } from "../program.ts";
import { HashMap } from "./hashMap.ts";
import { keyWordAt, littleWordAt } from "./layout.ts";
import { LpmTrie } from "./lpmTrie.ts";

/** Bytes of a trie key that hold the prefix length, little-endian (struct bpf_lpm_trie_key). */
export const TRIE_PREFIX_BYTES = 4;

export interface LoadedMap {
  readonly spec: MapSpec;
  /** The decision number of its first entry; one for each entry, and one more for "no entry". Whoever has it sets it. */
  firstDecision: number;
  /** Index in `spec.entries` of what the map answers, or -1. The key in words: for a trie without the prefix length. */
  find(key: Int32Array): number;
}

type Find = LoadedMap["find"];

/** What is known of entries in maps of one shape: that their keys fit, and once it was asked, where they are. */
interface Loaded {
  find: Find | undefined;
}

/** By the entries, which a change of the cluster leaves alone in most maps, and by the shape of the map. */
const LOADED = new WeakMap<MapSpec["entries"], Map<string, Loaded>>();

/**
 * Loads a map, when it is first asked: of the hundreds of maps of a node a packet asks four. Throws when it has more
 * entries than it holds, or a key that cannot be one, as the kernel answers E2BIG, ENOSPC or EINVAL.
 */
export function loadMap(spec: MapSpec): LoadedMap {
  const loaded = loadedOf(spec);
  // Only then can something be wrong that is to be said at once.
  if (spec.type === "array" || spec.entries.length > spec.maxEntries) loaded.find ??= loadEntries(spec);
  const map: LoadedMap & { find: Find } = {
    spec,
    firstDecision: 0,
    find(key) {
      loaded.find ??= loadEntries(spec);
      map.find = loaded.find;
      return map.find(key);
    },
  };
  return map;
}

function loadedOf(spec: MapSpec): Loaded {
  let known = LOADED.get(spec.entries);
  if (known === undefined) {
    known = new Map<string, Loaded>();
    LOADED.set(spec.entries, known);
  }
  const shape = `${spec.type} ${spec.keyBytes} ${spec.maxEntries}`;
  let loaded = known.get(shape);
  if (loaded === undefined) {
    for (const entry of spec.entries) checkKey(spec, entry);
    loaded = { find: undefined };
    known.set(shape, loaded);
  }
  return loaded;
}

function loadEntries(spec: MapSpec): Find {
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

function loadHash(spec: MapSpec): Find {
  const map = new HashMap({
    keyWords: Math.ceil(spec.keyBytes / 4),
    valueWords: 1,
    maxEntries: spec.maxEntries,
    whenFull: spec.type === "hash" ? "refuse" : "evict",
    expected: spec.entries.length,
  });
  const words = new Int32Array(Math.ceil(spec.keyBytes / 4));
  for (const [index, { key }] of spec.entries.entries()) {
    const at = map.insert(wordsOf(key, words));
    if (at < 0) throw new Error(`map ${spec.name} is full at ${spec.maxEntries} entries (E2BIG)`);
    map.words[at] = index;
  }
  return (key) => {
    const at = map.find(key);
    return at < 0 ? -1 : (map.words[at] ?? -1);
  };
}

function loadTrie(spec: MapSpec): Find {
  const trie = new LpmTrie({
    dataWords: Math.ceil((spec.keyBytes - TRIE_PREFIX_BYTES) / 4),
    maxEntries: spec.maxEntries,
  });
  for (const [index, entry] of spec.entries.entries()) {
    const { key } = entry;
    if (trie.update(prefixLengthOf(key), wordsOf(key.subarray(TRIE_PREFIX_BYTES)), index) === "updated") continue;
    throw new Error(`map ${spec.name} is full at ${spec.maxEntries} entries (ENOSPC)`);
  }
  return (key) => trie.find(key);
}

/** As the kernel refuses with EINVAL. */
function checkKey({ name, type, keyBytes }: MapSpec, { key }: MapEntry): void {
  if (key.length !== keyBytes) {
    throw new RangeError(`map ${name}: a key of ${key.length} bytes where ${keyBytes} are wanted`);
  }
  const most = (keyBytes - TRIE_PREFIX_BYTES) * 8;
  if (type !== "lpm-trie" || prefixLengthOf(key) <= most) return;
  throw new RangeError(`map ${name}: a prefix of ${prefixLengthOf(key)} bits in a key of ${most}`);
}

function prefixLengthOf(key: Uint8Array): number {
  return littleWordAt(key, 0);
}

/** Bytes as words in network order, the last padded with zeros: in `words` of as many, or in new ones. */
export function wordsOf(bytes: Uint8Array, words = new Int32Array(Math.ceil(bytes.length / 4))): Int32Array {
  for (let index = 0; index < words.length; index++) words[index] = keyWordAt(bytes, 4 * index);
  return words;
}
