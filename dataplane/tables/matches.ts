/**
 * The matches of all rules of a node in one table of numbers, and the test of one against the current packet.
 *
 * One record per match, so that a walk reads memory in order and allocates nothing:
 *
 *     | code | negate | a | b | c | index of the match in its rule |
 *
 * What a, b and c hold stands beside each code. Meanings: iptables(8), iptables-extensions(8), net/netfilter/xt_*.c.
 */

import { maskWord } from "../address.ts";
import { assertNever } from "../assertNever.ts";
import { ASKED, NO_QUESTION, type SetAnswers } from "../classes/setAnswers.ts";
import type { CurrentPacket } from "../currentPacket.ts";
import type { DeviceTable } from "../devices.ts";
import { hasPorts, PROTOCOL } from "../packet.ts";
import type { AddressType, Match } from "../program.ts";
import { NodeRoutes } from "../routes.ts";
import { CT_STATE_CODE } from "../verdict.ts";
import { isFirstSource, type LoadedSet, packSides } from "./ipset.ts";

const RECORD = 6;

const NOTHING = new Int32Array(0);
const LEAST_RECORDS = 2;

const CODE = {
  source4: 0, // a = address, b = mask
  destination4: 1,
  source6: 2, // a = index of four address words and four mask words in #words
  destination6: 3,
  in: 4, // a = device pattern
  out: 5,
  protocol: 6, // a = number
  fragment: 7,
  sourcePort: 8, // a = first, b = last, c = protocol
  destinationPort: 9,
  sourcePorts: 10, // a, b = from and to in #ranges
  destinationPorts: 11,
  eitherPorts: 12,
  tcpFlags: 13, // a = mask, b = compare
  icmp: 14, // a = type, b = code or -1, c = protocol; negative type: any
  set: 15, // a = index in #sets, b = packed sides
  mark: 16, // a = value, b = mask
  connmark: 17,
  ctState: 18, // a = bits 1 << CT_STATE_CODE
  addressType: 19, // a = ADDRESS_TYPE_CODE, b = 1 for the source
  physdev: 20, // a = PHYSDEV bits asked for, b = those inverted, c = in pattern << 16 | out pattern
  rpfilter: 21, // a = 1 when loose
  limit: 22, // a = index of four numbers in #buckets
} as const;

/** By code, 1: asks for addresses, ports or messages. What the others ask for is the same in one context, protocol and state. */
const OF_PACKET = new Uint8Array(CODE.limit + 1);
for (const code of [
  CODE.source4,
  CODE.destination4,
  CODE.source6,
  CODE.destination6,
  CODE.sourcePort,
  CODE.destinationPort,
  CODE.sourcePorts,
  CODE.destinationPorts,
  CODE.eitherPorts,
  CODE.icmp,
  CODE.set,
  CODE.addressType,
  CODE.rpfilter,
]) {
  OF_PACKET[code] = 1;
}

const ADDRESS_TYPE_CODE = {
  LOCAL: 0,
  UNICAST: 1,
  BROADCAST: 2,
  MULTICAST: 3,
  ANYCAST: 4,
  BLACKHOLE: 5,
} as const satisfies Record<AddressType, number>;

/** What a match asks, one question after the other, up to the first yes: for a list of sets, or for the node's own addresses. */
export interface TurnQuestions {
  readonly questions: readonly number[];
  readonly ofSource: boolean;
  readonly isNegated: boolean;
  /** Whether each that is asked counts as a look-up. */
  readonly isCounted: boolean;
}

const PHYSDEV = { in: 1, out: 2, isBridged: 4, isIn: 8, isOut: 16 } as const;

/** What the surroundings of a node answer. */
export interface MatchSurroundings {
  readonly devices: DeviceTable;
  readonly routes: NodeRoutes;
  readonly sets: ReadonlyMap<string, LoadedSet>;
}

/**
 * Grows while a program is loaded (`add`), then is only read (`test`).
 * `comment` has no record, since it always holds. Nor has `opaque`: what it means is the rule's business.
 */
