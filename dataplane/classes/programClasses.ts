/**
 * The classes of a table program, field by field: what its matches read, and which values of it none of them can tell
 * apart.
 */
import { type Cidr, type Family, type IpAddress, maskWord } from "../address.ts";
import { assertNever } from "../assertNever.ts";
import type { DeviceTable } from "../devices.ts";
import { PROTOCOL } from "../packet.ts";
import type { IPSet, Match, Side, TableProgram } from "../program.ts";
import { NodeRoutes } from "../routes.ts";
import { type AddressClasses, AddressCuts, type Prefix, YES } from "./addressClasses.ts";
import { DeviceClasses } from "./deviceClasses.ts";
import { type RangeClasses, RangeCuts } from "./rangeClasses.ts";
import { NO_QUESTION, SetAnswers } from "./setAnswers.ts";

export interface ProgramClasses {
  readonly source4: AddressClasses;
  readonly source6: AddressClasses;
  readonly destination4: AddressClasses;
  readonly destination6: AddressClasses;
  readonly setAnswers: SetAnswers;
  readonly sourcePorts: RangeClasses;
  readonly destinationPorts: RangeClasses;
  /** Of `type << 8 | code`. */
  readonly messages: RangeClasses;
  /** By protocol number. */
  readonly protocols: Uint8Array;
  /** By flags byte. */
  readonly tcpFlags: Uint8Array;
  readonly in: DeviceClasses;
  readonly out: DeviceClasses;
  readonly physIn: DeviceClasses;
  readonly physOut: DeviceClasses;
  /** Whether a rule reads or writes the mark of connections. */
  readonly asksConnmark: boolean;
  /** Whether what comes before connection tracking depends on how many packets came before. */
  readonly limitsBeforeTracking: boolean;
}

/** What the program stands on. */
interface Surroundings {
  readonly devices: DeviceTable;
  readonly routes: NodeRoutes;
}

/** Protocols whose headers matches and sets read, each in its own way (matches.ts, ipset.ts). */
const OWN_CLASS: readonly number[] = [
  PROTOCOL.icmp,
  PROTOCOL.tcp,
  PROTOCOL.udp,
  PROTOCOL.dccp,
  PROTOCOL.icmpv6,
  PROTOCOL.sctp,
  PROTOCOL.udplite,
];

/** An answer beside `YES`: a set names the prefix as one that it does not hold. */
const EXCEPTION = 2;

/** The question whether an address is the node's own. */
const IS_LOCAL = "local";

/** Questions about protocols count down from here, out of the way of those that have numbers (`ITSELF` is -1). */
const FIRST_PROTOCOL = -2;

/** Prefixes that have a question at most. */
const MOST_PREFIXES = 64;

/** The classes of a program. Expects one that `loadTables` accepts. */
export function classesOf(program: TableProgram, surroundings: Surroundings): ProgramClasses {
  const questions = new Questions(program, surroundings);
  for (const { tables } of program.families) {
    for (const { chains } of tables) {
      for (const { rules } of chains)
        for (const { matches } of rules) for (const match of matches) questions.ask(match);
    }
  }
  return questions.classes();
}

