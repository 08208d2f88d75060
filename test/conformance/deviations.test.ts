import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { loadObjects } from "../../compiler/compile.ts";
import { formatIssue } from "../../compiler/issue.ts";
import { parseManifests } from "../../compiler/manifest/objects.ts";
import { resolvePolicies } from "../../compiler/resolve.ts";
import { STRATEGIES } from "../../compiler/strategies/registry.ts";
import type { Strategy } from "../../compiler/strategies/strategy.ts";
import { evaluate } from "../../reference/evaluate.ts";
import { REFERENCE, strategyLane } from "../../verify/lane.ts";
import { parseScenario } from "../../verify/scenario.ts";
import { type PacketOutcome, runScenario } from "../../verify/scenarioRun.ts";

const SCENARIOS = join(import.meta.dirname, "..", "..", "scenarios");

/** What became of the packets of a bundled scenario under the strategy, each with empty connection tracking. */
function outcomesOf(strategy: Strategy, name: string): readonly PacketOutcome[] {
  const file = (base: string) => ({ name: base, text: readFileSync(join(SCENARIOS, name, base), "utf8") });
  const names = [REFERENCE, ...STRATEGIES.map((one) => one.name)];
  const { scenario, issues } = parseScenario(file("scenario.yaml"), names);
  const parsed = parseManifests([file("cluster.yaml")]);
  const { model } = loadObjects(parsed);
  if (scenario === undefined || model === undefined) throw new Error(issues.map(formatIssue).join("\n"));
  const cluster = resolvePolicies(model);
  const lane = strategyLane(cluster, strategy, {});
  return [...runScenario({ scenario, objects: parsed.objects, cluster, lane, fresh: true })].flatMap((event) =>
    event.kind === "packet" ? [event.outcome] : [],
  );
}

const declared = STRATEGIES.flatMap((strategy) =>
  strategy.deviations.map((deviation) => [strategy.name, deviation.name, strategy, deviation] as const),
);

test.each(declared)(
  "%s: %s bites in its scenario, and the program does as it says",
  (_strategy, _name, strategy, deviation) => {
    const bites = outcomesOf(strategy, deviation.scenario).filter(({ cluster, packet }) => {
      const meant = evaluate(cluster.model, packet).verdict === "accept" ? "accept" : strategy.denyVerdict;
      const given = deviation.verdict(cluster, packet);
      return given !== undefined && given !== meant;
    });
    expect(bites.length).toBeGreaterThan(0);
    for (const { cluster, packet, answer } of bites) {
      // Of several deviations that answer, the first wins.
      const given = strategy.deviations
        .map((one) => one.verdict(cluster, packet))
        .find((verdict) => verdict !== undefined);
      expect(answer.verdict).toBe(given);
    }
  },
);
