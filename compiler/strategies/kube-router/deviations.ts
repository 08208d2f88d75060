/** Where kube-router's enforcement differs from the API text. */
import { type Cidr, cidrContains, type Family } from "../../../dataplane/address.ts";
import { type Packet, PROTOCOL } from "../../../dataplane/packet.ts";
import { deviationsOf, type Quirk } from "../../deviation.ts";
import type { Direction } from "../../model.ts";
import { type PacketEnds, type PolicyContext, type PolicyReading, peerMatches } from "../../policyReading.ts";
import type { ResolvedCluster, ResolvedPeer, ResolvedPolicy, ResolvedRule } from "../../resolve.ts";
import { blockElements, EVERYTHING, elementsMatch } from "./blocks.ts";
import { namedPortQuirks } from "./namedPortQuirks.ts";
import { blockPeers, podPeers } from "./policies.ts";
import { DEFAULT_CLUSTER_RANGES, DEFAULT_NODE_PORTS } from "./settings.ts";

/** Two things whose namespace and name, written together, are one text. */
function collide(things: readonly { readonly namespace: string; readonly name: string }[]): boolean {
  return new Set(things.map(({ namespace, name }) => namespace + name)).size < things.length;
}

const COLLIDING_POLICIES = new WeakMap<ResolvedCluster, boolean>();

function policiesCollide(cluster: ResolvedCluster): boolean {
  let known = COLLIDING_POLICIES.get(cluster);
  if (known === undefined) {
    known = collide(cluster.policies.map(({ policy }) => policy));
    COLLIDING_POLICIES.set(cluster, known);
  }
  return known;
}

const COLLIDING_PODS = new WeakMap<ResolvedCluster, Map<string, boolean>>();

/** IPv4 is restored first, and its failure ends the sync for both. */
function podsCollide(cluster: ResolvedCluster, node: string, family: Family): boolean {
  const byNode = COLLIDING_PODS.get(cluster) ?? new Map<string, boolean>();
  COLLIDING_PODS.set(cluster, byNode);
  const key = `${family} ${node}`;
  let known = byNode.get(key);
  if (known === undefined) {
    const pods = cluster.podsOn(node);
    const families: readonly Family[] = family === 4 ? [4] : [4, 6];
    known = families.some((one) =>
      collide(pods.filter((pod) => pod.addresses.some((address) => address.family === one))),
    );
    byNode.set(key, known);
  }
  return known;
}

/** The reading of a node that isolates nobody when `unfiltered` holds. */
function unfilteredWhen(reading: PolicyReading, unfiltered: (context: PolicyContext) => boolean): PolicyReading {
  return { ...reading, isolates: (context) => !unfiltered(context) && reading.isolates(context) };
}

/** What a block is under the API, in the terms of a set: /0 in two halves. */
const HALVES: Readonly<Record<Family, readonly Cidr[]>> = {
  4: EVERYTHING[4],
  // ::/1 and 8000::/1
  6: [0, 0x8000_0000 | 0].map((word) => ({ family: 6, words: [word, 0, 0, 0], prefixLength: 1 })),
};

/** `::/0` as kube-router puts it into a set. */
function withLessThanEverything(rule: ResolvedRule): ResolvedRule {
  const peers: ResolvedPeer[] = [];
  for (const peer of rule.peers) {
    if (peer.kind === "ipBlock" && peer.cidr.family === 6 && peer.cidr.prefixLength === 0) {
      peers.push(...EVERYTHING[6].map((cidr) => ({ ...peer, cidr })));
    } else peers.push(peer);
  }
  return { ...rule, peers };
}

/** The other end's view of a policy that selects both ends. */
function mirrored(context: PolicyContext): PolicyContext | undefined {
  const other = context.peer.pod;
  const { policy, direction, ends } = context;
  if (other === undefined || policy.policy.types.length < 2 || !selects(policy, context)) return undefined;
  const opposite: Direction = direction === "ingress" ? "egress" : "ingress";
  return {
    ...context,
    direction: opposite,
    subject: other,
    peer: opposite === "ingress" ? ends.source : ends.destination,
  };
}

function selects(policy: ResolvedPolicy, { cluster, peer }: PolicyContext): boolean {
  if (peer.pod === undefined) return false;
  return [...cluster.policiesFor(peer.pod, "ingress"), ...cluster.policiesFor(peer.pod, "egress")].includes(policy);
}

function isPodToOwnNode({ source, destination }: PacketEnds): boolean {
  return source.pod !== undefined && destination.node === source.pod.node;
}

const NODE_PORT_PROTOCOLS: readonly number[] = [PROTOCOL.tcp, PROTOCOL.udp, PROTOCOL.sctp];

/** The RETURNs that KUBE-ROUTER-INPUT begins with. */
function isExempt({ protocol, destination, destinationPort }: Packet): boolean {
  if (DEFAULT_CLUSTER_RANGES.some((range) => cidrContains(range, destination))) return true;
  return (
    NODE_PORT_PROTOCOLS.includes(protocol) &&
    destinationPort >= DEFAULT_NODE_PORTS.first &&
    destinationPort <= DEFAULT_NODE_PORTS.last
  );
}

/**
 * The messages of COMMON that can be the first of a connection; the others are answers and errors, which connection
 * tracking calls invalid when they answer nothing. Neighbours are not tracked at all.
 */
