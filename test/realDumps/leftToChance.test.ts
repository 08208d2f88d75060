/**
 * The list in docs/strategies.md of what cannot agree with a real node's text: each entry does differ in a recording, in
 * the way it says. That nothing else differs is what kubeRouter.test.ts and tableStrategies.test.ts show.
 */
import { describe, expect, it } from "vitest";
import { compileNode } from "../../compiler/compile.ts";
import { strategyNamed } from "../../compiler/strategies/registry.ts";
import { type ChanceName, LEFT_TO_CHANCE } from "../../verify/leftToChance.ts";
import { hasShared } from "../shared.ts";
import { clusterOf, clustersOf, NODES, type Solution, STRATEGY_OF } from "./dumps.ts";
import { ourText, recordedText } from "./nodeText.ts";
import { type NodeText, parseChains, parseSets, type SavedSet } from "./normalise.ts";
import { normaliseKubeRouter } from "./normaliseKubeRouter.ts";
import { recordedOrders } from "./recordedOrders.ts";

/** Both texts of one node, ours without and with the recorded orders. */
interface Texts {
  readonly recorded: NodeText;
  readonly plain: NodeText;
  readonly ordered: NodeText;
}

interface Shown {
  readonly solution: Solution;
  /** Whether the two texts differ in this. */
  readonly differs: (texts: Texts) => boolean;
}

const rules = ({ ipv4 }: NodeText, chain: string) => parseChains(ipv4).get(`filter ${chain}`)?.rules ?? [];
const setsOf = ({ sets }: NodeText): readonly (readonly [string, SavedSet])[] => [...parseSets(sets)];
const sorted = (lines: readonly string[]) => lines.toSorted().join("\n");

/** Equal as multisets, and in another order. */
function reordered(a: readonly string[], b: readonly string[]): boolean {
  return a.join("\n") !== b.join("\n") && sorted(a) === sorted(b);
}

/** The owners that the comments of a chain's rules name, in order. */
function owners(lines: readonly string[], pattern: RegExp): readonly string[] {
  return lines.flatMap((rule) => pattern.exec(rule)?.[1] ?? []);
}

const POD = /--comment "(\S+) out"/;
const POLICY = /--comment "(\S+) policy" -j/;
const inChain =
  (...chains: readonly string[]) =>
  ({ recorded, plain }: Texts) =>
    chains.some((chain) => reordered(rules(recorded, chain), rules(plain, chain)));

