/** Chains and rules of a node as columns of numbers: what the walk executes. */

import type { Cidr, Family } from "../address.ts";
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
  const chains = numberChains(program.families);
  const calls = callsOf(chains);
  const slots = chains.reduce((end, { start, rules }) => Math.max(end, start + rules.length + 1), 0);
  const matches = new MatchTable({ ...surroundings, sets: loadSets(program.sets) });
  const reasons: DropReason[] = [];
  const tables = {
    heads: new Int32Array(slots * HEAD_WORDS),
    headStart: new Int32Array(slots),
    action: new Uint8Array(slots),
    a: new Int32Array(slots),
    b: new Int32Array(slots),
    matches,
    idleLimits: new Set<number>(),
    chainOf: new Int32Array(slots),
    chains,
    reasons,
    stackDepth: jumpDepth(chains, calls),
  };
  const starts = new Map(chains.map((chain) => [chainKey(chain, chain.name), chain.start]));
  const last = lastChains(chains, calls);
  for (const [index, chain] of chains.entries()) {
    const consequence = last.has(chain) ? "none" : "some";
    tables.chainOf.fill(index, chain.start, chain.start + chain.rules.length + 1);
    for (const [offset, rule] of chain.rules.entries()) {
      const slot = chain.start + offset;
      loadMatches(tables, slot, rule);
      const startOf = (name: string) => starts.get(chainKey(chain, name)) ?? missing(chain, name);
      const [action, a, b] = loadTarget(rule, startOf, consequence);
      tables.action[slot] = action;
      tables.a[slot] = a;
      tables.b[slot] = b;
      reasons.push(dropReason(chain, rule));
    }
    const end = chain.start + chain.rules.length;
    tables.headStart[end] = matches.length;
    tables.action[end] =
      chain.policy === undefined ? ACTION.chainEnd : chain.policy === "drop" ? ACTION.policyDrop : ACTION.policyAccept;
    reasons.push("chain-policy");
  }
  return { ...tables, headIndex: new HeadIndex(tables.heads, chains, surroundings.devices) };
}

/** The first slot of a built-in chain; undefined when the program has no such chain. */
export function hookStart(tables: LoadedTables, family: Family, table: TableName, hook: Hook): number | undefined {
  return tables.chains.find((chain) => chain.family === family && chain.table === table && chain.name === hook)?.start;
}

function numberChains(families: readonly FamilyTables[]): LoadedChain[] {
  const chains: LoadedChain[] = [];
  let start = 0;
  for (const { family, tables } of families) {
    for (const table of tables) {
      for (const { name, policy, rules } of table.chains) {
        chains.push({ family, table: table.name, name, policy, start, rules });
        start += rules.length + 1;
      }
    }
  }
  return chains;
}

function chainKey(chain: LoadedChain, name: string): string {
  return `${chain.family} ${chain.table} ${name}`;
}

function missing(chain: LoadedChain, name: string): never {
  throw new Error(`chain ${chain.name} of table ${chain.table} jumps to ${name}, which is not there`);
}

/** By chain: what its rules may send a packet to, with the room that takes on the stack: a goto takes none. */
type Calls = ReadonlyMap<LoadedChain, readonly (readonly [LoadedChain, 0 | 1])[]>;

const NO_CALLS: readonly (readonly [LoadedChain, 0 | 1])[] = [];

function callsOf(chains: readonly LoadedChain[]): Calls {
  const byKey = new Map(chains.map((chain) => [chainKey(chain, chain.name), chain]));
  const calls = new Map<LoadedChain, readonly (readonly [LoadedChain, 0 | 1])[]>();
  for (const chain of chains) {
    const own: (readonly [LoadedChain, 0 | 1])[] = [];
    for (const { target } of chain.rules) {
      if (target?.kind !== "jump" && target?.kind !== "goto") continue;
      const callee = byKey.get(chainKey(chain, target.chain)) ?? missing(chain, target.chain);
      own.push([callee, target.kind === "jump" ? 1 : 0]);
    }
    calls.set(chain, own);
  }
  return calls;
}

/**
 * Longest path of jumps from any chain, plus one. Throws when chains call each other in a loop. Depth first with a path
 * of its own instead of recursion: programs read from a node may nest as deep as they like.
 */
function jumpDepth(chains: readonly LoadedChain[], calls: Calls): number {
  const depths = new Map<LoadedChain, number>();
  const open = new Set<LoadedChain>();
  for (const first of chains) {
    const path = [{ chain: first, calls: calls.get(first) ?? NO_CALLS, next: 0, depth: 0 }];
    for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
      const call = depths.has(top.chain) ? undefined : top.calls[top.next];
      if (call === undefined) {
        if (!depths.has(top.chain)) depths.set(top.chain, top.depth);
        open.delete(top.chain);
        path.pop();
        continue;
      }
      open.add(top.chain);
      const [callee, room] = call;
      const known = depths.get(callee);
      if (known !== undefined) {
        top.depth = Math.max(top.depth, known + room);
        top.next++;
      } else if (open.has(callee)) throw new Error(`chains loop through ${callee.name} of table ${callee.table}`);
      else path.push({ chain: callee, calls: calls.get(callee) ?? NO_CALLS, next: 0, depth: 0 });
    }
  }
  return chains.reduce((deepest, chain) => Math.max(deepest, depths.get(chain) ?? 0), 0) + 1;
}

/**
 * Chains in which nothing a rule does can change what becomes of a packet: those of the nat table that only INPUT and
 * POSTROUTING lead to, where nat is the last table on every way. Not if something there drops (no tool lets one write
 * that) or marks the connection, which its next packet would show.
 */
