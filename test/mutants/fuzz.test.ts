/**
 * Whether the fuzzer would notice. `npm run docs:mutants` plants every bug and writes the tables of docs/verification.md; what
 * the fuzzer does not find is the kernel judge's (kernelNotes.ts). Every run plants some of the historic bugs, a whole one all.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, test } from "vitest";
import { STRATEGIES, strategyNamed } from "../../compiler/strategies/registry.ts";
import type { Strategy } from "../../compiler/strategies/strategy.ts";
import { isWhole, sampled } from "../extent.ts";
import { HISTORIC_BUGS } from "./historicBugs.ts";
import { CONVERSATIONS, hunt } from "./hunt.ts";
import { CONNTRACK_MUTANTS, EVALUATOR_MUTANTS, RENDERER_MUTANTS, STRATEGY_MUTANTS } from "./kernelMutants.ts";
import { noteOf } from "./kernelNotes.ts";
import { type MutantLoader, startMutantLoader } from "./mutantLoader.ts";
import { foundIn, PLANTED } from "./proofTable.ts";

const FILE = join(import.meta.dirname, "..", "..", "docs", "verification.md");
/** Bugs in what one strategy is told or emits, and mistakes in our source. */
type Part = "emitted" | "source";

const begin = (part: Part) => `<!-- fuzzed bugs, ${part}: written by npm run docs:mutants -->\n\n`;
const END = "\n\n<!-- end of fuzzed bugs -->";

/** Clusters for one bug: a second or two of one core. */
const BUDGET = 200;

function page(): string {
  return readFileSync(FILE, "utf8");
}

const SOURCES = [
  ...EVALUATOR_MUTANTS.map((mutant) => ({ group: "walk and sets" as const, mutant })),
  ...RENDERER_MUTANTS.map((mutant) => ({ group: "renderer" as const, mutant })),
  ...STRATEGY_MUTANTS.map((mutant) => ({ group: "strategy" as const, mutant })),
  ...CONNTRACK_MUTANTS.map((mutant) => ({ group: "connection tracking" as const, mutant })),
];

describe.runIf(process.env.PLANT_ALL === "1")("plant all", () => {
  test("that is emitted", { timeout: 3_600_000 }, () => {
    const table = new Table("emitted");
    for (const { issue, name, strategy, plant } of HISTORIC_BUGS) {
      table.row(`${strategy}, ${issue}`, name, "clusters", huntOne(strategy, plant));
    }
    for (const bug of PLANTED) {
      const [strategy] = foundIn(page(), bug);
      if (strategy === undefined) continue;
      table.row(`${bug.group}, ${strategy.name}`, bug.name, "clusters", huntOne(strategy.name, bug.plant));
    }
  });

  test("in the source", { timeout: 3_600_000 }, async () => {
    const table = new Table("source");
    const loader = await startMutantLoader();
    for (const { group, mutant } of SOURCES) {
      const { huntMistake } = await loader.load(mutant, "test/mutants/hunt.ts");
      const found = huntMistake(group);
      const note = found === undefined ? noteOf(mutant) : undefined;
      if (note === undefined) table.row(group, mutant.name, found?.how ?? "", found?.count);
      else table.row(group, mutant.name, `kernel judge, ${note.unit}`, note.count);
    }
    await loader.close();
  });
});

function huntOne(name: string, plant: (strategy: Strategy) => Strategy): number | undefined {
  const accused = strategyNamed(name);
  if (accused === undefined) throw new Error(`no strategy ${name}`);
  return hunt({ accused: [plant(accused)], what: "clusters", budget: BUDGET });
}

/** Written row by row, so that a run that is ended leaves what it has, and of the others what was there. */
class Table {
  readonly #part: Part;
  readonly #lines = ["| in | bug | found by | after |", "|---|---|---|---|"];
  readonly #before: readonly string[];

  constructor(part: Part) {
    this.#part = part;
    this.#before = rowsOf(part);
  }

  row(group: string, name: string, how: string, count: number | undefined): void {
    this.#lines.push(`| ${group} | ${name} | ${count === undefined ? "" : how} | ${count ?? ""} |`);
    const left = this.#before.slice(this.#lines.length - HEAD_LINES);
    const [before = "", rest = ""] = page().split(begin(this.#part));
    const after = rest.slice(rest.indexOf(END));
    writeFileSync(FILE, `${before}${begin(this.#part)}${[...this.#lines, ...left].join("\n")}${after}`);
  }
}

/** Names of columns, and the line below. */
const HEAD_LINES = 2;

function rowsOf(part: Part): readonly string[] {
  return (page().split(begin(part))[1]?.split(END)[0] ?? "").split("\n").slice(HEAD_LINES);
}

describe("the fuzzer finds bugs that real solutions had:", () => {
  it.each(sampled(HISTORIC_BUGS, 2))("$issue, $name", ({ strategy, plant }) => {
    expect(huntOne(strategy, plant)).toBeDefined();
  });
});

describe("the fuzzer finds mistakes in connection tracking:", () => {
  let loader: MutantLoader;

  beforeAll(async () => {
    loader = await startMutantLoader();
  });

  afterAll(async () => {
    await loader.close();
  });

  it.each(sampled(CONNTRACK_MUTANTS, 1))("$name", async (mutant) => {
    const { huntConnections } = await loader.load(mutant, "test/mutants/hunt.ts");
    expect(huntConnections(CONVERSATIONS)).toBeDefined();
  });
});

describe("the fuzzer finds nothing", () => {
  it("where nothing is planted", () => {
    expect(hunt({ accused: STRATEGIES, what: "clusters", budget: isWhole ? 10 : 3 })).toBeUndefined();
  });
});

describe("docs/verification.md", () => {
  const rows = (["emitted", "source"] as const).flatMap(rowsOf);

  it("has a row for each bug", () => {
    const missing = [
      ...PLANTED.filter((bug) => foundIn(page(), bug).length > 0).map(({ name }) => name),
      ...HISTORIC_BUGS.map(({ name }) => name),
      ...SOURCES.map(({ mutant }) => mutant.name),
    ].filter((name) => !rows.some((row) => row.includes(` | ${name} | `)));
    expect(missing).toEqual([]);
  });

  it("says of most that the fuzzer finds them, of every kind", () => {
    const found = rows.filter((row) => /\| \d+ \|$/.test(row));
    expect(found.length).toBeGreaterThan(80);
    expect(rows.filter((row) => row.includes("not tried"))).toEqual([]);
    for (const kind of [
      "reading policies",
      "tables",
      "maps",
      "walk and sets",
      "renderer",
      "strategy",
      "connection tracking",
    ]) {
      expect(found.filter((row) => row.startsWith(`| ${kind}`)).length).toBeGreaterThan(0);
    }
  });
});
