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
 * grows with the square of the pods. Connection state is not a dimension: these are packets that begin a connection.
 */
import type { Endpoint } from "../compiler/model.ts";
import type { ResolvedCluster } from "../compiler/resolve.ts";
import {
  addressBits,
  type Cidr,
  cidrContains,
  compareCidrs,
  type Family,
  formatAddress,
  formatCidr,
  hostCidr,
  type IpAddress,
  parseAddress,
  parseCidr,
} from "../dataplane/address.ts";
import { makePacket, type Packet, PROTOCOL, parseProtocol, protocolName } from "../dataplane/packet.ts";
import type { Match, Program } from "../dataplane/program.ts";

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
  });
}

/**
 * Whether packets between the atoms reach a node of the cluster: one end is a pod or a node, and they are not both the same pod
 * or node, whose traffic to itself never leaves it.
 */
export function isOnTheWay(source: AddressAtom, destination: AddressAtom): boolean {
  if (source.pod === undefined && destination.pod === undefined) return false;
  if (source.pod !== undefined && source.pod === destination.pod) return false;
  return true;
}

/** The spaces of a cluster and everything that is to be asked about it, one a family that has pods. */
export function packetSpaces(cluster: ResolvedCluster, programs: readonly Program[]): readonly PacketSpace[] {
  const families = ([4, 6] as const).filter((family) =>
    cluster.pods.some(({ addresses }) => addresses.some((address) => address.family === family)),
  );
  const bounds = new ServiceBounds();
  readPolicyPorts(cluster, bounds);
  const prefixes = policyPrefixes(cluster);
  for (const program of programs) readProgram(program, prefixes, bounds);
  return families.map((family) => ({
    family,
    addresses: addressAtoms(
      cluster,
      prefixes.filter((prefix) => prefix.family === family),
      family,
    ),
    services: bounds.atoms(family),
  }));
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

function policyPrefixes({ model }: ResolvedCluster): Cidr[] {
  return model.policies.flatMap(({ ingress, egress }) =>
    [...ingress, ...egress].flatMap(({ peers }) =>
      peers.flatMap((peer) => (peer.kind === "ipBlock" ? [peer.cidr, ...peer.except] : [])),
    ),
  );
}

/** Addresses that never travel: a packet with one is not on any way. */
const LOOPBACK = ["127.0.0.0/8", "::1/128"].flatMap((text) => parseCidr(text) ?? []);

function addressAtoms(cluster: ResolvedCluster, found: readonly Cidr[], family: Family): readonly AddressAtom[] {
  const bits = addressBits(family);
  const everything: Cidr = { family, words: new Array<number>(bits / 32).fill(0), prefixLength: 0 };
  const pods = new Map<string, Endpoint>();
  const nodes = new Map<string, string>();
  for (const { name, addresses } of cluster.model.nodes) {
    for (const address of addresses) nodes.set(formatAddress(address), name);
  }
  for (const pod of cluster.pods) for (const address of pod.addresses) pods.set(formatAddress(address), pod);
  const hosts = [
    ...cluster.pods.flatMap(({ addresses }) => addresses),
    ...cluster.model.nodes.flatMap(({ addresses }) => addresses),
  ].filter((address) => address.family === family);
  const loopback = LOOPBACK.filter((cidr) => cidr.family === family);
  const all = new Map(
    [everything, ...loopback, ...found, ...hosts.map(hostCidr)].map((cidr) => [formatCidr(cidr), cidr]),
  );
  const sorted = [...all.values()].sort(compareCidrs);
  const holes = new Map<Cidr, Cidr[]>();
  const around: Cidr[] = [];
  for (const cidr of sorted) {
    while (around.length > 0 && !cidrContains(around.at(-1) ?? cidr, cidr)) around.pop();
    const parent = around.at(-1);
    if (parent !== undefined) holes.set(parent, [...(holes.get(parent) ?? []), cidr]);
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

/** Protocols whose ports policies and programs read. */
const PORTED = [PROTOCOL.tcp, PROTOCOL.udp, PROTOCOL.sctp] as const;
const LAST_PORT = 65_535;

/** Collects where ranges of ports begin, and which protocols are named at all. */
class ServiceBounds {
  /** First ports of atoms, by protocol. */
  readonly #starts = new Map<number, Set<number>>(PORTED.map((protocol) => [protocol, new Set([0])]));
  readonly #protocols = new Set<number>();

  protocol(protocol: number): void {
    this.#protocols.add(protocol);
  }

  /** `protocol` undefined: the range is read for every protocol with ports. */
  range(protocol: number | undefined, first: number, last: number): void {
    for (const ported of protocol === undefined ? PORTED : [protocol]) {
      const starts = this.#starts.get(ported);
      if (starts === undefined) continue; // a protocol that carries no ports of NetworkPolicy
      starts.add(first);
      if (last < LAST_PORT) starts.add(last + 1);
    }
  }

  atoms(family: Family): readonly ServiceAtom[] {
    const atoms: ServiceAtom[] = [];
    for (const [protocol, starts] of this.#starts) {
      const sorted = [...starts].sort((a, b) => a - b);
      for (const [index, first] of sorted.entries()) {
        const last = (sorted[index + 1] ?? LAST_PORT + 1) - 1;
        atoms.push({ protocol, ports: { first, last }, representative: protocol, size: BigInt(last - first + 1) });
      }
    }
    // Of ICMP only the echo request begins a connection that programs tell from others by more than its protocol.
    const icmp = family === 4 ? PROTOCOL.icmp : PROTOCOL.icmpv6;
    const foreign = family === 4 ? PROTOCOL.icmpv6 : PROTOCOL.icmp;
    const named = new Set([icmp, ...this.#protocols].filter((protocol) => !this.#starts.has(protocol)));
    named.delete(foreign);
    named.delete(0);
    for (const protocol of named) atoms.push({ protocol, ports: undefined, representative: protocol, size: 1n });
    const taken = named.size + this.#starts.size + 1;
    atoms.push({ protocol: undefined, ports: undefined, representative: unnamed(named), size: BigInt(256 - taken) });
    return atoms;
  }
}

/** A protocol that nobody names; GRE unless somebody does. */
function unnamed(named: ReadonlySet<number>): number {
  for (let protocol: number = PROTOCOL.gre; protocol < 132; protocol++) if (!named.has(protocol)) return protocol;
  throw new Error("every protocol is named");
}

function readPolicyPorts({ model }: ResolvedCluster, bounds: ServiceBounds): void {
  for (const { ingress, egress } of model.policies) {
    for (const { port, endPort, protocol } of [...ingress, ...egress].flatMap(({ ports }) => ports)) {
      if (typeof port === "number") bounds.range(parseProtocol(protocol), port, endPort ?? port);
    }
  }
  for (const { ports } of model.endpoints) {
    for (const { port, protocol } of ports) bounds.range(parseProtocol(protocol), port, port);
  }
}

function readProgram(program: Program, prefixes: Cidr[], bounds: ServiceBounds): void {
  // A map program is made of what policies, pods and nodes say, and reads nothing else.
  if (program.kind === "maps") return;
  for (const { members } of program.sets) {
    for (const member of members) {
      if (member.kind === "set") continue;
      prefixes.push(member.cidr);
      if (member.kind === "netPort") bounds.range(member.protocol, member.port, member.port);
    }
  }
  for (const { tables } of program.families) {
    for (const { chains } of tables) {
      for (const { rules } of chains) for (const { matches } of rules) readMatches(matches, prefixes, bounds);
    }
  }
}

function readMatches(matches: readonly Match[], prefixes: Cidr[], bounds: ServiceBounds): void {
  const named = matches.find((match) => match.kind === "protocol" && !match.negate);
  const protocol = named?.kind === "protocol" ? named.protocol : undefined;
  for (const match of matches) {
    if (match.kind === "address") prefixes.push(match.cidr);
    else if (match.kind === "protocol") bounds.protocol(match.protocol);
    else if (match.kind === "ports") for (const { first, last } of match.ranges) bounds.range(protocol, first, last);
  }
}

/** Services in words, neighbours joined: `tcp/80`, `udp/1024-65535`, `icmp`, `other protocols`. */
export function servicesText(services: readonly ServiceAtom[]): readonly string[] {
  const ported = new Map<number, { first: number; last: number }[]>();
  const others: string[] = [];
  for (const { protocol, ports } of services) {
    if (protocol === undefined) others.push("other protocols");
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

/**
 * What programs read beside address, protocol and destination port: the space does not vary it, so a statement over the
 * space is silent about it. Programs of the strategies read none of it for the first packet of a connection.
 */
export function blindSpots(programs: readonly Program[]): readonly string[] {
  const found = new Set<string>();
  for (const program of programs) {
    if (program.kind === "maps") continue;
    for (const { matches } of program.families
      .flatMap(({ tables }) => tables)
      .flatMap(({ chains }) => chains)
      .flatMap(({ rules }) => rules)) {
      for (const match of matches) {
        if (match.kind === "ports" && match.side !== "destination") found.add("source ports");
        else if (match.kind === "tcpFlags") found.add("TCP flags");
        else if (match.kind === "fragment") found.add("fragments");
        else if (match.kind === "opaque") found.add(`what chainwalk cannot represent: ${match.text}`);
      }
    }
  }
  return [...found];
}
