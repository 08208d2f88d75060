/** `replay`: recorded traffic against policies, and against a change of them. */
import { type Command, Option } from "commander";
import { HUBBLE_FLAGS, type HubbleFlag, type HubbleTerm } from "../replay/filter/hubble.ts";
import { addImportFlags, addInputFlags, addOutputFlag, addStrategyFlags, fileName, wholeNumber } from "./flags.ts";
import { refuseIdle } from "./idle.ts";
import { savesFlags } from "./imported.ts";
import { UsageError } from "./io.ts";
import { type ReplayFlags, runReplay } from "./replayCommand.ts";
import { REPLAY_FORMATS } from "./replayOutput.ts";
import { addReplayStoryFlags } from "./replayStory.ts";
import type { Session } from "./session.ts";

/** What the flags in Hubble's words say in `--help`. */
const HUBBLE_HELP: Readonly<Record<HubbleFlag, readonly [value: string, help: string]>> = {
  verdict: ["VERDICT", "forwarded, dropped, accept, drop, reject or unknown"],
  pod: ["NAME", "either end is this pod; a beginning of the name is enough"],
  "from-pod": ["NAME", "who opened the flow"],
  "to-pod": ["NAME", "whom it was opened to"],
  "from-namespace": ["NAME", "the namespace of who opened it"],
  "to-namespace": ["NAME", "the namespace of whom it was opened to"],
  ip: ["CIDR", "the address of either end"],
  "from-ip": ["CIDR", "the address of who opened it"],
  "to-ip": ["CIDR", "the address of whom it was opened to"],
  port: ["N", "the port of either end"],
  "from-port": ["N", "the source port"],
  "to-port": ["N", "the destination port"],
  protocol: ["NAME", "tcp, udp, sctp, icmp, icmpv6 or a number"],
};

export function define(command: Command, session: Session): void {
  addOutputFlag(addImportFlags(addStrategyFlags(addInputFlags(command))), REPLAY_FORMATS)
    .argument(
      "<TRAFFIC...>",
      "captures, flow logs or packets as JSON lines; several are merged by time; - is standard input",
    )
    .option("--before <DIR>", "manifests before the change: a whole cluster, or what is applied over -f")
    .option("--after <DIR>", "manifests after the change: a whole cluster, or what is applied over -f")
    .option("--prune", "policies of -f that the folder does not have go, as with kubectl apply --prune")
    .option("--filter <EXPRESSION>", "flows in tcpdump's words: host, net, port, proto, src, dst, and, or, not")
    .option("--suggest", "print the fewest added rules, as NetworkPolicies, that let what was seen pass")
    .addOption(
      new Option("--jobs <N>", "threads, which share the flows; what is written is the same")
        .argParser(wholeNumber(1, 256))
        .default(1),
    )
    .option(
      "--resume <FILE>",
      "leave what is done in this file, and go on from it after a kill: the report is the same",
      fileName,
    )
    .addOption(
      new Option("--checkpoint-seconds <N>", "with --resume: how often").argParser(wholeNumber(0, 86_400)).default(10),
    )
    .addOption(
      new Option(
        "--captured-on <PLACE>",
        "where the recording was made: NODE, NODE:INTERFACE (any: all of them) or NAMESPACE/POD; packets meet that node alone (repeat it: one for each recording)",
      ).argParser((place: string, before: readonly string[] | undefined) => [...(before ?? []), place]),
    )
    .option("--keep-duplicates", "replay a packet as often as it was recorded on several interfaces")
    .addOption(new Option("--top <N>", "rows of each table").argParser(wholeNumber(1, 1_000_000)).default(20))
    .action((traffic: readonly string[], flags: ReplayFlags) => {
      if (hubble.isNotLeft()) throw new UsageError("--not stands before the flag that it is about, and none follows");
      refuseIdle(command, [
        { flags: ["--checkpoint-seconds"], why: "goes with --resume", isIdle: flags.resume === undefined },
        {
          flags: ["--resume"],
          why: "and --suggest exclude each other: a suggestion is tried out with the whole recording",
          isIdle: flags.suggest === true,
        },
        savesFlags(flags),
      ]);
      return runReplay({ traffic, flags, hubble: hubble.terms }, session);
    });
  addReplayStoryFlags(command);
  const hubble = addHubbleFlags(command);
}

/** The list fills while the command line is read: the order says which flag a `--not` is about. */
function addHubbleFlags(command: Command): { readonly terms: readonly HubbleTerm[]; isNotLeft(): boolean } {
  const terms: HubbleTerm[] = [];
  let isNegated = false;
  command.option("--not", "leave out what the next of these flags names").on("option:not", () => {
    isNegated = true;
  });
  for (const flag of HUBBLE_FLAGS) {
    const [value, help] = HUBBLE_HELP[flag];
    command.option(`--${flag} <${value}>`, `${help} (as hubble observe)`);
    command.on(`option:${flag}`, (given: string) => {
      terms.push({ flag, value: given, isNegated });
      isNegated = false;
    });
  }
  return { terms, isNotLeft: () => isNegated };
}
