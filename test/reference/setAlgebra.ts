/**
 * The NetworkPolicy API a second time, written the other way round: not "which policy allows this packet" but, for each
 * cluster, the set of all packets that may pass, as boxes of address sets and port sets, made by union, intersection and
 * difference. Selectors are sets of addresses as well: NotIn is all pods less those with the values. Whether a packet
 * passes is then whether it lies in a box. It shares nothing with the reference or the compiler but the model.
 */
import type {
  ClusterModel,
  Direction,
  Endpoint,
  LabelRequirement,
  LabelSelector,
  Labels,
  NetworkPolicy,
  PolicyPeer,
  PolicyPort,
} from "../../compiler/model.ts";
import type { Cidr, IpAddress } from "../../dataplane/address.ts";
import type { FiveTuple } from "../../dataplane/packet.ts";

/** Disjoint inclusive ranges of numbers, in order. IPv6 addresses stand above all IPv4 ones. */
export class NumberSet {
  static readonly none = new NumberSet([]);
  readonly ranges: readonly (readonly [first: bigint, last: bigint])[];

  private constructor(ranges: NumberSet["ranges"]) {
    this.ranges = ranges;
  }

  static range(first: bigint, last: bigint): NumberSet {
    return first > last ? NumberSet.none : new NumberSet([[first, last]]);
  }

  static union(sets: readonly NumberSet[]): NumberSet {
    const all = sets.flatMap(({ ranges }) => ranges).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
    const joined: [bigint, bigint][] = [];
    for (const [first, last] of all) {
      const open = joined.at(-1);
      if (open !== undefined && first <= open[1] + 1n) open[1] = larger(last, open[1]);
      else joined.push([first, last]);
    }
    return new NumberSet(joined);
  }

  intersect(other: NumberSet): NumberSet {
    const parts = this.ranges.flatMap(([first, last]) =>
      other.ranges.map(([otherFirst, otherLast]) =>
        NumberSet.range(larger(first, otherFirst), -larger(-last, -otherLast)),
      ),
    );
    return NumberSet.union(parts);
  }

  /** What is in this one and not in the other: between the other's ranges. */
  minus(other: NumberSet): NumberSet {
    const gaps: NumberSet[] = [];
    let from = 0n;
    for (const [first, last] of other.ranges) {
      gaps.push(NumberSet.range(from, first - 1n));
      from = last + 1n;
    }
    return this.intersect(NumberSet.union([...gaps, NumberSet.range(from, BEYOND)]));
  }

  has(number: bigint): boolean {
    return this.ranges.some(([first, last]) => number >= first && number <= last);
  }
}

/** `Math.max` does not take these. */
function larger(a: bigint, b: bigint): bigint {
  if (a > b) return a;
  return b;
}

const FIRST_V6 = 1n << 40n;
const BEYOND = 1n << 130n;
const EVERY_ADDRESS = NumberSet.range(0n, BEYOND);
/** Protocol in the high bits, port in the low sixteen; of protocols without ports all sixteen are one packet. */
const EVERY_SERVICE = NumberSet.range(0n, (256n << 16n) - 1n);
const PROTOCOL_BITS = { TCP: 6n << 16n, UDP: 17n << 16n, SCTP: 132n << 16n } as const;

interface Box {
  readonly sources: NumberSet;
  readonly destinations: NumberSet;
  readonly services: NumberSet;
}

/** Everything that may pass in each direction. */
export interface Allowed {
  readonly ingress: readonly Box[];
  readonly egress: readonly Box[];
}

export function allowedIn(model: ClusterModel): Allowed {
  const world = new World(model);
  return { ingress: world.allowed("ingress"), egress: world.allowed("egress") };
}

export function passes({ ingress, egress }: Allowed, packet: FiveTuple): boolean {
  const [source, destination] = [numberOf(packet.source), numberOf(packet.destination)];
  const service = (BigInt(packet.protocol) << 16n) | BigInt(packet.destinationPort);
  return [ingress, egress].every((boxes) =>
    boxes.some(
      ({ sources, destinations, services }) =>
        sources.has(source) && destinations.has(destination) && services.has(service),
    ),
  );
}

class World {
  readonly #model: ClusterModel;
  readonly #pods: readonly Endpoint[];
  readonly #everyPod: NumberSet;

