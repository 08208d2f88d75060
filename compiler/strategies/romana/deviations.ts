/** Where Romana's enforcement differs from the API text: nearly everywhere but in spirit. */
import { cidrContains, type IpAddress } from "../../../dataplane/address.ts";
import type { Packet } from "../../../dataplane/packet.ts";
import { deviationsOf, type Quirk } from "../../deviation.ts";
import type { Endpoint, NetworkPolicy, PolicyPort } from "../../model.ts";
import { type PacketEnd, type PolicyReading, peerMatches, type RuleContext } from "../../policyReading.ts";
import type { ResolvedCluster, ResolvedPeer, ResolvedPolicy, ResolvedRule } from "../../resolve.ts";
import { type Block, blocksOf, isLeftOut, segmentOf } from "./blocks.ts";
import { isRefused, listPolicies } from "./listener.ts";
import { defaultPolicy, type RomanaEndpoint, type RomanaPolicy, translatePeer, translatePolicy } from "./translate.ts";

function isOpen(cluster: ResolvedCluster, namespace: string): boolean {
  const found = cluster.model.namespaces.find(({ name }) => name === namespace);
  return found !== undefined && defaultPolicy(found) !== undefined;
}

// What the listener makes of a policy follows from the policy alone, and is asked for again with every packet.
const TARGETS = new WeakMap<NetworkPolicy, RomanaEndpoint>();

function targetOf(policy: NetworkPolicy): RomanaEndpoint {
  let target = TARGETS.get(policy);
  if (target === undefined) {
    ({ target } = translatePolicy(policy));
    TARGETS.set(policy, target);
  }
  return target;
}

/** Policies with an ingress list, by the tenant and segment they are translated to. */
function policiesOfTenant(cluster: ResolvedCluster, namespace: string, segment: string): readonly ResolvedPolicy[] {
  return cluster.policies.filter(({ policy }) => inTenant(targetOf(policy), namespace, segment));
}

/** A peer under the segment label alone. ipBlocks are another quirk's. */
function tenantPeerMatches(policy: NetworkPolicy, peer: ResolvedPeer, end: PacketEnd): boolean {
  const written = policyPeer(policy, peer);
  if (written === undefined) return peerMatches(peer, end);
  return end.pod !== undefined && inTenant(translatePeer(policy, written), end.pod.namespace, segmentOf(end.pod));
}

function policyPeer(policy: NetworkPolicy, peer: ResolvedPeer) {
  if (peer.kind === "ipBlock") return undefined;
  return [...policy.ingress, ...policy.egress]
    .flatMap(({ peers }) => peers)
    .find(
      (candidate) =>
        candidate.kind === "pods" &&
        candidate.podSelector === peer.podSelector &&
        candidate.namespaceSelector === peer.namespaceSelector,
    );
}

/** Whether the pod is missing in the set of its namespace. */
function isPodLeftOut(cluster: ResolvedCluster, pod: Endpoint | undefined): boolean {
  return pod !== undefined && isLeftOut(cluster, { tenant: pod.namespace, segment: segmentOf(pod) });
}

function inTenant(endpoint: RomanaEndpoint, namespace: string, segment: string): boolean {
  return endpoint.tenant === namespace && (endpoint.segment === "" || endpoint.segment === segment);
}

/** All peers and all ports of a policy as one rule. */
function pooled(rules: readonly ResolvedRule[]): readonly ResolvedRule[] {
  const first = rules[0];
  if (first === undefined) return rules;
  const peers = rules.some((rule) => rule.peers.length === 0) ? [] : rules.flatMap((rule) => rule.peers);
  const ports = rules.some((rule) => rule.ports.length === 0) ? [] : rules.flatMap((rule) => rule.ports);
  return [{ ...first, peers, ports }];
}

function changePorts(reading: PolicyReading, change: (port: PolicyPort) => PolicyPort | undefined): PolicyReading {
  return {
    ...reading,
    portsMatch: (context) => {
      const { rule } = context;
      if (rule.ports.length === 0) return reading.portsMatch(context);
      const ports = rule.ports.flatMap((port) => change(port) ?? []);
      return ports.length > 0 && reading.portsMatch({ ...context, rule: { ...rule, ports } });
    },
  };
}

/** What the chains of a host do with a packet for an address inside one of its blocks. */
function blocksAccept(cluster: ResolvedCluster, packet: Packet): boolean {
  const { policies, rendered } = listPolicies(cluster);
  const isIn = (endpoint: RomanaEndpoint, block: Block) =>
    inTenant(endpoint, block.tenant, block.segment) && (endpoint.segment !== "" || !isLeftOut(cluster, block));
  const holds = (address: IpAddress, endpoint: RomanaEndpoint) =>
    endpoint.peer === "any" ||
    blocksOf(cluster).some((block) => isIn(endpoint, block) && cidrContains(block.cidr, address));
  const allows = ({ target, ingress }: RomanaPolicy) =>
    holds(packet.destination, target) &&
    ingress.some(({ peers }) => peers.some((peer) => holds(packet.source, peer))) &&
    ingress.some(({ rules }) =>
      rules.some(({ protocol, port }) => {
        if (protocol === "any") return true;
        const number = protocol === "tcp" ? 6 : protocol === "udp" ? 17 : undefined;
        return number === packet.protocol && (port === undefined || port === packet.destinationPort);
      }),
    );
  return rendered && policies.some(allows);
}

