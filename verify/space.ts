/**
 * The packets a set of programs can tell apart, as a finite space.
 *
 * Problem: "for all first packets of connections, these two sides agree" is a statement about 2^100 packets. The naive
 * way samples them, and misses the one address inside the second except. The way here: no side reads an address other
 * than through prefixes (rules, set members, blocks of policies, addresses of pods and nodes), a port other than through
 * ranges, a protocol other than by number. So all addresses in the same prefixes are one to every side, and likewise
 * all ports between two bounds: an *atom*, for which one representative stands.
 *
 * Prefixes nest or are disjoint, so the atoms of addresses are the prefixes themselves, each less the ones inside it: n
 * prefixes make at most n + 1 atoms, where membership in n arbitrary sets would make 2^n. Bounds make at most 2n + 1
 * atoms of ports. The product is what has to be asked.
 *
 * The invariant: a verdict is a function of the atoms of source, destination and service. It holds for every side
 * whose prefixes and ranges were given to `packetSpaces`. The price: each pod is an atom of its own, so the product
 * grows with the square of the pods.
 *
 * Not dimensions: connection state (these packets begin a connection, so they are new: a SYN, an INIT, an ICMP question),
 * marks (none on arrival), devices (an address comes from where it is: nobody spoofs), and what `blindSpots` names.
 */
import type { Endpoint } from "../compiler/model.ts";
import type { ResolvedCluster } from "../compiler/resolve.ts";
import type { Deviation } from "../compiler/strategies/strategy.ts";
import {
  addressBits,
  type Cidr,
  cidrContains,
  compareCidrs,
  type Family,
  formatAddress,
  formatCidr,
  type IpAddress,
  parseAddress,
  parseCidr,
} from "../dataplane/address.ts";
import { makePacket, type Packet, PROTOCOL, protocolName } from "../dataplane/packet.ts";
import type { Program } from "../dataplane/program.ts";
import { icmpOf, icmpQuestions, LAST_PORT, SpaceReads } from "./spaceReads.ts";

/** Addresses that nobody can tell apart: a prefix less the prefixes inside it. */
export interface AddressAtom {
  readonly prefix: Cidr;
  /** The prefixes taken out, outermost only. */
  readonly holes: readonly Cidr[];
  readonly representative: IpAddress;
  readonly size: bigint;
  /** The pod on the pod network, or the node, whose address this is. */
  readonly pod: Endpoint | undefined;
  readonly node: string | undefined;
}

/** Protocols and ports that nobody can tell apart. */
export interface ServiceAtom {
  /** Undefined: every protocol that is not named by another atom. */
  readonly protocol: number | undefined;
  /** The inclusive range of destination ports; undefined where the protocol has none. */
  readonly ports: { readonly first: number; readonly last: number } | undefined;
  /** The types of ICMP messages; undefined for other protocols. */
  readonly icmpTypes: readonly number[] | undefined;
  /** A protocol of the atom. */
  readonly representative: number;
  readonly size: bigint;
}

export interface PacketSpace {
  readonly family: Family;
  readonly addresses: readonly AddressAtom[];
  readonly services: readonly ServiceAtom[];
}

/** The representative of one tuple of atoms: the first packet of a connection. */
export function packetOf(source: AddressAtom, destination: AddressAtom, service: ServiceAtom): Packet {
  return makePacket({
    protocol: service.representative,
    source: source.representative,
    destination: destination.representative,
    destinationPort: service.ports?.first ?? 0,
    ...(service.icmpTypes?.[0] !== undefined && { icmpType: service.icmpTypes[0] }),
  });
}

/**
 * Whether packets between the atoms meet a node of the cluster: one end is a pod or a node, and they are not both the
 * same pod or node, whose traffic to itself never leaves it.
 */
export function isOnTheWay(source: AddressAtom, destination: AddressAtom): boolean {
  if (source.pod !== undefined && source.pod === destination.pod) return false;
  if (source.node !== undefined && source.node === destination.node) return false;
  return [source, destination].some(({ pod, node }) => pod !== undefined || node !== undefined);
}

