/** Look-up plans: which maps an attach point asks, with which keys, and what their answers mean. */
import { assertNever } from "../assertNever.ts";
import type { CurrentPacket } from "../currentPacket.ts";
import { PROTOCOL } from "../packet.ts";
import type { AttachPoint, LookupPlan, MapEntry } from "../program.ts";
import {
  BLOCK_STATIC_BITS,
  decodeIpcacheIdentity,
  decodePolicyValue,
  IPCACHE_STATIC_BITS,
  ipcacheFamilyWord,
  isTupleAccept,
  POLICY_STATIC_BITS,
  policyIdentityWord,
  policyPortWord,
  tuplePortWord,
} from "./layout.ts";
import { type LoadedMap, TRIE_PREFIX_BYTES } from "./loadedMap.ts";

export type PolicyDirection = AttachPoint["direction"];

/** One look-up, told to a listener. */
export interface LookupStep {
  readonly map: LoadedMap;
  /** Bytes of the key, as bpf(2) would take them. */
  readonly key: Uint8Array;
  readonly entry: MapEntry | undefined;
  /** In words: `identity 258`, `accept`, `no entry`. */
  readonly meaning: string;
}

export type LookupListener = (step: LookupStep) => void;

/** A plan with its maps. `decide` leaves its answer in the fields, so that nothing is allocated. */
export interface Lookup {
  /** The map that decided, */
  readonly decidingMap: LoadedMap;
  /** and the index of its entry; -1: it has none for the packet, which refuses it. */
  readonly decidingEntry: number;
  readonly accepts: boolean;
  /** Hash look-ups and trie look-ups that the last packet took. */
  readonly mapLookups: number;
  readonly trieLookups: number;
  decide(packet: CurrentPacket, direction: PolicyDirection, listener: LookupListener | undefined): void;
}

/**
 * Binds the plans of attach points to their maps; points with one plan share it. Throws when a map is missing or of a
 * type that the plan cannot ask.
 */
export function bindLookups(
  points: readonly AttachPoint[],
  maps: ReadonlyMap<string, LoadedMap>,
): ReadonlyMap<AttachPoint, Lookup> {
  const identities = new Map<LoadedMap, Int32Array>();
  const lookups = new Map<string, Lookup>();
  const bound = new Map<AttachPoint, Lookup>();
  for (const point of points) {
    const name = planName(point.plan);
    const lookup = lookups.get(name) ?? bindLookup(point.plan, maps, identities);
    lookups.set(name, lookup);
    bound.set(point, lookup);
  }
  return bound;
}

/** Equal for equal plans. Names of maps have no spaces in them. */
function planName(plan: LookupPlan): string {
  return plan.kind === "identity" ? `identity ${plan.ipcache} ${plan.policy}` : `tuple ${plan.exact} ${plan.blocks}`;
}

function bindLookup(
  plan: LookupPlan,
  maps: ReadonlyMap<string, LoadedMap>,
  identities: Map<LoadedMap, Int32Array>,
): Lookup {
  const take = (name: string, kind: "hash" | "trie"): LoadedMap => {
    const map = maps.get(name);
    if (map === undefined) throw new Error(`a look-up plan asks map ${name}, which the program lacks`);
    if ((map.spec.type === "lpm-trie" ? "trie" : "hash") !== kind) {
      throw new Error(`map ${name} is of type ${map.spec.type}, where the plan asks a ${kind}`);
    }
    return map;
  };
  switch (plan.kind) {
    case "identity": {
      const ipcache = take(plan.ipcache, "trie");
      const known = identities.get(ipcache) ?? decodeAll(ipcache, decodeIpcacheIdentity);
      identities.set(ipcache, known);
      return new IdentityLookup(ipcache, known, take(plan.policy, "trie"));
    }
    case "tuple":
      return new TupleLookup(take(plan.exact, "hash"), take(plan.blocks, "trie"));
    default:
      return assertNever(plan);
  }
}

type Decode = (value: Uint8Array) => number;

const precedenceOf: Decode = (value) => decodePolicyValue(value).precedence | 0;
const portPrefixOf: Decode = (value) => decodePolicyValue(value).portPrefix;
const deniesOf: Decode = (value) => Number(decodePolicyValue(value).deny);
const acceptsOf: Decode = (value) => Number(isTupleAccept(value));

const DECODED = new WeakMap<readonly MapEntry[], Map<Decode, Int32Array>>();

/** By entry; a change of the cluster leaves the entries of most maps alone. */
function decodeAll({ spec: { entries } }: LoadedMap, decode: Decode): Int32Array {
  const known = DECODED.get(entries) ?? new Map<Decode, Int32Array>();
  DECODED.set(entries, known);
  const values = known.get(decode) ?? Int32Array.from(entries, ({ value }) => decode(value));
  known.set(decode, values);
  return values;
}

