/**
 * Addresses as the dataplane sees them: integers. Text is parsed and printed at the edges with ip-num; nothing on the
 * packet path touches a string or a BigInt.
 */
import { IPv4, IPv6 } from "ip-num";

export type Family = 4 | 6;

/**
 * One address. `words` are 32-bit groups in network order, each a *signed* int32 (as an Int32Array holds it, so that
 * `(a & mask) === b` works above 2^31): one word for IPv4, four for IPv6.
 */
export interface IpAddress {
  readonly family: Family;
  readonly words: readonly number[];
}

/** An address prefix with its host bits cleared. `prefixLength` is 0–32 or 0–128. */
export interface Cidr {
  readonly family: Family;
  readonly words: readonly number[];
  readonly prefixLength: number;
}

/** Bits in an address of the family: 32 or 128. */
export function addressBits(family: Family): number {
  return family === 4 ? 32 : 128;
}

const IPV4_TEXT = /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}$/;

/**
 * Parses an address in textual form, as the API server does: dotted quad without leading zeros, or IPv6 (RFC 4291,
 * with an embedded dotted quad allowed). Returns undefined for anything else; zones (`fe80::1%eth0`) are refused.
 */
export function parseAddress(text: string): IpAddress | undefined {
  if (text.length > 45) return undefined;
  if (IPV4_TEXT.test(text)) return { family: 4, words: wordsOf(new IPv4(text).getValue(), 1) };
  if (!text.includes(":")) return undefined;
  const groups = expandEmbeddedQuad(text);
  if (groups === undefined || !/^[0-9a-fA-F:]+$/.test(groups)) return undefined;
  try {
    return { family: 6, words: wordsOf(new IPv6(groups).getValue(), 4) };
  } catch {
    return undefined; // ip-num throws on malformed groups; here that is an answer, not an accident
  }
}

/** `::ffff:10.0.0.1` → `::ffff:a00:1`, which is all that ip-num accepts. Undefined when the quad is malformed. */
function expandEmbeddedQuad(text: string): string | undefined {
  if (!text.includes(".")) return text;
  const at = text.lastIndexOf(":") + 1;
  const quad = text.slice(at);
  if (!IPV4_TEXT.test(quad)) return undefined;
  const value = Number(new IPv4(quad).getValue());
  return `${text.slice(0, at)}${(value >>> 16).toString(16)}:${(value & 0xffff).toString(16)}`;
}

function wordsOf(value: bigint, count: 1 | 4): number[] {
  const words: number[] = [];
  for (let index = count - 1; index >= 0; index--) {
    words.push(Number((value >> BigInt(32 * index)) & 0xffffffffn) | 0);
  }
  return words;
}

/** Canonical text: dotted quad, or RFC 5952 (lower case, longest run of zeros as `::`). */
export function formatAddress(address: IpAddress): string {
  return address.family === 4 ? formatQuad(address.words[0] ?? 0) : formatIpv6(address.words);
}

function formatQuad(word: number): string {
  return `${word >>> 24}.${(word >>> 16) & 255}.${(word >>> 8) & 255}.${word & 255}`;
}

function formatIpv6(words: readonly number[]): string {
  const groups: number[] = [];
  for (const word of words) groups.push(word >>> 16, word & 0xffff);
  // As inet_ntop(3): IPv4-mapped addresses keep their dotted quad.
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff) {
    return `::ffff:${formatQuad(words[3] ?? 0)}`;
  }
  let bestStart = -1;
  let bestLength = 1; // a single zero group is not shortened (RFC 5952 section 4.2.2)
  for (let start = 0; start < 8; start++) {
    let end = start;
    while (end < 8 && groups[end] === 0) end++;
    if (end - start > bestLength) {
      bestStart = start;
      bestLength = end - start;
    }
    if (end > start) start = end;
  }
  const hex = groups.map((group) => group.toString(16));
  if (bestStart < 0) return hex.join(":");
  return `${hex.slice(0, bestStart).join(":")}::${hex.slice(bestStart + bestLength).join(":")}`;
}

/** `address/length`, host bits cleared. A missing `/length` is not a CIDR: undefined, as for anything malformed. */
export function parseCidr(text: string): Cidr | undefined {
  const slash = text.indexOf("/");
  if (slash < 0) return undefined;
  const address = parseAddress(text.slice(0, slash));
  const length = text.slice(slash + 1);
  if (address === undefined || !/^(?:0|[1-9]\d{0,2})$/.test(length)) return undefined;
  const prefixLength = Number(length);
  if (prefixLength > addressBits(address.family)) return undefined;
  return cidrOf(address, prefixLength);
}

/** The prefix of `prefixLength` bits that holds `address`. */
export function cidrOf(address: IpAddress, prefixLength: number): Cidr {
  const words = address.words.map((word, index) => word & maskWord(prefixLength - 32 * index));
  return { family: address.family, words, prefixLength };
}

/** The host prefix (/32 or /128) of an address. */
export function hostCidr(address: IpAddress): Cidr {
  return { family: address.family, words: address.words, prefixLength: addressBits(address.family) };
}

export function formatCidr(cidr: Cidr): string {
  return `${formatAddress(cidr)}/${cidr.prefixLength}`;
}

/** What tells prefixes of a family apart, as a key: for IPv4 a number, which is made and compared faster than a text. */
export function cidrKey(cidr: Cidr): number | string {
  return cidr.family === 4 ? ((cidr.words[0] ?? 0) >>> 0) * 64 + cidr.prefixLength : formatCidr(cidr);
}

/** The mask of the first `bits` bits of one 32-bit word, as a signed int32; `bits` may lie outside 0–32. */
export function maskWord(bits: number): number {
  if (bits <= 0) return 0;
  if (bits >= 32) return -1;
  return -1 << (32 - bits);
}

export function addressesEqual(a: IpAddress, b: IpAddress): boolean {
  return a.family === b.family && a.words.every((word, index) => word === b.words[index]);
}

export function cidrContains(cidr: Cidr, address: IpAddress): boolean {
  if (cidr.family !== address.family) return false;
  return cidr.words.every(
    (word, index) => ((address.words[index] ?? 0) & maskWord(cidr.prefixLength - 32 * index)) === word,
  );
}

/** Orders by family, then numerically. */
export function compareAddresses(a: IpAddress, b: IpAddress): number {
  if (a.family !== b.family) return a.family - b.family;
  for (let index = 0; index < a.words.length; index++) {
    const difference = ((a.words[index] ?? 0) >>> 0) - ((b.words[index] ?? 0) >>> 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** Orders by address, then the shorter prefix first. */
export function compareCidrs(a: Cidr, b: Cidr): number {
  return compareAddresses(a, b) || a.prefixLength - b.prefixLength;
}
