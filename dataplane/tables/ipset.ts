/** IP sets as the kernel tests them (ipset(8); net/netfilter/ipset/ip_set_hash_*.c and ip_set_list_set.c). */
import { type Family, maskWord } from "../address.ts";
import { AddressTable } from "../addressTable.ts";
import type { CurrentPacket } from "../currentPacket.ts";
import { PROTOCOL } from "../packet.ts";
import type { IPSet, IPSetMember, Side } from "../program.ts";

/**
 * `--match-set NAME src,dst` as bits: bit 0 is set when the first dimension reads the source, bit 1 for the second;
 * the number of dimensions given stands above them.
 */
export type SetSides = number;

const FIRST_IS_SOURCE = 1;
const SECOND_IS_SOURCE = 2;
const DIMENSIONS_SHIFT = 2;

/** Packs the sides of a match. */
export function packSides(sides: readonly Side[]): SetSides {
  const first = sides[0] === "source" ? FIRST_IS_SOURCE : 0;
  const second = sides[1] === "source" ? SECOND_IS_SOURCE : 0;
  return first | second | (sides.length << DIMENSIONS_SHIFT);
}

/** Whether the address of a match is the source's. */
export function isFirstSource(sides: SetSides): boolean {
  return (sides & FIRST_IS_SOURCE) !== 0;
}

/** A set ready to be tested. */
export interface LoadedSet {
  readonly name: string;
  /** Whether the packet is in the set; counts the hash sets it consulted in `packet.setLookups`. */
  test(packet: CurrentPacket, sides: SetSides): boolean;
}

/**
 * Loads all sets of a node. Throws when a list names a set that does not exist or is a list itself, which the kernel
 * refuses as well.
 */
export function loadSets(sets: readonly IPSet[]): ReadonlyMap<string, LoadedSet> {
  const hashes = new Map<string, HashSet>();
  for (const set of sets) if (set.type !== "list:set") hashes.set(set.name, hashSetOf(set));
  const loaded = new Map<string, LoadedSet>();
  for (const set of sets) {
    const ready = hashes.get(set.name) ?? loadList(set, hashes);
    if (loaded.has(set.name)) throw new Error(`set ${set.name} is declared twice`);
    loaded.set(set.name, ready);
  }
  return loaded;
}

/** A set that a change of the cluster leaves alone is the same object, and nodes have many in common: none is loaded twice. */
const LOADED = new WeakMap<IPSet, HashSet>();

function hashSetOf(set: IPSet): HashSet {
  let loaded = LOADED.get(set);
  if (loaded === undefined) {
    loaded = new HashSet(set);
    LOADED.set(set, loaded);
  }
  return loaded;
}

function loadList(list: IPSet, hashes: ReadonlyMap<string, HashSet>): LoadedSet {
  const members = list.members.map((member) => {
    const set = member.kind === "set" ? hashes.get(member.set) : undefined;
    if (set === undefined) throw new Error(`list ${list.name}: ${JSON.stringify(member)} is not a hash set`);
    return set;
  });
  return {
    name: list.name,
    // In order, until one says yes: an exception (nomatch) in one member set is a plain no, the next set is asked.
    test(packet, sides) {
      for (const member of members) if (member.test(packet, sides)) return true;
      return false;
    },
  };
}

/** The values of `HashSet`'s table. */
const MEMBER = 0;
const EXCEPTION = 1;

/** The lengths of most sets. */
const ADDRESSES_ALONE = Uint8Array.of(32);

/** Bits of the key beside the address: prefix length, and for sets with ports protocol and port above it. */
const PORT_SHIFT = 8;
const PROTOCOL_SHIFT = 24;

/**
 * hash:ip, hash:net, hash:ip,port and hash:net,port in one table keyed by (masked address, prefix length, protocol,
 * port). A test tries the prefix lengths that occur, longest first, as the kernel does; the first entry found decides,
 * so an exception hides the wider entries around it. Ranges in hash:ip sets, which the kernel expands to addresses, are
 * kept as prefixes: membership is the same.
 */
class HashSet implements LoadedSet {
  readonly name: string;
  readonly #family: Family;
  readonly #hasPorts: boolean;
  readonly #table: AddressTable;
  /** Prefix lengths that occur, longest first. */
  readonly #lengths: Uint8Array;

