/** Inputs a little broken: bytes, words and lines changed, repeated, moved and cut. */
import type { Random } from "../kernel/random.ts";

/** No input of a campaign is longer: readers are linear, so a longer one shows nothing new. */
export const MOST_BYTES = 65_536;

const ENCODER = new TextEncoder();

type Change = (bytes: Uint8Array, random: Random, words: readonly string[]) => Uint8Array;

/** One to six changes. */
export function mutateBytes(bytes: Uint8Array, random: Random, words: readonly string[]): Uint8Array {
  let changed = bytes;
  for (let count = 1 + random.below(6); count > 0; count--) changed = random.pick(CHANGES)(changed, random, words);
  return changed.subarray(0, MOST_BYTES);
}

const CHANGES: readonly Change[] = [
  (bytes, random) => withByte(bytes, random, (byte) => byte ^ (1 << random.below(8))),
  (bytes, random) => withByte(bytes, random, () => random.pick(ODD_BYTES)),
  (bytes, random) => withByte(bytes, random, (byte) => byte + random.pick([1, -1])),
  (bytes, random, words) =>
    inserted(bytes, random, words.length === 0 ? oddNumber(random) : ENCODER.encode(random.pick(words))),
  (bytes, random) => inserted(bytes, random, ENCODER.encode(random.pick(ODD_TEXTS))),
  (bytes, random) => overwritten(bytes, random, oddNumber(random)),
  (bytes, random) => {
    const [from, to] = piece(bytes, random);
    return joined(bytes.subarray(0, from), bytes.subarray(to));
  },
  (bytes, random) => {
    const [from, to] = piece(bytes, random);
    const part = bytes.subarray(from, to);
    const times = random.oneIn(8) ? 64 : 1 + random.below(4);
    return joined(bytes.subarray(0, to), ...Array.from({ length: times }, () => part), bytes.subarray(to));
  },
  (bytes, random) => {
    const [from, to] = piece(bytes, random);
    return inserted(joined(bytes.subarray(0, from), bytes.subarray(to)), random, bytes.slice(from, to));
  },
  (bytes, random) => bytes.subarray(0, random.below(bytes.length + 1)),
  (bytes, random) => lineChange(bytes, random),
];

const ODD_BYTES = [0, 9, 10, 13, 32, 34, 39, 44, 45, 58, 91, 92, 93, 123, 125, 127, 128, 0xc0, 0xff] as const;
const ODD_TEXTS = [
  "[".repeat(400),
  "{".repeat(400),
  "- ".repeat(200),
  "9".repeat(400),
  "-1",
  "1e400",
  "\u0000",
  "\r\n",
  "x".repeat(5000),
] as const;

/** Four bytes that lengths and offsets trip over, in either order. */
function oddNumber(random: Random): Uint8Array {
  const number = random.pick([0, 1, 0x7f, 0xff, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, random.next()]);
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, number, random.oneIn(2));
  return bytes;
}

function withByte(bytes: Uint8Array, random: Random, change: (byte: number) => number): Uint8Array {
  if (bytes.length === 0) return bytes;
  const at = random.below(bytes.length);
  const changed = bytes.slice();
  changed[at] = change(changed[at] ?? 0);
  return changed;
}

function overwritten(bytes: Uint8Array, random: Random, part: Uint8Array): Uint8Array {
  if (bytes.length < part.length) return bytes;
  const changed = bytes.slice();
  changed.set(part, random.below(bytes.length - part.length + 1));
  return changed;
}

function inserted(bytes: Uint8Array, random: Random, part: Uint8Array): Uint8Array {
  const at = random.below(bytes.length + 1);
  return joined(bytes.subarray(0, at), part, bytes.subarray(at));
}

/** A part, short more often than long. */
function piece(bytes: Uint8Array, random: Random): readonly [from: number, to: number] {
  const from = random.below(bytes.length + 1);
  const longest = random.oneIn(4) ? bytes.length : 16;
  return [from, Math.min(bytes.length, from + random.below(longest + 1))];
}

/** A line twice, or gone, or at the place of another. */
function lineChange(bytes: Uint8Array, random: Random): Uint8Array {
  const starts = [0];
  for (const [index, byte] of bytes.entries()) if (byte === 10) starts.push(index + 1);
  const pick = () => {
    const number = random.below(starts.length);
    return bytes.subarray(starts[number] ?? 0, starts[number + 1] ?? bytes.length);
  };
  const number = random.below(starts.length);
  const [start, end] = [starts[number] ?? 0, starts[number + 1] ?? bytes.length];
  const [before, after] = [bytes.subarray(0, start), bytes.subarray(end)];
  return random.oneIn(3)
    ? joined(before, after)
    : joined(before, pick(), random.oneIn(2) ? bytes.subarray(start, end) : pick(), after);
}

function joined(...parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
