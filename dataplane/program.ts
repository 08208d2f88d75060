/**
 * The instruction set: what a strategy emits, the evaluators execute, the renderers print and the importer reads.
 *
 * Everything here is plain data. A rule is matches, a target and an origin, never text, so that the same rule is walked,
 * rendered for a kernel and shown in a trace. The dataplane owns this file; compilers target it.
 *
 * Source of the meanings: iptables(8), iptables-extensions(8), ipset(8), bpf(2).
 */
import type { Cidr, Family, IpAddress } from "./address.ts";
import type { CtState } from "./verdict.ts";

export type Program = TableProgram | MapProgram;

/** Everything of a solution that a packet can meet on one node. */
export interface TableProgram {
  readonly kind: "tables";
  readonly strategy: string;
  readonly node: string;
  /** In the order the solution creates them. Set names are one name space for both families, as in the kernel. */
  readonly sets: readonly IPSet[];
  /** One per family the solution programs; a family that is absent is not filtered on this node. */
  readonly families: readonly FamilyTables[];
  readonly attachment: Attachment;
}

export interface FamilyTables {
  readonly family: Family;
  readonly tables: readonly Table[];
}

export type TableName = "raw" | "mangle" | "nat" | "filter" | "security";

export interface Table {
  readonly name: TableName;
  /** Built-in chains first, in iptables-save's order for the table. */
  readonly chains: readonly Chain[];
}

/** Where netfilter calls a built-in chain. */
export type Hook = "PREROUTING" | "INPUT" | "FORWARD" | "OUTPUT" | "POSTROUTING";

/** The built-in chains of each table, in the order of iptables-save (iptables(8), TABLES). */
export const BUILT_IN_CHAINS = {
  raw: ["PREROUTING", "OUTPUT"],
  mangle: ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"],
  nat: ["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"],
  filter: ["INPUT", "FORWARD", "OUTPUT"],
  security: ["INPUT", "FORWARD", "OUTPUT"],
} as const satisfies Readonly<Record<TableName, readonly Hook[]>>;

export interface Chain {
  readonly name: string;
  /** Present on built-in chains only: the verdict at their end. */
  readonly policy?: "accept" | "drop";
  readonly rules: readonly Rule[];
}

export interface Rule {
  /** ANDed, in the order of the command line that makes the rule (the order is kept for rendering and for cost). */
  readonly matches: readonly Match[];
  /** A rule without target only counts. */
  readonly target?: Target;
  /** What caused the rule, in the user's words: `default/db-policy ingress[0].from[1]`, `pod default/db`, or nothing. */
  readonly origin?: string;
  /** `[packets:bytes]` of an imported save with counters. */
  readonly counters?: readonly [packets: number, bytes: number];
}

/** How many ports one multiport match can hold, a range counting twice (XT_MULTI_PORTS of linux/netfilter/xt_multiport.h). */
export const MULTIPORT_SLOTS = 15;

/** An inclusive range of ports, 0–65535; a single port has `first === last`. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/** The part of an address pair that a set dimension or a look-up reads. */
export type Side = "source" | "destination";

/** What a ctstate match can list: the states, and the flags of translated connections. */
export type CtStateFlag = CtState | "snat" | "dnat";

