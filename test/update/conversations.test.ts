/** Model-based histories: packets of conversations, policies that change, addresses that get other pods, time that passes. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { STRATEGIES } from "../../compiler/strategies/registry.ts";
import type { Program, TableProgram } from "../../dataplane/program.ts";
import { subjectOf } from "../../verify/kernel/judge.ts";
import { KernelNode } from "../../verify/kernel/node.ts";
import { isWhole, runsOf } from "../extent.ts";
import { LIST_ENTRIES, readEntries } from "../kernel/connectionKernel.ts";
import { hasKernel } from "../kernel/kernel.ts";
import {
  commandsArbitrary,
  compareTables,
  Flows,
  startArbitrary,
  subjectOn,
  TrackedConnections,
  witnessOf,
} from "./conversations.ts";

const CHAINED = STRATEGIES.filter(({ name }) => name !== "cilium-ebpf" && name !== "bpf-hash");

const OUTCOMES = ["new passes", "new does not", "established passes", "related passes"];

describe.each(STRATEGIES)("$name", (strategy) => {
  it("does with the packets of conversations what the plain model of connections and the API text say", async () => {
    const connections = () => (CHAINED.includes(strategy) ? new TrackedConnections() : new Flows());
    const tally = new Map<string, number>();
    await fc.assert(
      fc.asyncProperty(startArbitrary, commandsArbitrary("passes"), async (model, commands) => {
        const witness = witnessOf(model, tally, connections());
        const subject = subjectOn(strategy, model);
        await fc.asyncModelRun(() => ({ model: witness, real: subject }), commands);
        compareTables(witness, subject);
      }),
      // Errors about what maps let pass are few: theirs find a flow by the two ends alone.
      { numRuns: runsOf(CHAINED.includes(strategy) ? 16 : 32) },
    );
    for (const outcome of OUTCOMES)
      expect(tally.get(outcome), outcome).toBeGreaterThan(isWhole && outcome !== "related passes" ? 3 : 0);
  });
});

function tables(program: Program): TableProgram {
  if (program.kind !== "tables") throw new Error("no tables");
  return program;
}

describe.runIf(hasKernel("bridge")).each(CHAINED)("$name in the kernel", (strategy) => {
  it("does what it does here, and keeps the same connections", { timeout: 120_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(startArbitrary, commandsArbitrary("stands"), async (model, commands) => {
        const witness = witnessOf(model, new Map(), new TrackedConnections());
        const subject = subjectOn(strategy, model);
        const first = tables(subject.program);
        const node = await KernelNode.start(first.attachment, { variant: "legacy", walks: false, timeouts: "endless" });
        try {
          await node.load(subjectOf(first).text, first);
          const kernel = {
            push: async (packet: Parameters<typeof node.push>[0][number]) => {
              const [result] = await node.push([packet]);
              if (result === undefined) throw new Error("the kernel did not answer");
              return result.verdict;
            },
            load: (program: Program) => node.load(subjectOf(tables(program)).text, tables(program), "kept"),
            entries: () => readEntries(node.run(LIST_ENTRIES)),
          };
          await fc.asyncModelRun(() => ({ model: witness, real: { ...subject, kernel } }), commands);
          compareTables(witness, { ...subject, kernel });
        } finally {
          await node.close();
        }
      }),
      { numRuns: isWhole ? 2 : 1 },
    );
  });
});
