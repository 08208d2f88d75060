/**
 * SHA-1, SHA-224 and SHA-256 (FIPS 180-4), and the alphabets in which network solutions write hashes into names.
 *
 * Written here because Web Crypto answers only asynchronously and `node:crypto` is not in a browser; the names of a node's
 * chains and sets are a few thousand hashes of short texts.
 */

/** SHA-1 of the bytes, or of a text's UTF-8: 20 bytes. */
export function sha1(data: string | Uint8Array): Uint8Array {
  return digest(data, SHA1_START, sha1Block, 20);
}

/** SHA-224 of the bytes, or of a text's UTF-8: 28 bytes. */
export function sha224(data: string | Uint8Array): Uint8Array {
  return digest(data, SHA224_START, sha256Block, 28);
}

/** SHA-256 of the bytes, or of a text's UTF-8: 32 bytes. */
export function sha256(data: string | Uint8Array): Uint8Array {
  return digest(data, SHA256_START, sha256Block, 32);
}

/** RFC 4648 section 6, upper case, without the padding. */
export function base32(bytes: Uint8Array): string {
  return encode(bytes, BASE32, 5);
}

/**
 * A prefix in ASCII and the first characters of the bytes in base32, as one piece: a text put together from two is kept as
 * both of them and their sum, and names are kept by the hundred thousand.
 */
export function prefixedBase32(prefix: string, bytes: Uint8Array, characters: number): string {
  const { length } = prefix;
  const codes = NAME_CODES;
  codes.length = length + characters;
  for (let at = 0; at < length; at++) codes[at] = prefix.charCodeAt(at);
  for (let index = 0; index < characters; index++) {
    const bit = 5 * index;
    const pair = ((bytes[bit >> 3] ?? 0) << 8) | (bytes[(bit >> 3) + 1] ?? 0);
    codes[length + index] = BASE32[(pair >> (11 - (bit & 7))) & 31] ?? 0;
  }
  return String.fromCharCode.apply(undefined, codes);
}

/** Room for the characters of one name: an array, since views of typed arrays take longer to make than a name. */
const NAME_CODES: number[] = [];

/** RFC 4648 section 5, the alphabet safe in names, without the padding. */
export function base64Url(bytes: Uint8Array): string {
  return encode(bytes, BASE64_URL, 6);
}

/** Lower case, two digits a byte. */
export function toHex(bytes: Uint8Array): string {
  return encode(bytes, HEX, 4);
}

const codesOf = (alphabet: string) => Uint8Array.from(alphabet, (character) => character.charCodeAt(0));
const BASE32 = codesOf("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567");
const BASE64_URL = codesOf("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");
const HEX = codesOf("0123456789abcdef");

/**
 * The bytes as a stream of bits, `bitsEach` of them a character; the last character is filled up with zeros.
 */
function encode(bytes: Uint8Array, alphabet: Uint8Array, bitsEach: number): string {
  const length = Math.ceil((bytes.length * 8) / bitsEach);
  const codes = length <= CODES.length ? CODES : new Uint8Array(length);
  let at = 0;
  let pending = 0;
  let pendingBits = 0;
  for (let index = 0; index < bytes.length; index++) {
    pending = ((pending << 8) | (bytes[index] ?? 0)) & 0xffff;
    for (pendingBits += 8; pendingBits >= bitsEach; pendingBits -= bitsEach) {
      codes[at++] = alphabet[(pending >> (pendingBits - bitsEach)) & ((1 << bitsEach) - 1)] ?? 0;
    }
  }
  if (pendingBits > 0) codes[at++] = alphabet[(pending << (bitsEach - pendingBits)) & ((1 << bitsEach) - 1)] ?? 0;
  return asciiText(codes.subarray(0, at));
}

/** As many arguments as a call surely takes. */
const MOST_ARGUMENTS = 4_096;

function asciiText(codes: Uint8Array): string {
  let text = "";
  for (let from = 0; from < codes.length; from += MOST_ARGUMENTS) {
    text += String.fromCharCode.apply(undefined, codes.subarray(from, from + MOST_ARGUMENTS) as unknown as number[]);
  }
  return text;
}

