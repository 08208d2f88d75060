/**
 * Addresses and prefixes as the API server reads them: what `parseAddress` takes, and two forms of old that it minds only
 * with a warning, leading zeros and IPv4 in IPv6.
 *
 * Source: k8s.io/apimachinery pkg/util/validation/ip.go, k8s.io/utils/net ParseIPSloppy, ParseCIDRSloppy.
 */
import {
  addressBits,
  type Cidr,
  cidrOf,
  formatAddress,
  formatCidr,
  type IpAddress,
  parseAddress,
} from "../../dataplane/address.ts";
import type { FieldReader } from "./fields.ts";
import { looksLikeHostName, NO_HOST_NAMES } from "./formats.ts";
import { type Path, quote } from "./values.ts";

const ADDRESS_RULE = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
/** The API server's words for a text that is no prefix. */
export const CIDR_RULE = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

/** An address; absent and "" are none. */
export function readAddress(reader: FieldReader, value: unknown, path: Path): IpAddress | undefined {
  const text = reader.text(value, path);
  if (text === "") return undefined;
  const address = addressOf(text);
  if (address === undefined) {
    const hint = looksLikeHostName(text) ? "; a host name is no address, and packets carry addresses" : "";
    reader.invalid(path, text, `${ADDRESS_RULE}${hint}`);
    return undefined;
  }
  const plain = unmapped(address);
  if (parseAddress(text) === undefined || plain !== address) {
    reader.warn(path, "odd-address", nonStandard("IP address", text, formatAddress(plain)));
  }
  return plain;
}

/** A prefix; bits beyond its length are cleared with a warning. Absent and "" are none. */
export function readCidr(reader: FieldReader, value: unknown, path: Path): Cidr | undefined {
  const text = reader.text(value, path);
  if (text === "") return undefined;
  const slash = text.indexOf("/");
  const address = slash < 0 ? undefined : addressOf(text.slice(0, slash));
  const length = text.slice(slash + 1);
  const bits = address === undefined ? 0 : addressBits(address.family);
  if (address === undefined || !/^\d{1,9}$/.test(length) || Number(length) > bits) {
    const isName = looksLikeHostName(text);
    reader.invalid(path, text, `${CIDR_RULE}${cidrHint(text, path)}`, isName ? "host-name" : "invalid");
    return undefined;
  }
  const plain = unmapped(address, Number(length));
  const cidr = cidrOf(plain, plain === address ? Number(length) : Number(length) - MAPPED_BITS);
  const canonical = formatCidr(cidr);
  if (cidr.words.some((word, index) => word !== plain.words[index])) {
    const single = `${formatAddress(plain)}/${addressBits(plain.family)}`;
    const message = `CIDR value ${quote(text)} is ambiguous in this context (should be ${quote(canonical)} or ${quote(single)}?); it is read as ${quote(canonical)}`;
    reader.warn(path, "host-bits", message);
  } else if (parseAddress(text.slice(0, slash)) === undefined || /^0\d/.test(length) || plain !== address) {
    reader.warn(path, "odd-address", nonStandard("CIDR value", text, canonical));
  }
  return cidr;
}

function nonStandard(what: string, text: string, canonical: string): string {
  return `non-standard ${what} ${quote(text)} will be considered invalid in a future Kubernetes release: use ${quote(canonical)}`;
}

function cidrHint(text: string, path: Path): string {
  if (looksLikeHostName(text)) return path.includes("ipBlock") ? `; ${NO_HOST_NAMES}` : "";
  const address = addressOf(text);
  return address === undefined ? "" : `; for this one address write ${quote(`${text}/${addressBits(address.family)}`)}`;
}

/** Also with leading zeros, which old Go took for decimal all the same. */
function addressOf(text: string): IpAddress | undefined {
  const isQuad = /^\d{1,9}(?:\.\d{1,9}){3}$/.test(text);
  return parseAddress(isQuad ? text.split(".").map(Number).join(".") : text);
}

/** ::ffff:0:0/96 holds IPv4 (RFC 4291 section 2.5.5.2); Go reads such an address as the IPv4 one. */
const MAPPED_BITS = 96;

function unmapped(address: IpAddress, prefixLength = 128): IpAddress {
  const [first, second, third, last] = address.words;
  const isMapped = first === 0 && second === 0 && third === 0xffff && last !== undefined && prefixLength >= MAPPED_BITS;
  return isMapped ? { family: 4, words: [last] } : address;
}
