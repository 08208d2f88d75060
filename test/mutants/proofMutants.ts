/**
 * Bugs of compilers and evaluators, planted in what a strategy emits, all over it: a program with "port ranges end one
 * early" is what a compiler with that bug would have emitted, or what an evaluator with it would see. The exhaustive
 * check must find each.
 */
import type { Strategy } from "../../compiler/strategies/strategy.ts";
import { addressBits, type Cidr, cidrOf, formatCidr } from "../../dataplane/address.ts";
import {
  decodeBlockKey,
  decodeIpcacheKey,
  decodePolicyKey,
  decodeTupleKey,
  encodeBlockKey,
  encodeIpcacheKey,
  encodePolicyAllow,
  encodePolicyKey,
  encodeTupleKey,
  encodeTupleValue,
  isTupleAccept,
  type PolicyMapKey,
  type TupleMapKey,
} from "../../dataplane/maps/layout.ts";
import { PROTOCOL } from "../../dataplane/packet.ts";
import type {
  Chain,
  IPSet,
  IPSetMember,
  MapEntry,
  MapProgram,
  Match,
  PortRange,
  Program,
  Rule,
  Side,
  TableProgram,
  Target,
} from "../../dataplane/program.ts";

export interface ProgramMutant {
  readonly name: string;
  mutate(program: Program): Program;
}

/** The strategy with the bug in it. */
export function mutated(strategy: Strategy, { mutate }: ProgramMutant): Strategy {
  return { ...strategy, lower: (cluster, options) => mutate(strategy.lower(cluster, options)) };
}

const OTHER: Readonly<Record<Side, Side>> = { source: "destination", destination: "source" };

export const TABLE_MUTANTS: readonly ProgramMutant[] = [
  chains("the last rule of every chain is missing", (chain) => chain.rules.slice(0, -1)),
  chains("the first rule of every chain is missing", (chain) => chain.rules.slice(1)),
  chains("chains are in reverse order", (chain) => [...chain.rules].reverse()),
  chains("every chain has only its first two rules", (chain) => chain.rules.slice(0, 2)),
  match("source and destination addresses are exchanged", "address", (one) => ({ ...one, side: OTHER[one.side] })),
  match("addresses are not compared", "address", () => undefined),
  match("prefixes of rules are a bit wider", "address", (one) => ({ ...one, cidr: wider(one.cidr) })),
  match("source and destination of sets are exchanged", "set", (one) => ({
    ...one,
    sides: one.sides.map((side) => OTHER[side]),
  })),
  match("sets are not asked", "set", () => undefined),
  match("negated sets are not", "set", (one) => ({ ...one, negate: false })),
  match("every set is negated", "set", (one) => ({ ...one, negate: !one.negate })),
  match(
    "port ranges end one early",
    "ports",
    ranges((one) => ({ ...one, last: Math.max(one.first, one.last - 1) })),
  ),
  match(
    "port ranges begin one late",
    "ports",
    ranges((one) => ({ ...one, first: Math.min(one.last, one.first + 1) })),
  ),
  match(
    "ports are ranges of two",
    "ports",
    ranges((one) => ({ ...one, last: Math.min(65_535, one.last + 1) })),
  ),
  match("of several ports only the first counts", "ports", (one) => ({ ...one, ranges: one.ranges.slice(0, 1) })),
  match("ports are not compared", "ports", () => undefined),
  match("destination ports are read as source ports", "ports", (one) => ({ ...one, side: "source" })),
  // Where ports are compared as well, the kernel would not take the rule.
  rules("the protocol is not compared", (rule) =>
    rule.matches.some(({ kind }) => kind === "ports" || kind === "icmp")
      ? rule
      : { ...rule, matches: rule.matches.filter(({ kind }) => kind !== "protocol") },
  ),
  match("marks are not compared", "mark", () => undefined),
  match("negated marks are not", "mark", (one) => ({ ...one, negate: !one.negate })),
  match("connection state is not compared", "ctState", () => undefined),
  match("in and out are exchanged", "interface", (one) => ({ ...one, side: one.side === "in" ? "out" : "in" })),
  match("interfaces are not compared", "interface", () => undefined),
  match("the type of an address is not compared", "addressType", () => undefined),
  match("bridge ports are not compared", "physdev", () => undefined),
  target("marks are never cleared", "mark", (one) => (one.value === 0 ? undefined : one)),
  target("marks are never set", "mark", (one) => (one.value === 0 ? one : undefined)),
  target("RETURN ends the table", "return", () => ({ kind: "accept" })),
  target("ACCEPT only returns", "accept", () => ({ kind: "return" })),
  target("DROP only returns", "drop", () => ({ kind: "return" })),
  target("REJECT is DROP", "reject", () => ({ kind: "drop" })),
  target("a jump does not come back", "jump", (one) => ({ kind: "goto", chain: one.chain })),
  target("jumps are not taken", "jump", () => undefined),
  sets("the last member of every set is missing", (members) => members.slice(0, -1)),
  sets("members are a bit wider", (members) =>
    members.map((member) => (member.kind === "set" ? member : { ...member, cidr: wider(member.cidr) })),
  ),
  sets("members are a bit narrower", (members) =>
    members.map((member) => (member.kind === "set" ? member : { ...member, cidr: narrower(member.cidr) })),
  ),
  sets("exceptions of sets are members", (members) =>
    members.map((member) =>
      member.kind === "net" && member.nomatch === true ? { ...member, nomatch: false } : member,
    ),
  ),
  sets("exceptions of sets are missing", (members) =>
    members.filter((member) => member.kind === "set" || member.nomatch !== true),
  ),
  sets("ports of members are one higher", (members) =>
    members.map((member) => (member.kind === "netPort" ? { ...member, port: member.port + 1 } : member)),
  ),
  tables("IPv6 has no rules", (program) => ({
    ...program,
    families: program.families.filter(({ family }) => family === 4),
  })),
];

