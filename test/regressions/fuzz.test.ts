/** What campaigns of the fuzzer turned up, so that it does not come back. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { loadCluster } from "../../compiler/compile.ts";
import { STRATEGIES } from "../../compiler/strategies/registry.ts";
import { tryHistory } from "../../verify/fuzz/historyTarget.ts";
import { readCase } from "../../verify/fuzz/readCase.ts";
import { parseScenario } from "../../verify/scenario.ts";

function caseIn(folder: string) {
  const file = (name: string) => ({ name, text: readFileSync(join(import.meta.dirname, folder, name), "utf8") });
  const { case: subject, issues } = readCase({ cluster: file("cluster.yaml"), scenario: file("scenario.yaml") });
  if (subject === undefined) throw new Error(issues.map(({ message }) => message).join());
  return subject;
}

describe("a history in which UDP is sent twice and never answered", () => {
  const subject = caseIn("unanswered-udp-is-new");

  it.each(STRATEGIES)("is what is expected of $name: the policies of today decide about the second", (strategy) => {
    expect(subject.fresh).toBe(false);
    expect(tryHistory(strategy, subject)).toBeUndefined();
  });
});

describe("inputs without anything in them", () => {
  it.each(["", "\n", "# only a comment\n", "---\n...\n"])("are rejected with a place: %j", (text) => {
    const rejections = [
      ...loadCluster([{ name: "input.yaml", text }]).issues,
      ...parseScenario({ name: "scenario.yaml", text }, []).issues,
    ];
    expect(rejections.length).toBeGreaterThan(1);
    for (const { line, column } of rejections) expect([line, column]).toEqual([1, 1]);
  });
});
