/** Maps and look-up plans beside the kernel's own: same answers, same errors, same bytes, same verdicts. */
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { resolvePolicies } from "../../compiler/resolve.ts";
import { bpfHash } from "../../compiler/strategies/bpf-hash.ts";
import { ciliumEbpf } from "../../compiler/strategies/cilium-ebpf.ts";
import type { Strategy } from "../../compiler/strategies/strategy.ts";
import { cidrOf, formatAddress, type IpAddress, parseAddress } from "../../dataplane/address.ts";
import { Fabric } from "../../dataplane/fabric.ts";
import {
  encodeIpcacheKey,
  encodeIpcacheValue,
  encodePolicyKey,
  IPCACHE_KEY_BYTES,
  IPCACHE_VALUE_BYTES,
  POLICY_KEY_BYTES,
  POLICY_VALUE_BYTES,
  policyPortPrefix,
} from "../../dataplane/maps/layout.ts";
import { type LoadedMap, loadMap, TRIE_PREFIX_BYTES, wordsOf } from "../../dataplane/maps/loadedMap.ts";
import { LpmTrie } from "../../dataplane/maps/lpmTrie.ts";
import { makePacket, type Packet, PROTOCOL } from "../../dataplane/packet.ts";
import type { MapEntry, MapProgram, MapSpec, Program } from "../../dataplane/program.ts";
import { hexOf } from "../../dataplane/trace.ts";
import { KernelMaps } from "../../verify/bpf/kernelMaps.ts";
import { MapJudge } from "../../verify/bpf/mapJudge.ts";
import { clusterArbitrary } from "../../verify/fuzz/cluster.ts";
import { packetArbitrary } from "../../verify/fuzz/packet.ts";
import { Random } from "../../verify/kernel/random.ts";
import { compileNodes } from "../../verify/lane.ts";
import { isWhole } from "../extent.ts";
import { packetsOf, reproduceLine, SEED } from "./budget.ts";
import { hasKernel } from "./kernel.ts";

const isMaps = (program: Program): program is MapProgram => program.kind === "maps";

function mapsOf(strategy: Strategy, model: Parameters<typeof resolvePolicies>[0]): readonly MapProgram[] {
  return compileNodes(resolvePolicies(model), strategy, {}).filter(isMaps);
}

const interesting = clusterArbitrary().filter(
  ({ policies, endpoints }) => policies.length > 0 && endpoints.filter(({ hostNetwork }) => !hostNetwork).length > 1,
);

/** The value that our map answers for the bytes of a key, as the kernel's look-up would: a trie key with all its bits. */
function ours(map: LoadedMap, key: Uint8Array): Uint8Array | "ENOENT" {
  const at = map.find(wordsOf(map.spec.type === "lpm-trie" ? key.subarray(TRIE_PREFIX_BYTES) : key));
  return map.spec.entries[at]?.value ?? "ENOENT";
}

/** Keys of a few values in every byte, so that prefixes (of 20 bits and more, to leave gaps) nest and keys repeat. */
function randomKey(random: Random, bytes: number): Uint8Array {
  return Uint8Array.from({ length: bytes }, () => random.pick([0, 0, 0, 1, 0x80, 0xff]));
}

function trieKey(prefixLength: number, data: Uint8Array): Uint8Array {
  const key = new Uint8Array(TRIE_PREFIX_BYTES + data.length);
  new DataView(key.buffer).setUint32(0, prefixLength, true);
  key.set(data, TRIE_PREFIX_BYTES);
  return key;
}

function number32(number: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(number).buffer);
}

