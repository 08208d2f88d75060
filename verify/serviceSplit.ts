/**
 * What a pair of addresses cannot tell apart of what all of them together can.
 *
 * The classes of services of a space are cut wherever anybody names a port: fifty policies name dozens, and each pair of
 * pods would be asked about every one of them, although the policies of other namespaces say nothing about it. So each
 * cut is remembered with the ends for which somebody reads it, and the classes of a pair are those that a cut of its own
 * divides. One packet answers for all that lie between two of them. The product is split where somebody looks, and
 * nothing is left out.
 *
 *     who reads a port                      cuts for
 *     ports of a policy                     pairs with an end in its namespace
 *     a pod's container port                pairs to the pod; where a policy names it: those with an end in that namespace
 *     a rule, an address and port of a set  pairs that can come to the rule (reach.ts), that have an end in the member
 *     the maps of a pod                     pairs with the pod as an end
 *     a deviation, of itself                pairs with an end of the kind that it declares
 *
 * That deviations read no more than this is tried as well: proof.ts asks them about a second packet of each class, and
 * ends when one says otherwise. The price: bits for each atom, and a table of the
 * combinations that occur. Protocols without ports and types of ICMP are never joined.
 */
import type { NetworkPolicy, PolicyRule } from "../compiler/model.ts";
import type { ResolvedCluster } from "../compiler/resolve.ts";
import type { Deviation, OwnReads } from "../compiler/strategies/strategy.ts";
import { cidrContains, formatAddress, hostCidr } from "../dataplane/address.ts";
import type { MapProgram, Program, TableProgram } from "../dataplane/program.ts";
import { AtomSet } from "./atomSet.ts";
import { reachRules } from "./reach.ts";
import type { PacketSpace } from "./space.ts";
import { SpaceReads } from "./spaceReads.ts";

/** Services, by their number in the space, that are one to the pair: the first stands for all. */
export type ServiceGroup = readonly number[];

export class ServiceSplit {
  readonly #space: PacketSpace;
  /** The service that begins at a port, by `protocol/port`. */
  readonly #cuts: ReadonlyMap<string, number>;
  /** By atom: the services that begin where somebody looks, of packets from it and to it. */
  readonly #from: readonly AtomSet[];
  readonly #to: readonly AtomSet[];
  /** By the services that begin. */
  readonly #groups = new Map<string, readonly ServiceGroup[]>();

