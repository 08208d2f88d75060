/**
 * How kube-router takes a node to the next program: a full sync, whatever changed.
 *
 *   ipset restore -exist    every set of every policy in order of name: filled as a temporary twin, then swapped in
 *   ipset restore -exist    with default deny, the set of the pods that have a chain
 *   iptables-restore        the whole filter table in one commit; chains of pods and policies under new names
 *   ipset destroy           sets that no policy uses any more, one a command
 *
 * Sets keep their names and chains do not, so between the swap of a set and the commit of the table old rules look into
 * new sets. A sync is asked for by each relevant event; the queue holds one request, so events that come while one runs
 * make exactly one more. Events of a burst are in its first sync already, and the second writes the same once more.
 *
 * Left to time and chance: the names of chains (a hash of the moment), the order of pods, of policies and of set members,
 * which family comes first. Source: cloudnativelabs/kube-router 7c2c2779 pkg/controllers/netpol, pkg/utils/ipset.go;
 * dumps/updates/kube-router/NOTES.md.
 */
import { type Family, formatAddress, formatCidr } from "../../../dataplane/address.ts";
import { protocolName } from "../../../dataplane/packet.ts";
import type {
  Chain,
  IPSet,
  IPSetMember,
  Match,
  Program,
  Rule,
  Table,
  TableProgram,
  Target,
} from "../../../dataplane/program.ts";
import { base32, sha1 } from "../../hash.ts";
import { type Endpoint, isOnPodNetwork } from "../../model.ts";
import { elementText } from "../../render/ipsetSave.ts";
import { ruleText } from "../../render/iptablesSave.ts";
import type { ResolvedCluster } from "../../resolve.ts";
import { ipsetCall, ipsetRestore, type RuleLine, type SetLine, tableRestore } from "../../update/commands.ts";
import type { Controller } from "../../update/controller.ts";
import type { ClusterEvent } from "../../update/events.ts";
import type { Operation } from "../../update/operation.ts";
import { isMade, type LowerOptions, type Strategy } from "../strategy.ts";
import { TORN_SNAPSHOT } from "./lapses.ts";
import { isOfPod } from "./members.ts";
import type { NumberOrder } from "./namedPorts.ts";
import { isLocalPodsSet, TAIL_CHAIN, TOP_LEVEL } from "./names.ts";
import { startOf } from "./start.ts";
import { isRange, membersWritten, ofType } from "./written.ts";

const VERSION = "chain-version";

export interface SyncingOptions {
  readonly strategy: Pick<Strategy, "lower" | "options">;
  readonly options: LowerOptions;
}

/** Follows the cluster from a sync on; each later sync has the next `chain-version`. */
export function syncingController(start: ResolvedCluster, { strategy, options }: SyncingOptions): Controller {
  const isTorn = isMade(strategy, options, TORN_SNAPSHOT);
  let program = strategy.lower(start, options);
  let comparable = program;
  /** Undefined until a sync has turned them. */
  let numbers: NumberOrder | undefined = options.settings?.get(NUMBERS) === "turning" ? "ascending" : undefined;
  let version = options.settings?.get(VERSION) ?? strategy.options.find(({ name }) => name === VERSION)?.default ?? "0";
  return {
    get program() {
      return program;
    },
    get comparable() {
      return comparable;
    },
    start: () => startOf(tablesOf(program), (before) => planSync(before, program, "sync 1").operations),
    react({ events, after }) {
      const relevant = events.filter(startsSync);
      const syncs = Math.min(relevant.length, 2);
      const operations: Operation[] = [];
      for (let sync = 1; sync <= syncs; sync++) {
        version = nextVersion(version);
        if (options.settings?.get(NUMBERS) === "turning")
          numbers = numbers === "ascending" ? "descending" : "ascending";
        const settings = new Map([...(options.settings ?? []), [VERSION, version], ...numbersOf(numbers)]);
        const seen = isTorn && sync === 1 ? tornSnapshot(relevant, after, options.node) : after;
        const next = strategy.lower(seen, { ...options, settings });
        const planned = planSync(program, next, `sync ${sync}`);
        operations.push(...planned.operations);
        program = planned.program;
      }
      if (syncs > 0) comparable = strategy.lower(after, options);
      return operations;
    },
  };
}

