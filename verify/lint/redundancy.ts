/** Findings about rules and policies together: what others allow already, and what they allow again. */
import { DIRECTIONS, type Direction, type Endpoint } from "../../compiler/model.ts";
import type { ResolvedCluster, ResolvedPeer, ResolvedPolicy, ResolvedRule } from "../../compiler/resolve.ts";
import { formatCidr } from "../../dataplane/address.ts";
import { type Bits, type ByService, byService, liesWithin, NOTHING, type Universe } from "./allowed.ts";
import { peerField, ruleField, writtenExcept } from "./fields.ts";
import { finding, type LintFinding } from "./finding.ts";
import { UnionTree } from "./unionTree.ts";

/** Bits that the sets of one class of subjects may take: half a gigabyte. */
const MOST_BITS = 2 ** 32;

/** Pods for which the same policies hold in a direction, with the same meaning of port names. */
interface SubjectClass {
  readonly direction: Direction;
  readonly policies: readonly ResolvedPolicy[];
  /** Any one of them. */
  readonly subject: Endpoint;
}

export interface RedundancyReport {
  readonly findings: readonly LintFinding[];
  readonly gaps: readonly string[];
}

export function lintRedundancy(cluster: ResolvedCluster, universe: Universe): RedundancyReport {
  const gaps: string[] = [];
  const classes = subjectClasses(cluster).filter(({ policies, direction, subject }) => {
    const bits = policies.length * (universe.services.length + 1) * universe.addresses.length;
    if (bits <= MOST_BITS) return true;
    gaps.push(
      `${policies.length} policies for ${direction} of pods like ${subject.key}: too many to compare each with all others`,
    );
    return false;
  });
  return {
    findings: [
      ...lintPolicies(cluster, classes, universe),
      ...lintRules(classes, universe),
      ...lintExceptions(classes, universe),
    ],
    gaps,
  };
}

function subjectClasses(cluster: ResolvedCluster): readonly SubjectClass[] {
  return DIRECTIONS.flatMap((direction) => {
    const classes = new Map<readonly ResolvedPolicy[], Map<string, SubjectClass>>();
    for (const subject of cluster.pods) {
      const policies = cluster.policiesFor(subject, direction);
      if (policies.length === 0) continue;
      const byPorts = classes.get(policies) ?? new Map<string, SubjectClass>();
      classes.set(policies, byPorts);
      const key = direction === "ingress" && policies.some(namesPorts) ? portsKey(subject) : "";
      if (!byPorts.has(key)) byPorts.set(key, { direction, policies, subject });
    }
    return [...classes.values()].flatMap((byPorts) => [...byPorts.values()]);
  });
}

function namesPorts({ policy: { ingress } }: ResolvedPolicy): boolean {
  return ingress.some(({ ports }) => ports.some(({ port }) => typeof port === "string"));
}

function portsKey({ ports }: Endpoint): string {
  return ports.map(({ name, protocol, port, container }) => `${name} ${protocol} ${port} ${container}`).join();
}

function allowedBy(universe: Universe, rules: readonly ResolvedRule[], one: SubjectClass): ByService {
  return byService(
    universe,
    rules.flatMap((rule) => universe.rule(rule, one.subject, one.direction)),
  );
}

/** What stands in one place of a list, with what it allows there. */
interface Place {
  readonly sets: readonly ByService[];
  readonly tree: UnionTree;
  readonly index: number;
}

function isSuperfluous({ sets, tree, index }: Place): boolean {
  return liesWithin(sets[index] ?? [], tree.without(index));
}

/** Pods that nobody isolates fare the same. */
function allowsEverything({ sets, index }: Place, { everyPeer }: Universe): boolean {
  return sets[index]?.every((bits) => bits === everyPeer) === true;
}

/** From the last: of two equal policies the later one is superfluous. */
function lintPolicies(
  { policies }: ResolvedCluster,
  classes: readonly SubjectClass[],
  universe: Universe,
): readonly LintFinding[] {
  const places = new Map<ResolvedPolicy, { readonly place: Place; readonly left: Set<ResolvedPolicy> }[]>();
  for (const one of classes) {
    const sets = one.policies.map((resolved) => allowedBy(universe, resolved[one.direction], one));
    const tree = new UnionTree(sets);
    const left = new Set(one.policies);
    for (const [index, resolved] of one.policies.entries()) {
      const own = places.get(resolved) ?? [];
      places.set(resolved, own);
      own.push({ place: { sets, tree, index }, left });
    }
  }
  const found: LintFinding[] = [];
  for (const resolved of [...policies].reverse()) {
    const own = places.get(resolved) ?? [];
    const superfluous = own.every(({ place, left }) =>
      left.size > 1 ? isSuperfluous(place) : allowsEverything(place, universe),
    );
    if (own.length === 0 || !superfluous || !isSeenWhole(resolved, classes)) continue;
    for (const { place, left } of own) {
      place.tree.remove(place.index);
      left.delete(resolved);
    }
    const { policy } = resolved;
    const message = `without policy ${policy.key} every packet would fare the same: ${othersText(own.map(({ left }) => left))}`;
    found.push(finding("policy-changes-nothing", policy.source, { path: "spec", message }));
  }
  return found;
}

/** Enough to see why. */
const SHOWN = 3;

