/**
 * The walk of many openings at once through the hooks of one node: boxes of packets instead of a packet. A rule cuts out of
 * the boxes that come to it those that it matches, and they go where its target says; what is left goes on. Boxes of packets
 * with one mark are kept together, so that every rule is looked at once for all packets that nothing before it told apart.
 *
 * Its meaning is that of `TableWalker`, which it is tested against. What depends on more than the packet and its marks
 * (limits, unknown matches, zones) is refused.
 */
import type { Chain, Hook, Match, Rule, TableName, TableProgram, Target } from "../../dataplane/program.ts";
import { WAYS } from "../../dataplane/tables/ways.ts";
import { VERDICT_CODE } from "../../dataplane/verdict.ts";
import { addBox, type Box, type Cube, split } from "./boxes.ts";
import { Conditions, isMarkMatch, type MarkMatch } from "./conditions.ts";
import type { PacketMatches } from "./packetMatches.ts";
import type { PairQuestion } from "./question.ts";

/** Openings of which rules know the same beside their ends and ports. */
interface Group {
  readonly mark: number;
  readonly connmark: number;
  readonly boxes: readonly Box[];
}

/** How it ends for openings that do not pass. */
export type Refuse = (verdict: number, boxes: readonly Box[]) => void;

/** Rules for which what they do to boxes cannot be said. */
export class Undecidable extends Error {}

interface LoadedRule {
  readonly cubes: readonly Cube[];
  readonly marks: readonly MarkMatch[];
  readonly target: Target;
}

interface Call {
  readonly hook: Hook;
  readonly isTracked: boolean;
  readonly refuse: Refuse;
  readonly chains: ReadonlyMap<string, Chain>;
  readonly loaded: Map<Chain, readonly LoadedRule[]>;
  /** What the chains let pass. */
  readonly passed: Group[];
}

/** More boxes of one kind than this are more work than the packets in them. */
const MOST_BOXES = 4_096;

export class TablePairs {
  readonly conditions: Conditions;
  readonly #tables: ReadonlyMap<TableName, ReadonlyMap<string, Chain>>;
  /** By hook and table: rules ask for devices that hooks hide, and jump to chains of their table. */
  readonly #loaded = new Map<string, Map<Chain, readonly LoadedRule[]>>();

  constructor(program: TableProgram, question: PairQuestion, packets: PacketMatches) {
    this.conditions = new Conditions(program, question, packets);
    const own = program.families.find(({ family }) => family === question.family);
    this.#tables = new Map(
      own?.tables.map(({ name, chains }) => [name, new Map(chains.map((chain) => [chain.name, chain]))]),
    );
  }

  /** Walks openings of one path (`PATH`). Throws `Undecidable`. */
  walk(path: number, openings: readonly Box[], refuse: Refuse): void {
    let groups: readonly Group[] = [{ mark: 0, connmark: 0, boxes: openings }];
    for (const [hook, tables] of WAYS[path] ?? []) {
      for (const name of tables) {
        const chains = this.#tables.get(name);
        const chain = chains?.get(hook);
        if (chains === undefined || chain === undefined) continue;
        const key = `${hook} ${name}`;
        const loaded = this.#loaded.get(key) ?? new Map<Chain, readonly LoadedRule[]>();
        this.#loaded.set(key, loaded);
        groups = this.#callHook(chain, groups, { hook, isTracked: name !== "raw", refuse, chains, loaded, passed: [] });
      }
    }
  }

  #callHook(chain: Chain, groups: readonly Group[], call: Call): readonly Group[] {
    const atEnd = this.#walkChain(chain, groups, call);
    for (const group of atEnd) {
      if (chain.policy === "drop") call.refuse(VERDICT_CODE.drop, group.boxes);
      else addGroup(call.passed, group);
    }
    return call.passed;
  }

  /** What comes back, by a return or from the end of the chain. */
  #walkChain(chain: Chain, groups: readonly Group[], call: Call): readonly Group[] {
    const rules = this.#load(chain, call);
    const back: Group[] = [];
    let here = groups;
    for (let at = 0; at < rules.length && here.length > 0; at++) {
      const { cubes, marks, target } = rules[at] as LoadedRule;
      let next: Group[] | undefined;
      for (let index = 0; index < here.length; index++) {
        const group = here[index] as Group;
        const parts = hasMarks(marks, group, call.isTracked) ? split(group.boxes, cubes) : undefined;
        if (parts === undefined || parts.inside.length === 0) {
          if (next !== undefined) addGroup(next, group);
          continue;
        }
        next ??= here.slice(0, index);
        if (parts.outside.length > 0) addGroup(next, withBoxes(group, parts.outside));
        this.#apply(target, withBoxes(group, parts.inside), { next, back, call });
      }
      here = next ?? here;
    }
    for (const group of here) addGroup(back, group);
    return back;
  }

  #apply(
    target: Target,
    group: Group,
    { next, back, call }: { readonly next: Group[]; readonly back: Group[]; readonly call: Call },
  ): void {
    switch (target.kind) {
      case "accept":
      case "nat":
        addGroup(call.passed, group);
        return;
      case "drop":
      case "reject":
        call.refuse(VERDICT_CODE[target.kind], group.boxes);
        return;
      case "return":
        addGroup(back, group);
        return;
      case "jump":
      case "goto": {
        const chain = chainNamed(target.chain, call);
        const into = target.kind === "jump" ? next : back;
        // Boxes that the rule has made equal on two sides are one to the chain: of many sources to one pod, say.
        const entering = withBoxes(group, joined(group.boxes));
        for (const returned of this.#walkChain(chain, [entering], call)) addGroup(into, returned);
        return;
      }
      case "mark":
        addGroup(next, { ...group, mark: written(group.mark, target.value, target.mask) });
        return;
      case "connmark":
        addGroup(next, call.isTracked ? withConnmark(group, target) : group);
        return;
      default:
        throw new Undecidable(`the target ${target.kind}`);
    }
  }

  #load(chain: Chain, call: Call): readonly LoadedRule[] {
    const known = call.loaded.get(chain);
    if (known !== undefined) return known;
    const loaded = chain.rules.flatMap((rule) => this.#loadRule(rule, call) ?? []);
    call.loaded.set(chain, loaded);
    return loaded;
  }

  /** Undefined: it does nothing to any of the packets. */
  #loadRule({ matches, target }: Rule, call: Call): LoadedRule | undefined {
    if (target === undefined || target.kind === "log") return undefined;
    if (matches.some(({ kind }) => kind === "opaque")) throw new Undecidable("an unknown match");
    if (target.kind === "nat" && (target.target === "DNAT" || target.target === "REDIRECT")) {
      throw new Undecidable(`the target ${target.target}`);
    }
    if (!matches.every((match) => match.kind !== "ctState" || isInState(match, call))) return undefined;
    const cubes = this.conditions.of(matches, call.hook);
    if (cubes === undefined) throw new Undecidable("a match that reads more than the packet");
    if (cubes.length === 0) return undefined;
    // Chains of rules for other states, say, come to nothing.
    if (target.kind === "jump" && this.#load(chainNamed(target.chain, call), call).length === 0) return undefined;
    return { cubes, marks: matches.filter(isMarkMatch), target };
  }
}

