/**
 * What anybody reads of a packet: the prefixes of addresses, the bounds of ports, the protocols and the types of ICMP that
 * policies, programs and deviations distinguish in one family. Where these are complete, the atoms of space.ts are right.
 */
import type { Endpoint, NetworkPolicy } from "../compiler/model.ts";
import type { ResolvedCluster } from "../compiler/resolve.ts";
import type { OwnReads } from "../compiler/strategies/strategy.ts";
import { type Cidr, type Family, hostCidr, parseCidr } from "../dataplane/address.ts";
import { ICMP_QUESTIONS, ICMPV6_QUESTIONS } from "../dataplane/conntrack/icmp.ts";
import {
  decodeBlockKey,
  decodeIpcacheKey,
  decodePolicyKey,
  decodePolicyValue,
  decodeTupleKey,
  isTupleAccept,
  type TupleMapKey,
} from "../dataplane/maps/layout.ts";
import { hasPorts, PROTOCOL, parseProtocol } from "../dataplane/packet.ts";
import type {
  Attachment,
  IPSetMember,
  MapEntry,
  MapProgram,
  Match,
  PortRange,
  Program,
  Rule,
  TableProgram,
} from "../dataplane/program.ts";

/** The last number of a port. */
export const LAST_PORT = 65_535;

/** The protocols with ports that a policy can name. */
const POLICY_PROTOCOLS = [PROTOCOL.tcp, PROTOCOL.udp, PROTOCOL.sctp] as const;

/** The family's own ICMP. */
export function icmpOf(family: Family): number {
  return family === 4 ? PROTOCOL.icmp : PROTOCOL.icmpv6;
}

/** The types of the family's ICMP with which a connection begins. */
export function icmpQuestions(family: Family): ReadonlySet<number> {
  return family === 4 ? ICMP_QUESTIONS : ICMPV6_QUESTIONS;
}

/**
 * What `-m addrtype` and `-m rpfilter` know of addresses without being told (matches.ts): broadcast, multicast and the
 * link-local part of it, the unspecified address, addresses of IPv4 in IPv6.
 */
function specialPrefixes(): readonly Cidr[] {
  special ??= [
    "0.0.0.0/8",
    "255.255.255.255/32",
    "224.0.0.0/4",
    "224.0.0.0/24",
    "ff00::/8",
    "::/128",
    "::ffff:0:0/96",
  ].flatMap((text) => parseCidr(text) ?? []);
  return special;
}

/** Read when it is first asked for: the first IPv6 text takes milliseconds. */
let special: readonly Cidr[] | undefined;

/** Collects what is read, of one family. */
export class SpaceReads {
  readonly family: Family;
  readonly prefixes: Cidr[] = [];
  /** Protocols that are named, with or without ports. */
  readonly protocols = new Set<number>();
  /** Where atoms of destination ports begin, by protocol. */
  readonly starts = new Map<number, Set<number>>(POLICY_PROTOCOLS.map((protocol) => [protocol, new Set([0])]));
  readonly icmpTypes = new Set<number>();

  constructor(family: Family) {
    this.family = family;
  }

  prefix(cidr: Cidr): void {
    if (cidr.family === this.family) this.prefixes.push(cidr);
  }

  /** A range of destination ports; `protocol` undefined: of every protocol that has them. */
  ports(protocol: number | undefined, first: number, last: number): void {
    const read =
      protocol === undefined
        ? [...POLICY_PROTOCOLS, PROTOCOL.udplite, PROTOCOL.dccp]
        : hasPorts(protocol)
          ? [protocol]
          : [];
    for (const one of read) {
      const starts = this.starts.get(one) ?? new Set([0]);
      this.starts.set(one, starts);
      starts.add(first);
      if (last < LAST_PORT) starts.add(last + 1);
    }
  }

  /** What policies, pods and nodes say. Also addresses of pods that are on no pod network: somebody may still read them. */
  cluster({ model }: ResolvedCluster): void {
    for (const policy of model.policies) this.policy(policy);
    for (const pod of model.endpoints) this.containers(pod);
    for (const { addresses } of [...model.endpoints, ...model.nodes]) {
      for (const address of addresses) this.prefix(hostCidr(address));
    }
  }

