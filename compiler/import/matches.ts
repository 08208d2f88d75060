/** The match modules of iptables-extensions(8) that the instruction set can say, option by option. */
import { PROTOCOL, protocolName, TCP_FLAG } from "../../dataplane/packet.ts";
import {
  type AddressType,
  type CtStateFlag,
  type DeviceTest,
  type Match,
  MULTIPORT_SLOTS,
  type PortRange,
  type Side,
} from "../../dataplane/program.ts";
import { shorten } from "./importIssues.ts";
import { type Given, type RuleScope, valueAt } from "./scope.ts";
import { isServiceName, parseIcmpType, parseMark, parseNumber, parsePortRange } from "./values.ts";

export interface MatchModule {
  /** Options and how many values each takes. */
  readonly options: Readonly<Record<string, number>>;
  /** The matches of one `-m` with its options, in the order they stand. */
  build(given: readonly Given[], scope: RuleScope): readonly Match[];
}

/** Options whose meaning is clear, but not to us: what the packet meets there is unknown. */
export function opaqueMatch(module: string, given: readonly Given[]): Extract<Match, { readonly kind: "opaque" }> {
  return { kind: "opaque", text: [`-m ${module}`, ...given.map(({ raw }) => raw)].join(" ") };
}

/** A module of independent options: each becomes a match, or, where `one` says so, is not represented. */
function perOption(
  module: string,
  options: Readonly<Record<string, number>>,
  one: (given: Given, scope: RuleScope) => Match | "unrepresented" | undefined,
): MatchModule {
  return {
    options,
    build: (all, scope) =>
      all.flatMap((given) => {
        const match = one(given, scope);
        if (match !== "unrepresented") return match ?? [];
        scope.unrepresented(given.at, given.raw);
        return opaqueMatch(module, [given]);
      }),
  };
}

function wrongValue(given: Given, scope: RuleScope, allowed: string): undefined {
  const value = valueAt(given);
  scope.error(value, "bad-value", `${given.name} ${shorten(value.raw)}: want ${allowed}`);
}

function notNegatable(given: Given, scope: RuleScope): readonly [] {
  scope.error(given.at, "bad-rule", `${given.name} cannot be negated`);
  return [];
}

type PortModule = "tcp" | "udp" | "udplite" | "dccp" | "sctp";

const EVERY_PORT: PortRange = { first: 0, last: 65_535 };

/** `-m tcp` and its kin. Alone it is the full range: the tools drop `--dport 0:65535`, and it holds for the protocol. */
function portModule(extension: PortModule, more: Readonly<Record<string, number>>): MatchModule {
  const options = { "--sport": 1, "--dport": 1, ...more };
  const each = perOption(extension, options, (given, scope) => {
    if (given.name === "--tcp-flags") return tcpFlags(given, scope);
    if (given.name === "--syn") {
      return { kind: "tcpFlags", mask: SYN_MASK, compare: TCP_FLAG.S, negate: given.negate };
    }
    if (given.name !== "--sport" && given.name !== "--dport") return "unrepresented";
    const text = valueAt(given).text;
    const range = parsePortRange(text);
    if (range === undefined && isServiceName(text)) return "unrepresented";
    if (range === undefined) return wrongValue(given, scope, "a port 0-65535 or a range first:last");
    const side = given.name === "--sport" ? "source" : "destination";
    return { kind: "ports", side, ranges: [range], extension, negate: given.negate };
  });
  return {
    options,
    build: (given, scope) => {
      if (given.length > 0) return each.build(given, scope);
      return [{ kind: "ports", side: "destination", ranges: [EVERY_PORT], extension, negate: false }];
    },
  };
}

/** `--syn` is `--tcp-flags FIN,SYN,RST,ACK SYN`. */
const SYN_MASK = TCP_FLAG.F | TCP_FLAG.S | TCP_FLAG.R | TCP_FLAG.A;

const FLAG_BITS: ReadonlyMap<string, number> = new Map([
  ["FIN", TCP_FLAG.F],
  ["SYN", TCP_FLAG.S],
  ["RST", TCP_FLAG.R],
  ["PSH", TCP_FLAG.P],
  ["ACK", TCP_FLAG.A],
  ["URG", TCP_FLAG.U],
  ["ALL", TCP_FLAG.F | TCP_FLAG.S | TCP_FLAG.R | TCP_FLAG.P | TCP_FLAG.A | TCP_FLAG.U],
  ["NONE", 0],
]);