/** Before connection tracking a packet is what matches call invalid, and after it each of these is new. */
function isInState({ states, negate }: Extract<Match, { kind: "ctState" }>, { isTracked }: Call): boolean {
  return states.includes(isTracked ? "new" : "invalid") !== negate;
}

function hasMarks(marks: readonly MarkMatch[], group: Group, isTracked: boolean): boolean {
  for (let index = 0; index < marks.length; index++) {
    const { kind, value, mask, negate } = marks[index] as MarkMatch;
    // Without a connection its mark matches nothing, negated or not.
    if (kind === "connmark" && !isTracked) return false;
    const own = kind === "mark" ? group.mark : group.connmark;
    if (((own & mask) === (value | 0)) === negate) return false;
  }
  return true;
}

function chainNamed(name: string, { chains }: Call): Chain {
  const chain = chains.get(name);
  if (chain === undefined) throw new Error(`a rule jumps to ${name}, which is not there`);
  return chain;
}

function withConnmark(group: Group, target: Extract<Target, { kind: "connmark" }>): Group {
  const { mark, connmark } = group;
  switch (target.operation) {
    case "restore":
      return { ...group, mark: written(mark, connmark & target.mask, target.mask) };
    case "save":
      return { ...group, connmark: written(connmark, mark & target.mask, target.mask) };
    default:
      return { ...group, connmark: written(connmark, target.value, target.mask) };
  }
}

function written(mark: number, value: number, mask: number): number {
  return (mark & ~mask) ^ value;
}

function withBoxes({ mark, connmark }: Group, boxes: readonly Box[]): Group {
  return { mark, connmark, boxes };
}

function joined(boxes: readonly Box[]): readonly Box[] {
  if (boxes.length < 2) return boxes;
  const few: Box[] = [];
  for (const box of boxes) addBox(few, box);
  return few;
}

/** Adds packets to groups that have none of them. */
function addGroup(groups: Group[], group: Group): void {
  const { mark, connmark } = group;
  for (let index = 0; index < groups.length; index++) {
    const known = groups[index] as Group;
    if (known.mark !== mark || known.connmark !== connmark) continue;
    const boxes = known.boxes.slice();
    for (let at = 0; at < group.boxes.length; at++) addBox(boxes, group.boxes[at] as Box);
    if (boxes.length > MOST_BOXES) throw new Undecidable(`${boxes.length} boxes`);
    groups[index] = withBoxes(known, boxes);
    return;
  }
  groups.push(group);
}
