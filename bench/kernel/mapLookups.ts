/**
 * What one look-up of the kernel's own maps takes, by how many entries there are: a program draws keys that are there and
 * asks for them, and the same program without the asking is taken off.
 */
import {
  IPCACHE_KEY_BYTES,
  IPCACHE_VALUE_BYTES,
  TUPLE_KEY_BYTES,
  TUPLE_VALUE_BYTES,
} from "../../dataplane/maps/layout.ts";
import type { MapEntry, MapSpec } from "../../dataplane/program.ts";
import { Assembler } from "../../verify/bpf/assembler.ts";
import { type KernelMap, KernelMaps } from "../../verify/bpf/kernelMaps.ts";
import { ETHERNET_BYTES } from "../../verify/bpf/policyProgram.ts";
import { quietCost, quietValue } from "../model/fit.ts";
import type { Curve } from "../model/profile.ts";

export const MAP_LOOKUP = 1; // bpf_map_lookup_elem
export const RANDOM = 7; // bpf_get_prandom_u32
export const STACK = 10;

const TIMES = 20_000;
const ROUNDS = 9;
/** Keys sent to the helper at once. */
const PORTION = 4_096;
/** Powers of two, so that a random number is cut to a key by its bits. */
const SIZES = [1, 16, 1_024, 16_384, 131_072] as const;
/** Look-ups of a run: enough to stand out of what a run takes besides. */
const LOOKUPS = 8;

const AS_EXPECTED = 1;
const OTHERWISE = 2;
/** In the byte behind the number: no entry has it. */
const ABSENT = 1;
const FRAME = new Uint8Array(ETHERNET_BYTES + 50);

/** A map of the kernel with its entries. Rejects when it refuses one. */
export async function filledMap(
  kernel: KernelMaps,
  spec: Pick<MapSpec, "type" | "keyBytes" | "valueBytes" | "maxEntries" | "entries">,
): Promise<KernelMap> {
  const map = await kernel.create(spec);
  for (let from = 0; from < spec.entries.length; from += PORTION) {
    const refused = (await kernel.update(map, spec.entries.slice(from, from + PORTION))).find((say) => say !== "ok");
    if (refused !== undefined) throw new Error(`the kernel refused an entry: ${refused}`);
  }
  return map;
}

/** Nanoseconds of one of so many runs, measured several times. Rejects when the program returns something else. */
export async function runTimes(
  kernel: KernelMaps,
  { program, times, expected }: { readonly program: number; readonly times: number; readonly expected: number },
): Promise<readonly number[]> {
  const rounds: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const { returned, ns } = await kernel.time({ program, frame: FRAME }, times);
    if (returned !== expected) throw new Error(`the program returned ${returned}, not ${expected}`);
    rounds.push(ns);
  }
  return rounds;
}

/** A kind of map as the strategies use it. The number of an entry is four bytes of its key. */
interface Kind {
  readonly type: "hash" | "lpm-trie";
  readonly keyBytes: number;
  readonly valueBytes: number;
  /** Where the number is in the key, and what else is in it. */
  readonly numberAt: number;
  readonly prefixBits?: number;
}

/** Curves by name: a kind of map, and which of its entries are asked for. */
interface CurveOf {
  readonly name: string;
  readonly kind: Kind;
  /** `one`: again and again, so that what it needs stays in the processor's caches; `absent`: one that is not there. */
  readonly asked: "one" | "all" | "absent";
}

/** By the names of work (model/workCounts.ts): an exact map of bpf-hash, the ipcache of cilium-ebpf. */
export const KINDS = {
  map: { type: "hash", keyBytes: TUPLE_KEY_BYTES, valueBytes: TUPLE_VALUE_BYTES, numberAt: 0 },
  trie: {
    type: "lpm-trie",
    keyBytes: IPCACHE_KEY_BYTES,
    valueBytes: IPCACHE_VALUE_BYTES,
    numberAt: 8,
    prefixBits: 64,
  },
} as const satisfies Readonly<Record<string, Kind>>;

/** Predictions take the first three: like all other costs of a profile they are those of packets of one kind, one after the other. */
const CURVES: readonly CurveOf[] = [
  { name: "map", kind: KINDS.map, asked: "one" },
  { name: "miss", kind: KINDS.map, asked: "absent" },
  { name: "trie", kind: KINDS.trie, asked: "one" },
  { name: "map, any entry", kind: KINDS.map, asked: "all" },
  { name: "trie, any entry", kind: KINDS.trie, asked: "all" },
];