/** Room for the characters of a text. */
const CODES = new Uint8Array(512);

/**
 * A text's UTF-8, in a buffer that lasts until the next text. Names are short and ASCII, which needs no encoder; a text
 * that is not is read again by one.
 */
function readAscii(text: string): boolean {
  const { length } = text;
  if (length > SCRATCH.length) return false;
  for (let at = 0; at < length; at++) {
    const code = text.charCodeAt(at);
    if (code > 0x7f) return false;
    SCRATCH[at] = code;
  }
  return true;
}

const SCRATCH = new Uint8Array(512);
const UTF8 = new TextEncoder();

/** Mixes 16 big-endian words of the message, at the front of `schedule`, into `state`. */
type BlockFunction = (state: Int32Array, schedule: Int32Array) => void;

/**
 * The frame the three functions share (Merkle-Damgård): 64-byte blocks, the last one padded with a one bit, zeros and the
 * message's length in bits; then the first `lengthBytes` bytes of the state.
 */
function digest(data: string | Uint8Array, start: Int32Array, mix: BlockFunction, lengthBytes: number): Uint8Array {
  const inScratch = typeof data === "string" && readAscii(data);
  const message = inScratch ? SCRATCH : typeof data === "string" ? UTF8.encode(data) : data;
  const length = inScratch ? data.length : message.length;
  const state = STATE;
  state.set(start);
  const end = (Math.floor((length + 8) / 64) + 1) * 64;
  const schedule = SCHEDULE;
  for (let block = 0; block < end; block += 64) {
    for (let word = 0; word < 16; word++) {
      const at = block + 4 * word;
      schedule[word] =
        at + 4 <= length
          ? ((message[at] ?? 0) << 24) |
            ((message[at + 1] ?? 0) << 16) |
            ((message[at + 2] ?? 0) << 8) |
            (message[at + 3] ?? 0)
          : paddedWord(message, length, at);
    }
    if (block + 64 === end) {
      schedule[14] = Math.floor(length / 0x2000_0000);
      schedule[15] = length << 3;
    }
    mix(state, schedule);
  }
  const result = new Uint8Array(lengthBytes);
  for (let at = 0; at < lengthBytes; at++) result[at] = (state[at >> 2] ?? 0) >>> (24 - 8 * (at & 3));
  return result;
}

/** The message schedule of the block under way: names are hashed by the thousand, and one array serves them all. */
const SCHEDULE = new Int32Array(80);
/** As `SCHEDULE`; of SHA-1's state the first five words. */
const STATE = new Int32Array(8);

/** Four bytes from `at` on of a message that ends among them or before: a one bit, then zeros. */
function paddedWord(message: Uint8Array, length: number, at: number): number {
  let word = 0;
  for (let index = at; index < at + 4; index++) {
    word = (word << 8) | (index === length ? 0x80 : index < length ? (message[index] ?? 0) : 0);
  }
  return word;
}

function rotateLeft(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits));
}

function rotateRight(word: number, bits: number): number {
  return (word >>> bits) | (word << (32 - bits));
}

/** FIPS 180-4 sections 4.1.1, 4.2.1 and 6.1.2. */
function sha1Block(state: Int32Array, schedule: Int32Array): void {
  for (let t = 16; t < 80; t++) {
    const mixed = (schedule[t - 3] ?? 0) ^ (schedule[t - 8] ?? 0) ^ (schedule[t - 14] ?? 0) ^ (schedule[t - 16] ?? 0);
    schedule[t] = rotateLeft(mixed, 1);
  }
  let a = state[0] ?? 0;
  let b = state[1] ?? 0;
  let c = state[2] ?? 0;
  let d = state[3] ?? 0;
  let e = state[4] ?? 0;
  for (let t = 0; t < 80; t++) {
    let mixed: number;
    if (t < 20) mixed = ((b & c) | (~b & d)) + 0x5a827999;
    else if (t < 40) mixed = (b ^ c ^ d) + 0x6ed9eba1;
    else if (t < 60) mixed = ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc;
    else mixed = (b ^ c ^ d) + 0xca62c1d6;
    const next = (rotateLeft(a, 5) + mixed + e + (schedule[t] ?? 0)) | 0;
    e = d;
    d = c;
    c = rotateLeft(b, 30);
    b = a;
    a = next;
  }
  addTo(state, 0, a);
  addTo(state, 1, b);
  addTo(state, 2, c);
  addTo(state, 3, d);
  addTo(state, 4, e);
}

