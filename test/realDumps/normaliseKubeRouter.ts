/** What kube-router leaves to time and chance, on top of what every node does (normalise.ts). */
import {
  chainLines,
  type NodeText,
  parseChains,
  parseSets,
  type Renames,
  renamed,
  type SavedChains,
  type SavedSet,
  setLines,
} from "./normalise.ts";

const HASHED_CHAIN = /^KUBE-(?:POD-FW|NWPLCY)-[A-Z2-7]{16}$/;

/**
 * Chain names are hashes over the nanosecond at which the sync began. They are replaced by whose chain it is, which their
 * rules say; an empty chain that nothing jumps to says nothing, and is `nobody's`.
 */
function chainNames(chains: SavedChains): Map<string, string> {
  const names = new Map<string, string>();
  for (const [key, { rules }] of chains) {
    const name = key.slice("filter ".length);
    for (const rule of rules) {
      const [, policy, chain] = /--comment "(\S+) policy" -j (\S+)$/.exec(rule) ?? [];
      if (policy !== undefined && chain !== undefined) names.set(chain, `policy:${policy}`);
      const [, pod] = /--comment "(\S+) reject"/.exec(rule) ?? [];
      if (pod !== undefined && HASHED_CHAIN.test(name)) names.set(name, `pod:${pod}`);
      const [, owner] = /--comment "(\S+) (?:in|e)gress (?:pods|any|cidr)(?: np)?"/.exec(rule) ?? [];
      if (owner !== undefined && HASHED_CHAIN.test(name)) names.set(name, `policy:${owner}`);
    }
  }
  for (const key of chains.keys()) {
    const name = key.slice("filter ".length);
    if (HASHED_CHAIN.test(name) && !names.has(name)) names.set(name, "policy:nobody's");
  }
  return names;
}

const NAMED_PORT =
  /--comment "(\S+ \S+) \S+ np" (?:-m set --match-set (\S+) src )?-m set --match-set (\S+) dst -m (\w+ --dport \d+)/;

/**
 * The numbers of one named port come in random order, and their place in it is hashed into the names of their sets, which
 * are replaced by what they are for. Two rules of a policy may have a set for the same number; their order is fixed.
 */
function namedPortSets(chains: SavedChains): Map<string, string> {
  const names = new Map<string, string>();
  const uses = new Map<string, number>();
  for (const { rules } of chains.values()) {
    for (const rule of rules) {
      const [, owner, source, set, port] = NAMED_PORT.exec(rule) ?? [];
      if (set === undefined || names.has(set)) continue;
      const what = `np:${owner}:${source ?? "any"}:${port}`.replaceAll(" ", "-");
      uses.set(what, (uses.get(what) ?? 0) + 1);
      names.set(set, `${what}#${uses.get(what)}`);
    }
  }
  return names;
}

/** Neighbouring rules of named ports, which come in that random order, sorted. */
function withSortedNumbers(rules: readonly string[], names: Renames): readonly string[] {
  const sorted: string[] = [];
  let run: string[] = [];
  const flush = () => {
    sorted.push(...run.toSorted());
    run = [];
  };
  for (const rule of rules.map((each) => renamed(each, names))) {
    const group = NAMED_PORT.exec(rule)?.slice(1, 3).join();
    if (group === undefined || (run[0] !== undefined && NAMED_PORT.exec(run[0])?.slice(1, 3).join() !== group)) flush();
    if (group === undefined) sorted.push(rule);
    else run.push(rule);
  }
  flush();
  return sorted;
}

/** A node's state, comparable; rules by the name the walk of a packet gives them. */
export interface KubeRouterNode {
  readonly chains: readonly string[];
  /** Without the members of named ports' sets: which pods share those depends on the order of visits. */
  readonly sets: readonly string[];
  readonly namedPorts: ReadonlyMap<string, SavedSet>;
  /** The rule of that chain and number, from 1, of the filter table; undefined past the chain's end. */
  rule(family: 4 | 6, chain: string, number: number): string | undefined;
}

export function normaliseKubeRouter(text: NodeText): KubeRouterNode {
  const families = { 4: parseChains(text.ipv4), 6: parseChains(text.ipv6) };
  const names = { 4: namesOf(families[4]), 6: namesOf(families[6]) };
  const all = new Map([...names[4], ...names[6]]);
  const lines = ([4, 6] as const).flatMap((family) => {
    const sorted = new Map(
      [...families[family]].map(([key, chain]) => [
        key,
        { ...chain, rules: withSortedNumbers(chain.rules, names[family]) },
      ]),
    );
    return chainLines(sorted, names[family]).map((line) => `${family} ${line}`);
  });
  const sets = parseSets(text.sets);
  const isNamed = (name: string) => all.get(name)?.startsWith("np:") === true;
  const compared = new Map([...sets].map(([name, set]) => [name, isNamed(name) ? { ...set, members: [] } : set]));
  return {
    chains: lines,
    sets: setLines(compared, all),
    namedPorts: new Map(
      [...sets]
        .filter(([name]) => isNamed(name))
        .map(([name, set]) => [all.get(name) ?? name, { ...set, members: set.members.toSorted() }]),
    ),
    rule(family, chain, number) {
      const rule = families[family].get(`filter ${chain}`)?.rules[number - 1];
      return rule === undefined ? undefined : `${names[family].get(chain) ?? chain}: ${renamed(rule, names[family])}`;
    },
  };
}

function namesOf(chains: SavedChains): Renames {
  return new Map([...chainNames(chains), ...namedPortSets(chains)]);
}

/** The random orders of a sync, as the node's text shows them: values for kube-router's order settings. */
export function ordersOf(text: NodeText): ReadonlyMap<string, string> {
  const chains = parseChains(text.ipv4);
  const pods = (chains.get("filter KUBE-ROUTER-INPUT")?.rules ?? []).flatMap((rule) => {
    const [, pod] = /--comment "(\S+) out"/.exec(rule) ?? [];
    return pod ?? [];
  });
  const jumps = [...chains.values()].map(({ rules }) =>
    rules.flatMap((rule) => /--comment "(\S+) policy" -j/.exec(rule)?.[1] ?? []).reverse(),
  );
  return new Map([
    ["pod-order", pods.join(",")],
    ["policy-order", merged(jumps).join(",")],
  ]);
}

/** One order that has each of the given ones in it. */
function merged(orders: readonly (readonly string[])[]): readonly string[] {
  const rest = orders.map((order) => [...order]);
  const result: string[] = [];
  for (;;) {
    const first = rest
      .map((order) => order[0])
      .find((name) => name !== undefined && rest.every((order) => order.indexOf(name) <= 0));
    if (first === undefined) {
      if (rest.some((order) => order.length > 0)) throw new Error("the policies are in no one order");
      return result;
    }
    result.push(first);
    for (const order of rest) if (order[0] === first) order.shift();
  }
}