function isCommonIcmp({ protocol, icmpType }: Packet): boolean {
  return COMMON_ICMP.some((one) => one.protocol === protocol && one.icmpTypes.includes(icmpType));
}

const COMMON_ICMP = [
  { protocol: PROTOCOL.icmp, icmpTypes: [8] },
  { protocol: PROTOCOL.icmpv6, icmpTypes: [128, 135, 136] },
];

/** Each changes the reading that those before it left. The last sees a rule as all others have made it. */
const quirks: readonly Quirk[] = [
  ...namedPortQuirks,
  {
    name: "ipv6-everything-is-less",
    summary: "The IPv6 block ::/0 covers 2000::/3 and fd00::/8 only.",
    source: "kube-router policy.go evalIPBlockPeer; dumps/kube-router/dual-stack, packets.txt",
    scenario: "kube-router-ipv6-everything-is-less",
    apply: (reading) => ({ ...reading, rules: (context) => reading.rules(context).map(withLessThanEverything) }),
  },
  {
    name: "except-hides-sibling-blocks",
    summary:
      "All blocks of a rule are one set in which the most specific prefix decides, so an exception of one block also takes addresses from the rule's wider blocks.",
    source: "kube-router policy.go processIngressRules; dumps/kube-router/ipblocks node-b, extra/equal-cidr",
    scenario: "kube-router-except-hides-sibling-blocks",
    apply: (reading) => ({
      ...reading,
      peersMatch: (context) => {
        const { rule, peer } = context;
        const blocks = blockPeers(rule);
        if (blocks.length < 2) return reading.peersMatch(context);
        if (podPeers(rule).some((pods) => peerMatches(pods, peer))) return true;
        const { family } = peer.address;
        return elementsMatch(blockElements(blocks, family, HALVES[family]), peer.address);
      },
    }),
  },
  {
    name: "both-types-share-a-mark",
    summary:
      "Between two pods that one policy of both types selects, its rules of either direction allow what the other direction refuses.",
    source: "kube-router pod.go setupPodNetpolRules; dumps/kube-router/both-types, extra/leak-egress, packets.txt",
    scenario: "kube-router-both-types-share-a-mark",
    apply: (reading) => ({
      ...reading,
      rules: (context) => {
        const rules = reading.rules(context);
        const other = mirrored(context);
        if (other === undefined) return rules;
        const allows = reading.rules(other).some((rule) => {
          const asked = { ...other, rule };
          return reading.peersMatch(asked) && reading.portsMatch(asked);
        });
        return allows ? [...rules, { rule: NO_RULE, index: rules.length, peers: [], ports: [] }] : rules;
      },
    }),
  },
  {
    name: "policy-names-collide",
    summary:
      "Policies a/bc and ab/c share a chain name, and iptables-restore refuses to declare it twice: no node that starts with both in the cluster filters anything.",
    source: "kube-router policy.go networkPolicyChainName; dumps/kube-router/extra/hash-policy, packets2.txt",
    scenario: "kube-router-policy-names-collide",
    apply: (reading) => unfilteredWhen(reading, ({ cluster }) => policiesCollide(cluster)),
  },
  {
    name: "pod-names-collide",
    summary: "As with policies, for pods a/bc and ab/c of one node: that node filters nothing.",
    source: "kube-router pod.go podFirewallChainName; dumps/kube-router/extra/hash-pod, packets2.txt",
    scenario: "kube-router-pod-names-collide",
    apply: (reading) =>
      unfilteredWhen(reading, ({ cluster, subject, packet }) =>
        podsCollide(cluster, subject.node, packet.destination.family),
      ),
  },
  {
    name: "own-node-is-policed",
    summary:
      "What a pod sends its own node is subject to its egress policies, except to service addresses and node ports.",
    source: "kube-router pod.go interceptPodOutboundTraffic (INPUT); dumps/kube-router packets.txt leak-egress",
    scenario: "kube-router-own-node-is-policed",
    reads: {
      prefixes: DEFAULT_CLUSTER_RANGES,
      services: NODE_PORT_PROTOCOLS.map((protocol) => ({
        end: "destination-node",
        protocol,
        ports: DEFAULT_NODE_PORTS,
      })),
    },
    apply: (reading) => ({
      ...reading,
      shortcut: (cluster, packet, ends) => {
        if (!isPodToOwnNode(ends)) return reading.shortcut(cluster, packet, ends);
        return isExempt(packet) ? "accept" : undefined;
      },
    }),
  },
  {
    name: "ping-always-allowed",
    summary: "Echo requests pass whatever the policies say, and IPv6 neighbour discovery.",
    source: "kube-router pkg/utils CommonICMPRules; dumps/kube-router/default-deny, packets.txt",
    scenario: "kube-router-ping-always-allowed",
    reads: { services: COMMON_ICMP.map((messages) => ({ end: "source-pod", ...messages })) },
    apply: (reading) => ({
      ...reading,
      shortcut: (cluster, packet, ends) => (isCommonIcmp(packet) ? "accept" : reading.shortcut(cluster, packet, ends)),
    }),
  },
];

/** What the rule of a quirk was in the manifest: nothing. */
const NO_RULE: ResolvedRule["rule"] = { peers: [], ports: [], source: { file: "", line: 0, column: 0 } };

export const deviations = deviationsOf(quirks, "reject");
