/**
 * Mistakes that people and programs make with NetworkPolicies, each as the cluster it turns another one into. Whoever
 * reads a policy this way must be caught by the conformance kit: that is the test of the kit, and of the random clusters.
 */
import type {
  ClusterModel,
  Endpoint,
  LabelSelector,
  NetworkPolicy,
  PolicyPeer,
  PolicyPort,
  PolicyRule,
} from "../../compiler/model.ts";
import { EVERYTHING } from "../../verify/fuzz/builders.ts";

export interface Misreading {
  /** The mistake, as its maker would put it. */
  readonly name: string;
  misread(model: ClusterModel): ClusterModel;
}

export const MISREADINGS: readonly Misreading[] = [
  {
    name: "every policy isolates both directions",
    misread: policies((one) => ({ ...one, types: ["ingress", "egress"] })),
  },
  {
    name: "every policy with a rule for a direction has the type",
    misread: policies((one) => ({
      ...one,
      types: one.egress.length > 0 ? ["ingress", "egress"] : one.types,
    })),
  },
  {
    name: "egress is not enforced",
    misread: policies((one) => ({ ...one, types: one.types.filter((type) => type === "ingress") })),
  },
  {
    name: "a policy without rules isolates nobody",
    misread: policies((one) => ({ ...one, types: one.types.filter((type) => one[type].length > 0) })),
  },
  { name: "a policy selects the pods of every namespace", misread: everyNamespace },
  {
    name: "of several policies only the first counts",
    misread: (model) => ({ ...model, policies: model.policies.slice(0, 1) }),
  },
  { name: "of several rules only the first counts", misread: rules((_rule, index) => index === 0) },
  { name: "a rule without peers is about nobody", misread: rules(({ peers }) => peers.length > 0) },
  { name: "a rule without ports is about no port", misread: rules(({ ports }) => ports.length > 0) },
  {
    name: "of several peers only the first counts",
    misread: changeRules((rule) => ({ ...rule, peers: rule.peers.slice(0, 1) })),
  },
  {
    name: "of several ports only the first counts",
    misread: changeRules((rule) => ({ ...rule, ports: rule.ports.slice(0, 1) })),
  },
  {
    name: "a podSelector beside a namespaceSelector is ignored",
    misread: selectorPeers((peer) => (peer.namespaceSelector ? { ...peer, podSelector: undefined } : peer)),
  },
  {
    name: "a namespaceSelector beside a podSelector is ignored",
    misread: selectorPeers((peer) => (peer.podSelector ? { ...peer, namespaceSelector: undefined } : peer)),
  },
  {
    name: "a podSelector alone looks into every namespace",
    misread: selectorPeers((peer) => ({ ...peer, namespaceSelector: peer.namespaceSelector ?? EVERYTHING })),
  },
  { name: "NotIn needs the key", misread: selectors(notInNeedsKey) },
  { name: "In is ignored", misread: selectors(dropOperator("In")) },
  { name: "DoesNotExist is ignored", misread: selectors(dropOperator("DoesNotExist")) },
  {
    name: "an empty label value matches an absent key",
    misread: selectors((one) => ({ ...one, matchLabels: one.matchLabels.filter(([, value]) => value !== "") })),
  },
  { name: "matchLabels are ignored", misread: selectors((one) => ({ ...one, matchLabels: [] })) },
  {
    name: "an except is ignored",
    misread: blocks((peer) => ({ ...peer, except: [], exceptText: [] })),
  },
  { name: "an endPort is ignored", misread: ports((one) => ({ ...one, endPort: undefined })) },
  { name: "a named port is any port", misread: ports(numbersOnly) },
  {
    name: "SCTP is TCP",
    misread: ports((one) => (one.protocol === "SCTP" ? { ...one, protocol: "TCP" } : one)),
  },
  { name: "UDP is TCP", misread: ports((one) => (one.protocol === "UDP" ? { ...one, protocol: "TCP" } : one)) },
  { name: "a pod that has finished counts on", misread: pods((one) => ({ ...one, phase: "Running" })) },
  { name: "only running pods count", misread: onlyRunning },
  { name: "a terminating pod does not count", misread: (model) => keepPods(model, (one) => !one.terminating) },
  {
    name: "init containers have named ports",
    misread: pods((one) => ({ ...one, ports: one.ports.map((port) => ({ ...port, container: "container" })) })),
  },
  {
    name: "a named port may have another protocol",
    misread: pods((one) => ({
      ...one,
      ports: one.ports.flatMap((port) => (["TCP", "UDP", "SCTP"] as const).map((protocol) => ({ ...port, protocol }))),
    })),
  },
  {
    name: "a pod has one address",
    misread: pods((one) => ({ ...one, addresses: one.addresses.slice(0, 1) })),
  },
  {
    name: "a namespace has no label with its name",
    misread: (model) => ({
      ...model,
      namespaces: model.namespaces.map((one) => ({
        ...one,
        labels: new Map([...one.labels].filter(([key]) => key !== "kubernetes.io/metadata.name")),
      })),
    }),
  },
];

