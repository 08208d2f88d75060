import { describe, expect, it } from "vitest";
import { calicoIptables } from "../../compiler/strategies/calico-iptables.ts";
import { kubeRouter } from "../../compiler/strategies/kube-router.ts";
import { STRATEGIES } from "../../compiler/strategies/registry.ts";
import type { Strategy } from "../../compiler/strategies/strategy.ts";
import { controllerOf } from "../../compiler/update/controller.ts";
import { retryCase } from "../../verify/fuzz/campaign.ts";
import { FreshCourt } from "../../verify/fuzz/contest.ts";
import { ClusterCorpus } from "../../verify/fuzz/corpus.ts";
import { Coverage } from "../../verify/fuzz/coverage.ts";
import { findingFiles } from "../../verify/fuzz/finding.ts";
import { HistoryTarget } from "../../verify/fuzz/historyTarget.ts";
import { minimize } from "../../verify/fuzz/minimize.ts";
import { readCase } from "../../verify/fuzz/readCase.ts";
import type { Suspect } from "../../verify/fuzz/target.ts";
import { Random } from "../../verify/kernel/random.ts";
import { isWhole } from "../extent.ts";

/** Those of the first history that has any. */
function suspectsIn(accused: readonly Strategy[], histories: number): readonly Suspect[] {
  const target = new HistoryTarget({
    random: new Random(8),
    accused,
    coverage: new Coverage(),
    corpus: new ClusterCorpus(),
  });
  for (let count = 0; count < histories; count++) {
    const found = target.step().flatMap((event) => (event.kind === "suspect" ? [event.suspect] : []));
    if (found.length > 0) return found;
  }
  return [];
}

describe("histories", () => {
  it("agree with what must become of each packet, under every strategy", () => {
    const rounds = isWhole ? 24 : 4;
    expect(suspectsIn(STRATEGIES, rounds).map(({ disagreement }) => disagreement)).toEqual([]);
  });

  it("find a plan that does not end where its controller thinks", () => {
    const careless: Strategy = {
      ...calicoIptables,
      follow: (cluster, options) => {
        const controller = controllerOf(calicoIptables, cluster, options);
        return {
          get program() {
            return controller.program;
          },
          start: () => controller.start(),
          react: (burst) => controller.react(burst).filter(({ args }) => args[0] !== "destroy"),
        };
      },
    };
    expect(suspectsIn([careless], 40).map(({ disagreement }) => disagreement.thrown)).toEqual([
      expect.stringContaining("beside what its controller takes it for"),
    ]);
  });

  it("find that connections no longer outlive their rule, and the least of it is a scenario that shows it", async () => {
    // Its controller would be that of the whole kube-router.
    const { follow: _follow, ...syncedAtOnce } = kubeRouter;
    const forgetful: Strategy = {
      ...syncedAtOnce,
      lower: (cluster, options) => {
        const program = kubeRouter.lower(cluster, options);
        if (program.kind !== "tables") return program;
        return {
          ...program,
          families: program.families.map((family) => ({
            ...family,
            tables: family.tables.map((table) => ({
              ...table,
              chains: table.chains.map((chain) => ({
                ...chain,
                rules: chain.rules.filter(
                  ({ matches, target }) =>
                    target?.kind !== "accept" ||
                    !matches.some((match) => match.kind === "ctState" && match.states.includes("established")),
                ),
              })),
            })),
          })),
        };
      },
    };
    const [suspect] = suspectsIn([forgetful], 120);
    if (suspect === undefined) throw new Error("not found");
    const { contest, disagreement } = suspect;
    expect(disagreement).toMatchObject({ expected: "accept", actual: "reject" });
    const court = new FreshCourt();
    const finding = await minimize(suspect.case, disagreement, {
      retry: (candidate) => retryCase(court, contest, candidate),
      budget: 250,
    });
    if (finding === undefined) throw new Error("the suspect does not stand");
    expect(finding.case.steps.length).toBeLessThanOrEqual(4);
    const files = findingFiles(finding);
    const read = readCase({
      cluster: { name: "cluster.yaml", text: files["cluster.yaml"] ?? "" },
      scenario: { name: "scenario.yaml", text: files["scenario.yaml"] ?? "" },
    });
    if (read.case === undefined) throw new Error(read.issues.map(({ message }) => message).join());
    expect(await retryCase(court, contest, read.case)).toMatchObject({ expected: "accept", actual: "reject" });
  });
});
