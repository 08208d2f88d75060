/**
 * Keys and values of the eBPF-style maps, byte for byte. Numbers are little-endian as on the hosts Cilium runs on, apart
 * from what stands in a packet (ports, addresses), which is in network order.
 *
 * Source: cilium v1.19.7 bpf/lib/policy.h, bpf/lib/eps.h, pkg/maps/policymap/policymap.go; dumps/cilium endpoints.json.
 */
import type { Cidr, Family } from "../address.ts";

/*
 * cilium_policy_v2_<endpoint>: LPM trie. The order of the trie data is deliberate: identity and direction come first and
 * are always whole, so that only protocol and port can be left out, from the right.
 *
 *   key    0        4         8     9        10        12
 *          | prefix | identity | dir | protocol | port BE |        dir: 1 = egress
 *          | length |          |     |          |         |
 *   prefix length    32 ......... 40 ... 48 .... 48 + n     of the bytes after itself
 *
 *   value  0          2       3      4            8        12
 *          | proxy BE | flags | auth | precedence | cookie |       flags: deny 0x01, prefix length of protocol and port << 3
 */
export const POLICY_KEY_BYTES = 12;
export const POLICY_VALUE_BYTES = 12;
/** Bits of the key that every entry fixes: identity and direction. */
export const POLICY_STATIC_BITS = 40;
const PROTOCOL_BITS = 8;

/** Precedence of a plain allow: priority 0, low byte 1. */
export const ALLOW_PRECEDENCE = 0xffffff01;

export interface PolicyMapKey {
  readonly direction: "ingress" | "egress";
  /** 0 stands for every identity, by the second look-up; the trie itself never leaves it out. */
  readonly identity: number;
  /** 0: every protocol. */
  readonly protocol: number;
  readonly port: number;
  /** Leading bits of `port` that count, 0–16. */
  readonly portBits: number;
}

/** Bits of protocol and port that the entry fixes: 0, 8 or 8 + n. */
export function policyPortPrefix({ protocol, portBits }: Pick<PolicyMapKey, "protocol" | "portBits">): number {
  return protocol === 0 ? 0 : PROTOCOL_BITS + portBits;
}

export function encodePolicyKey(key: PolicyMapKey): Uint8Array {
  const bytes = new Uint8Array(POLICY_KEY_BYTES);
  writePolicyKey(new DataView(bytes.buffer), 0, key);
  return bytes;
}

/** Writes the key at an offset: many keys in one buffer. */
export function writePolicyKey(view: DataView, offset: number, key: PolicyMapKey): void {
  view.setUint32(offset, POLICY_STATIC_BITS + policyPortPrefix(key), true);
  view.setUint32(offset + 4, key.identity, true);
  view.setUint8(offset + 8, key.direction === "egress" ? 1 : 0);
  view.setUint8(offset + 9, key.protocol);
  view.setUint16(offset + 10, key.port, false);
}

export function decodePolicyKey(bytes: Uint8Array): PolicyMapKey {
  const prefix = littleWordAt(bytes, 0) - POLICY_STATIC_BITS;
  return {
    direction: bytes[8] === 1 ? "egress" : "ingress",
    identity: littleWordAt(bytes, 4),
    protocol: bytes[9] ?? 0,
    port: ((bytes[10] ?? 0) << 8) | (bytes[11] ?? 0),
    portBits: Math.max(0, prefix - PROTOCOL_BITS),
  };
}