export const MAP_MUTANTS: readonly ProgramMutant[] = [
  entries("the last entry of every map is missing", (list) => list.slice(0, -1)),
  entries("the first entry of every map is missing", (list) => list.slice(1)),
  policyKeys("ports of policy entries lose a bit", (key) => ({ ...key, portBits: Math.max(0, key.portBits - 1) })),
  policyKeys("ports of policy entries are one higher", (key) =>
    key.portBits === 16 ? { ...key, port: key.port ^ 1 } : key,
  ),
  policyKeys("policy entries are for every port", (key) => ({ ...key, portBits: 0, port: 0 })),
  policyKeys("policy entries are for every protocol", (key) => ({ ...key, protocol: 0, portBits: 0, port: 0 })),
  policyKeys("TCP is UDP in policy entries", (key) => ({
    ...key,
    protocol: key.protocol === PROTOCOL.tcp ? PROTOCOL.udp : key.protocol,
  })),
  policyKeys("directions of policy entries are exchanged", (key) => ({
    ...key,
    direction: key.direction === "egress" ? "ingress" : "egress",
  })),
  policyKeys("policy entries are for anybody", (key) => ({ ...key, identity: 0 })),
  identities("prefixes of identities are a bit wider", wider),
  identities("prefixes of identities are a bit narrower", narrower),
  tuples("ports of tuples are one higher", (key) => (key.port === 0 ? key : { ...key, port: key.port + 1 })),
  tuples("tuples are for every port", (key) => ({ ...key, port: 0 })),
  tuples("tuples are for every protocol", (key) => ({ ...key, protocol: 0, port: 0 })),
  tuples("TCP is UDP in tuples", (key) => ({
    ...key,
    protocol: key.protocol === PROTOCOL.tcp ? PROTOCOL.udp : key.protocol,
  })),
  tuples("blocks are a bit wider", (key) => (isHost(key.peer) ? key : { ...key, peer: wider(key.peer) })),
  tuples("blocks are a bit narrower", (key) => (isHost(key.peer) ? key : { ...key, peer: narrower(key.peer) })),
  entries("holes of blocks accept", (list, role) =>
    role === "blocks" ? list.map((entry) => ({ ...entry, value: encodeTupleValue("accept") })) : list,
  ),
  entries("holes of blocks are missing", (list, role) =>
    role === "blocks" ? list.filter(({ value }) => isTupleAccept(value)) : list,
  ),
  maps("egress is not attached", (program) => ({
    ...program,
    attachPoints: program.attachPoints.filter(({ direction }) => direction === "ingress"),
  })),
  maps("ingress is not attached", (program) => ({
    ...program,
    attachPoints: program.attachPoints.filter(({ direction }) => direction === "egress"),
  })),
];

/* Tables ----------------------------------------------------------------------------------------------------------- */

function tables(name: string, mutate: (program: TableProgram) => TableProgram): ProgramMutant {
  return { name, mutate: (program) => (program.kind === "tables" ? mutate(program) : program) };
}

function mapChains(program: TableProgram, change: (chain: Chain) => Chain): TableProgram {
  const families = program.families.map((family) => ({
    ...family,
    tables: family.tables.map((table) => ({ ...table, chains: table.chains.map(change) })),
  }));
  return { ...program, families };
}

function chains(name: string, change: (chain: Chain) => readonly Rule[]): ProgramMutant {
  return tables(name, (program) => mapChains(program, (chain) => ({ ...chain, rules: change(chain) })));
}

/** Undefined: the rule is gone. */
export function rules(name: string, change: (rule: Rule) => Rule | undefined): ProgramMutant {
  return chains(name, (chain) => chain.rules.flatMap((rule) => change(rule) ?? []));
}

type MatchOf<Kind extends Match["kind"]> = Extract<Match, { readonly kind: Kind }>;
type TargetOf<Kind extends Target["kind"]> = Extract<Target, { readonly kind: Kind }>;