function tcpFlags(given: Given, scope: RuleScope): Match | undefined {
  const [mask, compare] = given.values.map(({ text }) =>
    text.split(",").reduce<number | undefined>((bits, name) => {
      const bit = FLAG_BITS.get(name.toUpperCase());
      return bits === undefined || bit === undefined ? undefined : bits | bit;
    }, 0),
  );
  if (mask === undefined || compare === undefined) {
    return wrongValue(given, scope, `two lists of ${[...FLAG_BITS.keys()].join(", ")}`);
  }
  return { kind: "tcpFlags", mask, compare, negate: given.negate };
}

const multiport = perOption("multiport", { "--sports": 1, "--dports": 1, "--ports": 1 }, (given, scope) => {
  const texts = valueAt(given).text.split(",");
  const ranges = texts.map((text) => (/^:|:$/.test(text) ? undefined : parsePortRange(text)));
  const known = ranges.filter((range) => range !== undefined);
  if (known.length < texts.length) {
    if (texts.some(isServiceName)) return "unrepresented";
    return wrongValue(given, scope, "ports 0-65535 and ranges first:last, separated by commas");
  }
  const slots = texts.reduce((sum, text) => sum + (text.includes(":") ? 2 : 1), 0);
  if (slots > MULTIPORT_SLOTS) {
    return wrongValue(given, scope, `at most ${MULTIPORT_SLOTS} ports, a range counting twice; these are ${slots}`);
  }
  const side = given.name === "--sports" ? "source" : given.name === "--dports" ? "destination" : "either";
  return { kind: "ports", side, ranges: known, extension: "multiport", negate: given.negate };
});

function icmpModule(module: "icmp" | "icmp6", option: string): MatchModule {
  const family = module === "icmp" ? 4 : 6;
  return perOption(module, { [option]: 1 }, (given, scope) => {
    const type = parseIcmpType(valueAt(given).text, family);
    if (type === undefined) return wrongValue(given, scope, "an ICMP type by name, type or type/code");
    return { kind: "icmp", family, ...type, negate: given.negate };
  });
}

/** ip_set.h IPSET_DIM_MAX, less the one that counts them. */
const MAX_SIDES = 6;

/** `--set` is the name before iptables 1.4.7. */
const set: MatchModule = {
  options: {
    "--match-set": 2,
    "--set": 2,
    "--return-nomatch": 0,
    "--update-counters": 0,
    "--update-subcounters": 0,
    "--packets-eq": 1,
    "--packets-lt": 1,
    "--packets-gt": 1,
    "--bytes-eq": 1,
    "--bytes-lt": 1,
    "--bytes-gt": 1,
  },
  build: (all, scope) => {
    const named = all.find(({ name }) => name === "--match-set" || name === "--set");
    const first = named ?? all[0];
    if (first === undefined) return [];
    // Updating a set's counters or not is no part of a verdict; reading them is.
    const strange = all.find((given) => given !== named && !given.name.startsWith("--update-"));
    if (named === undefined || strange !== undefined) {
      scope.unrepresented(first.at, (strange ?? first).raw);
      return [opaqueMatch("set", all)];
    }
    const name = valueAt(named).text;
    const directions = valueAt(named, 1);
    const sides = directions.text.split(",").map(sideOf);
    const known = sides.filter((side) => side !== undefined);
    if (known.length < sides.length || sides.length > MAX_SIDES) {
      scope.error(directions, "bad-value", `${shorten(directions.raw)}: want up to ${MAX_SIDES} of src, dst`);
      return [];
    }
    const status = scope.sets.status(name, scope.family);
    if (status === "missing") scope.missingSet(valueAt(named), name);
    if (status !== "known") return [opaqueMatch("set", all)];
    return [{ kind: "set", set: name, sides: known, negate: named.negate }];
  },
};

function sideOf(text: string): Side | undefined {
  return text === "src" ? "source" : text === "dst" ? "destination" : undefined;
}

function markModule(kind: "mark" | "connmark"): MatchModule {
  return perOption(kind, { "--mark": 1 }, (given, scope) => {
    const mark = parseMark(valueAt(given).text);
    if (mark === undefined) return wrongValue(given, scope, "value or value/mask, each up to 0xffffffff");
    return { kind, ...mark, negate: given.negate };
  });
}

const CT_STATE_FLAGS: ReadonlyMap<string, CtStateFlag> = new Map([
  ["INVALID", "invalid"],
  ["NEW", "new"],
  ["RELATED", "related"],
  ["ESTABLISHED", "established"],
  ["UNTRACKED", "untracked"],
  ["SNAT", "snat"],
  ["DNAT", "dnat"],
]);

