/** What `ipset restore` and the kernel's set types refuse. */

import { addressBits, cidrKey, formatCidr } from "../../dataplane/address.ts";
import { hasPorts, PROTOCOL } from "../../dataplane/packet.ts";
import type { IPSet, IPSetMember, IPSetType } from "../../dataplane/program.ts";
import { rememberedBy } from "../again.ts";
import { DEFAULT_MAX_ELEMENTS } from "../capacity.ts";
import { hasControls, SET_COMMENT_MAX_BYTES, SET_NAME_MAX_BYTES, unsafeName, utf8Bytes } from "../names.ts";

const DEFAULT_LIST_SIZE = 8;

/** How many sides a match must name, by set type (ipset(8)); a list has as many as its sets. */
const DIMENSIONS = {
  "hash:ip": 1,
  "hash:net": 1,
  "hash:ip,port": 2,
  "hash:net,port": 2,
} as const satisfies Readonly<Record<Exclude<IPSetType, "list:set">, number>>;

/** A set as rules and lists see it. */
export interface SetShape {
  readonly family: IPSet["family"];
  /** Undefined: a list without sets, which no packet is in whatever is asked. */
  readonly dimensions: number | undefined;
  readonly isList: boolean;
}

const shapesOf = (family: IPSet["family"]) =>
  [
    { family, dimensions: 1, isList: false },
    { family, dimensions: 2, isList: false },
  ] as const;
const SHAPES = { 4: shapesOf(4), 6: shapesOf(6) } as const;

/** `earlier`: what a list can hold. */
function shapeOf({ type, family, members }: IPSet, earlier: ReadonlyMap<string, SetShape>): SetShape {
  if (type !== "list:set") return SHAPES[family][DIMENSIONS[type] - 1] ?? SHAPES[family][0];
  const listed = members.map((member) => (member.kind === "set" ? earlier.get(member.set)?.dimensions : undefined));
  return { family, dimensions: listed.find((dimensions) => dimensions !== undefined), isList: true };
}

/** So many are looked at again in less time than it takes to remember what was found. */
const FEW_MEMBERS = 8;

/** Nodes have sets in common, and a change of the cluster leaves most of them alone. */
const VERIFIED = new WeakMap<IPSet, readonly string[]>();
/** Sets with one array of members and the same wishes for them have the same problems. */
const VERIFIED_MEMBERS = new WeakMap<IPSet["members"], Map<string, readonly string[]>>();

export interface VerifiedSets {
  readonly problems: readonly string[];
  readonly shapes: ReadonlyMap<string, SetShape>;
}

export function verifySets(sets: readonly IPSet[]): VerifiedSets {
  const problems: string[] = [];
  const shapes = new Map<string, SetShape>();
  for (const set of sets) {
    if (shapes.has(set.name)) problems.push(`set ${set.name}: created twice`);
    const ofSet = set.members.length > FEW_MEMBERS ? rememberedBy(VERIFIED, set, verifySet) : verifySet(set);
    for (const problem of ofSet) problems.push(problem);
    for (const problem of verifyLists(set, shapes)) problems.push(`set ${set.name}: ${problem}`);
    shapes.set(set.name, shapeOf(set, shapes));
  }
  return { problems, shapes };
}

/** What is wrong with a set whatever stands beside it. */
function verifySet(set: IPSet): readonly string[] {
  const unsafe = unsafeName(set.name, SET_NAME_MAX_BYTES);
  const ofOptions = verifyOptions(set);
  const ofMembers = set.members.length > FEW_MEMBERS ? rememberedMembers(set) : verifyMembers(set);
  if (unsafe === undefined && ofOptions.length === 0 && ofMembers.length === 0) return SOUND;
  return [
    ...(unsafe === undefined ? [] : [`set name ${JSON.stringify(set.name)} ${unsafe}`]),
    ...[...ofOptions, ...ofMembers].map((problem) => `set ${set.name}: ${problem}`),
  ];
}

function rememberedMembers(set: IPSet): readonly string[] {
  const wishes = `${set.type} ${set.family} ${set.options.comment}`;
  const known = rememberedBy(VERIFIED_MEMBERS, set.members, () => new Map());
  const ofMembers = known.get(wishes) ?? verifyMembers(set);
  known.set(wishes, ofMembers);
  return ofMembers;
}

/** One for all: sets are kept with what is wrong with them by the hundred thousand. */
const SOUND: readonly string[] = [];

function verifyOptions({ type, members, options }: IPSet): readonly string[] {
  const { maxElements = DEFAULT_MAX_ELEMENTS, hashSize = 1, size = DEFAULT_LIST_SIZE, timeoutSeconds = 0 } = options;
  const areSound =
    isPositive(maxElements) &&
    isPositive(hashSize) &&
    isPositive(size) &&
    inRange(timeoutSeconds, 0, MOST_SECONDS) &&
    members.length <= maxElements;
  if (areSound) return SOUND;
  const problems: string[] = [];
  const positive = (name: string, value: number) => {
    if (!isPositive(value)) problems.push(`${name} ${value} is not a positive number`);
  };
  positive("maxElements", maxElements);
  positive("hashSize", hashSize);
  positive("size", size);
  if (!inRange(timeoutSeconds, 0, MOST_SECONDS))
    problems.push(`timeout ${timeoutSeconds} is not 0-${MOST_SECONDS} seconds`);
  // The size of a list is a hint that the kernel does not hold it to (dumps/romana/probes/twelve-segments: 12 in one of 8).
  if (type !== "list:set" && members.length > maxElements) {
    problems.push(`${members.length} members, room for ${maxElements}`);
  }
  return problems;
}

