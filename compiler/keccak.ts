/**
 * SHA3-224 (FIPS 202): Felix names policy groups with it. A lane of 64 bits is two words of 32, the low one first, at `2 * lane`:
 * with BigInts a hash takes several times as long.
 */

/** Bytes absorbed at a time: 1600 bits less twice the 224 of the digest. */
const RATE_BYTES = 144;
const DIGEST_BYTES = 28;
const ROUNDS = 24;
const LANES = 25;

/** Rotation offsets by lane `x + 5y` (FIPS 202 section 3.2.2). */
const ROTATIONS = [0, 1, 62, 28, 27, 36, 44, 6, 55, 20, 3, 10, 43, 25, 39, 41, 45, 15, 21, 8, 18, 2, 61, 56, 14];

/** Where a lane `x + 5y` moves to: `y + 5 * ((2x + 3y) mod 5)` (section 3.2.3). */
const MOVES = Int32Array.from({ length: LANES }, (_, lane) => {
  const [x, y] = [lane % 5, Math.floor(lane / 5)];
  return y + 5 * ((2 * x + 3 * y) % 5);
});

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
  const state = new Int32Array(2 * LANES);
  for (let block = 0; block < padded.length; block += RATE_BYTES) {
    for (let word = 0; word < RATE_BYTES / 4; word++) {
      state[word] = (state[word] ?? 0) ^ view.getInt32(block + 4 * word, true);
    }
    permute(state);
  }
  const digest = new DataView(new ArrayBuffer(DIGEST_BYTES));
  for (let word = 0; word < DIGEST_BYTES / 4; word++) digest.setInt32(4 * word, state[word] ?? 0, true);
  return new Uint8Array(digest.buffer);
}

/** Of the five columns of a state, and of a state whose lanes have moved; both are filled anew in each round. */
const COLUMNS = new Int32Array(10);
const MOVED = new Int32Array(2 * LANES);

function permute(state: Int32Array): void {
  for (let round = 0; round < ROUNDS; round++) {
    for (let word = 0; word < 10; word++) {
      COLUMNS[word] =
        at(state, word) ^ at(state, word + 10) ^ at(state, word + 20) ^ at(state, word + 30) ^ at(state, word + 40);
    }
    for (let lane = 0; lane < LANES; lane++) {
      const before = 2 * ((lane + 4) % 5);
      const after = 2 * ((lane + 1) % 5);
      const [low, high] = [at(COLUMNS, after), at(COLUMNS, after + 1)];
      const inLow = at(state, 2 * lane) ^ at(COLUMNS, before) ^ ((low << 1) | (high >>> 31));
      const inHigh = at(state, 2 * lane + 1) ^ at(COLUMNS, before + 1) ^ ((high << 1) | (low >>> 31));
      moveRotated(lane, inLow, inHigh);
    }
    for (let lane = 0; lane < LANES; lane++) {
      const row = lane - (lane % 5);
      const next = 2 * (row + ((lane + 1) % 5));
      const afterNext = 2 * (row + ((lane + 2) % 5));
      state[2 * lane] = at(MOVED, 2 * lane) ^ (~at(MOVED, next) & at(MOVED, afterNext));
      state[2 * lane + 1] = at(MOVED, 2 * lane + 1) ^ (~at(MOVED, next + 1) & at(MOVED, afterNext + 1));
    }
    state[0] = at(state, 0) ^ at(ROUND_CONSTANTS, 2 * round);
    state[1] = at(state, 1) ^ at(ROUND_CONSTANTS, 2 * round + 1);
  }
}

function at(words: Int32Array, index: number): number {
  return words[index] ?? 0;
}

/** Puts a lane, rotated to the left by its offset, where it moves to. */
function moveRotated(lane: number, low: number, high: number): void {
  const bits = ROTATIONS[lane] ?? 0;
  const to = 2 * (MOVES[lane] ?? 0);
  // By 32 or more: the words change places, and the rest is left to do.
  const [first, second] = bits < 32 ? [low, high] : [high, low];
  const rest = bits % 32;
  // A shift by 32 shifts by nothing, so that the other word would come in whole.
  MOVED[to] = rest === 0 ? first : (first << rest) | (second >>> (32 - rest));
  MOVED[to + 1] = rest === 0 ? second : (second << rest) | (first >>> (32 - rest));
}

/** Two words for each round. Of a lane's bits, only those at 2^j - 1 can be set. */
function roundConstants(): Int32Array {
  const constants = new Int32Array(2 * ROUNDS);
  let register = 1;
  for (let round = 0; round < ROUNDS; round++) {
    for (let power = 0; power < 7; power++) {
      const bit = 2 ** power - 1;
      const word = 2 * round + (bit < 32 ? 0 : 1);
      if ((register & 1) === 1) constants[word] = at(constants, word) | (1 << (bit % 32));
      register = (register << 1) ^ ((register & 0x80) === 0 ? 0 : 0x171);
    }
  }
  return constants;
}