/** An address that lies in a block without being a pod's. */
function inBlockOnly(cluster: ResolvedCluster, end: PacketEnd): boolean {
  return end.pod === undefined && blocksOf(cluster).some(({ cidr }) => cidrContains(cidr, end.address));
}

const SOURCE = "romana/core 6139692f";

const quirks: readonly Quirk[] = [
  {
    name: "ipv6-unfiltered",
    summary: "Only IPv4 is filtered; every IPv6 packet passes.",
    source: `${SOURCE} agent/enforcer: iptables alone`,
    scenario: "romana-ipv6-unfiltered",
    apply: (reading) => ({
      ...reading,
      shortcut: (cluster, packet, ends) =>
        packet.source.family === 6 ? "accept" : reading.shortcut(cluster, packet, ends),
    }),
  },
  {
    name: "isolation-by-annotation",
    summary:
      "A namespace is isolated by its annotation, all of it or none of it: without, policies change nothing; with, pods without policy are closed.",
    source: `${SOURCE} listener/resources.go HandleDefaultPolicy; romana#184`,
    scenario: "romana-isolation-by-annotation",
    apply: (reading) => ({
      ...reading,
      isolatedAnyway: (cluster, subject, direction) =>
        direction === "ingress"
          ? !isOpen(cluster, subject.namespace)
          : reading.isolatedAnyway(cluster, subject, direction),
      isolates: (context) =>
        reading.isolates(context) &&
        !(context.direction === "ingress" && isOpen(context.cluster, context.subject.namespace)),
    }),
  },
  {
    name: "policy-types-ignored",
    summary: "policyTypes is an unknown field: ingress rules of an egress-only policy allow all the same.",
    source: `${SOURCE} listener/translate.go`,
    scenario: "romana-policy-types-ignored",
    apply: (reading) => ({
      ...reading,
      counts: (context) => (context.direction === "ingress" ? true : reading.counts(context)),
    }),
  },
  {
    name: "one-empty-policy-stops-all",
    summary: "One policy without an ingress entry and no host renders any policy: every pod is closed.",
    source: `${SOURCE} pkg/policytools/iterator.go NewPolicyIterator; dumps romana-as-given`,
    scenario: "romana-one-empty-policy-stops-all",
    apply: (reading) => ({
      ...reading,
      isolatedAnyway: (cluster, subject, direction) =>
        (direction === "ingress" && !listPolicies(cluster).rendered) ||
        reading.isolatedAnyway(cluster, subject, direction),
      counts: (context) =>
        !(context.direction === "ingress" && !listPolicies(context.cluster).rendered) && reading.counts(context),
    }),
  },
  {
    name: "segment-label-only",
    summary:
      "Of all selectors only the segment label and the tenant label count; anything else means the whole namespace.",
    source: `${SOURCE} listener/translate.go translateTarget, makeNextIngressPeer`,
    scenario: "romana-segment-label-only",
    apply: (reading) => ({
      ...reading,
      policiesOf: (cluster, subject) => policiesOfTenant(cluster, subject.namespace, segmentOf(subject)),
      peersMatch: (context: RuleContext) =>
        context.rule.peers.length === 0 ||
        context.rule.peers.some((peer) => tenantPeerMatches(context.policy.policy, peer, context.peer)),
    }),
  },
  {
    name: "ip-block-means-own-namespace",
    summary: "ipBlock is an unknown field: such a peer stands for the pods of the policy's own namespace.",
    source: `${SOURCE} listener/translate.go makeNextIngressPeer; dumps romana ipblocks`,
    scenario: "romana-ip-block-means-own-namespace",
    apply: (reading) => ({
      ...reading,
      peersMatch: (context) => {
        const { rule, policy, peer } = context;
        const selectors = rule.peers.filter(({ kind }) => kind === "pods");
        if (selectors.length === rule.peers.length) return reading.peersMatch(context);
        if (peer.pod?.namespace === policy.policy.namespace) return true;
        return selectors.length > 0 && reading.peersMatch({ ...context, rule: { ...rule, peers: selectors } });
      },
    }),
  },
  {
    name: "empty-segment-left-out",
    summary:
      "A pod whose segment label is there and empty has the set of its namespace to itself or is in none: beside pods of other segments, either it or they are closed, to be reached and to reach, but for policies about their segment.",
    source: `${SOURCE} cni/cni.go Allocate; agent/enforcer/enforcer.go makeBlockSets, run`,
    scenario: "romana-empty-segment-left-out",
    apply: (reading) => ({
      ...reading,
      isolatedAnyway: (cluster, subject, direction) =>
        (direction === "ingress" && isPodLeftOut(cluster, subject)) ||
        reading.isolatedAnyway(cluster, subject, direction),
      policiesOf: (cluster, subject) => {
        const policies = reading.policiesOf(cluster, subject);
        if (!isPodLeftOut(cluster, subject)) return policies;
        return policies.filter(({ policy }) => targetOf(policy).segment !== "");
      },
      peersMatch: (context) => {
        const { cluster, rule, policy, peer } = context;
        if (rule.peers.length === 0 || !isPodLeftOut(cluster, peer.pod)) return reading.peersMatch(context);
        const peers = rule.peers.filter((each) => {
          const written = policyPeer(policy.policy, each);
          return written !== undefined && translatePeer(policy.policy, written).segment !== "";
        });
        return peers.length > 0 && reading.peersMatch({ ...context, rule: { ...rule, peers } });
      },
    }),
  },
  {
    name: "peers-and-ports-pooled",
    summary: "The peers and the ports of all rules of a policy form a cross product.",
    source: `${SOURCE} agent/enforcer/enforcer.go translateRule; dumps probes/cross-product`,
    scenario: "romana-peers-and-ports-pooled",
    apply: (reading) => ({ ...reading, rules: (context) => pooled(reading.rules(context)) }),
  },
  {
    name: "named-port-is-zero",
    summary: "A named port becomes port 0.",
    source: `${SOURCE} listener/translate.go makeNextRule (IntValue); dumps romana named-ports-edge`,
    scenario: "romana-named-port-is-zero",
    apply: (reading) => changePorts(reading, (port) => (typeof port.port === "string" ? { ...port, port: 0 } : port)),
  },
  {
    name: "end-port-ignored",
    summary: "Of a port range only the first port is allowed.",
    source: `${SOURCE} listener/translate.go (extensions/v1beta1)`,
    scenario: "romana-end-port-ignored",
    apply: (reading) => changePorts(reading, (port) => ({ ...port, endPort: undefined })),
  },
  {
    name: "sctp-never-allowed",
    summary: "A port of SCTP makes no rule.",
    source: `${SOURCE} pkg/policytools/blueprint.go MakePolicyRuleWithAction; dumps probes/sctp-only`,
    scenario: "romana-sctp-never-allowed",
    apply: (reading) => changePorts(reading, (port) => (port.protocol === "SCTP" ? undefined : port)),
  },
  {
    name: "blocks-cover-neighbours",
    summary: "Peers and targets are blocks: an address without a pod inside one is treated as one of its pods.",
    source: `${SOURCE} agent/enforcer/enforcer.go makeBlockSets`,
    scenario: "romana-blocks-cover-neighbours",
    apply: (reading) => ({
      ...reading,
      shortcut: (cluster, packet, ends) => {
        const early = reading.shortcut(cluster, packet, ends);
        if (early !== undefined || packet.source.family === 6) return early;
        const { source, destination } = ends;
        const sourceHost = source.pod?.node;
        const leavesIntoBlock =
          sourceHost !== undefined &&
          destination.pod === undefined &&
          blocksOf(cluster).some(({ cidr, host }) => host === sourceHost && cidrContains(cidr, destination.address));
        const comesFromBlock = destination.pod !== undefined && inBlockOnly(cluster, source);
        if (!leavesIntoBlock && !comesFromBlock) return undefined;
        return blocksAccept(cluster, packet) ? "accept" : "drop";
      },
    }),
  },
  {
    name: "egress-not-enforced",
    summary: "Egress rules are unknown fields to the listener: nothing a pod sends is refused where it leaves.",
    source: `${SOURCE} listener/translate.go (extensions/v1beta1)`,
    scenario: "romana-egress-not-enforced",
    apply: (reading) => ({
      ...reading,
      isolates: (context) => context.direction === "ingress" && reading.isolates(context),
    }),
  },
  {
    name: "unknown-peer-opens-host",
    summary:
      "A peer whose namespace or segment has no pod anywhere is a set that there is not: iptables refuses all rules, and a host that starts so filters nothing.",
    source: `${SOURCE} agent/enforcer/enforcer.go makeBlockSets, Run; dumps probes/native-bad-cidr`,
    scenario: "romana-unknown-peer-opens-host",
    apply: (reading) => ({
      ...reading,
      shortcut: (cluster, packet, ends) => {
        const { source, destination } = ends;
        const host = destination.pod === undefined ? source.pod?.node : destination.pod.node;
        if (host !== undefined && isRefused(cluster, host)) return "accept";
        return reading.shortcut(cluster, packet, ends);
      },
    }),
  },
];

export const deviations = deviationsOf(quirks, "drop");