function othersText(sets: readonly ReadonlySet<ResolvedPolicy>[]): string {
  const alone = "it allows everything to pods that no other policy isolates";
  if (sets.every((set) => set.size === 0)) return alone;
  const others = otherPoliciesText(sets);
  return sets.some((set) => set.size === 0) ? `${others}, and where nobody else does ${alone}` : others;
}

function otherPoliciesText(sets: readonly ReadonlySet<ResolvedPolicy>[]): string {
  const keys = [...new Set(sets.flatMap((set) => [...set].map(({ policy }) => policy.key)))];
  const more = keys.length > SHOWN ? ` and ${keys.length - SHOWN} more` : "";
  const [isolate, allow] = keys.length === 1 ? ["isolates", "allows"] : ["isolate", "allow"];
  return `${keys.slice(0, SHOWN).join(", ")}${more} ${isolate} the pods it selects and ${allow} all that it allows`;
}

/** Whether no class of its subjects was left out as too large. */
function isSeenWhole(resolved: ResolvedPolicy, classes: readonly SubjectClass[]): boolean {
  return resolved.policy.types.every((direction) =>
    classes.some((one) => one.direction === direction && one.policies.includes(resolved)),
  );
}

function lintRules(classes: readonly SubjectClass[], universe: Universe): readonly LintFinding[] {
  const byPolicy = new Map<ResolvedPolicy, SubjectClass[]>();
  for (const one of classes) {
    for (const resolved of one.policies) {
      if (resolved[one.direction].length < 2) continue;
      const own = byPolicy.get(resolved) ?? [];
      byPolicy.set(resolved, own);
      own.push(one);
    }
  }
  return [...byPolicy].flatMap(([resolved, own]) =>
    DIRECTIONS.flatMap((direction) => {
      // What a rule allows depends on the subject by its port names alone: as many classes as differ in those.
      const subjects = new Map(
        own.filter((one) => one.direction === direction).map((one) => [portsKey(one.subject), one]),
      );
      const rules = resolved[direction];
      const columns = [...subjects.values()].map((one) => {
        const sets = rules.map((rule) => allowedBy(universe, [rule], one));
        return { sets, tree: new UnionTree(sets) };
      });
      const found: LintFinding[] = [];
      for (const [index, rule] of [...rules.entries()].reverse()) {
        const places = columns.map((column): Place => ({ ...column, index }));
        const allowsNothing = places.every(({ sets }) => sets[index]?.every((bits) => bits === NOTHING));
        if (places.length === 0 || allowsNothing || !places.every(isSuperfluous)) continue;
        for (const { tree } of places) tree.remove(index);
        const message = "all that this rule allows is allowed by other rules of the policy already";
        found.push(finding("rule-shadowed", rule.rule.source, { path: ruleField(direction, index), message }));
      }
      return found;
    }),
  );
}

/** One entry of the union that a pod's policies make: a peer with its rule's ports, or a rule without peers. */
interface Entry {
  readonly resolved: ResolvedPolicy;
  readonly rule: ResolvedRule;
  readonly peer: ResolvedPeer | undefined;
  readonly peers: Bits;
  readonly services: Bits;
}

function lintExceptions(classes: readonly SubjectClass[], universe: Universe): readonly LintFinding[] {
  const told = new Set<string>();
  const found: LintFinding[] = [];
  for (const one of classes) {
    const entries = entriesOf(one, universe);
    const tree = new UnionTree(entries.map(({ peers }) => [peers]));
    for (const [at, entry] of entries.entries()) {
      const { peer, resolved, rule, services } = entry;
      if (peer?.kind !== "ipBlock") continue;
      for (const [index, cidr] of peer.except.entries()) {
        const bits = universe.block(cidr);
        const path = `${peerField(one.direction, rule.index, peer.index)}.ipBlock.except[${index}]`;
        const key = `${resolved.policy.key} ${path}`;
        // Mostly nobody else has them, and that is seen at once.
        const others = tree.without(at)[0] ?? NOTHING;
        if (told.has(key) || (others & bits) === NOTHING) continue;
        const again = entries.find(
          (other) => other.peer !== peer && (other.peers & bits) !== NOTHING && (other.services & services) !== NOTHING,
        );
        if (again === undefined) continue;
        told.add(key);
        const message = `${formatCidr(cidr)} is excepted here, but ${addressesText(again.peers & bits, bits)} allowed again by ${entryText(again, one.direction)}`;
        const source = writtenExcept(resolved.policy, one.direction, [rule.index, peer.index, index]);
        found.push(finding("except-reopened", source, { path, message }));
      }
    }
  }
  return found;
}

function entriesOf({ policies, direction, subject }: SubjectClass, universe: Universe): readonly Entry[] {
  return policies.flatMap((resolved) =>
    resolved[direction].flatMap((rule) => {
      const parts = rule.peers.length === 0 ? [undefined] : rule.peers;
      return parts.flatMap((peer) =>
        universe
          .rule({ peers: peer === undefined ? [] : [peer], ports: rule.ports }, subject, direction)
          .map((product): Entry => ({ resolved, rule, peer, ...product })),
      );
    }),
  );
}

function addressesText(again: Bits, all: Bits): string {
  return again === all ? "is" : "some of it is";
}

function entryText({ resolved, rule, peer }: Entry, direction: Direction): string {
  const path = peer === undefined ? ruleField(direction, rule.index) : peerField(direction, rule.index, peer.index);
  return `${resolved.policy.key} ${path}`;
}
