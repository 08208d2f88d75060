/**
 * Answers of the identity plan, remembered.
 *
 * The plan asks three tries: one for the peer's identity, two for its policy, and each takes a look-up for every prefix
 * length that occurs. But it reads nothing of a packet beside the peer's prefix in the ipcache, direction, protocol and port (or
 * ICMP type). So addresses are classes by the prefixes around them (classes/addressClasses.ts), shared by all attach points
 * of the node, and an attach point remembers its answer by class and port: two probes. The counts of look-ups are part of
 * the answer. What somebody listens to, and what is asked for the first time, goes the long way.
 */
import { AddressTable } from "../addressTable.ts";
import { type AddressClasses, AddressCuts } from "../classes/addressClasses.ts";
import type { CurrentPacket } from "../currentPacket.ts";
import { decodeIpcacheKey } from "./layout.ts";
import type { LoadedMap } from "./loadedMap.ts";
import { type Lookup, type LookupListener, type PolicyDirection, portOf } from "./lookup.ts";

/** Answers an attach point remembers at most; then it forgets all. */
const MOST_ANSWERS = 1 << 15;

/** An answer in one number: entry + 1, then whether it accepts, then whether it took three tries or two. */
const ACCEPTS = 2;
const THREE_TRIES = 1;
const ENTRY_SHIFT = 2;

/** Peers that the plan cannot tell apart, by the ipcache they are looked up in. Found when first asked for. */
export class PeerClasses {
  readonly #ipcache: LoadedMap;
  #classes4: AddressClasses | undefined;
  #classes6: AddressClasses | undefined;

  constructor(ipcache: LoadedMap) {
    this.#ipcache = ipcache;
  }

  of(packet: CurrentPacket, direction: PolicyDirection): number {
    const isSource = direction === "ingress";
    if (packet.family === 4) {
      this.#classes4 ??= this.#learn(4);
      return this.#classes4.of4(isSource ? packet.source0 : packet.destination0);
    }
    this.#classes6 ??= this.#learn(6);
    return isSource
      ? this.#classes6.of6(packet.source0, packet.source1, packet.source2, packet.source3)
      : this.#classes6.of6(packet.destination0, packet.destination1, packet.destination2, packet.destination3);
  }

  #learn(family: 4 | 6): AddressClasses {
    const cuts = new AddressCuts(family);
    for (const { key, value } of this.#ipcache.spec.entries) {
      const { family: ofEntry, words, prefixLength } = decodeIpcacheKey(key);
      // The identity stands in the first four bytes of the value, whatever their order.
      const [byte0 = 0, byte1 = 0, byte2 = 0, byte3 = 0] = value;
      const identity = byte0 | (byte1 << 8) | (byte2 << 16) | (byte3 << 24);
      if (ofEntry === family) cuts.answer({ words, length: Math.max(0, prefixLength) }, 0, identity);
    }
    return cuts.classes();
  }
}

export class RememberedLookup implements Lookup {
  decidingEntry = -1;
  accepts = false;
  readonly mapLookups = 0;
  trieLookups = 0;
  readonly #lookup: Lookup;
  readonly #peers: PeerClasses;
  #answers = new AddressTable(4);

  /** `lookup` is one of the identity plan. */
  constructor(lookup: Lookup, peers: PeerClasses) {
    this.#lookup = lookup;
    this.#peers = peers;
  }

  get decidingMap(): LoadedMap {
    return this.#lookup.decidingMap;
  }

  decide(packet: CurrentPacket, direction: PolicyDirection, listener: LookupListener | undefined): void {
    if (listener !== undefined) {
      this.#ask(packet, direction, listener);
      return;
    }
    const peer = this.#peers.of(packet, direction);
    const scope =
      (packet.family << 25) | ((direction === "egress" ? 1 : 0) << 24) | (packet.protocol << 16) | portOf(packet);
    const answer = this.#answers.find4(peer, scope);
    if (answer >= 0) {
      this.decidingEntry = (answer >> ENTRY_SHIFT) - 1;
      this.accepts = (answer & ACCEPTS) !== 0;
      this.trieLookups = 2 + (answer & THREE_TRIES);
      return;
    }
    this.#ask(packet, direction, undefined);
    if (this.#answers.size >= MOST_ANSWERS) this.#answers = new AddressTable(4);
    const tries = this.trieLookups === 3 ? THREE_TRIES : 0;
    const learnt = ((this.decidingEntry + 1) << ENTRY_SHIFT) | (this.accepts ? ACCEPTS : 0) | tries;
    this.#answers.set([peer], scope, learnt);
  }

  #ask(packet: CurrentPacket, direction: PolicyDirection, listener: LookupListener | undefined): void {
    const lookup = this.#lookup;
    lookup.decide(packet, direction, listener);
    this.decidingEntry = lookup.decidingEntry;
    this.accepts = lookup.accepts;
    this.trieLookups = lookup.trieLookups;
  }
}
