/** The tuple by which a packet finds its entry: read from a row, compared in both directions, hashed the same for both. */
import type { IpAddress } from "../address.ts";
import { type FiveTuple, hasPorts, type PacketBatch, PROTOCOL } from "../packet.ts";
import { FLOW_WORDS, ORIGINAL, REPLY, WORD } from "./flow.ts";
import type { FlowIndex } from "./flowIndex.ts";
import { type FlowStore, isIpv6, kindOf, NONE, PAIR_WORDS } from "./flowStore.ts";
import { icmpAnswer, icmpv6Answer, NO_ANSWER } from "./icmp.ts";

/** A tuple as people name it; ICMP has its identifier, type and code in place of ports. */
export interface FlowTuple extends FiveTuple {
  readonly icmpType?: number;
  readonly icmpCode?: number;
  readonly icmpId?: number;
  readonly zone?: number;
}

/** The tuple under the table's eyes: one object per table, overwritten by each packet, all fields int32. */
export class PacketTuple {
  kind = 0;
  source0 = 0;
  source1 = 0;
  source2 = 0;
  source3 = 0;
  destination0 = 0;
  destination1 = 0;
  destination2 = 0;
  destination3 = 0;
  /** As in the entry (flow.ts), for this tuple and for the one that answers it. */
  ports = 0;
  replyPorts = 0;
  /** Whether a tuple exists that answers this one. */
  hasReply = true;
  /** The same for a tuple and its answer. */
  hash = 0;
  /** Set by `find`: direction of the tuple in the entry found. */
  direction: number = ORIGINAL;

