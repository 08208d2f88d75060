/** A record of any flow log, as far as they agree. */
import type { IpAddress } from "../../dataplane/address.ts";

/** An end of a flow: its address, or a name where the log has no address. */
export type LoggedEnd = IpAddress | string;

export interface FlowRecord {
  /** From 1. */
  readonly line: number;
  /** Seconds since the epoch; `end` is at or after `start`. */
  readonly start: number;
  readonly end: number;
  readonly protocol: number;
  readonly source: LoggedEnd;
  readonly destination: LoggedEnd;
  /** 0 where the protocol or the log has none. */
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly icmpType?: number | undefined;
  readonly icmpCode?: number | undefined;
  /** Whether `source` opened the connection; a log of single packets or directions may not say. */
  readonly role: "opener" | "answerer" | "unknown";
  /** What `source` sent, and what it got back; undefined: the log does not count it. */
  readonly sent: Traffic | undefined;
  readonly received: Traffic | undefined;
  /** `RECORDED`. */
  readonly recorded: number;
  readonly opening: Opening;
  readonly closing: Closing;
  /** Index into the source's interfaces. */
  readonly interfaceId?: number;
}

export interface Traffic {
  readonly packets: number | undefined;
  readonly bytes: number;
}

/** How a TCP or SCTP connection began, as the log says or leaves it open. */
export type Opening =
  /** With a handshake, which was recorded or is taken for granted. */
  | "handshake"
  /** The opener asked, nobody answered. */
  | "unanswered"
  /** The other side refused. */
  | "refused"
  /** It went on from earlier. */
  | "underway";

/** How it ended; `open`: not, or not said. */
export type Closing = "open" | "closed" | "reset-by-source" | "reset-by-destination";
