/**
 * A node's program while commands change it, as the kernel would: what cannot be done is refused with the kernel's
 * reason and leaves everything as it was.
 *
 * Unchanged sets, chains and maps are the same objects in every program given out, so that whoever compares two states,
 * or loads one after the other, can skip them by identity.
 */
import type {
  Attachment,
  Chain,
  IPSet,
  IPSetMember,
  MapEntry,
  MapSpec,
  Program,
  Rule,
  Table,
  TableName,
} from "../../dataplane/program.ts";
import { BUILT_IN_CHAINS } from "../../dataplane/program.ts";
import { entryKey } from "../import/ipsetEntry.ts";
import { SET_COMMENT_MAX_BYTES, utf8Bytes } from "../names.ts";
import { ruleText } from "../render/iptablesSave.ts";
import type { Commit, MapCommand, Part, RuleCommand, SetCommand, SetHead } from "./operation.ts";

/** Undefined: done. Otherwise why the kernel refuses. */
export type Refusal = string | undefined;

interface LiveSet {
  head: SetHead;
  /** Undefined until somebody changes the set: its members are those of `frozen`. */
  members: Map<string | number, IPSetMember> | undefined;
  frozen: IPSet | undefined;
}

interface LatestSets {
  readonly order: readonly LiveSet[];
  readonly places: ReadonlyMap<LiveSet, number>;
  readonly sets: readonly IPSet[];
}

interface LiveTable {
  readonly name: TableName;
  chains: Map<string, Chain>;
  frozen: Table | undefined;
}

interface LiveMap {
  readonly head: Omit<MapSpec, "entries">;
  entries: Map<string, MapEntry> | undefined;
  frozen: MapSpec | undefined;
}

export class NodeState {
  readonly #base: Program;
  /** By slot, as the kernel numbers sets: a destroyed one leaves a hole, which the next one takes. */
  #slots: (LiveSet | undefined)[] = [];
  #sets = new Map<string, LiveSet>();
  /** As they are saved; undefined once one has come or gone. */
  #order: readonly LiveSet[] | undefined;
  /** The sets of the latest program that was asked for, and what has changed since. */
  #latest: LatestSets | undefined;
  readonly #thawed = new Set<LiveSet>();
  readonly #families: { readonly family: 4 | 6; readonly tables: Map<TableName, LiveTable> }[] = [];
  #maps = new Map<string, LiveMap>();
  #attachPoints: Extract<Program, { kind: "maps" }>["attachPoints"] = [];
  #attachment: Attachment;
  #frozen: Program | undefined;

