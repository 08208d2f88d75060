/**
 * Two texts of one node's state, made comparable: what the solution itself leaves to time or chance is taken out, each
 * for a stated reason, and nothing else. What only one solution does is in its own file beside this one.
 */

/** A node as its save commands print it; empty texts for what was not saved. */
export interface NodeText {
  readonly ipv4: string;
  readonly ipv6: string;
  readonly sets: string;
}

/** One family's save: rules by chain, in order, the chain's policy (`-` for chains of the solution) beside them. */
export type SavedChains = ReadonlyMap<string, SavedChain>;

export interface SavedChain {
  readonly table: string;
  readonly policy: string;
  /** Without `-A chain`. */
  readonly rules: readonly string[];
}

export interface SavedSet {
  /** Type and options. */
  readonly header: string;
  readonly members: readonly string[];
}

/** Keyed `table chain`: chains of two tables may have one name. */
export function parseChains(text: string): SavedChains {
  const chains = new Map<string, { table: string; policy: string; rules: string[] }>();
  let table = "";
  for (const line of text.split("\n")) {
    const [first = "", second = ""] = line.split(" ");
    if (line.startsWith("*")) table = line.slice(1);
    // Counters ([12:600]) are traffic, not state.
    else if (line.startsWith(":")) chains.set(`${table} ${first.slice(1)}`, { table, policy: second, rules: [] });
    else if (first === "-A") chains.get(`${table} ${second}`)?.rules.push(line.slice(`-A ${second}`.length).trim());
    // Lines with # carry dates.
    else if (line !== "COMMIT" && line !== "" && first !== "#") throw new Error(`not a line of a save: ${line}`);
  }
  return chains;
}

export function parseSets(text: string): ReadonlyMap<string, SavedSet> {
  const sets = new Map<string, { header: string; members: string[] }>();
  for (const line of text.split("\n").filter((each) => each !== "")) {
    const [verb, name = "", ...rest] = line.split(" ");
    if (verb === "create") sets.set(name, { header: withoutChance(rest.join(" ")), members: [] });
    else if (verb === "add") sets.get(name)?.members.push(rest.join(" "));
    else throw new Error(`not a line of a save: ${line}`);
  }
  return sets;
}

/** The seed of a hash is random, and where it fills unevenly the kernel enlarges the table and its buckets. */
function withoutChance(header: string): string {
  return header.replace(/ hashsize \d+| bucketsize \d+| initval 0x[0-9a-f]+/g, "");
}

/** New names for chains and sets, by their old ones. */
export type Renames = ReadonlyMap<string, string>;

/** The rule with its chains and sets renamed. Names are whole words in a save. */
export function renamed(rule: string, names: Renames): string {
  return rule
    .split(" ")
    .map((word) => names.get(word) ?? word)
    .join(" ");
}

/** Lines to compare, in an order that new names do not change. */
export function chainLines(chains: SavedChains, names: Renames): readonly string[] {
  return [...chains]
    .map(([key, { table, policy, rules }]) => {
      const name = key.slice(table.length + 1);
      return { head: `${table} ${names.get(name) ?? name} ${policy}`, rules };
    })
    .sort((a, b) => compareText(a.head, b.head))
    .flatMap(({ head, rules }) => [head, ...rules.map((rule) => `  ${renamed(rule, names)}`)]);
}

/**
 * Lines to compare. Members of a hash come in the order of the hash; those of a list of sets as they were added. The order
 * of the sets themselves is that of their creation over the whole life of the node.
 */
export function setLines(sets: ReadonlyMap<string, SavedSet>, names: Renames): readonly string[] {
  return [...sets]
    .map(([name, set]) => ({ ...set, name: names.get(name) ?? name }))
    .sort((a, b) => compareText(a.name, b.name))
    .flatMap(({ name, header, members }) => {
      const listed = header.startsWith("list:set")
        ? members.map((member) => renamed(member, names))
        : members.toSorted();
      return [`${name} ${header}`, ...listed.map((member) => `  ${member}`)];
    });
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
