/** What bpf(2) refuses of maps, and look-ups that could not run. */
import { addressBits, cidrKey, formatCidr } from "../../dataplane/address.ts";
import { littleWordAt, TUPLE_KEY_BYTES, TUPLE_VALUE_BYTES } from "../../dataplane/maps/layout.ts";
import { entryCountOf, type TupleEntries, tupleEntriesOf } from "../../dataplane/maps/tupleEntries.ts";
import type { AttachPoint, MapProgram, MapSpec, MapType } from "../../dataplane/program.ts";
import { rememberedBy } from "../again.ts";
import { toHex } from "../hash.ts";
import { unsafeName } from "../names.ts";

/** BPF_MAP names of solutions are file names under bpffs: NAME_MAX of limits.h. */
const MAP_NAME_MAX_BYTES = 255;
/** LPM_DATA_SIZE_MAX of kernel/bpf/lpm_trie.c: 256 bytes behind the 4 of the prefix length. */
const TRIE_PREFIX_BYTES = 4;
const TRIE_DATA_MAX_BYTES = 256;

/** Of entries that a change of the cluster has left alone, by the shape of their map. */
const VERIFIED = new WeakMap<MapSpec["entries"] | TupleEntries, Map<string, readonly string[]>>();

export function verifyMaps(program: MapProgram): readonly string[] {
  const problems: string[] = [];
  const maps = new Map<string, MapSpec>();
  for (const map of program.maps) {
    const unsafe = unsafeName(map.name, MAP_NAME_MAX_BYTES);
    if (unsafe !== undefined) problems.push(`map name ${JSON.stringify(map.name)} ${unsafe}`);
    if (maps.has(map.name)) problems.push(`map ${map.name}: created twice`);
    maps.set(map.name, map);
    const shape = `${map.type} ${map.keyBytes} ${map.valueBytes} ${map.maxEntries}`;
    const tuples = tupleEntriesOf(map);
    const known = rememberedBy(VERIFIED, tuples ?? map.entries, () => new Map<string, readonly string[]>());
    const found = known.get(shape) ?? [
      ...verifyShape(map),
      ...(tuples === undefined ? verifyEntries(map) : verifyTuples(map, tuples)),
    ];
    known.set(shape, found);
    problems.push(...found.map((problem) => `map ${map.name}: ${problem}`));
  }
  const attached = new Set<string>();
  for (const point of program.attachPoints) {
    const place = `${point.endpoint} ${point.direction}`;
    if (attached.has(place)) problems.push(`${place}: attached twice`);
    attached.add(place);
    for (const { role, name, types } of consulted(point)) {
      const map = maps.get(name);
      if (map === undefined) problems.push(`${place}: there is no map ${JSON.stringify(name)}`);
      else if (!types.includes(map.type)) problems.push(`${place}: ${role} ${name} cannot be of type ${map.type}`);
    }
  }
  return problems;
}

const HASHES: readonly MapType[] = ["hash", "lru-hash"];
const TRIE: readonly MapType[] = ["lpm-trie"];

function consulted({ plan }: AttachPoint): readonly { role: string; name: string; types: readonly MapType[] }[] {
  switch (plan.kind) {
    case "identity":
      return [
        { role: "ipcache", name: plan.ipcache, types: TRIE },
        { role: "policy", name: plan.policy, types: [...HASHES, ...TRIE] },
      ];
    case "tuple":
      return [
        { role: "exact", name: plan.exact, types: HASHES },
        { role: "blocks", name: plan.blocks, types: TRIE },
      ];
  }
}

function verifyShape(map: MapSpec): readonly string[] {
  const { type, keyBytes, valueBytes, maxEntries } = map;
  const problems: string[] = [];
  for (const [name, value] of Object.entries({ keyBytes, valueBytes, maxEntries })) {
    if (!Number.isInteger(value) || value < 1) problems.push(`${name} ${value} is not a positive number`);
  }
  if (type === "array" && keyBytes !== 4) problems.push(`an array has keys of 4 bytes, not ${keyBytes}`);
  const dataBytes = keyBytes - TRIE_PREFIX_BYTES;
  if (type === "lpm-trie" && (dataBytes < 1 || dataBytes > TRIE_DATA_MAX_BYTES)) {
    problems.push(`a trie has keys of 5-${TRIE_PREFIX_BYTES + TRIE_DATA_MAX_BYTES} bytes, not ${keyBytes}`);
  }
  const count = entryCountOf(map);
  if (count > maxEntries) problems.push(`${count} entries, room for ${maxEntries}`);
  return problems;
}