  constructor(
    cluster: ResolvedCluster,
    { programs, deviations }: { readonly programs: readonly Program[]; readonly deviations: readonly Deviation[] },
    space: PacketSpace,
  ) {
    this.#space = space;
    const { addresses, services } = space;
    this.#cuts = new Map(
      services.flatMap(({ protocol, ports }, index) =>
        ports === undefined ? [] : [[`${protocol}/${ports.first}`, index]],
      ),
    );
    this.#from = addresses.map(() => new AtomSet(services.length));
    this.#to = addresses.map(() => new AtomSet(services.length));
    this.#cluster(cluster);
    for (const program of programs) {
      if (program.kind === "tables") this.#tables(program);
      else this.#maps(program);
    }
    for (const { reads } of deviations) if (reads !== undefined) this.#deviation(reads);
  }

  /** The classes of services of packets between two atoms, by their numbers in the space. */
  groupsOf(source: number, destination: number): readonly ServiceGroup[] {
    const [from, to] = [this.#from[source], this.#to[destination]];
    if (from === undefined || to === undefined) throw new RangeError(`no atoms ${source} and ${destination}`);
    const begin = from.or(to);
    const known = this.#groups.get(begin.key);
    if (known !== undefined) return known;
    const groups: number[][] = [];
    let before: number | undefined;
    for (const [index, { protocol, ports }] of this.#space.services.entries()) {
      const goesOn = ports !== undefined && protocol === before && !begin.has(index);
      if (goesOn) groups.at(-1)?.push(index);
      else groups.push([index]);
      before = ports === undefined ? undefined : protocol;
    }
    this.#groups.set(begin.key, groups);
    return groups;
  }

  /** Somebody reads this of packets from these or to those. */
  #read({ starts }: SpaceReads, sources: Iterable<number>, destinations: Iterable<number>): void {
    const read = new AtomSet(this.#space.services.length);
    for (const [protocol, ports] of starts) {
      for (const port of ports) {
        const service = this.#cuts.get(`${protocol}/${port}`);
        if (service !== undefined) read.add(service);
      }
    }
    for (const atom of sources) this.#from[atom]?.addAll(read);
    for (const atom of destinations) this.#to[atom]?.addAll(read);
  }

  #cluster({ model }: ResolvedCluster): void {
    const numbers = new Map(
      this.#space.addresses.flatMap(({ prefix, representative }, index) =>
        prefix.prefixLength === hostCidr(representative).prefixLength ? [[formatAddress(representative), index]] : [],
      ),
    );
    const atomsOf = (pod: { readonly addresses: readonly Parameters<typeof formatAddress>[0][] }) =>
      pod.addresses.flatMap((address) => numbers.get(formatAddress(address)) ?? []);
    const residents = new Map<string, number[]>();
    for (const pod of model.endpoints) {
      const known = residents.get(pod.namespace) ?? [];
      residents.set(pod.namespace, known);
      known.push(...atomsOf(pod));
    }
    const naming = new Map<string, Set<string>>();
    for (const policy of model.policies) {
      const reads = new SpaceReads(this.#space.family);
      reads.policy(policy);
      const ends = residents.get(policy.namespace) ?? [];
      this.#read(reads, ends, ends);
      for (const name of namesIn(policy)) naming.set(name, (naming.get(name) ?? new Set()).add(policy.namespace));
    }
    for (const pod of model.endpoints) {
      const own = new SpaceReads(this.#space.family);
      own.containers(pod);
      this.#read(own, [], atomsOf(pod));
      for (const port of pod.ports) {
        const one = new SpaceReads(this.#space.family);
        one.containers({ ports: [port] });
        for (const namespace of naming.get(port.name ?? "") ?? []) {
          const ends = residents.get(namespace) ?? [];
          this.#read(one, ends, ends);
        }
      }
    }
  }

  #deviation({ services = [] }: OwnReads): void {
    for (const service of services) {
      const reads = new SpaceReads(this.#space.family);
      reads.deviation({ services: [service] });
      const fromPods = service.end === "source-pod";
      const ends = this.#space.addresses.flatMap(({ pod, node }, index) =>
        (fromPods ? pod : node) === undefined ? [] : [index],
      );
      this.#read(reads, fromPods ? ends : [], fromPods ? [] : ends);
    }
  }

  #tables(program: TableProgram): void {
    const { family, addresses } = this.#space;
    for (const set of program.sets) {
      if (set.family !== family) continue;
      for (const member of set.members) {
        if (member.kind !== "netPort") continue;
        const reads = new SpaceReads(family);
        reads.member(member);
        const ends = addresses.flatMap(({ prefix }, index) =>
          prefix.prefixLength >= member.cidr.prefixLength && cidrContains(member.cidr, prefix) ? [index] : [],
        );
        this.#read(reads, ends, ends);
      }
    }
    reachRules(program, this.#space, ({ matches }, { sources, destinations }) => {
      if (!matches.some(({ kind }) => kind === "ports")) return;
      const reads = new SpaceReads(family);
      reads.matches(matches);
      this.#read(reads, sources, destinations);
    });
  }

  #maps(program: MapProgram): void {
    const { family, addresses } = this.#space;
    const numbers = new Map(addresses.map(({ representative }, index) => [formatAddress(representative), index]));
    for (const point of program.attachPoints) {
      const reads = new SpaceReads(family);
      reads.program({ ...program, attachPoints: [point] });
      const pods = program.attachment.pods.filter(({ endpoint }) => endpoint === point.endpoint);
      const ends = pods.flatMap((pod) => pod.addresses.flatMap((address) => numbers.get(formatAddress(address)) ?? []));
      this.#read(reads, ends, ends);
    }
  }
}

/** Names of ports that a policy asks for. */
function namesIn({ ingress, egress }: NetworkPolicy): readonly string[] {
  return [...ingress, ...egress].flatMap(({ ports }: PolicyRule) =>
    ports.flatMap(({ port }) => (typeof port === "string" ? [port] : [])),
  );
}
