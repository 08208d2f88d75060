/** Which parts of the API a cluster uses, and clusters without some of them, for strategies that cannot express all. */
import type {
  ClusterModel,
  LabelSelector,
  NetworkPolicy,
  PolicyPeer,
  PolicyPort,
  PolicyRule,
} from "../../compiler/model.ts";
import type { Feature } from "../../compiler/strategies/strategy.ts";

/** What the cluster makes use of; rules under a direction that `types` lacks do not count. */
export function featuresOf(model: ClusterModel): ReadonlySet<Feature> {
  const features = new Set<Feature>();
  if (model.endpoints.some((pod) => pod.addresses.some((address) => address.family === 6))) features.add("ipv6");
  for (const policy of model.policies) {
    if (policy.types.includes("egress")) features.add("egress");
    const rules = policy.types.flatMap((type) => policy[type]);
    for (const peer of rules.flatMap((rule) => rule.peers)) featuresOfPeer(peer, features);
    for (const port of rules.flatMap((rule) => rule.ports)) featuresOfPort(port, features);
    if (hasExpressions(policy.podSelector)) features.add("match-expressions");
  }
  return features;
}

function featuresOfPeer(peer: PolicyPeer, features: Set<Feature>): void {
  if (peer.kind === "ipBlock") {
    features.add("ip-block");
    if (peer.except.length > 0) features.add("except");
  } else if (hasExpressions(peer.namespaceSelector) || hasExpressions(peer.podSelector)) {
    features.add("match-expressions");
  }
}

function featuresOfPort(port: PolicyPort, features: Set<Feature>): void {
  if (typeof port.port === "string") features.add("named-port");
  if (port.endPort !== undefined) features.add("end-port");
  if (port.protocol === "SCTP") features.add("sctp");
}

function hasExpressions(selector: LabelSelector | undefined): boolean {
  return selector !== undefined && selector.matchExpressions.length > 0;
}

/**
 * The cluster with every use of the features taken out: addresses, types, peers, exceptions, ports and expressions go. A
 * rule that loses its last peer or port goes too, since a rule with none would allow more than before.
 */
export function withoutFeatures(model: ClusterModel, features: readonly Feature[]): ClusterModel {
  const gone = new Set(features);
  const endpoints = model.endpoints.map((pod) =>
    gone.has("ipv6") ? { ...pod, addresses: pod.addresses.filter((address) => address.family === 4) } : pod,
  );
  const policies = model.policies.flatMap((policy): NetworkPolicy[] => {
    const types = policy.types.filter((type) => !(type === "egress" && gone.has("egress")));
    if (types.length === 0) return [];
    const rules = (list: readonly PolicyRule[]) => list.flatMap((rule) => plainRule(rule, gone));
    return [
      {
        ...policy,
        types,
        podSelector: plainSelector(policy.podSelector, gone),
        ingress: rules(policy.ingress),
        egress: gone.has("egress") ? [] : rules(policy.egress),
      },
    ];
  });
  return { ...model, endpoints, policies };
}

function plainRule(rule: PolicyRule, gone: ReadonlySet<Feature>): PolicyRule[] {
  const peers = rule.peers.flatMap((peer) => plainPeer(peer, gone));
  const ports = rule.ports.filter(
    (port) =>
      !(typeof port.port === "string" && gone.has("named-port")) && !(port.protocol === "SCTP" && gone.has("sctp")),
  );
  if ((peers.length === 0 && rule.peers.length > 0) || (ports.length === 0 && rule.ports.length > 0)) return [];
  return [
    { ...rule, peers, ports: gone.has("end-port") ? ports.map((port) => ({ ...port, endPort: undefined })) : ports },
  ];
}

function plainPeer(peer: PolicyPeer, gone: ReadonlySet<Feature>): PolicyPeer[] {
  if (peer.kind === "ipBlock") {
    if (gone.has("ip-block")) return [];
    return [gone.has("except") ? { ...peer, except: [], exceptText: [] } : peer];
  }
  return [
    {
      ...peer,
      namespaceSelector: peer.namespaceSelector && plainSelector(peer.namespaceSelector, gone),
      podSelector: peer.podSelector && plainSelector(peer.podSelector, gone),
    },
  ];
}

function plainSelector(selector: LabelSelector, gone: ReadonlySet<Feature>): LabelSelector {
  return gone.has("match-expressions") ? { ...selector, matchExpressions: [] } : selector;
}