/** The identity of an address that the ipcache does not know: reserved:world. */
export const WORLD = 2;

/** A precedence that nothing can beat: then identity 0 is not asked. */
export const HIGHEST_PRECEDENCE = 0xffff_ffff;

/** Identity 0 in a policy map: whoever the peer is. */
export const ANYBODY = 0;

/**
 * Cilium (bpf/lib/eps.h, bpf/lib/policy.h): the peer's address becomes an identity, then the policy map is asked for
 * that identity and for any identity. The entry of higher precedence decides, then the one that says more about the
 * port, then the one about the identity.
 */
class IdentityLookup implements Lookup {
  readonly decidingMap: LoadedMap;
  decidingEntry = -1;
  accepts = false;
  readonly mapLookups = 0;
  trieLookups = 0;
  readonly #ipcache: LoadedMap;
  readonly #identities: Int32Array;
  /** By entry of the policy map: precedence as an int32, prefix length of protocol and port, 1 for deny. */
  readonly #precedences: Int32Array;
  readonly #portPrefixes: Int32Array;
  readonly #denies: Int32Array;
  /** Key of the ipcache, and the part of it that is the address. */
  readonly #address = new Int32Array(5);
  readonly #peer = this.#address.subarray(1);
  readonly #key = new Int32Array(2);

  constructor(ipcache: LoadedMap, identities: Int32Array, policy: LoadedMap) {
    this.#ipcache = ipcache;
    this.#identities = identities;
    this.decidingMap = policy;
    this.#precedences = decodeAll(policy, precedenceOf);
    this.#portPrefixes = decodeAll(policy, portPrefixOf);
    this.#denies = decodeAll(policy, deniesOf);
  }