  policy({ ingress, egress }: NetworkPolicy): void {
    for (const { peers, ports } of [...ingress, ...egress]) {
      for (const peer of peers) {
        if (peer.kind === "ipBlock") for (const cidr of [peer.cidr, ...peer.except]) this.prefix(cidr);
      }
      for (const { port, endPort, protocol } of ports) {
        if (typeof port !== "number") continue;
        this.ports(parseProtocol(protocol), port, port); // all that solutions read which know no endPort
        if (endPort !== undefined) this.ports(parseProtocol(protocol), port, endPort);
      }
    }
  }

  containers({ ports }: Pick<Endpoint, "ports">): void {
    for (const { port, protocol } of ports) this.ports(parseProtocol(protocol), port, port);
  }

  deviation({ prefixes = [], services = [] }: OwnReads): void {
    for (const prefix of prefixes) this.prefix(prefix);
    for (const { protocol, ports, icmpTypes = [] } of services) {
      if (protocol === (this.family === 4 ? PROTOCOL.icmpv6 : PROTOCOL.icmp)) continue;
      this.protocols.add(protocol);
      if (ports !== undefined) this.ports(protocol, ports.first, ports.last);
      for (const type of icmpTypes) this.icmpTypes.add(type);
    }
  }

  program(program: Program): void {
    this.#attachment(program.attachment);
    switch (program.kind) {
      case "tables":
        this.#tables(program);
        return;
      case "maps":
        this.#maps(program);
        return;
    }
  }

  #attachment({ localAddresses, remotePodAddresses, pods }: Attachment): void {
    for (const addresses of [localAddresses, remotePodAddresses, ...pods.map((pod) => pod.addresses)]) {
      for (const address of addresses) this.prefix(hostCidr(address));
    }
  }

  #tables(program: TableProgram): void {
    for (const { family, members } of program.sets) {
      if (family !== this.family) continue;
      for (const member of members) this.member(member);
    }
    for (const { matches } of rulesOf(program, this.family)) this.matches(matches);
  }

  /** Of a set of the family. */
  member(member: IPSetMember): void {
    if (member.kind === "set") return;
    this.prefix(member.cidr);
    if (member.kind === "netPort") this.#service(member.protocol, member.port, member.port);
  }

  /** Of one rule. */
  matches(matches: readonly Match[]): void {
    const named = matches.find((match) => match.kind === "protocol" && !match.negate);
    const protocol = named?.kind === "protocol" ? named.protocol : undefined;
    for (const match of matches) {
      if (match.kind === "address") this.prefix(match.cidr);
      else if (match.kind === "protocol") this.protocols.add(match.protocol);
      else if (match.kind === "icmp") this.icmpTypes.add(match.type);
      else if (match.kind === "ports") {
        const own = match.extension === "multiport" ? protocol : PROTOCOL[match.extension];
        for (const { first, last } of match.ranges) this.ports(own, first, last);
      } else if (match.kind === "rpfilter" || (match.kind === "addressType" && match.type !== "LOCAL")) {
        for (const cidr of specialPrefixes()) this.prefix(cidr);
      }
    }
  }

  #maps({ maps, attachPoints }: MapProgram): void {
    const entries = new Map(maps.map((map) => [map.name, map.entries]));
    const plans = new Map(attachPoints.map(({ plan }) => [JSON.stringify(plan), plan]));
    const ranges = new PortRuns();
    const read = new Set<string>();
    const each = (map: string, visit: (entry: MapEntry) => void) => {
      if (!read.has(map)) entries.get(map)?.forEach(visit);
      read.add(map);
    };
    for (const plan of plans.values()) {
      switch (plan.kind) {
        case "identity":
          each(plan.ipcache, ({ key }) => this.prefix(decodeIpcacheKey(key)));
          each(plan.policy, ({ key, value }) => {
            const { protocol, port, portBits, direction, identity } = decodePolicyKey(key);
            const { deny, precedence } = decodePolicyValue(value);
            const count = 2 ** (16 - portBits);
            const first = port - (port % count);
            // Denials are compared by their prefix length as well, so each keeps its own bounds.
            const alone = deny ? ` ${port}/${portBits}` : "";
            const group = `${plan.policy} ${direction} ${identity} ${precedence}${alone}`;
            if (protocol !== 0) ranges.add(group, { protocol, first, last: first + count - 1 });
          });
          break;
        case "tuple": {
          // Port 0 stands for every port, protocol 0 for every protocol; a packet to port 0 reads the same entry.
          const tuple = (map: string, { peer, protocol, port }: TupleMapKey, value: Uint8Array) => {
            if (peer.family !== this.family) return;
            this.prefix(peer);
            const group = `${map} ${peer.words.join()}/${peer.prefixLength} ${isTupleAccept(value)}`;
            if (protocol !== 0)
              ranges.add(port === 0 ? `${group} every` : group, { protocol, first: port, last: port });
          };
          each(plan.exact, ({ key, value }) => tuple(plan.exact, decodeTupleKey(key), value));
          each(plan.blocks, ({ key, value }) => tuple(plan.blocks, decodeBlockKey(key), value));
          break;
        }
      }
    }
    for (const { protocol, first, last } of ranges.joined()) this.#service(protocol, first, last);
  }

  /** Of ICMP, maps read the type in the place of the port. */
  #service(protocol: number, first: number, last: number): void {
    this.protocols.add(protocol);
    this.ports(protocol, first, last);
    if (protocol !== icmpOf(this.family) || last === LAST_PORT) return;
    for (const type of icmpQuestions(this.family)) if (type >= first && type <= last) this.icmpTypes.add(type);
  }
}

