/**
 * SHA3-224 (FIPS 202): Felix names policy groups with it. Lanes are 64-bit BigInts: a node has some dozens of groups, and
 * the permutation is readable this way.
 */

const LANE = (1n << 64n) - 1n;
/** Bytes absorbed at a time: 1600 bits less twice the 224 of the digest. */
const RATE_BYTES = 144;
const DIGEST_BYTES = 28;
const ROUNDS = 24;

/** Rotation offsets by lane `x + 5y` (FIPS 202 section 3.2.2). */
const ROTATIONS = [0, 1, 62, 28, 27, 36, 44, 6, 55, 20, 3, 10, 43, 25, 39, 41, 45, 15, 21, 8, 18, 2, 61, 56, 14];

/** Round constants from the LFSR x^8 + x^6 + x^5 + x^4 + 1 (FIPS 202 section 3.2.5). */
const ROUND_CONSTANTS = roundConstants();

/** SHA3-224 of the bytes, or of a text's UTF-8: 28 bytes. */
export function sha3With224Bits(data: string | Uint8Array): Uint8Array {
  const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data;
  const padded = new Uint8Array((Math.floor(bytes.length / RATE_BYTES) + 1) * RATE_BYTES);
  padded.set(bytes);
  padded[bytes.length] = 0x06; // the two bits of SHA-3's domain, and the first of the padding
  padded[padded.length - 1] = (padded[padded.length - 1] ?? 0) | 0x80;
  const view = new DataView(padded.buffer);
  const state = new Array<bigint>(25).fill(0n);
  for (let block = 0; block < padded.length; block += RATE_BYTES) {
    for (let lane = 0; lane < RATE_BYTES / 8; lane++) {
      state[lane] = (state[lane] ?? 0n) ^ view.getBigUint64(block + 8 * lane, true);
    }
    permute(state);
  }
  const digest = new DataView(new ArrayBuffer(32));
  for (let lane = 0; lane < 4; lane++) digest.setBigUint64(8 * lane, state[lane] ?? 0n, true);
  return new Uint8Array(digest.buffer, 0, DIGEST_BYTES);
}

function permute(state: bigint[]): void {
  const at = (index: number) => state[index] ?? 0n;
  for (let round = 0; round < ROUNDS; round++) {
    const columns = [0, 1, 2, 3, 4].map((x) => at(x) ^ at(x + 5) ^ at(x + 10) ^ at(x + 15) ^ at(x + 20));
    for (let x = 0; x < 5; x++) {
      const parity = (columns[(x + 4) % 5] ?? 0n) ^ rotate(columns[(x + 1) % 5] ?? 0n, 1);
      for (let y = 0; y < 25; y += 5) state[x + y] = at(x + y) ^ parity;
    }
    const moved = new Array<bigint>(25).fill(0n);
    for (let x = 0; x < 5; x++) {
      for (let y = 0; y < 5; y++)
        moved[y + 5 * ((2 * x + 3 * y) % 5)] = rotate(at(x + 5 * y), ROTATIONS[x + 5 * y] ?? 0);
    }
    for (let y = 0; y < 25; y += 5) {
      for (let x = 0; x < 5; x++) {
        const next = moved[y + ((x + 1) % 5)] ?? 0n;
        const afterNext = moved[y + ((x + 2) % 5)] ?? 0n;
        state[y + x] = (moved[y + x] ?? 0n) ^ (~next & LANE & afterNext);
      }
    }
    state[0] = at(0) ^ (ROUND_CONSTANTS[round] ?? 0n);
  }
}

function rotate(lane: bigint, bits: number): bigint {
  return bits === 0 ? lane : ((lane << BigInt(bits)) | (lane >> BigInt(64 - bits))) & LANE;
}

function roundConstants(): readonly bigint[] {
  const constants: bigint[] = [];
  let register = 1;
  for (let round = 0; round < ROUNDS; round++) {
    let constant = 0n;
    for (let bit = 0; bit < 7; bit++) {
      if ((register & 1) === 1) constant |= 1n << ((1n << BigInt(bit)) - 1n);
      register = (register << 1) ^ ((register & 0x80) === 0 ? 0 : 0x171);
    }
    constants.push(constant);
  }
  return constants;
}