describe.runIf(hasKernel("bpf"))("maps beside the kernel's", () => {
  let kernel: KernelMaps;
  beforeAll(() => {
    kernel = new KernelMaps();
  });
  afterAll(() => kernel.close());

  const ROUNDS = isWhole ? 10 : 4;

  it.each(["hash", "lru-hash", "lpm-trie"] as const)("answer random keys alike: %s", async (type) => {
    const random = new Random(SEED);
    let hits = 0;
    let asked = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const dataBytes = random.pick([4, 8, 16]);
      const isTrie = type === "lpm-trie";
      const draw = (prefixLength: number) => {
        const data = randomKey(random, dataBytes);
        return isTrie ? trieKey(prefixLength, data) : data;
      };
      const entries = Array.from(
        { length: 300 },
        (_, index): MapEntry => ({ key: draw(20 + random.below(8 * dataBytes - 19)), value: number32(index) }),
      );
      const keyBytes = isTrie ? TRIE_PREFIX_BYTES + dataBytes : dataBytes;
      // The kernel's LRU drives out entries before it is full (free nodes are kept by CPU): room for all.
      const spec: MapSpec = { name: "random", type, keyBytes, valueBytes: 4, maxEntries: 4096, entries };
      const loaded = loadMap(spec);
      const map = await kernel.create(spec);
      expect(new Set(await kernel.update(map, entries))).toEqual(new Set(["ok"]));
      const keys = Array.from({ length: 2000 }, () => draw(8 * dataBytes));
      const answers = await kernel.lookup(map, keys);
      for (const [index, key] of keys.entries()) {
        const answer = ours(loaded, key);
        expect(answer, hexOf(key)).toEqual(answers[index]);
        if (answer !== "ENOENT") hits++;
      }
      asked += keys.length;
      await kernel.release(map.fd);
    }
    expect(asked).toBe(ROUNDS * 2000);
    expect(hits).toBeGreaterThan(asked / 20);
    expect(hits).toBeLessThan(asked);
  });

  it("that are full refuse new keys with the kernel's errors, and still take known ones", async () => {
    for (const [type, error] of [
      ["hash", "E2BIG"],
      ["lpm-trie", "ENOSPC"],
    ] as const) {
      const keyOf = (number: number) => {
        const data = Uint8Array.of(number, 0, 0, 0);
        return type === "hash" ? data : trieKey(32, data);
      };
      const entries = [1, 2, 3, 2, 4].map((number, index) => ({ key: keyOf(number), value: number32(index) }));
      const spec = { name: "full", type, keyBytes: keyOf(0).length, valueBytes: 4, maxEntries: 3 };
      const map = await kernel.create(spec);
      expect(await kernel.update(map, entries)).toEqual(["ok", "ok", "ok", "ok", error]);
      expect(() => loadMap({ ...spec, entries })).toThrow(error);
      const held = loadMap({ ...spec, entries: entries.slice(0, 4) });
      expect(ours(held, keyOf(2))).toEqual(number32(3));
      expect(await kernel.lookup(map, [keyOf(2)])).toEqual([number32(3)]);
    }
  });

  it("have no prefix longer than the key, and delete only what is there", async () => {
    const shape = { type: "lpm-trie", keyBytes: 8, valueBytes: 4, maxEntries: 8 } as const;
    const map = await kernel.create(shape);
    const data = new Uint8Array(4);
    const tooLong = { key: trieKey(33, data), value: number32(0) };
    expect(await kernel.update(map, [tooLong])).toEqual(["EINVAL"]);
    expect(() => loadMap({ ...shape, name: "wrong", entries: [tooLong] })).toThrow(RangeError);

    const trie = new LpmTrie({ dataWords: 1, maxEntries: 8 });
    const random = new Random(SEED);
    for (let step = 0; step < (isWhole ? 2000 : 600); step++) {
      const length = random.below(4);
      const bytes = Uint8Array.of(random.below(256), 0, 0, 0);
      const key = trieKey(length, bytes);
      if (random.oneIn(2)) {
        const mine = trie.delete(length, wordsOf(bytes)) ? "ok" : "ENOENT";
        expect([mine]).toEqual(await kernel.delete(map, [key]));
      } else {
        const mine = trie.update(length, wordsOf(bytes), step) === "updated" ? "ok" : "ENOSPC";
        expect([mine]).toEqual(await kernel.update(map, [{ key, value: number32(step) }]));
      }
      const found = trie.find(wordsOf(bytes));
      const [answer] = await kernel.lookup(map, [trieKey(32, bytes)]);
      expect(found < 0 ? "ENOENT" : number32(found)).toEqual(answer);
    }
  });

  it.each([ciliumEbpf, bpfHash].map((strategy) => [strategy.name, strategy] as const))(
    "hold the bytes that %s compiles",
    async (_, strategy) => {
      const text = ({ key, value }: MapEntry) => `${hexOf(key)} ${hexOf(value)}`;
      let compared = 0;
      for (const model of fc.sample(interesting, { numRuns: isWhole ? 10 : 4, seed: SEED })) {
        for (const { maps } of mapsOf(strategy, model)) {
          for (const spec of maps) {
            // bpf-hash asks for room that takes buckets of 64 MiB.
            const map = await kernel.create({ ...spec, maxEntries: Math.min(spec.maxEntries, 65_536) });
            await kernel.update(map, spec.entries);
            expect((await kernel.dump(map)).map(text).toSorted()).toEqual(spec.entries.map(text).toSorted());
            compared += spec.entries.length;
            await kernel.release(map.fd);
          }
        }
      }
      expect(compared).toBeGreaterThan(100);
    },
  );

  it.each([
    [ciliumEbpf.name, ciliumEbpf, 0.75],
    [bpfHash.name, bpfHash, 0.25],
  ] as const)(
    "give %s's verdicts on random packets of random clusters",
    { timeout: 240_000 },
    async (_, strategy, share) => {
      const wanted = Math.ceil(packetsOf("maps") * share);
      const perCluster = Math.min(20_000, Math.ceil(wanted / 10));
      const random = new Random(SEED);
      const pool = fc.sample(packetArbitrary, { numRuns: 2000, seed: SEED });
      const models = fc.sample(interesting, { numRuns: Math.ceil(wanted / perCluster) * 2, seed: SEED }).values();
      const seen = { accept: 0, drop: 0 };
      while (seen.accept + seen.drop < wanted) {
        const model = models.next().value;
        if (model === undefined) throw new Error(`too few clusters for ${wanted} packets`);
        const programs = mapsOf(strategy, model);
        const fabric = new Fabric(programs);
        const judge = await MapJudge.load(kernel, programs);
        const packets = Array.from({ length: perCluster }, () => varied(random.pick(pool), random));
        for (const [index, passes] of (await judge.run(packets)).entries()) {
          const packet = packets[index];
          if (packet === undefined || passes === undefined) continue;
          fabric.flushConntrack();
          const { verdict } = fabric.push(packet);
          const kernelVerdict = passes ? "accept" : "drop";
          if (verdict !== kernelVerdict) throw new Error(told(strategy, packet, { verdict, kernelVerdict }));
          seen[kernelVerdict]++;
        }
        await judge.unload();
      }
      expect(seen.accept + seen.drop).toBeGreaterThanOrEqual(wanted);
      expect(seen.accept).toBeGreaterThan(wanted / 20);
      expect(seen.drop).toBeGreaterThan(wanted / 20);
    },
  );

  it("decide as programs do that no strategy compiles: denials, precedences, strangers", async () => {
    const random = new Random(SEED);
    const PROGRAMS = isWhole ? 40 : 10;
    const seen = { accept: 0, drop: 0 };
    for (let round = 0; round < PROGRAMS; round++) {
      const program = randomIdentityProgram(random);
      const fabric = new Fabric([program]);
      const judge = await MapJudge.load(kernel, [program]);
      const packets = Array.from({ length: 500 }, () => {
        const family = random.pick([4, 6] as const);
        const source = address(random.pick(PEERS[family]));
        const protocol = random.pick([PROTOCOL.tcp, PROTOCOL.udp, family === 4 ? PROTOCOL.icmp : PROTOCOL.icmpv6]);
        const drawn = makePacket({ protocol, source, destination: address(POD[family]) });
        return protocol === PROTOCOL.tcp || protocol === PROTOCOL.udp
          ? { ...drawn, destinationPort: random.below(16) }
          : { ...drawn, icmpType: random.pick(family === 4 ? [0, 8, 13] : [128, 129]) };
      });
      for (const [index, passes] of (await judge.run(packets)).entries()) {
        const packet = packets[index];
        if (packet === undefined || passes === undefined) throw new Error(`no verdict for packet ${index}`);
        fabric.flushConntrack();
        const kernelVerdict = passes ? "accept" : "drop";
        expect(fabric.push(packet).verdict, JSON.stringify(packet)).toBe(kernelVerdict);
        seen[kernelVerdict]++;
      }
      await judge.unload();
    }
    expect(seen.accept + seen.drop).toBe(PROGRAMS * 500);
    expect(Math.min(seen.accept, seen.drop)).toBeGreaterThan(PROGRAMS * 50);
  });
});

