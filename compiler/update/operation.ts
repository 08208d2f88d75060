/**
 * What a controller does to a node: an ordered list of operations, each one command of a tool.
 *
 * A command is what the real solution runs, text and all. The kernel carries it out in parts: `ipset restore` line by
 * line, `iptables-restore` a table at a time, in one commit. Between two parts a packet can pass, so the parts, not the
 * commands, are what the states in between are made of. An operation holds both: the text for a real node, the parts for
 * `NodeState`.
 */
import type { Family, IpAddress } from "../../dataplane/address.ts";
import type { AttachPoint, IPSet, IPSetMember, MapEntry, MapSpec, Rule, TableName } from "../../dataplane/program.ts";

export type Tool =
  | "ipset"
  | "iptables-restore"
  | "ip6tables-restore"
  | "iptables"
  | "ip6tables"
  | "map"
  /** Not in the public form of a timeline, which lists flushes apart: it changes connections, not the program. */
  | "conntrack";

export interface Operation {
  readonly tool: Tool;
  readonly args: readonly string[];
  readonly stdin?: string;
  /** In order; each is atomic. */
  readonly parts: readonly Part[];
  /** The solution runs it without knowing whether it can be done, and goes on when it cannot. */
  readonly mayFail?: true;
  /** What made the controller do it: `ADDED Pod prod/web-2`, `sync 1`, `tick`. */
  readonly cause: string;
}

export type Part =
  | { readonly kind: "set"; readonly command: SetCommand }
  | Commit
  | { readonly kind: "map"; readonly command: MapCommand }
  | { readonly kind: "connections"; readonly flush: ConnectionFlush };

/** One line of `ipset restore`, or one call of `ipset`. */
export type SetCommand =
  /** `tolerant`: with `-exist`, a set of the name that is there already stays as it is. */
  | { readonly verb: "create"; readonly set: SetHead; readonly tolerant?: true }
  | { readonly verb: "add"; readonly set: string; readonly member: IPSetMember; readonly tolerant?: true }
  | { readonly verb: "del"; readonly set: string; readonly member: IPSetMember; readonly tolerant?: true }
  | { readonly verb: "swap"; readonly from: string; readonly to: string }
  /** Without a name: every set of the host. */
  | { readonly verb: "flush"; readonly set: string | undefined }
  | { readonly verb: "destroy"; readonly set: string };

/** A set without its members. */
export type SetHead = Omit<IPSet, "members">;

/** Changes of one table that become visible together: a table of `iptables-restore`, or one call of `iptables`. */
export interface Commit {
  readonly kind: "commit";
  readonly family: Family;
  readonly table: TableName;
  /** Without `--noflush`: the table is emptied first. */
  readonly flush: boolean;
  readonly commands: readonly RuleCommand[];
}

export type RuleCommand =
  /** `:CHAIN -` of a restore: made, or emptied when it is there. With a policy: a built-in chain. */
  | { readonly verb: "declare"; readonly chain: string; readonly policy?: "accept" | "drop" }
  /** `-N`: fails when it is there. */
  | { readonly verb: "create"; readonly chain: string }
  | { readonly verb: "append"; readonly chain: string; readonly rule: Rule }
  /** Positions count from 1, as in iptables. */
  | { readonly verb: "insert"; readonly chain: string; readonly at: number; readonly rule: Rule }
  | { readonly verb: "replace"; readonly chain: string; readonly at: number; readonly rule: Rule }
  | { readonly verb: "deleteAt"; readonly chain: string; readonly at: number }
  /** By content: the first rule that is alike. */
  | { readonly verb: "delete"; readonly chain: string; readonly rule: Rule }
  /** Without a chain: all chains of the table. */
  | { readonly verb: "flush"; readonly chain: string | undefined }
  /** `-X`: fails while it has rules or something jumps to it. */
  | { readonly verb: "remove"; readonly chain: string };

export type MapCommand =
  | { readonly verb: "create"; readonly map: Omit<MapSpec, "entries"> }
  | { readonly verb: "update"; readonly map: string; readonly entry: MapEntry }
  | { readonly verb: "delete"; readonly map: string; readonly key: Uint8Array }
  | { readonly verb: "remove"; readonly map: string }
  /** The endpoint's program comes: from here on its packets meet the maps. */
  | { readonly verb: "attach"; readonly point: AttachPoint }
  | { readonly verb: "detach"; readonly endpoint: string };

/** `conntrack --delete`: entries whose original source, or whose reply source, is the address. */
export interface ConnectionFlush {
  readonly address: IpAddress;
  readonly end: "original source" | "reply source";
}
