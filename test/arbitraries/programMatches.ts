/** Random matches for random programs (program.ts). */
import fc from "fast-check";
import { type Cidr, type Family, hostCidr } from "../../dataplane/address.ts";
import { PROTOCOL, TCP_FLAG } from "../../dataplane/packet.ts";
import type { AddressType, CtStateFlag, IPSet, Match, PortRange, Side, TableName } from "../../dataplane/program.ts";
import { address, cidr } from "../../verify/fuzz/builders.ts";
import { BLOCKS, NODES, OUTSIDE, PLACES, PORTS } from "../../verify/fuzz/domain.ts";

/** Where a rule of a random program stands. */
export interface RuleSeat {
  readonly table: TableName;
  readonly family: Family;
  readonly chain: string;
  /** The chains it may jump to. */
  readonly below: readonly string[];
  readonly sets: readonly IPSet[];
}

const negate = fc.oneof({ weight: 4, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) });
const side = fc.constantFrom<Side>("source", "destination");
const uint32 = fc.oneof(fc.constantFrom(0, 1, 0x10000, 0x20000, 0x8000_0000, 0xffff_ffff), fc.nat(0xffff_ffff));

/** Prefixes of the tiny world, none of length 0: the save commands leave those out, sets refuse them. */
export function prefixArbitrary(family: Family): fc.Arbitrary<Cidr> {
  const name = family === 4 ? "ipv4" : "ipv6";
  const blocks = BLOCKS.flatMap((block) => [block.cidr, ...block.exceptions])
    .map(cidr)
    .filter((each) => each.family === family && each.prefixLength > 0);
  const hosts = [...PLACES, ...NODES].map((place) => address(place[name])).concat(OUTSIDE[name].map(address));
  return fc.constantFrom(...blocks, ...hosts.map(hostCidr));
}

/** Addresses of the tiny world as host prefixes. */
export function hostArbitrary(family: Family): fc.Arbitrary<Cidr> {
  const name = family === 4 ? "ipv4" : "ipv6";
  return fc.constantFrom(...[...PLACES, ...NODES].map((place) => hostCidr(address(place[name]))));
}

/** Seldom enough that packets get through a rule. */
function oneIn(count: number, arbitrary: fc.Arbitrary<Match>): fc.Arbitrary<Match | undefined> {
  return fc.oneof({ weight: count - 1, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary });
}

interface Header {
  readonly matches: readonly Match[];
  /** That `-p` demands. */
  readonly protocol: number | undefined;
}

/** `-s -d -i -o -p -f`, in the order of the save commands. */
export function headerArbitrary({ family, chain }: RuleSeat): fc.Arbitrary<Header> {
  const addressMatch = (of: Side) =>
    fc.record({ kind: fc.constant("address"), side: fc.constant(of), cidr: prefixArbitrary(family), negate });
  const interfaceMatch = (of: "in" | "out") =>
    fc.record({
      kind: fc.constant("interface"),
      side: fc.constant(of),
      name: fc.constantFrom("eth0", "eth+", "cali+", "cali0", "cali1", "lo"),
      negate,
    });
  const comesIn = chain !== "OUTPUT" && chain !== "POSTROUTING";
  const goesOut = chain !== "INPUT" && chain !== "PREROUTING";
  const protocols = [PROTOCOL.tcp, PROTOCOL.udp, PROTOCOL.sctp, PROTOCOL.udplite, PROTOCOL.dccp, PROTOCOL.gre, 200];
  const protocol = fc.record({
    kind: fc.constant("protocol"),
    protocol: fc.constantFrom(...protocols, family === 4 ? PROTOCOL.icmp : PROTOCOL.icmpv6),
    negate,
  });
  const fragment = fc.record({ kind: fc.constant("fragment"), negate });
  return fc
    .tuple(
      oneIn(4, addressMatch("source")),
      oneIn(4, addressMatch("destination")),
      comesIn ? oneIn(6, interfaceMatch("in")) : fc.constant(undefined),
      goesOut ? oneIn(6, interfaceMatch("out")) : fc.constant(undefined),
      oneIn(2, protocol),
      family === 4 ? oneIn(30, fragment) : fc.constant(undefined),
    )
    .map((parts) => {
      const matches = parts.filter((part) => part !== undefined);
      const demanded = matches.find((match) => match.kind === "protocol" && !match.negate);
      return { matches, protocol: demanded?.kind === "protocol" ? demanded.protocol : undefined };
    });
}

