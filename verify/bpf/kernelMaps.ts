/** The kernel's own eBPF maps and programs, behind the C helper. */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { constants } from "node:os";
import { fileURLToPath } from "node:url";
import type { MapEntry, MapSpec } from "../../dataplane/program.ts";
import { compiledHelper } from "../kernel/helper.ts";

/** The build copies it beside the compiled driver. */
const SOURCE = fileURLToPath(new URL("bpf.c", import.meta.url));

/** Operations of bpf.c. */
const OPERATION = {
  create: 1,
  update: 2,
  lookup: 3,
  delete: 4,
  dump: 5,
  load: 6,
  run: 7,
  close: 8,
  time: 9,
  timeEach: 10,
} as const;

/** What a map is made of; its entries are loaded by `update`. */
export type MapShape = Pick<MapSpec, "type" | "keyBytes" | "valueBytes" | "maxEntries">;

/** A map of the helper. */
export interface KernelMap {
  readonly fd: number;
  readonly shape: MapShape;
}

/** A packet for one program: an Ethernet frame. */
export interface ProgramRun {
  readonly program: number;
  readonly frame: Uint8Array;
}

/** enum bpf_map_type. */
const MAP_TYPE: Readonly<Record<MapShape["type"], number>> = { hash: 1, array: 2, "lru-hash": 9, "lpm-trie": 11 };

/** BPF_F_NO_PREALLOC: a trie must have it; a hash map of millions of entries would take their memory at once. */
const NO_PREALLOC = 1;

interface Waiting {
  readonly resolve: (answer: KernelAnswer) => void;
  readonly reject: (why: Error) => void;
}

interface KernelAnswer {
  readonly error: number;
  readonly bytes: Uint8Array;
}

/** A running helper; its maps and programs end with it. Answers come in the order of requests. */
export class KernelMaps {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #exited: Promise<void>;
  readonly #waiting: Waiting[] = [];
  #chunks: Uint8Array[] = [];
  #received = 0;
  #said = "";
  #ended = false;

