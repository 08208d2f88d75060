/** What iptables(8), its extensions and their kernel sides refuse of one rule. */
import type { Family } from "../../dataplane/address.ts";
import { PROTOCOL } from "../../dataplane/packet.ts";
import {
  type Match,
  MULTIPORT_SLOTS,
  type PortRange,
  type RejectWith,
  type Rule,
  type TableName,
  type Target,
} from "../../dataplane/program.ts";
import { LateComment } from "../lateComment.ts";
import {
  COMMENT_MAX_BYTES,
  hasControls,
  INTERFACE_NAME_MAX_BYTES,
  isPrintableAscii,
  unsafeName,
  utf8Bytes,
} from "../names.ts";
import type { SetShape } from "./sets.ts";

/** Where a rule stands, as far as that matters. */
export interface RulePlace {
  readonly family: Family;
  readonly table: TableName;
  readonly chain: string;
  readonly sets: Pick<ReadonlyMap<string, SetShape>, "get">;
}

/** Names after `-j` that are not chains (iptables(8), TARGETS). */
export const RESERVED_TARGETS: ReadonlySet<string> = new Set(["ACCEPT", "DROP", "RETURN", "QUEUE"]);

const PORT_PROTOCOLS: readonly number[] = [PROTOCOL.tcp, PROTOCOL.udp, PROTOCOL.udplite, PROTOCOL.dccp, PROTOCOL.sctp];

/** FIN to URG: the flags `--tcp-flags` has names for. */
const NAMED_TCP_FLAGS = 0x3f;

/** Rules come by the million and are right nearly always: nothing is made for those. */
export function verifyRule({ matches, target }: Rule, place: RulePlace): readonly string[] {
  const protocol = demandedProtocol(matches);
  let problems: string[] | undefined;
  for (let at = 0; at < matches.length; at++) {
    const problem = verifyMatch(matches[at] as Match, place, protocol);
    if (problem !== undefined) problems = added(problems, problem);
  }
  for (const problem of repeated(matches)) problems = added(problems, problem);
  const problem = target && verifyTarget(target, place, protocol);
  if (problem !== undefined) problems = added(problems, problem);
  return problems ?? SOUND;
}

function added(problems: string[] | undefined, problem: string): string[] {
  if (problems === undefined) return [problem];
  problems.push(problem);
  return problems;
}

const SOUND: readonly string[] = [];

/** Of `-p`. */
function demandedProtocol(matches: readonly Match[]): number | undefined {
  for (let at = 0; at < matches.length; at++) {
    const match = matches[at] as Match;
    if (match.kind === "protocol" && !match.negate) return match.protocol;
  }
  return undefined;
}

/** The parts of a rule's own header: a rule has each once. */
const HEADER_PARTS = [
  "source address",
  "destination address",
  "in interface",
  "out interface",
  "protocol",
  "fragment",
] as const;

function headerPart(match: Match): (typeof HEADER_PARTS)[number] | undefined {
  switch (match.kind) {
    case "address":
      return match.side === "source" ? "source address" : "destination address";
    case "interface":
      return match.side === "in" ? "in interface" : "out interface";
    case "protocol":
    case "fragment":
      return match.kind;
    default:
      return undefined;
  }
}

function repeated(matches: readonly Match[]): readonly string[] {
  let problems: string[] | undefined;
  let seen = 0;
  for (let at = 0; at < matches.length; at++) {
    const part = headerPart(matches[at] as Match);
    if (part === undefined) continue;
    const bit = 1 << HEADER_PARTS.indexOf(part);
    if ((seen & bit) !== 0) problems = added(problems, `has more than one ${part}`);
    seen |= bit;
  }
  return problems ?? SOUND;
}