function verifyEntries({ type, keyBytes, valueBytes, maxEntries, entries }: MapSpec): readonly string[] {
  const problems: string[] = [];
  const dataBytes = keyBytes - TRIE_PREFIX_BYTES;
  const seen = new KeySet(entries.length);
  for (const { key, value } of entries) {
    // A map may have hundreds of thousands of entries: hex is for the few that are wrong.
    if (key.length !== keyBytes) problems.push(`key ${toHex(key)} has ${key.length} bytes, want ${keyBytes}`);
    else if (type === "array" && firstWord(key) >= maxEntries)
      problems.push(`index ${firstWord(key)} is beyond the end`);
    else if (type === "lpm-trie" && firstWord(key) > 8 * dataBytes) {
      problems.push(`key ${toHex(key)} has a prefix of ${firstWord(key)} bits, there are ${8 * dataBytes}`);
    }
    if (value.length !== valueBytes) {
      problems.push(`the value of key ${toHex(key)} has ${value.length} bytes, want ${valueBytes}`);
    }
    if (!seen.add(key)) problems.push(`key ${toHex(key)} occurs twice`);
  }
  return problems;
}

/** Peers that differ, with ports that differ, are keys that differ: what is looked at are the factors. */
function verifyTuples({ type, keyBytes, valueBytes }: MapSpec, { parts }: TupleEntries): readonly string[] {
  const problems: string[] = [];
  if (!HASHES.includes(type)) problems.push(`tuples are keys of a hash, not of a map of type ${type}`);
  if (keyBytes !== TUPLE_KEY_BYTES) problems.push(`tuples have ${TUPLE_KEY_BYTES} bytes, want ${keyBytes}`);
  if (valueBytes !== TUPLE_VALUE_BYTES) problems.push(`their values ${TUPLE_VALUE_BYTES} bytes, want ${valueBytes}`);
  const peers = new Set<number | string>();
  for (const { peer, ports } of parts) {
    const key = cidrKey(peer);
    if (peers.has(key)) problems.push(`peer ${formatCidr(peer)} occurs twice`);
    peers.add(key);
    if (peer.prefixLength !== addressBits(peer.family)) problems.push(`peer ${formatCidr(peer)} is no address`);
    if (!rememberedBy(ASCENDING, ports.codes, isAscending)) {
      problems.push(`ports of peer ${formatCidr(peer)} do not ascend`);
    }
  }
  return problems;
}

/** Lists of ports are shared by many peers. */
const ASCENDING = new WeakMap<Int32Array, boolean>();

function isAscending(codes: Int32Array): boolean {
  for (let at = 1; at < codes.length; at++) if ((codes[at - 1] ?? 0) >= (codes[at] ?? 0)) return false;
  return true;
}

/** Keys by their bytes. As texts in a `Set` they took longer than everything else that is looked at. */
class KeySet {
  readonly #keys: (Uint8Array | undefined)[];
  readonly #mask: number;

  constructor(most: number) {
    const room = 2 ** Math.ceil(Math.log2(2 * most + 1));
    this.#keys = new Array<Uint8Array | undefined>(room).fill(undefined);
    this.#mask = room - 1;
  }

  /** False: it is there already. */
  add(key: Uint8Array): boolean {
    let hash = key.length;
    for (let at = 0; at < key.length; at++) hash = Math.imul(hash ^ (key[at] as number), 0x0100_0193);
    for (let slot = (hash ^ (hash >>> 15)) & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const known = this.#keys[slot];
      if (known === undefined) {
        this.#keys[slot] = key;
        return true;
      }
      if (isEqual(known, key)) return false;
    }
  }
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let at = 0; at < a.length; at++) if (a[at] !== b[at]) return false;
  return true;
}

/** Indices and prefix lengths are in the byte order of the machine, little-endian here (kernel/bpf/lpm_trie.c). */
function firstWord(key: Uint8Array): number {
  return littleWordAt(key, 0);
}
