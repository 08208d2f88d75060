/**
 * One chain for each policy of the cluster, and the sets its rules ask (policy.go `syncNetworkPolicyChains`). A rule of
 * the policy becomes, in this order, entries for its pods (numbered ports, then named ones), for everybody, and for its
 * blocks; an entry is two rules with equal matches: one marks the packet, the other returns with it.
 */
import type { Family } from "../../../dataplane/address.ts";
import { PROTOCOL } from "../../../dataplane/packet.ts";
import type { Chain, IPSet, IPSetMember, Match, Rule } from "../../../dataplane/program.ts";
import {
  listChange,
  type Mapped,
  MappedAgain,
  mappedAgain,
  rememberedBy,
  SortedAgain,
  sameItems,
} from "../../again.ts";
import { DIRECTIONS, type Direction, type Endpoint, type PolicyPort, peerPath, rulePath } from "../../model.ts";
import type { ResolvedCluster, ResolvedPolicy, ResolvedRule } from "../../resolve.ts";
import { comment, inSet, marked, ofProtocol, RETURN, setMark, toPorts } from "../../ruleParts.ts";
import { type BlockElement, type BlockPeer, blockAdds, folded } from "./blocks.ts";
import { ALLOWED_MARK } from "./marks.ts";
import { MemberLists } from "./members.ts";
import { indexNamedPorts, type NamedPort, type NamedPortIndex, resolvePorts } from "./namedPorts.ts";
import {
  identityComment,
  namedPortSetName,
  peerSetName,
  policyChainName,
  type RuleIndex,
  targetSetName,
} from "./names.ts";
import { bySetName, SetStore, setNameRank } from "./sets.ts";
import { BY_NAME, type Settings } from "./settings.ts";
import { asRange } from "./written.ts";

export interface LoweredPolicies {
  readonly chains: readonly Chain[];
  readonly sets: readonly IPSet[];
}

/** Policies in the order of their visits. */
export function lowerPolicies(cluster: ResolvedCluster, settings: Settings, family: Family): LoweredPolicies {
  const latest =
    settings.podOrder === BY_NAME && settings.policyOrder === BY_NAME
      ? latestOf(cluster, `${family} ${settings.numberOrder}`)
      : new LatestPolicies();
  return latest.lower(cluster, settings, family);
}

function latestOf({ lineage }: ResolvedCluster, key: string): LatestPolicies {
  const known = rememberedBy(LATEST, lineage, () => new Map<string, LatestPolicies>());
  const latest = known.get(key) ?? new LatestPolicies();
  known.set(key, latest);
  return latest;
}

const LATEST = new WeakMap<WeakKey, Map<string, LatestPolicies>>();

/** What one policy becomes. */
interface LoweredPolicy {
  readonly policy: ResolvedPolicy;
  readonly rules: readonly Rule[];
  readonly sets: readonly IPSet[];
  /** The pods of its namespace, when it looked at them. */
  readonly neighbours: readonly Endpoint[] | undefined;
}

/** The policies of states that follow each other: one that did not change keeps its chain and its sets. */
class LatestPolicies {
  #lowered: Mapped<ResolvedPolicy, LoweredPolicy> = { items: [], mapped: [] };
  #version = "";
  #chains = new MappedAgain<LoweredPolicy, Chain>();
  #listed: readonly LoweredPolicy[] = [];
  #sorted = new SortedAgain<IPSet>(bySetName, setNameRank);

  lower(cluster: ResolvedCluster, settings: Settings, family: Family): LoweredPolicies {
    const members = new MemberLists(family);
    const items = settings.policyOrder(cluster.policies, keyOf);
    this.#forgetNeighbours(cluster);
    const mapped = mappedAgain(this.#lowered, items, (policy) =>
      lowerPolicy({ cluster, settings, family, members, policy }),
    );
    this.#lowered = { items, mapped };
    if (this.#version !== settings.version) this.#chains = new MappedAgain();
    this.#version = settings.version;
    return {
      chains: this.#chains.of(mapped, ({ policy, rules }) => ({
        name: policyChainName(policy.policy, settings.version, family),
        rules,
      })),
      sets: this.#sets(mapped, family),
    };
  }

  /** Policies whose namespace has other pods than those they looked at are lowered again. */
  #forgetNeighbours(cluster: ResolvedCluster): void {
    const { mapped } = this.#lowered;
    const left = mapped.filter(
      ({ policy, neighbours }) =>
        neighbours === undefined || sameItems(neighbours, podsIn(cluster, policy.policy.namespace)),
    );
    if (left.length < mapped.length) this.#lowered = { items: left.map(({ policy }) => policy), mapped: left };
  }

  #sets(lowered: readonly LoweredPolicy[], family: Family): readonly IPSet[] {
    const { gone, come } = listChange(this.#listed, lowered);
    this.#listed = lowered;
    const change = { gone: setsOf(gone), come: setsOf(come) };
    const sorted = this.#sorted.patched(change) ?? this.#sorted.of(setsOf(lowered));
    if (!this.#sorted.hasEquals) return sorted;
    // Two policies have a set of one name.
    const store = new SetStore(family);
    for (const { sets } of lowered) for (const set of sets) store.put(set);
    return store.sets.toSorted(bySetName);
  }
}

