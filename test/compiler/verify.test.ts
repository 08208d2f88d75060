import { describe, expect, it } from "vitest";
import { verifyProgram } from "../../compiler/verify.ts";
import { portCode, TupleEntries, tupleMap } from "../../dataplane/maps/tupleEntries.ts";
import type {
  Chain,
  IPSet,
  MapProgram,
  MapSpec,
  Match,
  Rule,
  Table,
  TableProgram,
  Target,
} from "../../dataplane/program.ts";
import { address, cidr } from "../../verify/fuzz/builders.ts";

const attachment = { uplink: "eth0", pods: [], remotePodAddresses: [], localAddresses: [] };

function rule(matches: readonly Match[], target?: Target): Rule {
  return target === undefined ? { matches } : { matches, target };
}

function filter(forward: readonly Rule[], more: readonly Chain[] = []): Table {
  const builtIn = (name: string, rules: readonly Rule[] = []): Chain => ({ name, policy: "accept", rules });
  return { name: "filter", chains: [builtIn("INPUT"), builtIn("FORWARD", forward), builtIn("OUTPUT"), ...more] };
}

function program(tables: readonly Table[], sets: readonly IPSet[] = [], family: 4 | 6 = 4): TableProgram {
  return { kind: "tables", strategy: "test", node: "n", sets, families: [{ family, tables }], attachment };
}

function set(name: string, parts: Partial<IPSet> = {}): IPSet {
  return { name, type: "hash:ip", family: 4, members: [], options: {}, ...parts };
}

const jump = (chain: string): Target => ({ kind: "jump", chain });
const goTo = (chain: string): Target => ({ kind: "goto", chain });
const chain = (name: string, rules: readonly Rule[] = []): Chain => ({ name, rules });
const protocol = (number: number): Match => ({ kind: "protocol", protocol: number, negate: false });
const inSet = (name: string, ...sides: ("source" | "destination")[]): Match => ({
  kind: "set",
  set: name,
  sides,
  negate: false,
});
const multiport = (...ranges: readonly (readonly [number, number])[]): Match => ({
  kind: "ports",
  side: "destination",
  ranges: ranges.map(([first, last]) => ({ first, last })),
  extension: "multiport",
  negate: false,
});
const net = (text: string, nomatch?: boolean) =>
  nomatch === undefined
    ? { kind: "net" as const, cidr: cidr(text) }
    : { kind: "net" as const, cidr: cidr(text), nomatch };

/** One sound program that uses what the complaints below are about. */
const SOUND = program(
  [
    filter(
      [
        rule([inSet("KUBE-SRC-A", "source"), protocol(6), multiport([1, 2], [80, 80])], jump("A")),
        rule([inSet("ports", "destination", "destination")], goTo("B")),
        rule([inSet("all", "source")], { kind: "reject", with: "icmp-port-unreachable" }),
      ],
      [chain("A", [rule([], jump("B"))]), chain("B", [rule([], { kind: "return" })])],
    ),
  ],
  [
    set("KUBE-SRC-A", { members: [net("10.0.0.1/32")] }),
    set("ports", {
      type: "hash:ip,port",
      members: [{ kind: "netPort", cidr: cidr("10.0.0.1/32"), protocol: 6, port: 80 }],
    }),
    set("blocks", { type: "hash:net", members: [net("10.0.0.0/8"), net("10.1.0.0/16", true)] }),
    set("all", {
      type: "list:set",
      members: [
        { kind: "set", set: "KUBE-SRC-A" },
        { kind: "set", set: "blocks" },
      ],
    }),
  ],
);

