/** Chains and rules of a node as columns of numbers: what the walk executes. */

import type { Family } from "../address.ts";
import { maskWord } from "../address.ts";
import { assertNever } from "../assertNever.ts";
import type { FamilyTables, Hook, Match, Rule, TableName, TableProgram, Target } from "../program.ts";
import type { DropReason } from "../verdict.ts";
import { HEAD, HEAD_WORDS, HeadIndex } from "./headIndex.ts";
import { loadSets } from "./ipset.ts";
import { type MatchSurroundings, MatchTable } from "./matches.ts";

/** What a slot does once its matches hold. `a` and `b` are the columns of the same name. */
export const ACTION = {
  /** On to the next slot: no target, or one that changes nothing. */
  pass: 0,
  accept: 1,
  drop: 2,
  reject: 3,
  /** Back to the caller; in a built-in chain: to its policy. Also the end of a user chain. */
  return: 4,
  /** a = first slot of the chain. */
  jump: 5,
  goto: 6,
  /** a = value, b = mask. */
  mark: 7,
  connmarkSet: 8,
  connmarkSave: 9,
  connmarkRestore: 10,
  notrack: 11,
  /** a = zone. */
  ctZone: 12,
  /** Ends the walk of the nat table. */
  nat: 13,
  /** The verdict is unknown from here on. */
  unknown: 14,
  /** Whether the rule matches is unknown, but it makes no difference. */
  unknownPass: 15,
  /** Ends of chains; not rules, so they count for nothing. */
  chainEnd: 16,
  policyAccept: 17,
  policyDrop: 18,
} as const;

export interface LoadedChain {
  readonly family: Family;
  readonly table: TableName;
  readonly name: string;
  readonly policy: "accept" | "drop" | undefined;
  /** Its first slot; rule n is slot `start + n - 1`. The slot after its last rule is the end of the chain. */
  readonly start: number;
  readonly rules: readonly Rule[];
}

/**
 * All rules of a node, both families, as one run of slots. A chain is its rules followed by one slot for its end, as in
 * the kernel's blob; a slot number therefore names a rule or a policy, and is what `ResultBatch.decision` holds.
 *
 * The head of a rule — plain IPv4 source and destination, protocol — is tested before anything else, because most rules a
 * packet visits fail there. It stands in `heads`, one record per slot, with where the other matches are:
 *
 *     | source mask | value | destination mask | value | protocol mask | value | first match | end of matches |
 *
 * A field that is not tested has mask and value 0, which always holds. For IPv6 an address field is the last word of the
 * address, where addresses differ most, and a record of `matches` tests the address whole.
 */
export interface LoadedTables {
  readonly heads: Int32Array;
  /** Where long chains go on for a packet. */
  readonly headIndex: HeadIndex;
  /** The first record of the rule at all, for a trace that wants to name what failed. */
  readonly headStart: Int32Array;
  readonly action: Uint8Array;
  readonly a: Int32Array;
  readonly b: Int32Array;
  readonly matches: MatchTable;
  /** Records of limits that only decide whether somebody is told: the packet goes on either way, at the same cost. */
  readonly idleLimits: ReadonlySet<number>;
  /** Index into `chains` by slot. */
  readonly chainOf: Int32Array;
  readonly chains: readonly LoadedChain[];
  /** Why a packet that ended in this slot did not pass. */
  readonly reasons: readonly DropReason[];
  /** Call stack entries the deepest chain of jumps needs. */
  readonly stackDepth: number;
}

/**
 * Loads the tables of a node. Throws on what no kernel accepts either: a jump to a chain that is not there, a loop, a
 * set that is not there; `verifyProgram` says these things as issues, before.
 */