/** Undefined: the match is gone. */
function match<Kind extends Match["kind"]>(
  name: string,
  kind: Kind,
  change: (match: MatchOf<Kind>) => Match | undefined,
): ProgramMutant {
  const isMeant = (one: Match): one is MatchOf<Kind> => one.kind === kind;
  return rules(name, (rule) => ({
    ...rule,
    matches: rule.matches.flatMap((one) => (isMeant(one) ? (change(one) ?? []) : [one])),
  }));
}

/** As in `rules`. */
function target<Kind extends Target["kind"]>(
  name: string,
  kind: Kind,
  change: (target: TargetOf<Kind>) => Target | undefined,
): ProgramMutant {
  const isMeant = (one: Target | undefined): one is TargetOf<Kind> => one?.kind === kind;
  return rules(name, (rule) => {
    if (!isMeant(rule.target)) return rule;
    const changed = change(rule.target);
    return changed && { ...rule, target: changed };
  });
}

function ranges(change: (range: PortRange) => PortRange): (match: MatchOf<"ports">) => Match {
  return (one) => ({ ...one, ranges: one.ranges.map(change) });
}

function sets(name: string, change: (members: readonly IPSetMember[]) => readonly IPSetMember[]): ProgramMutant {
  // A list names other sets; what is in it is not the bug here. Of equal members one is enough.
  const ofSet = (set: IPSet): IPSet =>
    set.type === "list:set" ? set : { ...set, members: distinct(change(set.members), memberText) };
  return tables(name, (program) => ({ ...program, sets: program.sets.map(ofSet) }));
}

function memberText(member: IPSetMember): string {
  if (member.kind === "set") return member.set;
  return member.kind === "net"
    ? formatCidr(member.cidr)
    : `${formatCidr(member.cidr)} ${member.protocol} ${member.port}`;
}

/* Maps ------------------------------------------------------------------------------------------------------------- */

type Role = "ipcache" | "policy" | "exact" | "blocks";

function maps(name: string, mutate: (program: MapProgram) => MapProgram): ProgramMutant {
  return { name, mutate: (program) => (program.kind === "maps" ? mutate(program) : program) };
}

function entries(name: string, change: (list: readonly MapEntry[], role: Role) => readonly MapEntry[]): ProgramMutant {
  return maps(name, (program) => {
    const roles = new Map<string, Role>();
    for (const { plan } of program.attachPoints) {
      if (plan.kind === "identity") roles.set(plan.ipcache, "ipcache").set(plan.policy, "policy");
      else roles.set(plan.exact, "exact").set(plan.blocks, "blocks");
    }
    return {
      ...program,
      maps: program.maps.map((map) => {
        const role = roles.get(map.name);
        if (role === undefined) return map;
        return { ...map, entries: distinct(change(map.entries, role), ({ key }) => key.join()) };
      }),
    };
  });
}

function policyKeys(name: string, change: (key: PolicyMapKey) => PolicyMapKey): ProgramMutant {
  return entries(name, (list, role) => {
    if (role !== "policy") return list;
    return list.map((entry) => {
      const { port, portBits, ...rest } = change(decodePolicyKey(entry.key));
      // Bits beyond the prefix are zero, as the real program writes them.
      const key = { ...rest, portBits, port: port - (port % 2 ** (16 - portBits)) };
      return { ...entry, key: encodePolicyKey(key), value: encodePolicyAllow(key) };
    });
  });
}

function identities(name: string, change: (cidr: Cidr) => Cidr): ProgramMutant {
  return entries(name, (list, role) =>
    role === "ipcache"
      ? list.map((entry) => ({ ...entry, key: encodeIpcacheKey(change(decodeIpcacheKey(entry.key))) }))
      : list,
  );
}

function tuples(name: string, change: (key: TupleMapKey) => TupleMapKey): ProgramMutant {
  return entries(name, (list, role) => {
    if (role === "exact")
      return list.map((entry) => ({ ...entry, key: encodeTupleKey(change(decodeTupleKey(entry.key))) }));
    if (role === "blocks")
      return list.map((entry) => ({ ...entry, key: encodeBlockKey(change(decodeBlockKey(entry.key))) }));
    return list;
  });
}

/* ------------------------------------------------------------------------------------------------------------------ */

function isHost({ family, prefixLength }: Cidr): boolean {
  return prefixLength === addressBits(family);
}

function wider(cidr: Cidr): Cidr {
  return cidrOf(cidr, Math.max(0, cidr.prefixLength - 1));
}

/** The lower half; a host stays one. */
function narrower(cidr: Cidr): Cidr {
  return isHost(cidr) ? cidr : cidrOf(cidr, cidr.prefixLength + 1);
}

function distinct<T>(list: readonly T[], textOf: (one: T) => string): readonly T[] {
  const seen = new Set<string>();
  return list.filter((one) => {
    const text = textOf(one);
    if (seen.has(text)) return false;
    seen.add(text);
    return true;
  });
}