const POD = { 4: "10.1.0.2", 6: "fd00::2" } as const;
/** The last of each family is in no block of the ipcache below. */
const PEERS = { 4: ["10.1.0.3", "10.1.1.3", "203.0.113.9"], 6: ["fd00::3", "fd01::3", "2001:db8::9"] } as const;

function address(text: string): IpAddress {
  const parsed = parseAddress(text);
  if (parsed === undefined) throw new Error(`not an address: ${text}`);
  return parsed;
}

/** One pod behind policy entries with any flags and precedence, and an ipcache that does not know everybody. */
function randomIdentityProgram(random: Random): MapProgram {
  const identities = [0, 2, 300, 301, 0x01000007];
  const known = [cidrOf(address("10.0.0.0"), 8), cidrOf(address("10.1.1.0"), 24), cidrOf(address("fd00::"), 12)];
  const ipcache = known.map((cidr) => ({
    key: encodeIpcacheKey(cidr),
    value: encodeIpcacheValue(random.pick(identities.slice(1))),
  }));
  const policy = Array.from({ length: 20 }, (): MapEntry => {
    const protocol = random.pick([0, PROTOCOL.tcp, PROTOCOL.udp, PROTOCOL.icmp, PROTOCOL.icmpv6]);
    const portBits = protocol === 0 ? 0 : random.pick([0, 8, 13, 14, 16]);
    const port = portBits === 0 ? 0 : random.pick([0, 4, 8, 13, 128, 129]) & (0xffff << (16 - portBits)) & 0xffff;
    const key = { direction: "ingress", identity: random.pick(identities), protocol, port, portBits } as const;
    const value = new Uint8Array(POLICY_VALUE_BYTES);
    value[2] = (policyPortPrefix(key) << 3) | random.below(2);
    new DataView(value.buffer).setUint32(4, random.pick([1, 0x8000_0000, 0xffff_ffff, 0xffff_ffff]), true);
    return { key: encodePolicyKey(key), value };
  });
  const map = (name: string, sizes: Pick<MapSpec, "keyBytes" | "valueBytes" | "entries">): MapSpec => ({
    name,
    type: "lpm-trie",
    maxEntries: 64,
    ...sizes,
  });
  return {
    kind: "maps",
    strategy: "random",
    node: "node",
    maps: [
      map("ipcache", { keyBytes: IPCACHE_KEY_BYTES, valueBytes: IPCACHE_VALUE_BYTES, entries: ipcache }),
      map("policy", { keyBytes: POLICY_KEY_BYTES, valueBytes: POLICY_VALUE_BYTES, entries: policy }),
    ],
    attachPoints: [
      {
        endpoint: "default/pod",
        direction: "ingress",
        plan: { kind: "identity", ipcache: "ipcache", policy: "policy" },
      },
    ],
    attachment: {
      uplink: "eth0",
      pods: [{ endpoint: "default/pod", addresses: [address(POD[4]), address(POD[6])], interface: "veth0" }],
      remotePodAddresses: [],
      localAddresses: [],
    },
  };
}