export function loadTables(program: TableProgram, surroundings: Omit<MatchSurroundings, "sets">): LoadedTables {
  const { chains, siblings, slots, matchCount } = numberChains(program.families);
  const calls = callsOf(chains, siblings);
  const matches = new MatchTable({ ...surroundings, sets: loadSets(program.sets) }, matchCount);
  const reasons: DropReason[] = [];
  // One piece of memory for all columns of words: to ask for one takes longer than to fill a short one.
  const words = new Int32Array(slots * (HEAD_WORDS + 4));
  const column = (number: number) => words.subarray(slots * (HEAD_WORDS + number), slots * (HEAD_WORDS + number + 1));
  const tables = {
    heads: words.subarray(0, slots * HEAD_WORDS),
    headStart: column(0),
    action: new Uint8Array(slots),
    a: column(1),
    b: column(2),
    matches,
    idleLimits: new Set<number>(),
    chainOf: column(3),
    chains,
    reasons,
    stackDepth: jumpDepth(chains, calls),
  };
  const last = lastChains(chains, calls);
  for (const [index, chain] of chains.entries()) {
    const consequence = last.has(chain) ? "none" : "some";
    const dispatches = isInterfaceDispatch(chain);
    const table = siblings[index] ?? NO_CHAINS;
    const end = chain.start + chain.rules.length;
    tables.chainOf.fill(index, chain.start, end + 1);
    for (let slot = chain.start; slot < end; slot++) {
      const rule = chain.rules[slot - chain.start];
      if (rule === undefined) break;
      loadMatches(tables, slot, rule);
      loadTarget(tables, { slot, rule, chain, chains, table, consequence });
      reasons.push(dropReason(rule, dispatches && slot === end - 1));
    }
    tables.headStart[end] = matches.length;
    tables.action[end] =
      chain.policy === undefined ? ACTION.chainEnd : chain.policy === "drop" ? ACTION.policyDrop : ACTION.policyAccept;
    reasons.push("chain-policy");
  }
  // Written out: objects made by a spread differ to the JS engine from program to program, and each rule reads this one.
  return {
    heads: tables.heads,
    headIndex: new HeadIndex(tables.heads, chains, surroundings.devices),
    headStart: tables.headStart,
    action: tables.action,
    a: tables.a,
    b: tables.b,
    matches,
    idleLimits: tables.idleLimits,
    chainOf: tables.chainOf,
    chains,
    reasons,
    stackDepth: tables.stackDepth,
  };
}

const HOOKS: ReadonlySet<string> = new Set<Hook>(["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"]);

/** The chains that packets enter by themselves. */
export function builtInChains({ chains }: LoadedTables): readonly LoadedChain[] {
  return chains.filter(({ name }) => HOOKS.has(name));
}

/** Numbers of the chains of one table of one family, by name: what its rules can jump to. */
type Siblings = ReadonlyMap<string, number>;

const NO_CHAINS: Siblings = new Map();

interface NumberedChains {
  readonly chains: readonly LoadedChain[];
  /** By chain: those of its table. Of two of one name the last. */
  readonly siblings: readonly Siblings[];
  /** Of all chains together; and their matches. */
  readonly slots: number;
  readonly matchCount: number;
}

function numberChains(families: readonly FamilyTables[]): NumberedChains {
  const chains: LoadedChain[] = [];
  const siblings: Siblings[] = [];
  let start = 0;
  let matchCount = 0;
  for (const { family, tables } of families) {
    const byTable = new Map<TableName, Map<string, number>>();
    for (const table of tables) {
      const own = byTable.get(table.name) ?? new Map<string, number>();
      byTable.set(table.name, own);
      for (const { name, policy, rules } of table.chains) {
        own.set(name, chains.length);
        chains.push({ family, table: table.name, name, policy, start, rules });
        siblings.push(own);
        start += rules.length + 1;
        for (const { matches } of rules) matchCount += matches.length;
      }
    }
  }
  return { chains, siblings, slots: start, matchCount };
}

function missing(chain: LoadedChain, name: string): never {
  throw new Error(`chain ${chain.name} of table ${chain.table} jumps to ${name}, which is not there`);
}

/** By chain: what its rules may send a packet to, as twice the number and 1 for a jump: a goto takes no room on the stack. */
type Calls = readonly (readonly number[])[];

const NO_CALLS: readonly number[] = [];

function callsOf(chains: readonly LoadedChain[], siblings: readonly Siblings[]): Calls {
  const calls: (readonly number[])[] = [];
  for (let index = 0; index < chains.length; index++) {
    const chain = chains[index] as LoadedChain;
    let own: number[] | undefined;
    for (const { target } of chain.rules) {
      if (target?.kind !== "jump" && target?.kind !== "goto") continue;
      const callee = siblings[index]?.get(target.chain) ?? missing(chain, target.chain);
      own ??= [];
      own.push(callee * 2 + (target.kind === "jump" ? 1 : 0));
    }
    calls.push(own ?? NO_CALLS);
  }
  return calls;
}

/** In place of a depth: not looked at yet, and on the path that is being followed. */
const UNKNOWN = -1;
const OPEN = -2;

