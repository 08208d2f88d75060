/** Random clusters under every strategy: what we say of a packet is what the kernel does with it. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { ClusterModel } from "../../compiler/model.ts";
import { STRATEGIES } from "../../compiler/strategies/registry.ts";
import type { Strategy } from "../../compiler/strategies/strategy.ts";
import { clusterArbitrary } from "../../verify/fuzz/cluster.ts";
import {
  addReports,
  type ClusterCase,
  EMPTY_REPORT,
  judgesAhead,
  programsOf,
  runCampaign,
  shrinkCluster,
} from "../../verify/kernel/campaign.ts";
import type { JudgeReport } from "../../verify/kernel/comparison.ts";
import { type JudgeOptions, KernelJudge, subjectOf } from "../../verify/kernel/judge.ts";
import { sampled } from "../extent.ts";
import { packetsOf, SEED } from "./budget.ts";
import { hasKernel } from "./kernel.ts";
import { clusterFinding } from "./report.ts";

/** Enough to meet each rule of two small nodes several times; more clusters tell more than more packets. */
const PACKETS_PER_CLUSTER = 5000;

/** Clusters without a policy or a pod load in no time and tell nothing. */
const interesting = clusterArbitrary().filter(
  ({ policies, endpoints }) => policies.length > 0 && endpoints.filter(({ hostNetwork }) => !hostNetwork).length > 1,
);

async function judgeRandomClusters(strategy: Strategy, options: JudgeOptions, packets: number): Promise<JudgeReport> {
  let report = EMPTY_REPORT;
  const perCluster = Math.min(PACKETS_PER_CLUSTER, Math.ceil(packets / 3));
  const drawn = Math.ceil(packets / perCluster) * 2;
  const models = fc.sample(interesting, { numRuns: drawn, seed: SEED });
  const start = (model: ClusterModel) => KernelJudge.start(programsOf({ model, strategy }).map(subjectOf), options);
  for await (const [model, judge] of judgesAhead(models, start)) {
    const subject: ClusterCase = { model, strategy };
    const campaign = { ...options, packets: perCluster, seed: SEED + report.packets };
    const found = await runCampaign(judge, programsOf(subject), campaign);
    const [difference] = found.differences;
    if (difference !== undefined) {
      const finding = await shrinkCluster(subject, difference, campaign);
      throw new Error(clusterFinding(finding, "test/kernel/strategies.test.ts"));
    }
    report = addReports(report, found);
    if (report.packets >= packets) return report;
  }
  throw new Error(`${drawn} clusters were too few for ${packets} packets`);
}

/** Strategies that lower to chains; what eBPF maps do is judged elsewhere. */
const chained = STRATEGIES.filter((strategy) =>
  fc.sample(interesting, { numRuns: 1, seed: SEED }).every((model) => programsOf({ model, strategy }).length > 0),
);

const named = (strategies: readonly Strategy[]) => strategies.map((strategy) => [strategy.name, strategy] as const);

describe.runIf(hasKernel("bridge"))("random clusters", () => {
  const share = (part: Parameters<typeof packetsOf>[0]) => Math.ceil(packetsOf(part) / chained.length);

  it.each(named(chained))("under %s have the kernel's verdicts", { timeout: 240_000 }, async (_, strategy) => {
    const packets = share("strategies legacy");
    const report = await judgeRandomClusters(strategy, { variant: "legacy", walks: false }, packets);
    expect(report.packets).toBeGreaterThanOrEqual(packets);
    expect(report.unknown).toBe(0);
    expect(report.verdicts.accept).toBeGreaterThan(packets / 10);
    expect(report.verdicts.drop + report.verdicts.reject).toBeGreaterThan(packets / 25);
  });

  it.each(named(sampled(chained, 1)))(
    "under %s are walked by the rules that the kernel matches",
    { timeout: 240_000 },
    async (_, strategy) => {
      const packets = share("strategies legacy walks");
      const report = await judgeRandomClusters(strategy, { variant: "legacy", walks: true }, packets);
      expect(report.walks).toBeGreaterThanOrEqual(packets);
    },
  );

  it.runIf(hasKernel("nft-variant")).each(named(sampled(chained, 1)))(
    "under %s have the verdicts of the kernel with the nft tools",
    { timeout: 240_000 },
    async (_, strategy) => {
      const packets = share("strategies nft");
      const report = await judgeRandomClusters(strategy, { variant: "nft", walks: false }, packets);
      expect(report.packets).toBeGreaterThanOrEqual(packets);
    },
  );
});