function lastChains(chains: readonly LoadedChain[], calls: Calls): ReadonlySet<LoadedChain> {
  const early = new Set<LoadedChain>();
  const open = chains.filter(({ table, name }) => table === "nat" && (name === "PREROUTING" || name === "OUTPUT"));
  for (let chain = open.pop(); chain !== undefined; chain = open.pop()) {
    if (early.has(chain)) continue;
    early.add(chain);
    for (const [callee] of calls.get(chain) ?? NO_CALLS) open.push(callee);
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
 * Puts a match into the head of its slot when that can hold it. Says whether that settles it: then the record of the
 * match need not be tested again.
 */
function loadHead(head: Int32Array, match: Match): "settled" | "not settled" {
  if (match.kind === "protocol" && !match.negate && head[HEAD.protocol] === 0) {
    head[HEAD.protocol] = 0xff;
    head[HEAD.protocol + 1] = match.protocol;
    return "settled";
  }
  if (match.kind !== "address" || match.negate) return "not settled";
  const at = HEAD[match.side];
  const { mask, value } = headWord(match.cidr);
  if (head[at] !== 0 || mask === 0) return "not settled";
  head[at] = mask;
  head[at + 1] = value;
  return match.cidr.family === 4 ? "settled" : "not settled";
}

function headWord({ family, words, prefixLength }: Cidr): { readonly mask: number; readonly value: number } {
  if (family === 4) return { mask: maskWord(prefixLength), value: words[0] ?? 0 };
  return { mask: maskWord(prefixLength - 96), value: words[3] ?? 0 };
}

interface MatchColumns extends Pick<LoadedTables, "heads" | "headStart" | "matches"> {
  readonly idleLimits: Set<number>;
}

function loadMatches(tables: MatchColumns, slot: number, rule: Rule): void {
  const { heads, headStart, matches, idleLimits } = tables;
  const head = heads.subarray(slot * HEAD_WORDS, (slot + 1) * HEAD_WORDS);
  headStart[slot] = matches.length;
  const rest: (readonly [Match, number])[] = [];
  for (const [index, match] of rule.matches.entries()) {
    if (loadHead(head, match) === "settled") matches.add(match, index);
    else rest.push([match, index]);
  }
  head[HEAD.matchStart] = matches.length;
  for (const [match, index] of rest) if (isHeader(match)) matches.add(match, index);
  const extensions = rest.filter(([match]) => !isHeader(match));
  const goesOn = rule.target === undefined || rule.target.kind === "log";
  for (const [place, [match, index]] of extensions.entries()) {
    const isLast = extensions.slice(place + 1).every(([{ kind }]) => kind === "comment");
    if (match.kind === "limit" && goesOn && isLast) idleLimits.add(matches.length);
    matches.add(match, index);
  }
  head[HEAD.matchEnd] = matches.length;
}

/** Action and operands of a rule. */
function loadTarget(
  rule: Rule,
  startOf: (chain: string) => number,
  consequence: "none" | "some",
): readonly [number, number, number] {
  const { target } = rule;
  if (rule.matches.some(({ kind }) => kind === "opaque")) {
    const harmless = consequence === "none" || target === undefined || target.kind === "log";
    return [harmless ? ACTION.unknownPass : ACTION.unknown, 0, 0];
  }
  return target === undefined ? [ACTION.pass, 0, 0] : targetAction(target, startOf);
}

function targetAction(target: Target, startOf: (chain: string) => number): readonly [number, number, number] {
  switch (target.kind) {
    case "accept":
      return [ACTION.accept, 0, 0];
    case "drop":
      return [ACTION.drop, 0, 0];
    case "reject":
      return [ACTION.reject, 0, 0];
    case "return":
      return [ACTION.return, 0, 0];
    case "jump":
      return [ACTION.jump, startOf(target.chain), 0];
    case "goto":
      return [ACTION.goto, startOf(target.chain), 0];
    case "mark":
      return [ACTION.mark, target.value | 0, target.mask | 0];
    case "connmark": {
      const action = {
        set: ACTION.connmarkSet,
        save: ACTION.connmarkSave,
        restore: ACTION.connmarkRestore,
      }[target.operation];
      return [action, target.value | 0, target.mask | 0];
    }
    case "notrack":
      return [ACTION.notrack, 0, 0];
    case "ctZone":
      return [ACTION.ctZone, target.zone, 0];
    case "log":
      return [ACTION.pass, 0, 0];
    case "nat": {
      // A new destination is what every later rule would see, and we do not know it. A new source is seen by none here.
      const newDestination = target.target === "DNAT" || target.target === "REDIRECT";
      return [newDestination ? ACTION.unknown : ACTION.nat, 0, 0];
    }
    case "opaque":
      return [ACTION.unknown, 0, 0];
    default:
      return assertNever(target);
  }
}

/** Why a packet is gone when this rule dropped it. Read from what the rule tests, since names are the solutions' own. */
function dropReason(chain: LoadedChain, rule: Rule): DropReason {
  if (rule.matches.some((match) => match.kind === "rpfilter")) return "spoofed";
  if (rule.matches.some((match) => match.kind === "ctState" && !match.negate && match.states.includes("invalid"))) {
    return "invalid";
  }
  return endsInterfaceDispatch(chain, rule) ? "unknown-interface" : "policy";
}

/** An unconditional last rule after rules that all pick an interface: the packet came by none of them. */
function endsInterfaceDispatch(chain: LoadedChain, rule: Rule): boolean {
  if (chain.rules.at(-1) !== rule || chain.rules.length < 2) return false;
  return (
    rule.matches.every(({ kind }) => kind === "comment") &&
    chain.rules.slice(0, -1).every(({ matches }) => matches.some(({ kind }) => kind === "interface"))
  );
}
