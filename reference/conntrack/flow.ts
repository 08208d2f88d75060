/** What the plain model of connection tracking remembers of one connection, and the clock of its timeouts. */
import type { FiveTuple } from "../../dataplane/packet.ts";
import type { SctpMemory } from "./sctp.ts";
import type { TcpMemory } from "./tcp.ts";

/** Direction of a packet: as the connection was opened, or against it. */
export type Way = "original" | "reply";

export function otherWay(way: Way): Way {
  return way === "original" ? "reply" : "original";
}

/** A tuple as connection tracking reads it: ICMP has identifier, type and code in place of ports. */
export interface Tuple extends FiveTuple {
  readonly icmp: { readonly id: number; readonly type: number; readonly code: number } | undefined;
}

export interface PlainFlow {
  readonly tuple: Tuple;
  readonly zone: number;
  /** Keys of the packets of either direction. */
  readonly keys: Readonly<Record<Way, string>>;
  /** In the table: its first packet has passed. */
  isConfirmed: boolean;
  seenReply: boolean;
  assured: boolean;
  /** Millisecond from which it is dead. */
  diesAtMs: number;
  /** UDP: millisecond after which traffic both ways is a stream. */
  streamAfterMs: number;
  tcp: TcpMemory | undefined;
  sctp: SctpMemory | undefined;
}

/** What a protocol makes of a packet. `ended`: it belongs to the flow, which is over. `anew`: the tuple begins another one. */
export type Ruling = "accepted" | "invalid" | "ended" | "anew";

/** Seconds by the names of `sysctl net.netfilter`, and the switches of TCP. */
export interface Sysctls {
  readonly [name: string]: number;
}

/** `sysctl -a` of a fresh network namespace of Linux 6.18. */
export const SYSCTLS: Sysctls = {
  generic_timeout: 600,
  gre_timeout: 30,
  gre_timeout_stream: 180,
  icmp_timeout: 30,
  icmpv6_timeout: 30,
  sctp_timeout_closed: 10,
  sctp_timeout_cookie_wait: 3,
  sctp_timeout_cookie_echoed: 3,
  sctp_timeout_established: 210,
  sctp_timeout_shutdown_sent: 3,
  sctp_timeout_shutdown_recd: 3,
  sctp_timeout_shutdown_ack_sent: 3,
  sctp_timeout_heartbeat_sent: 30,
  tcp_be_liberal: 0,
  tcp_ignore_invalid_rst: 0,
  tcp_loose: 1,
  tcp_max_retrans: 3,
  tcp_timeout_close: 10,
  tcp_timeout_close_wait: 60,
  tcp_timeout_established: 432_000,
  tcp_timeout_fin_wait: 120,
  tcp_timeout_last_ack: 30,
  tcp_timeout_max_retrans: 300,
  tcp_timeout_syn_recv: 60,
  tcp_timeout_syn_sent: 120,
  tcp_timeout_time_wait: 120,
  tcp_timeout_unacknowledged: 300,
  udp_timeout: 30,
  udp_timeout_stream: 120,
};

/** The value of a setting. Throws when there is none of that name. */
export function setting(sysctls: Sysctls, name: string): number {
  const value = sysctls[name];
  if (value === undefined) throw new RangeError(`no sysctl nf_conntrack_${name}`);
  return value;
}

/** The flow lives for so many seconds from now. */
export function live(flow: PlainFlow, seconds: number, nowMs: number): void {
  flow.diesAtMs = nowMs + seconds * 1000;
}
