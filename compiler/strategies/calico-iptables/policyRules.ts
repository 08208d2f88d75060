/**
 * A policy's rules of one direction, in two steps: what the converter makes of them (one rule for each protocol and
 * peer), and the kernel rules of each.
 *
 *   match -> set Accept; Accept -> RETURN
 *
 * What has to be ORed does not fit one kernel rule: several groups of ports, names of ports, or a block with excepts.
 * Then a scratch bit collects it in rules before:
 *
 *   all packets  -> clear the scratch bits (or set the first, when only excepts follow)
 *   ports, names -> set scratch 0, a rule each
 *   excepts      -> clear scratch 0, a rule each
 *   rest, scratch 0 -> set Accept
 *
 * Source: projectcalico/calico libcalico-go/lib/backend/k8s/conversion/conversion.go, felix/rules/policy.go,
 * felix/calc/rule_scanner.go.
 */
import type { Family } from "../../../dataplane/address.ts";
import type { PortRange, Side } from "../../../dataplane/program.ts";
import { rememberedBy } from "../../again.ts";
import { type Direction, type PolicyPort, peerPath, rulePath } from "../../model.ts";
import type { ResolvedPeer, ResolvedPolicy, ResolvedRule } from "../../resolve.ts";
import { action, type FelixMatch, type FelixRule, match } from "./felixRule.ts";
import { MARK } from "./marks.ts";
import { namedPortSetId, selectorSetId, setName } from "./names.ts";
import { ALL, peerSelector } from "./selector.ts";

/** Slots of one multiport match; a range takes two. */
const MULTIPORT_SLOTS = 15;

/** One rule of Calico's own model: one protocol, one peer. */
export interface CalicoRule {
  /** Lower case; undefined: every protocol. */
  readonly protocol: string | undefined;
  readonly peer: ResolvedPeer | undefined;
  /** The canonical selector of a peer that is one. */
  readonly selector: string | undefined;
  readonly ranges: readonly PortRange[];
  readonly names: readonly string[];
  readonly origin: string;
}

/** What the converter makes of the rules of a direction: by protocol in order of name, and by peer within it. */
export function calicoRules(resolved: ResolvedPolicy, direction: Direction): readonly CalicoRule[] {
  return rememberedBy(RULES[direction], resolved, () =>
    resolved[direction].flatMap((rule) => convertRule(resolved, direction, rule)),
  );
}

const RULES = {
  ingress: new WeakMap<ResolvedPolicy, readonly CalicoRule[]>(),
  egress: new WeakMap<ResolvedPolicy, readonly CalicoRule[]>(),
} as const satisfies Record<Direction, unknown>;

function convertRule({ policy }: ResolvedPolicy, direction: Direction, rule: ResolvedRule): readonly CalicoRule[] {
  const byProtocol = new Map<string | undefined, readonly PolicyPort[]>();
  if (rule.ports.length === 0) byProtocol.set(undefined, []);
  for (const port of rule.ports) {
    const protocol = port.protocol.toLowerCase();
    const known = byProtocol.get(protocol);
    // A port entry without a number is every port, whatever else is listed: an empty list, which stays empty.
    if (port.port === undefined) byProtocol.set(protocol, []);
    else if (known === undefined || known.length > 0) byProtocol.set(protocol, [...(known ?? []), port]);
  }
  const protocols = [...byProtocol.keys()].sort();
  const peers: readonly (ResolvedPeer | undefined)[] = rule.peers.length === 0 ? [undefined] : rule.peers;
  return protocols.flatMap((protocol) => {
    const ports = byProtocol.get(protocol) ?? [];
    return peers.map((peer) => ({
      protocol,
      peer,
      selector: peer?.kind === "pods" ? peerSelector(policy, peer.podSelector, peer.namespaceSelector) : undefined,
      ranges: simplified(ports),
      names: ports.flatMap(({ port }) => (typeof port === "string" ? [port] : [])),
      origin:
        peer === undefined
          ? rulePath(policy, direction, rule.index)
          : peerPath(policy, direction, rule.index, peer.index),
    }));
  });
}

/** Sorted, overlapping and adjacent ranges joined; a single entry stays as written. */
function simplified(ports: readonly PolicyPort[]): readonly PortRange[] {
  const ranges = ports
    .flatMap(({ port, endPort }) => (typeof port === "number" ? [{ first: port, last: endPort ?? port }] : []))
    .sort((a, b) => a.first - b.first || a.last - b.last);
  const joined: PortRange[] = [];
  for (const range of ranges) {
    const previous = joined.at(-1);
    if (previous === undefined || range.first > previous.last + 1) joined.push(range);
    else joined[joined.length - 1] = { first: previous.first, last: Math.max(previous.last, range.last) };
  }
  return joined;
}

/** The sets a rule refers to: of its selector, and of each port name among the destinations. */
export interface RuleSets {
  readonly selectorId: string | undefined;
  readonly namedPortIds: readonly string[];
}

