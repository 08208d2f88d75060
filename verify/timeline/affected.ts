/**
 * Which packets can meet another verdict after a change of the program.
 *
 * Asking every class of packet at every moment is the product of both: a sync of 130 sets asks 130 times for what one
 * element changed. A walk changes only where it meets something changed, and it meets a rule only if the rule's own
 * conditions hold: so a change concerns the packets that match a changed rule, that have an address which came into or
 * left a set, or that belong to an endpoint whose map changed. What the conditions cannot say here (states, marks,
 * devices, `nomatch`) counts as holding: the answer is a superset, never less.
 */

import { mapChange, setDifference } from "../../compiler/update/difference.ts";
import { type Cidr, cidrContains, formatAddress, type IpAddress } from "../../dataplane/address.ts";
import { decodeIpcacheKey } from "../../dataplane/maps/layout.ts";
import type {
  Attachment,
  Chain,
  IPSet,
  IPSetMember,
  MapEntry,
  MapProgram,
  Program,
  Rule,
  TableProgram,
} from "../../dataplane/program.ts";
import type { PacketSpace, ServiceAtom } from "../space.ts";

/** A product of atoms; undefined: all of that dimension. */
export interface Area {
  readonly sources: ReadonlySet<number> | undefined;
  readonly destinations: ReadonlySet<number> | undefined;
  readonly services: ReadonlySet<number> | undefined;
}

const EVERYTHING: Area = { sources: undefined, destinations: undefined, services: undefined };

/** With more changed rules than this the whole table was written anew, and looking at each says nothing. */
const MANY_RULES = 150;

export class ChangedAreas {
  readonly #space: PacketSpace;
  readonly #within = new Map<string, ReadonlySet<number>>();

  constructor(space: PacketSpace) {
    this.#space = space;
  }

  between(before: Program, after: Program): readonly Area[] {
    const moved = this.#attachments(before.attachment, after.attachment);
    if (before.kind === "maps" && after.kind === "maps") return [...moved, ...this.#maps(before, after)];
    if (before.kind === "tables" && after.kind === "tables") return [...moved, ...this.#tables(before, after)];
    return [EVERYTHING];
  }

  /** Packets from or to the prefixes. */
  #around(prefixes: readonly Cidr[]): readonly Area[] {
    const atoms = this.#atomsIn(prefixes);
    if (atoms.size === 0) return [];
    return [
      { ...EVERYTHING, sources: atoms },
      { ...EVERYTHING, destinations: atoms },
    ];
  }

  #atomsIn(prefixes: readonly Cidr[]): ReadonlySet<number> {
    const found = new Set<number>();
    for (const prefix of prefixes) for (const atom of this.#atomsOf(prefix)) found.add(atom);
    return found;
  }

  #atomsOf(prefix: Cidr): ReadonlySet<number> {
    const key = `${prefix.family} ${prefix.words.join()}/${prefix.prefixLength}`;
    let atoms = this.#within.get(key);
    if (atoms === undefined) {
      atoms = new Set(
        prefix.family === this.#space.family
          ? this.#space.addresses.flatMap((atom, index) => (cidrContains(prefix, atom.representative) ? [index] : []))
          : [],
      );
      this.#within.set(key, atoms);
    }
    return atoms;
  }

  #attachments(before: Attachment, after: Attachment): readonly Area[] {
    if (before === after) return [];
    const places = ({ pods, remotePodAddresses }: Attachment) => [
      ...pods.flatMap(({ addresses, interface: name }) => addresses.map((address) => ({ address, name }))),
      ...remotePodAddresses.map((address) => ({ address, name: "" })),
    ];
    const key = ({ address, name }: { readonly address: IpAddress; readonly name: string }) =>
      `${formatAddress(address)} ${name}`;
    const [old, now] = [places(before), places(after)];
    const [oldKeys, nowKeys] = [new Set(old.map(key)), new Set(now.map(key))];
    const moved = [
      ...old.filter((place) => !nowKeys.has(key(place))),
      ...now.filter((place) => !oldKeys.has(key(place))),
    ];
    return this.#around(moved.map(({ address }) => hostOf(address)));
  }

  #maps(before: MapProgram, after: MapProgram): readonly Area[] {
    const addressesOf = new Map(
      [...before.attachment.pods, ...after.attachment.pods].map(({ endpoint, addresses }) => [endpoint, addresses]),
    );
    const users = new Map<string, Set<string>>();
    const tries = new Set<string>();
    for (const { endpoint, plan } of [...before.attachPoints, ...after.attachPoints]) {
      const names = plan.kind === "identity" ? [plan.policy] : [plan.exact, plan.blocks];
      if (plan.kind === "identity") tries.add(plan.ipcache);
      for (const name of names) users.set(name, (users.get(name) ?? new Set()).add(endpoint));
    }
    const ofEndpoints = (endpoints: Iterable<string>) =>
      this.#around([...endpoints].flatMap((endpoint) => (addressesOf.get(endpoint) ?? []).map(hostOf)));
    const areas: Area[] = [];
    const known = new Map(before.maps.map((map) => [map.name, map]));
    for (const map of after.maps) {
      const old = known.get(map.name);
      if (old === map || old === undefined) continue;
      if (!tries.has(map.name)) areas.push(...ofEndpoints(users.get(map.name) ?? []));
      else {
        const { updated, deleted } = mapChange(old, map);
        areas.push(...this.#around([...updated, ...deleted].map(({ key }: MapEntry) => decodeIpcacheKey(key))));
      }
    }
    if (before.attachPoints !== after.attachPoints) {
      const kept = new Set(before.attachPoints);
      const changed = [
        ...after.attachPoints.filter((point) => !kept.has(point)),
        ...before.attachPoints.filter((point) => !after.attachPoints.includes(point)),
      ];
      areas.push(...ofEndpoints(new Set(changed.map(({ endpoint }) => endpoint))));
    }
    return areas;
  }

  #tables(before: TableProgram, after: TableProgram): readonly Area[] {
    const rules = changedRules(before, after);
    if (rules === "many") return [EVERYTHING];
    const { changed, removed, created } = setDifference(before.sets, after.sets);
    const read = readSets([before, after]);
    const members = [
      ...changed.flatMap((change) => (read.has(change.set.name) ? [...change.added, ...change.removed] : [])),
      ...[...removed, ...created].flatMap((set) => (read.has(set.name) ? set.members : [])),
    ];
    const sets = new Map([...before.sets, ...after.sets].map((set) => [set.name, [] as IPSet[]]));
    for (const set of [...before.sets, ...after.sets]) sets.get(set.name)?.push(set);
    return [...this.#around(prefixesOf(members, sets)), ...rules.map((rule) => this.#areaOf(rule, sets))];
  }

  /** The packets that can match a rule. */
  #areaOf({ matches }: Rule, sets: ReadonlyMap<string, readonly IPSet[]>): Area {
    let sources: ReadonlySet<number> | undefined;
    let destinations: ReadonlySet<number> | undefined;
    let services: ReadonlySet<number> | undefined;
    const narrow = (side: "source" | "destination", atoms: ReadonlySet<number>) => {
      if (side === "source") sources = both(sources, atoms);
      else destinations = both(destinations, atoms);
    };
    for (const match of matches) {
      if (match.kind === "address" && !match.negate) narrow(match.side, this.#atomsOf(match.cidr));
      if (match.kind === "set" && !match.negate) {
        const members = (sets.get(match.set) ?? []).flatMap((set) => set.members);
        narrow(match.sides[0] ?? "source", this.#atomsIn(prefixesOf(members, sets)));
      }
      if ((match.kind === "protocol" || match.kind === "ports") && !match.negate) {
        const fitting = new Set(
          this.#space.services.flatMap((service, index) => (fits(service, match) ? [index] : [])),
        );
        services = both(services, fitting);
      }
    }
    return { sources, destinations, services };
  }
}