const SHOWN: Readonly<Record<ChanceName, Shown>> = {
  "save-headers": { solution: "calico", differs: ({ recorded, plain }) => head(recorded) !== head(plain) },
  "set-creation": {
    solution: "calico",
    differs: ({ recorded, plain }) => {
      const heads = ({ sets }: NodeText) => sets.split("\n").filter((line) => line.startsWith("create "));
      const same = setsOf(recorded).length === setsOf(plain).length;
      return same && sorted(heads(recorded)) !== sorted(heads(plain));
    },
  },
  "set-order": {
    solution: "calico",
    differs: ({ recorded, plain }) =>
      reordered(
        setsOf(recorded).map(([name]) => name),
        setsOf(plain).map(([name]) => name),
      ),
  },
  "calico-link-local": {
    solution: "calico",
    differs: ({ recorded, plain }) => / fe80::/.test(recorded.sets) && !/ fe80::/.test(plain.sets),
  },
  "kube-router-sync-time": {
    solution: "kube-router",
    differs: ({ recorded, plain }) => {
      const chains = (text: NodeText) =>
        [...parseChains(text.ipv4).keys()].filter((key) => key.includes("KUBE-POD-FW-"));
      return chains(recorded).length === chains(plain).length && sorted(chains(recorded)) !== sorted(chains(plain));
    },
  },
  "kube-router-pod-order": {
    solution: "kube-router",
    differs: ({ recorded, plain, ordered }) => {
      const pods = (text: NodeText) => owners(rules(text, "KUBE-ROUTER-INPUT"), POD);
      return reordered(pods(recorded), pods(plain)) && pods(recorded).join() === pods(ordered).join();
    },
  },
  "kube-router-policy-order": {
    solution: "kube-router",
    differs: ({ recorded, plain }) => {
      const jumps = ({ ipv4 }: NodeText) =>
        [...parseChains(ipv4).values()].map((chain) => owners(chain.rules, POLICY).join()).filter((one) => one !== "");
      return sorted(jumps(recorded)) !== sorted(jumps(plain));
    },
  },
  "kube-router-port-numbers": {
    solution: "kube-router",
    differs: ({ recorded, ordered }) => {
      const ports = ({ ipv4 }: NodeText) =>
        [...parseChains(ipv4).values()].map((chain) => owners(chain.rules, / np" .*--dport (\d+)/).join());
      return sorted(ports(recorded)) !== sorted(ports(ordered));
    },
  },
  "kube-router-named-port-members": {
    solution: "kube-router",
    differs: ({ recorded, ordered }) => {
      const members = (text: NodeText) =>
        [...normaliseKubeRouter(text).namedPorts].map(([port, set]) => `${port} ${set.members.join()}`);
      return sorted(members(recorded)) !== sorted(members(ordered));
    },
  },
  "romana-policy-order": { solution: "romana", differs: inChain("ROMANA-FORWARD-IN") },
  "romana-namespace-uid": {
    solution: "romana-as-given",
    differs: ({ recorded, plain }) => {
      const jumps = (text: NodeText) => rules(text, "ROMANA-FORWARD-IN");
      return jumps(recorded).length === jumps(plain).length && sorted(jumps(recorded)) !== sorted(jumps(plain));
    },
  },
  "weave-net-rule-order": {
    solution: "weave-net",
    differs: inChain("WEAVE-NPC-INGRESS", "WEAVE-NPC-EGRESS-CUSTOM"),
  },
  "weave-net-namespace-order": {
    solution: "weave-net",
    differs: inChain("WEAVE-NPC-DEFAULT", "WEAVE-NPC-EGRESS-DEFAULT"),
  },
};

const head = ({ ipv4 }: NodeText) => ipv4.split("\n")[0];

function* textsOf(solution: Solution): Generator<Texts> {
  const strategy = strategyNamed(STRATEGY_OF[solution]);
  if (strategy === undefined) throw new Error(`no strategy for ${solution}`);
  for (const name of clustersOf(solution)) {
    const cluster = clusterOf(solution, name);
    for (const node of NODES) {
      const recorded = recordedText(`${solution}/${name}/${node}`);
      const settings = recordedOrders(solution, cluster, recorded);
      yield {
        recorded,
        plain: ourText(compileNode(cluster, strategy, { node })),
        ordered: ourText(compileNode(cluster, strategy, { node, settings })),
      };
    }
  }
}

/** Whether some node's texts do; the rest is not made. */
function shows(solution: Solution, differs: Shown["differs"]): boolean {
  for (const texts of textsOf(solution)) if (differs(texts)) return true;
  return false;
}

const names = Object.keys(SHOWN).filter((name): name is ChanceName => name in LEFT_TO_CHANCE);

// The recordings that every clone carries are kube-router's alone, and few.
describe.runIf(hasShared)("what a solution leaves to time or chance", () => {
  it.each(names)("%s shows in a recording", (name) => {
    const { solution, differs } = SHOWN[name];
    const { strategy } = LEFT_TO_CHANCE[name];
    if (strategy !== undefined) expect(STRATEGY_OF[solution]).toBe(strategy);
    expect(shows(solution, differs)).toBe(true);
  });

  it("is listed as a whole", () => {
    expect(names.toSorted()).toEqual(Object.keys(LEFT_TO_CHANCE).toSorted());
  });
});
