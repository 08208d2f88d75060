/**
 * Which rules a packet between two addresses can come to, seen from the addresses alone. An over-approximation: protocols,
 * ports, states and marks are taken to match, and of a chain that is reached in several ways is known only which sources
 * or which destinations lead there. That is enough for what solutions emit: a chain of its own for each pod.
 */
import { addressBits, type Cidr, cidrContains, cidrKey, hostCidr } from "../dataplane/address.ts";
import type { Chain, IPSet, Match, Rule, Side, TableProgram } from "../dataplane/program.ts";
import { AtomSet } from "./atomSet.ts";
import type { AddressAtom, PacketSpace } from "./space.ts";

/** Packets from one of these, or to one of those. */
export interface Reach {
  readonly sources: AtomSet;
  readonly destinations: AtomSet;
}

/** Calls `visit` with every rule of the program, of the family of the space, and the packets that can come to it. */
export function reachRules(program: TableProgram, space: PacketSpace, visit: (rule: Rule, reach: Reach) => void): void {
  const narrowing = new Narrowing(program, space.addresses);
  for (const { family, tables } of program.families) {
    if (family !== space.family) continue;
    for (const { chains } of tables) {
      const reaches = new Map<string, Reach>();
      for (const chain of inOrder(chains)) {
        const reach = chain.policy === undefined ? reaches.get(chain.name) : narrowing.everything;
        if (reach === undefined) continue;
        for (const rule of chain.rules) {
          const own = narrowing.narrow(reach, rule.matches);
          if (own.sources.isEmpty && own.destinations.isEmpty) continue;
          visit(rule, own);
          const { target } = rule;
          if (target?.kind !== "jump" && target?.kind !== "goto") continue;
          const before = reaches.get(target.chain);
          reaches.set(
            target.chain,
            before === undefined
              ? own
              : {
                  sources: before.sources.or(own.sources),
                  destinations: before.destinations.or(own.destinations),
                },
          );
        }
      }
    }
  }
}

/** Each chain after those that jump to it; programs with loops are refused. Without recursion: a node's chains may be deep. */
export function inOrder(chains: Iterable<Chain>): readonly Chain[] {
  const all = [...chains];
  const named = new Map(all.map((chain) => [chain.name, chain]));
  const entered = new Set<Chain>();
  const backwards: Chain[] = [];
  const path: { readonly chain: Chain; next: number }[] = [];
  const enter = (chain: Chain): void => {
    if (entered.has(chain)) return;
    entered.add(chain);
    path.push({ chain, next: 0 });
  };
  for (const chain of all) {
    enter(chain);
    for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
      const rule = top.chain.rules[top.next++];
      if (rule === undefined) {
        backwards.push(top.chain);
        path.pop();
        continue;
      }
      const { target } = rule;
      const next = target?.kind === "jump" || target?.kind === "goto" ? named.get(target.chain) : undefined;
      if (next !== undefined) enter(next);
    }
  }
  return backwards.reverse();
}

/** Of addresses: what can be told of one. */
type End = Pick<AddressAtom, "prefix" | "representative">;

/** What matches leave of a reach. */
class Narrowing {
  readonly everything: Reach;
  readonly #program: TableProgram;
  readonly #atoms: readonly End[];
  readonly #sets: ReadonlyMap<string, IPSet>;
  readonly #members = new Map<string, AtomSet>();
  /** By `cidrKey`. */
  readonly #inPrefixes = new Map<number | string, AtomSet>();
  readonly #behind = new Map<string, AtomSet | undefined>();
  /** The atoms that are one address. */
  readonly #hosts = new Map<number | string, number>();
  /** The atoms by the address that speaks for each. */
  readonly #representatives = new Map<number | string, number>();
  readonly #all: AtomSet;
  readonly #none: AtomSet;

