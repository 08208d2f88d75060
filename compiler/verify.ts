/** verify: static checks on a Program, before it is loaded or rendered. */
import {
  BUILT_IN_CHAINS,
  type Chain,
  type FamilyTables,
  type Program,
  type Rule,
  type Table,
  type TableProgram,
} from "../dataplane/program.ts";
import { CHAIN_NAME_MAX_BYTES, INTERFACE_NAME_MAX_BYTES, unsafeName } from "./names.ts";
import { verifyMaps } from "./verify/maps.ts";
import { RESERVED_TARGETS, type RulePlace, verifyRule } from "./verify/rule.ts";
import { type SetShape, verifySets } from "./verify/sets.ts";

/** What the kernel or its tools would refuse or loop on, in words; empty when the program is sound. */
export function verifyProgram(program: Program): readonly string[] {
  const problems = program.attachment.pods.flatMap(({ endpoint, interface: name }) => {
    const unsafe = unsafeName(name, INTERFACE_NAME_MAX_BYTES);
    return unsafe === undefined ? [] : [`pod ${endpoint}: interface name ${quoted(name)} ${unsafe}`];
  });
  switch (program.kind) {
    case "tables":
      problems.push(...verifyTables(program));
      break;
    case "maps":
      problems.push(...verifyMaps(program));
      break;
  }
  return problems;
}

function verifyTables(program: TableProgram): string[] {
  const { problems: ofSets, shapes: sets } = verifySets(program.sets);
  const problems = [...ofSets];
  for (const twice of duplicates(program.families.map(({ family }) => `IPv${family}`))) {
    problems.push(`${twice} is programmed twice`);
  }
  for (const { family, tables } of program.families) {
    const of = family === 4 ? "" : "IPv6 ";
    for (const twice of duplicates(tables.map(({ name }) => name))) problems.push(`${of}table ${twice} occurs twice`);
    for (const table of tables) problems.push(...verifyTable(table, family, sets).map((text) => of + text));
  }
  return problems;
}

function verifyTable(table: Table, family: FamilyTables["family"], sets: ReadonlyMap<string, SetShape>): string[] {
  const problems: string[] = [];
  const chains = new Map(table.chains.map((chain) => [chain.name, chain]));
  const builtIn: ReadonlySet<string> = new Set(BUILT_IN_CHAINS[table.name]);
  for (const twice of duplicates(table.chains.map(({ name }) => name))) {
    problems.push(`${table.name} ${twice}: the chain is declared twice`);
  }
  for (const hook of builtIn) {
    if (!chains.has(hook)) problems.push(`${table.name}: built-in chain ${hook} is missing`);
  }
  for (const chain of table.chains) {
    const place = () => `${table.name} ${chain.name}`;
    if (builtIn.has(chain.name)) {
      if (chain.policy === undefined) problems.push(`${place()}: a built-in chain needs a policy`);
    } else {
      if (chain.policy !== undefined) problems.push(`${place()}: only built-in chains have a policy`);
      const unsafe = unsafeName(chain.name, CHAIN_NAME_MAX_BYTES);
      if (unsafe !== undefined) problems.push(`${table.name}: chain name ${quoted(chain.name)} ${unsafe}`);
      if (RESERVED_TARGETS.has(chain.name)) problems.push(`${place()}: the name is that of a target`);
    }
    for (const problem of verifyRules(chain, { family, table: table.name, chain: chain.name, sets })) {
      problems.push(`${place()} ${problem}`);
    }
    for (const problem of verifyJumps(chain, { builtIn, chains })) problems.push(`${place()} ${problem}`);
  }
  problems.push(...loops(chains).map((loop) => `${table.name}: the chains ${loop.join(" > ")} loop`));
  return problems;
}

interface VerifiedRules {
  readonly family: FamilyTables["family"];
  readonly table: Table["name"];
  readonly chain: string;
  /** What the rules asked about, and what they were told. */
  readonly asked: ReadonlyMap<string, SetShape | undefined>;
  readonly problems: readonly string[];
}

/** So many are looked at again in less time than it takes to remember what was found: a policy's chain is one of many. */
const FEW_RULES = 16;

