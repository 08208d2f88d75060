/** The kernel's side of the targets about maps: that its program looks up what it says. */
import { describe, expect, it } from "vitest";
import { kernelMapPath, peerWord } from "../../bench/kernel/mapPath.ts";
import { ADMITTED, ingressProgram, REFUSED } from "../../bench/targets/mapLookup.ts";
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

it("peers have the bytes of their numbers, from the lowest on", () => {
  expect(peerWord(0x030201) >>> 0).toBe(0x0102030a);
});
