/** From a packet to the next rule of a long chain whose head holds for it, without looking at those between. */
import { AddressTable } from "../addressTable.ts";
import type { CurrentPacket } from "../currentPacket.ts";
import type { DeviceTable } from "../devices.ts";
import type { Rule } from "../program.ts";
import { DeviceLists } from "./deviceLists.ts";
import type { LoadedChain } from "./load.ts";

/** Words of a record in `LoadedTables.heads`, and where its fields begin. */
export const HEAD_WORDS = 8;
export const HEAD = { source: 0, destination: 2, protocol: 4, matchStart: 6, matchEnd: 7 } as const;

/** Rules from which a chain is indexed. Shorter ones are as quickly gone through. */
const LONG_CHAIN = 12;

/** Rules whose heads are tried one after the other before the index is asked. */
const RULES_TRIED = 4;

const WHOLE_WORD = -1;

/** What of a packet the index goes by. */
export type HeadPacket = Pick<CurrentPacket, "headSource" | "headDestination" | "protocol" | "inDevice" | "outDevice">;

/**
 * Long chains dispatch: each rule names one address or one interface, and all but a few fail there. So such a rule stands
 * in one list: that of its source, else of its destination, else of the devices that its interface match holds for
 * (deviceLists.ts); the rest are plain. The next rule that may hold is the first whose head holds of the packet's lists
 * and of the plain ones. What stands in another list fails among the header matches, which are tested before all others, so
 * to leave it out changes nothing but the time: which rule is next, and how many a packet visits until then, is what going
 * through them would say.
 */
export class HeadIndex {
  readonly #heads: Int32Array;
  /** By slot: the next from it on, itself included, that stands in no list. The end of a chain never does. */
  readonly #nextPlain: Int32Array;
  /** Numbers of lists by address word, and by number where the list starts in `#slots`, which has them in order. */
  readonly #bySource: AddressTable;
  readonly #byDestination: AddressTable;
  readonly #starts: number[] = [];
  readonly #slots: Int32Array;
  /** Whether the lists of the packet under way are known, and from where to where they are. */
  #isKnown = false;
  #sourceFrom = 0;
  #sourceTo = 0;
  #destinationFrom = 0;
  #destinationTo = 0;

  /** By slot: 1 when it stands in lists of devices. */
  readonly byDevice: Uint8Array;
  readonly #in: DeviceLists;
  readonly #out: DeviceLists;