  decide(packet: CurrentPacket, direction: PolicyDirection, listener: LookupListener | undefined): void {
    const identity = this.#identify(packet, direction, listener);
    this.#key[1] = policyPortWord(direction, packet.protocol, portOf(packet));
    const byIdentity = this.#ask(identity, listener);
    this.trieLookups = 2;
    let entry = byIdentity;
    if (byIdentity < 0 || this.#precedence(byIdentity) < HIGHEST_PRECEDENCE) {
      const byAnybody = this.#ask(ANYBODY, listener);
      this.trieLookups = 3;
      if (byAnybody >= 0 && (byIdentity < 0 || this.#beats(byAnybody, byIdentity))) entry = byAnybody;
    }
    this.decidingEntry = entry;
    this.accepts = entry >= 0 && this.#denies[entry] === 0;
  }

  #identify(packet: CurrentPacket, direction: PolicyDirection, listener: LookupListener | undefined): number {
    const address = this.#address;
    address[0] = ipcacheFamilyWord(packet.family);
    loadPeer(packet, direction, this.#peer);
    const entry = this.#ipcache.find(address);
    const identity = entry < 0 ? WORLD : (this.#identities[entry] ?? WORLD) >>> 0;
    listener?.({
      map: this.#ipcache,
      key: trieKey(IPCACHE_STATIC_BITS + (packet.family === 4 ? 32 : 128), address, this.#ipcache.spec.keyBytes),
      entry: this.#ipcache.spec.entries[entry],
      meaning: `identity ${identity}`,
    });
    return identity;
  }

  #ask(identity: number, listener: LookupListener | undefined): number {
    this.#key[0] = policyIdentityWord(identity);
    const entry = this.decidingMap.find(this.#key);
    listener?.({
      map: this.decidingMap,
      key: trieKey(POLICY_STATIC_BITS + 24, this.#key, this.decidingMap.spec.keyBytes),
      entry: this.decidingMap.spec.entries[entry],
      meaning: entry < 0 ? "no entry" : this.#denies[entry] === 1 ? "deny" : "accept",
    });
    return entry;
  }

  #precedence(entry: number): number {
    return (this.#precedences[entry] ?? 0) >>> 0;
  }

  #beats(byAnybody: number, byIdentity: number): boolean {
    const difference = this.#precedence(byAnybody) - this.#precedence(byIdentity);
    if (difference !== 0) return difference > 0;
    return (this.#portPrefixes[byAnybody] ?? 0) > (this.#portPrefixes[byIdentity] ?? 0);
  }
}

/**
 * The plain layout (bpf-hash): the exact map for the packet's protocol and port, for the protocol's every port, for
 * every protocol, then the blocks in the same way. The first entry that accepts decides; a hole in a block accepts
 * nothing and is passed over, since another entry may name the address again.
 */
export class TupleLookup implements Lookup {
  decidingMap: LoadedMap;
  decidingEntry = -1;
  accepts = false;
  mapLookups = 0;
  trieLookups = 0;
  readonly exact: LoadedMap;
  readonly blocks: LoadedMap;
  readonly #exactAccepts: Int32Array;
  readonly #blockAccepts: Int32Array;
  readonly #exactKey = new Int32Array(5);
  readonly #exactPeer = this.#exactKey.subarray(0, 4);
  readonly #blockKey = new Int32Array(5);
  readonly #blockPeer = this.#blockKey.subarray(1);

  constructor(exact: LoadedMap, blocks: LoadedMap) {
    this.decidingMap = exact;
    this.exact = exact;
    this.blocks = blocks;
    this.#exactAccepts = decodeAll(exact, acceptsOf);
    this.#blockAccepts = decodeAll(blocks, acceptsOf);
  }

  decide(packet: CurrentPacket, direction: PolicyDirection, listener: LookupListener | undefined): void {
    loadPeer(packet, direction, this.#exactPeer);
    loadPeer(packet, direction, this.#blockPeer);
    this.decidingMap = this.exact;
    this.decidingEntry = -1;
    this.accepts = false;
    this.mapLookups = 0;
    this.trieLookups = 0;
    for (let width = 0; width < 3 && !this.accepts; width++) {
      this.#exactKey[4] = scopeWord(packet, width);
      this.mapLookups++;
      this.#take(this.exact, this.exact.find(this.#exactKey), this.#exactAccepts);
      if (listener !== undefined) this.#tell(listener, this.exact, wordBytes(this.#exactKey));
    }
    for (let width = 0; width < 3 && !this.accepts; width++) {
      this.#blockKey[0] = scopeWord(packet, width);
      this.trieLookups++;
      this.#take(this.blocks, this.blocks.find(this.#blockKey), this.#blockAccepts);
      const bits = BLOCK_STATIC_BITS + (packet.family === 4 ? 32 : 128);
      if (listener !== undefined) {
        this.#tell(listener, this.blocks, trieKey(bits, this.#blockKey, this.blocks.spec.keyBytes));
      }
    }
    if (!this.accepts) this.decidingEntry = -1;
  }

  #take(map: LoadedMap, entry: number, accepts: Int32Array): void {
    this.decidingMap = map;
    this.decidingEntry = entry;
    this.accepts = entry >= 0 && accepts[entry] === 1;
  }

  #tell(listener: LookupListener, map: LoadedMap, key: Uint8Array): void {
    const entry = map.spec.entries[this.decidingEntry];
    listener({ map, key, entry, meaning: entry === undefined ? "no entry" : this.accepts ? "accept" : "hole" });
  }
}

/** Family, protocol and port of a tuple or block key: 0 = as the packet has them, 1 = every port, 2 = every protocol. */
function scopeWord(packet: CurrentPacket, width: number): number {
  return tuplePortWord(packet.family, width === 2 ? 0 : packet.protocol, width === 0 ? packet.destinationPort : 0);
}

/** The port as policy keys have it: for ICMP, the type. */
export function portOf({
  protocol,
  destinationPort,
  icmpType,
}: Pick<CurrentPacket, "protocol" | "destinationPort" | "icmpType">): number {
  return protocol === PROTOCOL.icmp || protocol === PROTOCOL.icmpv6 ? icmpType : destinationPort;
}

/** The other end's address in four words. */
function loadPeer(packet: CurrentPacket, direction: PolicyDirection, into: Int32Array): void {
  const isSource = direction === "ingress";
  into[0] = isSource ? packet.source0 : packet.destination0;
  into[1] = isSource ? packet.source1 : packet.destination1;
  into[2] = isSource ? packet.source2 : packet.destination2;
  into[3] = isSource ? packet.source3 : packet.destination3;
}

/** A trie key as bytes: the prefix length, then as much of the words as the key holds. */
function trieKey(prefixLength: number, words: Int32Array, keyBytes: number): Uint8Array {
  const bytes = new Uint8Array(keyBytes);
  new DataView(bytes.buffer).setUint32(0, prefixLength, true);
  bytes.set(wordBytes(words).subarray(0, keyBytes - TRIE_PREFIX_BYTES), TRIE_PREFIX_BYTES);
  return bytes;
}

function wordBytes(words: Int32Array): Uint8Array {
  const bytes = new Uint8Array(words.length * 4);
  const view = new DataView(bytes.buffer);
  for (const [index, word] of words.entries()) view.setInt32(4 * index, word, false);
  return bytes;
}