/** `protocol`: what `-p` demands. */
function verifyMatch(match: Match, place: RulePlace, protocol: number | undefined): string | undefined {
  switch (match.kind) {
    case "address":
      return match.cidr.family === place.family ? undefined : `has an address of IPv${match.cidr.family}`;
    case "interface":
      return device(match.name) ?? wrongSide(match.side, place.chain);
    case "protocol":
      return inRange(match.protocol, 1, 255) ? undefined : `protocol ${match.protocol} is not 1-255`;
    case "ports":
      return verifyPorts(match, protocol);
    case "tcpFlags":
      if (protocol !== PROTOCOL.tcp) return "asks for TCP flags without -p tcp";
      if ((match.mask & ~NAMED_TCP_FLAGS) !== 0 || (match.compare & ~NAMED_TCP_FLAGS) !== 0) {
        return "asks for TCP flags that have no name";
      }
      return undefined;
    case "icmp":
      return verifyIcmp(match, place.family, protocol);
    case "set":
      return verifySetMatch(match, place);
    case "mark":
    case "connmark":
      return words(match.kind, match);
    case "ctState": {
      if (match.states.length === 0) return "asks for no connection state";
      const translated = match.states.includes("snat") || match.states.includes("dnat");
      return match.extension === "state" && translated ? "-m state knows no SNAT and DNAT" : undefined;
    }
    case "addressType":
      return undefined;
    case "physdev": {
      const parts = [match.in, match.out, match.isIn, match.isOut, match.isBridged];
      if (parts.every((part) => part === undefined)) return "-m physdev asks for nothing";
      return (match.in && device(match.in.name)) ?? (match.out && device(match.out.name));
    }
    case "limit":
      if (!/^[1-9]\d{0,4}\/(?:sec|min|hour|day)$/.test(match.rate)) return `limit ${match.rate} is not a rate`;
      return inRange(match.burst, 1, 10_000) ? undefined : `burst ${match.burst} is not 1-10000`;
    case "rpfilter":
      // xt_rpfilter.c: .table raw or mangle, hook PREROUTING.
      return place.table === "raw" || place.table === "mangle"
        ? undefined
        : "-m rpfilter needs the raw or mangle table";
    case "fragment":
      return place.family === 4 ? undefined : "-f is of IPv4";
    case "comment":
      if (match instanceof LateComment) return undefined;
      if (match.text.length <= COMMENT_MAX_BYTES && isPrintableAscii(match.text)) return undefined;
      if (utf8Bytes(match.text) > COMMENT_MAX_BYTES) return `comment is longer than ${COMMENT_MAX_BYTES} bytes`;
      return hasControls(match.text) ? "comment has a control character" : undefined;
    case "opaque":
      return hasControls(match.text) ? "match has a control character" : undefined;
  }
}

/** iptables(8): `-i` means nothing on what a node sends, `-o` nothing on what it takes in. */
function wrongSide(side: "in" | "out", chain: string): string | undefined {
  const senseless = side === "in" ? ["OUTPUT", "POSTROUTING"] : ["INPUT", "PREROUTING"];
  return senseless.includes(chain) ? `asks for the ${side} interface in ${chain}` : undefined;
}

function device(name: string): string | undefined {
  const unsafe = unsafeName(name, INTERFACE_NAME_MAX_BYTES);
  return unsafe && `interface name ${JSON.stringify(name)} ${unsafe}`;
}

function verifyPorts(match: Match & { readonly kind: "ports" }, protocol: number | undefined): string | undefined {
  const { extension, ranges } = match;
  const wrong = ranges.find(({ first, last }) => !inRange(first, 0, 65_535) || !inRange(last, first, 65_535));
  if (wrong !== undefined) return `ports ${wrong.first}:${wrong.last} are no range of 0-65535`;
  if (extension === "multiport") {
    if (protocol === undefined || !PORT_PROTOCOLS.includes(protocol)) return "-m multiport needs -p with ports";
    const slots = slotsOf(ranges);
    return inRange(slots, 1, MULTIPORT_SLOTS) ? undefined : `${slots} multiport slots, room for ${MULTIPORT_SLOTS}`;
  }
  if (protocol !== PROTOCOL[extension]) return `-m ${extension} needs -p ${extension}`;
  if (ranges.length !== 1) return `-m ${extension} takes one range, not ${ranges.length}`;
  return match.side === "either" ? `-m ${extension} cannot ask for either side` : undefined;
}