/** The kernel keeps timeouts in milliseconds of 32 bits (ip_set_timeout.h IPSET_MAX_TIMEOUT). */
const MOST_SECONDS = 2_147_483;

function isPositive(value: number): boolean {
  return Number.isInteger(value) && value >= 1;
}

function verifyMembers(set: IPSet): readonly string[] {
  let problems: string[] | undefined;
  // Of many sets that have one member each, none has it twice.
  const seen = set.members.length > 1 ? new Set<number | string>() : undefined;
  for (const member of set.members) {
    if (seen !== undefined && seen.size === seen.add(memberKey(member)).size) {
      problems = added(problems, `${describe(member)} is added twice`);
    }
    const problem = verifyMember(set, member) ?? verifyComment(set, member);
    if (problem !== undefined) problems = added(problems, `${describe(member)} ${problem}`);
  }
  return problems ?? SOUND;
}

function added(problems: string[] | undefined, problem: string): string[] {
  if (problems === undefined) return [problem];
  problems.push(problem);
  return problems;
}

function verifyLists(set: IPSet, earlier: ReadonlyMap<string, SetShape>): readonly string[] {
  if (set.type !== "list:set") return SOUND;
  const problems: string[] = [];
  const dimensions = new Set<number>();
  for (const member of set.members) {
    if (member.kind !== "set") continue;
    const listed = earlier.get(member.set);
    if (listed === undefined) problems.push(`lists ${member.set}, which is not created before it`);
    else if (listed.isList) problems.push(`lists ${member.set}, which is a list itself`);
    else {
      if (listed.family !== set.family) problems.push(`lists ${member.set}, which is of IPv${listed.family}`);
      if (listed.dimensions !== undefined) dimensions.add(listed.dimensions);
    }
  }
  if (dimensions.size > 1) problems.push("lists sets of different dimensions");
  return problems;
}

/** What the kernel compares members by; `nomatch` is no part of it. */
function memberKey(member: IPSetMember): number | string {
  switch (member.kind) {
    case "net":
      return cidrKey(member.cidr);
    case "netPort":
      return `${formatCidr(member.cidr)},${member.protocol}:${member.port}`;
    case "set":
      return member.set;
  }
}

function describe(member: IPSetMember): string {
  return `member ${member.kind === "net" ? formatCidr(member.cidr) : memberKey(member)}`;
}

function verifyMember(set: IPSet, member: IPSetMember): string | undefined {
  const wanted = set.type === "list:set" ? "set" : DIMENSIONS[set.type] === 2 ? "netPort" : "net";
  if (member.kind !== wanted) return `does not fit ${set.type}`;
  if (member.kind === "set") return undefined;
  const { cidr, nomatch } = member;
  if (cidr.family !== set.family) return `is not of IPv${set.family}`;
  const networks = set.type === "hash:net" || set.type === "hash:net,port";
  if (!networks && cidr.prefixLength !== addressBits(cidr.family)) return `is a network in ${set.type}`;
  if (!networks && nomatch === true) return `has nomatch in ${set.type}`;
  // Zero ends a hash entry for the kernel (hash_ip4_uadt), and /0 has no place among its prefix lengths (ipset(8)).
  if (!networks && cidr.family === 4 && cidr.words[0] === 0 && set.type === "hash:ip") return "cannot be stored";
  if (networks && cidr.prefixLength === 0) return "has prefix length 0; two halves can be stored";
  if (member.kind === "net") return undefined;
  if (!inRange(member.protocol, 1, 255)) return "has no protocol";
  if (!inRange(member.port, 0, 65_535)) return "has no port";
  // ICMP has type and code there (ip_set_getport.c).
  const hasPort = hasPorts(member.protocol) || member.protocol === PROTOCOL.icmp || member.protocol === PROTOCOL.icmpv6;
  if (!hasPort && member.port !== 0) return "has a port, its protocol has none";
  return undefined;
}

function verifyComment(set: IPSet, { comment }: IPSetMember): string | undefined {
  if (comment === undefined) return undefined;
  if (set.options.comment !== true) return "has a comment in a set without comments";
  if (utf8Bytes(comment) > SET_COMMENT_MAX_BYTES) return `has a comment above ${SET_COMMENT_MAX_BYTES} bytes`;
  // ipset(8): a comment ends at the first quote, nothing escapes one.
  if (comment.includes('"') || hasControls(comment)) return "has a comment with a quote or a control character";
  return undefined;
}

function inRange(value: number, first: number, last: number): boolean {
  return Number.isInteger(value) && value >= first && value <= last;
}