function ctStates(given: Given, scope: RuleScope, extension: "conntrack" | "state"): Match | undefined {
  const states = valueAt(given)
    .text.split(",")
    .map((name) => CT_STATE_FLAGS.get(name.toUpperCase()));
  const known = states.filter((state) => state !== undefined);
  const translated = known.includes("snat") || known.includes("dnat");
  if (known.length < states.length || (extension === "state" && translated)) {
    return wrongValue(given, scope, `a list of ${[...CT_STATE_FLAGS.keys()].slice(0, extension === "state" ? 5 : 7)}`);
  }
  return { kind: "ctState", states: [...new Set(known)], extension, negate: given.negate };
}

const conntrack = perOption(
  "conntrack",
  {
    "--ctstate": 1,
    "--ctproto": 1,
    "--ctorigsrc": 1,
    "--ctorigdst": 1,
    "--ctreplsrc": 1,
    "--ctrepldst": 1,
    "--ctorigsrcport": 1,
    "--ctorigdstport": 1,
    "--ctreplsrcport": 1,
    "--ctrepldstport": 1,
    "--ctstatus": 1,
    "--ctexpire": 1,
    "--ctdir": 1,
  },
  (given, scope) => (given.name === "--ctstate" ? ctStates(given, scope, "conntrack") : "unrepresented"),
);

const ADDRESS_TYPES: ReadonlySet<string> = new Set<AddressType>([
  "LOCAL",
  "UNICAST",
  "BROADCAST",
  "MULTICAST",
  "ANYCAST",
  "BLACKHOLE",
]);

function isAddressType(text: string): text is AddressType {
  return ADDRESS_TYPES.has(text);
}

/** Types that linux/rtnetlink.h has beyond those. */
const OTHER_ADDRESS_TYPES = ["UNSPEC", "UNREACHABLE", "PROHIBIT", "THROW", "NAT", "XRESOLVE"];

const addrtype: MatchModule = {
  options: { "--src-type": 1, "--dst-type": 1, "--limit-iface-in": 0, "--limit-iface-out": 0 },
  build: (all, scope) => {
    const matches: Match[] = [];
    let strange: Given | undefined;
    for (const given of all) {
      const texts = valueAt(given).text.split(",");
      const type = texts[0];
      if (given.values.length === 0)
        strange = given; // --limit-iface-…: another question
      else if (texts.some((text) => !isAddressType(text) && !OTHER_ADDRESS_TYPES.includes(text))) {
        wrongValue(given, scope, `a list of ${[...ADDRESS_TYPES, ...OTHER_ADDRESS_TYPES].join(", ")}`);
      } else if (type === undefined || texts.length > 1 || !isAddressType(type)) strange = given;
      else {
        const side = given.name === "--src-type" ? "source" : "destination";
        matches.push({ kind: "addressType", side, type, negate: given.negate });
      }
    }
    if (strange === undefined) return matches;
    scope.unrepresented(strange.at, strange.raw);
    return [opaqueMatch("addrtype", all)];
  },
};

const physdev: MatchModule = {
  options: {
    "--physdev-in": 1,
    "--physdev-out": 1,
    "--physdev-is-in": 0,
    "--physdev-is-out": 0,
    "--physdev-is-bridged": 0,
  },
  build: (all) => {
    const device = (name: string): DeviceTest | undefined => {
      const given = all.find((each) => each.name === name);
      return given && { name: valueAt(given).text, negate: given.negate };
    };
    const flag = (name: string): boolean | undefined => {
      const given = all.find((each) => each.name === name);
      return given && !given.negate;
    };
    const [inDevice, outDevice] = [device("--physdev-in"), device("--physdev-out")];
    const [isBridged, isIn, isOut] = [flag("--physdev-is-bridged"), flag("--physdev-is-in"), flag("--physdev-is-out")];
    return [
      {
        kind: "physdev",
        ...(inDevice && { in: inDevice }),
        ...(outDevice && { out: outDevice }),
        ...(isBridged !== undefined && { isBridged }),
        ...(isIn !== undefined && { isIn }),
        ...(isOut !== undefined && { isOut }),
      },
    ];
  },
};

/** xt_limit.h XT_LIMIT's default; the tools do not print it. */
const DEFAULT_BURST = 5;

const RATE = /^(\d{1,9})(?:\/(s|sec|second|m|min|minute|h|hour|d|day))?$/;
const RATE_UNITS: Readonly<Record<string, string>> = { s: "sec", m: "min", h: "hour", d: "day" };

