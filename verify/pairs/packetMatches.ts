/**
 * What matches that read the packet alone say of openings, whatever the node, as cubes: each end, or each port, is put to the
 * very test that a walk makes (tables/matches.ts, tables/ipset.ts), once for all packets it is part of.
 */
import { rememberedBy } from "../../compiler/again.ts";
import { addressBits } from "../../dataplane/address.ts";
import { CurrentPacket } from "../../dataplane/currentPacket.ts";
import { DeviceTable } from "../../dataplane/devices.ts";
import { hasPorts } from "../../dataplane/packet.ts";
import type { IPSet, IPSetMember, Match, Side } from "../../dataplane/program.ts";
import { NodeRoutes } from "../../dataplane/routes.ts";
import { type LoadedSet, loadSets, packSides } from "../../dataplane/tables/ipset.ts";
import { MatchTable } from "../../dataplane/tables/matches.ts";
import { AtomSet } from "../atomSet.ts";
import type { Cube } from "./boxes.ts";
import type { PairQuestion } from "./question.ts";

export type Cubes = readonly Cube[];
export const NEVER: Cubes = [];

/** Sets are asked here, not by the table of matches, and devices by who knows the node. */
export const NO_SETS: ReadonlyMap<string, LoadedSet> = new Map();
const NOWHERE = { uplink: "", pods: [], remotePodAddresses: [], localAddresses: [] };

/** Shared by the nodes of a cluster, which have most sets in common. */
export class PacketMatches {
  readonly #question: PairQuestion;
  readonly #packet = new CurrentPacket();
  readonly #matches: MatchTable;
  readonly #byMatch = new WeakMap<Match, Cubes>();
  readonly #byText = new Map<string, Cubes>();
  readonly #bySet = new WeakMap<IPSet, Map<string, Cubes>>();

  constructor(question: PairQuestion) {
    this.#question = question;
    const devices = new DeviceTable();
    this.#matches = new MatchTable({ devices, routes: new NodeRoutes(NOWHERE, devices), sets: NO_SETS });
  }

