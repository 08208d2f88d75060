/** `trace`: one packet and its walk, or many packets in order. */
import { type Command, InvalidArgumentError, Option } from "commander";
import { parseProtocol } from "../dataplane/packet.ts";
import { parseTcpFlags } from "../traffic/transcript.ts";
import {
  addImportFlags,
  addInputFlags,
  addStrategyFlags,
  type ImportFlags,
  type InputFlags,
  type StrategyFlags,
  wholeNumber,
} from "./flags.ts";
import { refuseIdle } from "./idle.ts";
import { asksForImport, savesFlags } from "./imported.ts";
import { UsageError } from "./io.ts";
import { choicesOf } from "./lanes.ts";
import { addMomentFlag, type MomentFlags } from "./moment.ts";
import { addOpenFlag, type OpenFlags, requireShown } from "./open.ts";
import type { Session } from "./session.ts";
import { traceOne } from "./traceOne.ts";
import { isScenario, tracePackets } from "./tracePackets.ts";

const ONE_FORMATS = ["minimal", "summary", "detailed", "json", "iptables-trace"] as const;
const MANY_FORMATS = ["jsonl", "table"] as const;

export type OneFormat = (typeof ONE_FORMATS)[number];
export type ManyFormat = (typeof MANY_FORMATS)[number];

export interface TraceFlags extends InputFlags, StrategyFlags, ImportFlags, MomentFlags, OpenFlags {
  readonly from?: string;
  readonly to?: string;
  readonly protocol?: number;
  readonly port?: number;
  readonly sourcePort?: number;
  readonly flags?: number;
  readonly icmpType?: number;
  readonly icmpCode?: number;
  readonly family?: "4" | "6";
  readonly expect?: "accept" | "drop" | "reject";
  readonly packets?: string;
  readonly fresh?: boolean;
  readonly walk?: boolean;
  readonly output?: OneFormat | ManyFormat;
}

export function define(command: Command, session: Session): void {
  addOpenFlag(addMomentFlag(addImportFlags(addStrategyFlags(addInputFlags(command)))))
    .option("--from <WHO>", "the sender: namespace/pod, pod, node:NAME or an address")
    .option("--to <WHO>", "the receiver")
    .option("--protocol <NAME|0-255>", "tcp (default), udp, sctp, icmp, icmpv6 or a number", protocolArgument)
    .option("--port <N>", "destination port; 80 when left out", wholeNumber(0, 65_535))
    .option("--source-port <N>", "source port; 40000 when left out", wholeNumber(0, 65_535))
    .option("--flags <LETTERS>", "TCP flags, letters of FSRPAUEC; S when left out", flagsArgument)
    .option("--icmp-type <N>", "echo request when left out", wholeNumber(0, 255))
    .option("--icmp-code <N>", "0 when left out", wholeNumber(0, 255))
    .addOption(new Option("--family <FAMILY>", "which address a name stands for").choices(["4", "6"]))
    .addOption(
      new Option("--expect <VERDICT>", "end with 1 unless this becomes of the packet").choices([
        "accept",
        "drop",
        "reject",
      ]),
    )
    .option("--packets <FILE|->", "packets as JSON lines, or a scenario.yaml, through one stateful fabric")
    .option("--fresh", "with --packets: each packet meets empty connection tracking")
    .option("--walk", "with --packets: results carry the rules that matched")
    .addOption(
      new Option("-o, --output <FORMAT>", "summary (default) for one packet, jsonl (default) for --packets").choices([
        ...ONE_FORMATS,
        ...MANY_FORMATS,
      ]),
    )
    .action((flags: TraceFlags) => {
      refuseIdle(command, [savesFlags(flags)]);
      return trace(flags, session);
    });
}

function protocolArgument(text: string): number {
  const protocol = parseProtocol(text);
  if (protocol === undefined) throw new InvalidArgumentError("Allowed: tcp, udp, sctp, icmp, icmpv6, 0-255.");
  return protocol;
}

function flagsArgument(text: string): number {
  const flags = parseTcpFlags(text);
  if (flags === undefined) throw new InvalidArgumentError("Allowed: letters of FSRPAUEC.");
  return flags;
}

/** Flags that make one packet, which `--packets` reads from its file instead. */
const ONE_PACKET = [
  "from",
  "to",
  "protocol",
  "port",
  "sourcePort",
  "flags",
  "icmpType",
  "icmpCode",
  "family",
  "expect",
] as const satisfies readonly (keyof TraceFlags)[];

async function trace(flags: TraceFlags, session: Session): Promise<void> {
  if (flags.at !== undefined && asksForImport(flags))
    throw new UsageError("--at and a node's saves exclude each other");
  requireShown(flags, [
    ["--fresh", flags.fresh === true],
    ["--at of many packets", flags.at !== undefined && flags.packets !== undefined],
    ["--namespace of a scenario", flags.namespace !== undefined && isScenario(flags.packets ?? "")],
    ["the saves under several strategies", asksForImport(flags) && choicesOf(flags).length > 1],
  ]);
  if (flags.packets !== undefined) {
    const extra = ONE_PACKET.find((name) => flags[name] !== undefined);
    if (extra !== undefined) throw new UsageError(`--packets and ${flagText(extra)} exclude each other`);
    const format = formatAmong(MANY_FORMATS, flags.output, "--packets");
    await tracePackets({ ...flags, packets: flags.packets }, format, session);
    return;
  }
  if (flags.fresh === true || flags.walk === true) throw new UsageError("--fresh and --walk go with --packets");
  if (flags.from === undefined || flags.to === undefined) {
    throw new UsageError("name the packet's ends with --from WHO --to WHO, or many packets with --packets FILE");
  }
  const format = formatAmong(ONE_FORMATS, flags.output ?? "summary", "one packet");
  await traceOne({ ...flags, from: flags.from, to: flags.to }, format, session);
}

function flagText(name: string): string {
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

function formatAmong<Format extends string>(
  formats: readonly Format[],
  given: string | undefined,
  what: string,
): Format {
  const [preset] = formats;
  const format = formats.find((candidate) => candidate === (given ?? preset));
  if (format === undefined) throw new UsageError(`-o ${given} is not for ${what}; allowed: ${formats.join(", ")}`);
  return format;
}
