/** What the matches of a node's rules say of openings, as cubes. */
import { rememberedBy } from "../../compiler/again.ts";
import type { IpAddress } from "../../dataplane/address.ts";
import type { CurrentPacket } from "../../dataplane/currentPacket.ts";
import { DeviceTable, NO_DEVICE } from "../../dataplane/devices.ts";
import type { Hook, IPSet, Match, Side, TableProgram } from "../../dataplane/program.ts";
import { NodeRoutes } from "../../dataplane/routes.ts";
import { MatchTable } from "../../dataplane/tables/matches.ts";
import { hideDevices } from "../../dataplane/tables/ways.ts";
import { AtomSet } from "../atomSet.ts";
import { ANYTHING, addBox, type Box, both, type Cube, split } from "./boxes.ts";
import { type Cubes, NEVER, NO_SETS, onSide, type PacketMatches } from "./packetMatches.ts";
import type { PairQuestion } from "./question.ts";

type SetMatch = Extract<Match, { kind: "set" }>;

/** Matches that read what rules write: they are asked when it is known. */
export type MarkMatch = Extract<Match, { kind: "mark" | "connmark" }>;

export function isMarkMatch(match: Match): match is MarkMatch {
  return match.kind === "mark" || match.kind === "connmark";
}

const TEXTS = new WeakMap<Match, string>();

/** The conditions of one node's rules. Devices are those that a hook shows. */
export class Conditions {
  readonly #routes: NodeRoutes;
  readonly #question: PairQuestion;
  readonly #sets: ReadonlyMap<string, IPSet>;
  readonly #matches: MatchTable;
  readonly #packets: PacketMatches;
  /** By end. */
  readonly #places: readonly number[];
  readonly #lists = new Map<string, Cubes>();
  readonly #byText = new Map<string, Cubes>();
  readonly #devices = new DeviceTable();
  /** The ends that a device leads to. */
  readonly #byDevice = new Map<number, AtomSet>();
  readonly #behind = new Map<string, AtomSet>();
  /** Whether some end is behind a port of a bridge. */
  readonly #hasPorts: boolean;

