/**
 * Whether the exhaustive check would notice. Planting every bug in every strategy, for the exhaustive check, then for the kernel
 * judge, then for the fuzzer, takes some minutes and is done by
 *
 *     npm run docs:mutants
 *
 * which writes the tables of docs/verification.md. Every run plants each bug in one strategy, for which the table says
 * that it is found.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, test } from "vitest";
import { sampled } from "../extent.ts";
import { bugTable, foundIn, PLANTED, tryBug } from "./proofTable.ts";

const FILE = join(import.meta.dirname, "..", "..", "docs", "verification.md");
const BEGIN = "<!-- planted bugs: written by npm run docs:mutants -->\n\n";
const END = "\n\n<!-- end of planted bugs -->";

function page(): string {
  return readFileSync(FILE, "utf8");
}

if (process.env.PLANT_ALL === "1") {
  test("plant all", { timeout: 3_600_000 }, async () => {
    const table = await bugTable();
    const [before = "", rest = ""] = page().split(BEGIN);
    const [, after = ""] = rest.split(END);
    writeFileSync(FILE, `${before}${BEGIN}${table}${END}${after}`);
  });
}

describe("the exhaustive check", () => {
  it("has at least forty bugs to find, with names of their own", () => {
    expect(PLANTED.length).toBeGreaterThanOrEqual(40);
    expect(new Set(PLANTED.map(({ group, name }) => `${group} ${name}`)).size).toBe(PLANTED.length);
  });

  it.each(sampled(PLANTED, 8))("finds, in $group: $name", async (bug) => {
    const [strategy] = foundIn(page(), bug);
    if (strategy === undefined) throw new Error("docs/verification.md has no strategy under which this is found");
    expect(await tryBug(bug, strategy)).toBe("found");
  });
});

test("docs/verification.md has a row for each planted bug, and for nothing else", () => {
  const rows = page().split(BEGIN)[1]?.split(END)[0]?.split("\n").slice(2) ?? [];
  expect(rows.map((row) => row.split(" | ").slice(0, 2).join(" | "))).toEqual(
    PLANTED.map(({ group, name }) => `| ${group} | ${name}`),
  );
});