/** FIPS 180-4 sections 4.1.2 and 6.2.2. */
function sha256Block(state: Int32Array, schedule: Int32Array): void {
  for (let t = 16; t < 64; t++) {
    const near = schedule[t - 2] ?? 0;
    const far = schedule[t - 15] ?? 0;
    const sigma1 = rotateRight(near, 17) ^ rotateRight(near, 19) ^ (near >>> 10);
    const sigma0 = rotateRight(far, 7) ^ rotateRight(far, 18) ^ (far >>> 3);
    schedule[t] = (sigma1 + (schedule[t - 7] ?? 0) + sigma0 + (schedule[t - 16] ?? 0)) | 0;
  }
  let a = state[0] ?? 0;
  let b = state[1] ?? 0;
  let c = state[2] ?? 0;
  let d = state[3] ?? 0;
  let e = state[4] ?? 0;
  let f = state[5] ?? 0;
  let g = state[6] ?? 0;
  let h = state[7] ?? 0;
  for (let t = 0; t < 64; t++) {
    const sum1 = rotateRight(e, 6) ^ rotateRight(e, 11) ^ rotateRight(e, 25);
    const sum0 = rotateRight(a, 2) ^ rotateRight(a, 13) ^ rotateRight(a, 22);
    const first = (h + sum1 + ((e & f) ^ (~e & g)) + (ROUND[t] ?? 0) + (schedule[t] ?? 0)) | 0;
    const second = (sum0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    h = g;
    g = f;
    f = e;
    e = (d + first) | 0;
    d = c;
    c = b;
    b = a;
    a = (first + second) | 0;
  }
  addTo(state, 0, a);
  addTo(state, 1, b);
  addTo(state, 2, c);
  addTo(state, 3, d);
  addTo(state, 4, e);
  addTo(state, 5, f);
  addTo(state, 6, g);
  addTo(state, 7, h);
}

function addTo(state: Int32Array, index: number, word: number): void {
  state[index] = (state[index] ?? 0) + word;
}

/** The first 32 bits of the fractional parts of the square roots of the first eight primes (section 5.3.3). */
const SHA256_START = Int32Array.of(
  0x6a09e667,
  0xbb67ae85,
  0x3c6ef372,
  0xa54ff53a,
  0x510e527f,
  0x9b05688c,
  0x1f83d9ab,
  0x5be0cd19,
);

/** The second 32 bits for the ninth to sixteenth primes (section 5.3.2). */
const SHA224_START = Int32Array.of(
  0xc1059ed8,
  0x367cd507,
  0x3070dd17,
  0xf70e5939,
  0xffc00b31,
  0x68581511,
  0x64f98fa7,
  0xbefa4fa4,
);

/** Section 5.3.1. */
const SHA1_START = Int32Array.of(0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0);

/** The first 32 bits of the fractional parts of the cube roots of the first 64 primes (section 4.2.2). */
const ROUND: Int32Array = Int32Array.from(firstPrimes(64), (prime) => {
  // Exact: the integer cube root of prime * 2^96 is the root with 32 fractional bits.
  const target = BigInt(prime) << 96n;
  let root = 0n;
  for (let bit = 1n << 35n; bit > 0n; bit >>= 1n) {
    if ((root | bit) ** 3n <= target) root |= bit;
  }
  return Number(root & 0xffffffffn);
});

function firstPrimes(count: number): number[] {
  const primes: number[] = [];
  for (let candidate = 2; primes.length < count; candidate++) {
    if (primes.every((prime) => candidate % prime !== 0)) primes.push(candidate);
  }
  return primes;
}
