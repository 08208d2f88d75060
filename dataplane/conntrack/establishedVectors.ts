/** Vectors of four rows, one word each, and of four words of one row. */
import { type Code, get, i32x4, type Local, set, v128 } from "../wasm/code.ts";

/** Words of two halves each. */
export function pairsOf(low: Local, high: Local): Code {
  return v128.or(get(low), i32x4.shl(get(high), 16));
}

/** Numbers of bytes that interleave two vectors: words of their lower or upper halves, or these halves. */
export const LOWER_WORDS = [0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23];
export const UPPER_WORDS = [8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31];
const LOWER_HALVES = [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23];
const UPPER_HALVES = [8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31];

/** Numbers of bytes that pick the lower words of pairs. */
export const LOW_WORDS = [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27];

/** Four vectors of four words, transposed: of each the first words, then the second ones, and so on. `spare` are overwritten. */
export function transposed(
  vectors: readonly [Local, Local, Local, Local],
  spare: readonly [Local, Local],
  use: (vector: Code, number: number) => readonly Code[],
): readonly Code[] {
  const [a, b, c, d] = vectors;
  const [ab, cd] = spare;
  return [LOWER_WORDS, UPPER_WORDS].flatMap((words, pair) => [
    set(ab, v128.shuffle(get(a), get(b), words)),
    set(cd, v128.shuffle(get(c), get(d), words)),
    ...use(v128.shuffle(get(ab), get(cd), LOWER_HALVES), pair * 2),
    ...use(v128.shuffle(get(ab), get(cd), UPPER_HALVES), pair * 2 + 1),
  ]);
}
