/** Smaller cases: what a failing one is replaced by while it still fails. */
import type {
  ClusterModel,
  Endpoint,
  LabelSelector,
  Namespace,
  NetworkPolicy,
  PolicyPeer,
  PolicyPort,
  PolicyRule,
} from "../../compiler/model.ts";
import { smallerClusters, smallerLists } from "../kernel/shrink.ts";
import type { FuzzCase, FuzzStep } from "./case.ts";

/** Fewer steps, then a smaller cluster under them. The last packet is the one that matters. */
export function* smallerCases(subject: FuzzCase): Generator<FuzzCase> {
  const before = subject.steps.slice(0, -1);
  const last = subject.steps.slice(-1);
  for (const fewer of smallerLists(before)) yield { ...subject, steps: [...fewer, ...last] };
  for (const smaller of simplerClusters(subject.model)) {
    yield { ...subject, model: smaller };
  }
  for (const [index, step] of subject.steps.entries()) {
    if (step.kind === "change") {
      for (const model of simplerClusters(step.model)) {
        yield { ...subject, steps: subject.steps.with(index, { kind: "change", model }) };
      }
    } else for (const plain of plainerPackets(step)) yield { ...subject, steps: subject.steps.with(index, plain) };
  }
}

function* plainerPackets(step: Extract<FuzzStep, { kind: "packet" }>): Generator<FuzzStep> {
  const { packet } = step;
  if (packet.sourcePort > 0 && packet.sourcePort !== USUAL_CLIENT) {
    yield { kind: "packet", packet: { ...packet, sourcePort: USUAL_CLIENT } };
  }
}

/** As `makePacket` has it. */
const USUAL_CLIENT = 40_000;

function* simplerClusters(model: ClusterModel): Generator<ClusterModel> {
  yield* smallerClusters(model);
  const lived = new Set([...model.endpoints, ...model.policies].map(({ namespace }) => namespace));
  const namespaces = model.namespaces.filter(({ name }) => lived.has(name));
  if (namespaces.length < model.namespaces.length) yield { ...model, namespaces };
  for (const node of model.nodes) {
    if (model.nodes.length > 1 && model.endpoints.every((pod) => pod.node !== node.name)) {
      yield { ...model, nodes: model.nodes.filter((one) => one !== node) };
    }
  }
  for (const endpoints of simplerItems(model.endpoints, simplerPods)) yield { ...model, endpoints };
  for (const policies of simplerItems(model.policies, simplerPolicies)) yield { ...model, policies };
  for (const plain of simplerItems(model.namespaces, simplerNamespaces)) yield { ...model, namespaces: plain };
}

function* simplerItems<T>(list: readonly T[], simpler: (item: T) => Iterable<T>): Generator<readonly T[]> {
  for (const [index, item] of list.entries()) for (const candidate of simpler(item)) yield list.with(index, candidate);
}

function* simplerPods(pod: Endpoint): Generator<Endpoint> {
  for (const ports of smallerLists(pod.ports)) yield { ...pod, ports };
  if (pod.labels.size > 0) yield { ...pod, labels: new Map() };
  for (const key of pod.labels.keys()) yield { ...pod, labels: without(pod.labels, key) };
  if (pod.annotations.size > 0) yield { ...pod, annotations: new Map() };
  if (pod.phase !== "Running") yield { ...pod, phase: "Running" };
  if (pod.terminating) yield { ...pod, terminating: false };
  if (pod.addresses.length > 1) for (const address of pod.addresses) yield { ...pod, addresses: [address] };
}

function* simplerNamespaces(one: Namespace): Generator<Namespace> {
  if (one.annotations.size > 0) yield { ...one, annotations: new Map() };
  // The name label is the API server's own.
  for (const key of one.labels.keys()) {
    if (key !== "kubernetes.io/metadata.name") yield { ...one, labels: without(one.labels, key) };
  }
}

function without(labels: Endpoint["labels"], key: string): Endpoint["labels"] {
  return new Map([...labels].filter(([name]) => name !== key));
}

function* simplerPolicies(policy: NetworkPolicy): Generator<NetworkPolicy> {
  for (const podSelector of simplerSelectors(policy.podSelector)) yield { ...policy, podSelector };
  for (const direction of ["ingress", "egress"] as const) {
    for (const rules of simplerItems(policy[direction], simplerRules)) yield { ...policy, [direction]: rules };
  }
}

function* simplerRules(rule: PolicyRule): Generator<PolicyRule> {
  for (const peers of simplerItems(rule.peers, simplerPeers)) yield { ...rule, peers };
  for (const ports of simplerItems(rule.ports, simplerPorts)) yield { ...rule, ports };
}

function* simplerPeers(peer: PolicyPeer): Generator<PolicyPeer> {
  if (peer.kind === "ipBlock") return;
  const { namespaceSelector, podSelector } = peer;
  if (namespaceSelector !== undefined && podSelector !== undefined) {
    yield { ...peer, namespaceSelector: undefined };
    yield { ...peer, podSelector: undefined };
  }
  if (namespaceSelector !== undefined) {
    for (const smaller of simplerSelectors(namespaceSelector)) yield { ...peer, namespaceSelector: smaller };
  }
  if (podSelector !== undefined) {
    for (const smaller of simplerSelectors(podSelector)) yield { ...peer, podSelector: smaller };
  }
}

function* simplerPorts(port: PolicyPort): Generator<PolicyPort> {
  if (port.endPort !== undefined) yield { ...port, endPort: undefined };
  if (port.port !== undefined) yield { ...port, port: undefined, endPort: undefined };
}

function* simplerSelectors(selector: LabelSelector): Generator<LabelSelector> {
  for (const matchLabels of smallerLists(selector.matchLabels)) yield { ...selector, matchLabels };
  for (const matchExpressions of smallerLists(selector.matchExpressions)) yield { ...selector, matchExpressions };
  for (const [index, requirement] of selector.matchExpressions.entries()) {
    if (requirement.values.length < 2) continue;
    for (const values of smallerLists(requirement.values)) {
      if (values.length > 0) {
        yield { ...selector, matchExpressions: selector.matchExpressions.with(index, { ...requirement, values }) };
      }
    }
  }
}
