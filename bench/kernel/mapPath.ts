/** The look-ups that a new packet takes under Cilium, by the kernel's own maps. */
import { IPCACHE_STATIC_BITS, POLICY_STATIC_BITS } from "../../dataplane/maps/layout.ts";
import { PROTOCOL } from "../../dataplane/packet.ts";
import type { MapSpec } from "../../dataplane/program.ts";
import { Assembler } from "../../verify/bpf/assembler.ts";
import { KernelMaps } from "../../verify/bpf/kernelMaps.ts";
import { median } from "../statistics.ts";
import { askMap, filledMap, RANDOM, runTimes, STACK } from "./mapLookups.ts";

/** struct ipv4_ct_tuple and struct ct_entry of bpf/lib/common.h. */
const CT_KEY_BYTES = 14;
const CT_VALUE_BYTES = 56;

const TIMES = 200_000;
const IPCACHE_KEY = -24;
const POLICY_KEY = -40;
const CT_KEY = -56;
const STACK_BYTES = 56;
const LAST_OCTET = 10;

export interface MapPath {
  /** Peers, a power of two; number `i` has the address of `peerWord(i)`. */
  readonly ipcache: MapSpec;
  readonly policy: MapSpec;
  readonly peers: number;
  /** Connections in the table. */
  readonly flows: number;
  /** A port that the policy does not admit. */
  readonly port: number;
}

/** The peer's address: the bytes of its number from the lowest on, as the machine writes them, and a last octet that is none of them. */
export function peerWord(number: number): number {
  return ((number & 0xff) << 24) | ((number & 0xff00) << 8) | ((number & 0xff0000) >> 8) | LAST_OCTET;
}

/**
 * Nanoseconds that the look-ups of one packet of a random peer take in the kernel: two in the table of connections, which
 * has none of it, one in the ipcache, two in the policy map. What the run of a program that looks nothing up takes is taken
 * off. Throws when the program does not find what it should.
 */
export async function kernelMapPath({ ipcache, policy, peers, flows, port }: MapPath): Promise<number> {
  const kernel = new KernelMaps();
  try {
    const fill = async (spec: Parameters<typeof filledMap>[1]) => (await filledMap(kernel, spec)).fd;
    const connections = Array.from({ length: flows }, (_, number) => {
      const key = new Uint8Array(CT_KEY_BYTES);
      new DataView(key.buffer).setUint32(0, number, true);
      return { key, value: new Uint8Array(CT_VALUE_BYTES) };
    });
    const maps = {
      ipcache: await fill(ipcache),
      policy: await fill(policy),
      connections: await fill({
        type: "lru-hash",
        keyBytes: CT_KEY_BYTES,
        valueBytes: CT_VALUE_BYTES,
        maxEntries: Math.max(1_024, flows * 2),
        entries: connections,
      }),
    };
    const time = async (program: number) =>
      median(await runTimes(kernel, { program, times: TIMES, expected: FOUND_AS_EXPECTED }));
    const asking = await kernel.load(lookupProgram({ maps, peers, port }));
    const idle = await kernel.load(lookupProgram({ maps: undefined, peers, port }));
    return (await time(asking)) - (await time(idle));
  } finally {
    await kernel.close();
  }
}

const FOUND_AS_EXPECTED = 1;
const FOUND_SOMETHING_ELSE = 2;

interface LookupProgram {
  /** Undefined: the program does everything but look up. */
  readonly maps: { readonly ipcache: number; readonly policy: number; readonly connections: number } | undefined;
  readonly peers: number;
  readonly port: number;
}

function lookupProgram({ maps, peers, port }: LookupProgram): Uint8Array {
  const code = new Assembler();
  for (let at = -STACK_BYTES; at < 0; at += 8) code.storeConstant(8, [STACK, at], 0);
  code.call(RANDOM);
  code.store(4, [STACK, CT_KEY], 0);
  code.storeConstant(4, [STACK, CT_KEY + 4], -1); // so that it is none of the connections there
  code.call(RANDOM);
  code.and(0, peers - 1);
  code.store(4, [STACK, IPCACHE_KEY + 8], 0);
  code.storeConstant(1, [STACK, IPCACHE_KEY + 11], 10);
  code.storeConstant(4, [STACK, IPCACHE_KEY], IPCACHE_STATIC_BITS + 32);
  code.storeConstant(1, [STACK, IPCACHE_KEY + 7], 1);
  code.storeConstant(4, [STACK, POLICY_KEY], POLICY_STATIC_BITS + 24);
  code.storeConstant(1, [STACK, POLICY_KEY + 9], PROTOCOL.tcp);
  code.storeConstant(1, [STACK, POLICY_KEY + 10], port >> 8);
  code.storeConstant(1, [STACK, POLICY_KEY + 11], port & 0xff);
  if (maps !== undefined) {
    const ask = (map: number, key: number) => askMap(code, map, key);
    const expectNothing = (label: string) => {
      code.jumpIfNull(0, label);
      code.jump("else");
      code.label(label);
    };
    ask(maps.connections, CT_KEY);
    expectNothing("no answer");
    code.storeConstant(1, [STACK, CT_KEY + 13], 1);
    ask(maps.connections, CT_KEY);
    expectNothing("no connection");
    ask(maps.ipcache, IPCACHE_KEY);
    code.jumpIfNull(0, "else");
    code.load(4, 3, [0, 0]);
    code.store(4, [STACK, POLICY_KEY + 4], 3);
    ask(maps.policy, POLICY_KEY);
    expectNothing("not this peer");
    code.storeConstant(4, [STACK, POLICY_KEY + 4], 0);
    ask(maps.policy, POLICY_KEY);
    expectNothing("nobody");
  }
  code.set(0, FOUND_AS_EXPECTED);
  code.exit();
  if (maps !== undefined) {
    code.label("else");
    code.set(0, FOUND_SOMETHING_ELSE);
    code.exit();
  }
  return code.assemble();
}
