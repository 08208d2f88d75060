/** What real nodes held, read back: packets get the verdicts that the kernel gave, by the rules it matched. */
import { describe, expect, it } from "vitest";
import { importProgram } from "../../compiler/import/importProgram.ts";
import { formatIssue } from "../../compiler/issue.ts";
import { ruleText } from "../../compiler/render/iptablesSave.ts";
import type { TableProgram } from "../../dataplane/program.ts";
import { sampled } from "../extent.ts";
import { type RuleText, verdictDifferences, walkDifferences } from "./comparePackets.ts";
import {
  attachmentOf,
  clusterOf,
  clustersOf,
  hasWalks,
  NODES,
  SOLUTIONS,
  type Solution,
  savesIn,
  verdictsOf,
  walksOf,
} from "./dumps.ts";

/** What each node of a recorded cluster held. */
function programsOf(solution: Solution, name: string): readonly TableProgram[] {
  const cluster = clusterOf(solution, name);
  return NODES.map((node) => {
    const { program, issues } = importProgram({
      ...savesIn(`${solution}/${name}/${node}`),
      node,
      strategy: solution,
      attachment: attachmentOf(solution, cluster, node),
    });
    if (program === undefined || issues.length > 0) throw new Error(issues.map(formatIssue).join("\n"));
    return program;
  });
}

/** A rule by its place, and its text to show: what was imported is compared with itself. */
function textOf(program: TableProgram): RuleText {
  return (family, chain, number) => {
    const filter = program.families
      .find((each) => each.family === family)
      ?.tables.find(({ name }) => name === "filter");
    const rule = filter?.chains.find(({ name }) => name === chain)?.rules[number - 1];
    return rule && `${chain} ${number}${ruleText(rule, family)}`;
  };
}

/** At most so many differences are shown. */
const SHOWN = 10;

describe.each(SOLUTIONS.filter((solution) => clustersOf(solution).length > 0))("%s, imported", (solution) => {
  it.each(sampled(clustersOf(solution), 2))("%s: each node does with each packet what the kernel did", (name) => {
    const recorded = verdictsOf(solution, name);
    const differences = verdictDifferences(programsOf(solution, name), recorded);
    expect(recorded.length).toBeGreaterThan(100);
    expect(differences.slice(0, SHOWN), `${differences.length} of ${recorded.length}`).toEqual([]);
  });

  it.each(
    sampled(
      clustersOf(solution).filter((name) => hasWalks(solution, name)),
      2,
    ),
  )("%s: packets match the rules they matched in the kernel, in order", (name) => {
    const nodes = programsOf(solution, name).map((program) => {
      const text = textOf(program);
      return { name: program.node, program, ours: text, theirs: text };
    });
    const recorded = walksOf(solution, name);
    const differences = walkDifferences(nodes, verdictsOf(solution, name), recorded);
    expect(recorded.length).toBeGreaterThan(50);
    expect(differences.slice(0, SHOWN), `${differences.length} of ${recorded.length}`).toEqual([]);
  });
});
