/** The targets of iptables-extensions(8): those the instruction set can say, and how the others are kept. */
import type { Family } from "../../dataplane/address.ts";
import type { PassingTarget, RejectWith, Target } from "../../dataplane/program.ts";
import { shorten } from "./importIssues.ts";
import type { Word } from "./lines.ts";
import { type Given, type RuleScope, valueAt } from "./scope.ts";
import { parseMark, parseNumber } from "./values.ts";

/** `-j` with what belongs to it. */
export interface TargetUse {
  readonly name: string;
  /** The name. */
  readonly at: Word;
  readonly given: readonly Given[];
}

export interface TargetModule {
  /** Options and how many values each takes. */
  readonly options: Readonly<Record<string, number>>;
  /** Whether the packet goes on unchanged after it, as far as programs can ask. */
  readonly passing: boolean;
  /** Undefined: an error was reported. */
  build(use: TargetUse, scope: RuleScope): Target | undefined;
}

/** A target whose meaning is clear, but not to us: what the packet meets there is unknown. */
export function opaqueTarget(use: TargetUse, scope: RuleScope): Target {
  const text = [`-j ${use.name}`, ...use.given.map(({ raw }) => raw)].join(" ");
  scope.unrepresented(use.at, text);
  return { kind: "opaque", text };
}

function textOf(given: readonly Given[]): string {
  return given.map(({ raw }) => raw).join(" ");
}

function plain(target: Target): TargetModule {
  return { options: {}, passing: false, build: () => target };
}

function passing(target: PassingTarget, options: Readonly<Record<string, number>> = {}): TargetModule {
  return { options, passing: true, build: ({ given }) => ({ kind: "log", target, text: textOf(given) }) };
}

const unrepresented: TargetModule = { options: {}, passing: false, build: opaqueTarget };

function nat(
  target: Extract<Target, { readonly kind: "nat" }>["target"],
  options: Readonly<Record<string, number>>,
): TargetModule {
  return { options, passing: false, build: ({ given }) => ({ kind: "nat", target, text: textOf(given) }) };
}

/** `mark = (mark & ~mask) ^ value`, which every option of MARK and CONNMARK comes down to (xt_mark.h). */
function markChange(given: Given, scope: RuleScope): { readonly value: number; readonly mask: number } | undefined {
  const change = parseMark(valueAt(given).text);
  if (change === undefined) {
    const text = shorten(valueAt(given).raw);
    scope.error(valueAt(given), "bad-value", `${given.name} ${text}: want value or value/mask, each up to 0xffffffff`);
    return undefined;
  }
  const { value, mask } = change;
  switch (given.name) {
    case "--set-xmark":
      return change;
    case "--set-mark": // the bits of value are set even where mask leaves them alone
      return { value, mask: (mask | value) >>> 0 };
    case "--and-mark":
      return { value: 0, mask: ~value >>> 0 };
    case "--or-mark":
      return { value, mask: value };
    default: // --xor-mark
      return { value, mask: 0 };
  }
}

const MARK_OPTIONS = { "--set-xmark": 1, "--set-mark": 1, "--and-mark": 1, "--or-mark": 1, "--xor-mark": 1 };

const mark: TargetModule = {
  options: MARK_OPTIONS,
  passing: false,
  build: (use, scope) => {
    const [only, ...more] = use.given;
    if (only === undefined || more.length > 0) return opaqueTarget(use, scope);
    const change = markChange(only, scope);
    return change && { kind: "mark", ...change };
  },
};

const connmark: TargetModule = {
  options: { ...MARK_OPTIONS, "--save-mark": 0, "--restore-mark": 0, "--mask": 1, "--nfmask": 1, "--ctmask": 1 },
  passing: false,
  build: (use, scope) => {
    const { given } = use;
    const [first] = given;
    const copy = given.find(({ name }) => name === "--save-mark" || name === "--restore-mark");
    if (first === undefined) return opaqueTarget(use, scope);
    if (copy === undefined) {
      if (given.length > 1 || MARK_OPTIONS[first.name as keyof typeof MARK_OPTIONS] === undefined) {
        return opaqueTarget(use, scope);
      }
      const change = markChange(first, scope);
      return change && { kind: "connmark", operation: "set", ...change };
    }
    const masks = given.filter(({ name }) => name.endsWith("mask")).map((each) => parseMark(valueAt(each).text)?.value);
    const [one, other = one] = masks;
    // Two masks that differ move bits between the marks' other places; strategies and the instruction set have one.
    const strange = given.length > 1 + masks.length || masks.some((each) => each === undefined) || one !== other;
    const oneSided = masks.length === 1 && !given.some(({ name }) => name === "--mask");
    if (strange || oneSided) return opaqueTarget(use, scope);
    const operation = copy.name === "--save-mark" ? "save" : "restore";
    return { kind: "connmark", operation, value: 0, mask: one ?? 0xffff_ffff };
  },
};