/** The spaces of a cluster and everything that is to be asked about it, one a family that has pods. */
export function packetSpaces(
  cluster: ResolvedCluster,
  programs: readonly Program[],
  deviations: readonly Deviation[] = [],
): readonly PacketSpace[] {
  const families = ([4, 6] as const).filter((family) =>
    cluster.pods.some(({ addresses }) => addresses.some((address) => address.family === family)),
  );
  return families.map((family) => {
    const reads = new SpaceReads(family);
    reads.cluster(cluster);
    for (const program of programs) reads.program(program);
    for (const { reads: own } of deviations) if (own !== undefined) reads.deviation(own);
    return { family, addresses: addressAtoms(cluster, reads.prefixes, family), services: serviceAtoms(reads) };
  });
}

/** Packets of the space, the state that begins a connection taken as one. */
export function spaceSize({ addresses, services }: PacketSpace): bigint {
  const perService = services.reduce((sum, { size }) => sum + size, 0n);
  let pairs = 0n;
  for (const source of addresses) {
    for (const destination of addresses) {
      if (isOnTheWay(source, destination)) pairs += source.size * destination.size;
    }
  }
  return pairs * perService;
}

/** Addresses that never travel: a packet with one is not on any way. */
const LOOPBACK = ["127.0.0.0/8", "::1/128"].flatMap((text) => parseCidr(text) ?? []);

function addressAtoms(cluster: ResolvedCluster, found: readonly Cidr[], family: Family): readonly AddressAtom[] {
  const bits = addressBits(family);
  const everything: Cidr = { family, words: new Array<number>(bits / 32).fill(0), prefixLength: 0 };
  const pods = new Map<string, Endpoint>();
  const nodes = new Map<string, string>();
  // A pod on the host network lists addresses of its node, which the node's own status need not repeat.
  const guests = cluster.model.endpoints.filter((pod) => pod.hostNetwork && pod.node !== "");
  for (const { node, addresses } of guests) for (const address of addresses) nodes.set(formatAddress(address), node);
  for (const { name, addresses } of cluster.model.nodes) {
    for (const address of addresses) nodes.set(formatAddress(address), name);
  }
  for (const pod of cluster.pods) for (const address of pod.addresses) pods.set(formatAddress(address), pod);
  const loopback = LOOPBACK.filter((cidr) => cidr.family === family);
  const all = new Map([everything, ...loopback, ...found].map((cidr) => [formatCidr(cidr), cidr]));
  const sorted = [...all.values()].sort(compareCidrs);
  const holes = new Map<Cidr, Cidr[]>();
  const around: Cidr[] = [];
  for (const cidr of sorted) {
    while (around.length > 0 && !cidrContains(around.at(-1) ?? cidr, cidr)) around.pop();
    const parent = around.at(-1);
    if (parent !== undefined) {
      const inner = holes.get(parent);
      if (inner === undefined) holes.set(parent, [cidr]);
      else inner.push(cidr);
    }
    around.push(cidr);
  }
  return sorted.flatMap((prefix): AddressAtom[] => {
    if (loopback.some((cidr) => cidrContains(cidr, prefix))) return [];
    const inner = holes.get(prefix) ?? [];
    const representative = firstOutside(prefix, inner);
    if (representative === undefined) return [];
    const text = formatAddress(representative);
    const own = prefix.prefixLength === bits;
    return [
      {
        prefix,
        holes: inner,
        representative,
        size: inner.reduce((left, hole) => left - sizeOf(hole), sizeOf(prefix)),
        pod: own ? pods.get(text) : undefined,
        node: own && !pods.has(text) ? nodes.get(text) : undefined,
      },
    ];
  });
}

function sizeOf({ family, prefixLength }: Cidr): bigint {
  return 1n << BigInt(addressBits(family) - prefixLength);
}

/** Addresses for documentation (RFC 5737, RFC 3849): what people take for "somewhere outside". */
const FAMILIAR = ["203.0.113.9", "198.51.100.9", "192.0.2.9", "2001:db8::9"].flatMap(
  (text) => parseAddress(text) ?? [],
);

/** A familiar address of the prefix, or the lowest one, that is in none of its holes, which come in order. */
function firstOutside(prefix: Cidr, holes: readonly Cidr[]): IpAddress | undefined {
  const familiar = FAMILIAR.find(
    (address) => cidrContains(prefix, address) && !holes.some((hole) => cidrContains(hole, address)),
  );
  if (familiar !== undefined) return familiar;
  let candidate = numberOf(prefix);
  for (const hole of holes) {
    if (candidate < numberOf(hole)) break;
    candidate = numberOf(hole) + sizeOf(hole);
  }
  return candidate < numberOf(prefix) + sizeOf(prefix) ? addressOf(candidate, prefix.family) : undefined;
}