function setsOf(lowered: readonly LoweredPolicy[]): readonly IPSet[] {
  const all: IPSet[] = [];
  for (const { sets } of lowered) for (const set of sets) all.push(set);
  return all;
}

function lowerPolicy({ policy, ...given }: Omit<PolicyScope, "sets" | "direction" | "target">): LoweredPolicy {
  const { cluster, settings, family, members } = given;
  const rules: Rule[] = [];
  const sets = new SetStore(family);
  for (const direction of DIRECTIONS) {
    if (!policy.policy.types.includes(direction)) continue;
    const target = targetSetName(policy.policy, direction, family);
    sets.refresh(target, { type: "hash:ip", members: members.all(policy.subjects), origin: policy.policy.key });
    const scope: PolicyScope = { ...given, sets, policy, direction, target };
    const subjects = indexNamedPorts(ingressVisits(scope), settings.numberOrder);
    for (const rule of policy[direction]) {
      const index =
        direction === "ingress" ? subjects : indexNamedPorts(egressVisits(scope, rule), settings.numberOrder);
      lowerRule(scope, rule, index, rules);
    }
  }
  const looks =
    policy.policy.types.includes("egress") &&
    policy.egress.some((rule) => rule.peers.length === 0 && hasNamedPorts(rule));
  // Copies have no room left over for more: policies are many and have few rules.
  return {
    policy,
    rules: rules.slice(),
    sets: sets.sets.slice(),
    neighbours: looks ? podsIn(cluster, policy.policy.namespace) : undefined,
  };
}

interface PolicyScope {
  readonly cluster: Pick<ResolvedCluster, "pods">;
  readonly settings: Pick<Settings, "podOrder" | "numberOrder">;
  readonly family: Family;
  readonly sets: SetStore;
  readonly members: MemberLists;
  readonly policy: ResolvedPolicy;
  readonly direction: Direction;
  /** The set of the pods that the policy selects. */
  readonly target: string;
}

interface Visiting extends Pick<PolicyScope, "cluster" | "policy"> {
  readonly settings: Pick<Settings, "podOrder">;
}

/** Ingress: one index for the policy, over the pods it selects. */
export function ingressVisits({ settings, policy }: Visiting): readonly Endpoint[] {
  return policy.ingress.some(hasNamedPorts) ? settings.podOrder(policy.subjects, podKey) : [];
}

/** Egress: an index for each rule, over the pods it names; over the policy's namespace where it names nobody. */
export function egressVisits({ cluster, settings, policy }: Visiting, rule: ResolvedRule): readonly Endpoint[] {
  if (!hasNamedPorts(rule)) return [];
  if (rule.peers.length > 0) return podPeers(rule).flatMap(({ members }) => settings.podOrder(members, podKey));
  return settings.podOrder(podsIn(cluster, policy.policy.namespace), podKey);
}

// Asked for once a rule; derived from values that never change.
const BY_NAMESPACE = new WeakMap<readonly Endpoint[], ReadonlyMap<string, readonly Endpoint[]>>();

function podsIn({ pods }: PolicyScope["cluster"], namespace: string): readonly Endpoint[] {
  const known = BY_NAMESPACE.get(pods) ?? groupByNamespace(pods);
  BY_NAMESPACE.set(pods, known);
  return known.get(namespace) ?? [];
}

function groupByNamespace(pods: readonly Endpoint[]): ReadonlyMap<string, readonly Endpoint[]> {
  const groups = new Map<string, Endpoint[]>();
  for (const pod of pods) {
    const group = groups.get(pod.namespace);
    if (group === undefined) groups.set(pod.namespace, [pod]);
    else group.push(pod);
  }
  return groups;
}

function hasNamedPorts({ ports }: ResolvedRule): boolean {
  return ports.some(({ port }) => typeof port === "string");
}

export function podPeers(rule: ResolvedRule) {
  return rule.peers.filter((peer) => peer.kind === "pods");
}

export function blockPeers(rule: ResolvedRule): readonly BlockPeer[] {
  return rule.peers.filter((peer) => peer.kind === "ipBlock");
}

/** What an entry asks of a packet besides its comment. */
interface Entry {
  /** `pods`, `any` or `cidr`, with ` np` for a named port. */
  readonly kind: string;
  readonly source: string | undefined;
  readonly destination: string | undefined;
  readonly port: PolicyPort | NamedPort | undefined;
  readonly origin: string;
}

