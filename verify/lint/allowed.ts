/**
 * What rules allow, as sets: the classes of packets of space.ts, so that "this adds nothing to that" is arithmetic.
 *
 * An allowed set is a list of products, peers × services: bits over the atoms of addresses of both families times bits
 * over the atoms of services. A rule makes one product, or one for each way in which its port names resolve. Whether one
 * set lies in others is asked service by service: the union of peers there, and what is left of ours outside of it. The
 * naive way, pod pairs and ports, is the product written out; here a thousand pods are one number.
 */
import type { Direction, Endpoint, PolicyPort } from "../../compiler/model.ts";
import type { ResolvedCluster, ResolvedPeer, ResolvedRule } from "../../compiler/resolve.ts";
import { type Cidr, cidrContains, compareCidrs } from "../../dataplane/address.ts";
import { parseProtocol } from "../../dataplane/packet.ts";
import { type AddressAtom, packetSpaces, type ServiceAtom } from "../space.ts";

/** Bit i: atom i. */
export type Bits = bigint;

export interface Product {
  /** Atoms of `Universe.addresses`. */
  readonly peers: Bits;
  /** Atoms of `Universe.services`; the bit after the last stands for everything without ports. */
  readonly services: Bits;
}

export const NOTHING: Bits = 0n;

export class Universe {
  readonly addresses: readonly AddressAtom[];
  /** Those with ports. */
  readonly services: readonly ServiceAtom[];
  readonly everyPeer: Bits;
  readonly everyService: Bits;
  readonly #atomsOfPod = new Map<Endpoint, Bits>();
  readonly #peers = new WeakMap<ResolvedPeer, Bits>();

  constructor(cluster: ResolvedCluster) {
    const spaces = packetSpaces(cluster, []);
    this.addresses = spaces.flatMap(({ addresses }) => addresses);
    // Policies speak of ports alone, and of the same ones in both families.
    this.services = (spaces[0]?.services ?? []).filter(({ ports }) => ports !== undefined);
    this.everyPeer = (1n << BigInt(this.addresses.length)) - 1n;
    this.everyService = (1n << BigInt(this.services.length + 1)) - 1n;
    for (const [index, { pod }] of this.addresses.entries()) {
      if (pod !== undefined) this.#atomsOfPod.set(pod, (this.#atomsOfPod.get(pod) ?? NOTHING) | (1n << BigInt(index)));
    }
  }

  pod(pod: Endpoint): Bits {
    return this.#atomsOfPod.get(pod) ?? NOTHING;
  }

  peer(peer: ResolvedPeer): Bits {
    let bits = this.#peers.get(peer);
    if (bits === undefined) {
      bits =
        peer.kind === "pods"
          ? peer.members.reduce((all, pod) => all | this.pod(pod), NOTHING)
          : this.block(peer.cidr) & ~peer.except.reduce((all, cidr) => all | this.block(cidr), NOTHING);
      this.#peers.set(peer, bits);
    }
    return bits;
  }

  /** Atoms come in order of their prefixes, a prefix before those inside it: what lies in a block is one run of them. */
  block(cidr: Cidr): Bits {
    const first = firstWhere(this.addresses, ({ prefix }) => isNotBefore(prefix, cidr));
    const inside = this.addresses.slice(first);
    const count = firstWhere(inside, ({ prefix }) => !cidrContains(cidr, prefix));
    return ((1n << BigInt(count)) - 1n) << BigInt(first);
  }

  /** The services of a rule's port, for the pod on which its name is looked up. */
  port(port: PolicyPort, destination: Endpoint | undefined): Bits {
    const protocol = parseProtocol(port.protocol);
    const within = rangesOf(port, destination);
    let bits = NOTHING;
    for (const [index, { protocol: own, ports }] of this.services.entries()) {
      if (own !== protocol || ports === undefined) continue;
      if (within.some(({ first, last }) => ports.first >= first && ports.last <= last)) bits |= 1n << BigInt(index);
    }
    return bits;
  }

  /** What the rule allows the subject, of the peers at hand. */
  rule(rule: Pick<ResolvedRule, "peers" | "ports">, subject: Endpoint, direction: Direction): readonly Product[] {
    const peers =
      rule.peers.length === 0 ? this.everyPeer : rule.peers.reduce((all, peer) => all | this.peer(peer), NOTHING);
    if (rule.ports.length === 0) return nonEmpty([{ peers, services: this.everyService }]);
    const services = (ports: readonly PolicyPort[], destination: Endpoint | undefined) =>
      ports.reduce((all, port) => all | this.port(port, destination), NOTHING);
    if (direction === "ingress") return nonEmpty([{ peers, services: services(rule.ports, subject) }]);
    const named = rule.ports.filter(({ port }) => typeof port === "string");
    const numeric = rule.ports.filter(({ port }) => typeof port !== "string");
    const bySpan = new Map<Bits, Bits>();
    if (named.length > 0) {
      for (const [pod, bits] of this.#atomsOfPod) {
        const shared = bits & peers;
        const span = shared === NOTHING ? NOTHING : services(named, pod);
        bySpan.set(span, (bySpan.get(span) ?? NOTHING) | shared);
      }
    }
    const resolved = [...bySpan].map(([span, these]): Product => ({ peers: these, services: span }));
    return nonEmpty([{ peers, services: services(numeric, undefined) }, ...resolved]);
  }
}

/** The index of the first item for which `holds`, which holds for all after it; the length when for none. */
function firstWhere<T>(items: readonly T[], holds: (item: T) => boolean): number {
  let [low, high] = [0, items.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    const item = items[middle];
    if (item !== undefined && holds(item)) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** In the order of `addresses`: IPv4 first. */
function isNotBefore(prefix: Cidr, cidr: Cidr): boolean {
  return prefix.family === cidr.family ? compareCidrs(prefix, cidr) >= 0 : prefix.family > cidr.family;
}

function nonEmpty(products: readonly Product[]): readonly Product[] {
  return products.filter(({ peers, services }) => peers !== NOTHING && services !== NOTHING);
}

const ALL_PORTS = { first: 0, last: 65_535 } as const;

function rangesOf(
  { port, endPort, protocol }: PolicyPort,
  destination: Endpoint | undefined,
): readonly { readonly first: number; readonly last: number }[] {
  if (port === undefined) return [ALL_PORTS];
  if (typeof port === "number") return [{ first: port, last: endPort ?? port }];
  const declared = destination?.ports.filter(
    (one) => one.name === port && one.protocol === protocol && one.container !== "init",
  );
  return (declared ?? []).map((one) => ({ first: one.port, last: one.port }));
}

/** Peers by service: the i-th are those that may use service i. */
export type ByService = readonly Bits[];

/** The union of products, service by service. */
export function byService({ services }: Universe, products: readonly Product[]): ByService {
  return Array.from({ length: services.length + 1 }, (_, index) => {
    const bit = 1n << BigInt(index);
    return products.reduce(
      (all, product) => ((product.services & bit) === NOTHING ? all : all | product.peers),
      NOTHING,
    );
  });
}

export function union(a: ByService, b: ByService): ByService {
  return a.map((bits, index) => bits | (b[index] ?? NOTHING));
}

/** Whether everything in `inner` is in `outer`. */
export function liesWithin(inner: ByService, outer: ByService): boolean {
  return inner.every((bits, index) => (bits & ~(outer[index] ?? NOTHING)) === NOTHING);
}
