/** The match modules of iptables-extensions(8) that the instruction set can say, option by option. */
import type { AddressType, CtStateFlag, DeviceTest, Match, Side } from "../../dataplane/program.ts";
import { shorten } from "./importIssues.ts";
import { type MatchModule, notNegatable, opaqueMatch, perOption, wrongValue } from "./matchModule.ts";
import { icmpModule, multiport, portModule } from "./protocolMatches.ts";
import { type Given, type RuleScope, valueAt } from "./scope.ts";
import { parseMark, parseNumber } from "./values.ts";

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

/** Modules that mean something without any option; the others demand one. */
const STAND_ALONE: ReadonlySet<string> = new Set(["tcp", "udp", "udplite", "dccp", "sctp", "limit", "rpfilter"]);

export function mayStandAlone(module: string): boolean {
  return STAND_ALONE.has(module);
}
