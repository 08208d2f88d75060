/**
 * What weave-npc has put into the kernel, and the commands by which: one process for each element, rule and set
 * (npc/ipset, coreos/go-iptables). Elements have users; the command runs for the first and the last of them.
 */
import { type Cidr, formatCidr } from "../../../dataplane/address.ts";
import { protocolName } from "../../../dataplane/packet.ts";
import type { IPSet, IPSetMember, Match, Rule, Target } from "../../../dataplane/program.ts";
import { replacedItems } from "../../again.ts";
import { SET_COMMENT_MAX_BYTES, utf8Bytes } from "../../names.ts";
import { elementText } from "../../render/ipsetSave.ts";
import { ipsetCall, plainTarget, tableCall } from "../../update/commands.ts";
import type { Operation, RuleCommand, SetCommand } from "../../update/operation.ts";

/** ipset says "already exists", or a value is not of the set's family: weave-npc gives up on the policy there. */
export class IpsetError extends Error {}

/** Of these the one where another set has the name. */
export class NameTakenError extends IpsetError {}

/** Gets each command as it is run; `cause` is the event at hand. */
export type CommandSink = (operation: Operation) => void;

interface SetState {
  readonly name: string;
  readonly type: IPSet["type"];
  readonly origin: string;
  /** By the text of the element: the kernel has each once. */
  readonly members: Map<string, IPSetMember>;
  /** Who has asked for an element; the comment is the first one's. */
  readonly users: Map<string, Set<string>>;
  /** As it was last shown, unless its members have changed since. */
  shown: IPSet | undefined;
}

function shown(set: SetState): IPSet {
  const { name, type, origin, members } = set;
  set.shown ??= { name, type, family: 4, members: [...members.values()], options: optionsOf(type), origin };
  return set.shown;
}

/** The chains whose rules come and go. */
export const CHAIN = {
  ingress: "WEAVE-NPC-INGRESS",
  ingressDefault: "WEAVE-NPC-DEFAULT",
  egress: "WEAVE-NPC-EGRESS-CUSTOM",
  egressDefault: "WEAVE-NPC-EGRESS-DEFAULT",
  egressEnd: "WEAVE-NPC-EGRESS",
} as const;
export type WeaveChain = (typeof CHAIN)[keyof typeof CHAIN];