  /** Throws when the helper cannot be compiled. */
  constructor() {
    this.#child = spawn(compiledHelper(SOURCE), [], { stdio: "pipe" });
    this.#child.stdout.on("data", (chunk: Uint8Array) => this.#receive(chunk));
    this.#child.stderr.setEncoding("utf8").on("data", (text: string) => {
      this.#said += text;
    });
    this.#child.stdin.on("error", () => {}); // the exit below says why it closed
    this.#exited = new Promise((resolve) => {
      const ended = (why: string) => {
        this.#ended = true;
        for (const { reject } of this.#waiting.splice(0)) reject(new Error(`bpf helper ${why}: ${this.#said.trim()}`));
        resolve();
      };
      this.#child.once("error", (error) => ended(`did not start (${error.message})`));
      this.#child.once("close", (code, signal) => ended(`ended with ${signal ?? code}`));
    });
  }

  /** Makes an empty map. Rejects with the name of the kernel's error. */
  async create(shape: MapShape): Promise<KernelMap> {
    const flags = shape.type === "hash" || shape.type === "lpm-trie" ? NO_PREALLOC : 0;
    const { keyBytes, valueBytes, maxEntries } = shape;
    const head = Uint32Array.of(MAP_TYPE[shape.type], keyBytes, valueBytes, maxEntries, flags);
    const answer = await this.#checked(OPERATION.create, 0, new Uint8Array(head.buffer));
    return { fd: viewOf(answer).getUint32(0, true), shape };
  }

  /** Enters keys with their values. Answers the error of each, or "ok". */
  async update(map: KernelMap, entries: readonly MapEntry[]): Promise<readonly string[]> {
    const bytes = Buffer.concat(entries.flatMap(({ key, value }) => [key, value]));
    return errorsIn(await this.#checked(OPERATION.update, map.fd, bytes));
  }

  /** The value of each key, or the error. */
  async lookup(map: KernelMap, keys: readonly Uint8Array[]): Promise<readonly (Uint8Array | string)[]> {
    const bytes = await this.#checked(OPERATION.lookup, map.fd, Buffer.concat(keys));
    const view = viewOf(bytes);
    const step = 4 + map.shape.valueBytes;
    return keys.map((_, index) => {
      const error = view.getUint32(index * step, true);
      return error === 0 ? bytes.slice(index * step + 4, (index + 1) * step) : errorName(error);
    });
  }

  /** Deletes keys. Answers the error of each, or "ok". */
  async delete(map: KernelMap, keys: readonly Uint8Array[]): Promise<readonly string[]> {
    return errorsIn(await this.#checked(OPERATION.delete, map.fd, Buffer.concat(keys)));
  }

  /** All entries, in the kernel's order. */
  async dump({ fd, shape }: KernelMap): Promise<readonly MapEntry[]> {
    const bytes = await this.#checked(OPERATION.dump, fd, new Uint8Array(0));
    const step = shape.keyBytes + shape.valueBytes;
    return Array.from({ length: bytes.length / step }, (_, index) => ({
      key: bytes.slice(index * step, index * step + shape.keyBytes),
      value: bytes.slice(index * step + shape.keyBytes, (index + 1) * step),
    }));
  }

  /** Loads an XDP program and answers its descriptor. Rejects with what the verifier says. */
  async load(instructions: Uint8Array): Promise<number> {
    return viewOf(await this.#checked(OPERATION.load, 0, instructions)).getUint32(0, true);
  }

  /** BPF_PROG_TEST_RUN for each packet; answers what the programs return. */
  async run(runs: readonly ProgramRun[]): Promise<Uint32Array> {
    const request = Buffer.concat(
      runs.flatMap(({ program, frame }) => [new Uint8Array(Uint32Array.of(program, frame.length).buffer), frame]),
    );
    const view = viewOf(await this.#checked(OPERATION.run, 0, request));
    return Uint32Array.from(runs, (_, index) => view.getUint32(4 * index, true));
  }

  /** Runs a program on one packet so many times; answers what it returned last and the nanoseconds that one run took. */
  async time(
    { program, frame }: ProgramRun,
    times: number,
  ): Promise<{ readonly returned: number; readonly ns: number }> {
    const request = Buffer.concat([new Uint8Array(Uint32Array.of(times).buffer), frame]);
    const view = viewOf(await this.#checked(OPERATION.time, program, request));
    return { returned: view.getUint32(0, true), ns: view.getUint32(4, true) };
  }

  /** Writes keys one after the other; answers the nanoseconds that all of it took. Rejects when the kernel refuses one. */
  async timeWrites(map: KernelMap, verb: "update" | "delete", entries: readonly MapEntry[]): Promise<number> {
    const head = new Uint8Array(Uint32Array.of(OPERATION[verb]).buffer);
    const parts = entries.flatMap(({ key, value }) => (verb === "update" ? [key, value] : [key]));
    const answer = viewOf(await this.#checked(OPERATION.timeEach, map.fd, Buffer.concat([head, ...parts])));
    return answer.getUint32(0, true) + answer.getUint32(4, true) * 2 ** 32;
  }

  /** Gives up a map or program; the kernel frees it when nothing uses it any more. */
  async release(fd: number): Promise<void> {
    await this.#checked(OPERATION.close, fd, new Uint8Array(0));
  }

  /** Ends the helper with all it has. */
  async close(): Promise<void> {
    this.#child.stdin.end();
    await this.#exited;
  }

  async #checked(operation: number, fd: number, bytes: Uint8Array): Promise<Uint8Array> {
    const head = new Uint8Array(Uint32Array.of(8 + bytes.length, operation, fd).buffer);
    const { error, bytes: answer } = await new Promise<KernelAnswer>((resolve, reject) => {
      if (this.#ended) throw new Error(`bpf helper has ended: ${this.#said.trim()}`);
      this.#waiting.push({ resolve, reject });
      this.#child.stdin.write(Buffer.concat([head, bytes]));
    });
    if (error === 0) return answer;
    throw new Error(`${errorName(error)} ${new TextDecoder().decode(answer)}`.trim());
  }

  #receive(chunk: Uint8Array): void {
    this.#chunks.push(chunk);
    this.#received += chunk.length;
    // An answer of megabytes comes in many chunks: they are joined when the first tells that all are there.
    while (this.#received >= 4) {
      if ((this.#chunks[0]?.length ?? 0) < 4) this.#chunks = [Buffer.concat(this.#chunks)];
      const first = this.#chunks[0];
      if (first === undefined) return;
      const end = 4 + viewOf(first).getUint32(0, true);
      if (this.#received < end) return;
      const bytes = Buffer.concat(this.#chunks);
      this.#chunks = [bytes.subarray(end)];
      this.#received -= end;
      const answer = new Uint8Array(bytes.subarray(8, end)); // no longer a Buffer, whose `slice` would share memory
      this.#waiting.shift()?.resolve({ error: viewOf(bytes).getUint32(4, true), bytes: answer });
    }
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function errorsIn(bytes: Uint8Array): readonly string[] {
  const view = viewOf(bytes);
  return Array.from({ length: bytes.length / 4 }, (_, index) => errorName(view.getUint32(4 * index, true)));
}

const ERROR_NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(constants.errno).map(([name, number]) => [number, name]),
);

/** `ENOENT` for 2; "ok" for 0. */
function errorName(error: number): string {
  return error === 0 ? "ok" : (ERROR_NAMES.get(error) ?? `errno ${error}`);
}