  constructor(program: Program) {
    this.#base = program;
    this.#attachment = program.attachment;
    this.#frozen = program;
    if (program.kind === "maps") {
      for (const map of program.maps) this.#maps.set(map.name, { head: map, entries: undefined, frozen: map });
      this.#attachPoints = program.attachPoints;
      return;
    }
    for (const set of program.sets) {
      const live: LiveSet = { head: set, members: undefined, frozen: set };
      this.#slots.push(live);
      this.#sets.set(set.name, live);
    }
    for (const { family, tables } of program.families) {
      this.#families.push({
        family,
        tables: new Map(
          tables.map((table) => [
            table.name,
            { name: table.name, chains: new Map(table.chains.map((chain) => [chain.name, chain])), frozen: table },
          ]),
        ),
      });
    }
  }

  /** The program as it is now; the same object until something changes. */
  get program(): Program {
    this.#frozen ??= this.#freeze();
    return this.#frozen;
  }

  /** Pods came or went: how they hang on the node is not up to the controller. */
  attach(attachment: Attachment): void {
    if (attachment === this.#attachment) return;
    this.#attachment = attachment;
    this.#frozen = undefined;
  }

  /** Carries out one part. Flushes of connections are no business of the program. */
  run(part: Part): Refusal {
    const refusal = this.#run(part);
    if (refusal === undefined && part.kind !== "connections") this.#frozen = undefined;
    return refusal;
  }

  #run(part: Part): Refusal {
    switch (part.kind) {
      case "set":
        return this.#runSet(part.command);
      case "commit":
        return this.#runCommit(part);
      case "map":
        return this.#runMap(part.command);
      case "connections":
        return undefined;
    }
  }

  /** Names of the sets in the order `ipset save` has them. */
  get setNames(): readonly string[] {
    return this.#inSaveOrder().map(({ head }) => head.name);
  }

  /** By slot, lists of sets behind all others. */
  #inSaveOrder(): readonly LiveSet[] {
    this.#order ??= this.#ordered();
    return this.#order;
  }

  #ordered(): readonly LiveSet[] {
    const live = this.#slots.filter((slot) => slot !== undefined);
    const isList = ({ head }: LiveSet) => head.type === "list:set";
    return [...live.filter((set) => !isList(set)), ...live.filter(isList)];
  }

  #runSet(command: SetCommand): Refusal {
    switch (command.verb) {
      case "create": {
        const known = this.#sets.get(command.set.name);
        if (known !== undefined) {
          if (command.tolerant !== true) return "Set cannot be created: set with the same name already exists";
          return known.head.type === command.set.type
            ? undefined
            : "Set cannot be created: set with the same name already exists";
        }
        this.#place({ head: command.set, members: new Map(), frozen: undefined });
        return undefined;
      }
      case "add": {
        const set = this.#sets.get(command.set);
        if (set === undefined) return NO_SET;
        const { member } = command;
        if (member.kind === "set" && !this.#sets.has(member.set)) return NO_SET;
        if (member.kind !== "set" && member.cidr.family !== set.head.family) return OTHER_FAMILY;
        if (utf8Bytes(member.comment ?? "") > SET_COMMENT_MAX_BYTES) return LONG_COMMENT;
        const members = this.#membersOf(set);
        const key = entryKey(member);
        if (members.has(key) && command.tolerant !== true)
          return "Element cannot be added to the set: it's already added";
        members.set(key, member);
        return undefined;
      }
      case "del": {
        const set = this.#sets.get(command.set);
        if (set === undefined) return NO_SET;
        const key = entryKey(command.member);
        const members = this.#membersOf(set);
        if (!members.delete(key) && command.tolerant !== true) {
          return "Element cannot be deleted from the set: it's not added";
        }
        return undefined;
      }
      case "swap": {
        const [from, to] = [this.#sets.get(command.from), this.#sets.get(command.to)];
        if (from === undefined || to === undefined) return NO_SET;
        if (from.head.type !== to.head.type || from.head.family !== to.head.family) {
          return "The sets cannot be swapped: their type does not match";
        }
        this.#membersOf(from);
        this.#membersOf(to);
        [from.members, to.members] = [to.members, from.members];
        return undefined;
      }
      case "flush": {
        const flushed = command.set === undefined ? [...this.#sets.values()] : [this.#sets.get(command.set)];
        for (const set of flushed) {
          if (set === undefined) return NO_SET;
          set.members = new Map();
          this.#thaw(set);
        }
        return undefined;
      }
      case "destroy": {
        const set = this.#sets.get(command.set);
        if (set === undefined) return NO_SET;
        if (this.#isReferenced(command.set)) return "Set cannot be destroyed: it is in use by a kernel component";
        this.#sets.delete(command.set);
        this.#slots[this.#slots.indexOf(set)] = undefined;
        this.#order = undefined;
        return undefined;
      }
    }
  }

  #place(set: LiveSet): void {
    this.#sets.set(set.head.name, set);
    const hole = this.#slots.indexOf(undefined);
    if (hole >= 0) this.#slots[hole] = set;
    else this.#slots.push(set);
    this.#order = undefined;
  }

  #thaw(set: LiveSet): void {
    set.frozen = undefined;
    this.#thawed.add(set);
  }

  /** Of thousands of sets a command changes one or two: the others are not looked at. */
  #frozenSets(): readonly IPSet[] {
    const order = this.#inSaveOrder();
    if (this.#latest?.order === order) {
      const sets = this.#latest.sets.slice();
      for (const set of this.#thawed) {
        const place = this.#latest.places.get(set);
        if (place !== undefined) sets[place] = frozenOf(set);
      }
      this.#latest = { ...this.#latest, sets };
    } else {
      const places = new Map(order.map((set, place) => [set, place]));
      this.#latest = { order, places, sets: order.map(frozenOf) };
    }
    this.#thawed.clear();
    return this.#latest.sets;
  }

  #membersOf(set: LiveSet): Map<string | number, IPSetMember> {
    set.members ??= new Map((set.frozen?.members ?? []).map((member) => [entryKey(member), member]));
    this.#thaw(set);
    return set.members;
  }

  /** By a rule, or by a list of sets. */
  #isReferenced(name: string): boolean {
    for (const { head, members, frozen } of this.#sets.values()) {
      if (head.type !== "list:set") continue;
      const all = members === undefined ? (frozen?.members ?? []) : [...members.values()];
      if (all.some((member) => member.kind === "set" && member.set === name)) return true;
    }
    return this.#families.some(({ tables }) =>
      [...tables.values()].some(({ chains }) => [...chains.values()].some((chain) => setsRead(chain).has(name))),
    );
  }

  #runCommit({ family, table, flush, commands }: Commit): Refusal {
    let tables = this.#families.find((one) => one.family === family)?.tables;
    if (tables === undefined) {
      tables = new Map();
      this.#families.push({ family, tables });
      this.#families.sort((a, b) => a.family - b.family);
    }
    const live = tables.get(table) ?? { name: table, chains: emptyTable(table), frozen: undefined };
    const draft = new Draft(flush ? emptyTable(table) : live.chains, family);
    for (const command of commands) {
      const refusal = draft.run(command);
      if (refusal !== undefined) return refusal;
    }
    for (const chain of draft.chains.values()) {
      if (live.chains.get(chain.name) === chain) continue;
      for (const set of setsRead(chain)) if (!this.#sets.has(set)) return `Set ${set} doesn't exist.`;
      for (const { target } of chain.rules) {
        if ((target?.kind === "jump" || target?.kind === "goto") && !draft.chains.has(target.chain)) {
          return `Chain '${target.chain}' does not exist`;
        }
      }
    }
    tables.set(table, { name: table, chains: draft.chains, frozen: undefined });
    return undefined;
  }

  #runMap(command: MapCommand): Refusal {
    switch (command.verb) {
      case "create":
        if (this.#maps.has(command.map.name)) return "the map exists";
        this.#maps.set(command.map.name, { head: command.map, entries: new Map(), frozen: undefined });
        return undefined;
      case "update": {
        const map = this.#maps.get(command.map);
        if (map === undefined) return NO_MAP;
        const entries = entriesOf(map);
        const key = keyText(command.entry.key);
        if (!entries.has(key) && entries.size >= map.head.maxEntries) return "the map is full";
        entries.set(key, command.entry);
        return undefined;
      }
      case "delete": {
        const map = this.#maps.get(command.map);
        if (map === undefined) return NO_MAP;
        return entriesOf(map).delete(keyText(command.key)) ? undefined : "the map has no such key";
      }
      case "remove":
        return this.#maps.delete(command.map) ? undefined : NO_MAP;
      case "attach":
        this.#attachPoints = [...this.#attachPoints, command.point];
        return undefined;
      case "detach":
        this.#attachPoints = this.#attachPoints.filter(({ endpoint }) => endpoint !== command.endpoint);
        return undefined;
    }
  }

  #freeze(): Program {
    const attachment = this.#attachment;
    if (this.#base.kind === "maps") {
      return {
        ...this.#base,
        maps: [...this.#maps.values()].map((map) => {
          map.frozen ??= { ...map.head, entries: [...(map.entries ?? new Map<string, MapEntry>()).values()] };
          return map.frozen;
        }),
        attachPoints: this.#attachPoints,
        attachment,
      };
    }
    return {
      ...this.#base,
      sets: this.#frozenSets(),
      families: this.#families.map(({ family, tables }) => ({
        family,
        tables: [...tables.values()].map((table) => {
          table.frozen ??= { name: table.name, chains: [...table.chains.values()] };
          return table.frozen;
        }),
      })),
      attachment,
    };
  }
}

