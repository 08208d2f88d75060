/**
 * How Felix takes a node to the next program: one round of deltas.
 *
 *   ipset restore       members that come and go in the sets it has, new sets with their members
 *   iptables-restore    a table in one commit: chains made and emptied, rules replaced, appended, deleted by position
 *   ipset destroy       sets that no rule needs any more, one a command
 *
 * Rules are compared with what is there by their hashes, place by place. A hash is chained with the one before, so a rule
 * put in front makes every rule behind it another one. Sets change before the rules that use them: in between, old
 * rules look into new sets. Connections are flushed beside it, when a local address loses its route.
 *
 * Left to chance: the order of chains and sets (Go maps), whether events that come together are one round or two.
 * Source: projectcalico/calico 87c15906 felix/generictables, felix/iptables/table.go, felix/ipsets/ipsets.go,
 * felix/routetable; dumps/updates/calico/NOTES.md.
 */
import { type Family, formatAddress, formatCidr, type IpAddress } from "../../../dataplane/address.ts";
import type {
  Chain,
  IPSet,
  IPSetMember,
  Program,
  Rule,
  Table,
  TableName,
  TableProgram,
} from "../../../dataplane/program.ts";
import { rememberedBy } from "../../again.ts";
import { elementText } from "../../render/ipsetSave.ts";
import { ruleText } from "../../render/iptablesSave.ts";
import {
  flushConnections,
  ipsetCall,
  ipsetRestore,
  type RuleLine,
  type SetLine,
  tableRestore,
} from "../../update/commands.ts";
import { chainDifference, setDifference } from "../../update/difference.ts";
import { type Burst, causeText } from "../../update/events.ts";
import type { Operation } from "../../update/operation.ts";
import { felixSpelling } from "./felixRule.ts";

const RESTORE_ARGS = ["--noflush", "--verbose", "--wait", "10", "--wait-interval", "50000"];

export function planFelix(before: Program, after: Program, { events }: Pick<Burst, "events">): readonly Operation[] {
  if (before.kind !== "tables" || after.kind !== "tables") throw new Error("Felix programs tables");
  const cause = causeText(events);
  const sets = setDifference(before.sets, after.sets);
  return [
    ...([4, 6] as const).flatMap((family) => restoreSets(family, sets, cause)),
    ...lostAddresses(before, after).flatMap((address) => flushConnections(address, cause)),
    ...after.families.flatMap(({ family, tables }) => {
      const old = new Map(
        before.families.find((one) => one.family === family)?.tables.map((each) => [each.name, each]),
      );
      return tables.flatMap((table) => restoreTable(family, { before: old.get(table.name), after: table }, cause));
    }),
    ...sets.removed.map(({ name }) => ipsetCall(["destroy", name], { verb: "destroy", set: name }, cause)),
  ];
}

function restoreSets(family: Family, sets: ReturnType<typeof setDifference>, cause: string): readonly Operation[] {
  const own = ({ family: one }: IPSet) => one === family;
  const lines: SetLine[] = [
    ...sets.changed
      .filter(({ set }) => own(set))
      .flatMap(({ set, added, removed }) => [
        ...removed.map(
          (member): SetLine => ({
            text: `del ${set.name} ${memberText(set, member)} --exist`,
            command: { verb: "del", set: set.name, member, tolerant: true },
          }),
        ),
        ...added.map((member) => addLine(set, member)),
      ]),
    ...sets.created
      .filter(own)
      .flatMap((set) => [createLine(set), ...set.members.map((member) => addLine(set, member))]),
  ];
  return lines.length === 0 ? [] : [ipsetRestore({ args: ["restore"], lines, cause, tail: ["COMMIT"] })];
}

function createLine(set: IPSet): SetLine {
  const { name, type, family, options } = set;
  const { members: _members, ...head } = set;
  return {
    text: `create ${name} ${type} family ${family === 4 ? "inet" : "inet6"} maxelem ${options.maxElements}`,
    command: { verb: "create", set: head },
  };
}

function addLine(set: IPSet, member: IPSetMember): SetLine {
  return {
    text: `add ${set.name} ${memberText(set, member)}`,
    command: { verb: "add", set: set.name, member },
  };
}

/** Felix writes a host in a set of prefixes with its length. */
function memberText({ type }: IPSet, member: IPSetMember): string {
  return type === "hash:net" && member.kind === "net" ? formatCidr(member.cidr) : elementText(member);
}

