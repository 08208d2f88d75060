/**
 * Which packets a rule of a table can match, as boxes of classes.
 *
 * A match on addresses, ports, protocol, state or device is a set of values; all values that no match of the program tells
 * apart are one class, so a match is a set of classes, and a rule a box: one set for each field, ANDed. What a match
 * reads beside these fields (marks, sets of two dimensions, flags, …) makes the box wider than the rule, never narrower:
 * such a box may say that a rule matches nothing, but must not be taken away from what is left for the rules below.
 */
import { type Cidr, cidrContains, type Family } from "../../dataplane/address.ts";
import { hasPorts } from "../../dataplane/packet.ts";
import type { IPSet, Match, PortRange, Rule, TableProgram } from "../../dataplane/program.ts";
import { AtomSet } from "../atomSet.ts";

/** Fields of a packet that boxes have. */
export const FIELDS = [
  "source",
  "destination",
  "protocol",
  "sourcePort",
  "destinationPort",
  "state",
  "in",
  "out",
  "fragment",
] as const;
export type Field = (typeof FIELDS)[number];

/** The classes of each field that are in it; a field that is left out has all of its own. */
export type RuleBox = { readonly [Name in Field]?: AtomSet };

export interface RuleRegion {
  /** Undefined: the conditions contradict each other. */
  readonly box: RuleBox | undefined;
  /** The rule matches every packet of the box. */
  readonly isExact: boolean;
}

const STATES = ["new", "established", "related", "invalid", "untracked"] as const;
const PROTOCOLS = 256;
const LAST_PORT = 65_535;

/** The part that two have in common; undefined: none. */
export function common(a: RuleBox, b: RuleBox): RuleBox | undefined {
  const both: { [Name in Field]?: AtomSet } = { ...a };
  for (const field of FIELDS) {
    const [own, other] = [a[field], b[field]];
    if (other === undefined) continue;
    const set = own === undefined ? other : own.and(other);
    if (set.isEmpty) return undefined;
    both[field] = set;
  }
  return both;
}

/** What is left of a box without another: at most one box a field. */
export function without(box: RuleBox, taken: RuleBox): readonly RuleBox[] {
  if (common(box, taken) === undefined) return [box];
  const left: RuleBox[] = [];
  let rest = box;
  for (const field of FIELDS) {
    const gone = taken[field];
    if (gone === undefined) continue;
    const own = rest[field];
    const outside = own === undefined ? gone.not() : own.and(gone.not());
    if (!outside.isEmpty) left.push({ ...rest, [field]: outside });
    rest = { ...rest, [field]: own === undefined ? gone : own.and(gone) };
  }
  return left;
}

/** One box around all. */
export function hull(boxes: readonly RuleBox[]): RuleBox {
  const [first, ...others] = boxes;
  let around: { [Name in Field]?: AtomSet } = { ...first };
  for (const box of others) {
    const next: { [Name in Field]?: AtomSet } = {};
    for (const field of FIELDS) {
      const [own, other] = [around[field], box[field]];
      if (own !== undefined && other !== undefined) next[field] = own.or(other);
    }
    around = next;
  }
  return around;
}

/** Classes of one field; not exact: some of what is in them does not match. */
interface ClassSet {
  readonly set: AtomSet;
  readonly isExact: boolean;
}

interface MatchRegion {
  readonly box: RuleBox;
  readonly isExact: boolean;
}

const UNREAD: MatchRegion = { box: {}, isExact: false };

/** A packet that is no later fragment. */
const ONLY_WHOLE = AtomSet.of([true, false]);

function exactly(set: AtomSet): ClassSet {
  return { set, isExact: true };
}

function inField(field: Field, { set, isExact }: ClassSet): MatchRegion {
  return { box: { [field]: set }, isExact };
}

/** The classes of one family of a program. */
export class RuleBoxes {
  readonly #family: Family;
  readonly #addresses: readonly Cidr[];
  /** First numbers of the classes of ports. */
  readonly #ports: readonly number[];
  readonly #devices: readonly string[];
  readonly #sets: ReadonlyMap<string, IPSet>;
  readonly #known = new Map<string, ClassSet>();

  constructor(program: TableProgram, family: Family) {
    this.#family = family;
    this.#sets = new Map(program.sets.map((set) => [set.name, set]));
    const rules = program.families
      .filter((one) => one.family === family)
      .flatMap(({ tables }) => tables.flatMap(({ chains }) => chains.flatMap((chain) => chain.rules)));
    const prefixes = new Map<string, Cidr>();
    const ports = new Set([0]);
    const devices = new Set(program.attachment.pods.map((pod) => pod.interface));
    const { bridge, uplink } = program.attachment;
    for (const name of [bridge, uplink]) if (name !== undefined) devices.add(name);
    const addPrefix = (cidr: Cidr) => prefixes.set(cidrKey(cidr), cidr);
    addPrefix({ family, words: family === 4 ? [0] : [0, 0, 0, 0], prefixLength: 0 });
    for (const { members, family: own } of program.sets) {
      if (own !== family) continue;
      for (const member of members) if (member.kind !== "set") addPrefix(member.cidr);
    }
    for (const { matches } of rules) {
      for (const match of matches) {
        if (match.kind === "address") addPrefix(match.cidr);
        if (match.kind === "interface") devices.add(match.name);
        if (match.kind !== "ports") continue;
        for (const { first, last } of match.ranges) {
          ports.add(first);
          if (last < LAST_PORT) ports.add(last + 1);
        }
      }
    }
    this.#addresses = [...prefixes.values()];
    this.#ports = [...ports].sort((a, b) => a - b);
    // The last one stands for every device that nobody names.
    this.#devices = [...devices, ""];
  }