/** Appends to `rules`. */
function lowerRule(scope: PolicyScope, rule: ResolvedRule, index: NamedPortIndex, rules: Rule[]): void {
  const { policy, direction, family, sets, members, target } = scope;
  const identity = policy.policy;
  const place = { direction, index: rule.index };
  const origin = rulePath(identity, direction, rule.index);
  const everyPort = rule.ports.length === 0;
  const { numeric, named } = resolvePorts(rule.ports, index);

  /** An entry between the policy's pods and a set of peers; undefined stands for everybody. */
  const between = (kind: string, peers: string | undefined, port: Entry["port"], from: string) => {
    const [source, destination] = direction === "ingress" ? [peers, target] : [target, peers];
    addEntry(scope, { kind, source, destination, port, origin: from }, rules);
  };
  /** An entry for a named port: its set takes the place of the destination. */
  const toNamed = (kind: string, source: string | undefined, port: NamedPort, from: string) => {
    const destination = namedPortSetName(identity, place, named.indexOf(port), family);
    // Only what has blocks alone asks for hash:net, and the first to ask decides.
    const type = kind === "cidr" ? "hash:net" : "hash:ip";
    sets.refresh(destination, { type, members: members.all([...port.pods]), origin });
    addEntry(scope, { kind: `${kind} np`, source, destination, port, origin: from }, rules);
  };

  const pods = podPeers(rule);
  if (pods.some((peer) => peer.members.length > 0)) {
    const peers = peerSetName(identity, place, "pod", family);
    const from = onlyPath(pods, policy, place) ?? origin;
    const lists = pods.map((peer) => peer.members);
    sets.refresh(peers, {
      type: "hash:ip",
      members: members.firsts(lists),
      origin,
      writes: lists.length > 1 ? () => lists.flatMap((list) => members.firsts([list])) : undefined,
    });
    for (const port of numeric) between("pods", peers, port, from);
    for (const port of named) toNamed("pods", direction === "ingress" ? peers : target, port, from);
    // Also when there were ports and none resolved: then every port is open.
    if (numeric.length === 0 && named.length === 0) between("pods", peers, undefined, from);
  }
  if (rule.peers.length === 0) {
    for (const port of numeric) between("any", undefined, port, origin);
    for (const port of named) {
      if (direction === "ingress") toNamed("any", undefined, port, origin);
      else addEntry(scope, { kind: "any np", source: target, destination: undefined, port, origin }, rules);
    }
    if (everyPort) between("any", undefined, undefined, origin);
  }
  const blocks = blockPeers(rule).filter(({ cidr }) => cidr.family === family);
  if (blocks.length > 0) {
    const peers = peerSetName(identity, place, "ipblock", family);
    const from = onlyPath(blocks, policy, place) ?? origin;
    const added = blockAdds(blocks, family);
    const elements = folded(added);
    const writes = elements === added ? undefined : () => added.map(blockMember);
    sets.refresh(peers, { type: "hash:net", members: elements.map(blockMember), origin, writes });
    for (const port of numeric) between("cidr", peers, port, from);
    if (direction === "ingress") for (const port of named) toNamed("cidr", peers, port, from);
    if (everyPort) between("cidr", peers, undefined, from);
  }
}

function blockMember({ cidr, nomatch }: BlockElement): IPSetMember {
  return { kind: "net", cidr, ...(nomatch && { nomatch }) };
}

/** Appends the two rules of an entry. */
function addEntry({ policy, direction }: PolicyScope, entry: Entry, rules: Rule[]): void {
  const matches: Match[] = [comment(identityComment(policy.policy, `${direction} ${entry.kind}`))];
  if (entry.source !== undefined) matches.push(inSet(entry.source, "source"));
  if (entry.destination !== undefined) matches.push(inSet(entry.destination, "destination"));
  if (entry.port !== undefined) {
    const { protocol, port } = entry.port;
    const name = PROTOCOL_NAMES[protocol];
    matches.push(ofProtocol(PROTOCOL[name]));
    if (typeof port === "number") {
      const last = "endPort" in entry.port ? entry.port.endPort : undefined;
      const asked = toPorts(name, { first: port, last: last ?? port });
      matches.push(last === port ? asRange(asked) : asked);
    }
  }
  rules.push(
    { matches: matches.slice(), target: ALLOW, origin: entry.origin },
    { matches: matches.concat(ALLOWED), target: RETURN, origin: entry.origin },
  );
}

const ALLOW = setMark(ALLOWED_MARK, ALLOWED_MARK);
const ALLOWED = marked(ALLOWED_MARK, ALLOWED_MARK);

const PROTOCOL_NAMES = { TCP: "tcp", UDP: "udp", SCTP: "sctp" } as const;

/** Where the peer stands, if it is the only one. */
function onlyPath(
  peers: readonly { readonly index: number }[],
  { policy }: ResolvedPolicy,
  { direction, index }: RuleIndex,
): string | undefined {
  const [only] = peers;
  return only !== undefined && peers.length === 1 ? peerPath(policy, direction, index, only.index) : undefined;
}

function keyOf({ policy }: ResolvedPolicy): string {
  return policy.key;
}

function podKey(pod: Endpoint): string {
  return pod.key;
}