  constructor(program: TableProgram, ends: readonly End[]) {
    this.#program = program;
    this.#atoms = ends;
    for (const [index, { prefix, representative }] of ends.entries()) {
      if (isHost(prefix)) this.#hosts.set(cidrKey(prefix), index);
      this.#representatives.set(cidrKey(hostCidr(representative)), index);
    }
    this.#sets = new Map(program.sets.map((set) => [set.name, set]));
    this.#none = new AtomSet(ends.length);
    this.#all = this.#none.not();
    this.everything = { sources: this.#all, destinations: this.#none };
  }

  narrow(reach: Reach, matches: readonly Match[]): Reach {
    const told = matches.flatMap((match) => this.told(match) ?? []);
    // The narrowest first: what is known of all packets becomes what the first of them says.
    told.sort((a, b) => a.atoms.size - b.atoms.size);
    let { sources, destinations } = reach;
    for (const { side, atoms } of told) {
      if (side === "source") sources = sources.and(atoms);
      else if (sources.size < this.#atoms.length) destinations = destinations.and(atoms);
      else [sources, destinations] = [this.#none, atoms];
    }
    return { sources, destinations };
  }

  /** The atoms that a match can hold for; undefined: it says nothing about addresses, or nothing that is sure. */
  told(match: Match): { readonly side: Side; readonly atoms: AtomSet } | undefined {
    switch (match.kind) {
      case "address": {
        const atoms = this.#within(match.cidr);
        return { side: match.side, atoms: match.negate ? atoms.not() : atoms };
      }
      case "set": {
        const side = match.sides[0];
        if (match.negate || side === undefined) return undefined;
        return { side, atoms: this.#membersOf(match.set) };
      }
      case "interface": {
        const pods = match.negate ? undefined : this.#behindOf(match.name);
        return pods && { side: match.side === "in" ? "source" : "destination", atoms: pods };
      }
      case "physdev": {
        // Of two tests one is enough to know.
        const test = match.in ?? match.out;
        const pods = test === undefined || test.negate ? undefined : this.#behindOf(test.name);
        return pods && { side: match.in === undefined ? "destination" : "source", atoms: pods };
      }
      default:
        return undefined;
    }
  }

  /** Atoms that some member covers, exceptions of the set among them. */
  #membersOf(name: string): AtomSet {
    const known = this.#members.get(name);
    if (known !== undefined) return known;
    const atoms = new AtomSet(this.#atoms.length);
    this.#members.set(name, atoms);
    for (const member of this.#sets.get(name)?.members ?? []) {
      if (member.kind === "set") atoms.addAll(this.#membersOf(member.set));
      else this.#addWithin(member.cidr, atoms);
    }
    return atoms;
  }

  #within(cidr: Cidr): AtomSet {
    const key = cidrKey(cidr);
    const known = this.#inPrefixes.get(key);
    if (known !== undefined) return known;
    const atoms = new AtomSet(this.#atoms.length);
    this.#addWithin(cidr, atoms);
    this.#inPrefixes.set(key, atoms);
    return atoms;
  }

  /** Adds the atoms that the prefix has whole. */
  #addWithin(cidr: Cidr, atoms: AtomSet): void {
    if (isHost(cidr)) {
      const host = this.#hosts.get(cidrKey(cidr));
      if (host !== undefined) atoms.add(host);
      return;
    }
    for (const [index, { prefix }] of this.#atoms.entries()) {
      if (prefix.prefixLength >= cidr.prefixLength && cidrContains(cidr, prefix)) atoms.add(index);
    }
  }

  #behindOf(name: string): AtomSet | undefined {
    if (!this.#behind.has(name)) this.#behind.set(name, this.#podsBehind(name));
    return this.#behind.get(name);
  }

  /** The pods that hang on interfaces of the name; undefined: others may come by one of them. */
  #podsBehind(name: string): AtomSet | undefined {
    const isMeant = (device: string | undefined) =>
      device !== undefined && (name.endsWith("+") ? device.startsWith(name.slice(0, -1)) : device === name);
    const { pods, uplink, bridge, remotePodsPort } = this.#program.attachment;
    if ([uplink, bridge, remotePodsPort].some(isMeant)) return undefined;
    const behind = new AtomSet(this.#atoms.length);
    for (const pod of pods) {
      if (!isMeant(pod.interface)) continue;
      for (const address of pod.addresses) {
        const atom = this.#representatives.get(cidrKey(hostCidr(address)));
        if (atom !== undefined) behind.add(atom);
      }
    }
    return behind;
  }
}

function isHost({ family, prefixLength }: Cidr): boolean {
  return prefixLength === addressBits(family);
}
