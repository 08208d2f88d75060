/** docs/strategies.md is what the strategies say today, and its links lead somewhere. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { chainwalk } from "../cli/commandLine.ts";

const DOCS = join(import.meta.dirname, "..", "..", "docs");
const PAGE = readFileSync(join(DOCS, "strategies.md"), "utf8");

describe("docs/strategies.md", () => {
  it("is what `npm run docs` writes", async () => {
    const { out, err, code } = await chainwalk("strategies -o md");
    expect({ err, code }).toEqual({ err: "", code: 0 });
    expect(PAGE).toBe(out);
  });

  it("has an anchor for every link into itself, and a file for every link out of it", () => {
    const anchors = new Set([
      ...[...PAGE.matchAll(/<a id="([^"]+)">/g)].map(([, id]) => id),
      ...[...PAGE.matchAll(/^#+ (.+)$/gm)].map(([, title = ""]) => title.toLowerCase().replaceAll(" ", "-")),
    ]);
    const links = [...PAGE.matchAll(/\]\(([^)]+)\)/g)].map(([, target = ""]) => target);
    expect(links.length).toBeGreaterThan(50);
    const dead = links.filter((target) =>
      target.startsWith("#") ? !anchors.has(target.slice(1)) : !existsSync(join(DOCS, target)),
    );
    expect(dead).toEqual([]);
  });

  it("each table has as many cells in every row", () => {
    const tables = PAGE.split("\n\n").filter((part) => part.startsWith("|"));
    expect(tables.length).toBeGreaterThan(3);
    for (const table of tables) {
      const widths = new Set(
        table
          .trim()
          .split("\n")
          .map((line) => line.match(/(?<!\\)\|/g)?.length),
      );
      expect([...widths], table.slice(0, 80)).toHaveLength(1);
    }
  });
});