export const CURVE_MEASUREMENTS = CURVES.length * SIZES.length;

/** A curve for each kind of map and way to ask. `proceed` is called after each size; false: what is there is the answer. */
export async function measureCurves(proceed: () => Promise<boolean>): Promise<Readonly<Record<string, Curve>>> {
  const curves: Record<string, Curve> = {};
  const kernel = new KernelMaps();
  try {
    for (const { name, ...of } of CURVES) {
      const curve: Curve = [];
      curves[name] = curve;
      for (const entries of SIZES) {
        curve.push({ entries, ...(await lookupCost(kernel, of, entries)) });
        if (!(await proceed())) return curves;
      }
    }
    return curves;
  } finally {
    await kernel.close();
  }
}

/** Nanoseconds of one look-up among so many entries. */
export async function lookupCost(
  kernel: KernelMaps,
  { kind, asked }: Pick<CurveOf, "kind" | "asked">,
  count: number,
): Promise<Omit<Curve[number], "entries">> {
  const entries = Array.from({ length: count }, (_, number) => entryOf(kind, number));
  const drawn = asked === "all" ? count : 1;
  const { type, keyBytes, valueBytes } = kind;
  const { fd } = await filledMap(kernel, { type, keyBytes, valueBytes, maxEntries: count, entries });
  const asking = await kernel.load(drawingProgram({ ...kind, drawn, absent: asked === "absent", map: fd }));
  const idle = await kernel.load(drawingProgram({ ...kind, drawn, absent: asked === "absent", map: undefined }));
  const idleNs = quietValue(await runTimes(kernel, { program: idle, times: TIMES, expected: AS_EXPECTED }));
  const each = (await runTimes(kernel, { program: asking, times: TIMES, expected: AS_EXPECTED })).map(
    (ns) => Math.max(0, ns - idleNs) / LOOKUPS,
  );
  for (const descriptor of [asking, idle, fd]) await kernel.release(descriptor);
  return quietCost(each, { seed: 1 });
}

export function entryOf({ keyBytes, valueBytes, numberAt, prefixBits }: Kind, number: number): MapEntry {
  const key = new Uint8Array(keyBytes);
  const view = new DataView(key.buffer);
  if (prefixBits !== undefined) view.setUint32(0, prefixBits, true);
  view.setUint32(numberAt, number, true);
  return { key, value: new Uint8Array(valueBytes) };
}

interface Drawing extends Kind {
  /** Numbers drawn from: a power of two. */
  readonly drawn: number;
  readonly absent: boolean;
  /** Undefined: the program does everything but ask. */
  readonly map: number | undefined;
}

function drawingProgram({ keyBytes, numberAt, prefixBits, drawn, absent, map }: Drawing): Uint8Array {
  const code = new Assembler();
  const key = -8 * Math.ceil(keyBytes / 8);
  for (let at = key; at < 0; at += 8) code.storeConstant(8, [STACK, at], 0);
  if (prefixBits !== undefined) code.storeConstant(4, [STACK, key], prefixBits);
  if (absent) code.storeConstant(1, [STACK, key + numberAt + 4], ABSENT);
  for (let time = 0; time < LOOKUPS; time++) {
    code.call(RANDOM);
    code.and(0, drawn - 1);
    code.store(4, [STACK, key + numberAt], 0);
    if (map === undefined) continue;
    askMap(code, map, key);
    code.jumpIfNull(0, absent ? `absent ${time}` : "otherwise");
    if (!absent) continue;
    code.jump("otherwise");
    code.label(`absent ${time}`);
  }
  code.set(0, AS_EXPECTED);
  code.exit();
  if (map !== undefined) {
    code.label("otherwise");
    code.set(0, OTHERWISE);
    code.exit();
  }
  return code.assemble();
}

/** Asks a map for the key at that place of the stack; the answer is in register 0. */
export function askMap(code: Assembler, map: number, key: number): void {
  code.loadMap(1, map);
  code.copy(2, STACK);
  code.add(2, key);
  code.call(MAP_LOOKUP);
}
