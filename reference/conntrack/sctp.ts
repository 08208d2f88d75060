/**
 * SCTP as nf_conntrack_proto_sctp.c of Linux 6.18 has it. Packets are their first chunk, without chunk flags; `sequence` of
 * an INIT or INIT ACK is the tag that it asks for.
 */
import type { Packet } from "../../dataplane/packet.ts";
import { live, otherWay, type PlainFlow, type Ruling, type Sysctls, setting, type Way } from "./flow.ts";

export type SctpState =
  | "NONE"
  | "CLOSED"
  | "COOKIE_WAIT"
  | "COOKIE_ECHOED"
  | "ESTABLISHED"
  | "SHUTDOWN_SENT"
  | "SHUTDOWN_RECD"
  | "SHUTDOWN_ACK_SENT"
  | "HEARTBEAT_SENT";

export interface SctpMemory {
  state: SctpState;
  /** What packets of each direction must carry; 0: not known. */
  readonly tags: Record<Way, number>;
  /** Whether an INIT of that direction waits for its answer. */
  readonly asks: Record<Way, boolean>;
  /** The direction of a heartbeat that carried a wrong tag. */
  strayHeartbeat: Way | undefined;
}

const [INIT, INIT_ACK, HEARTBEAT, HEARTBEAT_ACK, ABORT, SHUTDOWN, SHUTDOWN_ACK, ERROR] = [1, 2, 4, 5, 6, 7, 8, 9];
const [COOKIE_ECHO, COOKIE_ACK, SHUTDOWN_COMPLETE] = [10, 11, 14];

const MOVING: ReadonlySet<number | undefined> = new Set([
  INIT,
  INIT_ACK,
  HEARTBEAT,
  HEARTBEAT_ACK,
  ABORT,
  SHUTDOWN,
  SHUTDOWN_ACK,
  ERROR,
  COOKIE_ECHO,
  COOKIE_ACK,
  SHUTDOWN_COMPLETE,
]);

/** Where a chunk leads; most change nothing in most states. */
function stepOf(way: Way, chunk: number, from: SctpState): SctpState | "invalid" {
  if (!MOVING.has(chunk)) return from;
  return way === "original" ? clientStep(chunk, from) : serverStep(chunk, from);
}

function clientStep(chunk: number, from: SctpState): SctpState {
  if (chunk === ABORT) return "CLOSED";
  if (from === "NONE")
    return chunk === SHUTDOWN_ACK ? "SHUTDOWN_ACK_SENT" : chunk === HEARTBEAT ? "HEARTBEAT_SENT" : "CLOSED";
  if (from === "HEARTBEAT_SENT") {
    if (chunk === INIT) return "COOKIE_WAIT";
    if (chunk === SHUTDOWN_ACK) return "SHUTDOWN_ACK_SENT";
    return chunk === HEARTBEAT || chunk === HEARTBEAT_ACK ? from : "CLOSED";
  }
  switch (chunk) {
    case INIT:
      if (from === "CLOSED") return "CLOSED";
      return from === "SHUTDOWN_SENT" || from === "SHUTDOWN_RECD" ? "CLOSED" : from;
    default:
      return eitherStep(chunk, from, "SHUTDOWN_SENT");
  }
}

function serverStep(chunk: number, from: SctpState): SctpState | "invalid" {
  if (from === "NONE") return "invalid";
  if (from === "HEARTBEAT_SENT") {
    if (chunk === HEARTBEAT) return from;
    return chunk === HEARTBEAT_ACK ? "ESTABLISHED" : "invalid";
  }
  if (chunk === ABORT) return "CLOSED";
  if (chunk === INIT_ACK && from === "CLOSED") return "COOKIE_WAIT";
  if (chunk === ERROR && from === "COOKIE_ECHOED") return "CLOSED"; // a stale cookie
  return eitherStep(chunk, from, "SHUTDOWN_RECD");
}

