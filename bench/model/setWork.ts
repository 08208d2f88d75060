/** What it takes to ask an IP set: a set of prefixes is asked once for each prefix length, a list its sets one by one. */
import { addressBits, cidrContains } from "../../dataplane/address.ts";
import type { Packet } from "../../dataplane/packet.ts";
import type { IPSet, Match } from "../../dataplane/program.ts";

export type SetMatch = Extract<Match, { readonly kind: "set" }>;

/**
 * The kinds of work, one after the other: `set TYPE`, for sets of prefixes `prefix length` for each that is tried, and
 * `set member` where there is one.
 */
export function setWork(sets: ReadonlyMap<string, IPSet>, { set: name, sides }: SetMatch, packet: Packet): string[] {
  const set = sets.get(name);
  if (set === undefined) return ["set hash:ip"];
  const work = [`set ${set.type}`];
  if (set.type !== "list:set") {
    if (set.type.startsWith("hash:net")) work.push(...lengthsTried(set, sides, packet).map(() => "prefix length"));
    if (deciding(set, sides, packet) !== undefined) work.push("set member");
    return work;
  }
  for (const member of set.members) {
    const listed = member.kind === "set" ? sets.get(member.set) : undefined;
    if (listed === undefined) continue;
    work.push(...setWork(sets, { kind: "set", set: listed.name, sides, negate: false }, packet));
    if (deciding(listed, sides, packet)?.nomatch === false) break;
  }
  return work;
}

/** The prefix lengths of the set, longest first, up to that which decides (mtype_test_cidrs of ip_set_hash_gen.h). */
function lengthsTried(set: IPSet, sides: SetMatch["sides"], packet: Packet): readonly number[] {
  const least = deciding(set, sides, packet)?.length ?? 0;
  const lengths = new Set<number>();
  for (const member of set.members) {
    if (member.kind !== "set" && member.cidr.prefixLength >= least) lengths.add(member.cidr.prefixLength);
  }
  return [...lengths];
}

/** The entry with the longest prefix that the packet has. */
function deciding(set: IPSet, [first, second]: SetMatch["sides"], packet: Packet) {
  if (packet.source.family !== set.family) return undefined;
  const address = first === "source" ? packet.source : packet.destination;
  const port = second === "source" ? packet.sourcePort : packet.destinationPort;
  let best: { readonly length: number; readonly nomatch: boolean } | undefined;
  for (const member of set.members) {
    if (member.kind === "set" || member.cidr.prefixLength < (best?.length ?? 0)) continue;
    if (member.kind === "netPort" && (member.protocol !== packet.protocol || member.port !== port)) continue;
    if (!cidrContains(member.cidr, address)) continue;
    best = { length: member.cidr.prefixLength, nomatch: member.nomatch === true };
    if (best.length === addressBits(set.family)) break;
  }
  return best;
}