/** Another port, next to one of the domain or anywhere; for ICMP another type, errors left out: they have to quote. */
function varied(packet: Packet, random: Random): Packet {
  switch (packet.protocol) {
    case PROTOCOL.icmp:
      return makePacket({ ...packet, icmpType: random.pick([0, 8, 13, 15]), icmpId: random.below(65_536) });
    case PROTOCOL.icmpv6:
      return makePacket({ ...packet, icmpType: random.pick([128, 129, 130, 135]), icmpId: random.below(65_536) });
    case PROTOCOL.tcp:
    case PROTOCOL.udp:
    case PROTOCOL.sctp: {
      if (random.oneIn(2)) return packet;
      const destinationPort = random.oneIn(2) ? random.below(65_536) : packet.destinationPort + random.below(3) - 1;
      return makePacket({ ...packet, destinationPort, sourcePort: random.below(65_536) });
    }
    default:
      return packet;
  }
}

function told(strategy: Strategy, packet: Packet, said: { verdict: string; kernelVerdict: string }): string {
  const { protocol, source, destination, destinationPort, icmpType } = packet;
  return [
    `${strategy.name}: ours ${said.verdict}, the kernel's ${said.kernelVerdict}`,
    `protocol ${protocol}, ${formatAddress(source)} to ${formatAddress(destination)}, port ${destinationPort}, type ${icmpType}`,
    `again: ${reproduceLine("test/kernel/bpf.test.ts")}`,
  ].join("\n");
}
