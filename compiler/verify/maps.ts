/** What bpf(2) refuses of maps, and look-ups that could not run. */
import type { AttachPoint, MapProgram, MapSpec, MapType } from "../../dataplane/program.ts";
import { toHex } from "../hash.ts";
import { unsafeName } from "../names.ts";

/** BPF_MAP names of solutions are file names under bpffs: NAME_MAX of limits.h. */
const MAP_NAME_MAX_BYTES = 255;
/** LPM_DATA_SIZE_MAX of kernel/bpf/lpm_trie.c: 256 bytes behind the 4 of the prefix length. */
const TRIE_PREFIX_BYTES = 4;
const TRIE_DATA_MAX_BYTES = 256;

export function verifyMaps(program: MapProgram): readonly string[] {
  const problems: string[] = [];
  const maps = new Map<string, MapSpec>();
  for (const map of program.maps) {
    const unsafe = unsafeName(map.name, MAP_NAME_MAX_BYTES);
    if (unsafe !== undefined) problems.push(`map name ${JSON.stringify(map.name)} ${unsafe}`);
    if (maps.has(map.name)) problems.push(`map ${map.name}: created twice`);
    maps.set(map.name, map);
    problems.push(...verifyMap(map).map((problem) => `map ${map.name}: ${problem}`));
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

function verifyMap({ type, keyBytes, valueBytes, maxEntries, entries }: MapSpec): string[] {
  const problems: string[] = [];
  for (const [name, value] of Object.entries({ keyBytes, valueBytes, maxEntries })) {
    if (!Number.isInteger(value) || value < 1) problems.push(`${name} ${value} is not a positive number`);
  }
  if (type === "array" && keyBytes !== 4) problems.push(`an array has keys of 4 bytes, not ${keyBytes}`);
  const dataBytes = keyBytes - TRIE_PREFIX_BYTES;
  if (type === "lpm-trie" && (dataBytes < 1 || dataBytes > TRIE_DATA_MAX_BYTES)) {
    problems.push(`a trie has keys of 5-${TRIE_PREFIX_BYTES + TRIE_DATA_MAX_BYTES} bytes, not ${keyBytes}`);
  }
  if (entries.length > maxEntries) problems.push(`${entries.length} entries, room for ${maxEntries}`);
  const seen = new Set<string>();
  for (const { key, value } of entries) {
    // A map may have hundreds of thousands of entries: hex is for the few that are wrong.
    const text = String.fromCharCode(...key);
    if (key.length !== keyBytes) problems.push(`key ${toHex(key)} has ${key.length} bytes, want ${keyBytes}`);
    else if (type === "array" && firstWord(key) >= maxEntries)
      problems.push(`index ${firstWord(key)} is beyond the end`);
    else if (type === "lpm-trie" && firstWord(key) > 8 * dataBytes) {
      problems.push(`key ${toHex(key)} has a prefix of ${firstWord(key)} bits, there are ${8 * dataBytes}`);
    }
    if (value.length !== valueBytes) {
      problems.push(`the value of key ${toHex(key)} has ${value.length} bytes, want ${valueBytes}`);
    }
    if (seen.has(text)) problems.push(`key ${toHex(key)} occurs twice`);
    seen.add(text);
  }
  return problems;
}

/** Indices and prefix lengths are in the byte order of the machine, little-endian here (kernel/bpf/lpm_trie.c). */
function firstWord(key: Uint8Array): number {
  const [first = 0, second = 0, third = 0, fourth = 0] = key;
  return (first | (second << 8) | (third << 16) | (fourth << 24)) >>> 0;
}