export type Match =
  | { readonly kind: "address"; readonly side: Side; readonly cidr: Cidr; readonly negate: boolean }
  /** `-i` (in) or `-o` (out); a trailing `+` in `name` stands for any ending. */
  | { readonly kind: "interface"; readonly side: "in" | "out"; readonly name: string; readonly negate: boolean }
  /** IANA number; 0 is never emitted ("all"). */
  | { readonly kind: "protocol"; readonly protocol: number; readonly negate: boolean }
  /**
   * Ports. `extension` names the module that prints it: `tcp`, `udp`, `sctp`, `udplite`, `dccp` take one range,
   * `multiport` up to 15 slots (a range takes two) and side `either`.
   */
  | {
      readonly kind: "ports";
      readonly side: Side | "either";
      readonly ranges: readonly PortRange[];
      readonly extension: "tcp" | "udp" | "udplite" | "dccp" | "sctp" | "multiport";
      readonly negate: boolean;
    }
  /** `--tcp-flags mask compare`: the masked flags equal `compare`. Bits as in packet.ts `TCP_FLAG`. */
  | { readonly kind: "tcpFlags"; readonly mask: number; readonly compare: number; readonly negate: boolean }
  /** `-m icmp`/`-m icmp6`. `type` 255 in IPv4 means any; `code` absent: every code. */
  | {
      readonly kind: "icmp";
      readonly family: Family;
      readonly type: number;
      readonly code?: number;
      readonly negate: boolean;
    }
  /** `--match-set name src,dst`: one side per dimension of the set. */
  | { readonly kind: "set"; readonly set: string; readonly sides: readonly Side[]; readonly negate: boolean }
  /** `(packet mark & mask) === value`; unsigned 32-bit. */
  | { readonly kind: "mark"; readonly value: number; readonly mask: number; readonly negate: boolean }
  | { readonly kind: "connmark"; readonly value: number; readonly mask: number; readonly negate: boolean }
  /** `-m conntrack --ctstate` or the older `-m state --state`; printed as `extension`. */
  | {
      readonly kind: "ctState";
      readonly states: readonly CtStateFlag[];
      readonly extension: "conntrack" | "state";
      readonly negate: boolean;
    }
  /** `-m addrtype`. */
  | { readonly kind: "addressType"; readonly side: Side; readonly type: AddressType; readonly negate: boolean }
  /** `-m physdev`; every given part must hold. */
  | {
      readonly kind: "physdev";
      readonly in?: DeviceTest;
      readonly out?: DeviceTest;
      /** `--physdev-is-bridged`, `--physdev-is-in`, `--physdev-is-out`; false stands for the negated form. */
      readonly isBridged?: boolean;
      readonly isIn?: boolean;
      readonly isOut?: boolean;
    }
  /**
   * `-m limit`: a bucket of `burst` packets that fills at `rate` (as printed: `10/min`), by the time in the packets. It
   * decides which packets are logged, and shows in the rules that matched.
   */
  | { readonly kind: "limit"; readonly rate: string; readonly burst: number }
  /** `-m rpfilter`: holds when a route back to the source leaves by the interface the packet came in on. */
  | {
      readonly kind: "rpfilter";
      readonly validMark: boolean;
      readonly loose: boolean;
      readonly invert: boolean;
    }
  /** `-f`: second and later fragments. */
  | { readonly kind: "fragment"; readonly negate: boolean }
  | { readonly kind: "comment"; readonly text: string }
  /**
   * What the importer cannot represent: reaching it makes the verdict unknown. `text` is the options as they stood, with
   * what loads them: `-m statistic --mode random --probability 0.5`.
   */
  | { readonly kind: "opaque"; readonly text: string };

export interface DeviceTest {
  readonly name: string;
  readonly negate: boolean;
}

/** The address types that `-m addrtype` can tell. Only LOCAL, BROADCAST, MULTICAST and UNICAST occur in practice. */
export type AddressType = "LOCAL" | "UNICAST" | "BROADCAST" | "MULTICAST" | "ANYCAST" | "BLACKHOLE";

/** `--reject-with`, as iptables-save prints it. */
export type RejectWith =
  | "icmp-port-unreachable"
  | "icmp-net-unreachable"
  | "icmp-host-unreachable"
  | "icmp-proto-unreachable"
  | "icmp-net-prohibited"
  | "icmp-host-prohibited"
  | "icmp-admin-prohibited"
  | "tcp-reset"
  | "icmp6-port-unreachable"
  | "icmp6-no-route"
  | "icmp6-adm-prohibited"
  | "icmp6-addr-unreachable"
  | "icmp6-policy-fail"
  | "icmp6-reject-route";

export type Target =
  | { readonly kind: "accept" }
  | { readonly kind: "drop" }
  | { readonly kind: "return" }
  | { readonly kind: "jump"; readonly chain: string }
  | { readonly kind: "goto"; readonly chain: string }
  | { readonly kind: "reject"; readonly with: RejectWith }
  /** `MARK --set-xmark value/mask`: mark = (mark & ~mask) ^ value. Unsigned 32-bit. Goes on. */
  | { readonly kind: "mark"; readonly value: number; readonly mask: number }
  | {
      readonly kind: "connmark";
      readonly operation: "set" | "save" | "restore";
      readonly value: number;
      readonly mask: number;
    }
  /** `CT --notrack` (raw table), or `CT --zone N`. */
  | { readonly kind: "notrack" }
  | { readonly kind: "ctZone"; readonly zone: number }
  /** Counted no-ops; `text` is the options as printed. */
  | { readonly kind: "log"; readonly target: PassingTarget; readonly text: string }
  /**
   * nat table: ends the walk of the table. The translation itself is not modelled: after MASQUERADE and SNAT no rule of
   * the node would see it; DNAT and REDIRECT make the verdict unknown. `text` is the options as printed.
   */
  | { readonly kind: "nat"; readonly target: "MASQUERADE" | "SNAT" | "DNAT" | "REDIRECT"; readonly text: string }
  /** What the importer cannot represent. `text` is the target with its options as they stood: `-j NFQUEUE --queue-num 1`. */
  | { readonly kind: "opaque"; readonly text: string };

/**
 * Targets after which the packet goes on, unchanged in everything a program can ask of it: they tell somebody about the
 * packet, or write what no match here reads. NFLOG and LOG come from strategies too, the others from imported nodes
 * only (iptables-extensions(8)).
 */