/** Policies as they were before the first local pod that came when the sync was under way, local pods as they are. */
function tornSnapshot(relevant: readonly ClusterEvent[], after: ResolvedCluster, node: string): ResolvedCluster {
  const isLate = ({ kind, verb, after: pod }: ClusterEvent) =>
    kind === "Pod" && verb === "ADDED" && (pod as Endpoint).node === node;
  const late = relevant.findIndex((event, index) => index > 0 && isLate(event));
  const read = relevant[late - 1]?.cluster();
  return read === undefined ? after : { ...read, podsOn: (name) => after.podsOn(name) };
}

/** Map order in Go: which number of a named port is the first is drawn anew in each sync. */
const NUMBERS = "named-port-order";

function numbersOf(order: NumberOrder | undefined): readonly (readonly [string, string])[] {
  return order === undefined ? [] : [[NUMBERS, order]];
}

function nextVersion(version: string): string {
  return /^\d+$/.test(version) ? String(BigInt(version) + 1n) : `${version}+`;
}

/** Whether the event handlers ask for a sync (network_policy_controller.go, pod.go, namespace.go). */
function startsSync(event: ClusterEvent): boolean {
  switch (event.kind) {
    case "Node":
      return false;
    case "NetworkPolicy":
      return true;
    case "Namespace":
      return event.verb !== "MODIFIED" || !sameLabels(event.before?.labels, event.after?.labels);
    case "Pod": {
      const { verb, before, after } = event;
      if (verb === "DELETED") return true;
      if (verb === "ADDED") return after !== undefined && isOnPodNetwork(after);
      return (
        before?.phase !== after?.phase ||
        !sameLabels(before?.labels, after?.labels) ||
        addressesOf(before) !== addressesOf(after)
      );
    }
  }
}

function addressesOf(pod: { readonly addresses: readonly Parameters<typeof formatAddress>[0][] } | undefined): string {
  return pod?.addresses.map(formatAddress).join() ?? "";
}

function sameLabels(a: ReadonlyMap<string, string> = new Map(), b: ReadonlyMap<string, string> = new Map()): boolean {
  return a.size === b.size && [...a].every(([key, value]) => b.get(key) === value);
}

function tablesOf(program: Program): TableProgram {
  if (program.kind !== "tables") throw new Error("kube-router programs tables");
  return program;
}

export interface PlannedSync {
  readonly operations: readonly Operation[];
  /** The program it leads to: `after`, unless a restore fails. */
  readonly program: TableProgram;
}

export function planSync(before: Program, wanted: Program, cause: string): PlannedSync {
  if (before.kind !== "tables" || wanted.kind !== "tables") throw new Error("kube-router programs tables");
  const after = keepingTypes(before, wanted);
  const known = new Set(before.sets.map(({ name }) => name));
  // Who has a chain is known, and written, once all policies are.
  const local = after.sets.filter(isLocalPodsSet);
  const restores = [after.sets.filter((set) => !local.includes(set)), ...(local.length > 0 ? [local] : [])].flatMap(
    (sets) => after.families.map(({ family }) => restoreSets(family, { sets, known, cause })),
  );
  const filled: readonly IPSet[] = [
    ...before.sets.map((set) => after.sets.find(({ name }) => name === set.name) ?? set),
    ...after.sets.filter(({ name }) => !known.has(name)),
  ];
  const tables: Operation[] = [];
  for (const { family, tables: own } of after.families) {
    const filter = own.find(({ name }) => name === "filter");
    if (filter === undefined) continue;
    if (!isSynced(filter)) {
      // Two chains of one name: iptables-restore refuses the table, and a failure ends the sync.
      return {
        operations: [...restores, ...tables],
        program: { ...before, sets: filled, attachment: after.attachment },
      };
    }
    tables.push(restoreFilter(family, filter, cause));
  }
  const kept = new Set(after.sets.map(({ name }) => name));
  const destroyed = before.sets.filter(({ name }) => !kept.has(name));
  return {
    operations: [
      ...restores,
      ...tables,
      ...destroyed.map(({ name }) => ipsetCall(["destroy", name], { verb: "destroy", set: name }, cause)),
    ],
    program: after,
  };
}

