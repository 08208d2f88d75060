/** Matches and targets in few words, and why a match did not hold. */
import { type Cidr, formatAddress, formatCidr, type IpAddress } from "../dataplane/address.ts";
import { hasPorts, type Packet, protocolName } from "../dataplane/packet.ts";
import {
  BUILT_IN_CHAINS,
  type IPSet,
  type Match,
  type PortRange,
  type Rule,
  type Side,
  type Target,
} from "../dataplane/program.ts";
import type { CtState } from "../dataplane/verdict.ts";
import { formatTcpFlags } from "../traffic/transcript.ts";
import { visible } from "./visible.ts";

/** How names of chains and sets are shown. */
export type Shorten = (name: string) => string;

const SIDE = { source: "src", destination: "dst" } as const satisfies Record<Side, string>;

/**
 * The conditions of a rule, one text each; comments and what only guards logging are left out, and a protocol is said
 * together with its ports.
 */
export function conditions(rule: Rule, shorten: Shorten): readonly string[] {
  const protocol = rule.matches.find((match) => match.kind === "protocol" && !match.negate);
  const hasPortMatch = rule.matches.some((match) => match.kind === "ports");
  const words: string[] = [];
  for (const match of rule.matches) {
    if (match.kind === "comment" || match.kind === "limit" || (match === protocol && hasPortMatch)) continue;
    const text = formatMatch(match, shorten);
    const withProtocol = match.kind === "ports" && protocol !== undefined;
    words.push(withProtocol ? `${formatMatch(protocol, shorten)} ${text}` : text);
  }
  return words;
}

/** What the rule's solution left on it for people. */
export function commentOf({ matches }: Rule): string | undefined {
  const comments = matches.flatMap((match) => (match.kind === "comment" ? [match.text] : []));
  return comments.length === 0 ? undefined : visible(comments.join(" "));
}

/** One condition as iptables means it, shorter than iptables writes it. */
export function formatMatch(match: Match, shorten: Shorten): string {
  switch (match.kind) {
    case "address":
      return `${SIDE[match.side]} ${not(match)}${formatBlock(match.cidr)}`;
    case "interface":
      return `${match.side} ${not(match)}${match.name}`;
    case "protocol":
      return `${not(match)}${protocolName(match.protocol)}`;
    case "ports":
      return `${formatPortSide(match.side)} ${not(match)}${match.ranges.map(formatRange).join(",")}`;
    case "tcpFlags":
      return `flags ${not(match)}${formatTcpFlags(match.compare) || "none"} of ${formatTcpFlags(match.mask)}`;
    case "icmp":
      return `${match.family === 4 ? "icmp" : "icmpv6"} ${not(match)}${formatIcmp(match)}`;
    case "set":
      return `${match.sides.map((side) => SIDE[side]).join(",")} ${not(match)}in ${shorten(match.set)}`;
    case "mark":
    case "connmark":
      return `${match.kind} ${not(match)}${formatMasked(match)}`;
    case "ctState":
      return `state ${not(match)}${match.states.join(",")}`;
    case "addressType":
      return `${SIDE[match.side]} ${not(match)}${match.type}`;
    case "physdev":
      return formatPhysdev(match);
    case "limit":
      return `limit ${match.rate}`;
    case "rpfilter":
      return match.invert ? "no route back to the source" : "route back to the source";
    case "fragment":
      return `${not(match)}fragment`;
    case "comment":
      return `"${visible(match.text)}"`;
    case "opaque":
      return visible(match.text);
  }
}

function not(match: { readonly negate: boolean }): string {
  return match.negate ? "not " : "";
}

/** A host prefix as the bare address. */
function formatBlock(cidr: Cidr): string {
  return cidr.prefixLength === 32 * cidr.words.length ? formatAddress(cidr) : formatCidr(cidr);
}

function formatPortSide(side: Side | "either"): string {
  switch (side) {
    case "source":
      return "source port";
    case "destination":
      return "port";
    case "either":
      return "either port";
  }
}

function formatRange({ first, last }: PortRange): string {
  return first === last ? String(first) : `${first}-${last}`;
}

function formatIcmp({ type, code }: { readonly type: number; readonly code?: number }): string {
  return code === undefined ? `type ${type}` : `type ${type}/${code}`;
}

export function formatMark(mark: number): string {
  return mark === 0 ? "0" : `0x${mark.toString(16)}`;
}

function formatMasked({ value, mask }: { readonly value: number; readonly mask: number }): string {
  if (value === mask) return formatMark(value);
  return mask === 0xffff_ffff ? formatMark(value) : `${formatMark(value)}/${formatMark(mask)}`;
}