export class WeaveKernel {
  readonly #sets = new Map<string, SetState>();
  /** All of them as they were last shown, and their places there; undefined: sets have come or gone since. */
  #shown: readonly IPSet[] | undefined;
  #places = new Map<string, number>();
  /** Sets whose members have changed since. */
  readonly #changed = new Set<SetState>();
  readonly #rules: Record<WeaveChain, Rule[]> = {
    [CHAIN.ingress]: [],
    [CHAIN.ingressDefault]: [],
    [CHAIN.egress]: [],
    [CHAIN.egressDefault]: [],
    [CHAIN.egressEnd]: [],
  };
  readonly #sink: CommandSink | undefined;
  /** What the commands from here on are for. */
  cause = "";

  /** Without a sink nothing is told, which is all a compiler needs. */
  constructor(sink?: CommandSink) {
    this.#sink = sink;
  }

  get sets(): readonly IPSet[] {
    if (this.#shown === undefined) {
      this.#places = new Map([...this.#sets.keys()].map((name, place) => [name, place]));
      this.#shown = Array.from(this.#sets.values(), shown);
    } else {
      const changed = [...this.#changed].map((set) => [this.#places.get(set.name) ?? 0, shown(set)] as const);
      this.#shown = replacedItems(this.#shown, new Map(changed));
    }
    this.#changed.clear();
    return this.#shown;
  }

  /** As they are now: a program that holds them is not changed by what comes. */
  rules(chain: WeaveChain): readonly Rule[] {
    return [...this.#rules[chain]];
  }

  /** Whether any policy so far had egress: rules at the end of the chain are never taken away. */
  get hasEgressEnd(): boolean {
    return this.#rules[CHAIN.egressEnd].length > 0;
  }

  has(set: string): boolean {
    return this.#sets.has(set);
  }

  /** Whether the address is in the set, directly or through a set in it. */
  contains(set: string, address: Cidr): boolean {
    const { members } = this.#setNamed(set);
    if (members.has(formatCidr(address))) return true;
    return [...members.values()].some((member) => member.kind === "set" && this.contains(member.set, address));
  }

  create(name: string, type: IPSet["type"], origin: string): void {
    if (this.#sets.has(name)) throw new NameTakenError(`set ${name} exists already`);
    this.#sets.set(name, { name, type, origin, members: new Map(), users: new Map(), shown: undefined });
    this.#shown = undefined;
    const set = { name, type, family: 4, options: optionsOf(type), origin } as const;
    const size = type === "list:set" ? ["size", String(LIST_SIZE)] : [];
    this.#tell(["create", name, type, ...size, "comment"], { verb: "create", set });
  }

  add(set: string, member: IPSetMember, user: string): void {
    const comment = member.comment === undefined ? [] : ["comment", member.comment];
    const args = ["add", set, elementText(member), ...comment];
    const command = { verb: "add", set, member } as const;
    const state = this.#sets.get(set) ?? this.#refused(args, command);
    const key = keyOf(member);
    const known = state.users.get(key);
    if (known !== undefined) {
      known.add(user);
      return;
    }
    // Noted before the command is run: an element that ipset refuses is taken to be there from then on.
    state.users.set(key, new Set([user]));
    if (!isTaken(member)) this.#refused(args, command);
    state.members.set(key, member);
    this.#change(state);
    this.#tell(args, command);
  }

  /** Does nothing for an element that the user never asked for. */
  delete(set: string, member: IPSetMember, user: string): void {
    const args = ["del", set, elementText(member)];
    const command = { verb: "del", set, member } as const;
    const state = this.#sets.get(set) ?? this.#refused(args, command);
    const key = keyOf(member);
    const known = state.users.get(key);
    if (known?.delete(user) !== true || known.size > 0) return;
    state.users.delete(key);
    if (!state.members.delete(key)) this.#refused(args, command);
    this.#change(state);
    this.#tell(args, command);
  }

  /** Everybody who has asked for an element. */
  usersOf(set: string): ReadonlySet<string> {
    return new Set([...this.#setNamed(set).users.values()].flatMap((users) => [...users]));
  }

  /** Takes all out, without a command: nobody watches. */
  empty(set: string): void {
    const state = this.#setNamed(set);
    state.members.clear();
    state.users.clear();
    this.#change(state);
  }

  /** A set that a rule still uses stays: the command is run once more, then the error stands. */
  destroy(name: string): void {
    const command = { verb: "destroy", set: name } as const;
    if (!this.#sets.has(name) || this.#isInUse(name)) {
      this.#tell(["destroy", name], command, "may fail");
      this.#refused(["destroy", name], command);
    }
    this.#sets.delete(name);
    this.#shown = undefined;
    this.#tell(["destroy", name], command);
  }

  append(chain: WeaveChain, rule: Rule): void {
    const command = { verb: "append", chain, rule } as const;
    const missing = rule.matches.find((match) => match.kind === "set" && !this.#sets.has(match.set));
    if (missing !== undefined) this.#refusedRule("-A", command);
    this.#rules[chain].push(rule);
    this.#tellRule("-A", command);
  }

  /** The first rule of that content. */
  remove(chain: WeaveChain, rule: Rule): void {
    const text = JSON.stringify([rule.matches, rule.target]);
    const rules = this.#rules[chain];
    const index = rules.findIndex(({ matches, target }) => JSON.stringify([matches, target]) === text);
    const command = { verb: "delete", chain, rule } as const;
    if (index < 0) this.#refusedRule("-D", command);
    rules.splice(index, 1);
    this.#tellRule("-D", command);
  }

  #change(set: SetState): void {
    set.shown = undefined;
    this.#changed.add(set);
  }

  #isInUse(name: string): boolean {
    const byRule = Object.values(this.#rules).some((rules) =>
      rules.some(({ matches }) => matches.some((match) => match.kind === "set" && match.set === name)),
    );
    return byRule || [...this.#sets.values()].some(({ members }) => members.has(name));
  }

  #setNamed(name: string): SetState {
    const set = this.#sets.get(name);
    if (set === undefined) throw new Error(`weave-net has no set ${name}`);
    return set;
  }

  #tell(args: readonly string[], command: SetCommand, outcome: "succeeds" | "may fail" = "succeeds"): void {
    if (this.#sink === undefined) return;
    const operation = ipsetCall(args, command, this.cause);
    this.#sink(outcome === "succeeds" ? operation : { ...operation, mayFail: true });
  }

  /** The kernel refuses, the command is run all the same, and the event ends there. */
  #refused(args: readonly string[], command: SetCommand): never {
    this.#tell(args, command, "may fail");
    throw new IpsetError(`ipset ${args.join(" ")} is refused`);
  }

  #refusedRule(verb: "-A" | "-D", command: Extract<RuleCommand, { verb: "append" | "delete" }>): never {
    this.#sink?.({ ...ruleCall(verb, command, this.cause), mayFail: true });
    throw new IpsetError(`iptables ${verb} ${command.chain} is refused`);
  }

  #tellRule(verb: "-A" | "-D", command: Extract<RuleCommand, { verb: "append" | "delete" }>): void {
    this.#sink?.(ruleCall(verb, command, this.cause));
  }
}