describe("verifyProgram", () => {
  it("finds nothing in a sound program", () => {
    expect(verifyProgram(SOUND)).toEqual([]);
  });

  const withForward = (...rules: readonly Rule[]) => program([filter(rules)]);
  const withSets = (...sets: readonly IPSet[]) => program([filter([])], sets);
  const chainOf = (bytes: number) => "C".repeat(bytes);

  const refused: readonly (readonly [what: string, program: TableProgram, complaint: RegExp])[] = [
    [
      "a jump to a missing chain",
      withForward(rule([], jump("NOWHERE"))),
      /FORWARD rule 1: there is no chain "NOWHERE"/,
    ],
    ["a goto to a missing chain", withForward(rule([], goTo("NOWHERE"))), /there is no chain "NOWHERE"/],
    ["a jump to a built-in chain", withForward(rule([], jump("INPUT"))), /INPUT is built in/],
    ["a chain that jumps to itself", program([filter([], [chain("A", [rule([], jump("A"))])])]), /A > A loop/],
    [
      "a loop through several chains",
      program([
        filter(
          [rule([], jump("A"))],
          [chain("A", [rule([], jump("B"))]), chain("B", [rule([], goTo("C"))]), chain("C", [rule([], jump("A"))])],
        ),
      ]),
      /A > B > C > A loop/,
    ],
    ["a chain name of 29 bytes", program([filter([], [chain(chainOf(29))])]), /longer than 28 bytes/],
    ["a chain name with a blank", program([filter([], [chain("A -j ACCEPT")])]), /white space/],
    ["a chain name with a line end", program([filter([], [chain("A\n-A")])]), /white space/],
    ["a chain name like an option", program([filter([], [chain("-A")])]), /begins like an option/],
    ["a chain named like a target", program([filter([], [chain("ACCEPT")])]), /that of a target/],
    ["a chain declared twice", program([filter([], [chain("A"), chain("A")])]), /A: the chain is declared twice/],
    ["a table twice", program([filter([]), filter([])]), /table filter occurs twice/],
    [
      "a table without its built-in chains",
      program([{ name: "raw", chains: [] }]),
      /raw: built-in chain PREROUTING is missing/,
    ],
    ["a set name of 32 bytes", withSets(set("S".repeat(32))), /longer than 31 bytes/],
    ["a set name with a quote", withSets(set('S"')), /a quote/],
    ["a set created twice", withSets(set("S"), set("S")), /S: created twice/],
    ["a missing set", withForward(rule([inSet("S", "source")])), /there is no set "S"/],
    [
      "a set of the wrong family",
      program([filter([rule([inSet("S", "source")])])], [set("S", { family: 6 })]),
      /set S is of IPv6/,
    ],
    [
      "two sides of a set of one dimension",
      program([filter([rule([inSet("S", "source", "source")])])], [set("S")]),
      /by 2 sides, it has 1/,
    ],
    [
      "one side of a list of sets of two dimensions",
      program(
        [filter([rule([inSet("L", "source")])])],
        [set("S", { type: "hash:ip,port" }), set("L", { type: "list:set", members: [{ kind: "set", set: "S" }] })],
      ),
      /by 1 sides, it has 2/,
    ],
    [
      "a list of a missing set",
      withSets(set("L", { type: "list:set", members: [{ kind: "set", set: "S" }] })),
      /lists S/,
    ],
    [
      "a list of a later set",
      withSets(set("L", { type: "list:set", members: [{ kind: "set", set: "S" }] }), set("S")),
      /lists S, which is not created before it/,
    ],
    [
      "a list of a list",
      withSets(set("S", { type: "list:set" }), set("L", { type: "list:set", members: [{ kind: "set", set: "S" }] })),
      /is a list itself/,
    ],
    [
      "a set beyond its room",
      withSets(set("S", { members: [net("10.0.0.1/32"), net("10.0.0.2/32")], options: { maxElements: 1 } })),
      /2 members, room for 1/,
    ],
    ["a member twice", withSets(set("S", { members: [net("10.0.0.1/32"), net("10.0.0.1/32")] })), /added twice/],
    [
      "a member with and without nomatch",
      withSets(set("S", { type: "hash:net", members: [net("10.0.0.0/8"), net("10.0.0.0/8", true)] })),
      /added twice/,
    ],
    ["a member of the other family", withSets(set("S", { members: [net("fd00::1/128")] })), /is not of IPv4/],
    ["a network in hash:ip", withSets(set("S", { members: [net("10.0.0.0/8")] })), /is a network in hash:ip/],
    ["/0 in hash:net", withSets(set("S", { type: "hash:net", members: [net("0.0.0.0/0")] })), /prefix length 0/],
    ["0.0.0.0 in hash:ip", withSets(set("S", { members: [net("0.0.0.0/32")] })), /cannot be stored/],
    [
      "a member of another kind",
      withSets(set("S", { type: "hash:ip,port", members: [net("10.0.0.1/32")] })),
      /not fit/,
    ],
    [
      "a comment in a set without comments",
      withSets(set("S", { members: [{ ...net("10.0.0.1/32"), comment: "x" }] })),
      /without comments/,
    ],
    [
      "a quote in the comment of a member",
      withSets(set("S", { members: [{ ...net("10.0.0.1/32"), comment: '"' }], options: { comment: true } })),
      /with a quote/,
    ],
    [
      "sixteen multiport slots",
      withForward(rule([protocol(6), multiport(...Array.from({ length: 8 }, (_, at) => [at, at + 1] as const))])),
      /16 multiport slots, room for 15/,
    ],
    ["a multiport without a protocol", withForward(rule([multiport([1, 1])])), /needs -p/],
    ["a port beyond 65535", withForward(rule([protocol(6), multiport([1, 65_536])])), /1:65536 are no range/],
    [
      "an address of the other family",
      withForward(rule([{ kind: "address", side: "source", cidr: cidr("fd00::/8"), negate: false }])),
      /an address of IPv6/,
    ],
    [
      "two source addresses",
      withForward(
        rule([
          { kind: "address", side: "source", cidr: cidr("10.0.0.0/8"), negate: false },
          { kind: "address", side: "source", cidr: cidr("11.0.0.0/8"), negate: true },
        ]),
      ),
      /more than one source address/,
    ],
    [
      "an interface name of 16 bytes",
      withForward(rule([{ kind: "interface", side: "in", name: "i".repeat(16), negate: false }])),
      /longer than 15 bytes/,
    ],
    [
      "an ICMP type without its protocol",
      withForward(rule([{ kind: "icmp", family: 4, type: 8, negate: false }])),
      /without its -p/,
    ],
    ["a comment of 256 bytes", withForward(rule([{ kind: "comment", text: "ü".repeat(128) }])), /longer than 255/],
    ["a line end in a comment", withForward(rule([{ kind: "comment", text: "a\n-A INPUT" }])), /control character/],
    ["a reject of the other family", withForward(rule([], { kind: "reject", with: "icmp6-no-route" })), /of IPv6/],
    ["notrack outside raw", withForward(rule([], { kind: "notrack" })), /needs the raw table/],
    ["a mark with a sign", withForward(rule([], { kind: "mark", value: -1, mask: 1 })), /32 bits without sign/],
  ];

  it.each(refused)("refuses %s", (_, wrong, complaint) => {
    const problems = verifyProgram(wrong);
    expect(problems.join("\n")).toMatch(complaint);
  });

  it("names every problem at once", () => {
    const problems = verifyProgram(withForward(rule([], jump("X")), rule([inSet("S", "source")], jump("Y"))));
    expect(problems).toHaveLength(3);
  });

  it("refuses an interface name no kernel can have", () => {
    const pods = [{ endpoint: "a/b", addresses: [address("10.0.0.1")], interface: "a b" }];
    expect(verifyProgram({ ...SOUND, attachment: { ...attachment, pods } }).join()).toMatch(/pod a\/b.*white space/);
  });
});

