/** Calico, weave-net and Romana against the real ones: the same text, the same verdicts, the same rules on the way. */
import { describe, expect, it } from "vitest";
import { compileNode } from "../../compiler/compile.ts";
import { strategyNamed } from "../../compiler/strategies/registry.ts";
import type { Family } from "../../dataplane/address.ts";
import { sampled } from "../extent.ts";
import { hasShared } from "../shared.ts";
import { verdictDifferences, walkDifferences } from "./comparePackets.ts";
import { clusterOf, clustersOf, hasWalks, NODES, verdictsOf, walksOf } from "./dumps.ts";
import { ourText, recordedText } from "./nodeText.ts";
import { recordedOrders } from "./recordedOrders.ts";
import { ComparableText, UNDER_TEST } from "./tableText.ts";

interface ComparedNode {
  readonly name: string;
  readonly ours: ComparableText;
  readonly theirs: ComparableText;
}

const recorded = UNDER_TEST.filter(({ solution }) => clustersOf(solution).length > 0);

// A file whose suites are all empty fails, where it should be skipped: this one stands also without the facts folder.
describe.runIf(hasShared)("the recordings", () => {
  it.each(UNDER_TEST)("of $solution are there", ({ solution }) => {
    expect(clustersOf(solution).length).toBeGreaterThan(0);
  });
});

describe.each(recorded)("$solution", (under) => {
  describe.each(sampled(clustersOf(under.solution), 4))("on %s", (name) => {
    const strategy = strategyNamed(under.strategy);
    if (strategy === undefined) throw new Error(`no strategy ${under.strategy}`);
    const cluster = clusterOf(under.solution, name);
    const programs = NODES.map((node) => {
      const settings = recordedOrders(under.solution, cluster, recordedText(`${under.solution}/${name}/${node}`));
      return compileNode(cluster, strategy, { node, settings });
    });
    const nodes: readonly ComparedNode[] = programs.map((program) => ({
      name: program.node,
      ours: new ComparableText(ourText(program), under),
      theirs: new ComparableText(recordedText(`${under.solution}/${name}/${program.node}`), under),
    }));

    it.each(nodes)("$name: the chains and rules are the real one's, line for line", ({ ours, theirs }) => {
      expect(theirs.lines.length).toBeGreaterThan(20);
      expect(ours.lines).toEqual(theirs.lines);
    });

    it.each(nodes)("$name: the sets and their members are the real one's", ({ ours, theirs }) => {
      expect(theirs.sets.length).toBeGreaterThan(0);
      expect(ours.sets).toEqual(theirs.sets);
    });

    it("each packet gets the kernel's verdict on each node", () => {
      const verdicts = verdictsOf(under.solution, name);
      expect(verdicts.length).toBeGreaterThan(100);
      expect(verdictDifferences(programs, verdicts).slice(0, 10)).toEqual([]);
    });

    // Of Romana without isolated namespaces no walks were recorded.
    it.each(hasWalks(under.solution, name) ? [name] : [])(
      "%s: each packet matches the rules it matched in the kernel, in that order",
      () => {
        const walks = walksOf(under.solution, name);
        expect(walks.length).toBeGreaterThan(50);
        const walked = nodes.map(({ ours, theirs, name: node }, index) => {
          const program = programs[index];
          if (program === undefined) throw new Error(`no program for ${node}`);
          return {
            name: node,
            program,
            ours: (family: Family, chain: string, number: number) => ours.rule(family, chain, number),
            theirs: (family: Family, chain: string, number: number) => theirs.rule(family, chain, number),
          };
        });
        const differences = walkDifferences(walked, verdictsOf(under.solution, name), walks);
        expect(differences.slice(0, 3), `${differences.length} of ${walks.length}`).toEqual([]);
      },
    );
  });
});
