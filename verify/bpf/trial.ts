/** Whether the kernel lets us have maps and run programs. */
import { KernelMaps } from "./kernelMaps.ts";
import { ETHERNET_BYTES, identityProgram } from "./policyProgram.ts";

/** Makes maps, loads a program and runs it once. Rejects with what the kernel, or the compiler of the helper, says. */
export async function bpfTrial(): Promise<void> {
  const kernel = new KernelMaps();
  try {
    await kernel.create({ type: "hash", keyBytes: 4, valueBytes: 4, maxEntries: 1 });
    const trie = await kernel.create({ type: "lpm-trie", keyBytes: 24, valueBytes: 24, maxEntries: 1 });
    const program = await kernel.load(identityProgram("ingress", { ipcache: trie.fd, policy: trie.fd }));
    await kernel.run([{ program, frame: new Uint8Array(ETHERNET_BYTES) }]);
  } finally {
    await kernel.close();
  }
}
