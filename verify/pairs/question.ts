/** What is asked: first packets from each of some addresses to each, to each of some ports. */
import { type Cidr, cidrContains, cidrKey, type Family, hostCidr, type IpAddress } from "../../dataplane/address.ts";
import { portCode } from "../../dataplane/maps/tupleEntries.ts";
import { makePacket, type Packet, PROTOCOL } from "../../dataplane/packet.ts";
import type { Port } from "../../traffic/generate/sessions.ts";
import { AtomSet } from "../atomSet.ts";

export class PairQuestion {
  readonly family: Family;
  /** Different addresses of one family. */
  readonly ends: readonly IpAddress[];
  readonly ports: readonly Port[];
  /** By port: the packet that opens, between whatever ends. */
  readonly openings: readonly Packet[];
  readonly allEnds: AtomSet;
  readonly allPorts: AtomSet;
  /** By `cidrKey`. */
  readonly #numbers: ReadonlyMap<number | string, number>;
  readonly #within = new Map<number | string, AtomSet>();
  /** By protocol and port in one number. */
  readonly #named = new Map<number, number[]>();

  /** Throws a RangeError when there is no end, or two are the same. */
  constructor(ends: readonly IpAddress[], ports: readonly Port[]) {
    const [first] = ends;
    if (first === undefined) throw new RangeError("a question about pairs needs ends");
    this.family = first.family;
    this.ends = ends;
    this.ports = ports;
    this.openings = ports.map(({ protocol, port }) => openingOf(first, first, { protocol, port }));
    this.allEnds = new AtomSet(ends.length).not();
    this.allPorts = new AtomSet(ports.length).not();
    this.#numbers = new Map(ends.map((address, index) => [cidrKey(hostCidr(address)), index]));
    if (this.#numbers.size < ends.length) throw new RangeError("a question about pairs has an end twice");
    for (const [index, { protocol, port }] of ports.entries()) {
      const code = portCode(protocol, port);
      const known = this.#named.get(code);
      if (known === undefined) this.#named.set(code, [index]);
      else known.push(index);
    }
  }

  /** Words of 32 bits that have a bit for each end. */
  get words(): number {
    return (this.ends.length + 31) >>> 5;
  }

  /** The end that is all of the prefix; undefined: none is. */
  number(cidr: Cidr): number | undefined {
    return this.#numbers.get(cidrKey(cidr));
  }

  /** The ends that a prefix has. */
  within(cidr: Cidr): AtomSet {
    const key = cidrKey(cidr);
    const known = this.#within.get(key);
    if (known !== undefined) return known;
    const ends = new AtomSet(this.ends.length);
    const host = this.#numbers.get(key);
    if (host !== undefined) ends.add(host);
    else for (const [index, address] of this.ends.entries()) if (cidrContains(cidr, address)) ends.add(index);
    this.#within.set(key, ends);
    return ends;
  }

  /** The ports of that protocol and number, by their places; undefined: none is asked about. */
  named(protocol: number, port: number): readonly number[] | undefined {
    return this.#named.get(portCode(protocol, port));
  }

  endsThat(isMeant: (end: IpAddress, index: number) => boolean): AtomSet {
    return AtomSet.of(this.ends.map(isMeant));
  }

  portsThat(isMeant: (opening: Packet, index: number) => boolean): AtomSet {
    return AtomSet.of(this.openings.map(isMeant));
  }
}

/** The first packet of a connection. */
export function openingOf(source: IpAddress, destination: IpAddress, { protocol, port }: Port): Packet {
  return makePacket({ protocol, source, destination, destinationPort: port });
}

/** Whether every opening between ends of the family is new to connection tracking, whatever else it has seen. */
export function opensFlows({ protocol }: Port, family: Family): boolean {
  switch (protocol) {
    case PROTOCOL.tcp:
    case PROTOCOL.udp:
    case PROTOCOL.sctp:
      return true;
    case PROTOCOL.icmp:
      return family === 4;
    case PROTOCOL.icmpv6:
      return family === 6;
    default:
      return false;
  }
}
