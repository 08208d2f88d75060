/** Calico, weave-net and Romana against the real ones: the same text, the same verdicts, the same rules on the way. */
import { describe, expect, it } from "vitest";
import { compileNode } from "../../compiler/compile.ts";
import { strategyNamed } from "../../compiler/strategies/registry.ts";
import type { Family } from "../../dataplane/address.ts";
import { verdictDifferences, walkDifferences } from "./comparePackets.ts";
import { clusterOf, clustersOf, hasWalks, NODES, type Solution, verdictsOf, walksOf } from "./dumps.ts";
import { ourText, recordedText } from "./nodeText.ts";
import {
  chainLines,
  type NodeText,
  parseChains,
  parseSets,
  type Renames,
  type SavedSet,
  setLines,
} from "./normalise.ts";
import { recordedOrders } from "./recordedOrders.ts";

/** What one solution leaves to time or chance. */
interface Solutions {
  readonly solution: Solution;
  readonly strategy: string;
  /** Chains of the filter table whose rules come in random order, and why. */
  readonly shuffled: RegExp;
  /** Members that a kernel drew. */
  readonly drawn: RegExp;
  renames(text: NodeText): Renames;
}

const NONE = /^$/;
const noRenames = (): Renames => new Map();

const UNDER_TEST: readonly Solutions[] = [
  // The link-local address of the node's interface follows from its random MAC address.
  { solution: "calico", strategy: "calico-iptables", shuffled: NONE, drawn: /^fe80::/, renames: noRenames },
  // The rules of a policy stand in a Go map, and namespaces come in the order of their events.
  {
    solution: "weave-net",
    strategy: "weave-net",
    shuffled: /^WEAVE-NPC-(?:INGRESS|EGRESS-CUSTOM|DEFAULT|EGRESS-DEFAULT)$/,
    drawn: NONE,
    renames: noRenames,
  },
  // The policy cache is a Go map.
  {
    solution: "romana",
    strategy: "romana",
    shuffled: /^ROMANA-FORWARD-IN$/,
    drawn: NONE,
    renames: noRenames,
  },
  // Policies that keep a namespace open are named after its uid, which these manifests do not give.
  {
    solution: "romana-as-given",
    strategy: "romana",
    shuffled: /^ROMANA-FORWARD-IN$/,
    drawn: NONE,
    renames: openNamespaces,
  },
];

interface ComparedNode {
  readonly name: string;
  readonly ours: Text;
  readonly theirs: Text;
}

/** One side, normalised. */
class Text {
  readonly lines: readonly string[];
  readonly sets: readonly string[];
  readonly #rules = new Map<string, readonly string[]>();

  constructor(text: NodeText, { shuffled, drawn, renames }: Solutions) {
    const names = renames(text);
    const lines: string[] = [];
    for (const family of [4, 6] as const) {
      const chains = parseChains(family === 4 ? text.ipv4 : text.ipv6);
      const settled = new Map(
        [...chains].map(([key, chain]) => {
          const name = key.slice(chain.table.length + 1);
          const rules = chain.rules.map((rule) =>
            rule
              .split(" ")
              .map((word) => names.get(word) ?? word)
              .join(" "),
          );
          if (chain.table === "filter") this.#rules.set(`${family} ${name}`, rules);
          return [key, { ...chain, rules: shuffled.test(name) ? rules.toSorted() : rules }];
        }),
      );
      lines.push(...chainLines(settled, names).map((line) => `ipv${family} ${line}`));
    }
    this.lines = lines;
    const sets = [...parseSets(text.sets)].map(([name, set]): readonly [string, SavedSet] => [
      name,
      // The order in which sets joined a list follows that of namespaces.
      { ...set, members: set.members.filter((member) => !drawn.test(member)).toSorted() },
    ]);
    this.sets = setLines(new Map(sets), names).toSorted();
  }

  rule(family: Family, chain: string, number: number): string | undefined {
    return this.#rules.get(`${family} ${chain}`)?.[number - 1];
  }
}

/** Names for the ladders of policies that open a whole namespace, by the set of the namespace. */
function openNamespaces({ ipv4, sets }: NodeText): Renames {
  const names = new Map<string, string>();
  const chains = parseChains(ipv4);
  for (const [key, { rules }] of chains) {
    const [, target, ladder] = /^-m set --match-set (\S+) dst -j (\S+)_X$/.exec(rules[0] ?? "") ?? [];
    const isOpen =
      chains.get(`${key}_X`)?.rules.includes(`-j ${ladder}_R`) && chains.get(`${key}_R`)?.rules.includes("-j ACCEPT");
    if (target === undefined || ladder === undefined || !isOpen) continue;
    for (const end of ["", "_X", "_R"]) names.set(`${ladder}${end}`, `open:${target}${end}`);
  }
  // The empty set that every policy has tells nothing but how many there are.
  for (const name of parseSets(sets).keys()) if (/^ROMANA-P-.*_s$/.test(name)) names.set(name, "a policy's");
  return names;
}

describe.each(UNDER_TEST)("$solution", (under) => {
  describe.each(clustersOf(under.solution))("on %s", (name) => {
    const strategy = strategyNamed(under.strategy);
    if (strategy === undefined) throw new Error(`no strategy ${under.strategy}`);
    const cluster = clusterOf(under.solution, name);
    const programs = NODES.map((node) => {
      const settings = recordedOrders(under.solution, cluster, recordedText(`${under.solution}/${name}/${node}`));
      return compileNode(cluster, strategy, { node, settings });
    });
    const nodes: readonly ComparedNode[] = programs.map((program) => ({
      name: program.node,
      ours: new Text(ourText(program), under),
      theirs: new Text(recordedText(`${under.solution}/${name}/${program.node}`), under),
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
      const recorded = verdictsOf(under.solution, name);
      expect(recorded.length).toBeGreaterThan(100);
      expect(verdictDifferences(programs, recorded).slice(0, 10)).toEqual([]);
    });

    it.runIf(hasWalks(under.solution, name))(
      "each packet matches the rules it matched in the kernel, in that order",
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
