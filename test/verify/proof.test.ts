import { describe, expect, it, test } from "vitest";
import { compileNode } from "../../compiler/compile.ts";
import { calicoIptables } from "../../compiler/strategies/calico-iptables.ts";
import { kubeRouter } from "../../compiler/strategies/kube-router.ts";
import { STRATEGIES } from "../../compiler/strategies/registry.ts";
import type { Strategy } from "../../compiler/strategies/strategy.ts";
import type { Rule } from "../../dataplane/program.ts";
import { importedLane, strategyLane } from "../../verify/lane.ts";
import { comparePrograms } from "../../verify/proof.ts";
import { sampled } from "../extent.ts";
import { mutated, rules } from "../mutants/proofMutants.ts";
import { bundledCluster, prove } from "./bundled.ts";

const declared = STRATEGIES.flatMap((strategy) =>
  strategy.deviations.map((deviation) => ({ strategy, deviation, name: `${strategy.name}: ${deviation.name}` })),
);

describe("what running the real solutions uncovered is found by somebody who was not told", () => {
  test.each(sampled(declared, 8))("$name", async ({ strategy, deviation }) => {
    const cluster = bundledCluster(deviation.scenario);
    const ignorant = { ...strategy, deviations: [] };
    const { differences } = await prove(cluster, ignorant);
    expect(differences.length).toBeGreaterThan(0);
    for (const { packet, expected, actual } of differences) {
      // Each is one that some declared deviation knows about.
      const known = strategy.deviations.map((one) => one.verdict(cluster, packet)).find((one) => one !== undefined);
      expect(known).toBe(actual);
      expect(actual).not.toBe(expected);
    }
    // And this one among them.
    const { deviations } = await prove(cluster, strategy);
    expect(Object.keys(deviations)).toContain(deviation.name);
  });
});

describe("a deviation that reads more of a port than policies and programs do", () => {
  it("ends the proof, and is named", async () => {
    const gullible: Strategy = {
      ...kubeRouter,
      deviations: [
        ...kubeRouter.deviations,
        {
          name: "odd-ports",
          summary: "",
          source: "nowhere",
          scenario: "db-policy",
          verdict: (_, { destinationPort }) => (destinationPort % 2 === 1 ? "drop" : undefined),
        },
      ],
    };
    await expect(prove(bundledCluster("kube-router-named-ports-share-addresses"), gullible)).rejects.toThrow(
      /deviation odd-ports of kube-router tells ports \d+ and \d+ apart/,
    );
  });
});

describe("what only a deviation reads", () => {
  it("is asked about where the program forgot it", async () => {
    const isTunnelRule = ({ matches }: Rule) =>
      matches.some((match) => match.kind === "ports" && match.ranges.some(({ first }) => first === 4789));
    const forgetful = mutated(
      calicoIptables,
      rules("VXLAN of pods passes", (rule) => (isTunnelRule(rule) ? undefined : rule)),
    );
    const { differences } = await prove(bundledCluster("absent-keys"), forgetful);
    expect(differences.flatMap(({ boxes }) => boxes).filter((box) => !box.endsWith(", udp/4789"))).toEqual([]);
    expect(differences).not.toEqual([]);
  });
});

describe("a difference", () => {
  it("is shown as boxes of pods, blocks and services", async () => {
    const { differences } = await prove(bundledCluster("kube-router-except-hides-sibling-blocks"), {
      ...kubeRouter,
      deviations: kubeRouter.deviations.filter(({ name }) => name !== "except-hides-sibling-blocks"),
    });
    expect(differences.length).toBeGreaterThan(0);
    for (const { boxes, because } of differences) {
      expect(because.length).toBeGreaterThan(0);
      for (const box of boxes) expect(box).toMatch(/^from .+ to .+, .+$/);
    }
  });
});

describe("two strategies against each other", () => {
  it("part once for each cause: what has one verdict and one cause is one difference of maximal boxes", async () => {
    const cluster = bundledCluster("absent-keys");
    const [one, other] = [kubeRouter, calicoIptables].map((strategy) => strategyLane(cluster, strategy, {}));
    if (one === undefined || other === undefined) throw new Error("no lanes");
    const { differences } = await comparePrograms(cluster, [one, other], { limit: 1e6 });
    const pings = differences.filter(
      ({ packet, boxes }) => packet.icmpType === 8 && /^from everywhere/.test(boxes[0] ?? ""),
    );
    // Wherever outside it comes from, and however the classes of its source are called.
    for (const { boxes } of pings) {
      expect(boxes).toEqual([expect.stringMatching(/^from everywhere else to shop\/[\w-]+, icmp type 8$/)]);
    }
    expect(pings.length).toBe(3);
    expect(differences.length).toBeLessThan(30);
  });
});

describe("an imported node against the compiled one", () => {
  const cluster = bundledCluster("db-policy");
  const [node] = cluster.model.nodes;
  if (node === undefined) throw new Error("no node");
  const program = compileNode(cluster, kubeRouter, { node: node.name });
  const compiled = importedLane(program, kubeRouter, {});

  it("is equal to itself", async () => {
    const { differences } = await comparePrograms(cluster, [importedLane(program, kubeRouter, {}), compiled], {
      limit: 1e6,
    });
    expect(differences).toEqual([]);
  });

  it("differs when a rule is missing", async () => {
    if (program.kind !== "tables") throw new Error("no tables");
    const poorer = {
      ...program,
      families: program.families.map((family) => ({
        ...family,
        tables: family.tables.map((table) => ({
          ...table,
          chains: table.chains.map((chain) => ({
            ...chain,
            rules: chain.rules.filter(({ target }) => target?.kind !== "reject"),
          })),
        })),
      })),
    };
    const lanes = [importedLane(poorer, kubeRouter, {}), compiled] as const;
    const { differences } = await comparePrograms(cluster, lanes, { limit: 1e6 });
    expect(differences.length).toBeGreaterThan(0);
    for (const { expected, actual } of differences) expect([expected, actual]).toEqual(["reject", "accept"]);
  });
});
