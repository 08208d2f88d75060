/**
 * bpf-hash: what a first eBPF firewall would do, kept for comparison. Each endpoint and direction has an exact hash map of
 * (peer address, protocol, port) and a prefix map of blocks; there are no identities, so every member of every peer and
 * every port of every range is an entry of its own. The number of entries is the point.
 *
 * The maps are asked in this order, and the first `accept` decides: (peer, protocol, port), (peer, protocol, any),
 * (peer, any), then the blocks likewise. See dataplane/maps/layout.ts.
 */
import { type Cidr, cidrContains, cidrKey, compareCidrs, hostCidr } from "../../dataplane/address.ts";
import {
  BLOCK_KEY_BYTES,
  encodeBlockKey,
  encodeTupleValue,
  TUPLE_KEY_BYTES,
  TUPLE_VALUE_BYTES,
} from "../../dataplane/maps/layout.ts";
import { type PortList, portCode, TupleEntries, tupleMap } from "../../dataplane/maps/tupleEntries.ts";
import { parseProtocol } from "../../dataplane/packet.ts";
import type { Attachment, AttachPoint, MapEntry, MapProgram, MapSpec } from "../../dataplane/program.ts";
import { routedAttachment } from "../attachment.ts";
import { deviationsOf } from "../deviation.ts";
import {
  type ClusterNode,
  DIRECTIONS,
  type Direction,
  type Endpoint,
  type PolicyPort,
  peerPath,
  rulePath,
} from "../model.ts";
import { podHash } from "../podHash.ts";
import type { ResolvedCluster, ResolvedPolicy, ResolvedRule } from "../resolve.ts";
import { untrackedProtocols } from "../untrackedProtocols.ts";
import { plannedController } from "../update/controller.ts";
import { EndpointNumbers, endpointNumbersOf } from "../update/endpointNumbers.ts";
import { planPlain } from "../update/plain.ts";
import type { LowerOptions, Strategy } from "./strategy.ts";

/** Room for ranges of ports over many peers; beyond it the program is refused, where a real one would fail to load. */
const EXACT_MAX_ENTRIES = 4_194_304;
const BLOCK_MAX_ENTRIES = 1_048_576;

export const bpfHash: Strategy = {
  name: "bpf-hash",
  summary: "plain eBPF layout for comparison: an exact hash map and a prefix map for each endpoint and direction",
  sources: ["chainwalk's own; no network solution programs this"],
  unsupported: [],
  deviations: deviationsOf(
    [untrackedProtocols({ source: "chainwalk's own", scenario: "bpf-hash-untracked-protocols-dropped" })],
    "drop",
  ),
  lapses: [],
  denyVerdict: "drop",
  options: [],
  attach,
  follow(cluster, options) {
    // A pod keeps its maps while others come and go.
    const numbers = new EndpointNumbers();
    const lower = (now: ResolvedCluster, given: LowerOptions) => {
      numbers.number(now);
      return bpfHash.lower(now, given);
    };
    return plannedController(cluster, { strategy: { lower }, options, plan: planPlain });
  },
  lower(cluster: ResolvedCluster, options: LowerOptions): MapProgram {
    const pods = cluster.podsOn(options.node);
    const numbers = endpointNumbersOf(cluster, pods);
    const points = pods.flatMap((pod) =>
      DIRECTIONS.map((direction) => {
        const suffix = `${direction === "ingress" ? "in" : "eg"}_${String(numbers.get(pod) ?? 0).padStart(5, "0")}`;
        const layout = layoutOf(cluster, pod, direction);
        return { pod, direction, exact: `exact_${suffix}`, blocks: `block_${suffix}`, layout };
      }),
    );
    return {
      kind: "maps",
      strategy: bpfHash.name,
      node: options.node,
      maps: points.flatMap(({ pod, exact, blocks, layout }): MapSpec[] => [
        tupleMap(
          {
            name: exact,
            type: "hash",
            keyBytes: TUPLE_KEY_BYTES,
            valueBytes: TUPLE_VALUE_BYTES,
            maxEntries: EXACT_MAX_ENTRIES,
            origin: `pod ${pod.key}`,
          },
          layout.exact,
        ),
        {
          name: blocks,
          type: "lpm-trie",
          keyBytes: BLOCK_KEY_BYTES,
          valueBytes: TUPLE_VALUE_BYTES,
          maxEntries: BLOCK_MAX_ENTRIES,
          entries: layout.blocks,
          origin: `pod ${pod.key}`,
        },
      ]),
      attachPoints: points.map(
        ({ pod, direction, exact, blocks }): AttachPoint => ({
          endpoint: pod.key,
          direction,
          plan: { kind: "tuple", exact, blocks },
        }),
      ),
      attachment: attach(cluster, options),
    };
  },
};