function formatPhysdev(match: Extract<Match, { kind: "physdev" }>): string {
  const device = (side: string, test: { readonly name: string; readonly negate: boolean } | undefined) =>
    test === undefined ? [] : [`bridge port ${side} ${not(test)}${test.name}`];
  const flag = (text: string, value: boolean | undefined) =>
    value === undefined ? [] : [value ? text : `not ${text}`];
  return [
    ...device("in", match.in),
    ...device("out", match.out),
    ...flag("bridged", match.isBridged),
    ...flag("came by a bridge port", match.isIn),
    ...flag("leaves by a bridge port", match.isOut),
  ].join(", ");
}

/** What a rule does, `mark` being the packet's mark before it. */
export function formatTarget(target: Target | undefined, mark: number, shorten: Shorten): string {
  if (target === undefined) return "count";
  switch (target.kind) {
    case "accept":
    case "drop":
    case "return":
    case "notrack":
      return target.kind;
    case "jump":
      return `→ ${shorten(target.chain)}`;
    case "goto":
      return `⇒ ${shorten(target.chain)}`;
    case "reject":
      return `reject ${target.with}`;
    case "mark":
      return `mark ${formatMark(mark)} → ${formatMark(markAfter(target, mark))}`;
    case "connmark":
      return target.operation === "set" ? `connmark ${formatMasked(target)}` : `connmark ${target.operation}`;
    case "ctZone":
      return `conntrack zone ${target.zone}`;
    case "log":
      return target.target;
    case "nat":
      return target.target;
    case "opaque":
      return visible(target.text);
  }
}

/** `MARK --set-xmark value/mask` (iptables-extensions(8)): clear the masked bits, then exclusive-or the value. */
export function markAfter(target: { readonly value: number; readonly mask: number }, mark: number): number {
  return ((mark & ~target.mask) ^ target.value) >>> 0;
}

const BUILT_IN: ReadonlySet<string> = new Set(Object.values(BUILT_IN_CHAINS).flat());

/** Whether netfilter itself calls the chain. Its name then exists in several tables. */
export function isBuiltInChain(name: string): boolean {
  return BUILT_IN.has(name);
}

export interface Situation {
  readonly packet: Packet;
  readonly mark: number;
  readonly ctState: CtState | undefined;
  readonly sets: ReadonlyMap<string, IPSet>;
}

/** Why `match` did not hold for the packet: what was found instead. */
export function whyNot(match: Match, { packet, mark, ctState, sets }: Situation): string {
  switch (match.kind) {
    case "address":
      return formatAddress(endOf(packet, match.side));
    case "protocol":
      return protocolName(packet.protocol);
    case "ports":
      return hasPorts(packet.protocol)
        ? `port is ${portsOf(packet, match.side)}`
        : `${protocolName(packet.protocol)} has no ports`;
    case "tcpFlags":
      return `flags are ${formatTcpFlags(packet.tcpFlags) || "none"}`;
    case "icmp":
      return `type is ${formatIcmp({ type: packet.icmpType, code: packet.icmpCode }).slice("type ".length)}`;
    case "set": {
      const set = sets.get(match.set);
      const element = formatElement(packet, match.sides, set);
      if (set === undefined) return `no set ${match.set}`;
      return match.negate ? `${element} is a member` : `${element} not a member`;
    }
    case "mark":
      return `mark is ${formatMark(mark)}`;
    case "ctState":
      return ctState === undefined ? "other state" : `state is ${ctState}`;
    case "addressType":
      return `${formatAddress(endOf(packet, match.side))} is ${match.negate ? "" : "not "}${match.type}`;
    case "physdev":
      return match.isBridged === true ? "routed" : "other bridge port";
    case "interface":
      return "other interface";
    case "connmark":
      return "other connmark";
    case "fragment":
      return packet.fragment ? "a fragment" : "not a fragment";
    case "rpfilter":
      return match.invert ? "there is a route back" : "no route back";
    case "limit":
    case "comment":
    case "opaque":
      return "does not hold";
  }
}

function endOf(packet: Packet, side: Side): IpAddress {
  return side === "source" ? packet.source : packet.destination;
}

function portsOf(packet: Packet, side: Side | "either"): string {
  switch (side) {
    case "source":
      return String(packet.sourcePort);
    case "destination":
      return String(packet.destinationPort);
    case "either":
      return `${packet.sourcePort} and ${packet.destinationPort}`;
  }
}

/** What a set is asked for: one part per dimension, as `ipset test` takes it. */
function formatElement(packet: Packet, sides: readonly Side[], set: IPSet | undefined): string {
  const [first = "destination", second] = sides;
  const address = formatAddress(endOf(packet, first));
  const hasPortDimension = set?.type === "hash:ip,port" || set?.type === "hash:net,port";
  if (!hasPortDimension || second === undefined) return address;
  return `${address},${protocolName(packet.protocol)}:${portsOf(packet, second)}`;
}
