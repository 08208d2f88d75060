/** Match modules that ask the header of one protocol: ports, TCP flags, ICMP types. */
import { PROTOCOL, protocolName, TCP_FLAG } from "../../dataplane/packet.ts";
import { type Match, MULTIPORT_SLOTS, type PortRange } from "../../dataplane/program.ts";
import { type MatchModule, perOption, wrongValue } from "./matchModule.ts";
import { type Given, type RuleScope, valueAt } from "./scope.ts";
import { isServiceName, parseIcmpType, parsePortRange } from "./values.ts";

type PortModule = "tcp" | "udp" | "udplite" | "dccp" | "sctp";

const EVERY_PORT: PortRange = { first: 0, last: 65_535 };

/** `-m tcp` and its kin. Alone it is the full range: the tools drop `--dport 0:65535`, and it holds for the protocol. */
export function portModule(extension: PortModule, more: Readonly<Record<string, number>>): MatchModule {
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

export const multiport = perOption("multiport", { "--sports": 1, "--dports": 1, "--ports": 1 }, (given, scope) => {
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

export function icmpModule(module: "icmp" | "icmp6", option: string): MatchModule {
  const family = module === "icmp" ? 4 : 6;
  return perOption(module, { [option]: 1 }, (given, scope) => {
    const type = parseIcmpType(valueAt(given).text, family);
    if (type === undefined) return wrongValue(given, scope, "an ICMP type by name, type or type/code");
    return { kind: "icmp", family, ...type, negate: given.negate };
  });
}

/** The module that `-p` brings along: `-p tcp --dport 80` means `-p tcp -m tcp --dport 80`. */
export function protocolModule(protocol: number | undefined): string | undefined {
  if (protocol === PROTOCOL.icmpv6) return "icmp6";
  const name = protocol === undefined ? undefined : protocolName(protocol);
  return name !== undefined && neededProtocols(name) !== undefined ? name : undefined;
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
