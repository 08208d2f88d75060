/**
 * Metamorphic laws: changes of a cluster that must not change verdicts, or only in one way. They need no second opinion
 * about what the verdict is, so they catch what judge and accused get wrong together.
 */
import type { ClusterModel, Direction, NetworkPolicy, PolicyPeer, PolicyRule } from "../../compiler/model.ts";
import { type Cidr, cidrContains, cidrOf, formatCidr } from "../../dataplane/address.ts";
import { cluster, EVERYTHING, namespace, pod, policy } from "../../verify/fuzz/builders.ts";
import { NODES } from "../../verify/fuzz/domain.ts";

/** A policy that isolates every pod of a namespace which has none. */
export function withUnrelatedPolicy(model: ClusterModel): ClusterModel {
  return cluster({
    ...model,
    namespaces: [...model.namespaces, namespace("lonely", { tier: "a" })],
    policies: [...model.policies, policy("lonely/deny", EVERYTHING, { ingress: [], egress: [] })],
  });
}

/** A pod on the first node, at an address that no packet of the domain has. */
export function withUnrelatedPod(model: ClusterModel): ClusterModel {
  const stranger = pod("lonely/stranger", ["10.1.0.200"], { node: NODES[0]?.name ?? "", labels: { app: "a" } });
  return cluster({ ...model, endpoints: [...model.endpoints, stranger] });
}

/** Each rule with several peers as one rule per peer. */
export function withPeersApart(model: ClusterModel): ClusterModel {
  return mapRules(model, (rule) =>
    rule.peers.length < 2 ? [rule] : rule.peers.map((peer) => ({ ...rule, peers: [peer] })),
  );
}

/** Each block as its two halves. */
export function withBlocksHalved(model: ClusterModel): ClusterModel {
  return mapRules(model, (rule) => {
    if (rule.peers.length === 0) return [rule];
    const peers = rule.peers.flatMap(halvesOf);
    // A rule without peers would mean everybody.
    return peers.length === 0 ? [] : [{ ...rule, peers }];
  });
}

/** One more rule in the policy, for a direction it already isolates. */
export function withOneMoreRule(
  model: ClusterModel,
  {
    policy: index,
    direction,
    rule,
  }: { readonly policy: number; readonly direction: Direction; readonly rule: PolicyRule },
): ClusterModel {
  const policies = model.policies.map((one, at) =>
    at === index && one.types.includes(direction) ? { ...one, [direction]: [...one[direction], rule] } : one,
  );
  return { ...model, policies };
}

function mapRules(model: ClusterModel, change: (rule: PolicyRule) => readonly PolicyRule[]): ClusterModel {
  const policies = model.policies.map(
    (one): NetworkPolicy => ({ ...one, ingress: one.ingress.flatMap(change), egress: one.egress.flatMap(change) }),
  );
  return { ...model, policies };
}

function halvesOf(peer: PolicyPeer): readonly PolicyPeer[] {
  if (peer.kind !== "ipBlock" || peer.cidr.prefixLength === bits(peer.cidr)) return [peer];
  return halves(peer.cidr).flatMap((half) => {
    const inside = peer.except.filter((block) => cidrContains(half, block));
    // An exception lies strictly inside its block, so at most it is the half: then nothing of the half is left.
    if (inside.some((block) => block.prefixLength === half.prefixLength)) return [];
    return [{ ...peer, cidr: half, cidrText: formatCidr(half), except: inside, exceptText: inside.map(formatCidr) }];
  });
}

function halves(block: Cidr): readonly [Cidr, Cidr] {
  const { prefixLength, words } = block;
  const upper = words.map((word, index) =>
    index === Math.trunc(prefixLength / 32) ? word | (1 << (31 - (prefixLength % 32))) : word,
  );
  return [cidrOf(block, prefixLength + 1), cidrOf({ ...block, words: upper }, prefixLength + 1)];
}

function bits(block: Cidr): number {
  return block.words.length * 32;
}
