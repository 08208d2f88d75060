/** The kernel's side of the targets about maps: that its program looks up what it says. */
import { describe, expect, it } from "vitest";
import { measureCurves } from "../../bench/kernel/mapLookups.ts";
import { kernelMapPath, peerWord } from "../../bench/kernel/mapPath.ts";
import { measureMapWrites } from "../../bench/kernel/mapWrites.ts";
import { ADMITTED, ingressProgram, POD, REFUSED } from "../../bench/targets/mapLookup.ts";
import { makePacket, PROTOCOL } from "../../dataplane/packet.ts";
import { KernelMaps } from "../../verify/bpf/kernelMaps.ts";
import { MapJudge } from "../../verify/bpf/mapJudge.ts";
import { hasKernel } from "../kernel/kernel.ts";

const PEERS = 16;

describe.runIf(hasKernel("bpf"))("the look-ups of a new packet in the kernel", () => {
  const { ipcache, policy } = ingressProgram(PEERS);
  const path = { ipcache, policy, peers: PEERS, flows: PEERS, port: REFUSED };

  it("find each peer, and nothing that admits it", async () => {
    expect(await kernelMapPath(path)).toBeGreaterThan(0);
  });

  it("are refused when a peer is admitted, or one is not known", async () => {
    await expect(kernelMapPath({ ...path, port: ADMITTED })).rejects.toThrow("returned 2");
    const fewer = { ...ipcache, entries: ipcache.entries.slice(0, 1) };
    await expect(kernelMapPath({ ...path, ipcache: fewer })).rejects.toThrow("returned 2");
  });
});

describe.runIf(hasKernel("bpf"))("look-ups of the kernel's maps, for a profile", () => {
  it("are measured for both kinds of map, and stop when told to", async () => {
    let left = 2;
    const curves = await measureCurves(async () => --left > 0);
    expect(Object.keys(curves)).toEqual(["map"]);
    expect(curves.map?.map(({ entries }) => entries)).toEqual([1, 16]);
    for (const { ns, ci95 } of curves.map ?? []) {
      expect(ns).toBeGreaterThan(0);
      expect(ci95[0]).toBeLessThanOrEqual(ci95[1]);
    }
  });

  it("and of writes, of both kinds of map, each key once there and once gone", async () => {
    const writes = await measureMapWrites(async () => false);
    expect(Object.keys(writes).toSorted()).toEqual([
      "map delete, hash",
      "map delete, lpm-trie",
      "map update, hash",
      "map update, lpm-trie",
    ]);
    for (const { ns } of Object.values(writes)) expect(ns).toBeGreaterThan(0);
    const kernel = new KernelMaps();
    try {
      const map = await kernel.create({ type: "hash", keyBytes: 4, valueBytes: 4, maxEntries: 2 });
      const entry = { key: Uint8Array.of(1, 2, 3, 4), value: Uint8Array.of(5, 6, 7, 8) };
      await kernel.timeWrites(map, "update", [entry]);
      expect(await kernel.dump(map)).toEqual([entry]);
      await kernel.timeWrites(map, "delete", [entry]);
      expect(await kernel.dump(map)).toEqual([]);
      await expect(kernel.timeWrites(map, "delete", [entry])).rejects.toThrow("ENOENT");
    } finally {
      await kernel.close();
    }
  });

  it("are the whole of what a map program adds to reading a packet", async () => {
    const kernel = new KernelMaps();
    try {
      const judge = await MapJudge.load(kernel, [ingressProgram(PEERS).program]);
      const packet = makePacket({
        protocol: PROTOCOL.tcp,
        source: { family: 4, words: [peerWord(3)] },
        destination: { family: 4, words: [POD] },
        destinationPort: ADMITTED,
      });
      expect(await judge.run([packet])).toEqual([true]);
      expect(await judge.time(packet, 20_000)).toBeGreaterThan(0);
      const elsewhere = { ...packet, destination: { family: 4 as const, words: [1] } };
      expect(await judge.time(elsewhere, 1)).toBe(0);
    } finally {
      await kernel.close();
    }
  });
});

it("peers have the bytes of their numbers, from the lowest on", () => {
  expect(peerWord(0x030201) >>> 0).toBe(0x0102030a);
});