interface ProtocolRange extends PortRange {
  readonly protocol: number;
}

/**
 * Ranges that a map spells out: as single ports in a hash, as prefixes of ports in a trie. Entries that differ in nothing
 * but the port and are neighbours mean one range, and only its ends can be told apart: 100 ports are one atom, not 100.
 */
class PortRuns {
  readonly #groups = new Map<string, ProtocolRange[]>();

  /** `group`: everything about the entry except protocol and port. */
  add(group: string, range: ProtocolRange): void {
    const key = `${range.protocol} ${group}`;
    const ranges = this.#groups.get(key);
    if (ranges === undefined) this.#groups.set(key, [range]);
    else ranges.push(range);
  }

  *joined(): Generator<ProtocolRange, void, void> {
    for (const ranges of this.#groups.values()) {
      let open: ProtocolRange | undefined;
      for (const range of ranges.sort((a, b) => a.first - b.first)) {
        if (open === undefined) open = range;
        else if (range.first <= open.last + 1) open = { ...open, last: Math.max(open.last, range.last) };
        else {
          yield open;
          open = range;
        }
      }
      if (open !== undefined) yield open;
    }
  }
}

function* rulesOf(program: TableProgram, family?: Family): Generator<Rule, void, void> {
  for (const one of program.families) {
    if (family !== undefined && one.family !== family) continue;
    for (const { chains } of one.tables) for (const { rules } of chains) yield* rules;
  }
}

/**
 * What programs read beside that: the space does not vary it, so a statement over the space is silent about it. Programs
 * of the strategies read none of it for the first packet of a connection.
 */
export function blindSpots(programs: readonly Program[]): readonly string[] {
  const found = new Set<string>();
  for (const program of programs) {
    if (program.kind === "maps") continue;
    for (const rule of rulesOf(program)) {
      for (const match of rule.matches) {
        const spot = blindSpot(match, rule);
        if (spot !== undefined) found.add(spot);
      }
      if (rule.target?.kind === "opaque") found.add(`what chainwalk cannot represent: ${rule.target.text}`);
    }
  }
  return [...found];
}

function blindSpot(match: Match, { target }: Rule): string | undefined {
  switch (match.kind) {
    case "ports":
      return match.side === "destination" ? undefined : "source ports";
    case "set":
      return match.sides[1] === "source" ? "source ports" : undefined;
    case "tcpFlags":
      return "TCP flags";
    case "icmp":
      return match.code === undefined ? undefined : "ICMP codes";
    case "fragment":
      return "fragments";
    case "limit":
      // A bucket that only decides what is logged decides nothing about the packet.
      return target === undefined || target.kind === "log" ? undefined : "rates of packets";
    case "opaque":
      return `what chainwalk cannot represent: ${match.text}`;
    default:
      return undefined;
  }
}