  /** A number for how much there is to do. */
  get classCount(): number {
    return this.#addresses.length + this.#ports.length + this.#devices.length;
  }

  region({ matches }: Rule): RuleRegion {
    let box: RuleBox | undefined = {};
    let isExact = true;
    for (const match of matches) {
      if (match.kind === "comment") continue;
      const read = this.#read(match);
      isExact &&= read.isExact;
      // Later fragments have no ports.
      const narrowed = match.kind === "ports" ? { fragment: ONLY_WHOLE, ...read.box } : read.box;
      if (box !== undefined)
        box = Object.values(narrowed).some((set) => set.isEmpty) ? undefined : common(box, narrowed);
    }
    // What other protocols have in the place of ports is not a matter of boxes.
    const asksPorts = matches.some(({ kind }) => kind === "ports");
    const ofPorts = matches.some((match) => match.kind === "protocol" && !match.negate && hasPorts(match.protocol));
    return { box, isExact: isExact && (!asksPorts || ofPorts) };
  }

  /** The classes that a match lets through; empty: it reads something else. */
  #read(match: Match): MatchRegion {
    switch (match.kind) {
      case "address":
        return inField(
          match.side,
          this.#once(`${match.negate} ${cidrKey(match.cidr)}`, () => this.#inside(match.cidr, match.negate)),
        );
      case "protocol":
        return inField(
          "protocol",
          exactly(numbers(PROTOCOLS, (number) => (number === match.protocol) !== match.negate)),
        );
      case "ports":
        if (match.side === "either") return UNREAD;
        return inField(`${match.side}Port`, exactly(this.#portsIn(match.ranges, match.negate)));
      case "ctState": {
        // Nothing here translates addresses: the flags of translated connections never hold.
        const set = AtomSet.of(STATES.map((state) => match.states.includes(state) !== match.negate));
        return inField("state", exactly(set));
      }
      case "interface":
        return inField(match.side, exactly(this.#device(match.name, match.negate)));
      case "fragment":
        return inField("fragment", exactly(match.negate ? ONLY_WHOLE : ONLY_WHOLE.not()));
      case "set":
        return this.#set(match);
      default:
        return UNREAD;
    }
  }

  #inside(cidr: Cidr, negate: boolean): ClassSet {
    return exactly(AtomSet.of(this.#addresses.map((atom) => contains(cidr, atom) !== negate)));
  }

  #portsIn(ranges: readonly PortRange[], negate: boolean): AtomSet {
    return AtomSet.of(
      this.#ports.map((port) => ranges.some(({ first, last }) => port >= first && port <= last) !== negate),
    );
  }

  #device(name: string, negate: boolean): AtomSet {
    return AtomSet.of(this.#devices.map((device) => means(name, device) !== negate));
  }

  #set({ set: name, sides, negate }: Extract<Match, { kind: "set" }>): MatchRegion {
    const [side] = sides;
    const set = this.#sets.get(name);
    if (side === undefined || set === undefined || set.family !== this.#family) return UNREAD;
    const read = this.#once(`set ${name}`, () => this.#membersOf(set));
    if (!negate) return inField(side, read);
    // Whatever is not surely in it may be outside.
    return read.isExact ? inField(side, exactly(read.set.not())) : UNREAD;
  }

  /** Addresses that may be in the set; of lists those of any of theirs. */
  #membersOf(set: IPSet): ClassSet {
    if (set.type === "list:set") {
      const all = new AtomSet(this.#addresses.length);
      let isExact = true;
      for (const member of set.members) {
        const inner = member.kind === "set" ? this.#sets.get(member.set) : undefined;
        if (inner === undefined) continue;
        const read = this.#once(`set ${inner.name}`, () => this.#membersOf(inner));
        all.addAll(read.set);
        isExact &&= read.isExact;
      }
      return { set: all, isExact };
    }
    const cidrs = set.members.flatMap((member) => (member.kind === "set" ? [] : [member]));
    const isPlain = cidrs.every((member) => member.kind === "net");
    // The most specific member decides.
    const inside = AtomSet.of(
      this.#addresses.map((atom) => {
        const found = cidrs.filter(({ cidr }) => contains(cidr, atom));
        const longest = Math.max(-1, ...found.map(({ cidr }) => cidr.prefixLength));
        return found.some(({ cidr, nomatch }) => cidr.prefixLength === longest && nomatch !== true);
      }),
    );
    return { set: inside, isExact: isPlain };
  }

  #once(key: string, make: () => ClassSet): ClassSet {
    const known = this.#known.get(key) ?? make();
    this.#known.set(key, known);
    return known;
  }
}

/** An address class is a prefix less those inside it: it is in a prefix as a whole, or not at all. */
function contains(cidr: Cidr, atom: Cidr): boolean {
  return cidr.prefixLength <= atom.prefixLength && cidrContains(cidr, atom);
}

/** A device class is a name, or for `cali+` all that begin so, have no class of their own and match no longer pattern. */
function means(name: string, device: string): boolean {
  if (name === device) return true;
  return name.endsWith("+") && device.startsWith(name.slice(0, -1));
}

function numbers(bound: number, holds: (number: number) => boolean): AtomSet {
  return AtomSet.of(Array.from({ length: bound }, (_, number) => holds(number)));
}

function cidrKey({ family, words, prefixLength }: Cidr): string {
  return `${family} ${words.join(".")}/${prefixLength}`;
}