/**
 * Longest path of jumps from any chain, plus one. Throws when chains call each other in a loop. Depth first with a path
 * of its own instead of recursion: programs read from a node may nest as deep as they like.
 */
function jumpDepth(chains: readonly LoadedChain[], calls: Calls): number {
  const depths: number[] = [];
  for (let chain = 0; chain < chains.length; chain++) depths.push(calls[chain] === NO_CALLS ? 0 : UNKNOWN);
  const path: { readonly chain: number; next: number; depth: number }[] = [];
  let deepest = 0;
  for (let first = 0; first < chains.length; first++) {
    if (depths[first] !== UNKNOWN) continue;
    depths[first] = OPEN;
    path.push({ chain: first, next: 0, depth: 0 });
    for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
      const call = calls[top.chain]?.[top.next];
      if (call === undefined) {
        depths[top.chain] = top.depth;
        deepest = Math.max(deepest, top.depth);
        path.pop();
        continue;
      }
      const callee = call >> 1;
      const known = depths[callee] ?? 0;
      if (known === OPEN) {
        const { name, table } = chains[callee] as LoadedChain;
        throw new Error(`chains loop through ${name} of table ${table}`);
      }
      if (known === UNKNOWN) {
        depths[callee] = OPEN;
        path.push({ chain: callee, next: 0, depth: 0 });
      } else {
        top.depth = Math.max(top.depth, known + (call & 1));
        top.next++;
      }
    }
  }
  return deepest + 1;
}

/**
 * Chains in which nothing a rule does can change what becomes of a packet: those of the nat table that only INPUT and
 * POSTROUTING lead to, where nat is the last table on every way. Not if something there drops (no tool lets one write
 * that) or marks the connection, which its next packet would show.
 */
function lastChains(chains: readonly LoadedChain[], calls: Calls): ReadonlySet<LoadedChain> {
  const early = new Set<LoadedChain>();
  const open: number[] = [];
  for (const [index, { table, name }] of chains.entries()) {
    if (table === "nat" && (name === "PREROUTING" || name === "OUTPUT")) open.push(index);
  }
  for (let index = open.pop(); index !== undefined; index = open.pop()) {
    const chain = chains[index];
    if (chain === undefined || early.has(chain)) continue;
    early.add(chain);
    for (const call of calls[index] ?? NO_CALLS) open.push(call >> 1);
  }
  const last = chains.filter((chain) => chain.table === "nat" && !early.has(chain));
  const matters = ({ policy, rules }: LoadedChain) =>
    policy === "drop" ||
    rules.some(({ target }) => target !== undefined && ["drop", "reject", "connmark", "opaque"].includes(target.kind));
  return new Set(last.some(matters) ? [] : last);
}

/** The matches that belong to the IP header part of a rule, which the kernel tests before all others (ip_packet_match). */
function isHeader(match: Match): boolean {
  return (
    match.kind === "address" || match.kind === "interface" || match.kind === "protocol" || match.kind === "fragment"
  );
}

/**
 * Puts a match into the head at `base` when that can hold it. Says whether that settles it: then the record of the match
 * need not be tested again.
 */
function loadHead(heads: Int32Array, base: number, match: Match): boolean {
  if (match.kind === "protocol" && !match.negate && heads[base + HEAD.protocol] === 0) {
    heads[base + HEAD.protocol] = 0xff;
    heads[base + HEAD.protocol + 1] = match.protocol;
    return true;
  }
  if (match.kind !== "address" || match.negate) return false;
  const at = base + HEAD[match.side];
  const { family, words, prefixLength } = match.cidr;
  const mask = maskWord(family === 4 ? prefixLength : prefixLength - 96);
  if (heads[at] !== 0 || mask === 0) return false;
  heads[at] = mask;
  heads[at + 1] = words[family === 4 ? 0 : 3] ?? 0;
  return family === 4;
}

interface MatchColumns extends Pick<LoadedTables, "heads" | "headStart" | "matches"> {
  readonly idleLimits: Set<number>;
}