function attach(cluster: ResolvedCluster, { node }: LowerOptions): Attachment {
  return routedAttachment(cluster, {
    node,
    pods: cluster.podsOn(node),
    interfaceOf: (pod) => `veth${podHash(pod, 11)}`,
  });
}

/** Protocol 0 is every protocol, port 0 every port of the protocol. */
interface PortKey {
  readonly protocol: number;
  readonly port: number;
}

const EVERY_PORT: PortKey = { protocol: 0, port: 0 };
const EVERYTHING: readonly Cidr[] = [
  { family: 4, words: [0], prefixLength: 0 },
  { family: 6, words: [0, 0, 0, 0], prefixLength: 0 },
];

interface Block {
  readonly cidr: Cidr;
  readonly except: readonly Cidr[];
  readonly origin: string;
}

/**
 * Ports that some address is allowed, as a chain of what rules have said of it. All peers of one rule are given the same
 * list of ports, so what two addresses have in common is kept once: a wide range is tens of thousands of ports.
 */
class AllowedPorts {
  readonly #before: AllowedPorts | undefined;
  readonly #ports: readonly PortKey[];
  readonly #origin: string;
  readonly #after = new Map<readonly PortKey[], AllowedPorts>();
  #listed: PortList | undefined;

  constructor(ports: readonly PortKey[], origin: string, before?: AllowedPorts) {
    this.#before = before;
    this.#ports = ports;
    this.#origin = origin;
  }