const NO_SET = "The set with the given name does not exist";
/** What `ipset add` says to IPv6 in a set of IPv4. */
const OTHER_FAMILY = "Syntax error: cannot parse the address: it is of another family than the set";
const LONG_COMMENT = `Syntax error: Comment is longer than the maximum allowed ${SET_COMMENT_MAX_BYTES} characters`;
const NO_MAP = "there is no such map";

function frozenOf(set: LiveSet): IPSet {
  set.frozen ??= { ...set.head, members: [...(set.members ?? new Map<string, IPSetMember>()).values()] };
  return set.frozen;
}

function entriesOf(map: LiveMap): Map<string, MapEntry> {
  map.entries ??= new Map((map.frozen?.entries ?? []).map((entry) => [keyText(entry.key), entry]));
  map.frozen = undefined;
  return map.entries;
}

export function keyText(key: Uint8Array): string {
  let text = "";
  for (const byte of key) text += byte.toString(16).padStart(2, "0");
  return text;
}

const READ = new WeakMap<Chain, ReadonlySet<string>>();

/** The sets that a chain's rules look into. */
function setsRead(chain: Chain): ReadonlySet<string> {
  let read = READ.get(chain);
  if (read === undefined) {
    const names = new Set<string>();
    for (const { matches } of chain.rules) for (const match of matches) if (match.kind === "set") names.add(match.set);
    read = names;
    READ.set(chain, read);
  }
  return read;
}

