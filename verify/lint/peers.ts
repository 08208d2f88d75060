/** Findings about selectors and single rules: what selects nobody, matches nothing, or stands in a rule twice. */
import { sourceWithin } from "../../compiler/manifest/fields.ts";
import { DIRECTIONS, type Direction } from "../../compiler/model.ts";
import type { ResolvedCluster, ResolvedPeer, ResolvedPolicy, ResolvedRule } from "../../compiler/resolve.ts";
import { liesWithin, NOTHING, type Universe } from "./allowed.ts";
import { peerField, ruleField, writtenPeer } from "./fields.ts";
import { finding, type LintFinding } from "./finding.ts";
import { UnionTree } from "./unionTree.ts";

export function lintPeers(cluster: ResolvedCluster, universe: Universe): readonly LintFinding[] {
  return cluster.policies.flatMap((resolved) => [
    ...lintSubjects(resolved),
    ...lintUntyped(resolved),
    ...DIRECTIONS.filter((direction) => resolved.policy.types.includes(direction)).flatMap((direction) =>
      resolved[direction].flatMap((rule) => [
        ...lintMembers(resolved, direction, rule),
        ...lintRule({ resolved, direction, rule, universe }),
        ...lintShadowed({ resolved, direction, rule, universe }),
      ]),
    ),
  ]);
}

function lintSubjects({ policy, subjects }: ResolvedPolicy): readonly LintFinding[] {
  if (subjects.length > 0) return [];
  const message = `policy ${policy.key} selects no pod on the pod network of namespace ${policy.namespace}: it isolates nobody`;
  return [
    finding("selects-nobody", sourceWithin(policy.source, ["spec", "podSelector"]), {
      path: "spec.podSelector",
      message,
    }),
  ];
}

/** The API server fills in Egress when a policy has such rules and says nothing; here it was said, without it. */
function lintUntyped({ policy }: ResolvedPolicy): readonly LintFinding[] {
  return DIRECTIONS.filter((direction) => !policy.types.includes(direction)).flatMap((direction) =>
    policy[direction].map((rule, index) => {
      const type = direction === "ingress" ? "Ingress" : "Egress";
      const message = `no packet is held to this rule: spec.policyTypes of policy ${policy.key} does not name ${type}`;
      return finding("rule-never-matches", rule.source, { path: ruleField(direction, index), message });
    }),
  );
}

function lintMembers(
  { policy }: ResolvedPolicy,
  direction: Direction,
  { index, peers }: ResolvedRule,
): readonly LintFinding[] {
  return peers.flatMap((peer) => {
    if (peer.kind !== "pods" || peer.members.length > 0) return [];
    const where =
      peer.namespaceSelector === undefined
        ? `namespace ${policy.namespace}`
        : "the namespaces it names, or there are none";
    const message = `this peer selects no pod of ${where}: it allows nobody`;
    const path = peerField(direction, index, peer.index);
    return [finding("selects-nobody", writtenPeer(policy, direction, [index, peer.index]), { path, message })];
  });
}

interface RuleAsked {
  readonly resolved: ResolvedPolicy;
  readonly direction: Direction;
  readonly rule: ResolvedRule;
  readonly universe: Universe;
}

function lintRule({ resolved, direction, rule, universe }: RuleAsked): readonly LintFinding[] {
  const { subjects } = resolved;
  // Of a policy that selects nobody that is said already, and of a single peer too.
  if (subjects.length === 0 || subjects.some((pod) => universe.rule(rule, pod, direction).length > 0)) return [];
  const peersMatter = rule.peers.length > 0 && rule.peers.every((peer) => universe.peer(peer) === NOTHING);
  const why = peersMatter
    ? "all of its peers select nobody"
    : "none of its ports is one that the destination declares under that name";
  const message = `no packet can match this rule: ${why}`;
  return [finding("rule-never-matches", rule.rule.source, { path: ruleField(direction, rule.index), message })];
}

/** From the last: of two equal peers the later one is superfluous. */
function lintShadowed({ resolved: { policy }, direction, rule, universe }: RuleAsked): readonly LintFinding[] {
  const kept = new Set(rule.peers);
  const tree = new UnionTree(rule.peers.map((peer) => [universe.peer(peer)]));
  const found: LintFinding[] = [];
  for (const [index, peer] of [...rule.peers.entries()].reverse()) {
    const bits = universe.peer(peer);
    if (bits === NOTHING || !liesWithin([bits], tree.without(index))) continue;
    tree.remove(index);
    kept.delete(peer);
    const path = peerField(direction, rule.index, peer.index);
    const message = `whatever this peer selects is selected by ${coveredBy(bits, [...kept], { universe, direction, rule })} already`;
    found.push(finding("peer-shadowed", writtenPeer(policy, direction, [rule.index, peer.index]), { path, message }));
  }
  return found;
}

function coveredBy(
  bits: bigint,
  others: readonly ResolvedPeer[],
  { universe, direction, rule }: Pick<RuleAsked, "universe" | "direction" | "rule">,
): string {
  const one = others.find((other) => (bits & ~universe.peer(other)) === NOTHING);
  return one === undefined ? "the others of the rule together" : peerField(direction, rule.index, one.index);
}
