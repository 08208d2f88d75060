/**
 * WebAssembly by hand: as much of the instruction set (webassembly.github.io/spec/core) as loops over columns need.
 *
 * An expression is the bytes that leave its value on the stack; a statement leaves nothing. Both are arrays of bytes, put
 * together by the functions below, so that code reads inside out as it would in TypeScript.
 */

/** Bytes of instructions. */
export type Code = readonly number[];

/** Numbers of value types. */
export const TYPE = { i32: 0x7f, i64: 0x7e, f64: 0x7c, v128: 0x7b } as const;
export type ValueType = (typeof TYPE)[keyof typeof TYPE];

/** A local variable or parameter. */
export interface Local {
  readonly index: number;
  readonly type: ValueType;
}

/** LEB128. */
export function unsigned(value: number): Code {
  const bytes: number[] = [];
  let left = value >>> 0;
  for (; left > 0x7f; left >>>= 7) bytes.push((left & 0x7f) | 0x80);
  return [...bytes, left];
}

function signed(value: number): Code {
  const bytes: number[] = [];
  let left = value | 0;
  for (; left < -64 || left > 63; left >>= 7) bytes.push((left & 0x7f) | 0x80);
  return [...bytes, left & 0x7f];
}

/** A number, as a constant or as what computes it. */
type Operand = Code | number;

function int(operand: Operand): Code {
  return typeof operand === "number" ? number(operand) : operand;
}

/** A constant integer. */
export function number(value: number): Code {
  return [0x41, ...signed(value)];
}

function double(operand: Operand): Code {
  if (typeof operand !== "number") return operand;
  return [0x44, ...new Uint8Array(Float64Array.of(operand).buffer)];
}

const ints = (opcode: number) => (a: Operand, b: Operand) => [...int(a), ...int(b), opcode];
const doubles = (opcode: number) => (a: Operand, b: Operand) => [...double(a), ...double(b), opcode];
/** `aligned`: the logarithm of the bytes moved. */
const load = (opcode: number, aligned: number) => (at: Code, offset: number) => [
  ...at,
  opcode,
  aligned,
  ...unsigned(offset),
];
const store = (opcode: number, aligned: number) => (at: Code, offset: number, value: Code) => [
  ...at,
  ...value,
  opcode,
  aligned,
  ...unsigned(offset),
];

/** 32-bit integers, wrapping; comparisons answer 1 or 0. */
export const i32 = {
  add: ints(0x6a),
  sub: ints(0x6b),
  mul: ints(0x6c),
  and: ints(0x71),
  or: ints(0x72),
  xor: ints(0x73),
  shl: ints(0x74),
  shrU: ints(0x76),
  eq: ints(0x46),
  ne: ints(0x47),
  lt: ints(0x48),
  /** Without signs: of addresses. */
  ltU: ints(0x49),
  le: ints(0x4c),
  ge: ints(0x4e),
  isZero: (value: Code): Code => [...value, 0x45],
  load: load(0x28, 2),
  load8: load(0x2d, 0),
  load16: load(0x2f, 1),
  store: store(0x36, 2),
  store8: store(0x3a, 0),
} as const;

export const f64 = {
  add: doubles(0xa0),
  sub: doubles(0xa1),
  mul: doubles(0xa2),
  gt: doubles(0x64),
  ge: doubles(0x66),
  ceil: (value: Code): Code => [...value, 0x9b],
  load: load(0x2b, 3),
  store: store(0x39, 3),
  /** Modulo 2^32, as `| 0` does; what is no number counts as 0. */
  toI32: (value: Code): Code => [...value, 0xfc, 0x06, 0xa7],
} as const;

/** Bytes of the instructions that work on 128 bits at once. */
const wide = (opcode: number): Code => [0xfd, ...unsigned(opcode)];
const vectors = (opcode: number) => (a: Code, b: Code) => [...a, ...b, ...wide(opcode)];
const shifts = (opcode: number) => (a: Code, bits: number) => [...a, ...number(bits), ...wide(opcode)];
const loadWide = (opcode: number, aligned: number) => (at: Code, offset: number) => [
  ...at,
  ...wide(opcode),
  aligned,
  ...unsigned(offset),
];
const storeLane = (opcode: number, aligned: number) => (at: Code, offset: number, value: Code, lane: number) => [
  ...at,
  ...value,
  ...wide(opcode),
  aligned,
  ...unsigned(offset),
  lane,
];

