/**
 * Metamorphic laws: changes of a cluster that must not change verdicts, or only in one way. They need no second opinion
 * about what the verdict is, so they catch what judge and accused get wrong together.
 */
import {
  type ClusterModel,
  type Direction,
  isOnPodNetwork,
  type LabelSelector,
  type Labels,
  type NetworkPolicy,
  type PolicyPeer,
  type PolicyRule,
} from "../../compiler/model.ts";
import { type Cidr, cidrContains, cidrOf, formatCidr, type IpAddress } from "../../dataplane/address.ts";
import { hasPorts, type Packet } from "../../dataplane/packet.ts";
import { address, cluster, EVERYTHING, namespace, pod, policy } from "../../verify/fuzz/builders.ts";
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

/** Every policy as two of the same pods and types, its rules dealt out to them. */
export function withPoliciesSplit(model: ClusterModel): ClusterModel {
  const policies = model.policies.flatMap((one): readonly NetworkPolicy[] =>
    [0, 1].map((half) => {
      const name = `${one.name}-${half}`;
      const part = (rules: readonly PolicyRule[]) => rules.filter((_, index) => index % 2 === half);
      return { ...one, name, key: `${one.namespace}/${name}`, ingress: part(one.ingress), egress: part(one.egress) };
    }),
  );
  return { ...model, policies };
}

/** Everything that is a list, the other way round. */
export function withListsReversed(model: ClusterModel): ClusterModel {
  const reversed = mapRules(model, ({ peers, ports, ...rule }) => [
    { ...rule, peers: peers.toReversed(), ports: ports.toReversed() },
  ]);
  const policies = reversed.policies.map((one) => ({
    ...one,
    ingress: one.ingress.toReversed(),
    egress: one.egress.toReversed(),
  }));
  return { ...reversed, policies: policies.toReversed(), endpoints: model.endpoints.toReversed() };
}

/** Labels under other names and values, here as there. The namespace's own name is no label of the user's. */
export function withLabelsRenamed(model: ClusterModel): ClusterModel {
  const key = (name: string) => (name.startsWith("kubernetes.io/") ? name : `example.org/${name}-renamed`);
  const value = (name: string, text: string) =>
    name.startsWith("kubernetes.io/") || text === "" ? text : `${text === "a" ? "y" : "x"}-${text}`;
  const labels = (own: Labels): Labels => new Map([...own].map(([name, text]) => [key(name), value(name, text)]));
  return mapSelectors(
    {
      ...model,
      namespaces: model.namespaces.map((one) => ({ ...one, labels: labels(one.labels) })),
      endpoints: model.endpoints.map((one) => ({ ...one, labels: labels(one.labels) })),
    },
    ({ matchLabels, matchExpressions }) => ({
      matchLabels: matchLabels.map(([name, text]) => [key(name), value(name, text)] as const),
      matchExpressions: matchExpressions.map((one) => ({
        ...one,
        key: key(one.key),
        values: one.values.map((text) => value(one.key, text)),
      })),
    }),
  );
}

/** Every label asked for as one of two values. */
export function withTwoValues(model: ClusterModel): ClusterModel {
  const two = (text: string) => [text, text === "b" ? "a" : "b"];
  return mapSelectors(model, ({ matchLabels, matchExpressions }) => ({
    matchLabels: [],
    matchExpressions: [
      ...matchLabels.map(([key, text]) => ({ key, operator: "In" as const, values: two(text) })),
      ...matchExpressions.map((one) => (one.operator === "In" ? { ...one, values: two(one.values[0] ?? "") } : one)),
    ],
  }));
}

/** `In` with several values as a peer for each. */
export function withUnionsApart(model: ClusterModel): ClusterModel {
  return mapRules(model, (rule) => [{ ...rule, peers: rule.peers.flatMap(unionsApart) }]);
}

function unionsApart(peer: PolicyPeer): readonly PolicyPeer[] {
  if (peer.kind !== "pods") return [peer];
  const pods = peer.podSelector === undefined ? [undefined] : selectorsApart(peer.podSelector);
  const spaces = peer.namespaceSelector === undefined ? [undefined] : selectorsApart(peer.namespaceSelector);
  return pods.flatMap((podSelector) =>
    spaces.map((namespaceSelector) => ({ ...peer, podSelector, namespaceSelector })),
  );
}

function selectorsApart(selector: LabelSelector): readonly LabelSelector[] {
  const index = selector.matchExpressions.findIndex(({ operator, values }) => operator === "In" && values.length > 1);
  const found = selector.matchExpressions[index];
  if (found === undefined) return [selector];
  return found.values.flatMap((value) =>
    selectorsApart({
      ...selector,
      matchExpressions: selector.matchExpressions.with(index, { ...found, values: [value] }),
    }),
  );
}