/** One call of `iptables` for a rule. */
export function ruleCall(
  verb: "-A" | "-D",
  command: Extract<RuleCommand, { verb: "append" | "delete" }>,
  cause: string,
): Operation {
  const args = ["-t", "filter", verb, command.chain, ...ruleWords(command.rule), "--wait"];
  return tableCall({ family: 4, table: "filter", args, command, cause });
}

/** --max-list-size of launch.sh; comments are on wherever ipset has them. */
const LIST_SIZE = 1024;

function optionsOf(type: IPSet["type"]): IPSet["options"] {
  return type === "list:set" ? { size: LIST_SIZE, comment: true } : { comment: true };
}

/** Whether `ipset add` takes it: every set is IPv4's, and comments have a limit. */
export function isTaken(member: IPSetMember): boolean {
  if (utf8Bytes(member.comment ?? "") > SET_COMMENT_MAX_BYTES) return false;
  return member.kind === "set" || member.cidr.family === 4;
}

function keyOf(member: IPSetMember): string {
  return member.kind === "set" ? member.set : formatCidr(member.cidr);
}

/** Words of a rule as weave-npc gives them: those of default-allow rules have the comment behind the target. */
function ruleWords({ matches, target }: Rule): readonly string[] {
  const comments = matches.filter(({ kind }) => kind === "comment");
  const isDefault = comments.some((match) => match.kind === "comment" && match.text.startsWith("DefaultAllow "));
  const rest = isDefault ? matches.filter((match) => !comments.includes(match)) : matches;
  return [
    ...rest.flatMap(matchWords),
    ...(target === undefined ? [] : targetWords(target)),
    ...(isDefault ? comments.flatMap(matchWords) : []),
  ];
}

function matchWords(match: Match): readonly string[] {
  const not = "negate" in match && match.negate ? ["!"] : [];
  switch (match.kind) {
    case "comment":
      return ["-m", "comment", "--comment", match.text];
    case "protocol":
      return ["-p", protocolName(match.protocol).toUpperCase()];
    case "address":
      return [match.side === "source" ? "-s" : "-d", formatCidr(match.cidr)];
    case "set":
      return ["-m", "set", ...not, "--match-set", match.set, match.sides[0] === "source" ? "src" : "dst"];
    case "ports": {
      const [{ first, last } = { first: 0, last: 0 }] = match.ranges;
      return ["--dport", first === last ? String(first) : `${first}:${last}`];
    }
    case "ctState":
      return ["-m", match.extension, "--state", match.states.join(",").toUpperCase()];
    case "mark":
      return ["-m", "mark", ...not, "--mark", `${hex(match.value)}/${hex(match.mask)}`];
    case "addressType":
      return ["-m", "addrtype", `--${match.side === "source" ? "src" : "dst"}-type`, match.type];
    case "physdev": {
      const device = (option: string, test: typeof match.in) => (test === undefined ? [] : [`${option}=${test.name}`]);
      const sides = [...device("--physdev-in", match.in), ...device("--physdev-out", match.out)];
      return ["-m", "physdev", ...(match.isBridged === true ? ["--physdev-is-bridged"] : []), ...sides];
    }
    default:
      throw new Error(`weave-npc writes no ${match.kind} match`);
  }
}

function targetWords(target: Target): readonly string[] {
  const words = plainTarget(target);
  if (words !== undefined) return words;
  switch (target.kind) {
    case "mark":
      return ["-j", "MARK", "--set-xmark", `${hex(target.value)}/${hex(target.mask)}`];
    case "log":
      return ["-j", target.target, ...target.text.split(" ")];
    default:
      throw new Error(`weave-npc writes no ${target.kind} target`);
  }
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
