/** Programs that make a kernel do one kind of work many times, so that the cost of one can be told. */
import { cidrOf } from "../../dataplane/address.ts";
import { makePacket, type Packet, PROTOCOL } from "../../dataplane/packet.ts";
import type {
  Attachment,
  Chain,
  IPSet,
  IPSetMember,
  IPSetType,
  Match,
  Rule,
  Side,
  Table,
  TableName,
  TableProgram,
  Target,
} from "../../dataplane/program.ts";

export interface Experiment {
  readonly name: string;
  readonly program: TableProgram;
}

export const POD = (10 << 24) | 2;
export const OUTSIDE = (172 << 24) | (16 << 16) | 5;
/** Documentation addresses (RFC 5737): no packet has them. */
const NOBODY = (203 << 24) | (113 << 8);

export const ATTACHMENT: Attachment = {
  uplink: "eth0",
  pods: [{ endpoint: "default/pod", addresses: [{ family: 4, words: [POD] }], interface: "pod0" }],
  remotePodAddresses: [],
  localAddresses: [{ family: 4, words: [(192 << 24) | (168 << 16) | 11] }],
};

/** The SYN that all experiments are about; others of its kind differ in the source port. */
export function openingOf(index: number): Packet {
  return makePacket({
    protocol: PROTOCOL.tcp,
    source: { family: 4, words: [OUTSIDE] },
    sourcePort: 1024 + index,
    destination: { family: 4, words: [POD] },
    destinationPort: 8080,
  });
}

const ACCEPT: Target = { kind: "accept" };
/** Each leads to a chain of its own, as in real programs. */
const JUMPS = 50;
const FAILS: Match = { kind: "mark", value: 1, mask: 1, negate: false };
const ELSEWHERE: Match = {
  kind: "address",
  side: "source",
  cidr: cidrOf({ family: 4, words: [NOBODY] }, 32),
  negate: false,
};
const TCP: Match = { kind: "protocol", protocol: PROTOCOL.tcp, negate: false };

/**
 * Rules that are looked at and lead to nothing: so many of each. What a rule costs grows with their number, since the
 * caches hold no more; real programs ask the same module some tens of times.
 */
const SILENT: readonly (readonly [name: string, rule: Rule | ((index: number) => Rule), copies: readonly number[]])[] =
  [
    ["rule, other source", { matches: [ELSEWHERE], target: ACCEPT }, [200, 1_000, 3_000]],
    ["rule, other protocol", { matches: [{ kind: "protocol", protocol: 17, negate: false }], target: ACCEPT }, [1_000]],
    ["mark", { matches: [FAILS], target: ACCEPT }, [50, 200]],
    ["ports", { matches: [TCP, ports([9_999], "tcp")], target: ACCEPT }, [50, 200]],
    ["multiport", { matches: [TCP, ports([9_997, 9_998, 9_999], "multiport")], target: ACCEPT }, [50]],
    [
      "state",
      { matches: [{ kind: "ctState", states: ["invalid"], extension: "conntrack", negate: false }], target: ACCEPT },
      [50],
    ],
    ["comment", { matches: [{ kind: "comment", text: "default/db-policy rule 1" }, FAILS], target: ACCEPT }, [50]],
    [
      "address type",
      { matches: [{ kind: "addressType", side: "destination", type: "LOCAL", negate: false }], target: ACCEPT },
      [50],
    ],
    ["physdev", { matches: [{ kind: "physdev", in: { name: "vethother", negate: false } }], target: ACCEPT }, [50]],
    ["set mark", { matches: [], target: { kind: "mark", value: 0, mask: 0x10000 } }, [50]],
    ["log to nobody", { matches: [], target: { kind: "log", target: "NFLOG", text: "--nflog-group 5" } }, [50]],
    ["jump", (index) => ({ matches: [], target: { kind: "jump", chain: `EMPTY-${index}` } }), [JUMPS]],
    ["hash:ip", inSet("ip", ["source"]), [100]],
    [
      "hash:ip that has it",
      (index) => ({ matches: [isIn("ip-of-outside", ["source"], index), FAILS], target: ACCEPT }),
      [100],
    ],
    ["hash:net", inSet("net", ["source"]), [100]],
    ["hash:net of one length", inSet("one-length", ["source"]), [100]],
    ["hash:net of twelve lengths", inSet("twelve-lengths", ["source"]), [100]],
    ["hash:ip,port", inSet("ip-port", ["source", "destination"]), [100]],
    ["hash:net,port", inSet("net-port", ["source", "destination"]), [100]],
    ["list:set", inSet("list", ["source"]), [50]],
    ["list:set of six sets", inSet("list-of-six", ["source"]), [50]],
  ];

const WRONG_WAY: Rule = {
  matches: [{ kind: "rpfilter", validMark: true, loose: false, invert: true }],
  target: { kind: "drop" },
};

function ports(numbers: readonly number[], extension: "tcp" | "multiport"): Match {
  return {
    kind: "ports",
    side: "destination",
    ranges: numbers.map((port) => ({ first: port, last: port })),
    extension,
    negate: false,
  };
}

function inSet(set: string, sides: readonly Side[]): (index: number) => Rule {
  return (index) => ({ matches: [isIn(set, sides, index)], target: ACCEPT });
}

/** Each rule asks another set, as in real programs: what one set needs of the caches, the next one does not find there. */
function isIn(set: string, sides: readonly Side[], index: number): Match {
  return { kind: "set", set: `${set}-${index % SETS_OF_A_KIND}`, sides, negate: false };
}

const SETS_OF_A_KIND = 50;
const MEMBERS = 100;