export function encodePolicyAllow(key: Pick<PolicyMapKey, "protocol" | "portBits">): Uint8Array {
  const bytes = new Uint8Array(POLICY_VALUE_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint8(2, policyPortPrefix(key) << 3);
  view.setUint32(4, ALLOW_PRECEDENCE, true);
  return bytes;
}

export interface PolicyMapValue {
  readonly deny: boolean;
  /** Bits of protocol and port that the entry fixed. */
  readonly portPrefix: number;
  readonly precedence: number;
}

export function decodePolicyValue(bytes: Uint8Array): PolicyMapValue {
  const flags = bytes[2] ?? 0;
  return { deny: (flags & 1) === 1, portPrefix: flags >> 3, precedence: littleWordAt(bytes, 4) };
}

/*
 * cilium_ipcache_v2: LPM trie.
 *
 *   key    0               4         6     7        8          24
 *          | prefix length | cluster | pad | family | address  |   family: 1 IPv4 (first 4 address bytes), 2 IPv6
 *
 *   value  0          4                 20    22    23      24
 *          | identity | tunnel endpoint | pad | key | flags |
 */
export const IPCACHE_KEY_BYTES = 24;
export const IPCACHE_VALUE_BYTES = 24;
/** Bits of the key before the address. */
export const IPCACHE_STATIC_BITS = 32;

export function encodeIpcacheKey(cidr: Cidr): Uint8Array {
  const bytes = new Uint8Array(IPCACHE_KEY_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, IPCACHE_STATIC_BITS + cidr.prefixLength, true);
  view.setUint8(7, cidr.family === 4 ? 1 : 2);
  for (const [index, word] of cidr.words.entries()) view.setInt32(8 + 4 * index, word, false);
  return bytes;
}

export function decodeIpcacheKey(bytes: Uint8Array): Cidr {
  const view = viewOf(bytes);
  const family = view.getUint8(7) === 1 ? 4 : 6;
  return { family, words: wordsAt(view, 8, family), prefixLength: view.getUint32(0, true) - IPCACHE_STATIC_BITS };
}

export function encodeIpcacheValue(identity: number): Uint8Array {
  const bytes = new Uint8Array(IPCACHE_VALUE_BYTES);
  new DataView(bytes.buffer).setUint32(0, identity, true);
  return bytes;
}

export function decodeIpcacheIdentity(bytes: Uint8Array): number {
  return viewOf(bytes).getUint32(0, true);
}

/*
 * Keys as the evaluator holds them: the bytes behind a prefix length, four at a time, read in network order, so that a
 * prefix is a mask from the left. An IPv4 address fills one word, an IPv6 address four, as in a packet's columns.
 *
 *   policy    | identity, bytes swapped | dir · protocol · port |
 *   ipcache   | cluster · pad · family | address | … | … | … |
 *   tuple     | address | … | … | … | family · protocol · port |
 *   block     | family · protocol · port | address | … | … | … |
 */

/** First word of a policy key. */
export function policyIdentityWord(identity: number): number {
  return (identity << 24) | ((identity << 8) & 0xff0000) | ((identity >>> 8) & 0xff00) | (identity >>> 24);
}

/** Second word of a policy key. */
export function policyPortWord(direction: PolicyMapKey["direction"], protocol: number, port: number): number {
  return ((direction === "egress" ? 1 : 0) << 24) | (protocol << 16) | port;
}

/** First word of an ipcache key. */
export function ipcacheFamilyWord(family: number): number {
  return family === 4 ? 1 : 2;
}

/*
 * The plain layout (bpf-hash): an exact hash map and a trie for blocks for each endpoint and direction, no identities.
 *
 *   exact key   0              16       17         18        20
 *               | peer address | family | protocol | port BE |        family: 4 (first 4 address bytes) or 6
 *
 *   blocks key  0        4        5          6         8              24
 *               | prefix | family | protocol | port BE | peer address |
 *               | length |        |          |         |              |
 *   prefix length        32 fixed ...................... + bits of the block
 *
 *   value       0         4
 *               | verdict |      1: accept, 0: a hole in a wider block, look on
 *
 * Port 0 stands for every port of the protocol, protocol 0 (with port 0) for every protocol: no rule names these.
 */
export const TUPLE_KEY_BYTES = 20;
export const BLOCK_KEY_BYTES = 24;
export const TUPLE_VALUE_BYTES = 4;
/** Bits of a block key that every entry fixes: family, protocol, port. */
export const BLOCK_STATIC_BITS = 32;

export interface TupleMapKey {
  readonly peer: Cidr;
  readonly protocol: number;
  readonly port: number;
}

/** `peer` is a host prefix. */
export function encodeTupleKey(key: TupleMapKey): Uint8Array {
  const bytes = new Uint8Array(TUPLE_KEY_BYTES);
  writeTupleKey(new DataView(bytes.buffer), 0, key);
  return bytes;
}

/** The same into a buffer of many keys. */
export function writeTupleKey(view: DataView, offset: number, { peer, protocol, port }: TupleMapKey): void {
  for (let index = 0; index < peer.words.length; index++) {
    view.setInt32(offset + 4 * index, peer.words[index] as number, false);
  }
  view.setInt32(offset + 16, tuplePortWord(peer.family, protocol, port), false);
}

export function encodeBlockKey({ peer, protocol, port }: TupleMapKey): Uint8Array {
  const bytes = new Uint8Array(BLOCK_KEY_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, BLOCK_STATIC_BITS + peer.prefixLength, true);
  view.setInt32(4, tuplePortWord(peer.family, protocol, port), false);
  for (const [index, word] of peer.words.entries()) view.setInt32(8 + 4 * index, word, false);
  return bytes;
}

export function decodeTupleKey(bytes: Uint8Array): TupleMapKey {
  const view = viewOf(bytes);
  const family = view.getUint8(16) === 4 ? 4 : 6;
  const peer = { family, words: wordsAt(view, 0, family), prefixLength: family === 4 ? 32 : 128 } as const;
  return { peer, protocol: view.getUint8(17), port: view.getUint16(18, false) };
}

export function decodeBlockKey(bytes: Uint8Array): TupleMapKey {
  const view = viewOf(bytes);
  const family = view.getUint8(4) === 4 ? 4 : 6;
  const prefixLength = view.getUint32(0, true) - BLOCK_STATIC_BITS;
  const peer = { family, words: wordsAt(view, 8, family), prefixLength } as const;
  return { peer, protocol: view.getUint8(5), port: view.getUint16(6, false) };
}

export function encodeTupleValue(meaning: "accept" | "hole"): Uint8Array {
  return Uint8Array.of(meaning === "accept" ? 1 : 0, 0, 0, 0);
}

export function isTupleAccept(bytes: Uint8Array): boolean {
  return bytes[0] === 1;
}

/** The word of family, protocol and port in tuple and block keys. */
export function tuplePortWord(family: number, protocol: number, port: number): number {
  return (family << 24) | (protocol << 16) | port;
}

/** A word of a key as evaluators hold it (above), whose bytes begin there. */
export function keyWordAt(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 24) | ((bytes[at + 1] ?? 0) << 16) | ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0);
}

/** Where the word of family, protocol and port stands in a tuple key, and in a block key. */
export const TUPLE_PORT_AT = 16;
export const BLOCK_PORT_AT = 4;

/** A number of the host, little-endian. Byte by byte: a view of each of thousands of entries takes longer to make than to read. */
export function littleWordAt(bytes: Uint8Array, at: number): number {
  const low = (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8);
  return (low | ((bytes[at + 2] ?? 0) << 16) | ((bytes[at + 3] ?? 0) << 24)) >>> 0;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** The words of an address as it stands in a key. */
function wordsAt(view: DataView, at: number, family: Family): readonly number[] {
  return Array.from({ length: family === 4 ? 1 : 4 }, (_, index) => view.getInt32(at + 4 * index, false));
}