function slotsOf(ranges: readonly PortRange[]): number {
  return ranges.reduce((slots, { first, last }) => slots + (first === last ? 1 : 2), 0);
}

function verifyIcmp(
  match: Match & { readonly kind: "icmp" },
  family: Family,
  protocol: number | undefined,
): string | undefined {
  if (match.family !== family) return `asks for ICMP of IPv${match.family}`;
  if (protocol !== (family === 4 ? PROTOCOL.icmp : PROTOCOL.icmpv6)) return "asks for an ICMP type without its -p";
  if (!inRange(match.type, 0, 255)) return `ICMP type ${match.type} is not 0-255`;
  if (match.code !== undefined && !inRange(match.code, 0, 255)) return `ICMP code ${match.code} is not 0-255`;
  return undefined;
}

function verifySetMatch(match: Match & { readonly kind: "set" }, place: RulePlace): string | undefined {
  const shape = place.sets.get(match.set);
  if (shape === undefined) return `there is no set ${JSON.stringify(match.set)}`;
  if (shape.family !== place.family) return `set ${match.set} is of IPv${shape.family}`;
  // ip_set_core.c ip_set_test: a set asked for fewer sides than it has dimensions matches nothing, without a word.
  if (shape.dimensions !== undefined && shape.dimensions !== match.sides.length) {
    return `asks set ${match.set} by ${match.sides.length} sides, it has ${shape.dimensions}`;
  }
  return undefined;
}

function words(name: string, { value, mask }: { readonly value: number; readonly mask: number }): string | undefined {
  if (inRange(value, 0, 0xffffffff) && inRange(mask, 0, 0xffffffff)) return undefined;
  return `${name} ${value}/${mask} is not of 32 bits without sign`;
}

const IPV6_REJECTS: readonly RejectWith[] = [
  "icmp6-port-unreachable",
  "icmp6-no-route",
  "icmp6-adm-prohibited",
  "icmp6-addr-unreachable",
  "icmp6-policy-fail",
  "icmp6-reject-route",
];

function verifyTarget(target: Target, place: RulePlace, protocol: number | undefined): string | undefined {
  switch (target.kind) {
    case "accept":
    case "return":
      return undefined;
    case "drop":
      return place.table === "nat" ? "DROP in the nat table is inhibited" : undefined;
    case "jump":
    case "goto":
      return undefined; // whether the chain exists is the table's business
    case "reject": {
      if (place.table !== "filter") return "REJECT needs the filter table";
      if (target.with === "tcp-reset") return protocol === PROTOCOL.tcp ? undefined : "tcp-reset needs -p tcp";
      const family = IPV6_REJECTS.includes(target.with) ? 6 : 4;
      return family === place.family ? undefined : `rejects with ${target.with}, of IPv${family}`;
    }
    case "mark":
    case "connmark":
      return words(target.kind, target);
    case "notrack":
      return place.table === "raw" ? undefined : "CT needs the raw table";
    case "ctZone":
      if (place.table !== "raw") return "CT needs the raw table";
      return inRange(target.zone, 0, 65_535) ? undefined : `zone ${target.zone} is not 0-65535`;
    case "log":
      return hasControls(target.text) ? `${target.target} has a control character` : undefined;
    case "nat":
      if (place.table !== "nat") return `${target.target} needs the nat table`;
      return hasControls(target.text) ? `${target.target} has a control character` : undefined;
    case "opaque":
      return hasControls(target.text) ? "target has a control character" : undefined;
  }
}

function inRange(value: number, first: number, last: number): boolean {
  return Number.isInteger(value) && value >= first && value <= last;
}
