/**
 * The entries of an exact map in factors: of each peer a list of ports, which most peers share with others. Written out they
 * are hundreds of thousands of keys, and who asks about many packets at once (verify/pairs) has no need of them: so keys are
 * written when somebody reads the map as entries.
 */
import type { Cidr } from "../address.ts";
import type { MapEntry, MapSpec } from "../program.ts";
import { encodeTupleValue, TUPLE_KEY_BYTES, writeTupleKey } from "./layout.ts";

/** Protocols and ports in one number each (`portCode`), ascending; and beside each what caused it. */
export interface PortList {
  readonly codes: Int32Array;
  readonly origins: readonly string[];
}

export interface PeerPorts {
  /** A host prefix. */
  readonly peer: Cidr;
  readonly ports: PortList;
}

const PORTS = 65_536;
const ACCEPT = encodeTupleValue("accept");

/** All of them accept. */
export class TupleEntries {
  /** Each peer once. */
  readonly parts: readonly PeerPorts[];
  readonly length: number;
  #list: readonly MapEntry[] | undefined;

  constructor(parts: readonly PeerPorts[]) {
    this.parts = parts;
    this.length = parts.reduce((sum, { ports }) => sum + ports.codes.length, 0);
  }

  /** Tens of thousands: their keys share one buffer. */
  get list(): readonly MapEntry[] {
    if (this.#list === undefined) {
      const view = new DataView(new ArrayBuffer(this.length * TUPLE_KEY_BYTES));
      const entries: MapEntry[] = [];
      for (const part of this.parts) appendEntries(entries, view, part);
      this.#list = entries;
    }
    return this.#list;
  }
}

export function portCode(protocol: number, port: number): number {
  return protocol * PORTS + port;
}

export function protocolOfCode(code: number): number {
  return Math.floor(code / PORTS);
}

export function portOfCode(code: number): number {
  return code % PORTS;
}

/** A function of its own, which is called so often that the compiler soon makes fast code of it. */
function appendEntries(
  entries: MapEntry[],
  view: DataView<ArrayBuffer>,
  { peer, ports: { codes, origins } }: PeerPorts,
): void {
  for (let at = 0; at < codes.length; at++) {
    const code = codes[at] ?? 0;
    const offset = entries.length * TUPLE_KEY_BYTES;
    writeTupleKey(view, offset, { peer, protocol: protocolOfCode(code), port: portOfCode(code) });
    // Not subarray(), which first asks for the species of its array.
    const key = new Uint8Array(view.buffer, offset, TUPLE_KEY_BYTES);
    entries.push({ key, value: ACCEPT, origin: origins[at] ?? "" });
  }
}

const FACTORS = new WeakMap<MapSpec, TupleEntries>();

/** A map like any other, whose entries are written when they are first read. */
export function tupleMap(head: Omit<MapSpec, "entries">, entries: TupleEntries): MapSpec {
  const map: MapSpec = {
    ...head,
    get entries() {
      return entries.list;
    },
  };
  FACTORS.set(map, entries);
  return map;
}

/** The factors of a map that was made of them; a map with other entries is another object. */
export function tupleEntriesOf(map: MapSpec): TupleEntries | undefined {
  return FACTORS.get(map);
}

/** How many entries a map has, without writing them. */
export function entryCountOf(map: MapSpec): number {
  return FACTORS.get(map)?.length ?? map.entries.length;
}