/** A set that the kernel has keeps the type that `ipset save` gives for it, whatever asks for it now (`RefreshSet`). */
function keepingTypes(before: TableProgram, wanted: TableProgram): TableProgram {
  const types = new Map(before.sets.map(({ name, type }) => [name, type]));
  const typeOf = ({ name, type }: IPSet) => types.get(name) ?? type;
  if (wanted.sets.every((set) => typeOf(set) === set.type)) return wanted;
  return {
    ...wanted,
    sets: wanted.sets.map((set) => ofType(set, typeOf(set))),
  };
}

function isSynced({ chains }: Table): boolean {
  const rules = chains.find(({ name }) => name === TOP_LEVEL.INPUT)?.rules ?? [];
  return rules.some(({ target }) => target?.kind === "jump" && target.chain === TAIL_CHAIN);
}

interface SetsToRestore {
  readonly sets: readonly IPSet[];
  /** Names of sets that are there: `ipset save` gave their options in full. */
  readonly known: ReadonlySet<string>;
  readonly cause: string;
}

function restoreSets(family: Family, { sets, known, cause }: SetsToRestore): Operation {
  const lines: SetLine[] = [];
  const twins = new Map<string, string>();
  const own = sets.filter((set) => set.family === family).toSorted((a, b) => (a.name < b.name ? -1 : 1));
  for (const set of own) {
    const { members: _, ...head } = set;
    const options = optionsText(set, known.has(set.name) ? "in full" : "as asked for");
    const twin = twins.get(options) ?? `TMP-${base32(sha1(`tmp:${options}`).subarray(0, 10))}`;
    if (!twins.has(options)) {
      twins.set(options, twin);
      lines.push(
        {
          text: `create ${twin} ${options}`,
          command: { verb: "create", set: { ...head, name: twin }, tolerant: true },
        },
        { text: `flush ${twin}`, command: { verb: "flush", set: twin } },
      );
    }
    lines.push(
      ...membersWritten(set).map(
        (member): SetLine => ({
          text: `add ${twin} ${memberText(set, member)}`,
          command: { verb: "add", set: twin, member, tolerant: true },
        }),
      ),
      { text: `create ${set.name} ${options}`, command: { verb: "create", set: head, tolerant: true } },
      { text: `swap ${twin} ${set.name}`, command: { verb: "swap", from: twin, to: set.name } },
      { text: `flush ${twin}`, command: { verb: "flush", set: twin } },
    );
  }
  for (const twin of [...twins.values()].toSorted()) {
    lines.push({ text: `destroy ${twin}`, command: { verb: "destroy", set: twin } });
  }
  return ipsetRestore({ args: ["restore", "-exist"], lines, cause });
}

function optionsText({ type, family }: IPSet, form: "in full" | "as asked for"): string {
  if (form === "as asked for") return `${type} timeout 0${family === 4 ? "" : " family inet6"}`;
  return `${type} family ${family === 4 ? "inet" : "inet6"} hashsize 1024 maxelem 65536 timeout 0 bucketsize 12`;
}

function memberText({ type }: IPSet, member: IPSetMember): string {
  const isBlock = type === "hash:net" && member.kind === "net" && !isOfPod(member);
  const element = isBlock ? formatCidr(member.cidr) : elementText(member);
  const nomatch = member.kind !== "set" && member.nomatch === true ? " nomatch" : "";
  return `${element} timeout 0${nomatch}`;
}

/* ------------------------------------------------------------------------------------------------------------------ */