/** Everything asked so far. */
class Questions {
  readonly #program: TableProgram;
  readonly #surroundings: Surroundings;
  readonly #addresses = {
    source: { 4: new AddressCuts(4), 6: new AddressCuts(6) },
    destination: { 4: new AddressCuts(4), 6: new AddressCuts(6) },
  };
  readonly #ports = { source: new RangeCuts(), destination: new RangeCuts() };
  readonly #messages = new RangeCuts();
  readonly #protocols = new Set(OWN_CLASS);
  readonly #flagTests = new Map<string, { readonly mask: number; readonly compare: number }>();
  readonly #patterns = {
    in: new Set<number>(),
    out: new Set<number>(),
    physIn: new Set<number>(),
    physOut: new Set<number>(),
  };
  #asksReversePath = false;
  readonly #sets: ReadonlyMap<string, IPSet>;
  /** What was asked before, so that a set in a thousand rules is gone through once. */
  readonly #asked = new Set<string>();
  /** Numbers of the questions put to `AddressCuts`, and how many of them are prefixes. */
  readonly #questions = new Map<string, number>();
  #prefixes = 0;

  constructor(program: TableProgram, surroundings: Surroundings) {
    this.#program = program;
    this.#surroundings = surroundings;
    this.#sets = new Map(program.sets.map((set) => [set.name, set]));
  }

  ask(match: Match): void {
    switch (match.kind) {
      case "address": {
        this.#askPrefix(match.side, match.cidr);
        return;
      }
      case "interface":
        this.#patterns[match.side].add(this.#surroundings.devices.pattern(match.name));
        return;
      case "protocol":
        this.#protocols.add(match.protocol);
        return;
      case "ports":
        if (match.side !== "destination") this.#ports.source.ask(match.ranges);
        if (match.side !== "source") this.#ports.destination.ask(match.ranges);
        return;
      case "tcpFlags":
        this.#flagTests.set(`${match.mask} ${match.compare}`, match);
        return;
      case "icmp": {
        const { type, code } = match;
        this.#messages.ask([{ first: (type << 8) | (code ?? 0), last: (type << 8) | (code ?? 0xff) }]);
        return;
      }
      case "set":
        this.#askSet(match.set, match.sides);
        return;
      case "addressType":
        this.#askAddressType(match.side);
        return;
      case "physdev":
        if (match.in !== undefined) this.#patterns.physIn.add(this.#surroundings.devices.pattern(match.in.name));
        if (match.out !== undefined) this.#patterns.physOut.add(this.#surroundings.devices.pattern(match.out.name));
        return;
      case "rpfilter":
        this.#askReversePath();
        return;
      case "mark": // Part of the tuple as they are.
      case "connmark":
      case "ctState":
      case "fragment":
      case "limit": // Not of the packet: outcomes that hang on it are not remembered.
      case "comment":
      case "opaque":
        return;
      default:
        assertNever(match);
    }
  }

  classes(): ProgramClasses {
    const { devices } = this.#surroundings;
    const plain = (patterns: ReadonlySet<number>) => new DeviceClasses(devices, { patterns, isIdentity: false });
    const { source, destination } = this.#addresses;
    const told = this.#questions.size;
    const sides = {
      source4: source[4].classes(told),
      source6: source[6].classes(told),
      destination4: destination[4].classes(told),
      destination6: destination[6].classes(told),
    };
    // Written out: objects made by a spread differ to the JS engine from program to program, and each packet reads this one.
    return {
      source4: sides.source4,
      source6: sides.source6,
      destination4: sides.destination4,
      destination6: sides.destination6,
      setAnswers: new SetAnswers(sides, {
        question: (name) => this.#questionOfSet(name),
        listed: (name) => this.#questionsOfList(name),
        local: () => this.#questions.get(IS_LOCAL) ?? NO_QUESTION,
        prefix: (word, mask) => this.#questions.get(questionOfPrefix(word, mask)) ?? NO_QUESTION,
      }),
      sourcePorts: this.#ports.source.classes(),
      destinationPorts: this.#ports.destination.classes(),
      messages: this.#messages.classes(),
      protocols: protocolClasses(this.#protocols),
      tcpFlags: flagClasses([...this.#flagTests.values()]),
      in: new DeviceClasses(devices, { patterns: this.#patterns.in, isIdentity: this.#asksReversePath }),
      out: plain(this.#patterns.out),
      physIn: plain(this.#patterns.physIn),
      physOut: plain(this.#patterns.physOut),
      asksConnmark: asksConnmark(this.#program),
      limitsBeforeTracking: limitsBeforeTracking(this.#program),
    };
  }

  /**
   * A prefix of IPv4 has a question of its own, unless it is a single address, which chains dispatch by, or many have:
   * each takes a bit of every class.
   */
  #askPrefix(side: Side, { family, words, prefixLength }: Cidr): void {
    const [word = 0] = words;
    const mask = maskWord(prefixLength);
    const name = questionOfPrefix(word, mask);
    const mayHave = family === 4 && prefixLength < 32 && (word & mask) === word;
    const has = mayHave && (this.#questions.has(name) || this.#prefixes < MOST_PREFIXES);
    const cuts = this.#addresses[side][family];
    const prefix = { words, length: prefixLength };
    if (!has) {
      cuts.cut(prefix);
      return;
    }
    if (!this.#questions.has(name)) this.#prefixes++;
    cuts.answer(prefix, this.#question(name), YES);
  }

  #questionOfSet(name: string): number {
    const type = this.#sets.get(name)?.type;
    return type === "hash:ip" || type === "hash:net"
      ? (this.#questions.get(questionOf(name)) ?? NO_QUESTION)
      : NO_QUESTION;
  }

  #questionsOfList(name: string): readonly number[] | undefined {
    const list = this.#sets.get(name);
    if (list?.type !== "list:set") return undefined;
    const questions = list.members.map((member) =>
      member.kind === "set" ? this.#questionOfSet(member.set) : NO_QUESTION,
    );
    return questions.includes(NO_QUESTION) ? undefined : questions;
  }

  /** One look per set and sides; a list asks each of its sets. */
  #askSet(name: string, sides: readonly Side[]): void {
    const key = `${sides.join()} ${name}`;
    if (this.#asked.has(key)) return;
    this.#asked.add(key);
    const set = this.#sets.get(name);
    const [first = "destination", second = "destination"] = sides;
    const question = this.#question(questionOf(name));
    for (const member of set?.members ?? []) {
      if (member.kind === "set") {
        this.#askSet(member.set, sides);
        continue;
      }
      const { family, words, prefixLength } = member.cidr;
      const prefix = { words, length: prefixLength };
      const cuts = this.#addresses[first][family];
      cuts.answer(prefix, question, member.nomatch === true ? EXCEPTION : YES);
      if (member.kind !== "netPort") continue;
      const { protocol, port } = member;
      cuts.answer(prefix, FIRST_PROTOCOL - protocol, port);
      this.#protocols.add(protocol);
      if (protocol === PROTOCOL.icmp || protocol === PROTOCOL.icmpv6) this.#messages.askValue(port);
      else this.#ports[second].askValue(port);
    }
  }

  /** The types that `-m addrtype` tells: what matches.ts compares, as prefixes. */
  #askAddressType(side: Side): void {
    if (this.#asked.has(`type of ${side}`)) return;
    this.#asked.add(`type of ${side}`);
    for (const family of [4, 6] as const) {
      const cuts = this.#addresses[side][family];
      for (const prefix of TYPED[family]) cuts.cut(prefix);
      cuts.answer(LOOPBACK[family], this.#question(IS_LOCAL), YES);
    }
    const { localAddresses } = this.#program.attachment;
    for (const local of localAddresses) this.#setPlace(side, local, IS_LOCAL);
  }

  /** `-m rpfilter`: each device is a class, and each source has the device behind which it is. */
  #askReversePath(): void {
    if (this.#asksReversePath) return;
    this.#asksReversePath = true;
    for (const family of [4, 6] as const)
      for (const prefix of TYPED[family]) this.#addresses.source[family].cut(prefix);
    for (const prefix of ROUTELESS_GROUPS) this.#addresses.destination[4].cut(prefix);
    const { localAddresses, pods, remotePodAddresses } = this.#program.attachment;
    for (const known of [...localAddresses, ...pods.flatMap(({ addresses }) => addresses), ...remotePodAddresses]) {
      this.#setPlace("source", known, "route");
    }
  }

  /** The address has what the routes say of it: its device, or for `IS_LOCAL` only whether it is the node's own. */
  #setPlace(side: Side, { family, words }: IpAddress, what: typeof IS_LOCAL | "route"): void {
    const { routes } = this.#surroundings;
    const [word0 = 0, word1 = 0, word2 = 0, word3 = 0] = words;
    const place = routes.place(family, word0, word1, word2, word3);
    const isLocal = place === NodeRoutes.LOCAL;
    const value = isLocal ? YES : what === IS_LOCAL ? 0 : 2 + routes.device(place);
    this.#addresses[side][family].answer({ words, length: family === 4 ? 32 : 128 }, this.#question(what), value);
  }

  #question(name: string): number {
    const known = this.#questions.get(name) ?? this.#questions.size;
    this.#questions.set(name, known);
    return known;
  }
}

function questionOf(set: string): string {
  return `set ${set}`;
}

function questionOfPrefix(word: number, mask: number): string {
  return `prefix ${word} ${mask}`;
}

/** What matches.ts (`#hasAddressType`, `#routesBack`) and routes.ts know of addresses without being told. */
const TYPED: Readonly<Record<Family, readonly Prefix[]>> = {
  4: [
    { words: [0], length: 8 },
    { words: [127 << 24], length: 8 },
    { words: [224 << 24], length: 4 },
    { words: [-1], length: 32 },
  ],
  6: [
    { words: [0, 0, 0, 0], length: 128 },
    { words: [0, 0, 0, 1], length: 128 },
    { words: [0, 0, 0xffff, 0], length: 96 },
    { words: [0xff << 24, 0, 0, 0], length: 8 },
  ],
};

/** What is the node's own wherever it is (routes.ts). */
const LOOPBACK: Readonly<Record<Family, Prefix>> = {
  4: { words: [127 << 24], length: 8 },
  6: { words: [0, 0, 0, 1], length: 128 },
};

/** Where a packet from 0.0.0.0/8 may go without a route back. */
const ROUTELESS_GROUPS: readonly Prefix[] = [
  { words: [-1], length: 32 },
  { words: [224 << 24], length: 24 },
];

function protocolClasses(named: ReadonlySet<number>): Uint8Array {
  const unnamed = Array.from({ length: 256 }, (_, protocol) => protocol).find((protocol) => !named.has(protocol)) ?? 0;
  return Uint8Array.from({ length: 256 }, (_, protocol) => (named.has(protocol) ? protocol : unnamed));
}

function flagClasses(tests: readonly { readonly mask: number; readonly compare: number }[]): Uint8Array {
  const classes = new Map<string, number>();
  return Uint8Array.from({ length: 256 }, (_, flags) => {
    const answers = tests.map(({ mask, compare }) => Number((flags & mask) === compare)).join("");
    const found = classes.get(answers) ?? classes.size;
    classes.set(answers, found);
    return found;
  });
}

function asksConnmark({ families }: TableProgram): boolean {
  return families.some(({ tables }) =>
    tables.some(({ chains }) =>
      chains.some(({ rules }) =>
        rules.some(
          ({ matches, target }) => target?.kind === "connmark" || matches.some(({ kind }) => kind === "connmark"),
        ),
      ),
    ),
  );
}

function limitsBeforeTracking({ families }: TableProgram): boolean {
  return families.some(({ tables }) =>
    tables.some(
      ({ name, chains }) =>
        name === "raw" &&
        chains.some(({ rules }) => rules.some(({ matches }) => matches.some(({ kind }) => kind === "limit"))),
    ),
  );
}
