/** Flags that verbs share, and the values they take. */
import { type Command, InvalidArgumentError, Option } from "commander";
import { hasPorts, parseProtocol } from "../dataplane/packet.ts";
import type { Port } from "../traffic/generate/sessions.ts";
import { UsageError } from "./io.ts";
import type { ColorChoice } from "./paint.ts";

/** How to speak. */
export interface MannerFlags {
  readonly color: ColorChoice;
  readonly quiet?: boolean;
  readonly context?: string;
}

/** What every verb that reads manifests understands. */
export interface InputFlags extends MannerFlags {
  readonly filename: readonly string[];
  readonly namespace?: string;
  readonly allNamespaces?: boolean;
}

export interface StrategyFlags {
  readonly strategy: string;
  readonly set: readonly string[];
}

/** Collects the values of an option that may be repeated, in the order given. */
export function collect(value: string, earlier: readonly string[]): readonly string[] {
  return [...earlier, value];
}

export function addInputFlags(command: Command): Command {
  command
    .addOption(
      new Option(
        "-f, --filename <FILE|DIR|->",
        "manifests; repeatable; folders are read recursively, - is standard input",
      )
        .argParser(collect)
        .default([], "none"),
    )
    .option("-n, --namespace <NAME>", "the namespace of names that have none; default when left out")
    .option("-A, --all-namespaces", "all namespaces, as in kubectl")
    .option("--context <NAME>", "accepted, as in kubectl; no cluster is contacted, so it changes nothing");
  return addMannerFlags(command);
}

export function addMannerFlags(command: Command): Command {
  return command
    .addOption(new Option("--color <WHEN>", "colour the output").choices(["auto", "always", "never"]).default("auto"))
    .option("-q, --quiet", "no progress, notes or warnings");
}

export function addStrategyFlags(command: Command): Command {
  return command
    .option(
      "-s, --strategy <NAME[,NAME]|all>",
      "whose lowering: see 'chainwalk strategies'; reference is the API text itself",
      "kube-router",
    )
    .addOption(
      new Option("--set <OPTION=VALUE>", "an option of the strategy; repeatable: see 'chainwalk strategies'")
        .argParser(collect)
        .default([], "none"),
    );
}

/** `-o`; the first format is the default. */
export function addOutputFlag(command: Command, formats: readonly string[]): Command {
  return command.addOption(new Option("-o, --output <FORMAT>", "output format").choices(formats).default(formats[0]));
}

/** A whole number within bounds, for `argParser`. */
export function wholeNumber(first: number, last: number): (text: string) => number {
  return (text) => {
    const number = Number(text);
    if (!/^\d+$/.test(text) || number < first || number > last) {
      throw new InvalidArgumentError(`Allowed is a whole number ${first}-${last}.`);
    }
    return number;
  };
}

/** A folder to write into, for `argParser`. Of a variable that is not set it would be the root of all folders. */
export function folderName(text: string): string {
  if (text === "") throw new InvalidArgumentError("Allowed is the name of a folder.");
  return text;
}

/** A file to write, for `argParser`. */
export function fileName(text: string): string {
  if (text === "") throw new InvalidArgumentError("Allowed is the name of a file.");
  return text;
}

/** A real node's saves in the place of a compiled program. */
export interface ImportFlags {
  readonly iptablesSave?: string;
  readonly ip6tablesSave?: string;
  readonly ipsetSave?: string;
  readonly interfaces?: string;
  readonly node?: string;
}

export function addImportFlags(command: Command): Command {
  return command
    .option("--iptables-save <FILE>", "a real node's iptables-save, walked instead of a compiled program")
    .option("--ip6tables-save <FILE>", "its ip6tables-save")
    .option("--ipset-save <FILE>", "its ipset save")
    .option("--interfaces <FILE>", "its pods' interfaces: JSON, namespace/pod to name")
    .option("--node <NAME>", "the node the saves come from");
}

/** `tcp/80,udp/53,icmp`. */
export function parsePorts(text: string): readonly Port[] {
  return text.split(",").map((part) => {
    const [name = "", number, ...rest] = part.split("/");
    const protocol = parseProtocol(name);
    const port = Number(number ?? 0);
    const isPort =
      number === undefined ? protocol !== undefined && !hasPorts(protocol) : /^\d{1,5}$/.test(number) && port <= 65_535;
    if (protocol === undefined || !isPort || rest.length > 0) {
      throw new UsageError(`--port takes PROTO/PORT,… as in tcp/80,udp/53 (or icmp), found "${part}"`);
    }
    return { protocol, port };
  });
}
