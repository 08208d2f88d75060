/** What is known of how a flow began and ended. */
import { TCP_FLAG } from "../dataplane/packet.ts";

/** A flow of a protocol without an end is over when it was silent for so long (nf_conntrack_udp_timeout_stream). */
export const IDLE_SECONDS = 120;

/** Flags with which a connection begins or ends. */
export const TURNS = TCP_FLAG.S | TCP_FLAG.F | TCP_FLAG.R;

/** Bits of the `state` column. */
export const FLOW_STATE = {
  /** FIN seen from the source, from the destination. */
  finSource: 1,
  finDestination: 2,
  reset: 4,
  /** The first packet seen does not open a connection: the recording began after it. */
  startMissing: 8,
  /** A filter does not want the flow: its packets are not pushed. */
  filtered: 16,
  /** The filter on verdicts does not want it: its packets are pushed, but not counted. */
  hidden: 32,
  /** Its packets were sent to a Service address, and are pushed as the endpoint's. */
  translated: 64,
  /** The log says that its first packet was dropped where it was recorded. */
  recordedDrop: 128,
  /** It was recorded behind egress policy, or behind every policy it meets. */
  metEgress: 256,
  metAll: 512,
  /** It waits to be told, and is no longer found by its tuple. */
  ended: 1024,
} as const;
