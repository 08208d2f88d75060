/**
 * A cluster a little different. Every change leaves one that the API server would take: what cannot be applied here
 * changes nothing. Beside the tiny world of the arbitraries there is what they never draw: names that are prefixes of
 * each other, names of full length, ports at the ends of their range, blocks around one pod.
 */
import type {
  ClusterModel,
  Direction,
  Endpoint,
  LabelSelector,
  Labels,
  Namespace,
  NetworkPolicy,
  PodPhase,
  PolicyPeer,
  PolicyPort,
  PolicyRule,
} from "../../compiler/model.ts";
import { addressBits, type Cidr, cidrOf, formatAddress, formatCidr, type IpAddress } from "../../dataplane/address.ts";
import type { Random } from "../kernel/random.ts";
import { blockPeer, cluster, containerPort, labels, namespace, policyPort } from "./builders.ts";
import { BLOCKS, LABEL_KEYS, LABEL_VALUES, PORT_NAMES, PORT_PROTOCOLS, PORTS } from "./domain.ts";
import type { Parts } from "./parts.ts";

/** Where new parts come from. */
export interface Source {
  readonly random: Random;
  readonly parts: Parts;
}

type Change = (model: ClusterModel, source: Source) => ClusterModel;

/** One to four changes, and sometimes half of the policies of `other`. */
export function mutateCluster(model: ClusterModel, other: ClusterModel | undefined, source: Source): ClusterModel {
  const { random } = source;
  let changed = model;
  if (other !== undefined && random.oneIn(6)) changed = crossed(changed, other, random);
  for (let count = 1 + random.below(4); count > 0; count--) changed = random.pick(CHANGES)(changed, source);
  return cluster(changed);
}

/** Policies of both, each by chance; names of the second give way. */
function crossed(model: ClusterModel, other: ClusterModel, random: Random): ClusterModel {
  const policies = [...model.policies, ...other.policies].filter(() => random.oneIn(2));
  const taken = new Set<string>();
  return {
    ...model,
    policies: policies.slice(0, MOST_POLICIES).map((policy, index) => {
      const free = taken.has(policy.key) ? renamed(policy, `${policy.name.slice(0, 200)}-${index}`) : policy;
      taken.add(free.key);
      return free;
    }),
  };
}

const MOST_POLICIES = 6;
const MOST_PODS = 8;

const CHANGES: readonly Change[] = [
  // Policies weigh most: they are what is compiled.
  changeRule((rule, { parts }) => ({ ...rule, peers: [...rule.peers, parts.peer()] })),
  changeRule((rule, { parts }) => ({ ...rule, ports: [...rule.ports, parts.port()] })),
  changeRule((rule, { random }) => ({ ...rule, peers: withoutOne(rule.peers, random) })),
  changeRule((rule, { random }) => ({ ...rule, ports: withoutOne(rule.ports, random) })),
  changeRule((_rule, { parts }) => parts.rule()),
  changeRule((rule, source) => ({ ...rule, peers: [...rule.peers, oddBlock(source)] })),
  changeRule((rule, { random }) => ({ ...rule, ports: [...rule.ports, oddPort(random)] })),
  changeRule((rule, source) => ({ ...rule, peers: rule.peers.map((peer) => changedPeer(peer, source)) })),
  changeRule((rule, { random }) => ({ ...rule, ports: rule.ports.map((port) => changedPort(port, random)) })),
  changePolicy((policy, { parts, random }) => {
    const direction = random.pick<Direction>(["ingress", "egress"]);
    return { ...policy, [direction]: [...policy[direction], parts.rule()].slice(-3) };
  }),
  changePolicy((policy, { random }) => {
    const direction = random.pick<Direction>(["ingress", "egress"]);
    return { ...policy, [direction]: withoutOne(policy[direction], random) };
  }),
  changePolicy((policy, { random }) => ({
    ...policy,
    types: random.pick<readonly Direction[]>([["ingress"], ["egress"], ["ingress", "egress"]]),
  })),
  changePolicy((policy, { parts }) => ({ ...policy, podSelector: parts.selector() })),
  changePolicy((policy) => ({ ...policy, ingress: policy.egress, egress: policy.ingress })),
  (model, { parts, random }) => {
    const added = parts.cluster().policies[0];
    if (added === undefined || model.policies.length >= MOST_POLICIES) return model;
    return withPolicy(model, added, random);
  },
  (model, { random }) => ({ ...model, policies: withoutOne(model.policies, random) }),
  (model, { random }) => renamePolicy(model, random),
  // Pods.
  changePod((pod, { random }) => ({ ...pod, labels: relabelled(pod.labels, random) })),
  changePod((pod, { random }) => ({ ...pod, phase: random.pick(PHASES) })),
  changePod((pod, { random }) => ({ ...pod, terminating: random.oneIn(2) })),
  changePod((pod, { random }) => ({ ...pod, ports: oddPorts(pod, random) })),
  (model, { random }) => swapAddresses(model, random),
  (model, source) => addPod(model, source),
  (model, { random }) => ({ ...model, endpoints: withoutOne(model.endpoints, random) }),
  (model, { random }) => renamePod(model, random),
  // Namespaces.
  changeNamespace((one, { random }) => ({ ...one, labels: relabelled(one.labels, random) })),
  changeNamespace((one, { random }) => ({
    ...one,
    annotations: random.oneIn(3) ? NO_LABELS : random.pick(ISOLATIONS),
  })),
  (model, { random }) => renameNamespace(model, random),
];

