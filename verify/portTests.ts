/**
 * Who reads destination ports, and of which packets: for pairs of some addresses and a list of ports, sets of ports that
 * somebody tells from the others.
 *
 *     a rule              pairs that can come to it: the chains that lead there, and its own addresses, sets, interfaces
 *     a member of a set   of those, the ones with the address in its prefix
 *     a tuple map         pairs of its pod and a peer that an entry names
 *     a policy map        pairs of its pod and a peer whose identity an entry names, or any for identity 0
 *
 * An over-approximation: whether a packet comes there is seen from addresses alone. Whatever is said of ports beside that
 * (source ports, rates) is for `blindSpots` to find.
 */

import { rememberedBy } from "../compiler/again.ts";
import { type Cidr, cidrContains, cidrKey, hostCidr, type IpAddress } from "../dataplane/address.ts";
import { PROTOCOL } from "../dataplane/packet.ts";
import type { Match, Program, TableProgram } from "../dataplane/program.ts";
import type { Port } from "../traffic/generate/sessions.ts";
import { AtomSet } from "./atomSet.ts";
import { readMaps } from "./portsInMaps.ts";
import { inOrder, Narrowing } from "./reach.ts";

/** Packets from one of these addresses to one of those. */
export interface Pairs {
  readonly sources: AtomSet;
  readonly destinations: AtomSet;
}

/** Somebody tells these ports from the others, of packets between these. */
export interface PortTest extends Pairs {
  readonly ports: AtomSet;
}

type PortsMatch = Extract<Match, { kind: "ports" }>;

/** Of the pairs of a chain that many lead to, parts that are not joined; more are taken for all between their ends. */
const MOST_PARTS = 8;

export class PortTests {
  readonly ends: readonly IpAddress[];
  readonly ports: readonly Port[];
  /** By `cidrKey`. */
  readonly #numbers: ReadonlyMap<number | string, number>;
  readonly everybody: AtomSet;
  /** By protocol and port in one number. */
  readonly #named = new Map<number, number[]>();
  readonly #byMatch = new WeakMap<PortsMatch, AtomSet>();
  /** By ports and sources. */
  readonly #found = new Map<string, PortTest>();

  /** `ends` are of one family and differ. */
  constructor(ends: readonly IpAddress[], ports: readonly Port[]) {
    this.ends = ends;
    this.ports = ports;
    this.#numbers = new Map(ends.map((address, index) => [cidrKey(hostCidr(address)), index]));
    this.everybody = new AtomSet(ends.length).not();
    for (const [index, { protocol, port }] of ports.entries()) {
      const code = (protocol << 16) | port;
      const known = this.#named.get(code);
      if (known === undefined) this.#named.set(code, [index]);
      else known.push(index);
    }
  }

  all(): readonly PortTest[] {
    return [...this.#found.values()];
  }

  /** Somebody tells these from the others, whoever sends to whom. */
  everywhere(ports: readonly number[]): void {
    this.add({ sources: this.everybody, destinations: this.everybody }, this.setOf(ports));
  }

  /** Somebody tells ports from this one on from those before it. */
  from(protocol: number, first: number): void {
    this.everywhere(this.portsThat((port) => port.protocol === protocol && port.port >= first));
  }

  program(program: Program): void {
    if (program.kind === "tables") this.#tables(program);
    else readMaps(program, this);
  }

  add({ sources, destinations }: Pairs, ports: AtomSet): void {
    if (sources.isEmpty || destinations.isEmpty || ports.isEmpty) return;
    const key = `${ports.key} ${sources.key}`;
    const known = this.#found.get(key);
    const all = known === undefined ? destinations : known.destinations.or(destinations);
    this.#found.set(key, { sources, destinations: all, ports });
  }

  /** Ports that are meant, by their places. */
  portsThat(isMeant: (port: Port) => boolean): readonly number[] {
    return this.ports.flatMap((port, index) => (isMeant(port) ? [index] : []));
  }

  /** The ports of that protocol and number, by their places; undefined: none is asked about. */
  named(protocol: number, port: number): readonly number[] | undefined {
    return this.#named.get((protocol << 16) | port);
  }

  setOf(ports: readonly number[]): AtomSet {
    const set = new AtomSet(this.ports.length);
    for (const port of ports) set.add(port);
    return set;
  }

  /** The end that is all of the prefix; undefined: none is. */
  number(cidr: Cidr): number | undefined {
    return this.#numbers.get(cidrKey(cidr));
  }

  #tables(program: TableProgram): void {
    const ends = this.ends.map((representative) => ({ prefix: hostCidr(representative), representative }));
    const narrowing = new Narrowing(program, ends);
    const whole: Pairs = { sources: this.everybody, destinations: this.everybody };
    const family = this.ends[0]?.family;
    for (const tables of program.families) {
      if (tables.family !== family) continue;
      for (const { chains } of tables.tables) {
        const reaches = new Map<string, readonly Pairs[]>();
        for (const chain of inOrder(chains)) {
          const reach = chain.policy === undefined ? reaches.get(chain.name) : [whole];
          if (reach === undefined) continue;
          for (const { matches, target } of chain.rules) {
            const own = narrowed(reach, matches, narrowing);
            if (own.length === 0) continue;
            this.#rule(program, matches, own);
            if (target?.kind !== "jump" && target?.kind !== "goto") continue;
            reaches.set(target.chain, joined(reaches.get(target.chain) ?? [], own));
          }
        }
      }
    }
  }

