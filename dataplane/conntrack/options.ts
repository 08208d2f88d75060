/** What a node's connection tracking can be told: the sysctls of nf_conntrack, with the kernel's defaults. */

/**
 * Seconds that an idle entry lives, by protocol and state. Names and defaults are those of
 * `net.netfilter.nf_conntrack_*_timeout*` (Documentation/networking/nf_conntrack-sysctl.rst).
 */
export interface ConntrackTimeouts {
  readonly tcp: TcpTimeouts;
  readonly udp: {
    /** Until there is traffic both ways for two seconds. */
    readonly unreplied: number;
    readonly stream: number;
  };
  readonly sctp: SctpTimeouts;
  readonly icmp: number;
  readonly icmpv6: number;
  readonly gre: { readonly unreplied: number; readonly stream: number };
  /** Every protocol without a tracker of its own. */
  readonly generic: number;
}

export interface TcpTimeouts {
  readonly synSent: number;
  readonly synRecv: number;
  readonly established: number;
  readonly finWait: number;
  readonly closeWait: number;
  readonly lastAck: number;
  readonly timeWait: number;
  readonly close: number;
  /** Second SYN of a simultaneous open; the kernel has no sysctl of its own for it. */
  readonly synSent2: number;
  /** Upper bound once `tcpMaxRetransmissions` equal ACKs went unanswered, or the window was closed. */
  readonly maxRetransmissions: number;
  /** Upper bound while data is not acknowledged, and for connections picked up in the middle. */
  readonly unacknowledged: number;
}

export interface SctpTimeouts {
  readonly closed: number;
  readonly cookieWait: number;
  readonly cookieEchoed: number;
  readonly established: number;
  readonly shutdownSent: number;
  readonly shutdownReceived: number;
  readonly shutdownAckSent: number;
  readonly heartbeatSent: number;
}

/** What an embedder may set; everything absent has the kernel's default. */
export interface ConntrackOptions {
  readonly timeouts?: {
    readonly tcp?: Partial<TcpTimeouts>;
    readonly udp?: Partial<ConntrackTimeouts["udp"]>;
    readonly sctp?: Partial<SctpTimeouts>;
    readonly icmp?: number;
    readonly icmpv6?: number;
    readonly gre?: Partial<ConntrackTimeouts["gre"]>;
    readonly generic?: number;
  };
  /** `nf_conntrack_tcp_loose`: whether an ACK without a known SYN starts an entry in the middle. Default true. */
  readonly tcpLoose?: boolean;
  /** `nf_conntrack_tcp_be_liberal`: only RSTs are held to the window. Default false. */
  readonly tcpBeLiberal?: boolean;
  /** `nf_conntrack_tcp_ignore_invalid_rst`: a RST below the last acknowledgment is no reason for `invalid`. Default false. */
  readonly tcpIgnoreInvalidRst?: boolean;
  /** `nf_conntrack_tcp_max_retrans`. Default 3. */
  readonly tcpMaxRetransmissions?: number;
  /** `nf_conntrack_max`: entries the table may hold. Default 262,144; at most 16,777,216 here. */
  readonly maxEntries?: number;
  /** `nf_conntrack_buckets`. Matters only to early drop, which looks for victims in eight of them. Default 262,144. */
  readonly buckets?: number;
}

/** `ConntrackOptions` with every default filled in. */
export interface ConntrackSettings {
  readonly timeouts: ConntrackTimeouts;
  readonly tcpLoose: boolean;
  readonly tcpBeLiberal: boolean;
  readonly tcpIgnoreInvalidRst: boolean;
  readonly tcpMaxRetransmissions: number;
  readonly maxEntries: number;
  readonly buckets: number;
}

/** The timeouts of Linux 6.18 as `sysctl -a` prints them in a fresh network namespace. */
export const DEFAULT_TIMEOUTS: ConntrackTimeouts = {
  tcp: {
    synSent: 120,
    synRecv: 60,
    established: 432_000,
    finWait: 120,
    closeWait: 60,
    lastAck: 30,
    timeWait: 120,
    close: 10,
    synSent2: 120,
    maxRetransmissions: 300,
    unacknowledged: 300,
  },
  udp: { unreplied: 30, stream: 120 },
  sctp: {
    closed: 10,
    cookieWait: 3,
    cookieEchoed: 3,
    established: 210,
    shutdownSent: 3,
    shutdownReceived: 3,
    shutdownAckSent: 3,
    heartbeatSent: 30,
  },
  icmp: 30,
  icmpv6: 30,
  gre: { unreplied: 30, stream: 180 },
  generic: 600,
};

/** What a machine with more than 4 GiB gets (nf_conntrack_init_start). */
const DEFAULT_ENTRIES = 262_144;