export class MatchTable {
  readonly #devices: DeviceTable;
  readonly #routes: NodeRoutes;
  readonly #setNumbers = new Map<string, number>();
  readonly #setsByName: ReadonlyMap<string, LoadedSet>;
  readonly #sets: LoadedSet[] = [];
  readonly #ranges: number[] = [];
  readonly #words: number[] = [];
  /** Per limit, in ticks: cost of a packet, most credit, credit, time of the last packet. The only state of matches. */
  readonly #buckets: number[] = [];
  /** By set the question that asks it, and the answers. */
  #questions: Int32Array = NOTHING;
  /** By set, when it is a list of sets with questions: these. */
  #listed: readonly (readonly number[] | undefined)[] = [];
  #answers: Int32Array = NOTHING;
  /** By record what it asks of the answers (`ASKED`); `NO_QUESTION`: something else. Empty until there are answers. */
  asked: Int32Array = NOTHING;
  /** By record what it asks of them in turn. */
  readonly askedInTurn = new Map<number, TurnQuestions>();
  #records: Int32Array;
  #length = 0;

  /** `expected`: how many matches are to come; more may. */
  constructor(surroundings: MatchSurroundings, expected = 0) {
    this.#records = new Int32Array(Math.max(LEAST_RECORDS, expected) * RECORD);
    this.#devices = surroundings.devices;
    this.#routes = surroundings.routes;
    this.#setsByName = surroundings.sets;
  }

  /** Records so far; the number of the next. */
  get length(): number {
    return this.#length;
  }

  /** Whether a record asks for addresses, ports or messages: packets of one context, protocol and state may differ there. */
  isOfPacket(record: number): boolean {
    return OF_PACKET[this.#records[record * RECORD] ?? 0] === 1;
  }

  /** The place of a record's match in its rule. */
  matchIndex(record: number): number {
    return this.#records[record * RECORD + 5] ?? 0;
  }

  /** Adds a match of a rule; `index` is its place there. Throws when it names a set that the program lacks. */
  add(match: Match, index: number): void {
    switch (match.kind) {
      case "address": {
        const bySource = match.side === "source";
        const { cidr } = match;
        if (cidr.family === 4) {
          const code = bySource ? CODE.source4 : CODE.destination4;
          this.#push(code, Number(match.negate), cidr.words[0] ?? 0, maskWord(cidr.prefixLength), 0, index);
          return;
        }
        const at = this.#words.length;
        this.#words.push(...cidr.words, ...[0, 32, 64, 96].map((bits) => maskWord(cidr.prefixLength - bits)));
        const code = bySource ? CODE.source6 : CODE.destination6;
        this.#push(code, Number(match.negate), at, 0, 0, index);
        return;
      }
      case "interface": {
        const code = match.side === "in" ? CODE.in : CODE.out;
        this.#push(code, Number(match.negate), this.#devices.pattern(match.name), 0, 0, index);
        return;
      }
      case "protocol":
        this.#push(CODE.protocol, Number(match.negate), match.protocol, 0, 0, index);
        return;
      case "fragment":
        this.#push(CODE.fragment, Number(match.negate), 0, 0, 0, index);
        return;
      case "ports":
        this.#addPorts(match, index);
        return;
      case "tcpFlags":
        this.#push(CODE.tcpFlags, Number(match.negate), match.mask, match.compare, 0, index);
        return;
      case "icmp": {
        const protocol = match.family === 4 ? PROTOCOL.icmp : PROTOCOL.icmpv6;
        // 255 stands for any type in IPv4 only (icmp_type_code_match); ICMPv6 has a type 255.
        const type = match.family === 4 && match.type === 255 ? -1 : match.type;
        this.#push(CODE.icmp, Number(match.negate), type, match.code ?? -1, protocol, index);
        return;
      }
      case "set":
        this.#push(CODE.set, Number(match.negate), this.#setNumber(match.set), packSides(match.sides), 0, index);
        return;
      case "mark":
        this.#push(CODE.mark, Number(match.negate), match.value | 0, match.mask | 0, 0, index);
        return;
      case "connmark":
        this.#push(CODE.connmark, Number(match.negate), match.value | 0, match.mask | 0, 0, index);
        return;
      case "ctState": {
        // Translation is not modelled, so no connection ever has the flags SNAT and DNAT.
        let bits = 0;
        for (const state of match.states) if (state !== "snat" && state !== "dnat") bits |= 1 << CT_STATE_CODE[state];
        this.#push(CODE.ctState, Number(match.negate), bits, 0, 0, index);
        return;
      }
      case "addressType": {
        const side = match.side === "source" ? 1 : 0;
        this.#push(CODE.addressType, Number(match.negate), ADDRESS_TYPE_CODE[match.type], side, 0, index);
        return;
      }
      case "physdev":
        this.#addPhysdev(match, index);
        return;
      case "rpfilter":
        this.#push(CODE.rpfilter, Number(match.invert), Number(match.loose), 0, 0, index);
        return;
      case "limit": {
        const at = this.#buckets.length;
        const cost = ticksPerPacket(match.rate);
        this.#buckets.push(cost, cost * match.burst, cost * match.burst, 0);
        this.#push(CODE.limit, 0, at, 0, 0, index);
        return;
      }
      case "comment":
      case "opaque":
        return;
      default:
        assertNever(match);
    }
  }

  #addPorts(match: Extract<Match, { kind: "ports" }>, index: number): void {
    const negate = Number(match.negate);
    const [first] = match.ranges;
    if (match.extension !== "multiport" && match.side !== "either" && match.ranges.length === 1 && first) {
      const code = match.side === "source" ? CODE.sourcePort : CODE.destinationPort;
      this.#push(code, negate, first.first, first.last, PROTOCOL[match.extension], index);
      return;
    }
    const from = this.#ranges.length;
    for (const range of match.ranges) this.#ranges.push(range.first, range.last);
    const code = { source: CODE.sourcePorts, destination: CODE.destinationPorts, either: CODE.eitherPorts }[match.side];
    this.#push(code, negate, from, this.#ranges.length, 0, index);
  }