/** What `-m` can ask, for a rule whose header demands `protocol`. */
export function extensionMatchesArbitrary(
  seat: RuleSeat,
  protocol: number | undefined,
): fc.Arbitrary<readonly Match[]> {
  const others = fc.array(fc.oneof(...anyProtocolMatches(seat), ...protocolMatches(protocol)), { maxLength: 3 });
  return fc.tuple(headerOfProtocol(protocol), others).map(([first, rest]) => [...first, ...rest.filter(standsOnce)]);
}

/** iptables loses count of `--mark` when `mark` and `connmark` stand in a rule more than once. */
function standsOnce({ kind }: Match, index: number, all: readonly Match[]): boolean {
  if (kind !== "mark" && kind !== "connmark") return true;
  return all.findIndex((each) => each.kind === kind) === index;
}

const port = fc.constantFrom(0, ...PORTS, 65_535);
/** Never every port: alone, that is printed as nothing. */
const range: fc.Arbitrary<PortRange> = fc
  .tuple(port, port)
  .map(([a, b]) => ({ first: Math.min(a, b), last: Math.max(a, b) }))
  .filter(({ first, last }) => first > 0 || last < 65_535);

/** Not udplite: iptables has no module of that name to load, multiport is the way to ask. */
const PORT_EXTENSIONS = ["tcp", "udp", "dccp", "sctp"] as const;
const MULTIPORT_PROTOCOLS: readonly number[] = [PROTOCOL.udplite, ...PORT_EXTENSIONS.map((name) => PROTOCOL[name])];

/**
 * `-m tcp` and its like: each option once, in the order of the save commands. Given twice, the legacy tools keep both,
 * the nft ones mix them up (1.8.9).
 */
function headerOfProtocol(protocol: number | undefined): fc.Arbitrary<readonly Match[]> {
  const extension = PORT_EXTENSIONS.find((name) => PROTOCOL[name] === protocol);
  if (extension === undefined) return fc.constant([]);
  const portsOf = (of: Side): fc.Arbitrary<Match> =>
    fc
      .record({
        kind: fc.constant("ports"),
        side: fc.constant(of),
        ranges: fc.tuple(range),
        extension: fc.constant(extension),
        negate,
      })
      // The nft tools print `! --dport 0:80` as what it comes to, `--dport 81:65535`.
      .map((match) => ({
        ...match,
        negate: match.negate && (match.ranges[0].first > 0 || match.ranges[0].last === 0),
      }));
  const bits = TCP_FLAG.F | TCP_FLAG.S | TCP_FLAG.R | TCP_FLAG.P | TCP_FLAG.A | TCP_FLAG.U;
  const flags: fc.Arbitrary<Match> = fc.record({
    kind: fc.constant("tcpFlags"),
    mask: fc.integer({ min: 1, max: bits }), // what asks for no flag at all is not printed
    compare: fc.nat(bits),
    negate,
  });
  return fc
    .tuple(
      oneIn(6, portsOf("source")),
      oneIn(2, portsOf("destination")),
      extension === "tcp" ? oneIn(6, flags) : fc.constant(undefined),
    )
    .map((matches) => matches.filter((match) => match !== undefined));
}

function protocolMatches(protocol: number | undefined): readonly fc.Arbitrary<Match>[] {
  const matches: fc.Arbitrary<Match>[] = [];
  if (protocol !== undefined && MULTIPORT_PROTOCOLS.includes(protocol)) {
    matches.push(
      fc.record({
        kind: fc.constant("ports"),
        side: fc.constantFrom<Side | "either">("source", "destination", "either"),
        ranges: fc.array(range, { minLength: 1, maxLength: 7 }),
        extension: fc.constant("multiport"),
        negate,
      }),
    );
  }
  if (protocol === PROTOCOL.icmp || protocol === PROTOCOL.icmpv6) {
    const family: Family = protocol === PROTOCOL.icmp ? 4 : 6;
    const type = fc.constantFrom(0, 3, 8, 11, 128, 129, 135, 254);
    const code = fc.constantFrom(0, 1, 255);
    const any = family === 4 ? [fc.constant<Match>({ kind: "icmp", family, type: 255, negate: false })] : [];
    matches.push(
      ...any,
      fc.record(
        { kind: fc.constant("icmp"), family: fc.constant(family), type, code, negate },
        { requiredKeys: ["kind", "family", "type", "negate"] },
      ),
    );
  }
  return matches;
}