/** Slot numbers and their doubled index stay well inside an int32. */
const MOST_ENTRIES = 1 << 24;

/**
 * Longest timeout that can be told from "already over" when times are 32-bit milliseconds that wrap, as the kernel's
 * jiffies are: 2^31 ms, 24.8 days. Longer ones are cut.
 */
export const LONGEST_TIMEOUT_SECONDS = 2_147_483;

/** Fills in the defaults. Throws a RangeError for a number that no kernel would take. */
export function conntrackSettings(options: ConntrackOptions = {}): ConntrackSettings {
  const { timeouts = {} } = options;
  const settings: ConntrackSettings = {
    timeouts: {
      tcp: checked("tcp", { ...DEFAULT_TIMEOUTS.tcp, ...timeouts.tcp }),
      udp: checked("udp", { ...DEFAULT_TIMEOUTS.udp, ...timeouts.udp }),
      sctp: checked("sctp", { ...DEFAULT_TIMEOUTS.sctp, ...timeouts.sctp }),
      gre: checked("gre", { ...DEFAULT_TIMEOUTS.gre, ...timeouts.gre }),
      ...checked("timeouts", {
        icmp: timeouts.icmp ?? DEFAULT_TIMEOUTS.icmp,
        icmpv6: timeouts.icmpv6 ?? DEFAULT_TIMEOUTS.icmpv6,
        generic: timeouts.generic ?? DEFAULT_TIMEOUTS.generic,
      }),
    },
    tcpLoose: options.tcpLoose ?? true,
    tcpBeLiberal: options.tcpBeLiberal ?? false,
    tcpIgnoreInvalidRst: options.tcpIgnoreInvalidRst ?? false,
    tcpMaxRetransmissions: options.tcpMaxRetransmissions ?? 3,
    maxEntries: options.maxEntries ?? DEFAULT_ENTRIES,
    buckets: options.buckets ?? DEFAULT_ENTRIES,
  };
  mustBeWithin("maxEntries", settings.maxEntries, { least: 1, most: MOST_ENTRIES });
  mustBeWithin("buckets", settings.buckets, { least: 1, most: MOST_ENTRIES });
  mustBeWithin("tcpMaxRetransmissions", settings.tcpMaxRetransmissions, { least: 0, most: 255 });
  return settings;
}

function checked<T extends object>(group: string, timeouts: T): T {
  for (const [name, seconds] of Object.entries(timeouts)) {
    mustBeWithin(`${group}.${name}`, seconds, { least: 0, most: Number.MAX_SAFE_INTEGER });
  }
  return timeouts;
}

function mustBeWithin(name: string, value: number, bounds: { readonly least: number; readonly most: number }): void {
  if (Number.isInteger(value) && value >= bounds.least && value <= bounds.most) return;
  throw new RangeError(`conntrack: ${name} is ${value}, not a whole number from ${bounds.least} to ${bounds.most}`);
}

/** Where a protocol's timeouts start in `timeoutTable`; states follow in the order of their numbers. */
export const TIMEOUT_SLOT = {
  /** By TCP state (tcp.ts), then the two upper bounds. */
  tcp: 0,
  tcpMaxRetransmissions: 10,
  tcpUnacknowledged: 11,
  udp: 12,
  udpStream: 13,
  gre: 14,
  greStream: 15,
  icmp: 16,
  icmpv6: 17,
  generic: 18,
  /** By SCTP state (sctp.ts). */
  sctp: 19,
} as const;

/** The timeouts in milliseconds, as the trackers read them. */
export function timeoutTable(timeouts: ConntrackTimeouts): Int32Array {
  const { tcp, sctp } = timeouts;
  const seconds = [
    0, // no state yet
    tcp.synSent,
    tcp.synRecv,
    tcp.established,
    tcp.finWait,
    tcp.closeWait,
    tcp.lastAck,
    tcp.timeWait,
    tcp.close,
    tcp.synSent2,
    tcp.maxRetransmissions,
    tcp.unacknowledged,
    timeouts.udp.unreplied,
    timeouts.udp.stream,
    timeouts.gre.unreplied,
    timeouts.gre.stream,
    timeouts.icmp,
    timeouts.icmpv6,
    timeouts.generic,
    sctp.closed, // no state yet: what a chunk that changes nothing leaves behind
    sctp.closed,
    sctp.cookieWait,
    sctp.cookieEchoed,
    sctp.established,
    sctp.shutdownSent,
    sctp.shutdownReceived,
    sctp.shutdownAckSent,
    sctp.heartbeatSent,
  ];
  return Int32Array.from(seconds, (value) => Math.min(value, LONGEST_TIMEOUT_SECONDS) * 1000);
}
