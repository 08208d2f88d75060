/** Planted bugs × strategies: which the exhaustive check finds, over bundled clusters and a few random ones. */
import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { resolvePolicies } from "../../compiler/compile.ts";
import type { ResolvedCluster } from "../../compiler/resolve.ts";
import { STRATEGIES } from "../../compiler/strategies/registry.ts";
import type { Strategy } from "../../compiler/strategies/strategy.ts";
import { clusterArbitrary } from "../../verify/fuzz/cluster.ts";
import { bundledCluster, prove, SCENARIOS } from "../verify/bundled.ts";
import { MISREADINGS } from "./misreadings.ts";
import { MAP_MUTANTS, mutated, type ProgramMutant, TABLE_MUTANTS } from "./proofMutants.ts";

export interface PlantedBug {
  readonly name: string;
  readonly group: "reading policies" | "tables" | "maps";
  plant(strategy: Strategy): Strategy;
}

function planted(group: PlantedBug["group"]): (mutant: ProgramMutant) => PlantedBug {
  return (mutant) => ({ name: mutant.name, group, plant: (strategy) => mutated(strategy, mutant) });
}

/** The reference reads what the user wrote, the strategy what the mistake makes of it. */
const READING_BUGS = MISREADINGS.map(
  ({ name, misread }): PlantedBug => ({
    name,
    group: "reading policies",
    plant: (strategy) => ({
      ...strategy,
      lower: (cluster, options) => strategy.lower(resolvePolicies(misread(cluster.model)), options),
    }),
  }),
);

export const PLANTED: readonly PlantedBug[] = [
  ...READING_BUGS,
  ...TABLE_MUTANTS.map(planted("tables")),
  ...MAP_MUTANTS.map(planted("maps")),
];

/** The strategy that a bundled cluster is about, by its name; undefined: the API itself. */
function heroOf(scenario: string): string | undefined {
  return STRATEGIES.find(({ name }) => scenario.startsWith(name.split("-")[0] ?? name))?.name;
}

const BUNDLED = SCENARIOS.map((scenario) => ({ hero: heroOf(scenario), cluster: bundledCluster(scenario) }));

/** For what no bundled cluster has: empty labels, pods that terminate, ports of init containers. */
const RANDOM = [
  ...fc.sample(clusterArbitrary(), { numRuns: 20, seed: 1 }),
  ...fc.sample(
    clusterArbitrary().filter(
      ({ endpoints, policies }) => policies.length > 1 && endpoints.some(({ terminating }) => terminating),
    ),
    { numRuns: 10, seed: 1 },
  ),
].map(resolvePolicies);

/** Random clusters, which are small and soon proven, those about the strategy, and those about the API. */
function clustersFor({ name }: Strategy): readonly ResolvedCluster[] {
  const about = (hero: string | undefined) => BUNDLED.filter((one) => one.hero === hero).map(({ cluster }) => cluster);
  return [...RANDOM, ...about(name), ...about(undefined)];
}

/**
 * - `found`: some class of packets of some cluster tells.
 * - `refused`: the static check of programs (compiler/verify.ts) refuses what the bug emits.
 * - `equal`: programs change, but no packet's verdict, in any of the clusters.
 * - `absent`: no program changes; the strategy does not emit what the bug is about.
 */
export type Outcome = "found" | "refused" | "equal" | "absent";

export async function tryBug(bug: PlantedBug, strategy: Strategy): Promise<Outcome> {
  const wrong = bug.plant(strategy);
  let outcome: Outcome = "absent";
  for (const cluster of clustersFor(strategy)) {
    const changes = cluster.model.nodes.some(
      ({ name }) => !isDeepStrictEqual(wrong.lower(cluster, { node: name }), strategy.lower(cluster, { node: name })),
    );
    if (!changes) continue;
    if (outcome === "absent") outcome = "equal";
    try {
      const { differences } = await prove(cluster, wrong, { mostDifferences: 1 });
      if (differences.length > 0) return "found";
    } catch (error) {
      if (!(error instanceof Error) || !error.message.includes("emitted an illegal program")) throw error;
      outcome = "refused";
    }
  }
  return outcome;
}

const CELL: Readonly<Record<Outcome, string>> = { found: "found", refused: "refused", equal: "equal", absent: "" };

/** The whole table in Markdown; a minute's work. */
export async function bugTable(): Promise<string> {
  const names = STRATEGIES.map(({ name }) => name);
  const lines = [`| in | bug | ${names.join(" | ")} |`, `|---|---|${names.map(() => "---|").join("")}`];
  for (const bug of PLANTED) {
    const cells: string[] = [];
    for (const strategy of STRATEGIES) cells.push(CELL[await tryBug(bug, strategy)]);
    lines.push(`| ${bug.group} | ${bug.name} | ${cells.join(" | ")} |`);
  }
  return lines.join("\n");
}

/** The strategies under which the table in the page says that the bug is found. */
export function foundIn(page: string, { group, name }: PlantedBug): readonly Strategy[] {
  const line = page.split("\n").find((one) => one.startsWith(`| ${group} | ${name} |`));
  const cells = line?.split("|").slice(3, -1) ?? [];
  return STRATEGIES.filter((_, index) => cells[index]?.trim() === CELL.found);
}