interface TablePair {
  readonly before: Table | undefined;
  readonly after: Table;
}

function restoreTable(family: Family, { before, after }: TablePair, cause: string): readonly Operation[] {
  const { created, changed, removed } = chainDifference(before, after, isSameChain);
  if (created.length + changed.length + removed.length === 0) return [];
  const lines: RuleLine[] = [
    ...[...created, ...removed].map(
      ({ name }): RuleLine => ({ text: `:${name} - -`, command: { verb: "declare", chain: name } }),
    ),
    ...created.flatMap(({ name, rules }) => rules.map((rule) => appended(name, rule, family))),
    ...changed.flatMap((pair) =>
      pair.after.policy === undefined ? chainDelta(pair, family) : hookLines(pair.after, after.name, family),
    ),
    ...removed.map(
      ({ name }): RuleLine => ({ text: `--delete-chain ${name}`, command: { verb: "remove", chain: name } }),
    ),
  ];
  return [tableRestore({ family, table: after.name, flush: false, args: RESTORE_ARGS, lines, cause })];
}

/** The last hash stands for every rule before it, and for the chain's name. */
function isSameChain(before: Chain, after: Chain): boolean {
  if (before.rules.length !== after.rules.length) return false;
  const [last, wanted] = [before.rules.at(-1), after.rules.at(-1)];
  return last === wanted || (last !== undefined && wanted !== undefined && isSameRule(last, wanted));
}

function isSameRule(before: Rule, after: Rule): boolean {
  const hash = hashOf(before);
  return hash !== undefined && hash === hashOf(after);
}

function hashOf({ matches: [first] }: Rule): string | undefined {
  return first?.kind === "comment" && first.text.startsWith("cali:") ? first.text : undefined;
}

function chainDelta(
  { before, after }: { readonly before: Chain; readonly after: Chain },
  family: Family,
): readonly RuleLine[] {
  const { name, rules } = after;
  const lines: RuleLine[] = [];
  for (const [index, rule] of rules.entries()) {
    const old = before.rules[index];
    if (old === undefined) lines.push(appended(name, rule, family));
    else if (!isSameRule(old, rule)) {
      const at = index + 1;
      lines.push({
        text: `-R ${name} ${at} ${spelling(rule, family)}`,
        command: { verb: "replace", chain: name, at, rule },
      });
    }
  }
  const at = rules.length + 1;
  for (let count = rules.length; count < before.rules.length; count++) {
    lines.push({ text: `-D ${name} ${at}`, command: { verb: "deleteAt", chain: name, at } });
  }
  return lines;
}

/**
 * The rules of a built-in chain, written once, when Felix starts: jumps to its own chains before whatever is there, the
 * rest behind it; behind it as well the jump to masquerading.
 */
function hookLines({ name, rules }: Chain, table: TableName, family: Family): readonly RuleLine[] {
  const isFirst = ({ target }: Rule) => target?.kind === "jump" && !(table === "nat" && name === "POSTROUTING");
  return [
    ...rules
      .filter(isFirst)
      .toReversed()
      .map(
        (rule): RuleLine => ({
          text: `-I ${name} ${spelling(rule, family)}`,
          command: { verb: "insert", chain: name, at: 1, rule },
        }),
      ),
    ...rules.filter((rule) => !isFirst(rule)).map((rule) => appended(name, rule, family)),
  ];
}

function appended(chain: string, rule: Rule, family: Family): RuleLine {
  return { text: `-A ${chain} ${spelling(rule, family)}`, command: { verb: "append", chain, rule } };
}

function spelling(rule: Rule, family: Family): string {
  return felixSpelling(rule) ?? ruleText(rule, family).trimStart();
}

/** Addresses whose route ends: of local pods that are gone or have another address now. */
function lostAddresses(before: TableProgram, after: TableProgram): readonly IpAddress[] {
  const owners = new Map(
    after.attachment.pods.flatMap((pod) => pod.addresses.map((address) => [textOf(address), pod.endpoint] as const)),
  );
  return before.attachment.pods.flatMap((pod) =>
    pod.addresses.filter((address) => owners.get(textOf(address)) !== pod.endpoint),
  );
}

const TEXTS = new WeakMap<IpAddress, string>();

function textOf(address: IpAddress): string {
  return rememberedBy(TEXTS, address, formatAddress);
}