/** Nodes have chains in common, and a change of the cluster leaves most of them alone. */
const VERIFIED = new WeakMap<Chain["rules"], VerifiedRules>();

function verifyRules({ rules }: Chain, there: RulePlace): readonly string[] {
  if (rules.length <= FEW_RULES) return problemsOf(rules, there);
  const { sets, ...place } = there;
  const known = VERIFIED.get(rules);
  const isKnown =
    known !== undefined &&
    known.family === place.family &&
    known.table === place.table &&
    known.chain === place.chain &&
    [...known.asked].every(([name, shape]) => sets.get(name) === shape);
  if (isKnown) return known.problems;
  const listening = new Listening(sets);
  const problems = problemsOf(rules, { ...place, sets: listening });
  VERIFIED.set(rules, { ...place, asked: listening.asked, problems });
  return problems;
}

function problemsOf(rules: Chain["rules"], place: RulePlace): readonly string[] {
  let problems: string[] | undefined;
  for (let index = 0; index < rules.length; index++) {
    for (const problem of verifyRule(rules[index] as Rule, place)) {
      problems ??= [];
      problems.push(`rule ${index + 1}: ${problem}`);
    }
  }
  return problems ?? SOUND;
}

/** One for all: chains come by the ten thousand. */
const SOUND: readonly string[] = [];

/** The sets, and what was asked of them. */
class Listening {
  readonly #sets: RulePlace["sets"];
  readonly asked = new Map<string, SetShape | undefined>();

  constructor(sets: RulePlace["sets"]) {
    this.#sets = sets;
  }

  get(name: string): SetShape | undefined {
    const shape = this.#sets.get(name);
    this.asked.set(name, shape);
    return shape;
  }
}

interface ChainNames {
  readonly builtIn: ReadonlySet<string>;
  readonly chains: Pick<ReadonlyMap<string, Chain>, "has">;
}

function verifyJumps({ rules }: Chain, { builtIn, chains }: ChainNames): readonly string[] {
  let problems: string[] | undefined;
  for (let index = 0; index < rules.length; index++) {
    const next = nextChain((rules[index] as Rule).target);
    if (next === undefined || (chains.has(next) && !builtIn.has(next))) continue;
    const wrong = builtIn.has(next)
      ? `${next} is built in and cannot be jumped to`
      : `there is no chain ${quoted(next)}`;
    problems ??= [];
    problems.push(`rule ${index + 1}: ${wrong}`);
  }
  return problems ?? SOUND;
}

function nextChain(target: Chain["rules"][number]["target"]): string | undefined {
  return target?.kind === "jump" || target?.kind === "goto" ? target.chain : undefined;
}

/** One path for each loop found, its first chain repeated at the end. Depth first, without recursion: chains are many. */
function loops(chains: ReadonlyMap<string, Chain>): string[][] {
  const found: string[][] = [];
  const finished = new Set<string>();
  for (const [start, chain] of chains) {
    // Most lead nowhere.
    if (!chain.rules.some(({ target }) => nextChain(target) !== undefined)) continue;
    const path: { readonly name: string; readonly next: Iterator<string> }[] = [];
    const enter = (name: string) => path.push({ name, next: nextChains(chains.get(name)).values() });
    if (!finished.has(start)) enter(start);
    for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
      const next = top.next.next();
      if (next.done) {
        finished.add(top.name);
        path.pop();
        continue;
      }
      const open = path.findIndex(({ name }) => name === next.value);
      if (open >= 0) found.push([...path.slice(open).map(({ name }) => name), next.value]);
      else if (!finished.has(next.value)) enter(next.value);
    }
  }
  return found;
}

function nextChains(chain: Chain | undefined): ReadonlySet<string> {
  const names = new Set<string>();
  for (const { target } of chain?.rules ?? []) {
    const next = nextChain(target);
    if (next !== undefined) names.add(next);
  }
  return names;
}

function duplicates(names: readonly string[]): ReadonlySet<string> {
  const seen = new Set<string>();
  return new Set(names.filter((name) => seen.size === seen.add(name).size));
}

function quoted(name: string): string {
  return JSON.stringify(name);
}