/** Of blocks in policies. */
const THREE_LENGTHS = [16, 24, 32];
const TWELVE_LENGTHS = [12, 14, 15, 16, 18, 20, 22, 24, 26, 28, 30, 32];

/** None of them is an end of the packet. */
function membersOf(type: IPSetType, lengths: readonly number[]): readonly IPSetMember[] {
  return Array.from({ length: MEMBERS }, (_, index): IPSetMember => {
    const bits = lengths[index % lengths.length] ?? 32;
    const cidr = cidrOf({ family: 4, words: [(100 << 24) + (index << 20) + 1] }, bits);
    return type.endsWith("port") ? { kind: "netPort", cidr, protocol: 6, port: 8080 } : { kind: "net", cidr };
  });
}

function hashSets(
  name: string,
  type: IPSetType,
  lengths: readonly number[],
  more: readonly IPSetMember[] = [],
): readonly IPSet[] {
  const members = [...membersOf(type, lengths), ...more];
  return numbered(name).map((set) => ({ name: set, type, family: 4, members, options: {} }));
}

/** Lists of sets of these kinds. */
function lists(name: string, kinds: readonly string[]): readonly IPSet[] {
  return numbered(name).map((list, index) => ({
    name: list,
    type: "list:set",
    family: 4,
    members: kinds.map((kind, turn) => ({ kind: "set", set: `${kind}-${(index + turn) % SETS_OF_A_KIND}` })),
    options: {},
  }));
}

function numbered(name: string): readonly string[] {
  return Array.from({ length: SETS_OF_A_KIND }, (_, index) => `${name}-${index}`);
}

/** What is listed comes before the lists, as `ipset restore` wants it. */
const SETS: readonly IPSet[] = [
  ...hashSets("ip", "hash:ip", [32]),
  ...hashSets("ip-of-outside", "hash:ip", [32], [{ kind: "net", cidr: cidrOf({ family: 4, words: [OUTSIDE] }, 32) }]),
  ...hashSets("net", "hash:net", THREE_LENGTHS),
  ...hashSets("one-length", "hash:net", [24]),
  ...hashSets("twelve-lengths", "hash:net", TWELVE_LENGTHS),
  ...hashSets("ip-port", "hash:ip,port", [32]),
  ...hashSets("net-port", "hash:net,port", THREE_LENGTHS),
  ...lists("list", ["ip", "net"]),
  ...lists("list-of-six", ["ip", "ip", "ip", "ip", "ip", "ip"]),
];

const FILTER: readonly Chain[] = ["INPUT", "FORWARD", "OUTPUT"].map((name) => ({ name, policy: "accept", rules: [] }));

function programOf(tables: readonly Table[], sets: readonly IPSet[] = []): TableProgram {
  return {
    kind: "tables",
    strategy: "calibration",
    node: "node",
    sets,
    families: [{ family: 4, tables }],
    attachment: ATTACHMENT,
  };
}

function forwarding(rules: readonly Rule[], sets: readonly IPSet[]): TableProgram {
  const chains = FILTER.map((chain) => (chain.name === "FORWARD" ? { ...chain, rules } : chain));
  const empty = Array.from({ length: JUMPS }, (_, index): Chain => ({ name: `EMPTY-${index}`, rules: [] }));
  return programOf([{ name: "filter", chains: [...chains, ...empty] }], sets);
}

/** In the one place where the kernel allows it. */
function beforeRouting(rules: readonly Rule[]): TableProgram {
  const chains = RAW.map(
    (hook): Chain => ({ name: hook, policy: "accept", rules: hook === "PREROUTING" ? rules : [] }),
  );
  return programOf([
    { name: "raw", chains },
    { name: "filter", chains: FILTER },
  ]);
}

function emptyTable(name: TableName, hooks: readonly string[]): Table {
  return { name, chains: hooks.map((hook) => ({ name: hook, policy: "accept", rules: [] })) };
}

const RAW = ["PREROUTING", "OUTPUT"];
const MANGLE = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"];

/** A node that does nothing but forward and track connections. */
export const BARE: TableProgram = programOf([]);

/** Without connection tracking. */
export const UNTRACKED: TableProgram = programOf([
  {
    name: "raw",
    chains: [
      { name: "PREROUTING", policy: "accept", rules: [{ matches: [], target: { kind: "notrack" } }] },
      { name: "OUTPUT", policy: "accept", rules: [] },
    ],
  },
]);

export const EXPERIMENTS: readonly Experiment[] = [
  { name: "bare", program: BARE },
  { name: "untracked", program: UNTRACKED },
  { name: "filter alone", program: programOf([{ name: "filter", chains: FILTER }]) },
  {
    name: "raw, mangle and filter",
    program: programOf([emptyTable("raw", RAW), emptyTable("mangle", MANGLE), { name: "filter", chains: FILTER }]),
  },
  {
    name: "raw, mangle, filter and security",
    program: programOf([
      emptyTable("raw", RAW),
      emptyTable("mangle", MANGLE),
      { name: "filter", chains: FILTER },
      emptyTable("security", ["INPUT", "FORWARD", "OUTPUT"]),
    ]),
  },
  { name: "50 × reverse path", program: beforeRouting(Array.from({ length: 50 }, () => WRONG_WAY)) },
  ...SILENT.flatMap(([name, rule, sizes]) =>
    sizes.map((copies) => ({
      name: `${copies} × ${name}`,
      program: forwarding(
        Array.from({ length: copies }, (_, index) => (typeof rule === "function" ? rule(index) : rule)),
        typeof rule === "function" ? SETS : [],
      ),
    })),
  ),
];
