/** eBPF instructions by hand: enough of the instruction set (linux/bpf.h, RFC 9669) for a policy program. */

/** Bytes that a load or store moves. */
export type Width = 1 | 2 | 4 | 8;

/** Comparisons of 32-bit unsigned registers. */
export type Condition = "equal" | "unequal" | "greater" | "less";

/** Registers are numbers: 0 answers, 1–5 are arguments, 6–9 outlive calls, 10 is the end of the stack. */
interface Instruction {
  readonly code: number;
  readonly into?: number;
  readonly from?: number;
  readonly offset?: number;
  readonly immediate?: number;
  readonly target?: string;
}

/** A register, and the constant or register it is compared with. */
export type Comparison = readonly [register: number, condition: Condition, other: number];

const SIZE: Readonly<Record<Width, number>> = { 1: 0x10, 2: 0x08, 4: 0x00, 8: 0x18 };
/** JMP32 with a constant; 0x08 more with a register. */
const JUMP: Readonly<Record<Condition, number>> = { equal: 0x16, unequal: 0x56, greater: 0x26, less: 0xa6 };
const WITH_REGISTER = 0x08;
const INSTRUCTION_BYTES = 8;
const PSEUDO_MAP_FD = 1;

/** A program under construction. */
export class Assembler {
  readonly #lines: (Instruction | { readonly label: string })[] = [];

  /** `into = *(from + offset)`, zero-extended. */
  load(width: Width, into: number, [from, offset]: readonly [register: number, offset: number]): void {
    this.#lines.push({ code: 0x61 | SIZE[width], into, from, offset });
  }

  /** `*(into + offset) = from`. */
  store(width: Width, [into, offset]: readonly [register: number, offset: number], from: number): void {
    this.#lines.push({ code: 0x63 | SIZE[width], into, from, offset });
  }

  /** `*(into + offset) = constant`. */
  storeConstant(width: Width, [into, offset]: readonly [register: number, offset: number], constant: number): void {
    this.#lines.push({ code: 0x62 | SIZE[width], into, offset, immediate: constant });
  }

  copy(into: number, from: number): void {
    this.#lines.push({ code: 0xbf, into, from });
  }

  set(into: number, constant: number): void {
    this.#lines.push({ code: 0xb7, into, immediate: constant });
  }

  add(into: number, constant: number): void {
    this.#lines.push({ code: 0x07, into, immediate: constant });
  }

  and(into: number, constant: number): void {
    this.#lines.push({ code: 0x57, into, immediate: constant });
  }

  shiftRight(into: number, bits: number): void {
    this.#lines.push({ code: 0x77, into, immediate: bits });
  }

  /** Swaps the bytes of 16 bits between network order and that of a little-endian machine. */
  swap16(into: number): void {
    this.#lines.push({ code: 0xdc, into, immediate: 16 });
  }

  /** Jumps when the low 32 bits of a register compare so with a constant. */
  jumpIf(target: string, [register, condition, constant]: Comparison): void {
    this.#lines.push({ code: JUMP[condition], into: register, immediate: constant, target });
  }

  /** The same with another register. */
  jumpIfRegister(target: string, [register, condition, other]: Comparison): void {
    this.#lines.push({ code: JUMP[condition] | WITH_REGISTER, into: register, from: other, target });
  }

  /** Jumps when a pointer is null (64 bits; the verifier follows it). */
  jumpIfNull(register: number, target: string): void {
    this.#lines.push({ code: 0x15, into: register, target });
  }

  /** Jumps when the first packet pointer lies behind the second (64 bits; the verifier follows it). */
  jumpIfBehind(register: number, other: number, target: string): void {
    this.#lines.push({ code: 0x2d, into: register, from: other, target });
  }

  jump(target: string): void {
    this.#lines.push({ code: 0x05, target });
  }

  /** A map by its descriptor; takes two instructions' room. */
  loadMap(into: number, fd: number): void {
    this.#lines.push({ code: 0x18, into, from: PSEUDO_MAP_FD, immediate: fd }, { code: 0 });
  }

  /** A helper function, by its number in bpf-helpers(7). */
  call(number: number): void {
    this.#lines.push({ code: 0x85, immediate: number });
  }

  exit(): void {
    this.#lines.push({ code: 0x95 });
  }

  label(label: string): void {
    this.#lines.push({ label });
  }

  /** The program for a little-endian machine. Throws when a jump has no label. */
  assemble(): Uint8Array {
    const places = new Map<string, number>();
    const instructions: Instruction[] = [];
    for (const line of this.#lines) {
      if ("label" in line) places.set(line.label, instructions.length);
      else instructions.push(line);
    }
    const view = new DataView(new ArrayBuffer(instructions.length * INSTRUCTION_BYTES));
    for (const [index, { code, into = 0, from = 0, offset = 0, immediate = 0, target }] of instructions.entries()) {
      const place = target === undefined ? undefined : places.get(target);
      if (target !== undefined && place === undefined) throw new Error(`no label ${target}`);
      const at = index * INSTRUCTION_BYTES;
      view.setUint8(at, code);
      view.setUint8(at + 1, (from << 4) | into);
      view.setInt16(at + 2, place === undefined ? offset : place - index - 1, true);
      view.setInt32(at + 4, immediate, true);
    }
    return new Uint8Array(view.buffer);
  }
}