/** What is the same from both ends, but for the name of a shutdown. */
function eitherStep(chunk: number, from: SctpState, shutdown: SctpState): SctpState {
  const isShutting = from === "SHUTDOWN_SENT" || from === "SHUTDOWN_RECD" || from === "SHUTDOWN_ACK_SENT";
  switch (chunk) {
    case SHUTDOWN:
      return from === "ESTABLISHED" ? shutdown : from;
    case SHUTDOWN_ACK:
      return isShutting ? "SHUTDOWN_ACK_SENT" : from;
    case COOKIE_ECHO:
      return from === "COOKIE_WAIT" ? "COOKIE_ECHOED" : from;
    case COOKIE_ACK:
      return from === "COOKIE_ECHOED" ? "ESTABLISHED" : from;
    case SHUTDOWN_COMPLETE:
      return from === "SHUTDOWN_ACK_SENT" ? "CLOSED" : from;
    default:
      return from;
  }
}

interface Arrival {
  readonly packet: Packet;
  readonly way: Way;
  readonly sysctls: Sysctls;
  readonly nowMs: number;
}

export function ruleSctp(flow: PlainFlow, { packet, way, sysctls, nowMs }: Arrival): Ruling {
  const { sctpChunk: chunk, verificationTag: tag } = packet;
  if (flow.sctp === undefined) {
    const memory = firstMemory(packet);
    if (memory === undefined) return "invalid";
    flow.sctp = memory;
  }
  const { sctp } = flow;
  const { tags, asks } = sctp;
  const back = otherWay(way);
  if (chunk === HEARTBEAT || chunk === HEARTBEAT_ACK) {
    const heard = hearHeartbeat(sctp, packet, way);
    if (heard !== "fits") return heard;
  } else if (chunk === INIT ? tag !== 0 : chunk !== SHUTDOWN_ACK && tag !== tags[way]) {
    return "invalid";
  }
  if (chunk === COOKIE_ACK) asks.original = asks.reply = false;

  const from = sctp.state;
  const to = stepOf(way, chunk, from);
  if (to === "invalid") return "invalid";
  if (chunk === INIT) {
    if (from === "NONE" || tags[back] !== packet.sequence) {
      if (asks[way]) asks[back] = false;
      asks[way] = true;
    }
    tags[back] = packet.sequence;
  }
  if (chunk === INIT_ACK) {
    const contradicts = tags[back] !== packet.sequence;
    if (contradicts && !asks[back] && tags[back] !== 0) return "invalid";
    if (contradicts && asks[back] && asks[way]) return "invalid";
    tags[back] = packet.sequence;
  }
  sctp.state = to;
  if (from !== to && to === "ESTABLISHED") flow.assured = true;
  const isRepeatedInit = chunk === INIT && flow.isConfirmed && from === "CLOSED" && to === "CLOSED";
  if (!isRepeatedInit)
    live(flow, setting(sysctls, `sctp_timeout_${to === "NONE" ? "closed" : to.toLowerCase()}`), nowMs);
  return "accepted";
}

/** sctp_new. Undefined: it cannot begin a flow. */
function firstMemory({ sctpChunk: chunk, verificationTag: tag, sequence }: Packet): SctpMemory | undefined {
  if (!MOVING.has(chunk)) return undefined;
  if (chunk === ABORT || chunk === SHUTDOWN_COMPLETE || chunk === COOKIE_ACK) return undefined;
  if (chunk === INIT && tag !== 0) return undefined;
  return {
    state: "NONE",
    tags: {
      original: chunk === HEARTBEAT ? tag : 0,
      reply: chunk === INIT ? sequence : chunk === SHUTDOWN_ACK ? tag : 0,
    },
    asks: { original: false, reply: false },
    strayHeartbeat: undefined,
  };
}

/** A heartbeat with a strange tag passes; when the other side answers it, the strange tag is the right one. */
function hearHeartbeat(sctp: SctpMemory, { sctpChunk, verificationTag: tag }: Packet, way: Way): "fits" | Ruling {
  const { tags, strayHeartbeat } = sctp;
  if (tags[way] === 0) {
    tags[way] = tag;
    return "fits";
  }
  if (tags[way] === tag) {
    sctp.strayHeartbeat = undefined;
    return "fits";
  }
  if (sctpChunk === HEARTBEAT) {
    sctp.strayHeartbeat = way;
    return "accepted";
  }
  if (strayHeartbeat === undefined || strayHeartbeat === way) return "invalid";
  sctp.strayHeartbeat = undefined;
  tags[way] = tag;
  tags[otherWay(way)] = 0;
  return "fits";
}
