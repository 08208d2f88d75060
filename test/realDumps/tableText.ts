/** Texts of Calico's, weave-net's and Romana's nodes, made comparable, and how each of them is compared. */
import type { Family } from "../../dataplane/address.ts";
import type { Solution } from "./dumps.ts";
import {
  chainLines,
  type NodeText,
  parseChains,
  parseSets,
  type Renames,
  type SavedSet,
  setLines,
} from "./normalise.ts";

/** What one solution leaves to time or chance. */
export interface SolutionUnderTest {
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

export const UNDER_TEST: readonly SolutionUnderTest[] = [
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

/** One side, normalised. */
export class ComparableText {
  readonly lines: readonly string[];
  readonly sets: readonly string[];
  readonly #rules = new Map<string, readonly string[]>();

  constructor(text: NodeText, { shuffled, drawn, renames }: SolutionUnderTest) {
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
