/** The selection that the project carries is what the whole collection says. */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { hasShared, sharedPath } from "../shared.ts";
import { CARRIED, carriedClusters } from "./dumps.ts";

const FILES = readdirSync(CARRIED, { recursive: true, encoding: "utf8" }).filter(
  (name) => name !== "README.md" && statSync(join(CARRIED, name)).isFile(),
);

describe("the recordings in test/real", () => {
  it("has the clusters that every clone is tested with", () => {
    expect(carriedClusters("kube-router")).toEqual([
      "both-types",
      "db-policy",
      "ipblocks",
      "named-ports",
      "random-small",
    ]);
  });

  it.runIf(hasShared).each(FILES)("%s is what the collection has", (name) => {
    const [carried, whole] = [join(CARRIED, name), sharedPath("dumps", name)].map((path) => readFileSync(path, "utf8"));
    if (!name.endsWith(".jsonl")) expect(carried).toBe(whole);
    else {
      const lines = new Set(whole?.split("\n"));
      expect(carried?.split("\n").filter((line) => !lines.has(line))).toEqual([]);
    }
  });
});