  /** Reads a row. */
  load(batch: PacketBatch, row: number, zone: number): void {
    const protocol = batch.protocol[row] ?? 0;
    const family = batch.family[row] ?? 0;
    if (family === 4 && isTrackedByPorts(protocol)) {
      this.#loadPorts4(batch, row, kindOf(protocol, 4, zone));
      return;
    }
    this.kind = kindOf(protocol, family, zone);
    this.source0 = batch.source0[row] ?? 0;
    this.destination0 = batch.destination0[row] ?? 0;
    if (family === 6) {
      this.source1 = batch.source1[row] ?? 0;
      this.source2 = batch.source2[row] ?? 0;
      this.source3 = batch.source3[row] ?? 0;
      this.destination1 = batch.destination1[row] ?? 0;
      this.destination2 = batch.destination2[row] ?? 0;
      this.destination3 = batch.destination3[row] ?? 0;
    }
    if (isTrackedByPorts(protocol)) {
      this.#setPorts(batch.sourcePort[row] ?? 0, batch.destinationPort[row] ?? 0);
    } else if (protocol === PROTOCOL.icmp || protocol === PROTOCOL.icmpv6) {
      this.#setMessage(
        ((batch.icmpId[row] ?? 0) << 16) | ((batch.icmpType[row] ?? 0) << 8) | (batch.icmpCode[row] ?? 0),
      );
    } else {
      this.#setPorts(0, 0);
    }
    this.#setHash();
  }

  /** `load` of most packets in a straight line, which `load` as a whole is too long for. */
  #loadPorts4(batch: PacketBatch, row: number, kind: number): void {
    const source = batch.source0[row] ?? 0;
    const destination = batch.destination0[row] ?? 0;
    const sourcePort = batch.sourcePort[row] ?? 0;
    const destinationPort = batch.destinationPort[row] ?? 0;
    this.kind = kind;
    this.source0 = source;
    this.destination0 = destination;
    this.ports = (sourcePort << 16) | destinationPort;
    this.replyPorts = (destinationPort << 16) | sourcePort;
    this.hasReply = true;
    this.hash = hashEnds(source, destination, sourcePort, destinationPort, kind);
  }

  /** The hash that `load` would set, in zone 0; the tuple is set only where that is the way to it. */
  hashOf(batch: PacketBatch, row: number): number {
    const protocol = batch.protocol[row] ?? 0;
    if (batch.family[row] === 4 && isTrackedByPorts(protocol)) {
      return hashEnds(
        batch.source0[row] ?? 0,
        batch.destination0[row] ?? 0,
        batch.sourcePort[row] ?? 0,
        batch.destinationPort[row] ?? 0,
        kindOf(protocol, 4, 0),
      );
    }
    this.load(batch, row, 0);
    return this.hash;
  }

  /** Reads a tuple from outside a batch: what an ICMP error quotes, what somebody wants to delete. */
  loadTuple(tuple: FlowTuple): void {
    const { protocol, source, destination } = tuple;
    this.kind = kindOf(protocol, source.family, tuple.zone ?? 0);
    this.source0 = source.words[0] ?? 0;
    this.source1 = source.words[1] ?? 0;
    this.source2 = source.words[2] ?? 0;
    this.source3 = source.words[3] ?? 0;
    this.destination0 = destination.words[0] ?? 0;
    this.destination1 = destination.words[1] ?? 0;
    this.destination2 = destination.words[2] ?? 0;
    this.destination3 = destination.words[3] ?? 0;
    if (isTrackedByPorts(protocol)) {
      this.#setPorts(tuple.sourcePort, tuple.destinationPort);
    } else if (protocol === PROTOCOL.icmp || protocol === PROTOCOL.icmpv6) {
      const type = tuple.icmpType ?? (protocol === PROTOCOL.icmp ? 8 : 128);
      this.#setMessage(((tuple.icmpId ?? 0) << 16) | (type << 8) | (tuple.icmpCode ?? 0));
    } else {
      this.#setPorts(0, 0);
    }
    this.#setHash();
  }

  /** The slot of the entry that has this tuple in either direction, `NONE` if there is none. Sets `direction`. */
  find(index: FlowIndex, store: FlowStore): number {
    const { places, mask } = index;
    const { words } = store;
    const { hash } = this;
    for (let place = hash >>> index.shift; ; place = (place + 1) & mask) {
      const slot = (places[place * 2 + 1] ?? 0) - 1;
      if (slot === NONE) return NONE;
      if (places[place * 2] !== hash) continue;
      const at = slot * FLOW_WORDS;
      if (words[at + WORD.kind] === this.kind && this.#matches(words, store.pairs, at)) return slot;
    }
  }

  /**
   * Compares with an entry of the same kind. A tuple that is its own answer (same address and port at both ends) counts
   * as the reply, since the kernel puts the reply's tuple in front of the original's in the same bucket.
   */
  #matches(words: Int32Array, pairs: Int32Array, at: number): boolean {
    const ports = words[at + WORD.ports] ?? 0;
    if (isIpv6(this.kind)) {
      const pair = (words[at + WORD.source] ?? 0) * PAIR_WORDS;
      if (ports === this.replyPorts && this.#answersPair(pairs, pair)) {
        this.direction = REPLY;
        return true;
      }
      this.direction = ORIGINAL;
      return ports === this.ports && this.#equalsPair(pairs, pair);
    }
    const source = words[at + WORD.source] ?? 0;
    const destination = words[at + WORD.destination] ?? 0;
    // Which way a packet goes is a coin toss to the branch predictor, so it is computed: 0 means equal in every bit.
    const same = (source ^ this.source0) | (destination ^ this.destination0) | (ports ^ this.ports);
    const turned = (source ^ this.destination0) | (destination ^ this.source0) | (ports ^ this.replyPorts);
    this.direction = 1 - ((turned | -turned) >>> 31);
    return ((same | -same) & (turned | -turned)) >= 0;
  }

  #equalsPair(pairs: Int32Array, at: number): boolean {
    return (
      pairs[at + 3] === this.source3 &&
      pairs[at + 7] === this.destination3 &&
      pairs[at + 2] === this.source2 &&
      pairs[at + 6] === this.destination2 &&
      pairs[at + 1] === this.source1 &&
      pairs[at + 5] === this.destination1 &&
      pairs[at] === this.source0 &&
      pairs[at + 4] === this.destination0
    );
  }

  #answersPair(pairs: Int32Array, at: number): boolean {
    return (
      pairs[at + 3] === this.destination3 &&
      pairs[at + 7] === this.source3 &&
      pairs[at + 2] === this.destination2 &&
      pairs[at + 6] === this.source2 &&
      pairs[at + 1] === this.destination1 &&
      pairs[at + 5] === this.source1 &&
      pairs[at] === this.destination0 &&
      pairs[at + 4] === this.source0
    );
  }

  /** Makes this the tuple of a new entry. */
  write(store: FlowStore, slot: number): void {
    const at = slot * FLOW_WORDS;
    const { words } = store;
    words[at + WORD.kind] = this.kind;
    words[at + WORD.ports] = this.ports;
    if (!isIpv6(this.kind)) {
      words[at + WORD.source] = this.source0;
      words[at + WORD.destination] = this.destination0;
      return;
    }
    const pair = store.allocatePair();
    words[at + WORD.source] = pair;
    const { pairs } = store;
    pairs[pair * PAIR_WORDS] = this.source0;
    pairs[pair * PAIR_WORDS + 1] = this.source1;
    pairs[pair * PAIR_WORDS + 2] = this.source2;
    pairs[pair * PAIR_WORDS + 3] = this.source3;
    pairs[pair * PAIR_WORDS + 4] = this.destination0;
    pairs[pair * PAIR_WORDS + 5] = this.destination1;
    pairs[pair * PAIR_WORDS + 6] = this.destination2;
    pairs[pair * PAIR_WORDS + 7] = this.destination3;
  }

  /** Makes this the tuple of an entry. */
  read(store: FlowStore, slot: number): void {
    const at = slot * FLOW_WORDS;
    const { words, pairs } = store;
    this.kind = words[at + WORD.kind] ?? 0;
    if (isIpv6(this.kind)) {
      const pair = (words[at + WORD.source] ?? 0) * PAIR_WORDS;
      this.source0 = pairs[pair] ?? 0;
      this.source1 = pairs[pair + 1] ?? 0;
      this.source2 = pairs[pair + 2] ?? 0;
      this.source3 = pairs[pair + 3] ?? 0;
      this.destination0 = pairs[pair + 4] ?? 0;
      this.destination1 = pairs[pair + 5] ?? 0;
      this.destination2 = pairs[pair + 6] ?? 0;
      this.destination3 = pairs[pair + 7] ?? 0;
    } else {
      this.source0 = words[at + WORD.source] ?? 0;
      this.destination0 = words[at + WORD.destination] ?? 0;
    }
    const ports = words[at + WORD.ports] ?? 0;
    const protocol = this.kind & 0xff;
    if (protocol === PROTOCOL.icmp || protocol === PROTOCOL.icmpv6) this.#setMessage(ports);
    else this.#setPorts(ports >>> 16, ports & 0xffff);
    this.#setHash();
  }

  #setPorts(source: number, destination: number): void {
    this.ports = (source << 16) | destination;
    this.replyPorts = (destination << 16) | source;
    this.hasReply = true;
  }

  /** The answer to an ICMP message has its identifier and code, and the type that answers. */
  #setMessage(message: number): void {
    const type = (message >>> 8) & 0xff;
    const answer = (this.kind & 0xff) === PROTOCOL.icmp ? icmpAnswer(type) : icmpv6Answer(type);
    this.ports = message;
    this.hasReply = answer !== NO_ANSWER;
    this.replyPorts = (message & ~0xff00) | ((answer & 0xff) << 8);
  }

  /** Adds what the two ends hash to, so that their order does not matter. Of ICMP only the identifier is hashed. */
  #setHash(): void {
    const { kind, ports } = this;
    const protocol = kind & 0xff;
    const isMessage = protocol === PROTOCOL.icmp || protocol === PROTOCOL.icmpv6;
    let from = this.source0;
    let to = this.destination0;
    if (isIpv6(kind)) {
      from = foldAddress(foldAddress(foldAddress(from, this.source1), this.source2), this.source3);
      to = foldAddress(foldAddress(foldAddress(to, this.destination1), this.destination2), this.destination3);
    }
    const sourceEnd = mix((from + Math.imul(ports >>> 16, PORT_FACTOR)) | 0);
    const destinationEnd = mix((to + Math.imul(isMessage ? ports >>> 16 : ports & 0xffff, PORT_FACTOR)) | 0);
    const both = Math.imul((sourceEnd + destinationEnd) ^ kind, PORT_FACTOR);
    this.hash = both ^ (both >>> 15);
  }
}