/** Records in the order in which they are tested: what the head settles, the rest of the header, then all others. */
function loadMatches(tables: MatchColumns, slot: number, rule: Rule): void {
  const { heads, headStart, matches, idleLimits } = tables;
  const base = slot * HEAD_WORDS;
  const list = rule.matches;
  headStart[slot] = matches.length;
  let settled = 0; // a bit for each match; what stands behind the 31st is asked like any other
  for (let index = 0; index < list.length; index++) {
    const match = list[index] as Match;
    if (index > 30 || !loadHead(heads, base, match)) continue;
    matches.add(match, index);
    settled |= 1 << index;
  }
  heads[base + HEAD.matchStart] = matches.length;
  for (let index = 0; index < list.length; index++) {
    const match = list[index] as Match;
    if (isHeader(match) && !isSettled(settled, index)) matches.add(match, index);
  }
  const goesOn = rule.target === undefined || rule.target.kind === "log";
  for (let index = 0; index < list.length; index++) {
    const match = list[index] as Match;
    if (isHeader(match)) continue;
    if (match.kind === "limit" && goesOn && isLastExtension(list, index)) idleLimits.add(matches.length);
    matches.add(match, index);
  }
  heads[base + HEAD.matchEnd] = matches.length;
}

function isSettled(settled: number, index: number): boolean {
  return index <= 30 && ((settled >>> index) & 1) === 1;
}

/** Whether nothing behind it but comments is tested after it. */
function isLastExtension(matches: readonly Match[], index: number): boolean {
  return matches.slice(index + 1).every((match) => isHeader(match) || match.kind === "comment");
}

interface TargetPlace {
  readonly slot: number;
  readonly rule: Rule;
  readonly chain: LoadedChain;
  readonly chains: readonly LoadedChain[];
  readonly table: Siblings;
  readonly consequence: "none" | "some";
}

/** Action and operands of a rule. */
function loadTarget(
  { action, a, b }: Pick<LoadedTables, "action" | "a" | "b">,
  { slot, rule, chain, chains, table, consequence }: TargetPlace,
): void {
  const { target } = rule;
  if (rule.matches.some(isOpaque)) {
    const harmless = consequence === "none" || target === undefined || target.kind === "log";
    action[slot] = harmless ? ACTION.unknownPass : ACTION.unknown;
    return;
  }
  if (target === undefined) return; // ACTION.pass
  action[slot] = actionOf(target);
  switch (target.kind) {
    case "jump":
    case "goto":
      a[slot] = chains[table.get(target.chain) ?? missing(chain, target.chain)]?.start ?? 0;
      return;
    case "mark":
    case "connmark":
      a[slot] = target.value | 0;
      b[slot] = target.mask | 0;
      return;
    case "ctZone":
      a[slot] = target.zone;
      return;
    default:
      return;
  }
}

function isOpaque({ kind }: Match): boolean {
  return kind === "opaque";
}

function actionOf(target: Target): number {
  switch (target.kind) {
    case "accept":
      return ACTION.accept;
    case "drop":
      return ACTION.drop;
    case "reject":
      return ACTION.reject;
    case "return":
      return ACTION.return;
    case "jump":
      return ACTION.jump;
    case "goto":
      return ACTION.goto;
    case "mark":
      return ACTION.mark;
    case "connmark":
      return CONNMARK_ACTION[target.operation];
    case "notrack":
      return ACTION.notrack;
    case "ctZone":
      return ACTION.ctZone;
    case "log":
      return ACTION.pass;
    case "nat": {
      // A new destination is what every later rule would see, and we do not know it. A new source is seen by none here.
      const newDestination = target.target === "DNAT" || target.target === "REDIRECT";
      return newDestination ? ACTION.unknown : ACTION.nat;
    }
    case "opaque":
      return ACTION.unknown;
    default:
      return assertNever(target);
  }
}

const CONNMARK_ACTION = {
  set: ACTION.connmarkSet,
  save: ACTION.connmarkSave,
  restore: ACTION.connmarkRestore,
} as const;

/** Why a packet is gone when this rule dropped it. Read from what the rule tests, since names are the solutions' own. */
function dropReason({ matches }: Rule, endsDispatch: boolean): DropReason {
  for (const match of matches) if (match.kind === "rpfilter") return "spoofed";
  for (const match of matches) {
    if (match.kind === "ctState" && !match.negate && match.states.includes("invalid")) return "invalid";
  }
  return endsDispatch ? "unknown-interface" : "policy";
}

/** An unconditional last rule after rules that all pick an interface: what meets it came by none of them. */
function isInterfaceDispatch({ rules }: LoadedChain): boolean {
  const last = rules.length - 1;
  if (last < 1) return false;
  return rules.every(({ matches }, index) =>
    index === last ? matches.every(({ kind }) => kind === "comment") : matches.some(({ kind }) => kind === "interface"),
  );
}
