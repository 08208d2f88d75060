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
const FAILS: Match = { kind: "mark", value: 1, mask: 1, negate: false };
const ELSEWHERE: Match = {
  kind: "address",
  side: "source",
  cidr: cidrOf({ family: 4, words: [NOBODY] }, 32),
  negate: false,
};
const TCP: Match = { kind: "protocol", protocol: PROTOCOL.tcp, negate: false };

/** Rules that are looked at and lead to nothing: so many copies of each. */
const SILENT: readonly (readonly [name: string, rule: Rule, copies: readonly number[]])[] = [
  ["rule, other source", { matches: [ELSEWHERE], target: ACCEPT }, [200, 1_000, 3_000]],
  ["rule, other protocol", { matches: [{ kind: "protocol", protocol: 17, negate: false }], target: ACCEPT }, [1_000]],
  ["mark", { matches: [FAILS], target: ACCEPT }, [100, 400]],
  ["ports", { matches: [TCP, ports([9_999], "tcp")], target: ACCEPT }, [100, 400]],
  ["multiport", { matches: [TCP, ports([9_997, 9_998, 9_999], "multiport")], target: ACCEPT }, [200]],
  [
    "state",
    { matches: [{ kind: "ctState", states: ["invalid"], extension: "conntrack", negate: false }], target: ACCEPT },
    [200],
  ],
  ["comment", { matches: [{ kind: "comment", text: "default/db-policy rule 1" }, FAILS], target: ACCEPT }, [200]],
  [
    "address type",
    { matches: [{ kind: "addressType", side: "destination", type: "LOCAL", negate: false }], target: ACCEPT },
    [100],
  ],
  ["physdev", { matches: [{ kind: "physdev", in: { name: "vethother", negate: false } }], target: ACCEPT }, [200]],
  ["set mark", { matches: [], target: { kind: "mark", value: 0, mask: 0x10000 } }, [200]],
  ["log to nobody", { matches: [], target: { kind: "log", target: "NFLOG", text: "--nflog-group 5" } }, [100]],
  ["jump", { matches: [], target: { kind: "jump", chain: "EMPTY" } }, [200]],
  ["hash:ip", inSet("ip", ["source"]), [100]],
  ["hash:net", inSet("net", ["source"]), [100]],
  ["hash:ip,port", inSet("ip-port", ["source", "destination"]), [100]],
  ["hash:net,port", inSet("net-port", ["source", "destination"]), [100]],
  ["list:set", inSet("list", ["source"]), [50]],
];

function ports(numbers: readonly number[], extension: "tcp" | "multiport"): Match {
  return {
    kind: "ports",
    side: "destination",
    ranges: numbers.map((port) => ({ first: port, last: port })),
    extension,
    negate: false,
  };
}

function inSet(set: string, sides: readonly Side[]): Rule {
  return { matches: [{ kind: "set", set, sides, negate: false }], target: ACCEPT };
}

const MEMBERS = 1_000;

function membersOf(type: IPSetType): readonly IPSetMember[] {
  if (type === "list:set") return ["ip", "net"].map((set) => ({ kind: "set", set }));
  return Array.from({ length: MEMBERS }, (_, index): IPSetMember => {
    // Prefixes of three lengths, as blocks in policies have.
    const bits = type.startsWith("hash:net") ? ([16, 24, 32][index % 3] ?? 32) : 32;
    const cidr = cidrOf({ family: 4, words: [(100 << 24) + (index << 16) + 1] }, bits);
    return type.endsWith("port") ? { kind: "netPort", cidr, protocol: 6, port: 8080 } : { kind: "net", cidr };
  });
}

const SETS: readonly IPSet[] = (
  [
    ["ip", "hash:ip"],
    ["net", "hash:net"],
    ["ip-port", "hash:ip,port"],
    ["net-port", "hash:net,port"],
    ["list", "list:set"],
  ] as const
).map(([name, type]) => ({ name, type, family: 4, members: membersOf(type), options: {} }));

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
  return programOf([{ name: "filter", chains: [...chains, { name: "EMPTY", rules: [] }] }], sets);
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
  ...SILENT.flatMap(([name, rule, sizes]) =>
    sizes.map((copies) => ({
      name: `${copies} × ${name}`,
      program: forwarding(
        Array.from({ length: copies }, () => rule),
        rule.matches.some(({ kind }) => kind === "set") ? SETS : [],
      ),
    })),
  ),
];
