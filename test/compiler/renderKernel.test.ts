/** The text we print, loaded by the kernel's own tools and printed by them again. Root and the tools are needed. */
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { compileNode } from "../../compiler/compile.ts";
import { renderIpsetSave } from "../../compiler/render/ipsetSave.ts";
import { renderIptablesSave } from "../../compiler/render/iptablesSave.ts";
import { resolvePolicies } from "../../compiler/resolve.ts";
import { kubeRouter } from "../../compiler/strategies/kube-router.ts";
import type { TableProgram } from "../../dataplane/program.ts";
import { KernelNode } from "../../verify/kernel/node.ts";
import { ATTACHMENT, programArbitrary } from "../arbitraries/program.ts";
import { runsOf } from "../extent.ts";
import { hasKernel } from "../kernel/kernel.ts";
import { chainLines, parseChains, parseSets, setLines } from "../realDumps/normalise.ts";
import { hostileClusterArbitrary } from "./hostileClusters.ts";

const NO_NAMES = new Map<string, string>();

/** Comparable lines of the tables that the program has: a node may hold others, which are empty. */
function familyLines(text: string, tables: ReadonlySet<string>): readonly string[] {
  const chains = new Map([...parseChains(text)].filter(([, { table }]) => tables.has(table)));
  return chainLines(chains, NO_NAMES);
}

describe.runIf(hasKernel("judge"))("what a kernel prints after it has loaded our text", () => {
  let node: KernelNode | undefined;
  beforeAll(async () => {
    node = await KernelNode.start(ATTACHMENT, { variant: "legacy", walks: false });
  });
  afterAll(() => node?.close());

  async function expectSameText(program: TableProgram): Promise<void> {
    const sets = renderIpsetSave(program);
    const [ipv4, ipv6] = [renderIptablesSave(program, 4), renderIptablesSave(program, 6)];
    await node?.load({ sets, ipv4, ipv6 }, program);
    const saved = node?.save() ?? { sets: "", ipv4: "", ipv6: "" };
    for (const { family, tables } of program.families) {
      const names = new Set(tables.map(({ name }) => name));
      const [ours, theirs] = family === 4 ? [ipv4, saved.ipv4] : [ipv6, saved.ipv6];
      expect(familyLines(theirs, names)).toEqual(familyLines(ours, names));
    }
    expect(setLines(parseSets(saved.sets), NO_NAMES)).toEqual(setLines(parseSets(sets), NO_NAMES));
  }

  it("is our text, whatever the instruction set can say", async () => {
    await fc.assert(fc.asyncProperty(programArbitrary(), expectSameText), { numRuns: runsOf(30) });
  });

  it("is our text when every name of the cluster is an attack", async () => {
    await fc.assert(
      fc.asyncProperty(hostileClusterArbitrary, async (model) => {
        const program = compileNode(resolvePolicies(model), kubeRouter, { node: "node-a" });
        if (program.kind === "tables") await expectSameText(program);
      }),
      { numRuns: runsOf(15) },
    );
  });
});
