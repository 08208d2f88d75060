/**
 * Answers of the tuple plan, remembered.
 *
 * The plan asks up to three hash maps and three tries, each of which takes a look-up for every prefix length that occurs,
 * and it reads nothing of a packet beside the peer's address, protocol and port. So an attach point remembers its answer by
 * those: one probe. Classes of addresses would be fewer (identityMemo.ts), but here each point has maps of its
 * own, in which most addresses are named one by one: to learn them would cost more than it saves.
 */
import { AddressTable } from "../addressTable.ts";
import type { CurrentPacket } from "../currentPacket.ts";
import type { LoadedMap } from "./loadedMap.ts";
import type { Lookup, LookupListener, PolicyDirection, TupleLookup } from "./lookup.ts";

/** Answers an attach point remembers at most; then it forgets all. */
const MOST_ANSWERS = 1 << 13;

/** An answer in one number: entry + 1, then whether it accepts, then two bits each for hash maps and tries asked. */
const ENTRY_SHIFT = 5;
const ACCEPTS = 16;
const MAPS_SHIFT = 2;
const COUNT = 3;

export class RememberedTuple implements Lookup {
  decidingMap: LoadedMap;
  decidingEntry = -1;
  accepts = false;
  mapLookups = 0;
  trieLookups = 0;
  readonly #lookup: TupleLookup;
  #answers4 = new AddressTable(4);
  #answers6 = new AddressTable(6);

  constructor(lookup: TupleLookup) {
    this.#lookup = lookup;
    this.decidingMap = lookup.exact;
  }

  decide(packet: CurrentPacket, direction: PolicyDirection, listener: LookupListener | undefined): void {
    if (listener !== undefined) {
      this.#ask(packet, direction, listener);
      return;
    }
    const isSource = direction === "ingress";
    const scope = (packet.protocol << 16) | packet.destinationPort;
    const answer =
      packet.family === 4
        ? this.#answers4.find4(isSource ? packet.source0 : packet.destination0, scope)
        : this.#find6(packet, isSource, scope);
    if (answer < 0) {
      this.#ask(packet, direction, undefined);
      this.#remember(packet, isSource, scope);
      return;
    }
    this.decidingEntry = (answer >> ENTRY_SHIFT) - 1;
    this.accepts = (answer & ACCEPTS) !== 0;
    this.mapLookups = (answer >> MAPS_SHIFT) & COUNT;
    this.trieLookups = answer & COUNT;
    this.decidingMap = this.trieLookups === 0 ? this.#lookup.exact : this.#lookup.blocks;
  }

  #find6(packet: CurrentPacket, isSource: boolean, scope: number): number {
    return isSource
      ? this.#answers6.find6(packet.source0, packet.source1, packet.source2, packet.source3, scope)
      : this.#answers6.find6(packet.destination0, packet.destination1, packet.destination2, packet.destination3, scope);
  }

  #ask(packet: CurrentPacket, direction: PolicyDirection, listener: LookupListener | undefined): void {
    const lookup = this.#lookup;
    lookup.decide(packet, direction, listener);
    this.decidingMap = lookup.decidingMap;
    this.decidingEntry = lookup.decidingEntry;
    this.accepts = lookup.accepts;
    this.mapLookups = lookup.mapLookups;
    this.trieLookups = lookup.trieLookups;
  }

  #remember(packet: CurrentPacket, isSource: boolean, scope: number): void {
    if (this.#answers4.size + this.#answers6.size >= MOST_ANSWERS) {
      this.#answers4 = new AddressTable(4);
      this.#answers6 = new AddressTable(6);
    }
    const counts = (this.mapLookups << MAPS_SHIFT) | this.trieLookups;
    const learnt = ((this.decidingEntry + 1) << ENTRY_SHIFT) | (this.accepts ? ACCEPTS : 0) | counts;
    const { source0, source1, source2, source3, destination0, destination1, destination2, destination3 } = packet;
    const words = isSource
      ? [source0, source1, source2, source3]
      : [destination0, destination1, destination2, destination3];
    (packet.family === 4 ? this.#answers4 : this.#answers6).set(words, scope, learnt);
  }
}
