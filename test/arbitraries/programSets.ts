/** Random IP sets for random programs (program.ts). */
import fc from "fast-check";
import { type Family, formatCidr } from "../../dataplane/address.ts";
import { PROTOCOL } from "../../dataplane/packet.ts";
import type { IPSet, IPSetMember, IPSetOptions, IPSetType } from "../../dataplane/program.ts";
import { PORTS } from "../../verify/fuzz/domain.ts";
import { hostArbitrary, prefixArbitrary } from "./programMatches.ts";

/** What an option of a set's creation looks like when it is printed: sizes always, the rest when present. */
const hashOptions: fc.Arbitrary<IPSetOptions> = fc
  .record({
    hashSize: fc.constantFrom(64, 1024),
    maxElements: fc.constantFrom(65_536, 1_048_576),
    timeoutSeconds: fc.constantFrom(undefined, 0),
    counters: fc.constantFrom(undefined, undefined, true),
    comment: fc.constantFrom(undefined, true),
  })
  .map(({ hashSize, maxElements, timeoutSeconds, counters, comment }) => ({
    hashSize,
    maxElements,
    ...(timeoutSeconds !== undefined && { timeoutSeconds }),
    ...(counters !== undefined && { counters }),
    ...(comment !== undefined && { comment }),
  }));

/** One set of each kind at most, and lists of those before them. IPv6 sets have names of their own. */
export function setsArbitrary(family: Family): fc.Arbitrary<readonly IPSet[]> {
  const prefix = family === 4 ? "" : "inet6:";
  const types: readonly Exclude<IPSetType, "list:set">[] = ["hash:ip", "hash:net", "hash:ip,port", "hash:net,port"];
  const hashes = types.map((type, index) =>
    fc.option(hashSetArbitrary(`${prefix}${SET_NAMES[index]}`, type, family), { nil: undefined }),
  );
  return fc
    .tuple(...hashes)
    .map((sets) => sets.filter((set) => set !== undefined))
    .chain((sets) =>
      fc
        .tuple(listArbitrary(`${prefix}list-1`, sets, 1), listArbitrary(`${prefix}list-2`, sets, 2))
        .map((lists) => [...sets, ...lists.filter((list) => list !== undefined)]),
    );
}

/** With all the signs that solutions put into names. */
const SET_NAMES = ["weave-;rGqyMI^c~Z$3]6!N", "cali40s:abc-_D", "KUBE-DST-PORTS", "#~|;[(=*"];

function hashSetArbitrary(name: string, type: Exclude<IPSetType, "list:set">, family: Family): fc.Arbitrary<IPSet> {
  const cidr = type.startsWith("hash:net") ? prefixArbitrary(family) : hostArbitrary(family);
  const ports = type.endsWith(",port");
  const nomatch = type.startsWith("hash:net") ? fc.constantFrom(false, false, true) : fc.constant(false);
  const member = fc.record({
    cidr,
    protocol: fc.constantFrom(PROTOCOL.tcp, PROTOCOL.udp, PROTOCOL.sctp),
    port: fc.constantFrom(...PORTS),
    nomatch,
    comment: fc.constantFrom(undefined, "pod: default/db", "x"),
  });
  const members = fc.uniqueArray(member, {
    maxLength: 6,
    selector: (each) => (ports ? `${formatCidr(each.cidr)},${each.protocol}:${each.port}` : formatCidr(each.cidr)),
  });
  return fc.record({ options: hashOptions, members }).map(({ options, members: drawn }) => ({
    name,
    type,
    family,
    options,
    members: drawn.map((each): IPSetMember => {
      const more = {
        ...(each.nomatch && { nomatch: true }),
        ...(options.comment === true && each.comment !== undefined && { comment: each.comment }),
      };
      if (!ports) return { kind: "net", cidr: each.cidr, ...more };
      return { kind: "netPort", cidr: each.cidr, protocol: each.protocol, port: each.port, ...more };
    }),
  }));
}

/** A list of sets with as many dimensions; never empty, since then nothing says of which family it is. */
function listArbitrary(name: string, sets: readonly IPSet[], dimensions: 1 | 2): fc.Arbitrary<IPSet | undefined> {
  const fitting = sets.filter(({ type }) => type.endsWith(",port") === (dimensions === 2));
  const [first] = fitting;
  if (first === undefined) return fc.constant(undefined);
  const list = fc.subarray([...fitting], { minLength: 1 }).map(
    (members): IPSet => ({
      name,
      type: "list:set",
      family: first.family,
      // The kernel makes 4 of what is less, and takes any number of sets.
      options: { size: 4 },
      members: members.map((set) => ({ kind: "set", set: set.name })),
    }),
  );
  return fc.option(list, { nil: undefined });
}