function both(known: ReadonlySet<number> | undefined, also: ReadonlySet<number>): ReadonlySet<number> {
  return known === undefined ? also : new Set([...known].filter((atom) => also.has(atom)));
}

function fits(service: ServiceAtom, match: Extract<Rule["matches"][number], { kind: "protocol" | "ports" }>): boolean {
  if (match.kind === "protocol") return service.protocol === undefined || service.protocol === match.protocol;
  const { ports } = service;
  if (ports === undefined || match.side === "source") return true;
  return match.ranges.some(({ first, last }) => ports.first <= last && first <= ports.last);
}

function hostOf(address: IpAddress): Cidr {
  return { ...address, prefixLength: address.family === 4 ? 32 : 128 };
}

function prefixesOf(members: readonly IPSetMember[], sets: ReadonlyMap<string, readonly IPSet[]>): readonly Cidr[] {
  return members.flatMap((member) => {
    if (member.kind !== "set") return [member.cidr];
    return (sets.get(member.set) ?? []).flatMap((set) =>
      set.members.flatMap((inner) => (inner.kind === "set" ? [] : [inner.cidr])),
    );
  });
}

/** Sets that a rule looks into, directly or through a list of sets. */
function readSets(programs: readonly TableProgram[]): ReadonlySet<string> {
  const read = new Set<string>();
  for (const { families, sets } of programs) {
    for (const { tables } of families) {
      for (const { chains } of tables) for (const chain of chains) for (const name of setsOf(chain)) read.add(name);
    }
    for (const set of sets) {
      if (!read.has(set.name)) continue;
      for (const member of set.members) if (member.kind === "set") read.add(member.set);
    }
  }
  return read;
}

const READ = new WeakMap<Chain, readonly string[]>();

function setsOf(chain: Chain): readonly string[] {
  let names = READ.get(chain);
  if (names === undefined) {
    names = chain.rules.flatMap(({ matches }) => matches.flatMap((match) => (match.kind === "set" ? [match.set] : [])));
    READ.set(chain, names);
  }
  return names;
}

/**
 * Rules that are no longer where they were, between the first and the last difference of their chains. Chains that come
 * or go are reached, or were, by rules that changed.
 */
function changedRules(before: TableProgram, after: TableProgram): readonly Rule[] | "many" {
  const found: Rule[] = [];
  for (const { family, tables } of after.families) {
    const oldTables = before.families.find((one) => one.family === family)?.tables ?? [];
    for (const table of tables) {
      const old = oldTables.find(({ name }) => name === table.name);
      if (old === table) continue;
      const known = new Map((old?.chains ?? []).map((chain) => [chain.name, chain]));
      for (const chain of table.chains) {
        const was = known.get(chain.name);
        if (was === chain || was === undefined) continue;
        if (was.policy !== chain.policy) return "many";
        found.push(...middleOf(was.rules, chain.rules));
        if (found.length > MANY_RULES) return "many";
      }
    }
  }
  return found;
}

function middleOf(before: readonly Rule[], after: readonly Rule[]): readonly Rule[] {
  let start = 0;
  while (start < before.length && start < after.length && before[start] === after[start]) start++;
  let ends = 0;
  const most = Math.min(before.length, after.length) - start;
  while (ends < most && before[before.length - 1 - ends] === after[after.length - 1 - ends]) ends++;
  return [...before.slice(start, before.length - ends), ...after.slice(start, after.length - ends)];
}