/** The hash of an IPv4 tuple with ports; the same for its answer. */
export function hashEnds(
  source: number,
  destination: number,
  sourcePort: number,
  destinationPort: number,
  kind: number,
): number {
  const sourceEnd = mix((source + Math.imul(sourcePort, PORT_FACTOR)) | 0);
  const destinationEnd = mix((destination + Math.imul(destinationPort, PORT_FACTOR)) | 0);
  const both = Math.imul((sourceEnd + destinationEnd) ^ kind, PORT_FACTOR);
  return both ^ (both >>> 15);
}

/** `port`: golden ratio of 2^32, which spreads ports over all bits. The others: of MurmurHash3's finaliser. */
export const HASH_FACTORS = { port: 0x9e3779b1, first: 0x85ebca6b, second: 0xc2b2ae35 } as const;
const PORT_FACTOR = HASH_FACTORS.port;

/** Finaliser of MurmurHash3 (Appleby): each bit of the input reaches each bit of the output. */
function mix(value: number): number {
  let mixed = Math.imul(value ^ (value >>> 16), HASH_FACTORS.first);
  mixed = Math.imul(mixed ^ (mixed >>> 13), HASH_FACTORS.second);
  return mixed ^ (mixed >>> 16);
}

export function foldAddress(folded: number, word: number): number {
  return Math.imul(folded ^ (folded >>> 15), 0x2c1b3c6d) ^ word;
}

/** Protocols whose ports are part of the tuple: those that hold ports and have a tracker. */
export function isTrackedByPorts(protocol: number): boolean {
  return TRACKED_BY_PORTS[protocol] === 1;
}

const TRACKED_BY_PORTS = Uint8Array.from({ length: 256 }, (_, protocol) =>
  Number(hasPorts(protocol) && protocol !== PROTOCOL.dccp),
);

/** Whether an address is the destination of a row. */
export function goesTo(batch: PacketBatch, row: number, address: IpAddress): boolean {
  const { words, family } = address;
  if (batch.family[row] !== family || batch.destination0[row] !== words[0]) return false;
  if (family === 4) return true;
  return (
    batch.destination1[row] === words[1] && batch.destination2[row] === words[2] && batch.destination3[row] === words[3]
  );
}