export function ruleSets(rule: CalicoRule, direction: Direction): RuleSets {
  return rememberedBy(SETS, rule, () => setsOf(rule, direction));
}

// A rule is of one direction.
const SETS = new WeakMap<CalicoRule, RuleSets>();

function setsOf(rule: CalicoRule, direction: Direction): RuleSets {
  const ownSelectorId = rule.selector === undefined ? undefined : selectorSetId(rule.selector);
  // On ingress the destination is the endpoint in whose chain the rule stands: the names of all endpoints will do.
  const destinations = direction === "egress" && ownSelectorId !== undefined ? ownSelectorId : selectorSetId(ALL);
  const namedPortIds = rule.names.map((name) => namedPortSetId(destinations, rule.protocol ?? "", name));
  // Names of the peers' own ports say who the peers are; with numbers beside them the selector must say it.
  const implied = direction === "egress" && namedPortIds.length > 0 && rule.ranges.length === 0;
  return { selectorId: implied ? undefined : ownSelectorId, namedPortIds };
}

/** The chain of a policy and direction. A chain without rules carries its comment alone. */
export function policyChainRules(resolved: ResolvedPolicy, direction: Direction, family: Family): readonly FelixRule[] {
  const rules = calicoRules(resolved, direction).flatMap((rule) => kernelRules(rule, direction, family));
  // A RETURN at the end of a chain does nothing.
  while (rules.at(-1)?.action === action.return) rules.pop();
  const { key } = resolved.policy;
  return withComment(rules, `KubernetesNetworkPolicy ${key} ${direction}`, key);
}

/** The first rule carries the chain's comment; a chain without rules gets one for it. */
export function withComment(rules: readonly FelixRule[], comment: string, origin: string): readonly FelixRule[] {
  const [first, ...rest] = rules;
  return [{ ...(first ?? { matches: [], origin }), comments: [comment] }, ...rest];
}

function kernelRules(rule: CalicoRule, direction: Direction, family: Family): readonly FelixRule[] {
  const { peer, origin } = rule;
  const block = peer?.kind === "ipBlock" ? peer : undefined;
  if (block !== undefined && block.cidr.family !== family) return [];
  const { selectorId, namedPortIds } = ruleSets(rule, direction);
  const peerSide: Side = direction === "ingress" ? "source" : "destination";
  const protocol: readonly FelixMatch[] = rule.protocol === undefined ? [] : [match.protocol(rule.protocol)];
  const portGroups = splitPorts(rule.ranges);
  const nameMatches = namedPortIds.map((id) => match.inPortSet(setName(family, id)));
  const portsNeedBlock = portGroups.length + nameMatches.length > 1;
  const except = block?.except ?? [];
  // What takes everything away is left out as a whole (filterNets); the API server refuses it, an old object may have it.
  if (except.some(({ prefixLength }) => prefixLength === 0)) return [];

  const rules: FelixRule[] = [];
  const add = (matches: readonly FelixMatch[], what: FelixRule["action"]) =>
    rules.push({ matches, ...(what === undefined ? {} : { action: what }), origin });
  if (portsNeedBlock || except.length > 0) {
    add([], action.setMaskedMark(portsNeedBlock ? 0 : MARK.scratch0, MARK.scratch0 | MARK.scratch1));
  }
  if (portsNeedBlock) {
    for (const group of portGroups) add([...protocol, match.toPorts(group)], action.setMark(MARK.scratch0));
    for (const named of nameMatches) add([named], action.setMark(MARK.scratch0));
  }
  for (const cidr of except) add([match.address(peerSide, cidr)], action.clearMark(MARK.scratch0));

  const peerMatches: FelixMatch[] = [];
  if (block !== undefined) peerMatches.push(match.address(peerSide, block.cidr));
  if (selectorId !== undefined) peerMatches.push(match.inSet(setName(family, selectorId), peerSide));
  add(
    [
      ...protocol,
      ...peerMatches,
      ...(portsNeedBlock ? [] : [...portGroups.map((group) => match.toPorts(group)), ...nameMatches]),
      ...(portsNeedBlock || except.length > 0 ? [match.markSet(MARK.scratch0)] : []),
    ],
    action.setMark(MARK.accept),
  );
  add([match.markSet(MARK.accept)], action.return);
  return rules;
}

/** Groups that fit a multiport match each; a range that does not fit the last slot begins a new group. */
function splitPorts(ranges: readonly PortRange[]): readonly (readonly PortRange[])[] {
  const groups: PortRange[][] = [];
  let free = 0;
  for (const range of ranges) {
    const slots = range.first === range.last ? 1 : 2;
    if (free < slots) {
      groups.push([]);
      free = MULTIPORT_SLOTS;
    }
    groups.at(-1)?.push(range);
    free -= slots;
  }
  return groups;
}