type Change<T> = (one: T) => T;

function policies(change: Change<NetworkPolicy>): Change<ClusterModel> {
  return (model) => ({ ...model, policies: model.policies.map(change) });
}

function pods(change: Change<Endpoint>): Change<ClusterModel> {
  return (model) => ({ ...model, endpoints: model.endpoints.map(change) });
}

function keepPods(model: ClusterModel, keep: (pod: Endpoint) => boolean): ClusterModel {
  return { ...model, endpoints: model.endpoints.filter(keep) };
}

function onlyRunning(model: ClusterModel): ClusterModel {
  return keepPods(model, (one) => one.phase === "Running");
}

function rules(keep: (rule: PolicyRule, index: number) => boolean): Change<ClusterModel> {
  return policies((one) => ({ ...one, ingress: one.ingress.filter(keep), egress: one.egress.filter(keep) }));
}

function changeRules(change: Change<PolicyRule>): Change<ClusterModel> {
  return policies((one) => ({ ...one, ingress: one.ingress.map(change), egress: one.egress.map(change) }));
}

function peers(change: Change<PolicyPeer>): Change<ClusterModel> {
  return changeRules((rule) => ({ ...rule, peers: rule.peers.map(change) }));
}

function selectorPeers(change: Change<Extract<PolicyPeer, { kind: "pods" }>>): Change<ClusterModel> {
  return peers((peer) => (peer.kind === "pods" ? change(peer) : peer));
}

function blocks(change: Change<Extract<PolicyPeer, { kind: "ipBlock" }>>): Change<ClusterModel> {
  return peers((peer) => (peer.kind === "ipBlock" ? change(peer) : peer));
}

function ports(change: Change<PolicyPort>): Change<ClusterModel> {
  return changeRules((rule) => ({ ...rule, ports: rule.ports.map(change) }));
}

function numbersOnly(port: PolicyPort): PolicyPort {
  return typeof port.port === "string" ? { ...port, port: undefined } : port;
}

/** Every selector of the cluster, subjects and peers alike. */
function selectors(change: Change<LabelSelector>): Change<ClusterModel> {
  const ofPeers = selectorPeers((peer) => ({
    ...peer,
    namespaceSelector: peer.namespaceSelector && change(peer.namespaceSelector),
    podSelector: peer.podSelector && change(peer.podSelector),
  }));
  const ofSubjects = policies((one) => ({ ...one, podSelector: change(one.podSelector) }));
  return (model) => ofSubjects(ofPeers(model));
}

function notInNeedsKey(selector: LabelSelector): LabelSelector {
  return {
    ...selector,
    matchExpressions: selector.matchExpressions.flatMap((one) =>
      one.operator === "NotIn" ? [one, { key: one.key, operator: "Exists", values: [] }] : [one],
    ),
  };
}

function dropOperator(operator: "In" | "DoesNotExist"): Change<LabelSelector> {
  return (selector) => ({
    ...selector,
    matchExpressions: selector.matchExpressions.filter((one) => one.operator !== operator),
  });
}

function everyNamespace(model: ClusterModel): ClusterModel {
  const copies = model.namespaces.flatMap(({ name }) =>
    model.policies.map((one) => ({ ...one, namespace: name, key: `${name}/${one.namespace}-${one.name}` })),
  );
  return { ...model, policies: copies };
}