  #rule(program: TableProgram, matches: readonly Match[], reach: readonly Pairs[]): void {
    for (const match of matches) {
      if (match.kind === "ports") for (const part of reach) this.add(part, this.#tested(match));
    }
    for (const match of matches) {
      if (match.kind === "set" && match.sides[1] === "destination") this.#members(program, match, reach);
    }
  }

  /** The ports that a match holds for; rules share matches. */
  #tested(match: PortsMatch): AtomSet {
    return rememberedBy(this.#byMatch, match, () => {
      const tested = new AtomSet(this.ports.length);
      for (const [index, port] of this.ports.entries()) if (isNamed(match, port)) tested.add(index);
      return tested;
    });
  }

  /** Of a set of addresses with ports. */
  #members(
    program: TableProgram,
    { set, sides }: Pick<Extract<Match, { kind: "set" }>, "set" | "sides">,
    reach: readonly Pairs[],
  ): void {
    const members = program.sets.find(({ name }) => name === set)?.members ?? [];
    const named = new Map<string, { ends: AtomSet; ports: AtomSet }>();
    for (const member of members) {
      if (member.kind === "set") this.#members(program, { set: member.set, sides }, reach);
      if (member.kind !== "netPort") continue;
      const ports = this.named(member.protocol, member.port);
      if (ports === undefined) continue;
      const key = `${cidrKey(member.cidr)} ${member.nomatch === true}`;
      const known = named.get(key) ?? { ends: this.within(member.cidr), ports: this.setOf([]) };
      named.set(key, known);
      for (const port of ports) known.ports.add(port);
    }
    for (const { ends, ports } of named.values()) {
      for (const { sources, destinations } of reach) {
        if (sides[0] === "source") this.add({ sources: sources.and(ends), destinations }, ports);
        else this.add({ sources, destinations: destinations.and(ends) }, ports);
      }
    }
  }

  /** The ends that a prefix has. */
  within(cidr: Cidr): AtomSet {
    const host = this.number(cidr);
    const ends = new AtomSet(this.ends.length);
    if (host !== undefined) ends.add(host);
    else for (const [index, address] of this.ends.entries()) if (cidrContains(cidr, address)) ends.add(index);
    return ends;
  }
}

/** What matches leave of pairs. */
function narrowed(reach: readonly Pairs[], matches: readonly Match[], narrowing: Narrowing): readonly Pairs[] {
  let left = reach;
  for (const match of matches) {
    const told = narrowing.told(match);
    if (told === undefined) continue;
    left = left.flatMap(({ sources, destinations }) => {
      const part =
        told.side === "source"
          ? { sources: sources.and(told.atoms), destinations }
          : { sources, destinations: destinations.and(told.atoms) };
      return part.sources.isEmpty || part.destinations.isEmpty ? [] : [part];
    });
  }
  return left;
}

/** Both together; parts that differ on one side only become one. */
function joined(known: readonly Pairs[], more: readonly Pairs[]): readonly Pairs[] {
  const parts = [...known];
  for (const { sources, destinations } of more) {
    const same = parts.findIndex((one) => one.sources.equals(sources) || one.destinations.equals(destinations));
    const other = parts[same];
    if (other === undefined) parts.push({ sources, destinations });
    else parts[same] = { sources: other.sources.or(sources), destinations: other.destinations.or(destinations) };
  }
  if (parts.length <= MOST_PARTS) return parts;
  return [
    parts.reduce((all, one) => ({
      sources: all.sources.or(one.sources),
      destinations: all.destinations.or(one.destinations),
    })),
  ];
}

/** Whether a match names the port, were the protocol the one that its rule demands. */
function isNamed({ extension, ranges, negate }: PortsMatch, { protocol, port }: Port): boolean {
  if (extension !== "multiport" && PROTOCOL[extension] !== protocol) return false;
  return ranges.some(({ first, last }) => first <= port && port <= last) !== negate;
}
