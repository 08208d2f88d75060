/**
 * Destination ports that the maps of programs cannot tell apart. A tuple map has an entry for each port it names: two ports
 * are alike when all maps say the same of both. A policy map names port prefixes: two are alike that are inside the same.
 */
import { decodePolicyKey, TUPLE_KEY_BYTES } from "../dataplane/maps/layout.ts";
import type { MapProgram, MapSpec } from "../dataplane/program.ts";
import type { Port } from "../traffic/generate/sessions.ts";

/** Where the port stands in the key of an exact map, and of a map of blocks. */
const EXACT_PORT = 18;
const BLOCK_PORT = 6;

/** What tuple maps say of one port of a protocol, in the order of maps and entries. */
interface Entries {
  readonly maps: number[];
  readonly keys: Uint8Array[];
  readonly values: Uint8Array[];
}

const NO_ENTRIES: Entries = { maps: [], keys: [], values: [] };

interface Class {
  readonly name: string;
  readonly prefixes: string;
  readonly entries: Entries;
}

export class MapPorts {
  /** By protocol and port in one number. */
  readonly #entries = new Map<number, Entries>();
  /** Protocol, port and bits of each prefix in one number. */
  readonly #prefixes = new Set<number>();
  readonly #classes: Class[] = [];

  constructor(programs: readonly MapProgram[]) {
    let number = 0;
    for (const { maps, attachPoints } of programs) {
      const tuples = new Set<string>();
      const policies = new Set<string>();
      for (const { plan } of attachPoints) {
        if (plan.kind === "tuple") tuples.add(plan.exact).add(plan.blocks);
        else policies.add(plan.policy);
      }
      for (const map of maps) {
        number++;
        if (tuples.has(map.name)) this.#readTuples(map, number);
        if (policies.has(map.name)) this.#readPolicy(map);
      }
    }
  }

  #readTuples({ entries }: MapSpec, map: number): void {
    for (const { key, value } of entries) {
      const at = portAt(key);
      // Family, protocol, port; every port is 0, which says the same of all.
      const code = ((key[at - 1] ?? 0) << 16) | ((key[at] ?? 0) << 8) | (key[at + 1] ?? 0);
      if ((code & 0xffff) === 0) continue;
      const known = this.#entries.get(code) ?? { maps: [], keys: [], values: [] };
      this.#entries.set(code, known);
      known.maps.push(map);
      known.keys.push(key);
      known.values.push(value);
    }
  }

  #readPolicy({ entries }: MapSpec): void {
    for (const { key } of entries) {
      const { protocol, port, portBits } = decodePolicyKey(key);
      this.#prefixes.add(prefixCode(protocol, port, portBits));
    }
  }

  /** Equal names: one verdict for first packets that differ in nothing but these ports. */
  classOf({ protocol, port }: Port): string {
    const prefixes = this.#around(protocol, port);
    const entries = this.#entries.get((protocol << 16) | port) ?? NO_ENTRIES;
    const own = `${protocol}/${port}`;
    // A packet with port 0 asks for the entry of every port.
    if (port === 0) return own;
    const known = this.#classes.find(
      (one) => one.name.startsWith(`${protocol}/`) && one.prefixes === prefixes && sayTheSame(one.entries, entries),
    );
    if (known !== undefined) return known.name;
    this.#classes.push({ name: own, prefixes, entries });
    return own;
  }

  /** The prefixes that hold the port. */
  #around(protocol: number, port: number): string {
    const found: number[] = [];
    for (let bits = 0; bits <= 16; bits++) {
      const start = bits === 0 ? 0 : port & (0xffff << (16 - bits));
      if (this.#prefixes.has(prefixCode(protocol, start, bits))) found.push(bits, start);
    }
    return found.join(" ");
  }
}

function portAt({ length }: Uint8Array): number {
  return length === TUPLE_KEY_BYTES ? EXACT_PORT : BLOCK_PORT;
}

function prefixCode(protocol: number, port: number, bits: number): number {
  return (protocol << 21) | (port << 5) | bits;
}

function sayTheSame(a: Entries, b: Entries): boolean {
  if (a.keys.length !== b.keys.length) return false;
  return a.keys.every((key, index) => {
    const [other, value] = [b.keys[index], b.values[index]];
    if (other === undefined || value === undefined || a.maps[index] !== b.maps[index]) return false;
    return isAlike(key, other, portAt(key)) && isAlike(a.values[index] ?? value, value, -2);
  });
}

/** Equal bytes but for the two of a port. */
function isAlike(a: Uint8Array, b: Uint8Array, port: number): boolean {
  if (a.length !== b.length) return false;
  for (let at = 0; at < a.length; at++) {
    if (a[at] !== b[at] && at !== port && at !== port + 1) return false;
  }
  return true;
}
