/**
 * docs/adding-a-strategy.md, followed: its strategy in the registry, in this file alone, and everything that the page
 * promises for it.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { strategyNamed } from "../../compiler/strategies/registry.ts";
import { clusterArbitrary } from "../../verify/fuzz/cluster.ts";
import { concerns, packetArbitrary } from "../../verify/fuzz/packet.ts";
import { judgeCluster } from "../../verify/kernel/campaign.ts";
import { chainwalk } from "../cli/commandLine.ts";
import { compareWithReference } from "../conformance/strategyKit.ts";
import { runsOf, sampled } from "../extent.ts";
import { hasKernel } from "../kernel/kernel.ts";
import { flat } from "./toyStrategy.ts";

vi.mock(import("../../compiler/strategies/registry.ts"), async (importOriginal) => {
  const { STRATEGIES } = await importOriginal();
  const { flat: added } = await import("./toyStrategy.ts");
  const all = [...STRATEGIES, added];
  return { STRATEGIES: all, strategyNamed: (name: string) => all.find((one) => one.name === name) };
});

const PAGE = readFileSync(join(import.meta.dirname, "..", "..", "docs", "adding-a-strategy.md"), "utf8");

function blocks(language: string): readonly string[] {
  return [...PAGE.matchAll(new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\`$`, "gm"))].map(([, text = ""]) => text);
}

describe("docs/adding-a-strategy.md", () => {
  it("shows the whole strategy, as it is tested here", () => {
    const ours = readFileSync(join(import.meta.dirname, "toyStrategy.ts"), "utf8")
      .replaceAll('"../../compiler/strategies/', '"./')
      .replaceAll('"../../compiler/', '"../')
      .replaceAll('"../../dataplane/', '"../../dataplane/');
    expect(blocks("ts")[0]).toBe(ours);
  });

  const commands = blocks("sh").flatMap((text) => text.split("\n").filter((line) => line.startsWith("chainwalk ")));

  it("shows the verbs it promises", () => {
    const verbs = commands.map((line) => line.split(" ")[1]);
    expect(verbs).toEqual(expect.arrayContaining(["trace", "matrix", "compile", "compare", "verify", "test"]));
  });

  it.each(sampled(commands, 4))("%s", async (command) => {
    const { code, out, err } = await chainwalk(command.replace(/^chainwalk /, ""));
    expect(err).not.toMatch(/error/);
    expect(out).not.toBe("");
    expect(out).not.toContain("no declared deviation");
    // Findings: compare sets it beside kube-router, which deviates.
    expect([0, command.startsWith("chainwalk compare") ? 1 : 0]).toContain(code);
  });
});

describe("the strategy of the page", () => {
  it("is found by its name", () => {
    expect(strategyNamed("flat")).toBe(flat);
  });

  it("is proved over every first packet", async () => {
    for (const scenario of ["db-policy", "end-port", "and-or-peers", "dual-stack", "sctp-only"]) {
      const { out } = await chainwalk(`verify -f scenarios/${scenario} -s flat -o json`);
      const [proof] = JSON.parse(out);
      expect({ scenario, ...proof }).toMatchObject({ strategy: "flat", coverage: 1, differences: [], deviations: {} });
      expect(proof.tuples).toBeGreaterThan(50);
    }
  });

  it.runIf(hasKernel("judge"))("is walked as the kernel walks it", { timeout: 60_000 }, async () => {
    const model = fc
      .sample(clusterArbitrary(), { numRuns: 100, seed: 1 })
      .find(({ policies, endpoints }) => policies.length > 2 && endpoints.length > 4);
    if (model === undefined) throw new Error("no cluster with policies was drawn");
    const campaign = { variant: "legacy", walks: true, packets: 1000, seed: 1 } as const;
    const { packets, differences } = await judgeCluster({ model, strategy: flat }, campaign);
    expect(packets).toBeGreaterThan(500);
    expect(differences).toEqual([]);
  });

  it("conforms over random clusters and packets", () => {
    let pushed = 0;
    const runs = runsOf(200);
    fc.assert(
      fc.property(
        clusterArbitrary(),
        fc.array(packetArbitrary, { minLength: 30, maxLength: 60, size: "max" }),
        (model, packets) => {
          const asked = packets.filter((packet) => concerns(model, packet));
          const { disagreements, packetCount } = compareWithReference(flat, model, asked);
          pushed += packetCount;
          expect(disagreements).toEqual([]);
        },
      ),
      { numRuns: runs },
    );
    expect(pushed).toBeGreaterThan(10 * runs);
  });
});