describe("verifyProgram of maps", () => {
  const map = (name: string, parts: Partial<MapSpec> = {}): MapSpec => ({
    name,
    type: "hash",
    keyBytes: 2,
    valueBytes: 1,
    maxEntries: 2,
    entries: [],
    ...parts,
  });
  const trie = map("cidrs", { type: "lpm-trie", keyBytes: 8 });
  const maps = (...specs: readonly MapSpec[]): MapProgram => ({
    kind: "maps",
    strategy: "test",
    node: "n",
    maps: specs,
    attachPoints: [],
    attachment,
  });
  const entry = (key: readonly number[], value: readonly number[]) => ({
    key: Uint8Array.from(key),
    value: Uint8Array.from(value),
  });

  it("finds nothing in a sound program", () => {
    const sound = maps(map("m", { entries: [entry([1, 2], [3])] }), {
      ...trie,
      entries: [entry([24, 0, 0, 0, 10, 0, 0, 0], [1])],
    });
    const attachPoints = [
      { endpoint: "a/b", direction: "ingress" as const, plan: { kind: "tuple" as const, exact: "m", blocks: "cidrs" } },
    ];
    expect(verifyProgram({ ...sound, attachPoints })).toEqual([]);
  });

  it.each([
    ["a key of the wrong size", maps(map("m", { entries: [entry([1], [3])] })), /has 1 bytes, want 2/],
    ["a value of the wrong size", maps(map("m", { entries: [entry([1, 2], [])] })), /has 0 bytes, want 1/],
    ["a key twice", maps(map("m", { entries: [entry([1, 2], [3]), entry([1, 2], [4])] })), /0102 occurs twice/],
    [
      "more than fits",
      maps(map("m", { maxEntries: 1, entries: [entry([1, 2], [3]), entry([1, 3], [3])] })),
      /room for 1/,
    ],
    [
      "an index beyond the end",
      maps(map("m", { type: "array", keyBytes: 4, entries: [entry([2, 0, 0, 0], [1])] })),
      /beyond/,
    ],
    ["a prefix beyond the data", maps({ ...trie, entries: [entry([33, 0, 0, 0, 1, 2, 3, 4], [1])] }), /33 bits/],
    ["a map twice", maps(map("m"), map("m")), /created twice/],
  ])("refuses %s", (_, wrong, complaint) => {
    expect(verifyProgram(wrong).join("\n")).toMatch(complaint);
  });

  /** An exact map in factors: these peers, each with these ports. */
  const tuples = (peers: readonly string[], codes: readonly number[], parts: Partial<MapSpec> = {}): MapProgram => {
    const { entries: _, ...head } = map("m", { keyBytes: 20, valueBytes: 4, maxEntries: 4, ...parts });
    const ports = { codes: Int32Array.from(codes), origins: codes.map(() => "") };
    return maps(tupleMap(head, new TupleEntries(peers.map((peer) => ({ peer: cidr(peer), ports })))));
  };
  const [HTTP, HTTPS] = [portCode(6, 80), portCode(6, 443)];

  it("finds nothing in sound factors, nor in the entries that they stand for", () => {
    const sound = tuples(["10.0.0.1/32", "10.0.0.2/32"], [HTTP, HTTPS]);
    expect(verifyProgram(sound)).toEqual([]);
    const [written] = sound.maps;
    expect(written?.entries).toHaveLength(4);
    expect(verifyProgram(maps({ ...map("m"), ...written }))).toEqual([]);
  });

  it.each([
    ["a peer twice", tuples(["10.0.0.1/32", "10.0.0.1/32"], [HTTP]), /10\.0\.0\.1\/32 occurs twice/],
    ["a peer that is a block", tuples(["10.0.0.0/24"], [HTTP]), /10\.0\.0\.0\/24 is no address/],
    ["a port twice", tuples(["10.0.0.1/32"], [HTTP, HTTP]), /do not ascend/],
    ["more than fits", tuples(["10.0.0.1/32"], [1, 2, 3, 4, 5]), /5 entries, room for 4/],
    ["keys of another size", tuples(["10.0.0.1/32"], [HTTP], { keyBytes: 24 }), /20 bytes, want 24/],
    ["values of another size", tuples(["10.0.0.1/32"], [HTTP], { valueBytes: 8 }), /4 bytes, want 8/],
    ["a map of another type", tuples(["10.0.0.1/32"], [HTTP], { type: "lpm-trie" }), /not of a map of type lpm-trie/],
  ])("refuses factors with %s", (_, wrong, complaint) => {
    expect(verifyProgram(wrong).join("\n")).toMatch(complaint);
  });

  it("refuses a look-up in a missing map and in a map of the wrong type", () => {
    const point = (exact: string, blocks: string) => ({
      endpoint: "a/b",
      direction: "egress" as const,
      plan: { kind: "tuple" as const, exact, blocks },
    });
    const problems = verifyProgram({ ...maps(map("m"), trie), attachPoints: [point("gone", "m")] });
    expect(problems).toEqual(['a/b egress: there is no map "gone"', "a/b egress: blocks m cannot be of type hash"]);
  });
});
