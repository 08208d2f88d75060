/** Matches as iptables-save prints them: ` -m module --option value`, one module after the other. */
import { TCP_FLAG } from "../../dataplane/packet.ts";
import type { CtStateFlag, Match, PortRange, Side } from "../../dataplane/program.ts";
import { INTERFACE_NAME_MAX_BYTES, SET_NAME_MAX_BYTES } from "../names.ts";
import { oneLine, quotedWhenNeeded, word } from "./words.ts";

/** One use of a module. */
interface ModuleText {
  /** `-m` and the module's name, or nothing where the text brings its own. */
  readonly module: string;
  /** Each option after a blank. */
  readonly options: string;
  /**
   * The option's place within its module. What the program says as two matches (`--sport`, then `--dport`) is one `-m` in
   * a kernel when the places ascend.
   */
  readonly place: number;
}

/** All matches but those of the rule's header. */
export function matchText(matches: readonly Match[]): string {
  let text = "";
  let last: ModuleText | undefined;
  for (const match of matches) {
    const next = moduleText(match);
    if (next === undefined) continue;
    const joins = last !== undefined && last.module === next.module && last.place < next.place;
    text += joins ? next.options : next.module + next.options;
    last = next;
  }
  return text;
}

function moduleText(match: Match): ModuleText | undefined {
  const not = "negate" in match && match.negate ? " !" : "";
  const alone = (module: string, options: string): ModuleText => ({ module: ` -m ${module}`, options, place: 0 });
  switch (match.kind) {
    case "address":
    case "interface":
    case "protocol":
    case "fragment":
      return undefined; // the rule's header
    case "ports":
      return portsText(match, not);
    case "tcpFlags":
      return {
        module: " -m tcp",
        options: `${not} --tcp-flags ${flagList(match.mask)} ${flagList(match.compare)}`,
        place: 2,
      };
    case "icmp": {
      const any = match.family === 4 && match.type === 255;
      const value = any ? "any" : `${match.type}${match.code === undefined ? "" : `/${match.code}`}`;
      return match.family === 4
        ? alone("icmp", `${not} --icmp-type ${value}`)
        : alone("icmp6", `${not} --icmpv6-type ${value}`);
    }
    case "set": {
      const sides = match.sides.map(sideText).join(",");
      return alone("set", `${not} --match-set ${word("set name", match.set, SET_NAME_MAX_BYTES)} ${sides}`);
    }
    case "mark":
    case "connmark":
      return alone(match.kind, `${not} --mark ${maskedText(match)}`);
    case "ctState":
      return alone(
        match.extension,
        `${not} ${match.extension === "state" ? "--state" : "--ctstate"} ${stateList(match)}`,
      );
    case "addressType": {
      const [option, place] = match.side === "source" ? ["--src-type", 0] : (["--dst-type", 1] as const);
      return { module: " -m addrtype", options: `${not} ${option} ${match.type}`, place };
    }
    case "physdev":
      return alone("physdev", physdevOptions(match));
    case "limit":
      // 5 is the default burst and not printed (libxt_limit.c).
      return alone(
        "limit",
        ` --limit ${word("rate", match.rate, 31)}${match.burst === 5 ? "" : ` --limit-burst ${match.burst}`}`,
      );
    case "rpfilter":
      return alone(
        "rpfilter",
        `${match.loose ? " --loose" : ""}${match.validMark ? " --validmark" : ""}${match.invert ? " --invert" : ""}`,
      );
    case "comment":
      return alone("comment", ` --comment ${quotedWhenNeeded("comment", match.text)}`);
    case "opaque":
      return { module: "", options: ` ${oneLine("match", match.text)}`, place: 0 };
  }
}

function portsText(match: Match & { readonly kind: "ports" }, not: string): ModuleText {
  const ranges = match.ranges.map(rangeText).join(",");
  if (match.extension === "multiport") {
    const option = { source: "--sports", destination: "--dports", either: "--ports" }[match.side];
    return { module: " -m multiport", options: `${not} ${option} ${ranges}`, place: 0 };
  }
  const [option, place] = match.side === "source" ? ["--sport", 0] : (["--dport", 1] as const);
  // Every port is left out, and the module stands alone. sctp and dccp print it, and the tools lose the negation.
  const everyPort = match.ranges.every(({ first, last }) => first === 0 && last === 65_535);
  const printed = match.negate || !everyPort || match.extension === "sctp" || match.extension === "dccp";
  return { module: ` -m ${match.extension}`, options: printed ? `${not} ${option} ${ranges}` : "", place };
}

function rangeText({ first, last }: PortRange): string {
  return first === last ? String(first) : `${first}:${last}`;
}

/** In the order of libxt_tcp.c; the flags above URG have no name there. */
const FLAG_NAMES = [
  ["FIN", TCP_FLAG.F],
  ["SYN", TCP_FLAG.S],
  ["RST", TCP_FLAG.R],
  ["PSH", TCP_FLAG.P],
  ["ACK", TCP_FLAG.A],
  ["URG", TCP_FLAG.U],
] as const;

function flagList(bits: number): string {
  const names = FLAG_NAMES.filter(([, bit]) => (bits & bit) !== 0).map(([name]) => name);
  return names.length === 0 ? "NONE" : names.join(",");
}

/** The orders of libxt_conntrack.c: `state_print_state` for `-m state`, `print_state` for `-m conntrack`. */
const STATE_ORDER = {
  conntrack: ["invalid", "new", "related", "established", "untracked", "snat", "dnat"],
  state: ["invalid", "new", "related", "established", "untracked"],
} as const satisfies Readonly<Record<"conntrack" | "state", readonly CtStateFlag[]>>;

function stateList({ states, extension }: Match & { readonly kind: "ctState" }): string {
  const order: readonly CtStateFlag[] = STATE_ORDER[extension];
  return order
    .filter((state) => states.includes(state))
    .map((state) => state.toUpperCase())
    .join(",");
}

function physdevOptions(match: Match & { readonly kind: "physdev" }): string {
  const flag = (option: string, value: boolean | undefined) =>
    value === undefined ? "" : `${value ? "" : " !"} ${option}`;
  const device = (option: string, test: typeof match.in) =>
    test && `${test.negate ? " !" : ""} ${option} ${word("interface name", test.name, INTERFACE_NAME_MAX_BYTES)}`;
  return [
    flag("--physdev-is-in", match.isIn),
    device("--physdev-in", match.in),
    flag("--physdev-is-out", match.isOut),
    device("--physdev-out", match.out),
    flag("--physdev-is-bridged", match.isBridged),
  ]
    .filter((text) => text !== undefined)
    .join("");
}

/** `0x10000/0x10000`; the full mask is left out. */
function maskedText({ value, mask }: { readonly value: number; readonly mask: number }): string {
  return mask === 0xffffffff ? `0x${value.toString(16)}` : `0x${value.toString(16)}/0x${mask.toString(16)}`;
}

function sideText(side: Side): string {
  return side === "source" ? "src" : "dst";
}