/** In the order in which the kernel's tools print them. */
const CT_STATES: readonly CtStateFlag[] = ["invalid", "new", "related", "established", "untracked", "snat", "dnat"];
/** IPv6 knows fewer (addrtype_mt_checkentry_v1). */
const ADDRESS_TYPES: Readonly<Record<Family, readonly AddressType[]>> = {
  4: ["LOCAL", "UNICAST", "BROADCAST", "MULTICAST", "ANYCAST", "BLACKHOLE"],
  6: ["LOCAL", "UNICAST", "MULTICAST", "ANYCAST"],
};

/** Text that needs quotes and escapes as often as not, but no control characters. */
const comment = fc.oneof(
  fc.constantFrom(
    "plain",
    "two words",
    'say "no"',
    "it's",
    "back\\slash",
    "-j DROP",
    "$(x) `y` %s",
    "ns/pod ingress[0]",
  ),
  fc.string({ minLength: 1, maxLength: 30 }).filter((text) => !/\p{Cc}/u.test(text)),
);

function anyProtocolMatches({ table, family, chain, sets }: RuleSeat): readonly fc.Arbitrary<Match>[] {
  const states = (known: readonly CtStateFlag[]) => fc.subarray([...known], { minLength: 1 });
  const bits = { value: uint32, mask: uint32, negate };
  const matches: fc.Arbitrary<Match>[] = [
    fc.record({ kind: fc.constant("mark"), ...bits }),
    fc.record({ kind: fc.constant("connmark"), ...bits }),
    fc.record({
      kind: fc.constant("ctState"),
      states: states(CT_STATES),
      extension: fc.constant("conntrack"),
      negate,
    }),
    fc.record({
      kind: fc.constant("ctState"),
      states: states(CT_STATES.slice(0, 5)),
      extension: fc.constant("state"),
      negate,
    }),
    fc.record({ kind: fc.constant("addressType"), side, type: fc.constantFrom(...ADDRESS_TYPES[family]), negate }),
    fc.record({
      kind: fc.constant("limit"),
      rate: fc.constantFrom("1/sec", "10/min", "3/hour"),
      burst: fc.constantFrom(5, 10),
    }),
    comment.map((text): Match => ({ kind: "comment", text })),
    physdevArbitrary,
  ];
  const usable = sets.filter(({ members }) => members.length > 0);
  if (usable.length > 0) matches.push(fc.constantFrom(...usable).chain((set) => setMatchArbitrary(set, sets)));
  if (chain === "PREROUTING" && (table === "raw" || table === "mangle")) {
    const flag = fc.boolean();
    matches.push(fc.record({ kind: fc.constant("rpfilter"), validMark: flag, loose: flag, invert: flag }));
  }
  return matches;
}

/** Tests of the out port stand with `--physdev-is-bridged`, as physdev_mt_check demands. */
const physdevArbitrary: fc.Arbitrary<Match> = fc
  .record({
    in: fc.option(fc.record({ name: fc.constantFrom("cali0", "cali+", "vethwe-bridge"), negate }), { nil: undefined }),
    out: fc.option(fc.record({ name: fc.constantFrom("cali1", "eth+"), negate }), { nil: undefined }),
    isIn: fc.option(fc.boolean(), { nil: undefined }),
    isBridged: fc.constantFrom(undefined, true, false),
  })
  .map(({ in: inPort, out, isIn, isBridged }) => ({
    kind: "physdev",
    ...(inPort !== undefined && { in: inPort }),
    ...(out !== undefined && { out }),
    ...(isIn !== undefined && { isIn }),
    ...(out !== undefined ? { isBridged: true } : { isBridged: isBridged ?? true }),
  }));

function setMatchArbitrary(set: IPSet, sets: readonly IPSet[]): fc.Arbitrary<Match> {
  const count = dimensionsOf(set, sets);
  return fc.record({
    kind: fc.constant("set"),
    set: fc.constant(set.name),
    sides: fc.array(side, { minLength: count, maxLength: count }),
    negate,
  });
}

function dimensionsOf({ type, members }: IPSet, sets: readonly IPSet[]): number {
  if (type !== "list:set") return type.endsWith(",port") ? 2 : 1;
  const [first] = members;
  const listed = sets.find(({ name }) => first?.kind === "set" && first.set === name);
  return listed === undefined ? 1 : dimensionsOf(listed, sets);
}