  and(ports: readonly PortKey[], origin: string): AllowedPorts {
    const known = this.#after.get(ports);
    if (known !== undefined && known.#origin === origin) return known;
    const after = new AllowedPorts(ports, origin, this);
    this.#after.set(ports, after);
    return after;
  }

  /** Protocol and port in one number each, in order, and beside it who allowed it first. */
  get listed(): PortList {
    if (this.#listed !== undefined) return this.#listed;
    const found = new Map<number, string>();
    // From the latest to the first, who so has the last word.
    for (let link: AllowedPorts | undefined = this; link !== undefined; link = link.#before) {
      for (const { protocol, port } of link.#ports) found.set(portCode(protocol, port), link.#origin);
    }
    const codes = Int32Array.from(found.keys()).sort();
    this.#listed = { codes, origins: Array.from(codes, (code) => found.get(code) ?? "") };
    return this.#listed;
  }
}

/** The entries of an endpoint's direction, while they are collected. */
class DirectionMaps {
  readonly #nothing = new AllowedPorts([], "");
  readonly #exact = new Map<number | string, { readonly peer: Cidr; ports: AllowedPorts }>();
  readonly #blocks = new Map<string, { readonly port: PortKey; readonly blocks: Block[] }>();

  allowPeer(peer: Cidr, ports: readonly PortKey[], origin: string): void {
    const key = cidrKey(peer);
    const known = this.#exact.get(key);
    if (known === undefined) this.#exact.set(key, { peer, ports: this.#nothing.and(ports, origin) });
    else known.ports = known.ports.and(ports, origin);
  }

  allowBlock(block: Block, port: PortKey): void {
    const text = `${block.cidr.family} ${port.protocol} ${port.port}`;
    const group = this.#blocks.get(text) ?? { port, blocks: [] };
    this.#blocks.set(text, group);
    group.blocks.push(block);
  }

  get exact(): TupleEntries {
    const peers = [...this.#exact.values()].sort((a, b) => compareCidrs(a.peer, b.peer));
    return new TupleEntries(peers.map(({ peer, ports }) => ({ peer, ports: ports.listed })));
  }

  /**
   * A trie answers with the longest prefix alone, so that a hole of one block would hide another block around it. Every
   * prefix that any block of the port mentions becomes an entry that says what holds there for all of them together.
   */
  get blocks(): readonly MapEntry[] {
    return [...this.#blocks.values()]
      .sort((a, b) => a.port.protocol - b.port.protocol || a.port.port - b.port.port)
      .flatMap(({ port, blocks }) =>
        firstAllowing(blocks).map(({ peer, allowing }): MapEntry => {
          return {
            key: encodeBlockKey({ peer, ...port }),
            value: encodeTupleValue(allowing === undefined ? "hole" : "accept"),
            ...(allowing === undefined ? {} : { origin: allowing.origin }),
          };
        }),
      );
  }
}

/** A prefix that a block mentions: as what it allows, or as a hole. */
interface Mention {
  readonly cidr: Cidr;
  /** The position of the block. */
  readonly block: number;
  readonly isHole: boolean;
}

/**
 * Each prefix that the blocks mention, in order, with the first block that allows it. In that order prefixes nest like
 * brackets: those around the one at hand are on a stack, so that the work is their depth, not the number of blocks.
 */
function firstAllowing(
  blocks: readonly Block[],
): readonly { readonly peer: Cidr; readonly allowing: Block | undefined }[] {
  const mentions = blocks
    .flatMap(({ cidr, except }, block): Mention[] => [
      { cidr, block, isHole: false },
      ...except.map((hole): Mention => ({ cidr: hole, block, isHole: true })),
    ])
    .sort((a, b) => compareCidrs(a.cidr, b.cidr));
  const answers: { peer: Cidr; allowing: Block | undefined }[] = [];
  const around: Mention[] = [];
  for (const [index, mention] of mentions.entries()) {
    for (let last = around.at(-1); last !== undefined && !inside(mention.cidr, last.cidr); last = around.at(-1)) {
      around.pop();
    }
    around.push(mention);
    const next = mentions[index + 1];
    if (next !== undefined && compareCidrs(next.cidr, mention.cidr) === 0) continue;
    const holes = new Set(around.flatMap(({ isHole, block }) => (isHole ? [block] : [])));
    const allowing = around
      .flatMap(({ isHole, block }) => (isHole || holes.has(block) ? [] : [block]))
      .reduce<number | undefined>((first, block) => (first === undefined || block < first ? block : first), undefined);
    answers.push({ peer: mention.cidr, allowing: allowing === undefined ? undefined : blocks[allowing] });
  }
  return answers;
}

function inside(inner: Cidr, outer: Cidr): boolean {
  return inner.prefixLength >= outer.prefixLength && cidrContains(outer, inner);
}

interface Layout {
  readonly exact: TupleEntries;
  readonly blocks: readonly MapEntry[];
  /** What it was made from besides the pod. */
  readonly policies: readonly ResolvedPolicy[];
  readonly node: ClusterNode | undefined;
  /** Undefined: it does not depend on which pods there are beside those that the policies select. */
  readonly pods: readonly Endpoint[] | undefined;
}

const LAYOUTS = {
  ingress: new WeakMap<Endpoint, Layout>(),
  egress: new WeakMap<Endpoint, Layout>(),
} as const satisfies Record<Direction, unknown>;

/** Layouts in which nothing is of one endpoint: those of all whom the same policies select. */
const SHARED_LAYOUTS = {
  ingress: new WeakMap<readonly ResolvedPolicy[], Layout>(),
  egress: new WeakMap<readonly ResolvedPolicy[], Layout>(),
} as const satisfies Record<Direction, unknown>;

/** The latest layout of an endpoint, which stays while what it was made from does. */
function layoutOf(cluster: ResolvedCluster, pod: Endpoint, direction: Direction): Layout {
  const policies = cluster.policiesFor(pod, direction);
  const node = nodeNamed(cluster, pod.node);
  const isShared = policies.length > 0 && !(direction === "ingress" && policies.some(namesIngressPorts));
  const latest = isShared ? SHARED_LAYOUTS[direction].get(policies) : LAYOUTS[direction].get(pod);
  if (
    latest !== undefined &&
    latest.policies === policies &&
    latest.node === node &&
    (latest.pods === undefined || latest.pods === cluster.pods)
  )
    return latest;
  const maps = lowerDirection(cluster, pod, direction, node);
  const pods = direction === "egress" && policies.some(namesPortsOfBlocks) ? cluster.pods : undefined;
  const layout = { exact: maps.exact, blocks: maps.blocks, policies, node, pods };
  if (isShared) SHARED_LAYOUTS[direction].set(policies, layout);
  else LAYOUTS[direction].set(pod, layout);
  return layout;
}

/** Whether a rule names ports of the pods that the policy selects. */
function namesIngressPorts({ ingress }: ResolvedPolicy): boolean {
  return ingress.some(({ ports }) => ports.some(({ port }) => typeof port === "string"));
}

/** Whether a rule names ports of whoever is in a block. */
function namesPortsOfBlocks({ egress }: ResolvedPolicy): boolean {
  return egress.some(
    ({ peers, ports }) =>
      (peers.length === 0 || peers.some(({ kind }) => kind === "ipBlock")) &&
      ports.some(({ port }) => typeof port === "string"),
  );
}

function nodeNamed({ model }: ResolvedCluster, name: string): ClusterNode | undefined {
  return model.nodes.find((node) => node.name === name);
}

function lowerDirection(
  cluster: ResolvedCluster,
  pod: Endpoint,
  direction: Direction,
  node: ClusterNode | undefined,
): DirectionMaps {
  const maps = new DirectionMaps();
  for (const address of node?.addresses ?? []) maps.allowPeer(hostCidr(address), [EVERY_PORT], "the pod's own node");
  const policies = cluster.policiesFor(pod, direction);
  if (policies.length === 0) {
    const origin = `${pod.key} is not isolated for ${direction}`;
    for (const cidr of EVERYTHING) maps.allowBlock({ cidr, except: [], origin }, EVERY_PORT);
  }
  for (const resolved of policies) {
    for (const rule of resolved[direction]) addRule(maps, cluster, { pod, direction, resolved, rule });
  }
  return maps;
}

interface RuleInput {
  readonly pod: Endpoint;
  readonly direction: Direction;
  readonly resolved: ResolvedPolicy;
  readonly rule: ResolvedRule;
}

function addRule(maps: DirectionMaps, cluster: ResolvedCluster, { pod, direction, resolved, rule }: RuleInput): void {
  const { policy } = resolved;
  const addPods = (members: readonly Endpoint[], portsOf: (peer: Endpoint) => readonly PortKey[], origin: string) => {
    for (const peer of members) {
      for (const address of peer.addresses) maps.allowPeer(hostCidr(address), portsOf(peer), origin);
    }
  };
  const addBlock = (block: Block, ports: readonly PolicyPort[]) => {
    // Names resolve on the destination: the pod itself on ingress, whichever pod is in the block on egress.
    const numbers = ports.filter((port) => typeof port.port !== "string");
    const named = ports.filter((port) => typeof port.port === "string");
    const own = direction === "ingress" ? named.flatMap((port) => portKeys(port, pod)) : [];
    const keys = ports.length === 0 ? [EVERY_PORT] : [...numbers.flatMap((port) => portKeys(port, undefined)), ...own];
    for (const port of keys) maps.allowBlock(block, port);
    if (direction === "ingress" || named.length === 0) return;
    for (const peer of cluster.pods) {
      const addresses = peer.addresses.filter(
        (address) => cidrContains(block.cidr, address) && !block.except.some((hole) => cidrContains(hole, address)),
      );
      for (const address of addresses) {
        const ports = named.flatMap((wanted) => portKeys(wanted, peer));
        maps.allowPeer(hostCidr(address), ports, block.origin);
      }
    }
  };
  if (rule.peers.length === 0) {
    const origin = rulePath(policy, direction, rule.index);
    for (const cidr of EVERYTHING) addBlock({ cidr, except: [], origin }, rule.ports);
  }
  for (const peer of rule.peers) {
    const origin = peerPath(policy, direction, rule.index, peer.index);
    if (peer.kind === "ipBlock") addBlock({ cidr: peer.cidr, except: peer.except, origin }, rule.ports);
    else {
      const keysFor = (other: Endpoint) =>
        rule.ports.length === 0
          ? [EVERY_PORT]
          : rule.ports.flatMap((port) => portKeys(port, direction === "ingress" ? pod : other));
      // Names alone differ from peer to peer, and only where the peer is the destination.
      const differs = direction === "egress" && rule.ports.some(({ port }) => typeof port === "string");
      const ofAll = keysFor(pod);
      const portsOf = differs ? keysFor : () => ofAll;
      addPods(peer.members, portsOf, origin);
    }
  }
}

/** Every port of an entry as a key; a name is looked up on the destination's containers. */
function portKeys(wanted: PolicyPort, destination: Endpoint | undefined): readonly PortKey[] {
  const protocol = parseProtocol(wanted.protocol) ?? 0;
  const { port, endPort } = wanted;
  if (port === undefined) return [{ protocol, port: 0 }];
  if (typeof port === "number") {
    return Array.from({ length: (endPort ?? port) - port + 1 }, (_, offset) => ({ protocol, port: port + offset }));
  }
  return (destination?.ports ?? [])
    .filter(
      ({ container, name, protocol: declared }) =>
        container !== "init" && name === port && declared === wanted.protocol,
    )
    .map((declared) => ({ protocol, port: declared.port }));
}