export type PassingTarget =
  | "NFLOG"
  | "LOG"
  | "ULOG"
  | "TRACE"
  | "AUDIT"
  | "CHECKSUM"
  | "CLASSIFY"
  | "CONNSECMARK"
  | "DSCP"
  | "ECN"
  | "IDLETIMER"
  | "LED"
  | "RATEEST"
  | "SECMARK"
  | "TCPMSS"
  | "TCPOPTSTRIP"
  | "TEE"
  | "TOS";

export type IPSetType = "hash:ip" | "hash:net" | "hash:ip,port" | "hash:net,port" | "list:set";

export interface IPSet {
  readonly name: string;
  readonly type: IPSetType;
  /** The family of the members; for list:set that of its sets. */
  readonly family: Family;
  readonly members: readonly IPSetMember[];
  readonly options: IPSetOptions;
  /** What caused the set, as in `Rule.origin`. */
  readonly origin?: string;
}

/** Creation parameters, printed by `ipset save` when present (in this order, hashsize and maxelem always). */
export interface IPSetOptions {
  /** Default 1024. */
  readonly hashSize?: number;
  /** Default 65536. */
  readonly maxElements?: number;
  /** Default timeout in seconds; 0 = permanent, absent = the set has no timeouts. */
  readonly timeoutSeconds?: number;
  readonly counters?: boolean;
  readonly comment?: boolean;
  /** list:set only; default 8. */
  readonly size?: number;
}

export type IPSetMember =
  /** hash:ip, hash:net. `nomatch` (hash:net): an exception inside a wider entry; the most specific entry decides. */
  | { readonly kind: "net"; readonly cidr: Cidr; readonly nomatch?: boolean; readonly comment?: string }
  /** hash:ip,port and hash:net,port. */
  | {
      readonly kind: "netPort";
      readonly cidr: Cidr;
      readonly protocol: number;
      readonly port: number;
      readonly nomatch?: boolean;
      readonly comment?: string;
    }
  | { readonly kind: "set"; readonly set: string; readonly comment?: string };

/**
 * How the node's pods hang on it. The fabric takes from here the devices a packet meets; `-i`, `-o`, `-m physdev`,
 * `-m addrtype` and `-m rpfilter` are answered with it.
 */
export interface Attachment {
  /** The bridge that pods are plugged into; absent: each pod has a routed interface of its own. */
  readonly bridge?: string;
  /** The interface to everything that is not on this node. */
  readonly uplink: string;
  /** The port of `bridge` behind which the pods of the other nodes are (weave-net); absent: they come by `uplink`. */
  readonly remotePodsPort?: string;
  /** Pods of this node and where they hang, whether or not the solution has rules for them. */
  readonly pods: readonly PodAttachment[];
  /** Pods of other nodes, needed only with `remotePodsPort`. */
  readonly remotePodAddresses: readonly IpAddress[];
  /** Addresses of the node itself: `addrtype LOCAL` (127.0.0.0/8 and ::1 always are). */
  readonly localAddresses: readonly IpAddress[];
}

export interface PodAttachment {
  /** `namespace/name`. */
  readonly endpoint: string;
  readonly addresses: readonly IpAddress[];
  /** Its own interface when routed, its port of the bridge when bridged. */
  readonly interface: string;
}

/* ------------------------------------------------------------------------------------------------------------------ *
 * Maps
 * ------------------------------------------------------------------------------------------------------------------ */

/** An eBPF-style program: maps, and per attach point the ordered look-ups with what each answer means. */
export interface MapProgram {
  readonly kind: "maps";
  readonly strategy: string;
  readonly node: string;
  readonly maps: readonly MapSpec[];
  readonly attachPoints: readonly AttachPoint[];
  readonly attachment: Attachment;
}

export type MapType = "hash" | "lru-hash" | "lpm-trie" | "array";

/** Keys and values are the bytes the kernel would hold; layouts are drawn in maps/layout.ts. */
export interface MapSpec {
  readonly name: string;
  readonly type: MapType;
  readonly keyBytes: number;
  readonly valueBytes: number;
  readonly maxEntries: number;
  readonly entries: readonly MapEntry[];
  readonly origin?: string;
}

export interface MapEntry {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly origin?: string;
}

/** One endpoint × direction, and the look-up plan that decides there. */
export interface AttachPoint {
  readonly endpoint: string;
  readonly direction: "ingress" | "egress";
  /** The maps this attach point consults, by role; which roles exist depends on `plan`. */
  readonly plan: LookupPlan;
}

/**
 * The look-up orders that exist. A plan is data so that trace and render can show it; maps/lookup.ts executes it.
 * - `identity`: peer address → ipcache (LPM) → identity; policy map with the identity, then with identity 0; the better
 *   precedence, then the longer prefix wins (Cilium).
 * - `tuple`: exact hash on (peer, protocol, port), then an LPM on the peer for blocks (bpf-hash).
 */
export type LookupPlan =
  | { readonly kind: "identity"; readonly ipcache: string; readonly policy: string }
  | { readonly kind: "tuple"; readonly exact: string; readonly blocks: string };
