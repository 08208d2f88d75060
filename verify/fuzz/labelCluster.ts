/**
 * Clusters that differ in labels alone: who is in which namespace, which labels pods and namespaces have, and what
 * policies select by them. Pods and namespaces are few and the same objects wherever they occur, so that what is made
 * of one pod (names, hashes, chains) is made once in a campaign.
 */
import type {
  ClusterModel,
  Direction,
  Endpoint,
  LabelRequirement,
  LabelSelector,
  Namespace,
  NetworkPolicy,
  PolicyPeer,
  PolicyRule,
} from "../../compiler/model.ts";
import type { Random } from "../kernel/random.ts";
import {
  cluster,
  EVERYTHING,
  type LabelRecord,
  namespace,
  node,
  pod,
  podPeer,
  policy,
  policyPort,
  rule,
  selector,
} from "./builders.ts";
import { LABEL_KEYS, LABEL_VALUES, NAMESPACES, NODES, PLACES, PORTS } from "./domain.ts";

/** One node: labels know none, and each further one is another program. */
const [{ name: NODE, ipv4: NODE_ADDRESS, podCidrs }] = NODES as readonly [(typeof NODES)[number]];
const NODE_LIST = [node(NODE, [NODE_ADDRESS], [podCidrs[0]])];

const MOST_POLICIES = 4;
const MOST_RULES = 2;
const MOST_PEERS = 3;

/** By place, namespace and labels. */
const PODS = new Map<string, Endpoint>();
/** By name and labels. */
const NAMESPACE_OBJECTS = new Map<string, Namespace>();

/** A cluster of the label world; `kept`: a change or two away from it, now and then with half of the policies of `other`. */
export function drawLabels(random: Random, kept?: ClusterModel, other?: ClusterModel): ClusterModel {
  let { namespaces, endpoints, policies } = kept ?? drawn(random);
  if (kept !== undefined) {
    if (other !== undefined && random.oneIn(6)) policies = crossed(policies, other.policies, random);
    for (let count = 1 + random.below(3); count > 0; count--) {
      const what = random.below(8);
      if (what === 0) namespaces = withOther(namespaces, random, ({ name }) => drawNamespace(name, random));
      else if (what <= 2) endpoints = otherPods(endpoints, random);
      else policies = otherPolicies(policies, random);
    }
  }
  return cluster({ nodes: NODE_LIST, namespaces, endpoints, policies });
}

function drawn(random: Random): Pick<ClusterModel, "namespaces" | "endpoints" | "policies"> {
  return {
    namespaces: NAMESPACES.map((name) => drawNamespace(name, random)),
    endpoints: PLACES.flatMap((_, place) => (random.oneIn(6) ? [] : [drawPod(place, random)])),
    policies: Array.from({ length: random.below(MOST_POLICIES + 1) }, (_, index) => drawPolicy(index, random)),
  };
}

/* Pods and namespaces ------------------------------------------------------------------------------------------------- */

/** Each key is there or absent, and two objects often agree. */
function drawRecord(random: Random): LabelRecord {
  const record: Record<string, string> = {};
  for (const key of LABEL_KEYS) if (random.oneIn(2)) record[key] = drawValue(random);
  return record;
}

function drawValue(random: Random): string {
  return random.oneIn(3) ? random.pick(LABEL_VALUES) : LABEL_VALUES[0];
}

function drawPod(place: number, random: Random): Endpoint {
  const record = drawRecord(random);
  const namespace = random.pick(NAMESPACES);
  const key = `${place} ${namespace} ${JSON.stringify(record)}`;
  const { ipv4 = "" } = PLACES[place] ?? {};
  const one = PODS.get(key) ?? pod(`${namespace}/pod-${place}`, [ipv4], { node: NODE, labels: record });
  PODS.set(key, one);
  return one;
}

function drawNamespace(name: string, random: Random): Namespace {
  const record = drawRecord(random);
  const key = `${name} ${JSON.stringify(record)}`;
  const one = NAMESPACE_OBJECTS.get(key) ?? namespace(name, record);
  NAMESPACE_OBJECTS.set(key, one);
  return one;
}

/** One pod more or less, or one with other labels and perhaps in another namespace. */
function otherPods(pods: readonly Endpoint[], random: Random): readonly Endpoint[] {
  const place = random.below(PLACES.length);
  const others = pods.filter(({ name }) => name !== `pod-${place}`);
  return random.oneIn(4) ? others : [...others, drawPod(place, random)];
}

/* Policies ------------------------------------------------------------------------------------------------------------ */

const TYPES: readonly (readonly Direction[])[] = [["ingress"], ["egress"], ["ingress", "egress"]];