const PHASES: readonly PodPhase[] = ["Running", "Running", "Pending", "Succeeded", "Failed", "Unknown"];
const NO_LABELS = labels({});

/** What Romana reads instead of policy types: isolation, isolation misspelt, no JSON at all. */
const ISOLATIONS: readonly Labels[] = ['{"ingress":{"isolation":"DefaultDeny"}}', '{"ingress":{}}', "no"].map((text) =>
  labels({ "net.beta.kubernetes.io/networkpolicy": text }),
);

/** Read by Romana alone. */
const SEGMENT_LABEL = "romana.io/segment";

function withoutOne<T>(list: readonly T[], random: Random): readonly T[] {
  return list.length === 0 ? list : list.toSpliced(random.below(list.length), 1);
}

function pickIndex(list: readonly unknown[], random: Random): number {
  return list.length === 0 ? -1 : random.below(list.length);
}

/* Policies ----------------------------------------------------------------------------------------------------------- */

function changePolicy(change: (policy: NetworkPolicy, source: Source) => NetworkPolicy): Change {
  return (model, source) => {
    const index = pickIndex(model.policies, source.random);
    const policy = model.policies[index];
    return policy === undefined ? model : { ...model, policies: model.policies.with(index, change(policy, source)) };
  };
}

/** Of a direction that the policy governs, more often than not. */
function changeRule(change: (rule: PolicyRule, source: Source) => PolicyRule): Change {
  return changePolicy((policy, source) => {
    const { random } = source;
    const direction: Direction = random.oneIn(4) ? random.pick(["ingress", "egress"]) : random.pick(policy.types);
    const index = pickIndex(policy[direction], random);
    const rule = policy[direction][index];
    if (rule === undefined) return { ...policy, [direction]: [source.parts.rule()] };
    const { peers, ports, source: place } = change(rule, source);
    const bounded = { peers: peers.slice(-MOST_PARTS), ports: ports.slice(-MOST_PARTS), source: place };
    return { ...policy, [direction]: policy[direction].with(index, bounded) };
  });
}

const MOST_PARTS = 5;

function changedPeer(peer: PolicyPeer, source: Source): PolicyPeer {
  const { random, parts } = source;
  if (peer.kind === "ipBlock") return random.oneIn(2) ? oddBlock(source) : peer;
  switch (random.below(4)) {
    case 0:
      return { ...peer, podSelector: parts.selector() };
    case 1:
      return { ...peer, namespaceSelector: parts.selector() };
    case 2:
      return peer.namespaceSelector === undefined ? peer : { ...peer, podSelector: undefined };
    default:
      return { ...peer, podSelector: peer.podSelector && widened(peer.podSelector, source) };
  }
}

function widened(selector: LabelSelector, { random, parts }: Source): LabelSelector {
  const { matchExpressions } = parts.selector();
  const kept = random.oneIn(2) ? [] : selector.matchExpressions;
  return { matchLabels: selector.matchLabels, matchExpressions: [...kept, ...matchExpressions].slice(0, 3) };
}

function changedPort(port: PolicyPort, random: Random): PolicyPort {
  switch (random.below(4)) {
    case 0:
      return policyPort(random.pick(PORT_PROTOCOLS), port.port, port.endPort);
    case 1:
      return typeof port.port === "number" && port.port > 1
        ? policyPort(port.protocol, port.port - 1, port.port)
        : port;
    case 2:
      return oddPort(random);
    default:
      return port;
  }
}