  #addPhysdev(match: Extract<Match, { kind: "physdev" }>, index: number): void {
    let asked = 0;
    let inverted = 0;
    const ask = (bit: number, invert: boolean) => {
      asked |= bit;
      if (invert) inverted |= bit;
    };
    if (match.in !== undefined) ask(PHYSDEV.in, match.in.negate);
    if (match.out !== undefined) ask(PHYSDEV.out, match.out.negate);
    if (match.isBridged !== undefined) ask(PHYSDEV.isBridged, !match.isBridged);
    if (match.isIn !== undefined) ask(PHYSDEV.isIn, !match.isIn);
    if (match.isOut !== undefined) ask(PHYSDEV.isOut, !match.isOut);
    const inPattern = match.in === undefined ? 0 : this.#devices.pattern(match.in.name);
    const outPattern = match.out === undefined ? 0 : this.#devices.pattern(match.out.name);
    this.#push(CODE.physdev, 0, asked, inverted, (inPattern << 16) | outPattern, index);
  }

  #setNumber(name: string): number {
    const known = this.#setNumbers.get(name);
    if (known !== undefined) return known;
    const set = this.#setsByName.get(name);
    if (set === undefined) throw new Error(`a rule asks for set ${name}, which the program lacks`);
    const number = this.#sets.length;
    this.#sets.push(set);
    this.#setNumbers.set(name, number);
    return number;
  }

  #push(code: number, negate: number, a: number, b: number, c: number, index: number): void {
    const at = this.#length * RECORD;
    if (at + RECORD > this.#records.length) {
      const grown = new Int32Array(this.#records.length * 2);
      grown.set(this.#records);
      this.#records = grown;
    }
    const records = this.#records;
    records[at] = code;
    records[at + 1] = negate;
    records[at + 2] = a;
    records[at + 3] = b;
    records[at + 4] = c;
    records[at + 5] = index;
    this.#length++;
  }

  /** Whether a record's match holds for the packet. */
  test(record: number, packet: CurrentPacket): boolean {
    const records = this.#records;
    const at = record * RECORD;
    const negate = records[at + 1] === 1;
    const a = records[at + 2] ?? 0;
    const b = records[at + 3] ?? 0;
    const c = records[at + 4] ?? 0;
    switch (records[at]) {
      case CODE.source4:
        return ((packet.source0 & b) === a) !== negate;
      case CODE.destination4:
        return ((packet.destination0 & b) === a) !== negate;
      case CODE.source6:
        return this.#inPrefix6(a, packet.source0, packet.source1, packet.source2, packet.source3) !== negate;
      case CODE.destination6:
        return (
          this.#inPrefix6(a, packet.destination0, packet.destination1, packet.destination2, packet.destination3) !==
          negate
        );
      case CODE.in:
        return this.#devices.matches(a, packet.inDevice) !== negate;
      case CODE.out:
        return this.#devices.matches(a, packet.outDevice) !== negate;
      case CODE.protocol:
        return (packet.protocol === a) !== negate;
      case CODE.fragment:
        return (packet.fragment !== 0) !== negate;
      // Matches on the layer-4 header never hold for a later fragment, negated or not: there is nothing to read.
      case CODE.sourcePort:
        if (packet.fragment !== 0 || packet.protocol !== c) return false;
        return (packet.sourcePort >= a && packet.sourcePort <= b) !== negate;
      case CODE.destinationPort:
        if (packet.fragment !== 0 || packet.protocol !== c) return false;
        return (packet.destinationPort >= a && packet.destinationPort <= b) !== negate;
      case CODE.sourcePorts:
        if (packet.fragment !== 0 || !hasPorts(packet.protocol)) return false;
        return this.#inRanges(packet.sourcePort, a, b) !== negate;
      case CODE.destinationPorts:
        if (packet.fragment !== 0 || !hasPorts(packet.protocol)) return false;
        return this.#inRanges(packet.destinationPort, a, b) !== negate;
      case CODE.eitherPorts:
        if (packet.fragment !== 0 || !hasPorts(packet.protocol)) return false;
        return (this.#inRanges(packet.sourcePort, a, b) || this.#inRanges(packet.destinationPort, a, b)) !== negate;
      case CODE.tcpFlags:
        if (packet.fragment !== 0 || packet.protocol !== PROTOCOL.tcp) return false;
        return ((packet.tcpFlags & a) === b) !== negate;
      case CODE.icmp:
        if (packet.fragment !== 0 || packet.protocol !== c) return false;
        return (a < 0 || (packet.icmpType === a && (b < 0 || packet.icmpCode === b))) !== negate;
      case CODE.set:
        return this.#isInSet(packet, a, b) !== negate;
      case CODE.mark:
        return ((packet.mark & b) === a) !== negate;
      case CODE.connmark:
        // Without a connection the match fails even when negated (connmark_mt).
        return packet.tracked && ((packet.connmark & b) === a) !== negate;
      case CODE.ctState:
        return (((a >>> packet.ctState) & 1) === 1) !== negate;
      case CODE.addressType:
        return this.#hasAddressType(packet, a, b) !== negate;
      case CODE.physdev:
        return this.#physdev(packet, a, b, c);
      case CODE.rpfilter:
        return this.#routesBack(packet, a) !== negate;
      case CODE.limit:
        packet.limits.push(record);
        return this.#takeCredit(a, packet.time);
      default:
        throw new Error(`match record ${record} has code ${records[at]}`);
    }
  }

  /** Gives what classes of addresses know of sets, for packets that name their answers. */
  know({ words, question, listed, local }: SetAnswers): void {
    this.#questions = Int32Array.from(this.#sets, ({ name }) => question(name));
    this.#listed = this.#sets.map(({ name }) => listed(name));
    this.#answers = words;
    this.asked = new Int32Array(this.#length).fill(NO_QUESTION);
    this.askedInTurn.clear();
    const records = this.#records;
    for (let record = 0; record < this.#length; record++) {
      const at = record * RECORD;
      const isNegated = records[at + 1] === 1;
      const b = records[at + 3] ?? 0;
      if (records[at] === CODE.addressType && records[at + 2] === ADDRESS_TYPE_CODE.LOCAL) {
        this.askedInTurn.set(record, { questions: [local()], ofSource: b === 1, isNegated, isCounted: false });
      }
      if (records[at] !== CODE.set) continue;
      const set = records[at + 2] ?? 0;
      const ofSource = isFirstSource(b);
      const questions = this.#listed[set];
      if (questions !== undefined) this.askedInTurn.set(record, { questions, ofSource, isNegated, isCounted: true });
      const known = this.#questions[set] ?? NO_QUESTION;
      if (known === NO_QUESTION) continue;
      const side = ofSource ? ASKED.ofSource : 0;
      this.asked[record] = (known << ASKED.shift) | side | (isNegated ? ASKED.negate : 0);
    }
  }

  /** `test` of a record that classes answer, for a packet that names its answers for both sides. */
  testAnswered(asked: number, packet: CurrentPacket): boolean {
    packet.setLookups++;
    const answers = (asked & ASKED.ofSource) !== 0 ? packet.sourceAnswers : packet.destinationAnswers;
    return this.#answer(answers, asked >>> ASKED.shift) !== ((asked & ASKED.negate) !== 0);
  }

  #isInSet(packet: CurrentPacket, set: number, sides: number): boolean {
    const answers = isFirstSource(sides) ? packet.sourceAnswers : packet.destinationAnswers;
    const question = answers < 0 ? NO_QUESTION : (this.#questions[set] ?? NO_QUESTION);
    if (question !== NO_QUESTION) {
      packet.setLookups++;
      return this.#answer(answers, question);
    }
    const listed = answers < 0 ? undefined : this.#listed[set];
    if (listed === undefined) return this.#sets[set]?.test(packet, sides) ?? false;
    for (let index = 0; index < listed.length; index++) {
      packet.setLookups++;
      if (this.#answer(answers, listed[index] ?? 0)) return true;
    }
    return false;
  }

  #answer(answers: number, question: number): boolean {
    return (((this.#answers[answers + (question >>> 5)] ?? 0) >>> (question & 31)) & 1) === 1;
  }

  #inPrefix6(at: number, word0: number, word1: number, word2: number, word3: number): boolean {
    const words = this.#words;
    return (
      (word3 & (words[at + 7] ?? 0)) === words[at + 3] &&
      (word2 & (words[at + 6] ?? 0)) === words[at + 2] &&
      (word1 & (words[at + 5] ?? 0)) === words[at + 1] &&
      (word0 & (words[at + 4] ?? 0)) === words[at]
    );
  }

  #inRanges(port: number, from: number, to: number): boolean {
    for (let at = from; at < to; at += 2) {
      if (port >= (this.#ranges[at] ?? 0) && port <= (this.#ranges[at + 1] ?? 0)) return true;
    }
    return false;
  }

  /** xt_addrtype.c. The node knows its own addresses; broadcast addresses of subnets are not modelled. */
  #hasAddressType(packet: CurrentPacket, type: number, ofSource: number): boolean {
    const word0 = ofSource ? packet.source0 : packet.destination0;
    const word1 = ofSource ? packet.source1 : packet.destination1;
    const word2 = ofSource ? packet.source2 : packet.destination2;
    const word3 = ofSource ? packet.source3 : packet.destination3;
    const isLocal = this.#routes.place(packet.family, word0, word1, word2, word3) === NodeRoutes.LOCAL;
    if (type === ADDRESS_TYPE_CODE.LOCAL) return isLocal;
    const top = word0 >>> 24;
    if (packet.family === 4) {
      // __inet_dev_addr_type: an address has exactly one type.
      const broadcast = top === 0 || word0 === -1;
      const multicast = top >>> 4 === 0xe;
      if (type === ADDRESS_TYPE_CODE.BROADCAST) return broadcast;
      if (type === ADDRESS_TYPE_CODE.MULTICAST) return multicast;
      return type === ADDRESS_TYPE_CODE.UNICAST && !broadcast && !multicast && !isLocal;
    }
    // addrtype_mt6 and __ipv6_addr_type: local addresses are unicast too, there is no broadcast.
    const multicast = top === 0xff;
    if (type === ADDRESS_TYPE_CODE.MULTICAST) return multicast;
    const unspecified = (word0 | word1 | word2 | word3) === 0;
    const mapped = (word0 | word1) === 0 && word2 === 0xffff;
    return type === ADDRESS_TYPE_CODE.UNICAST && !multicast && !unspecified && !mapped;
  }

  /** physdev_mt, in its order; its one surprise (no in port, but a test for it) passes on to the out port. */
  #physdev(packet: CurrentPacket, asked: number, inverted: number, patterns: number): boolean {
    const { physInDevice, physOutDevice } = packet;
    // Nothing known of a bridge: holds when all that is asked is asked negated.
    if (physInDevice === 0 && physOutDevice === 0) return (asked & ~inverted) === 0;
    if (asked & PHYSDEV.isBridged && (physOutDevice !== 0) !== ((inverted & PHYSDEV.isBridged) === 0)) return false;
    if (asked & PHYSDEV.isIn && (physInDevice !== 0) !== ((inverted & PHYSDEV.isIn) === 0)) return false;
    if (asked & PHYSDEV.isOut && (physOutDevice !== 0) !== ((inverted & PHYSDEV.isOut) === 0)) return false;
    if (asked & PHYSDEV.in && physInDevice !== 0) {
      const holds = this.#devices.matches(patterns >>> 16, physInDevice);
      if (holds === ((inverted & PHYSDEV.in) !== 0)) return false;
    }
    if ((asked & PHYSDEV.out) === 0) return true;
    if (physOutDevice === 0) return false;
    return this.#devices.matches(patterns & 0xffff, physOutDevice) !== ((inverted & PHYSDEV.out) !== 0);
  }

  /** ipt_rpfilter.c, ip6t_rpfilter.c: the route to the source, and whether it leaves by where the packet came in. */
  #routesBack(packet: CurrentPacket, loose: number): boolean {
    const { family, source0, source1, source2, source3 } = packet;
    if (family === 4 && source0 >>> 24 === 0) {
      // DHCP and the like: 0.0.0.0 to the broadcast address or to a link-local group needs no route.
      return packet.destination0 === -1 || packet.destination0 >>> 8 === 0xe00000;
    }
    if (family === 6 && (source0 | source1 | source2 | source3) === 0) return true;
    const place = this.#routes.place(family, source0, source1, source2, source3);
    if (place === NodeRoutes.LOCAL) return false;
    return loose === 1 || this.#routes.device(place) === packet.inDevice;
  }

  /** Charges a packet of that time to the limit of a record, as `test` does. */
  charge(record: number, time: number): void {
    this.#takeCredit(this.#records[record * RECORD + 2] ?? 0, time);
  }

  /** limit_mt: credit grows with time up to the burst; a packet that cannot pay is over the limit. */
  #takeCredit(at: number, time: number): boolean {
    const buckets = this.#buckets;
    const cost = buckets[at] ?? 0;
    const now = Math.round(time * TICKS_PER_SECOND);
    const passed = Math.max(0, now - (buckets[at + 3] ?? 0));
    const credit = Math.min(buckets[at + 1] ?? 0, (buckets[at + 2] ?? 0) + passed);
    const holds = credit >= cost;
    buckets[at + 2] = holds ? credit - cost : credit;
    buckets[at + 3] = now;
    return holds;
  }
}

/** XT_LIMIT_SCALE: limits count in tenths of milliseconds, whole ones, so that credit adds up exactly. */
const TICKS_PER_SECOND = 10_000;

/** Seconds in the units that `--limit` takes: any beginning of these words (iptables-extensions(8)). */
const RATE_UNITS = { second: 1, minute: 60, hour: 3600, day: 86_400 } as const;

function ticksPerPacket(rate: string): number {
  const [, count, unit = ""] = /^(\d+)\/([a-z]+)$/.exec(rate) ?? [];
  const seconds = Object.entries(RATE_UNITS).find(([name]) => name.startsWith(unit))?.[1];
  if (count === undefined || seconds === undefined) throw new Error(`cannot read the limit ${rate}`);
  return Math.floor((TICKS_PER_SECOND * seconds) / Number(count));
}