  constructor(set: IPSet) {
    this.name = set.name;
    this.#family = set.family;
    this.#hasPorts = set.type === "hash:ip,port" || set.type === "hash:net,port";
    this.#table = new AddressTable(set.family, set.members.length);
    const lengths: number[] = [];
    for (const member of set.members) {
      this.#checkMember(member);
      if (member.kind === "set") continue;
      const { cidr } = member;
      const port = member.kind === "netPort" ? portKey(member.protocol, member.port) : 0;
      this.#table.set(cidr.words, port | cidr.prefixLength, member.nomatch === true ? EXCEPTION : MEMBER);
      if (!lengths.includes(cidr.prefixLength)) lengths.push(cidr.prefixLength);
    }
    this.#lengths =
      lengths.length === 1 && lengths[0] === 32 ? ADDRESSES_ALONE : Uint8Array.from(lengths).sort().reverse();
  }

  #checkMember(member: IPSetMember): void {
    const wanted = this.#hasPorts ? "netPort" : "net";
    if (member.kind !== wanted || member.cidr.family !== this.#family) {
      throw new Error(`set ${this.name} (IPv${this.#family}, ${wanted}) cannot hold ${JSON.stringify(member)}`);
    }
  }

  test(packet: CurrentPacket, sides: SetSides): boolean {
    packet.setLookups++;
    // ip_set_test: a set of the other family, or with more dimensions than the rule names, holds nothing.
    if (packet.family !== this.#family) return false;
    if (this.#hasPorts && sides >>> DIMENSIONS_SHIFT < 2) return false;
    let extra = 0;
    if (this.#hasPorts) {
      if (!hasPortInformation(packet)) return false;
      extra = portKey(packet.protocol, portOf(packet, sides));
    }
    return this.#family === 4 ? this.#test4(packet, sides, extra) : this.#test6(packet, sides, extra);
  }

  #test4(packet: CurrentPacket, sides: SetSides, extra: number): boolean {
    const word = isFirstSource(sides) ? packet.source0 : packet.destination0;
    for (let index = 0; index < this.#lengths.length; index++) {
      const length = this.#lengths[index] ?? 0;
      const found = this.#table.find4(word & maskWord(length), extra | length);
      if (found >= 0) return found === MEMBER;
    }
    return false;
  }

  #test6(packet: CurrentPacket, sides: SetSides, extra: number): boolean {
    const fromSource = isFirstSource(sides);
    const word0 = fromSource ? packet.source0 : packet.destination0;
    const word1 = fromSource ? packet.source1 : packet.destination1;
    const word2 = fromSource ? packet.source2 : packet.destination2;
    const word3 = fromSource ? packet.source3 : packet.destination3;
    for (let index = 0; index < this.#lengths.length; index++) {
      const length = this.#lengths[index] ?? 0;
      const found = this.#table.find6(
        word0 & maskWord(length),
        word1 & maskWord(length - 32),
        word2 & maskWord(length - 64),
        word3 & maskWord(length - 96),
        extra | length,
      );
      if (found >= 0) return found === MEMBER;
    }
    return false;
  }
}

/** Protocol and port beside the prefix length. A prefix length needs 8 bits, a port 16, a protocol 8. */
function portKey(protocol: number, port: number): number {
  return (protocol << PROTOCOL_SHIFT) | (port << PORT_SHIFT);
}

/**
 * ip_set_get_ip4_port, ip_set_get_ip6_port: a later fragment has no ports to compare, so a set with ports does not hold
 * it; only IPv4 lets fragments of protocols without ports through.
 */
function hasPortInformation(packet: CurrentPacket): boolean {
  if (packet.fragment === 0) return true;
  if (packet.family === 6) return false;
  const { protocol } = packet;
  return !(readsPorts(protocol) || protocol === PROTOCOL.icmp);
}

/** The protocols whose ports ip_set_getport.c reads. Not DCCP: its packets count as having port 0. */
function readsPorts(protocol: number): boolean {
  return (
    protocol === PROTOCOL.tcp ||
    protocol === PROTOCOL.udp ||
    protocol === PROTOCOL.sctp ||
    protocol === PROTOCOL.udplite
  );
}

/** get_port of ip_set_getport.c: for ICMP the "port" is type and code. */
function portOf(packet: CurrentPacket, sides: SetSides): number {
  const { protocol } = packet;
  if (readsPorts(protocol)) return sides & SECOND_IS_SOURCE ? packet.sourcePort : packet.destinationPort;
  if (protocol === PROTOCOL.icmp || protocol === PROTOCOL.icmpv6) return (packet.icmpType << 8) | packet.icmpCode;
  return 0;
}