/** Names that `--reject-with` takes, short ones included, and the name that is printed. */
const REJECT_WITH: Readonly<Record<Family, ReadonlyMap<string, RejectWith>>> = {
  4: new Map<string, RejectWith>([
    ["icmp-net-unreachable", "icmp-net-unreachable"],
    ["net-unreach", "icmp-net-unreachable"],
    ["icmp-host-unreachable", "icmp-host-unreachable"],
    ["host-unreach", "icmp-host-unreachable"],
    ["icmp-proto-unreachable", "icmp-proto-unreachable"],
    ["proto-unreach", "icmp-proto-unreachable"],
    ["icmp-port-unreachable", "icmp-port-unreachable"],
    ["port-unreach", "icmp-port-unreachable"],
    ["icmp-net-prohibited", "icmp-net-prohibited"],
    ["net-prohib", "icmp-net-prohibited"],
    ["icmp-host-prohibited", "icmp-host-prohibited"],
    ["host-prohib", "icmp-host-prohibited"],
    ["icmp-admin-prohibited", "icmp-admin-prohibited"],
    ["admin-prohib", "icmp-admin-prohibited"],
    ["tcp-reset", "tcp-reset"],
    ["tcp-rst", "tcp-reset"],
  ]),
  6: new Map<string, RejectWith>([
    ["icmp6-no-route", "icmp6-no-route"],
    ["no-route", "icmp6-no-route"],
    ["icmp6-adm-prohibited", "icmp6-adm-prohibited"],
    ["adm-prohibited", "icmp6-adm-prohibited"],
    ["icmp6-addr-unreachable", "icmp6-addr-unreachable"],
    ["addr-unreach", "icmp6-addr-unreachable"],
    ["icmp6-port-unreachable", "icmp6-port-unreachable"],
    ["port-unreach", "icmp6-port-unreachable"],
    ["icmp6-policy-fail", "icmp6-policy-fail"],
    ["policy-fail", "icmp6-policy-fail"],
    ["icmp6-reject-route", "icmp6-reject-route"],
    ["reject-route", "icmp6-reject-route"],
    ["tcp-reset", "tcp-reset"],
    ["tcp-rst", "tcp-reset"],
  ]),
};

const reject: TargetModule = {
  options: { "--reject-with": 1 },
  passing: false,
  build: ({ given: [given] }, scope) => {
    const names = REJECT_WITH[scope.family];
    const name = given === undefined ? "port-unreach" : valueAt(given).text;
    const known = names.get(name);
    if (known !== undefined) return { kind: "reject", with: known };
    const allowed = [...new Set(names.values())].join(", ");
    if (given !== undefined)
      scope.error(valueAt(given), "bad-value", `--reject-with ${shorten(name)}: want one of ${allowed}`);
    return undefined;
  },
};

const MAX_ZONE = 65_535;

const ct: TargetModule = {
  options: { "--notrack": 0, "--zone": 1, "--zone-orig": 1, "--zone-reply": 1, "--helper": 1, "--timeout": 1 },
  passing: false,
  build: (use, scope) => {
    const [only, ...more] = use.given;
    if (only?.name === "--notrack" && more.length === 0) return { kind: "notrack" };
    const zone = only?.name === "--zone" && more.length === 0 ? parseNumber(valueAt(only).text, MAX_ZONE) : undefined;
    return zone === undefined ? opaqueTarget(use, scope) : { kind: "ctZone", zone };
  },
};

const RANDOM = { "--random": 0, "--random-fully": 0, "--persistent": 0 };

/** By the name after `-j`. A name that is neither here nor a chain is no target at all. */
export const TARGET_MODULES: ReadonlyMap<string, TargetModule> = new Map<string, TargetModule>([
  ["ACCEPT", plain({ kind: "accept" })],
  ["DROP", plain({ kind: "drop" })],
  ["RETURN", plain({ kind: "return" })],
  ["REJECT", reject],
  ["MARK", mark],
  ["CONNMARK", connmark],
  ["CT", ct],
  ["NOTRACK", plain({ kind: "notrack" })],
  ["MASQUERADE", nat("MASQUERADE", { "--to-ports": 1, ...RANDOM })],
  ["SNAT", nat("SNAT", { "--to-source": 1, ...RANDOM })],
  ["DNAT", nat("DNAT", { "--to-destination": 1, ...RANDOM })],
  ["REDIRECT", nat("REDIRECT", { "--to-ports": 1, ...RANDOM })],
  [
    "NFLOG",
    passing("NFLOG", {
      "--nflog-group": 1,
      "--nflog-prefix": 1,
      "--nflog-range": 1,
      "--nflog-size": 1,
      "--nflog-threshold": 1,
    }),
  ],
  [
    "LOG",
    passing("LOG", {
      "--log-level": 1,
      "--log-prefix": 1,
      "--log-tcp-sequence": 0,
      "--log-tcp-options": 0,
      "--log-ip-options": 0,
      "--log-uid": 0,
      "--log-macdecode": 0,
    }),
  ],
  ["ULOG", passing("ULOG", { "--ulog-prefix": 1 })],
  ["TRACE", passing("TRACE")],
  ["AUDIT", passing("AUDIT")],
  ["CHECKSUM", passing("CHECKSUM")],
  ["CLASSIFY", passing("CLASSIFY")],
  ["CONNSECMARK", passing("CONNSECMARK")],
  ["DSCP", passing("DSCP")],
  ["ECN", passing("ECN")],
  ["IDLETIMER", passing("IDLETIMER")],
  ["LED", passing("LED")],
  ["RATEEST", passing("RATEEST")],
  ["SECMARK", passing("SECMARK")],
  ["TCPMSS", passing("TCPMSS")],
  ["TCPOPTSTRIP", passing("TCPOPTSTRIP")],
  ["TEE", passing("TEE")],
  ["TOS", passing("TOS")],
  // These send the packet elsewhere, answer for it, or change what later rules read.
  ...["CLUSTERIP", "DNPT", "HL", "HMARK", "NETMAP", "NFQUEUE", "QUEUE", "SET", "SNPT", "SYNPROXY", "TPROXY", "TTL"].map(
    (name): [string, TargetModule] => [name, unrepresented],
  ),
]);