  ofAddress(match: Extract<Match, { kind: "address" }>): Cubes {
    return rememberedBy(this.#byMatch, match, () => {
      const ends = this.#question.within(match.cidr);
      return onSide(match.side, match.negate ? ends.not() : ends);
    });
  }

  /** What matches of the headers behind the addresses say. Rules have few of them, in many copies. */
  ofHeader(match: Match): Cubes {
    return rememberedBy(this.#byMatch, match, () => {
      const text = JSON.stringify(match);
      const known = this.#byText.get(text) ?? this.#ofHeader(match);
      this.#byText.set(text, known);
      return known;
    });
  }

  #ofHeader(match: Match): Cubes {
    const record = this.#matches.length;
    this.#matches.add(match, 0);
    const ports = this.#question.portsThat((_, port) => this.#matches.test(record, this.present(0, 0, port)));
    return ports.isEmpty ? NEVER : [{ sources: undefined, destinations: undefined, ports }];
  }

  /** What a hash set holds. Members of hosts alone are looked up; what has wider ones, or exceptions, is asked for each end. */
  ofHashes(set: IPSet, sides: readonly Side[]): Cubes {
    const key = sides.join();
    const bySides = rememberedBy(this.#bySet, set, () => new Map<string, Cubes>());
    const known = bySides.get(key) ?? this.#ofHashes(set, sides);
    bySides.set(key, known);
    return known;
  }

  #ofHashes(set: IPSet, sides: readonly Side[]): Cubes {
    const [side = "source"] = sides;
    const { ends, family } = this.#question;
    if (set.family !== family) return NEVER;
    if (set.type === "hash:ip" || set.type === "hash:net") {
      const hosts = this.#hostsOf(set);
      if (hosts !== undefined) return onSide(side, hosts);
      const loaded = loadedSet(set);
      const packed = packSides(sides);
      const isMember = (_: unknown, end: number) => loaded.test(this.present(end, end, 0), packed);
      return onSide(side, AtomSet.of(ends.map(isMember)));
    }
    const groups = new Map<string, { ends: AtomSet; ports: AtomSet }>();
    for (const [end, ports] of this.#portsByEnd(set, sides)) {
      const group = groups.get(ports.key) ?? { ends: new AtomSet(ends.length), ports };
      groups.set(ports.key, group);
      group.ends.add(end);
    }
    return [...groups.values()].map(({ ends: own, ports }) => ({
      sources: side === "source" ? own : undefined,
      destinations: side === "source" ? undefined : own,
      ports,
    }));
  }

  /** Of a set of addresses with ports: by end those that it holds, of such as it holds any of. */
  #portsByEnd(set: IPSet, sides: readonly Side[]): ReadonlyMap<number, AtomSet> {
    const found = new Map<number, AtomSet>();
    const { ends, ports } = this.#question;
    const add = (end: number, port: number) => {
      const known = found.get(end) ?? new AtomSet(ports.length);
      found.set(end, known);
      known.add(port);
    };
    const listed = sides[1] === "destination" ? this.#listedPorts(set) : undefined;
    if (listed !== undefined) {
      for (const [end, port] of listed) add(end, port);
      return found;
    }
    const loaded = loadedSet(set);
    const packed = packSides(sides);
    for (const end of ends.keys()) {
      for (const port of ports.keys()) if (loaded.test(this.present(end, end, port), packed)) add(end, port);
    }
    return found;
  }

  /** The members of a set that are asked about, where all are hosts and all openings name their ports. */
  #listedPorts({ members }: IPSet): readonly (readonly [end: number, port: number])[] | undefined {
    if (!this.#question.ports.every(({ protocol }) => hasPorts(protocol))) return undefined;
    const listed: [number, number][] = [];
    for (const member of members) {
      if (member.kind !== "netPort" || !this.#isHost(member)) return undefined;
      const end = this.#question.number(member.cidr);
      if (end === undefined) continue;
      for (const port of this.#question.named(member.protocol, member.port) ?? []) listed.push([end, port]);
    }
    return listed;
  }

  /** The ends in a set; undefined: it has members that are no hosts. */
  #hostsOf({ members }: IPSet): AtomSet | undefined {
    const hosts = new AtomSet(this.#question.ends.length);
    for (const member of members) {
      if (member.kind !== "net" || !this.#isHost(member)) return undefined;
      const number = this.#question.number(member.cidr);
      if (number !== undefined) hosts.add(number);
    }
    return hosts;
  }

  #isHost({ cidr, nomatch }: Exclude<IPSetMember, { kind: "set" }>): boolean {
    return nomatch !== true && cidr.prefixLength === addressBits(this.#question.family);
  }

  /** The opening between two ends, to a port. */
  present(from: number, to: number, port: number): CurrentPacket {
    const { ends, openings } = this.#question;
    const packet = this.#packet;
    const [source, destination, opening] = [ends[from], ends[to], openings[port]];
    if (source === undefined || destination === undefined || opening === undefined) return packet;
    packet.family = source.family;
    packet.source0 = source.words[0] ?? 0;
    packet.destination0 = destination.words[0] ?? 0;
    if (source.family === 6) {
      packet.source1 = source.words[1] ?? 0;
      packet.source2 = source.words[2] ?? 0;
      packet.source3 = source.words[3] ?? 0;
      packet.destination1 = destination.words[1] ?? 0;
      packet.destination2 = destination.words[2] ?? 0;
      packet.destination3 = destination.words[3] ?? 0;
    }
    packet.protocol = opening.protocol;
    packet.sourcePort = opening.sourcePort;
    packet.destinationPort = opening.destinationPort;
    packet.tcpFlags = opening.tcpFlags;
    packet.icmpType = opening.icmpType;
    packet.icmpCode = opening.icmpCode;
    return packet;
  }
}

export function onSide(side: Side, ends: AtomSet): Cubes {
  if (ends.isEmpty) return NEVER;
  const isSource = side === "source";
  return [{ sources: isSource ? ends : undefined, destinations: isSource ? undefined : ends, ports: undefined }];
}

function loadedSet(set: IPSet): LoadedSet {
  const loaded = loadSets([set]).get(set.name);
  if (loaded === undefined) throw new Error(`set ${set.name} was not loaded`);
  return loaded;
}
