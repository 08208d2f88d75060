import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { SENTENCES } from "../../reference/sentences.ts";

const ROWS = Array.from({ length: 38 }, (_, index) => index + 1);

const titles = readdirSync(import.meta.dirname)
  .filter((file) => file.endsWith(".test.ts"))
  .flatMap((file) => [...readFileSync(join(import.meta.dirname, file), "utf8").matchAll(/["'`]row (\d+): /g)])
  .map(([, row]) => Number(row));

const documented = [
  ...readFileSync(join(import.meta.dirname, "..", "..", "docs", "semantics.md"), "utf8").matchAll(/^\| (\d+) \|/gm),
].map(([, row]) => Number(row));

test("docs/semantics.md has the rows 1 to 38, in order, and each once", () => {
  expect(documented).toEqual(ROWS);
});

test("every row of docs/semantics.md is named by the title of a test", () => {
  expect(documented.filter((row) => !titles.includes(row))).toEqual([]);
});

test("the sentences that the reference quotes stand under rows that exist", () => {
  expect(Object.values(SENTENCES).filter(({ row }) => !ROWS.includes(row))).toEqual([]);
});
