/**
 * Rules of chains that no packet can match: their own conditions contradict each other, or the chain is entered by other
 * packets only, or the rules above have taken all. Chains nobody jumps to are told as one.
 *
 * A chain is gone through with what can still be there, as boxes: what enters it (from every rule that jumps to it), less
 * what rules take that end the walk. Where boxes become too many they are left larger than they need be, so that a rule
 * may be dead and not be told, but none that is told is alive.
 */
import type { Chain, Rule, Table, TableName, TableProgram } from "../../dataplane/program.ts";
import { inOrder } from "../reach.ts";
import { common, hull, type RuleBox, RuleBoxes, type RuleRegion, without } from "./ruleBoxes.ts";

export interface DeadRule {
  readonly family: 4 | 6;
  readonly table: TableName;
  readonly chain: string;
  /** From 1; 0: the whole chain, which nothing enters. */
  readonly number: number;
  readonly rule: Rule | undefined;
  readonly why: string;
  /** Rules above take what it would match: no other packets could make it match. */
  readonly isShadowed: boolean;
}

/** Boxes to go on with. */
const MOST_BOXES = 48;
/** Rules times classes of a program, which is about what it takes. */
const MOST_WORK = 40_000_000;

/** Undefined: the program is too large to be looked at. */
export function deadRules(program: TableProgram): readonly DeadRule[] | undefined {
  const dead: DeadRule[] = [];
  for (const { family, tables } of program.families) {
    const boxes = new RuleBoxes(program, family);
    const ruleCount = tables.reduce(
      (sum, { chains }) => sum + chains.reduce((rules, chain) => rules + chain.rules.length, 0),
      0,
    );
    if (ruleCount * boxes.classCount > MOST_WORK) return undefined;
    for (const table of tables) {
      const found = new TableWalk(table, boxes).dead();
      dead.push(...found.map((one) => ({ ...one, family, table: table.name })));
    }
  }
  return dead;
}

type Found = Omit<DeadRule, "family" | "table">;

class TableWalk {
  readonly #chains: ReadonlyMap<string, Chain>;
  readonly #boxes: RuleBoxes;
  readonly #regions = new Map<Rule, RuleRegion>();
  /** What enters a chain. */
  readonly #entries = new Map<string, RuleBox[]>();
  readonly #swallows = new Map<string, boolean>();
  readonly #dead: Found[] = [];

  constructor({ chains }: Table, boxes: RuleBoxes) {
    this.#chains = new Map(chains.map((chain) => [chain.name, chain]));
    this.#boxes = boxes;
  }

  dead(): readonly Found[] {
    const callersFirst = inOrder(this.#chains.values());
    // From the bottom, so that each asks only what is known already, however deep chains are.
    for (const { name } of callersFirst.toReversed()) this.#swallowsAll(name);
    for (const chain of callersFirst) {
      if (chain.policy !== undefined) this.#entries.set(chain.name, [{}]);
      const entry = this.#entries.get(chain.name);
      if (entry !== undefined) this.#walk(chain, entry);
      else
        this.#dead.push({
          chain: chain.name,
          number: 0,
          rule: undefined,
          why: "no packet ever enters the chain",
          isShadowed: false,
        });
    }
    return this.#dead;
  }

  #walk(chain: Chain, entry: readonly RuleBox[]): void {
    let left = entry;
    for (const [index, rule] of chain.rules.entries()) {
      const region = this.#region(rule);
      const here = region.box === undefined ? [] : meeting(left, region.box);
      if (here.length === 0) {
        const why = this.#whyDead(chain, index, { region, entry });
        this.#dead.push({ chain: chain.name, number: index + 1, rule, ...why });
        continue;
      }
      const { target } = rule;
      if (target?.kind === "jump" || target?.kind === "goto") this.#enter(target.chain, here);
      if (region.box === undefined || !region.isExact || !this.#ends(rule)) continue;
      const taken = region.box;
      const rest = left.flatMap((box) => without(box, taken));
      if (rest.length <= MOST_BOXES) left = rest;
    }
  }

  #whyDead(
    chain: Chain,
    index: number,
    { region, entry }: { readonly region: RuleRegion; readonly entry: readonly RuleBox[] },
  ): Pick<DeadRule, "why" | "isShadowed"> {
    const { box } = region;
    if (box === undefined) {
      return { why: "its conditions exclude each other, or a set it asks has no members", isShadowed: false };
    }
    if (meeting(entry, box).length === 0) {
      return { why: "only packets that it excludes enter the chain", isShadowed: false };
    }
    const above = chain.rules.slice(0, index).findIndex((rule) => {
      const { box: other, isExact } = this.#region(rule);
      return isExact && other !== undefined && this.#ends(rule) && without(box, other).length === 0;
    });
    const who = above < 0 ? "the rules above it take" : `rule ${above + 1} above it takes`;
    return { why: `${who} every such packet`, isShadowed: true };
  }

  #enter(name: string, boxes: readonly RuleBox[]): void {
    const all = [...(this.#entries.get(name) ?? []), ...boxes];
    this.#entries.set(name, all.length > MOST_BOXES ? [hull(all)] : all);
  }

  #region(rule: Rule): RuleRegion {
    const known = this.#regions.get(rule) ?? this.#boxes.region(rule);
    this.#regions.set(rule, known);
    return known;
  }

  /** Whether no packet that matches goes on with the next rule. */
  #ends({ target }: Rule): boolean {
    switch (target?.kind) {
      case "accept":
      case "drop":
      case "reject":
      case "return":
      case "goto":
      case "nat":
        return true;
      case "jump":
        return this.#swallowsAll(target.chain);
      default:
        return false;
    }
  }

  /** Whether a chain is sure to keep what enters it: it ends in a rule for everything, and nothing returns before. */
  #swallowsAll(name: string): boolean {
    const known = this.#swallows.get(name);
    if (known !== undefined) return known;
    this.#swallows.set(name, false);
    const rules = this.#chains.get(name)?.rules ?? [];
    const last = rules.findIndex((rule) => {
      const { box, isExact } = this.#region(rule);
      const isForAll = isExact && box !== undefined && Object.keys(box).length === 0;
      return isForAll && rule.target?.kind !== "return" && rule.target?.kind !== "goto" && this.#ends(rule);
    });
    const returns = rules.slice(0, last).some(({ target }) => target?.kind === "return" || target?.kind === "goto");
    const swallows = last >= 0 && !returns;
    this.#swallows.set(name, swallows);
    return swallows;
  }
}

function meeting(boxes: readonly RuleBox[], box: RuleBox): readonly RuleBox[] {
  return boxes.flatMap((one) => common(one, box) ?? []);
}