/** Rules may stand under a direction that `types` lacks: they must have no effect. */
function drawPolicy(index: number, random: Random): NetworkPolicy {
  const rules = () => Array.from({ length: random.below(MOST_RULES + 1) }, () => drawRule(random));
  const key = `${random.pick(NAMESPACES)}/policy-${index}`;
  const made = policy(key, drawSelector(random), { ingress: rules(), egress: rules() });
  return { ...made, types: random.pick(TYPES) };
}

/** An empty list of peers, everybody, is common; so is one of ports, which are here to stand beside peers. */
function drawRule(random: Random): PolicyRule {
  const peers = Array.from({ length: random.below(MOST_PEERS + 1) }, () => drawPeer(random));
  return rule(peers, random.oneIn(6) ? [policyPort("TCP", random.pick(PORTS))] : []);
}

function drawPeer(random: Random): PolicyPeer {
  switch (random.below(3)) {
    case 0:
      return podPeer({ pods: drawSelector(random) });
    case 1:
      return podPeer({ namespaces: drawNamespaceSelector(random) });
    default:
      return podPeer({ namespaces: drawNamespaceSelector(random), pods: drawSelector(random) });
  }
}

function drawNamespaceSelector(random: Random): LabelSelector {
  return random.oneIn(4) ? selector({ "kubernetes.io/metadata.name": random.pick(NAMESPACES) }) : drawSelector(random);
}

/** Everything, one label, one requirement, and now and then several of both. */
function drawSelector(random: Random): LabelSelector {
  const which = random.below(8);
  if (which < 3) return EVERYTHING;
  if (which < 5) return selector({ [random.pick(LABEL_KEYS)]: drawValue(random) });
  if (which < 7) return selector({}, [drawRequirement(random)]);
  return selector(
    drawRecord(random),
    Array.from({ length: random.below(3) }, () => drawRequirement(random)),
  );
}

function drawRequirement(random: Random): LabelRequirement {
  const key = random.pick(LABEL_KEYS);
  if (random.oneIn(2)) return { key, operator: random.pick(["Exists", "DoesNotExist"]), values: [] };
  const values = LABEL_VALUES.filter(() => random.oneIn(2)).slice(0, 2);
  return { key, operator: random.pick(["In", "NotIn"]), values: values.length > 0 ? values : [drawValue(random)] };
}

/** Policies of both, each by chance; of two with one number the first. */
function crossed(
  policies: readonly NetworkPolicy[],
  others: readonly NetworkPolicy[],
  random: Random,
): readonly NetworkPolicy[] {
  const byName = new Map<string, NetworkPolicy>();
  for (const one of [...policies, ...others]) if (random.oneIn(2) && !byName.has(one.name)) byName.set(one.name, one);
  return [...byName.values()];
}

/** One policy more or less, as often the one as the other, or one part of one another. */
function otherPolicies(policies: readonly NetworkPolicy[], random: Random): readonly NetworkPolicy[] {
  if (policies.length > 0 && !random.oneIn(4)) return withOther(policies, random, (one) => otherPolicy(one, random));
  const index = random.below(MOST_POLICIES);
  const others = policies.filter(({ name }) => name !== `policy-${index}`);
  return others.length < policies.length ? others : [...others, drawPolicy(index, random)];
}

function otherPolicy(one: NetworkPolicy, random: Random): NetworkPolicy {
  switch (random.below(5)) {
    case 0:
      return { ...one, podSelector: drawSelector(random) };
    case 1:
      return { ...one, types: random.pick(TYPES) };
    case 2:
      return { ...one, ingress: one.egress, egress: one.ingress };
    default: {
      const direction = random.pick(one.types);
      return { ...one, [direction]: otherRules(one[direction], random) };
    }
  }
}

function otherRules(rules: readonly PolicyRule[], random: Random): readonly PolicyRule[] {
  if (rules.length === 0) return [drawRule(random)];
  if (random.oneIn(6)) return rules.length < MOST_RULES ? [...rules, drawRule(random)] : rules.slice(1);
  return withOther(rules, random, ({ peers, ports }) => {
    if (random.oneIn(4)) return drawRule(random);
    if (peers.length < MOST_PEERS && random.oneIn(2)) return rule([...peers, drawPeer(random)], ports);
    return peers.length === 0
      ? drawRule(random)
      : rule(
          withOther(peers, random, () => drawPeer(random)),
          ports,
        );
  });
}

function withOther<T>(list: readonly T[], random: Random, other: (one: T) => T): readonly T[] {
  const index = random.below(list.length);
  const one = list[index];
  return one === undefined ? list : list.with(index, other(one));
}
