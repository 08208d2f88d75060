/**
 * Destination ports that a pair of addresses cannot tell apart, for tables that ask about many: what is asked of one holds
 * for all of them.
 *
 * Ports are named by the hundred, but by rules that few packets come to. So whoever reads a port is noted with the pairs for
 * which it can be read (portTests.ts), and the ports asked about are divided, pair by pair, by those of its own. The
 * invariant: two ports are left together only if every rule that the pair can come to, and every entry that can answer
 * it, says the same of both; then all of the walk is the same. Of a hundred pods and twenty ports, two or three packets a
 * pair are left to be asked.
 */
import type { ResolvedCluster } from "../compiler/resolve.ts";
import { cidrKey, hostCidr, type IpAddress } from "../dataplane/address.ts";
import type { Port } from "../traffic/generate/sessions.ts";
import { AtomSet } from "./atomSet.ts";
import type { Lane } from "./lane.ts";
import { PortTests } from "./portTests.ts";
import { blindSpots, SpaceReads } from "./spaceReads.ts";

/** Ports, by their place in the list that was asked about: the first stands for all. */
export type PortGroup = readonly number[];

export class PortsAlike {
  /** By end: its number among the different addresses. */
  readonly #numbers: readonly number[];
  readonly #different: number;
  readonly #divisions: Divisions;
  readonly #tests: readonly { sources: AtomSet; destinations: Int32Array; ports: number }[];

  /** Of packets of a lane between these addresses, all of one family. */
  constructor(
    lane: Pick<Lane, "programs">,
    cluster: ResolvedCluster,
    { ends, ports }: { readonly ends: readonly IpAddress[]; readonly ports: readonly Port[] },
  ) {
    const numbers = new Map<number | string, number>();
    const different: IpAddress[] = [];
    this.#numbers = ends.map((address) => {
      const key = cidrKey(hostCidr(address));
      const known = numbers.get(key) ?? different.length;
      if (known === different.length) different.push(address);
      numbers.set(key, known);
      return known;
    });
    this.#different = different.length;
    this.#divisions = new Divisions(ports);
    const tests = new PortTests(different, ports);
    const { programs } = lane;
    // The reference has no programs: it reads the policies themselves.
    if (programs.length === 0) readCluster(cluster, tests);
    else if (blindSpots(programs).length > 0) for (const [index] of ports.entries()) tests.everywhere([index]);
    else for (const program of programs) tests.program(program);
    this.#tests = tests.all().flatMap(({ sources, destinations, ports: tested }) => {
      const number = this.#divisions.number(tested);
      return this.#divisions.divides(number)
        ? [{ sources, destinations: Int32Array.from(destinations), ports: number }]
        : [];
    });
  }

  /** By destination, in the order of the ends. */
  groupsOf(source: number): readonly (readonly PortGroup[])[] {
    const own = this.#numbers[source];
    if (own === undefined) throw new RangeError(`no end ${source}`);
    const divisions = new Int32Array(this.#different);
    for (const { sources, destinations, ports } of this.#tests) {
      if (!sources.has(own)) continue;
      for (const end of destinations) divisions[end] = this.#divisions.divide(divisions[end] ?? 0, ports);
    }
    return this.#numbers.map((end) => this.#divisions.groups(divisions[end] ?? 0));
  }
}

/** What the API text reads, of whatever pair. */
function readCluster(cluster: ResolvedCluster, tests: PortTests): void {
  const reads = new SpaceReads(4);
  reads.cluster(cluster);
  for (const [protocol, starts] of reads.starts) {
    for (const start of starts) tests.from(protocol, start);
  }
}

/** Ways to divide the ports into groups, by number: 0 keeps protocols apart and nothing else. */
class Divisions {
  readonly #size: number;
  readonly #groups: (readonly PortGroup[])[];
  readonly #numbers = new Map<string, number>();
  /** Sets of ports, by number. */
  readonly #sets: AtomSet[] = [];
  readonly #setNumbers = new Map<string, number>();
  /** By set: what a division becomes by it. */
  readonly #divided: number[][] = [];

  constructor(ports: readonly Port[]) {
    this.#size = ports.length;
    const byProtocol = new Map<number, number[]>();
    for (const [index, { protocol }] of ports.entries()) {
      const known = byProtocol.get(protocol);
      if (known === undefined) byProtocol.set(protocol, [index]);
      else known.push(index);
    }
    this.#groups = [[...byProtocol.values()]];
    this.#numbers.set(nameOf([...byProtocol.values()]), 0);
  }

  number(ports: AtomSet): number {
    const { key } = ports;
    const known = this.#setNumbers.get(key);
    if (known !== undefined) return known;
    this.#setNumbers.set(key, this.#sets.length);
    this.#divided.push([]);
    return this.#sets.push(ports) - 1;
  }

  groups(division: number): readonly PortGroup[] {
    return this.#groups[division] ?? [];
  }

  /** Whether ports of one protocol are in the set, and others not. */
  divides(set: number): boolean {
    return this.divide(0, set) !== 0;
  }

  divide(division: number, set: number): number {
    const known = this.#divided[set]?.[division];
    if (known !== undefined) return known;
    const tested = this.#sets[set] ?? new AtomSet(this.#size);
    const groups = this.groups(division)
      .flatMap((group) => [group.filter((port) => tested.has(port)), group.filter((port) => !tested.has(port))])
      .filter(({ length }) => length > 0)
      .sort(([a = 0], [b = 0]) => a - b);
    const name = nameOf(groups);
    const number = this.#numbers.get(name) ?? this.#groups.push(groups) - 1;
    this.#numbers.set(name, number);
    const divided = this.#divided[set];
    if (divided !== undefined) divided[division] = number;
    return number;
  }
}

function nameOf(groups: readonly PortGroup[]): string {
  return groups.map((group) => group.join()).join(" ");
}