  constructor(model: ClusterModel) {
    this.#model = model;
    this.#pods = model.endpoints.filter(
      ({ hostNetwork, phase }) => !hostNetwork && phase !== "Succeeded" && phase !== "Failed",
    );
    this.#everyPod = NumberSet.union(this.#pods.map(addressesOf));
  }

  /** What no policy governs, what is never governed, and what rules open. */
  allowed(direction: Direction): readonly Box[] {
    const governing = this.#model.policies.filter(({ types }) => types.includes(direction));
    const isolated = NumberSet.union(governing.map((policy) => this.#subjects(policy)));
    const boxes = [box(direction, EVERY_ADDRESS.minus(isolated), EVERY_ADDRESS, EVERY_SERVICE)];
    for (const pod of this.#pods) {
      const own = addressesOf(pod);
      boxes.push(box(direction, own, own, EVERY_SERVICE), box(direction, own, this.#nodeOf(pod), EVERY_SERVICE));
    }
    for (const policy of governing) {
      const subjects = this.#subjects(policy);
      for (const { peers, ports } of policy[direction]) {
        const others =
          peers.length === 0 ? EVERY_ADDRESS : NumberSet.union(peers.map((peer) => this.#peers(policy, peer)));
        const plain = ports.filter(({ port }) => typeof port !== "string").map(numberedPorts);
        const services = ports.length === 0 ? EVERY_SERVICE : NumberSet.union(plain);
        boxes.push(box(direction, subjects, others, services));
        for (const port of ports)
          boxes.push(...this.#named(port).map((named) => cut(named, direction, subjects, others)));
      }
    }
    return boxes;
  }

  #subjects({ namespace, podSelector }: NetworkPolicy): NumberSet {
    return this.#namespace(namespace).intersect(this.#selected(podSelector, (pod) => pod.labels));
  }

  #namespace(name: string): NumberSet {
    return NumberSet.union(this.#pods.filter(({ namespace }) => namespace === name).map(addressesOf));
  }

  #peers(policy: NetworkPolicy, peer: PolicyPeer): NumberSet {
    if (peer.kind === "ipBlock") return blockSet(peer.cidr).minus(NumberSet.union(peer.except.map(blockSet)));
    const where =
      peer.namespaceSelector === undefined
        ? this.#namespace(policy.namespace)
        : this.#selected(peer.namespaceSelector, ({ namespace }) => this.#labelsOf(namespace));
    return peer.podSelector === undefined
      ? where
      : where.intersect(this.#selected(peer.podSelector, (pod) => pod.labels));
  }

  #labelsOf(namespace: string): Labels {
    return this.#model.namespaces.find(({ name }) => name === namespace)?.labels ?? new Map();
  }

  /** Addresses of the pods whose labels, or whose namespace's, the selector selects. */
  #selected({ matchLabels, matchExpressions }: LabelSelector, labelsOf: (pod: Endpoint) => Labels): NumberSet {
    const having = (key: string, values?: readonly string[]) =>
      NumberSet.union(
        this.#pods
          .filter((pod) => [...labelsOf(pod)].some(([own, value]) => own === key && (values?.includes(value) ?? true)))
          .map(addressesOf),
      );
    const requirement = ({ key, operator, values }: LabelRequirement): NumberSet => {
      switch (operator) {
        case "In":
          return having(key, values);
        case "NotIn":
          return this.#everyPod.minus(having(key, values));
        case "Exists":
          return having(key);
        case "DoesNotExist":
          return this.#everyPod.minus(having(key));
      }
    };
    const parts = [...matchLabels.map(([key, value]) => having(key, [value])), ...matchExpressions.map(requirement)];
    return parts.reduce((all, part) => all.intersect(part), this.#everyPod);
  }

  /** Addresses of the node the pod is on that no pod has. */
  #nodeOf({ node }: Endpoint): NumberSet {
    const guests = this.#model.endpoints.filter(
      (pod) => pod.hostNetwork && pod.node === node && pod.phase !== "Succeeded" && pod.phase !== "Failed",
    );
    const own = this.#model.nodes.filter(({ name }) => name === node);
    return NumberSet.union([...own, ...guests].map(addressesOf)).minus(this.#everyPod);
  }

  /** A name is another number on each pod: boxes of one destination. */
  #named({ port, protocol }: PolicyPort): readonly Pick<Box, "destinations" | "services">[] {
    if (typeof port !== "string") return [];
    return this.#pods.flatMap((pod) =>
      pod.ports
        .filter((own) => own.container !== "init" && own.name === port && own.protocol === protocol)
        .map((own) => ({ destinations: addressesOf(pod), services: serviceRange(protocol, own.port, own.port) })),
    );
  }
}

function box(direction: Direction, subjects: NumberSet, peers: NumberSet, services: NumberSet): Box {
  return direction === "ingress"
    ? { sources: peers, destinations: subjects, services }
    : { sources: subjects, destinations: peers, services };
}

function cut(
  { destinations, services }: Pick<Box, "destinations" | "services">,
  direction: Direction,
  subjects: NumberSet,
  peers: NumberSet,
): Box {
  const whole = box(direction, subjects, peers, services);
  return { ...whole, destinations: whole.destinations.intersect(destinations) };
}

function numberedPorts({ protocol, port, endPort }: PolicyPort): NumberSet {
  return typeof port === "number" ? serviceRange(protocol, port, endPort ?? port) : serviceRange(protocol, 0, 65_535);
}

function serviceRange(protocol: PolicyPort["protocol"], first: number, last: number): NumberSet {
  const base = PROTOCOL_BITS[protocol];
  return NumberSet.range(base | BigInt(first), base | BigInt(last));
}

function addressesOf({ addresses }: { readonly addresses: readonly IpAddress[] }): NumberSet {
  return NumberSet.union(addresses.map((address) => NumberSet.range(numberOf(address), numberOf(address))));
}

function blockSet(block: Cidr): NumberSet {
  const size = 1n << BigInt((block.family === 4 ? 32 : 128) - block.prefixLength);
  const first = (wordsValue(block) / size) * size + baseOf(block);
  return NumberSet.range(first, first + size - 1n);
}

function numberOf(address: IpAddress): bigint {
  return wordsValue(address) + baseOf(address);
}

function baseOf({ family }: Pick<IpAddress, "family">): bigint {
  return family === 4 ? 0n : FIRST_V6;
}

function wordsValue({ words }: Pick<IpAddress, "words">): bigint {
  return words.reduce((value, word) => value * 4_294_967_296n + BigInt(word >>> 0), 0n);
}
