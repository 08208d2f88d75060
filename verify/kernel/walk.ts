/** Which rules a packet matched, from the trace messages of either variant of iptables. */
import type { Family } from "../../dataplane/address.ts";
import type { WalkEntry } from "../../dataplane/result.ts";
import { messageAttributes, numberIn, textIn } from "./netlink.ts";
import { type AnswerItem, ITEM, type Oracle } from "./oracle.ts";
import type { Variant } from "./rules.ts";

/** Turns the trace messages among the items into the rules that matched, in order. */
export type WalkReader = (items: readonly AnswerItem[], family: Family) => readonly WalkEntry[];

/** Number of rules of a chain, or undefined when it is no chain of the program. */
export type RuleCount = (family: Family, table: string, chain: string) => number | undefined;

/** Attribute numbers of linux/netfilter/nfnetlink_log.h and nf_tables.h. */
const NFULA_PREFIX = 10;
const NFTA_TRACE_TABLE = 1;
const NFTA_TRACE_CHAIN = 2;
const NFTA_TRACE_RULE_HANDLE = 3;

/**
 * The reader for what is loaded now.
 *
 * Legacy says `TRACE: table:chain:kind:number`. Kind `rule` is a match; `return` and `policy` are either an unconditional
 * RETURN, ACCEPT or DROP in rule `number` (the kernel cannot tell it from the end of a chain), or the end itself, when
 * the chain has fewer rules; the end is no rule and no entry.
 *
 * nft says table, chain and the handle of the rule, which `nft list` numbers.
 */
export function walkReader(variant: Variant, oracle: Oracle, ruleCount: RuleCount): WalkReader {
  switch (variant) {
    case "legacy":
      return (items, family) => legacyWalk(items, family, ruleCount);
    case "nft": {
      const numbers = ruleNumbers(oracle.run("nft -j -a list ruleset"));
      return (items, family) => nftWalk(items, family, numbers);
    }
  }
}

function legacyWalk(items: readonly AnswerItem[], family: Family, ruleCount: RuleCount): readonly WalkEntry[] {
  const walk: WalkEntry[] = [];
  for (const { kind, bytes } of items) {
    if (kind !== ITEM.log) continue;
    // Chain names have no colon in them: iptables refuses those that would be ambiguous here only rarely, so read from
    // both ends.
    const match = /^TRACE: ([a-z]+):(.*):(rule|return|policy):(\d+) $/.exec(
      textIn(messageAttributes(bytes).get(NFULA_PREFIX)),
    );
    const [, table, chain, what, digits] = match ?? [];
    if (table === undefined || chain === undefined) continue; // a LOG rule of the program writes here too
    const number = Number(digits);
    if (what === "rule" || number <= (ruleCount(family, table, chain) ?? 0)) walk.push([table, chain, number]);
  }
  return walk;
}

function nftWalk(
  items: readonly AnswerItem[],
  family: Family,
  numbers: ReadonlyMap<string, WalkEntry>,
): readonly WalkEntry[] {
  const walk: WalkEntry[] = [];
  for (const { kind, bytes } of items) {
    if (kind !== ITEM.trace) continue;
    const attributes = messageAttributes(bytes);
    const handle = numberIn(attributes.get(NFTA_TRACE_RULE_HANDLE)) ?? 0;
    if (handle === 0) continue; // the end of a chain
    const table = textIn(attributes.get(NFTA_TRACE_TABLE));
    const chain = textIn(attributes.get(NFTA_TRACE_CHAIN));
    const entry = numbers.get(`${family === 4 ? "ip" : "ip6"} ${table} ${chain} ${handle}`);
    if (entry !== undefined) walk.push(entry);
  }
  return walk;
}

/** `family table chain handle` to table, chain and number from 1, of `nft -j -a list ruleset`. */
function ruleNumbers(json: string): ReadonlyMap<string, WalkEntry> {
  const { nftables } = JSON.parse(json) as { readonly nftables: readonly { readonly rule?: NftRule }[] };
  const counts = new Map<string, number>();
  const numbers = new Map<string, WalkEntry>();
  for (const { rule } of nftables) {
    if (rule === undefined) continue;
    const chain = `${rule.family} ${rule.table} ${rule.chain}`;
    const number = (counts.get(chain) ?? 0) + 1;
    counts.set(chain, number);
    numbers.set(`${chain} ${rule.handle}`, [rule.table, rule.chain, number]);
  }
  return numbers;
}

interface NftRule {
  readonly family: string;
  readonly table: string;
  readonly chain: string;
  readonly handle: number;
}