/** 128 bits. */
export const v128 = {
  and: vectors(0x4e),
  or: vectors(0x50),
  xor: vectors(0x51),
  /** Bits of `a` that are not in `b`. */
  andNot: vectors(0x4f),
  /** Bits of `a` where those of `mask` are set, else of `b`. */
  select: (a: Code, b: Code, mask: Code): Code => [...a, ...b, ...mask, ...wide(0x52)],
  /** 1: a bit is set. */
  any: (value: Code): Code => [...value, ...wide(0x53)],
  load: loadWide(0, 4),
  store: (at: Code, offset: number, value: Code): Code => [...at, ...value, ...wide(0x0b), 4, ...unsigned(offset)],
  /** One of four words, or of two pairs of words. */
  storeWord: storeLane(0x5a, 2),
  storePair: storeLane(0x5b, 3),
  /** Sixteen equal bytes. */
  ofBytes: (value: number): Code => [...number(value), ...wide(0x0f)],
  /** Sixteen bytes by their numbers: 0 to 15 of `a`, 16 to 31 of `b`. */
  shuffle: (a: Code, b: Code, bytes: readonly number[]): Code => [...a, ...b, ...wide(0x0d), ...bytes],
} as const;

/** Four 32-bit integers at once. */
export const i32x4 = {
  splat: (value: Operand): Code => [...int(value), ...wide(0x11)],
  add: vectors(0xae),
  sub: vectors(0xb1),
  mul: vectors(0xb5),
  /** All bits of a word set, or none. */
  eq: vectors(0x37),
  gt: vectors(0x3b),
  max: vectors(0xb8),
  /** 1: no word is 0. */
  all: (value: Code): Code => [...value, ...wide(0xa3)],
  /** The signs, a bit each. */
  signs: (value: Code): Code => [...value, ...wide(0xa4)],
  shrS: shifts(0xac),
  /** Of floats, what is before the point. */
  ofFloats: (value: Code): Code => [...value, ...wide(0xf8)],
  shl: shifts(0xab),
  shrU: shifts(0xad),
  /** Four 16-bit integers without signs. */
  load16: loadWide(4, 3),
  extract: (value: Code, number: number): Code => [...value, ...wide(0x1b), number],
  /** `value` with another last number. */
  withLast: (value: Code, last: Code): Code => [...value, ...last, ...wide(0x1c), 3],
} as const;

/** Two doubles at once; comparisons answer with all bits of a double set or none. */
export const f64x2 = {
  splat: (value: Operand): Code => [...double(value), ...wide(0x14)],
  add: vectors(0xf0),
  sub: vectors(0xf1),
  mul: vectors(0xf2),
  lt: vectors(0x49),
  gt: vectors(0x4a),
  ceil: (value: Code): Code => [...value, ...wide(0x74)],
} as const;

export function all(...operands: readonly [Code, ...Code[]]): Code {
  return operands.reduce((sum, operand) => i32.or(sum, operand));
}

export function get({ index }: Local): Code {
  return [0x20, ...unsigned(index)];
}

export function set({ index, type }: Local, value: Operand): Code {
  return [...(type === TYPE.f64 ? double(value) : int(value)), 0x21, ...unsigned(index)];
}

/** `yes` if the condition is not 0; both are computed. */
export function select(condition: Code, yes: Operand, no: Operand): Code {
  return [...int(yes), ...int(no), ...condition, 0x1b];
}

/** The same of doubles. */
export function selectDouble(condition: Code, yes: Code, no: Code): Code {
  return [...yes, ...no, ...condition, 0x1b];
}

const NO_VALUE = 0x40;

/** Statements again and again until `leaveIf` among them leaves. */
export function repeat(...statements: readonly Code[]): Code {
  return [0x02, NO_VALUE, 0x03, NO_VALUE, ...statements.flat(), 0x0c, 0, 0x0b, 0x0b];
}

/** Statements once, unless `leaveIf` among them leaves before their end. */
export function attempt(...statements: readonly Code[]): Code {
  return [0x02, NO_VALUE, 0x02, NO_VALUE, ...statements.flat(), 0x0b, 0x0b];
}

/** Leaves the innermost `repeat` or `attempt` around, of which this must be a statement. */
export function leaveIf(condition: Code): Code {
  return [...condition, 0x0d, 1];
}
