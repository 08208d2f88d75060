/** Operations put together from lines: each line is the text a real node is given and, beside it, what it means. */
import { type Family, formatAddress, type IpAddress } from "../../dataplane/address.ts";
import type { MapEntry, MapSpec, TableName, Target } from "../../dataplane/program.ts";
import { keyText } from "./nodeState.ts";
import type { ConnectionFlush, MapCommand, Operation, RuleCommand, SetCommand } from "./operation.ts";

export interface SetLine {
  readonly text: string;
  readonly command: SetCommand;
}

export interface RuleLine {
  readonly text: string;
  readonly command: RuleCommand;
}

interface Restore<Line> {
  readonly args: readonly string[];
  readonly lines: readonly Line[];
  readonly cause: string;
}

/** `ipset restore`: each line is a part. `tail`: lines that end the input and change nothing. */
export function ipsetRestore({
  args,
  lines,
  cause,
  tail = [],
}: Restore<SetLine> & { readonly tail?: readonly string[] }): Operation {
  return {
    tool: "ipset",
    args,
    stdin: [...lines.map(({ text }) => text), ...tail].map((line) => `${line}\n`).join(""),
    parts: lines.map(({ command }) => ({ kind: "set", command })),
    cause,
  };
}

/** One call of `ipset`. */
export function ipsetCall(args: readonly string[], command: SetCommand, cause: string): Operation {
  return { tool: "ipset", args, parts: [{ kind: "set", command }], cause };
}

export interface TableRestore extends Restore<RuleLine> {
  readonly family: Family;
  readonly table: TableName;
  readonly flush: boolean;
}

/** `iptables-restore` of one table: one part. */
export function tableRestore({ family, table, flush, args, lines, cause }: TableRestore): Operation {
  return {
    tool: family === 4 ? "iptables-restore" : "ip6tables-restore",
    args,
    stdin: [`*${table}`, ...lines.map(({ text }) => text), "COMMIT"].map((line) => `${line}\n`).join(""),
    parts: [{ kind: "commit", family, table, flush, commands: lines.map(({ command }) => command) }],
    cause,
  };
}

export interface TableCall {
  readonly family: Family;
  readonly table: TableName;
  readonly args: readonly string[];
  readonly command: RuleCommand;
  readonly cause: string;
}

/** One call of `iptables`. */
export function tableCall({ family, table, args, command, cause }: TableCall): Operation {
  return {
    tool: family === 4 ? "iptables" : "ip6tables",
    args,
    parts: [{ kind: "commit", family, table, flush: false, commands: [command] }],
    cause,
  };
}

/** One change of a map: a system call of the agent, written as words with bytes as hexadecimal digits. */
export function mapOperation(command: MapCommand, cause: string): Operation {
  return { tool: "map", args: mapWords(command), parts: [{ kind: "map", command }], cause };
}

function mapWords(command: MapCommand): readonly string[] {
  switch (command.verb) {
    case "create": {
      const { name, type, keyBytes, valueBytes, maxEntries } = command.map;
      return ["create", name, "type", type, "key", `${keyBytes}`, "value", `${valueBytes}`, "entries", `${maxEntries}`];
    }
    case "update":
      return ["update", command.map, keyText(command.entry.key), keyText(command.entry.value)];
    case "delete":
      return ["delete", command.map, keyText(command.key)];
    case "remove":
      return ["remove", command.map];
    case "attach":
      return ["attach", command.point.endpoint, command.point.direction];
    case "detach":
      return ["detach", command.endpoint];
  }
}

export function updateEntry(map: Pick<MapSpec, "name">, entry: MapEntry, cause: string): Operation {
  return mapOperation({ verb: "update", map: map.name, entry }, cause);
}

export function deleteEntry(map: Pick<MapSpec, "name">, { key }: MapEntry, cause: string): Operation {
  return mapOperation({ verb: "delete", map: map.name, key }, cause);
}

/** `conntrack --delete`, for entries that an address opened, then for those that answer from it. */
export function flushConnections(address: IpAddress, cause: string): readonly Operation[] {
  const ends: readonly (readonly [ConnectionFlush["end"], string])[] = [
    ["original source", "--orig-src"],
    ["reply source", "--reply-src"],
  ];
  const family = address.family === 4 ? "ipv4" : "ipv6";
  return ends.map(([end, option]) => ({
    tool: "conntrack",
    args: ["--family", family, "--delete", option, formatAddress(address)],
    parts: [{ kind: "connections", flush: { address, end } }],
    // It ends with 1 when there is nothing to delete.
    mayFail: true,
    cause,
  }));
}

/** `-j` of a verdict or another chain, which all write alike; undefined: of another target. */
export function plainTarget(target: Target): readonly string[] | undefined {
  switch (target.kind) {
    case "accept":
    case "drop":
    case "return":
      return ["-j", target.kind.toUpperCase()];
    case "jump":
      return ["-j", target.chain];
    default:
      return undefined;
  }
}