  constructor(program: TableProgram, question: PairQuestion, packets: PacketMatches) {
    this.#packets = packets;
    const devices = this.#devices;
    this.#routes = new NodeRoutes(program.attachment, devices);
    this.#question = question;
    this.#sets = new Map(program.sets.map((set) => [set.name, set]));
    this.#matches = new MatchTable({ devices, routes: this.#routes, sets: NO_SETS });
    this.#places = question.ends.map(({ family, words: [word0 = 0, word1 = 0, word2 = 0, word3 = 0] }) =>
      this.#routes.place(family, word0, word1, word2, word3),
    );
    for (const [end, place] of this.#places.entries()) {
      const device = this.#routes.device(place);
      const behind = this.#byDevice.get(device) ?? new AtomSet(question.ends.length);
      this.#byDevice.set(device, behind);
      behind.add(end);
    }
    this.#hasPorts = this.#places.some((place) => this.#routes.port(place) !== NO_DEVICE);
  }

  /** The ends on the node itself. */
  get local(): AtomSet {
    return AtomSet.of(this.#places.map((place) => place === NodeRoutes.LOCAL));
  }

  /** The openings for which all matches hold, those of marks and states left out; undefined: that cannot be said. */
  of(matches: readonly Match[], hook: Hook): Cubes | undefined {
    // Most matches are one cube, and a rule of such is what they have in common.
    let common = ANYTHING;
    let others: Cubes | undefined;
    for (let index = 0; index < matches.length; index++) {
      const match = matches[index] as Match;
      if (match.kind === "comment" || match.kind === "ctState" || isMarkMatch(match)) continue;
      const own = this.#cubesOf(match, hook);
      if (own === undefined) return undefined;
      if (own.length === 1) {
        const left = both(common, own[0] as Cube);
        if (left === undefined) return NEVER;
        common = left;
      } else others = others === undefined ? own : crossed(others, own);
    }
    return others === undefined ? [common] : crossed([common], others);
  }

  #cubesOf(match: Match, hook: Hook): Cubes | undefined {
    switch (match.kind) {
      case "interface":
        return this.#ofInterface(match, hook);
      case "physdev":
      case "rpfilter":
        return this.#asked(match, hook);
      case "limit":
      case "opaque":
        return undefined;
      case "address":
        return this.#packets.ofAddress(match);
      case "set": {
        const cubes = this.#ofSet(match);
        return match.negate ? split([this.#boxOf(ANYTHING)], cubes).outside.map(this.#cubeOf) : cubes;
      }
      case "addressType":
        return this.#asked(match, hook);
      default:
        return this.#packets.ofHeader(match);
    }
  }

  #ofAddressType(match: Extract<Match, { kind: "addressType" }>): Cubes {
    const record = this.#record(match);
    const isMeant = (end: number) => this.#matches.test(record, this.#packets.present(end, end, 0));
    return onSide(
      match.side,
      this.#question.endsThat((_, end) => isMeant(end)),
    );
  }

  #ofSet({ set: name, sides }: Pick<SetMatch, "set" | "sides">): Cubes {
    const set = this.#sets.get(name);
    if (set === undefined) throw new Error(`a rule asks for set ${name}, which the program lacks`);
    if (set.type !== "list:set") return this.#packets.ofHashes(set, sides);
    const key = `${name} ${sides.join()}`;
    const known = this.#lists.get(key) ?? this.#ofList(set, sides);
    this.#lists.set(key, known);
    return known;
  }

  #ofList(list: IPSet, sides: readonly Side[]): Cubes {
    const boxes: Box[] = [];
    for (const member of list.members) {
      if (member.kind !== "set") throw new Error(`list ${list.name} holds what is no set`);
      const own = this.#ofSet({ set: member.set, sides });
      for (const box of split(own.map(this.#boxOf), boxes).outside) addBox(boxes, box);
    }
    return boxes.map(this.#cubeOf);
  }

  /** Rules have few such matches, in many copies. */
  #asked(match: Match, hook: Hook): Cubes | undefined {
    const key = `${hook} ${rememberedBy(TEXTS, match, textOf)}`;
    const known =
      this.#byText.get(key) ??
      (match.kind === "addressType" ? this.#ofAddressType(match) : this.#ofDevices(match, hook));
    if (known !== undefined) this.#byText.set(key, known);
    return known;
  }

  /** What a hook shows of the device on one side is that side's own, but where a bridge passes packets on. */
  #ofInterface(match: Extract<Match, { kind: "interface" }>, hook: Hook): Cubes | undefined {
    const { side, name, negate } = match;
    if (hook === "POSTROUTING" && side === "in" && this.#hasPorts) return this.#asked(match, hook);
    const isHidden = side === "in" ? hook === "OUTPUT" : hook === "PREROUTING" || hook === "INPUT";
    const key = `${name} ${isHidden} ${negate}`;
    const known = this.#behind.get(key) ?? this.#endsBehind(name, isHidden, negate);
    this.#behind.set(key, known);
    return onSide(side === "in" ? "source" : "destination", known);
  }

  #endsBehind(name: string, isHidden: boolean, negate: boolean): AtomSet {
    const pattern = this.#devices.pattern(name);
    const ends = new AtomSet(this.#places.length);
    for (const [device, behind] of this.#byDevice) {
      if (this.#devices.matches(pattern, isHidden ? NO_DEVICE : device) !== negate) ends.addAll(behind);
    }
    return ends;
  }

  /**
   * Which ends are together behind one device and port is one question for all of them. A walk shows devices hook by hook
   * (`TableWalker`), and where a bridge passes a packet on the way it leaves hides the way it came.
   */
  #ofDevices(match: Match, hook: Hook): Cubes | undefined {
    if (match.kind === "rpfilter" && this.#question.ends.some(needsNoRoute)) return undefined;
    const record = this.#record(match);
    const { ends } = this.#question;
    const byPlace = new Map<number, number[]>();
    for (const [end, place] of this.#places.entries()) {
      const known = byPlace.get(place);
      if (known === undefined) byPlace.set(place, [end]);
      else known.push(end);
    }
    const groups = new Map<string, { sources: AtomSet; destinations: AtomSet }>();
    // The way back is the source's alone, where the device it came by is shown.
    const isOfSource = match.kind === "rpfilter" && hook !== "POSTROUTING";
    const others = isOfSource ? [[...ends.keys()]] : [...byPlace.values()];
    for (const from of byPlace.values()) {
      const destinations = new AtomSet(ends.length);
      for (const to of others) {
        if (this.#matches.test(record, this.#shown(from[0] ?? 0, to[0] ?? 0, hook))) {
          for (const end of to) destinations.add(end);
        }
      }
      if (destinations.isEmpty) continue;
      const group = groups.get(destinations.key) ?? { sources: new AtomSet(ends.length), destinations };
      groups.set(destinations.key, group);
      for (const end of from) group.sources.add(end);
    }
    return [...groups.values()].map((group) => this.#cubeOf({ ...group, ports: this.#question.allPorts }));
  }

  #shown(from: number, to: number, hook: Hook): CurrentPacket {
    const packet = this.#packets.present(from, to, 0);
    const [source, destination] = [this.#places[from] ?? 0, this.#places[to] ?? 0];
    const physIn = this.#routes.port(source);
    const physOut = physIn === NO_DEVICE ? NO_DEVICE : this.#routes.port(destination);
    packet.inDevice = this.#routes.device(source);
    packet.outDevice = this.#routes.device(destination);
    packet.physInDevice = physIn;
    packet.physOutDevice = physOut;
    hideDevices(packet, hook);
    return packet;
  }

  readonly #boxOf = ({ sources, destinations, ports }: Cube): Box => {
    const { allEnds, allPorts } = this.#question;
    return { sources: sources ?? allEnds, destinations: destinations ?? allEnds, ports: ports ?? allPorts };
  };

  readonly #cubeOf = ({ sources, destinations, ports }: Box): Cube => {
    const { allEnds, allPorts } = this.#question;
    return {
      sources: sources.equals(allEnds) ? undefined : sources,
      destinations: destinations.equals(allEnds) ? undefined : destinations,
      ports: ports.equals(allPorts) ? undefined : ports,
    };
  };

  #record(match: Match): number {
    const record = this.#matches.length;
    this.#matches.add(match, 0);
    return record;
  }
}

function crossed(a: Cubes, b: Cubes): Cubes {
  return a.flatMap((one) => b.flatMap((other) => both(one, other) ?? []));
}

/** Whether `-m rpfilter` looks at where packets of the source go, before it looks for a route back (tables/matches.ts). */
function needsNoRoute({ family, words: [word0 = 0, ...others] }: IpAddress): boolean {
  return family === 4 ? word0 >>> 24 === 0 : word0 === 0 && others.every((word) => word === 0);
}

function textOf(match: Match): string {
  return JSON.stringify(match);
}
