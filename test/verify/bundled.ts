/** Clusters of the bundled scenarios, and the proof of a strategy over one. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { loadCluster, resolvePolicies } from "../../compiler/compile.ts";
import type { ResolvedCluster } from "../../compiler/resolve.ts";
import type { Strategy } from "../../compiler/strategies/strategy.ts";
import { strategyLane } from "../../verify/lane.ts";
import { type Proof, type ProofOptions, proveStrategy } from "../../verify/proof.ts";

const FOLDER = join(import.meta.dirname, "..", "..", "scenarios");

export const SCENARIOS: readonly string[] = readdirSync(FOLDER, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name)
  .sort();

export function bundledCluster(scenario: string): ResolvedCluster {
  const text = readFileSync(join(FOLDER, scenario, "cluster.yaml"), "utf8");
  const { model, issues } = loadCluster([{ name: `scenarios/${scenario}/cluster.yaml`, text }]);
  if (model === undefined) throw new Error(issues.map(({ message }) => message).join("; "));
  return resolvePolicies(model);
}

/** Some ten times what the largest bundled cluster needs. */
const LIMIT = 200_000;

export function prove(
  cluster: ResolvedCluster,
  strategy: Strategy,
  options: Partial<ProofOptions> = {},
): Promise<Proof> {
  return proveStrategy(cluster, { lane: strategyLane(cluster, strategy, {}), strategy }, { limit: LIMIT, ...options });
}