/** A block with exceptions as blocks of what is left of it. */
export function withExceptsFilledIn(model: ClusterModel): ClusterModel {
  return mapRules(model, (rule) => {
    if (rule.peers.length === 0) return [rule];
    const peers = rule.peers.flatMap((peer): readonly PolicyPeer[] =>
      peer.kind === "ipBlock" && peer.except.length > 0
        ? complement(peer.cidr, peer.except).map((cidr) => ({
            ...peer,
            cidr,
            cidrText: formatCidr(cidr),
            except: [],
            exceptText: [],
          }))
        : [peer],
    );
    return peers.length === 0 ? [] : [{ ...rule, peers }];
  });
}

function complement(block: Cidr, except: readonly Cidr[]): readonly Cidr[] {
  if (except.some((one) => one.prefixLength <= block.prefixLength && cidrContains(one, block))) return [];
  const inside = except.filter((one) => cidrContains(block, one));
  return inside.length === 0 ? [block] : halves(block).flatMap((half) => complement(half, inside));
}

/** A twin of every namespace with its labels, pods at other addresses, and policies. */
export function withNamespacesDoubled(model: ClusterModel): ClusterModel {
  const twin = (name: string) => `${name}-twin`;
  const endpoints = model.endpoints.filter(isOnPodNetwork).map((one, index) =>
    pod(`${twin(one.namespace)}/${one.name}`, [`10.1.0.${100 + index}`], {
      ...one,
      key: `${twin(one.namespace)}/${one.name}`,
      namespace: twin(one.namespace),
      addresses: [address(`10.1.0.${100 + index}`)],
      node: NODES[0]?.name ?? "",
      labels: Object.fromEntries(one.labels),
    }),
  );
  return cluster({
    ...model,
    namespaces: [
      ...model.namespaces,
      ...model.namespaces.map(({ name, labels }) =>
        namespace(twin(name), { ...Object.fromEntries(labels), "kubernetes.io/metadata.name": twin(name) }),
      ),
    ],
    endpoints: [...model.endpoints, ...endpoints],
    policies: [
      ...model.policies,
      ...model.policies.map((one) => ({
        ...one,
        namespace: twin(one.namespace),
        key: `${twin(one.namespace)}/${one.name}`,
      })),
    ],
  });
}

/** One more peer in a rule that names some: a rule without is about everybody. */
export function withOneMorePeer(
  model: ClusterModel,
  { rule: index, peer }: { readonly rule: number; readonly peer: PolicyPeer },
): ClusterModel {
  let count = 0;
  return mapRules(model, (rule) =>
    rule.peers.length > 0 && count++ === index ? [{ ...rule, peers: [...rule.peers, peer] }] : [rule],
  );
}

/** Where IPv4 lies in IPv6 under `mirrored`. */
const MIRROR = [0xfd004444 | 0, 0, 0] as const;
const MIRROR_BITS = 96;

function mirroredAddress({ words }: Pick<IpAddress, "words">): IpAddress {
  return { family: 6, words: [...MIRROR, words[0] ?? 0] };
}

function mirroredBlock(block: Cidr): Cidr {
  return { ...mirroredAddress(block), prefixLength: MIRROR_BITS + block.prefixLength };
}

/** A cluster of IPv4 in IPv6: every address and block has its place there. */
export function mirrored(model: ClusterModel): ClusterModel {
  const there = mapRules(model, (rule) => {
    if (rule.peers.length === 0) return [rule];
    const peers = rule.peers.flatMap((peer): readonly PolicyPeer[] => {
      if (peer.kind !== "ipBlock") return [peer];
      if (peer.cidr.family === 6) return [];
      const [cidr, except] = [mirroredBlock(peer.cidr), peer.except.map(mirroredBlock)];
      return [{ ...peer, cidr, cidrText: formatCidr(cidr), except, exceptText: except.map(formatCidr) }];
    });
    return peers.length === 0 ? [] : [{ ...rule, peers }];
  });
  return {
    ...there,
    nodes: model.nodes.map((one) => ({
      ...one,
      addresses: one.addresses.map(mirroredAddress),
      podCidrs: one.podCidrs.map(mirroredBlock),
    })),
    endpoints: model.endpoints.map((one) => ({ ...one, addresses: one.addresses.map(mirroredAddress) })),
  };
}

/** The packet of IPv4 there; undefined: it has no counterpart. */
export function mirroredPacket(packet: Packet): Packet | undefined {
  if (packet.source.family === 6 || !hasPorts(packet.protocol)) return undefined;
  return { ...packet, source: mirroredAddress(packet.source), destination: mirroredAddress(packet.destination) };
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

function mapSelectors(model: ClusterModel, change: (selector: LabelSelector) => LabelSelector): ClusterModel {
  const changed = mapRules(model, (rule) => [
    {
      ...rule,
      peers: rule.peers.map((peer) =>
        peer.kind === "ipBlock"
          ? peer
          : {
              ...peer,
              podSelector: peer.podSelector && change(peer.podSelector),
              namespaceSelector: peer.namespaceSelector && change(peer.namespaceSelector),
            },
      ),
    },
  ]);
  return { ...changed, policies: changed.policies.map((one) => ({ ...one, podSelector: change(one.podSelector) })) };
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