  constructor(heads: Int32Array, chains: readonly Pick<LoadedChain, "start" | "rules">[], devices: DeviceTable) {
    this.#heads = heads;
    this.#in = new DeviceLists(devices);
    this.#out = new DeviceLists(devices);
    const slots = heads.length / HEAD_WORDS;
    this.byDevice = new Uint8Array(slots);
    const lists = { source: new Map<number, number[]>(), destination: new Map<number, number[]>() };
    this.#nextPlain = new Int32Array(slots);
    for (let slot = 0; slot < slots; slot++) this.#nextPlain[slot] = slot;
    for (const { start, rules } of chains) {
      if (rules.length < LONG_CHAIN) continue;
      let plain = start + rules.length;
      for (let slot = plain - 1; slot >= start; slot--) {
        const at = slot * HEAD_WORDS;
        const side = [HEAD.source, HEAD.destination].find((field) => heads[at + field] === WHOLE_WORD);
        if (side !== undefined) {
          const list = side === HEAD.source ? lists.source : lists.destination;
          const word = heads[at + side + 1] ?? 0;
          const known = list.get(word);
          if (known === undefined) list.set(word, [slot]);
          else known.push(slot);
        } else if (!this.#entersByDevice(rules[slot - start], slot)) plain = slot;
        this.#nextPlain[slot] = plain;
      }
    }
    this.#bySource = new AddressTable(4, lists.source.size);
    this.#byDestination = new AddressTable(4, lists.destination.size);
    const all: number[] = [];
    const enter = (table: AddressTable, list: ReadonlyMap<number, readonly number[]>) => {
      for (const [word, of] of list) {
        table.set([word], 0, this.#starts.length);
        this.#starts.push(all.length);
        for (const slot of [...of].sort((a, b) => a - b)) all.push(slot);
      }
    };
    enter(this.#bySource, lists.source);
    enter(this.#byDestination, lists.destination);
    this.#starts.push(all.length);
    this.#slots = Int32Array.from(all);
  }

  /** Another packet comes. */
  forget(): void {
    this.#isKnown = false;
  }

  /** Whether the rule tests an interface, and so stands in lists of devices. */
  #entersByDevice(rule: Rule | undefined, slot: number): boolean {
    for (const match of rule?.matches ?? []) {
      if (match.kind !== "interface" || match.negate) continue;
      (match.side === "in" ? this.#in : this.#out).add(match.name, slot);
      this.byDevice[slot] = 1;
      return true;
    }
    return false;
  }

  /** The first slot from `slot` on that may hold. The addresses of one packet are the same each time, its devices are not. */
  next(slot: number, packet: HeadPacket): number {
    if (!this.#isKnown) this.#find(packet);
    const heads = this.#heads;
    const nextPlain = this.#nextPlain;
    let first = nextPlain[slot] ?? 0;
    while (!holds(heads, first, packet)) first = nextPlain[first + 1] ?? 0;
    if (first === slot) return slot;
    first = this.#before(first, slot, this.#slots, this.#sourceFrom, this.#sourceTo, packet);
    first = this.#before(first, slot, this.#slots, this.#destinationFrom, this.#destinationTo, packet);
    if (!this.#in.isEmpty) {
      const list = this.#in.slotsOf(packet.inDevice);
      first = this.#before(first, slot, list, 0, list.length, packet);
    }
    if (!this.#out.isEmpty) {
      const list = this.#out.slotsOf(packet.outDevice);
      first = this.#before(first, slot, list, 0, list.length, packet);
    }
    return first;
  }

  /** The first slot of a stretch of a list, from `slot` on and before `first`, whose head holds; else `first`. */
  #before(first: number, slot: number, slots: Int32Array, from: number, to: number, packet: HeadPacket): number {
    for (let at = placeFrom(slot, slots, from, to); at < to; at++) {
      const found = slots[at] ?? 0;
      if (found >= first) break;
      if (holds(this.#heads, found, packet)) return found;
    }
    return first;
  }

  #find({ headSource, headDestination }: HeadPacket): void {
    this.#isKnown = true;
    const ofSource = this.#bySource.find4(headSource, 0);
    const ofDestination = this.#byDestination.find4(headDestination, 0);
    this.#sourceFrom = ofSource < 0 ? 0 : (this.#starts[ofSource] ?? 0);
    this.#sourceTo = ofSource < 0 ? 0 : (this.#starts[ofSource + 1] ?? 0);
    this.#destinationFrom = ofDestination < 0 ? 0 : (this.#starts[ofDestination] ?? 0);
    this.#destinationTo = ofDestination < 0 ? 0 : (this.#starts[ofDestination + 1] ?? 0);
  }
}

/** The place of the first slot not below `slot` in a stretch of a list, which may be as long as a chain: it is halved. */
function placeFrom(slot: number, slots: Int32Array, from: number, to: number): number {
  let low = from;
  let high = to;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((slots[middle] ?? 0) < slot) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * The first slot from `slot` on that may hold for the packet: its head does. Every chain has one: its end tests nothing. Most
 * packets find it among the next few; those that do not are in a chain that dispatches, which is asked for it.
 */
export function nextHeadMatch(heads: Int32Array, slot: number, packet: HeadPacket, index: HeadIndex): number {
  for (let near = slot; near < slot + RULES_TRIED; near++) {
    if (holds(heads, near, packet)) return index.byDevice[near] === 1 ? index.next(near, packet) : near;
  }
  return index.next(slot + RULES_TRIED, packet);
}

/** Whether a head holds for a packet. */
export function holds(heads: Int32Array, slot: number, packet: HeadPacket): boolean {
  const at = slot * HEAD_WORDS;
  return (
    (packet.headSource & (heads[at] ?? 0)) === heads[at + 1] &&
    (packet.headDestination & (heads[at + 2] ?? 0)) === heads[at + 3] &&
    (packet.protocol & (heads[at + 4] ?? 0)) === heads[at + 5]
  );
}