function numberOf({ words }: Pick<Cidr, "words">): bigint {
  return words.reduce((value, word) => (value << 32n) | BigInt(word >>> 0), 0n);
}

function addressOf(value: bigint, family: Family): IpAddress {
  const count = addressBits(family) / 32;
  const words = Array.from(
    { length: count },
    (_, index) => Number((value >> BigInt(32 * (count - 1 - index))) & 0xffffffffn) | 0,
  );
  return { family, words };
}

/* ------------------------------------------------------------------------------------------------------------------ */

function serviceAtoms({ family, starts, protocols, icmpTypes }: SpaceReads): readonly ServiceAtom[] {
  const atoms: ServiceAtom[] = [];
  for (const [protocol, own] of starts) {
    const sorted = [...own].sort((a, b) => a - b);
    for (const [index, first] of sorted.entries()) {
      const last = (sorted[index + 1] ?? LAST_PORT + 1) - 1;
      const size = BigInt(last - first + 1);
      atoms.push({ protocol, ports: { first, last }, icmpTypes: undefined, representative: protocol, size });
    }
  }
  const icmp = icmpOf(family);
  const questions = [...icmpQuestions(family)];
  // The echo request is what people mean by ICMP, and stands alone also when nobody reads types.
  const alone = questions.filter((type) => icmpTypes.has(type) || type === ECHO_REQUEST[family]);
  const together = questions.filter((type) => !alone.includes(type));
  for (const types of [...alone.map((type) => [type]), together]) {
    const size = BigInt(types.length);
    if (size > 0n) atoms.push({ protocol: icmp, ports: undefined, icmpTypes: types, representative: icmp, size });
  }
  const taken = new Set([icmp, ...starts.keys()]);
  for (const protocol of protocols) {
    if (taken.has(protocol)) continue;
    taken.add(protocol);
    atoms.push({ protocol, ports: undefined, icmpTypes: undefined, representative: protocol, size: 1n });
  }
  const representative = unnamed(taken);
  if (representative === undefined) return atoms;
  const size = BigInt(PROTOCOL_COUNT - taken.size);
  return [...atoms, { protocol: undefined, ports: undefined, icmpTypes: undefined, representative, size }];
}

const ECHO_REQUEST: Readonly<Record<Family, number>> = { 4: 8, 6: 128 };

/** The protocol field has eight bits. */
const PROTOCOL_COUNT = 256;

/** A protocol that nobody names, GRE unless somebody does; undefined: every one is named. */
function unnamed(taken: ReadonlySet<number>): number | undefined {
  for (let count = 0; count < PROTOCOL_COUNT; count++) {
    const protocol = (PROTOCOL.gre + count) % PROTOCOL_COUNT;
    if (!taken.has(protocol)) return protocol;
  }
  return undefined;
}

/** Services in words, neighbours joined: `tcp/80`, `udp/1024-65535`, `icmp`, `other protocols`. */
export function servicesText(services: readonly ServiceAtom[]): readonly string[] {
  const ported = new Map<number, { first: number; last: number }[]>();
  const others: string[] = [];
  for (const { protocol, ports, icmpTypes } of services) {
    if (protocol === undefined) others.push("other protocols");
    else if (icmpTypes !== undefined) others.push(...icmpTypes.map((type) => `${protocolName(protocol)} type ${type}`));
    else if (ports === undefined) others.push(protocolName(protocol));
    else {
      const ranges = ported.get(protocol) ?? [];
      ported.set(protocol, ranges);
      const previous = ranges.at(-1);
      if (previous !== undefined && previous.last + 1 === ports.first) previous.last = ports.last;
      else ranges.push({ ...ports });
    }
  }
  const texts = [...ported].flatMap(([protocol, ranges]) => ranges.map((range) => rangeText(protocol, range)));
  return [...texts, ...others];
}

function rangeText(protocol: number, { first, last }: { readonly first: number; readonly last: number }): string {
  const name = protocolName(protocol);
  if (first === 0 && last === LAST_PORT) return name;
  return first === last ? `${name}/${first}` : `${name}/${first}-${last}`;
}