/** Ends of the range, and ranges whose prefixes are many or few. */
const ODD_PORTS = [1, 2, 79, 80, 81, 127, 128, 255, 256, 8000, 8191, 8192, 32_768, 65_534, 65_535] as const;

/** Solutions without ranges write them out number by number: a wide one costs a second. */
const WIDEST = 600;

function oddPort(random: Random): PolicyPort {
  const first = random.pick(ODD_PORTS);
  const protocol = random.pick(PORT_PROTOCOLS);
  if (random.oneIn(2)) return policyPort(protocol, first);
  const last = Math.min(65_535, first + random.pick([0, 1, 2, 6, 7, 8, 15, 100, WIDEST]));
  return policyPort(protocol, first, last);
}

/** A block around an address of the cluster's world, as wide as chance has it, with exceptions inside it. */
function oddBlock({ random }: Source): PolicyPeer {
  const { cidr: text, exceptions } = random.pick(BLOCKS);
  const base = blockPeer(text);
  if (base.kind !== "ipBlock") return base;
  const bits = addressBits(base.cidr.family);
  const inner = exceptions.length === 0 ? undefined : blockPeer(random.pick(exceptions));
  const around: IpAddress = inner?.kind === "ipBlock" ? inner.cidr : base.cidr;
  const length = random.oneIn(4) ? random.pick([0, 1, bits - 1, bits]) : bits - random.below(Math.min(26, bits));
  const outer = cidrOf(around, length);
  const except = new Set<string>();
  for (let count = random.below(4); count > 0 && length < bits; count--) {
    // One bit below the outer prefix may be either half; deeper ones stay around the same address.
    const deeper = length + 1 + random.below(bits - length);
    except.add(formatCidr(random.oneIn(2) ? cidrOf(around, deeper) : sibling(cidrOf(around, deeper))));
  }
  return blockPeer(formatCidr(outer), [...except]);
}

/** The prefix beside it, of the same length. */
function sibling(cidr: Cidr): Cidr {
  const at = cidr.prefixLength - 1;
  const words = cidr.words.map((word, index) => (index === at >>> 5 ? word ^ (1 << (31 - (at & 31))) : word));
  return { ...cidr, words };
}

function withPolicy(model: ClusterModel, policy: NetworkPolicy, random: Random): ClusterModel {
  const known = random.pick(model.namespaces).name;
  const name = freeName(model.policies, known, policy.name);
  return { ...model, policies: [...model.policies, renamed({ ...policy, namespace: known }, name)] };
}

function renamed<T extends { readonly namespace: string }>(one: T, name: string) {
  return { ...one, name, key: `${one.namespace}/${name}` };
}

/** Short ones that run together when they are joined, hyphens and dots in odd places, and one of full length. */
const ODD_NAMES = [
  "a",
  "b",
  "a-b",
  "b-c",
  "a.b",
  "a-b-c",
  "0",
  "policy-0-1",
  "x".repeat(63),
  `${"y".repeat(62)}z`,
] as const;

function freeName(
  taken: readonly { readonly namespace: string; readonly name: string }[],
  where: string,
  wanted: string,
): string {
  const names = new Set(taken.filter((one) => one.namespace === where).map(({ name }) => name));
  if (!names.has(wanted)) return wanted;
  for (let count = 0; ; count++)
    if (!names.has(`${wanted.slice(0, 60)}-${count}`)) return `${wanted.slice(0, 60)}-${count}`;
}

function renamePolicy(model: ClusterModel, random: Random): ClusterModel {
  const index = pickIndex(model.policies, random);
  const policy = model.policies[index];
  if (policy === undefined) return model;
  const name = freeName(model.policies, policy.namespace, random.pick(ODD_NAMES));
  return { ...model, policies: model.policies.with(index, renamed(policy, name)) };
}

/* Pods --------------------------------------------------------------------------------------------------------------- */

function changePod(change: (pod: Endpoint, source: Source) => Endpoint): Change {
  return (model, source) => {
    const index = pickIndex(model.endpoints, source.random);
    const pod = model.endpoints[index];
    return pod === undefined
      ? model
      : settled({ ...model, endpoints: model.endpoints.with(index, change(pod, source)) });
  };
}

/**
 * An address that several living pods list is contested, and the loader takes it from all but one: here the first keeps
 * it. Pods on the host network list addresses of their node, which nobody contests.
 */
