/** What is made late is what it would have been, and is late. */
import fc from "fast-check";
import { expect, it, vi } from "vitest";
import { runsOf } from "../extent.ts";

const read = vi.hoisted(() => ({ ipv6: 0 }));

vi.mock(import("ip-num"), async (importOriginal) => {
  const original = await importOriginal();
  return {
    ...original,
    IPv6: class extends original.IPv6 {
      constructor(text: string) {
        super(text);
        read.ipv6++;
      }
    },
  } as typeof original;
});

it("no module that a truth table loads reads an IPv6 text", async () => {
  vi.resetModules(); // the set-up of tests has loaded some already
  await import("../../compiler/strategies/registry.ts");
  await import("../../verify/matrix.ts");
  expect(read.ipv6).toBe(0);
  const { parseAddress } = await import("../../dataplane/address.ts");
  expect(parseAddress("::1")).toEqual({ family: 6, words: [0, 0, 0, 1] });
  expect(read.ipv6).toBe(1);
});

it("Felix's comments are what verifyProgram takes them for, and JSON as others are", async () => {
  const { compileNode } = await import("../../compiler/compile.ts");
  const { LateComment } = await import("../../compiler/lateComment.ts");
  const { resolvePolicies } = await import("../../compiler/resolve.ts");
  const { calicoIptables } = await import("../../compiler/strategies/calico-iptables.ts");
  const { verifyProgram } = await import("../../compiler/verify.ts");
  const { clusterArbitrary } = await import("../../verify/fuzz/cluster.ts");
  fc.assert(
    fc.property(clusterArbitrary(), (model) => {
      const cluster = resolvePolicies(model);
      for (const { name } of model.nodes) {
        const program = compileNode(cluster, calicoIptables, { node: name });
        if (program.kind !== "tables") throw new Error("Calico programs tables");
        const rules = program.families.flatMap(({ tables }) =>
          tables.flatMap(({ chains }) => chains.flatMap((chain) => chain.rules)),
        );
        const late = rules.flatMap(({ matches }) => matches.filter((match) => match instanceof LateComment));
        expect(late.length).toBeGreaterThan(0);
        for (const { text } of late) expect(text).toMatch(/^cali:[\w-]{16}$/);
        // Written out, the program is read by verifyProgram as a whole.
        const plain: typeof program = JSON.parse(JSON.stringify(program));
        expect(JSON.stringify(plain)).not.toContain("spellings");
        expect(verifyProgram(plain)).toEqual([]);
      }
    }),
    { numRuns: runsOf(25) },
  );
});