/** Chains whose rules kube-router takes over from the save it has just read. */
const STATIC = ["INPUT", "FORWARD", "OUTPUT", "KUBE-NWPLCY-COMMON", "KUBE-NWPLCY-DEFAULT", TAIL_CHAIN];
const TOP = [TOP_LEVEL.FORWARD, TOP_LEVEL.INPUT, TOP_LEVEL.OUTPUT];

function restoreFilter(family: Family, { chains }: Table, cause: string): Operation {
  const named = new Map(chains.map((chain) => [chain.name, chain]));
  const rulesOf = (name: string) => named.get(name)?.rules ?? [];
  const own = chains.filter(({ name }) => !STATIC.includes(name) && !TOP.some((each) => each === name));
  const pods = own.filter(({ name }) => name.startsWith("KUBE-POD-FW-"));
  const lines: RuleLine[] = [
    ...[...STATIC, ...TOP].map((name): RuleLine => {
      const policy = named.get(name)?.policy;
      return {
        // The counters of the save, with what is appended to every declaration behind them.
        text: `:${name} ${policy?.toUpperCase() ?? "-"} [0:0] - [0:0]`,
        command: { verb: "declare", chain: name, ...(policy !== undefined && { policy }) },
      };
    }),
    ...own.map(({ name }): RuleLine => ({ text: `:${name} - [0:0]`, command: { verb: "declare", chain: name } })),
    ...STATIC.flatMap((name) => rulesOf(name).map((rule) => saved(name, rule, family))),
    ...rulesOf(TOP_LEVEL.INPUT)
      .filter(({ target }) => target?.kind === "return")
      .map((rule) => saved(TOP_LEVEL.INPUT, rule, family)),
    ...own
      .filter((chain) => !pods.includes(chain))
      .flatMap(({ name, rules }) => rules.map((rule) => appended(name, rule, "--set-xmark"))),
    ...pods.flatMap((chain) => podLines(chain, rulesOf)),
    ...endLines(rulesOf),
  ];
  return tableRestore({ family, table: "filter", flush: true, args: ["--wait", "-T", "filter"], lines, cause });
}

type RulesOf = (chain: string) => readonly Rule[];

/** What is set up first is inserted, each rule before those there are; then the jumps, then what refuses and marks. */
function podLines({ name, rules }: Chain, rulesOf: RulesOf): readonly RuleLine[] {
  const end = rules.findIndex(({ target }) => target?.kind === "log");
  const jumps = (chain: string, side: "in" | "out") =>
    rulesOf(chain)
      .filter(({ target, matches }) => target?.kind === "jump" && target.chain === name && isJump(matches, side))
      .map((rule): readonly [string, Rule] => [chain, rule]);
  const plain = ([, rule]: readonly [string, Rule]) => !rule.matches.some(({ kind }) => kind === "physdev");
  const bridged = (jump: readonly [string, Rule]) => !plain(jump);
  const [inward, outward] = [jumps(TOP_LEVEL.FORWARD, "in"), jumps(TOP_LEVEL.FORWARD, "out")];
  const ordered = [
    ...inward.filter(plain),
    ...jumps(TOP_LEVEL.OUTPUT, "in"),
    ...inward.filter(bridged),
    ...jumps(TOP_LEVEL.INPUT, "out"),
    ...outward.filter(plain),
    ...jumps(TOP_LEVEL.OUTPUT, "out"),
    ...outward.filter(bridged),
  ];
  return [
    ...rules
      .slice(0, end)
      .toReversed()
      .map(
        (rule): RuleLine => ({
          text: `-I ${name} 1 ${words(rule, "--set-mark")} `,
          command: { verb: "insert", chain: name, at: 1, rule },
        }),
      ),
    ...ordered.map(([chain, rule]): RuleLine => {
      const { text, command } = appended(chain, { ...rule, matches: jumpOrder(rule.matches) }, "--set-mark");
      const isFirst = isJump(rule.matches, "in") && plain([chain, rule]);
      return {
        text: isFirst ? text.trimEnd() : text,
        command: command.verb === "append" ? { ...command, rule } : command,
      };
    }),
    ...rules.slice(end).map((rule) => appended(name, rule, "--set-mark")),
  ];
}