function settled(model: ClusterModel): ClusterModel {
  const taken = new Set<string>();
  const endpoints = model.endpoints.map((pod) => {
    if (pod.hostNetwork || pod.phase === "Succeeded" || pod.phase === "Failed") return pod;
    const addresses = pod.addresses.filter((address) => {
      const text = formatAddress(address);
      if (taken.has(text)) return false;
      taken.add(text);
      return true;
    });
    return addresses.length === pod.addresses.length ? pod : { ...pod, addresses };
  });
  return { ...model, endpoints };
}

function relabelled(own: Labels, random: Random): Labels {
  const record = Object.fromEntries(own);
  const key = random.oneIn(8) ? SEGMENT_LABEL : random.pick(LABEL_KEYS);
  if (random.oneIn(3)) delete record[key];
  else record[key] = random.pick(LABEL_VALUES);
  return labels(record);
}

function oddPorts(pod: Endpoint, random: Random): Endpoint["ports"] {
  const container = random.pick(["container", "container", "sidecar", "init"] as const);
  const number = random.oneIn(4) ? random.pick(ODD_PORTS) : random.pick(PORTS);
  const name = random.oneIn(5) ? "" : random.pick(PORT_NAMES);
  const added = containerPort(name, number, random.pick(PORT_PROTOCOLS), container);
  // A container that says one name twice is refused.
  const others = pod.ports.filter((port) => port.container !== container || port.name !== name);
  return CONTAINERS.flatMap((list) => [...others, added].filter((port) => port.container === list)).slice(0, 5);
}

/** In the order in which the loader reads a pod's lists. */
const CONTAINERS = ["container", "init", "sidecar"] as const;

/** Two pods come back with each other's addresses. */
function swapAddresses(model: ClusterModel, random: Random): ClusterModel {
  const [a, b] = [pickIndex(model.endpoints, random), pickIndex(model.endpoints, random)];
  const [first, second] = [model.endpoints[a], model.endpoints[b]];
  if (first === undefined || second === undefined || first === second) return model;
  if (first.hostNetwork || second.hostNetwork) return model;
  const endpoints = model.endpoints
    .with(a, { ...first, addresses: second.addresses, node: second.node })
    .with(b, { ...second, addresses: first.addresses, node: first.node });
  return settled({ ...model, endpoints });
}

function addPod(model: ClusterModel, { parts, random }: Source): ClusterModel {
  const drawn = parts.cluster();
  const added = drawn.endpoints[pickIndex(drawn.endpoints, random)];
  if (added === undefined || model.endpoints.length >= MOST_PODS) return model;
  const name = freeName(model.endpoints, added.namespace, added.name);
  return settled({ ...model, endpoints: [...model.endpoints, renamed(added, name)] });
}

function renamePod(model: ClusterModel, random: Random): ClusterModel {
  const index = pickIndex(model.endpoints, random);
  const pod = model.endpoints[index];
  if (pod === undefined) return model;
  const name = freeName(model.endpoints, pod.namespace, random.pick(ODD_NAMES));
  return { ...model, endpoints: model.endpoints.with(index, renamed(pod, name)) };
}

/* Namespaces --------------------------------------------------------------------------------------------------------- */

function changeNamespace(change: (one: Namespace, source: Source) => Namespace): Change {
  return (model, source) => {
    const index = pickIndex(model.namespaces, source.random);
    const one = model.namespaces[index];
    return one === undefined ? model : { ...model, namespaces: model.namespaces.with(index, change(one, source)) };
  };
}

/** The namespace, and all that is in it, under another name. Selectors that name it no longer do. */
function renameNamespace(model: ClusterModel, random: Random): ClusterModel {
  const index = pickIndex(model.namespaces, random);
  const old = model.namespaces[index];
  const name = random.pick(ODD_NAMES).replaceAll(".", "-");
  if (old === undefined || old.name === "default" || model.namespaces.some((one) => one.name === name)) return model;
  const own = Object.fromEntries(old.labels);
  delete own["kubernetes.io/metadata.name"];
  const move = <T extends { readonly namespace: string; readonly name: string }>(one: T): T =>
    one.namespace === old.name ? { ...one, namespace: name, key: `${name}/${one.name}` } : one;
  return {
    ...model,
    namespaces: model.namespaces.with(index, { ...namespace(name, own), annotations: old.annotations }),
    endpoints: model.endpoints.map(move),
    policies: model.policies.map(move),
  };
}
