/**
 * The walk as the kernel's TRACE target logs it, so that it can be held against a node's log line by line:
 * `TRACE: filter:FORWARD:rule:1 IN=… OUT=… SRC=… DST=… … MARK=0x…`.
 *
 * Source: linux/net/ipv4/netfilter/ip_tables.c `trace_packet` and `get_chainname_rulenum`, nf_log_syslog.c.
 */
import { formatAddress } from "../dataplane/address.ts";
import { DeviceTable } from "../dataplane/devices.ts";
import { type FiveTuple, hasPorts, type Packet, PROTOCOL, protocolName, TCP_FLAG } from "../dataplane/packet.ts";
import type { Program, Rule } from "../dataplane/program.ts";
import { NodeRoutes } from "../dataplane/routes.ts";
import type { TraceStep } from "../dataplane/trace.ts";
import { isBuiltInChain, markAfter } from "./match.ts";
import type { TraceView } from "./trace.ts";

/** A `# node` line and the TRACE lines of each node on the way. */
export function formatKernelTrace(view: TraceView): readonly string[] {
  return view.result.hops.flatMap((hop) => {
    const program = view.programs.find(({ node }) => node === hop.node);
    const steps = view.steps.filter((step) => step.node === hop.node);
    return program === undefined ? [] : [`# ${hop.node}`, ...nodeLines(view.packet, program, steps)];
  });
}

function nodeLines(packet: Packet, program: Program, steps: readonly TraceStep[]): readonly string[] {
  const devices = devicesOf(packet, program);
  const fields = packetFields(packet);
  const lines: string[] = [];
  let hook = "";
  let mark = 0;
  for (const step of steps) {
    if (step.kind !== "rule" && step.kind !== "chainEnd") continue;
    if (isBuiltInChain(step.chain)) hook = step.chain;
    if (step.kind === "rule") mark = step.mark;
    if (step.kind === "rule" && step.failed !== undefined) continue;
    const place = `${step.table}:${step.chain}:${kindOf(step)}:${step.number}`;
    const marked = mark === 0 ? "" : ` MARK=0x${mark.toString(16)}`;
    lines.push(`TRACE: ${place} ${devices(hook)} ${fields}${marked}`);
    if (step.kind === "rule" && step.rule.target?.kind === "mark") mark = markAfter(step.rule.target, mark);
  }
  return lines;
}

/** The kernel calls the end of a chain, and a rule that looks like one, `policy` or `return`. */
function kindOf(step: Extract<TraceStep, { kind: "rule" | "chainEnd" }>): "rule" | "policy" | "return" {
  if (step.kind === "rule" && !looksLikeChainEnd(step.rule)) return "rule";
  return isBuiltInChain(step.chain) ? "policy" : "return";
}

/** `unconditional` with a standard verdict: no match at all, comments included. */
function looksLikeChainEnd({ matches, target }: Rule): boolean {
  return matches.length === 0 && (target?.kind === "accept" || target?.kind === "drop" || target?.kind === "return");
}

/** `IN=… OUT=…` at a hook; bridged packets also have the ports. */
function devicesOf(packet: Packet, { attachment }: Program): (hook: string) => string {
  const table = new DeviceTable();
  const routes = new NodeRoutes(attachment, table);
  const at = ({ family, words: [a = 0, b = 0, c = 0, d = 0] }: Packet["source"]) => {
    const place = routes.place(family, a, b, c, d);
    return { device: table.name(routes.device(place)), port: table.name(routes.port(place)) };
  };
  const [from, to] = [at(packet.source), at(packet.destination)];
  const bridged = from.port !== "" && to.port !== "";
  return (hook) => {
    const comesIn = hook === "PREROUTING" || hook === "INPUT" || hook === "FORWARD";
    const goesOut = hook === "FORWARD" || hook === "OUTPUT" || hook === "POSTROUTING";
    const text = `IN=${comesIn ? from.device : ""} OUT=${goesOut ? to.device : ""}`;
    if (!bridged) return text;
    return `${text}${comesIn ? ` PHYSIN=${from.port}` : ""}${goesOut ? ` PHYSOUT=${to.port}` : ""}`;
  };
}

/** Bytes of the headers without options. */
const IPV4_HEADER_BYTES = 20;
const IPV6_HEADER_BYTES = 40;
const LAYER_4_HEADER_BYTES: ReadonlyMap<number, number> = new Map([
  [PROTOCOL.tcp, 20],
  [PROTOCOL.udp, 8],
  [PROTOCOL.sctp, 12],
  [PROTOCOL.icmp, 8],
  [PROTOCOL.icmpv6, 8],
]);

function packetFields(packet: Packet): string {
  const layer4Bytes = (LAYER_4_HEADER_BYTES.get(packet.protocol) ?? 0) + packet.payloadBytes;
  const ends = `SRC=${logAddress(packet.source)} DST=${logAddress(packet.destination)}`;
  const header =
    packet.source.family === 4
      ? `${ends} LEN=${IPV4_HEADER_BYTES + layer4Bytes} TOS=0x00 PREC=0x00 TTL=64 ID=0`
      : `${ends} LEN=${IPV6_HEADER_BYTES + layer4Bytes} TC=0 HOPLIMIT=64 FLOWLBL=0`;
  return `${header} PROTO=${logProtocol(packet)}${layer4Fields(packet, layer4Bytes)}`;
}

/** The log writes IPv6 addresses in full (`%pI6`). */
function logAddress(address: FiveTuple["source"]): string {
  if (address.family === 4) return formatAddress(address);
  return address.words
    .flatMap((word) => [(word >>> 16) & 0xffff, word & 0xffff])
    .map((group) => group.toString(16).padStart(4, "0"))
    .join(":");
}

function logProtocol({ protocol }: Packet): string {
  return protocol === PROTOCOL.icmpv6 ? "ICMPv6" : protocolName(protocol).toUpperCase();
}

function layer4Fields(packet: Packet, bytes: number): string {
  const ports = hasPorts(packet.protocol) ? ` SPT=${packet.sourcePort} DPT=${packet.destinationPort}` : "";
  switch (packet.protocol) {
    case PROTOCOL.tcp: {
      const { sequence, acknowledgment, window } = packet;
      return `${ports} SEQ=${sequence} ACK=${acknowledgment} WINDOW=${window} RES=0x00${flagWords(packet.tcpFlags)} URGP=0`;
    }
    case PROTOCOL.udp:
      return `${ports} LEN=${bytes}`;
    case PROTOCOL.icmp:
    case PROTOCOL.icmpv6:
      return ` TYPE=${packet.icmpType} CODE=${packet.icmpCode} ID=${packet.icmpId} SEQ=0`;
    default:
      return ports;
  }
}

/** In the order of the kernel's `dump_tcp_header`. */
const FLAG_WORDS = [
  [TCP_FLAG.C, "CWR"],
  [TCP_FLAG.E, "ECE"],
  [TCP_FLAG.U, "URG"],
  [TCP_FLAG.A, "ACK"],
  [TCP_FLAG.P, "PSH"],
  [TCP_FLAG.R, "RST"],
  [TCP_FLAG.S, "SYN"],
  [TCP_FLAG.F, "FIN"],
] as const;

function flagWords(flags: number): string {
  return FLAG_WORDS.filter(([bit]) => flags & bit)
    .map(([, word]) => ` ${word}`)
    .join("");
}
