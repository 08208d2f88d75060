/** A WebAssembly module of one function over a memory that is given to it. */
import { type Code, type Local, TYPE, unsigned, type ValueType } from "./code.ts";

/** What this house needs of the interface (webassembly.github.io/spec/js-api); the libraries it is typed by lack it. */
declare const WebAssembly:
  | {
      readonly Memory: new (size: { initial: number; maximum: number }) => WasmMemory;
      readonly Module: new (bytes: Uint8Array) => WasmModule;
      readonly Instance: new (
        module: WasmModule,
        imports: { readonly from: { readonly memory: WasmMemory } },
      ) => { readonly exports: { readonly run: (...given: number[]) => number } };
    }
  | undefined;

export interface WasmMemory {
  readonly buffer: ArrayBuffer;
}
/** Compiled, to be run over any memory. */
export type WasmModule = WeakKey;
export type WasmFunction = (...given: number[]) => number;

export const PAGE_BYTES = 65_536;

/** The locals of a function under construction; parameters come first. */
export class Locals {
  readonly #types: ValueType[] = [];
  #parameters = 0;

  parameter(): Local {
    this.#parameters++;
    return this.#add(TYPE.i32);
  }

  int(): Local {
    return this.#add(TYPE.i32);
  }

  double(): Local {
    return this.#add(TYPE.f64);
  }

  vector(): Local {
    return this.#add(TYPE.v128);
  }

  get parameters(): number {
    return this.#parameters;
  }

  /** As the code section wants those that are no parameters. */
  get declarations(): Code {
    const types = this.#types.slice(this.#parameters);
    return [...unsigned(types.length), ...types.flatMap((type) => [1, type])];
  }

  #add(type: ValueType): Local {
    this.#types.push(type);
    return { index: this.#types.length - 1, type };
  }
}

function section(id: number, body: Code): Code {
  return [id, ...unsigned(body.length), ...body];
}

function name(text: string): Code {
  return [...unsigned(text.length), ...Array.from(text, (letter) => letter.charCodeAt(0))];
}

/** The bytes of a module whose function `run` takes integers and leaves one; the last of `body` computes it. */
export function moduleBytes(locals: Locals, body: readonly Code[]): Uint8Array {
  const code = [...locals.declarations, ...body.flat(), 0x0b];
  const parameters = Array.from({ length: locals.parameters }, () => TYPE.i32);
  return Uint8Array.from([
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0], // "\0asm", version 1
    ...section(1, [1, 0x60, ...unsigned(parameters.length), ...parameters, 1, TYPE.i32]),
    ...section(2, [1, ...name("from"), ...name("memory"), 2, 0, 0]),
    ...section(3, [1, 0]),
    ...section(7, [1, ...name("run"), 0, 0]),
    ...section(10, [1, ...unsigned(code.length), ...code]),
  ]);
}

/** Compiles a module; undefined where there is no WebAssembly, or none may be compiled (a page's policy). */
export function compiled(bytes: Uint8Array): WasmModule | undefined {
  if (typeof WebAssembly === "undefined") return undefined;
  try {
    return new WebAssembly.Module(bytes);
  } catch {
    return undefined; // the tests of the loops insist on them, so wrong bytes would be noticed there
  }
}

/** Memory of so many bytes, all zero, which takes room only where it is written; undefined when there is none. */
export function memoryOf(bytes: number): WasmMemory | undefined {
  if (typeof WebAssembly === "undefined") return undefined;
  const pages = Math.ceil(bytes / PAGE_BYTES);
  try {
    return new WebAssembly.Memory({ initial: pages, maximum: pages });
  } catch {
    return undefined; // address space is short
  }
}

/** The function of a module over a memory. */
export function instantiated(module: WasmModule, memory: WasmMemory): WasmFunction {
  if (typeof WebAssembly === "undefined") throw new Error("no WebAssembly here");
  return new WebAssembly.Instance(module, { from: { memory } }).exports.run;
}