function emptyTable(table: TableName): Map<string, Chain> {
  return new Map(BUILT_IN_CHAINS[table].map((hook) => [hook, { name: hook, policy: "accept", rules: [] }]));
}

/** A table that a commit puts together; chains are copied when they are first touched. */
class Draft {
  readonly chains: Map<string, Chain>;
  readonly #family: 4 | 6;
  readonly #open = new Map<string, Rule[]>();

  constructor(chains: ReadonlyMap<string, Chain>, family: 4 | 6) {
    this.chains = new Map(chains);
    this.#family = family;
  }

  run(command: RuleCommand): Refusal {
    const { verb, chain: name } = command;
    if (verb === "declare") {
      const known = this.chains.get(name);
      const policy = command.policy ?? known?.policy;
      this.#put({
        name,
        ...(policy !== undefined && { policy }),
        rules: policy === undefined ? [] : (known?.rules ?? []),
      });
      return undefined;
    }
    if (verb === "create") {
      if (this.chains.has(name)) return "Chain already exists.";
      this.#put({ name, rules: [] });
      return undefined;
    }
    if (name === undefined) {
      for (const chain of [...this.chains.values()]) this.#put({ ...chain, rules: [] });
      return undefined;
    }
    const chain = this.chains.get(name);
    if (chain === undefined) return "No chain/target/match by that name.";
    if (verb === "flush") {
      this.#put({ ...chain, rules: [] });
      return undefined;
    }
    if (verb === "remove") {
      if (chain.policy !== undefined) return "a built-in chain cannot be removed";
      if (chain.rules.length > 0) return "Directory not empty.";
      if ([...this.chains.values()].some(({ rules }) => rules.some(({ target }) => leadsTo(target, name)))) {
        return "Too many links.";
      }
      this.chains.delete(name);
      this.#open.delete(name);
      return undefined;
    }
    const rules = this.#rulesOf(chain);
    switch (verb) {
      case "append":
        rules.push(command.rule);
        return undefined;
      case "insert":
        if (command.at < 1 || command.at > rules.length + 1) return BAD_INDEX;
        rules.splice(command.at - 1, 0, command.rule);
        return undefined;
      case "replace":
        if (command.at < 1 || command.at > rules.length) return BAD_INDEX;
        rules[command.at - 1] = command.rule;
        return undefined;
      case "deleteAt":
        if (command.at < 1 || command.at > rules.length) return BAD_INDEX;
        rules.splice(command.at - 1, 1);
        return undefined;
      case "delete": {
        const wanted = ruleText(command.rule, this.#family);
        const index = rules.findIndex((rule) => rule === command.rule || ruleText(rule, this.#family) === wanted);
        if (index < 0) return "Bad rule (does a matching rule exist in that chain?).";
        rules.splice(index, 1);
        return undefined;
      }
    }
  }

  #put(chain: Chain): void {
    this.#open.delete(chain.name);
    this.chains.set(chain.name, chain);
  }

  #rulesOf(chain: Chain): Rule[] {
    let rules = this.#open.get(chain.name);
    if (rules === undefined) {
      rules = [...chain.rules];
      this.#open.set(chain.name, rules);
      this.chains.set(chain.name, { ...chain, rules });
    }
    return rules;
  }
}

const BAD_INDEX = "Index of insertion too big.";

function leadsTo(target: Rule["target"], chain: string): boolean {
  return (target?.kind === "jump" || target?.kind === "goto") && target.chain === chain;
}