/** A bucket decides by clock and history, so that only a rule that merely tells about the packet may have one. */
const limit: MatchModule = {
  options: { "--limit": 1, "--limit-burst": 1 },
  build: (all, scope) => {
    const negated = all.find(({ negate }) => negate);
    if (negated !== undefined) return notNegatable(negated, scope);
    const rate = all.find(({ name }) => name === "--limit");
    const burst = all.find(({ name }) => name === "--limit-burst");
    const [, amount, unit] = RATE.exec(rate === undefined ? "3/hour" : valueAt(rate).text) ?? [];
    const size = burst === undefined ? DEFAULT_BURST : parseNumber(valueAt(burst).text, 10_000);
    if (rate !== undefined && amount === undefined) wrongValue(rate, scope, "a rate such as 10/min");
    if (burst !== undefined && size === undefined) wrongValue(burst, scope, "a number 0-10000");
    if (!scope.passing) {
      const first = all[0];
      if (first !== undefined) scope.unrepresented(first.at, "a rate limit on a rule that decides");
      return [opaqueMatch("limit", all)];
    }
    return [{ kind: "limit", rate: `${amount}/${RATE_UNITS[unit?.charAt(0) ?? "s"]}`, burst: size ?? DEFAULT_BURST }];
  },
};

const rpfilter: MatchModule = {
  options: { "--loose": 0, "--validmark": 0, "--accept-local": 0, "--invert": 0 },
  build: (all, scope) => {
    const negated = all.find(({ negate }) => negate);
    if (negated !== undefined) return notNegatable(negated, scope);
    const has = (option: string) => all.some(({ name }) => name === option);
    const local = all.find(({ name }) => name === "--accept-local");
    if (local !== undefined) {
      scope.unrepresented(local.at, local.raw);
      return [opaqueMatch("rpfilter", all)];
    }
    return [{ kind: "rpfilter", validMark: has("--validmark"), loose: has("--loose"), invert: has("--invert") }];
  },
};

const comment: MatchModule = {
  options: { "--comment": 1 },
  build: ([given], scope) => {
    if (given === undefined) return [];
    if (given.negate) return notNegatable(given, scope);
    return [{ kind: "comment", text: valueAt(given).text }];
  },
};

/** By the name after `-m`. A module that is not here is not represented. */
export const MATCH_MODULES: ReadonlyMap<string, MatchModule> = new Map([
  ["comment", comment],
  ["tcp", portModule("tcp", { "--tcp-flags": 2, "--syn": 0, "--tcp-option": 1 })],
  ["udp", portModule("udp", {})],
  ["udplite", portModule("udplite", {})],
  ["dccp", portModule("dccp", { "--dccp-types": 1, "--dccp-option": 1 })],
  ["sctp", portModule("sctp", { "--chunk-types": 2 })],
  ["multiport", multiport],
  ["icmp", icmpModule("icmp", "--icmp-type")],
  ["icmp6", icmpModule("icmp6", "--icmpv6-type")],
  ["set", set],
  ["mark", markModule("mark")],
  ["connmark", markModule("connmark")],
  ["conntrack", conntrack],
  ["state", perOption("state", { "--state": 1 }, (given, scope) => ctStates(given, scope, "state"))],
  ["addrtype", addrtype],
  ["physdev", physdev],
  ["limit", limit],
  ["rpfilter", rpfilter],
]);

/** The module that `-p` brings along: `-p tcp --dport 80` means `-p tcp -m tcp --dport 80`. */
export function protocolModule(protocol: number | undefined): string | undefined {
  if (protocol === PROTOCOL.icmpv6) return "icmp6";
  return protocol === undefined || !MATCH_MODULES.has(protocolName(protocol)) ? undefined : protocolName(protocol);
}

/** The protocols one of which a rule must name for the module to load; undefined: the module asks for none. */
export function neededProtocols(module: string): readonly number[] | undefined {
  switch (module) {
    case "tcp":
    case "udp":
    case "udplite":
    case "dccp":
    case "sctp":
    case "icmp":
      return [PROTOCOL[module]];
    case "icmp6":
      return [PROTOCOL.icmpv6];
    case "multiport":
      return [PROTOCOL.tcp, PROTOCOL.udp, PROTOCOL.udplite, PROTOCOL.dccp, PROTOCOL.sctp];
    default:
      return undefined;
  }
}

/** Modules that mean something without any option; the others demand one. */
const STAND_ALONE: ReadonlySet<string> = new Set(["tcp", "udp", "udplite", "dccp", "sctp", "limit", "rpfilter"]);

export function mayStandAlone(module: string): boolean {
  return STAND_ALONE.has(module);
}