function isJump(matches: readonly Match[], side: "in" | "out"): boolean {
  return matches.some((match) => match.kind === "address" && (match.side === "destination") === (side === "in"));
}

const JUMP_ORDER: readonly Match["kind"][] = ["physdev", "comment", "address"];

function jumpOrder(matches: readonly Match[]): readonly Match[] {
  return matches.toSorted((a, b) => JUMP_ORDER.indexOf(a.kind) - JUMP_ORDER.indexOf(b.kind));
}

/** The two rules that end each top-level chain. */
function endLines(rulesOf: RulesOf): readonly RuleLine[] {
  const hooks = [TOP_LEVEL.INPUT, TOP_LEVEL.FORWARD, TOP_LEVEL.OUTPUT];
  return [-2, -1].flatMap((place) =>
    hooks.flatMap((chain) => {
      const rule = rulesOf(chain).at(place);
      return rule === undefined ? [] : [appended(chain, rule, "--set-mark")];
    }),
  );
}

function saved(chain: string, rule: Rule, family: Family): RuleLine {
  return { text: `-A ${chain}${ruleText(rule, family)}`, command: { verb: "append", chain, rule } };
}

/** How a place in the source spells the marking of packets; one means the other here. */
type MarkOption = "--set-mark" | "--set-xmark";

function appended(chain: string, rule: Rule, mark: MarkOption): RuleLine {
  return { text: `-A ${chain} ${words(rule, mark)} `, command: { verb: "append", chain, rule } };
}

/** A rule as kube-router puts it together: words in the order of the source, limits behind the target. */
function words({ matches, target }: Rule, mark: MarkOption): string {
  const limits = matches.filter(({ kind }) => kind === "limit");
  return [
    ...matches.filter((match) => !limits.includes(match)).map(matchWords),
    ...(target === undefined ? [] : [targetWords(target, mark)]),
    ...limits.map(matchWords),
  ].join(" ");
}

function matchWords(match: Match): string {
  switch (match.kind) {
    case "comment":
      return `-m comment --comment "${match.text}"`;
    case "address":
      return `${match.side === "source" ? "-s" : "-d"} ${formatAddress(match.cidr)}`;
    case "set":
      return `-m set --match-set ${match.set} ${match.sides[0] === "source" ? "src" : "dst"}`;
    case "protocol":
      return `-p ${protocolName(match.protocol).toUpperCase()}`;
    case "ports": {
      const [{ first, last } = { first: 0, last: 0 }] = match.ranges;
      return `--dport ${first === last && !isRange(match) ? first : `${first}:${last}`}`;
    }
    case "mark":
      return `-m mark ${match.negate ? "! " : ""}--mark ${hex(match.value)}/${hex(match.mask)}`;
    case "addressType":
      return `-m addrtype --${match.side === "source" ? "src" : "dst"}-type ${match.type}`;
    case "physdev":
      return "-m physdev --physdev-is-bridged";
    case "limit":
      return `-m limit --limit ${match.rate.replace("/min", "/minute")} --limit-burst ${match.burst}`;
    default:
      throw new Error(`kube-router writes no ${match.kind} match`);
  }
}

function targetWords(target: Target, mark: MarkOption): string {
  switch (target.kind) {
    case "accept":
    case "return":
      return `-j ${target.kind.toUpperCase()}`;
    case "jump":
      return `-j ${target.chain}`;
    case "reject":
      return "-j REJECT";
    case "mark":
      return `-j MARK ${mark} ${target.value === 0 ? "0" : hex(target.value)}/${hex(target.mask)}`;
    case "log":
      return `-j ${target.target} ${target.text}`;
    default:
      throw new Error(`kube-router writes no ${target.kind} target`);
  }
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
