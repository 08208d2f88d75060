/** Every bundled scenario, under the reference and under every strategy. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { loadObjects, resolvePolicies } from "../../compiler/compile.ts";
import { parseManifests } from "../../compiler/manifest/objects.ts";
import { STRATEGIES } from "../../compiler/strategies/registry.ts";
import { type Lane, REFERENCE, referenceLane, strategyLane } from "../../verify/lane.ts";
import { absence, parseScenario, type Scenario } from "../../verify/scenario.ts";
import { scenarioJsonSchema } from "../../verify/scenarioJsonSchema.ts";
import { runScenario } from "../../verify/scenarioRun.ts";

const FOLDER = join(import.meta.dirname, "..", "..", "scenarios");
const NAMES = readdirSync(FOLDER, { withFileTypes: true })
  // A recording has a cluster and traffic, and nothing to expect.
  .filter((entry) => entry.isDirectory() && existsSync(join(FOLDER, entry.name, "scenario.yaml")))
  .map(({ name }) => name)
  .sort();
const ANSWERERS = [REFERENCE, ...STRATEGIES.map(({ name }) => name)];

interface Bundled {
  readonly name: string;
  readonly scenario: Scenario;
  readonly objects: ReturnType<typeof parseManifests>["objects"];
  readonly cluster: ReturnType<typeof resolvePolicies>;
}

function bundled(name: string): Bundled {
  const file = (part: string) => ({
    name: `scenarios/${name}/${part}`,
    text: readFileSync(join(FOLDER, name, part), "utf8"),
  });
  const { scenario, issues } = parseScenario(file("scenario.yaml"), ANSWERERS);
  const parsed = parseManifests([file("cluster.yaml")]);
  const { model, issues: clusterIssues } = loadObjects(parsed);
  if (scenario === undefined || model === undefined) {
    throw new Error([...issues, ...clusterIssues].map(({ message }) => message).join("; "));
  }
  return { name, scenario, objects: parsed.objects, cluster: resolvePolicies(model) };
}

const SCENARIOS = NAMES.map(bundled);

function laneOf(name: string, { cluster }: Bundled): Lane {
  const strategy = STRATEGIES.find((candidate) => candidate.name === name);
  return strategy === undefined ? referenceLane(cluster) : strategyLane(cluster, strategy, {});
}

/** What was not as expected, and how many expectations there were. */
function run(one: Bundled, answerer: string): { readonly failures: readonly string[]; readonly held: number } {
  const failures: string[] = [];
  let held = 0;
  const { scenario, objects, cluster } = one;
  for (const event of runScenario({ scenario, objects, cluster, lane: laneOf(answerer, one) })) {
    if (event.kind === "invalid") failures.push(...event.issues.map(({ message }) => message));
    if (event.kind !== "packet") continue;
    failures.push(...event.outcome.failures.map((failure) => `step ${event.step.number}: ${failure}`));
    held++;
  }
  return { failures, held };
}

describe.each(ANSWERERS)("under %s", (answerer) => {
  it.each(SCENARIOS)("$name holds", (one) => {
    expect(run(one, answerer).failures).toEqual([]);
  });

  it("dozens of expectations are held against packets", () => {
    const steps = SCENARIOS.flatMap(({ scenario }) =>
      scenario.steps.filter((step) => (absence(scenario, answerer) ?? absence(step, answerer)) === undefined),
    );
    expect(steps.filter(({ kind }) => kind === "packet").length).toBeGreaterThan(40);
  });
});

describe("the bundled scenarios", () => {
  it("db-policy is walked packet by packet under every strategy", () => {
    const story = SCENARIOS.find(({ name }) => name === "db-policy");
    if (story === undefined) throw new Error("db-policy is missing");
    for (const answerer of ANSWERERS) expect(run(story, answerer).held).toBe(31);
  });

  it("every scenario means something under at least one strategy or the reference", () => {
    const idle = SCENARIOS.filter(({ scenario }) => ANSWERERS.every((name) => absence(scenario, name) !== undefined));
    expect(idle.map(({ name }) => name)).toEqual([]);
  });

  it("every step exists for somebody", () => {
    const dead = SCENARIOS.flatMap(({ name, scenario }) =>
      scenario.steps
        .filter((step) =>
          ANSWERERS.every((answerer) => (absence(scenario, answerer) ?? absence(step, answerer)) !== undefined),
        )
        .map(({ number }) => `${name} step ${number}`),
    );
    expect(dead).toEqual([]);
  });

  it("the scenario that each deviation and lapse names exists", () => {
    const named = STRATEGIES.flatMap(({ deviations, lapses }) =>
      [...deviations, ...lapses].map(({ scenario }) => scenario),
    );
    expect(named.filter((name) => !NAMES.includes(name))).toEqual([]);
  });
});

describe("the published schema", () => {
  it("is what the parser checks: `npm run schema` writes it", () => {
    const published: unknown = JSON.parse(readFileSync(join(FOLDER, "scenario.schema.json"), "utf8"));
    expect(published).toEqual(JSON.parse(JSON.stringify(scenarioJsonSchema())));
  });
});
