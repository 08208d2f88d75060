/**
 * SCTP: the state machine and verification tags of nf_conntrack_proto_sctp.c (Linux 6.18).
 *
 * Packets carry their first chunk only, and no chunk flags: a packet counts as that one chunk, and the T bit of ABORT and
 * SHUTDOWN COMPLETE (RFC 9260 section 8.5.1) as unset. The tag that an INIT or INIT ACK asks the other side to use is in
 * the `sequence` column, which SCTP has no other use for.
 */
import { type PacketBatch, SCTP_CHUNK } from "../packet.ts";
import {
  addStatus,
  BYTE,
  type Flow,
  invalid,
  isConfirmed,
  OUTCOME,
  type Outcome,
  refresh,
  STATUS,
  WORD,
} from "./flow.ts";
import { TIMEOUT_SLOT } from "./options.ts";

/** States with the kernel's numbers. */
export const SCTP_STATE = {
  none: 0,
  closed: 1,
  cookieWait: 2,
  cookieEchoed: 3,
  established: 4,
  shutdownSent: 5,
  shutdownReceived: 6,
  shutdownAckSent: 7,
  heartbeatSent: 8,
} as const;

/** State names as `conntrack -L` prints them, by number. */
export const SCTP_STATE_NAMES = [
  "NONE",
  "CLOSED",
  "COOKIE_WAIT",
  "COOKIE_ECHOED",
  "ESTABLISHED",
  "SHUTDOWN_SENT",
  "SHUTDOWN_RECD",
  "SHUTDOWN_ACK_SENT",
  "HEARTBEAT_SENT",
] as const;

const INVALID = 9;
const STATES = 9;

const CODES: Readonly<Record<string, number>> = {
  CL: SCTP_STATE.closed,
  CW: SCTP_STATE.cookieWait,
  CE: SCTP_STATE.cookieEchoed,
  ES: SCTP_STATE.established,
  SS: SCTP_STATE.shutdownSent,
  SR: SCTP_STATE.shutdownReceived,
  SA: SCTP_STATE.shutdownAckSent,
  HS: SCTP_STATE.heartbeatSent,
  "--": INVALID,
};

/** Chunks that move the state, in the order of the rows below. */
const MOVERS: readonly number[] = [
  SCTP_CHUNK.INIT,
  SCTP_CHUNK.INIT_ACK,
  SCTP_CHUNK.ABORT,
  SCTP_CHUNK.SHUTDOWN,
  SCTP_CHUNK.SHUTDOWN_ACK,
  SCTP_CHUNK.ERROR,
  SCTP_CHUNK.COOKIE_ECHO,
  SCTP_CHUNK.COOKIE_ACK,
  SCTP_CHUNK.SHUTDOWN_COMPLETE,
  SCTP_CHUNK.HEARTBEAT,
  SCTP_CHUNK.HEARTBEAT_ACK,
];

/** Row of a chunk, -1 if it moves nothing. */
const ROW_OF_CHUNK = Int8Array.from({ length: 256 }, (_, chunk) => MOVERS.indexOf(chunk));

/** Where a chunk leads, by direction, chunk and present state; `--` invalid. */
const TRANSITIONS = transitions([
  /* original           no CL CW CE ES SS SR SA HS */
  /* init          */ " CL CL CW CE ES CL CL SA CW",
  /* init ack      */ " CL CL CW CE ES SS SR SA CL",
  /* abort         */ " CL CL CL CL CL CL CL CL CL",
  /* shutdown      */ " CL CL CW CE SS SS SR SA CL",
  /* shutdown ack  */ " SA CL CW CE ES SA SA SA SA",
  /* error         */ " CL CL CW CE ES SS SR SA CL",
  /* cookie echo   */ " CL CL CE CE ES SS SR SA CL",
  /* cookie ack    */ " CL CL CW ES ES SS SR SA CL",
  /* shutdown compl*/ " CL CL CW CE ES SS SR CL CL",
  /* heartbeat     */ " HS CL CW CE ES SS SR SA HS",
  /* heartbeat ack */ " CL CL CW CE ES SS SR SA HS",
  /* reply              no CL CW CE ES SS SR SA HS */
  /* init          */ " -- CL CW CE ES SS SR SA --",
  /* init ack      */ " -- CW CW CE ES SS SR SA --",
  /* abort         */ " -- CL CL CL CL CL CL CL --",
  /* shutdown      */ " -- CL CW CE SR SS SR SA --",
  /* shutdown ack  */ " -- CL CW CE ES SA SA SA --",
  /* error         */ " -- CL CW CL ES SS SR SA --",
  /* cookie echo   */ " -- CL CE CE ES SS SR SA --",
  /* cookie ack    */ " -- CL CW ES ES SS SR SA --",
  /* shutdown compl*/ " -- CL CW CE ES SS SR CL --",
  /* heartbeat     */ " -- CL CW CE ES SS SR SA HS",
  /* heartbeat ack */ " -- CL CW CE ES SS SR SA ES",
]);

function transitions(rows: readonly string[]): Uint8Array {
  return Uint8Array.from(rows.flatMap((row) => row.trim().split(" ")).map((code) => CODES[code] ?? INVALID));
}

/** Chunks other than those of the table (DATA, SACK, …) leave the state as it is. */
function transition(direction: number, chunk: number, state: number): number {
  const row = ROW_OF_CHUNK[chunk] ?? -1;
  if (row < 0) return state;
  return TRANSITIONS[(direction * MOVERS.length + row) * STATES + state] ?? INVALID;
}

/** Word with the tag that packets of the original direction must carry; the reply's follows. */
const TAGS = WORD.tracker;

/** Bytes of an entry, counted from its first. */
const SCTP_BYTE = {
  /** 1: the last heartbeat carried a wrong tag. */
  heartbeatFailed: 68,
  heartbeatDirection: 69,
  /** Whether an INIT of the original direction is not answered yet; the reply's follows. */
  initPending: 70,
} as const;

/** Lets the chunk of `row` change its entry, or says that it belongs to none. */
export function trackSctp(flow: Flow, batch: PacketBatch, row: number): Outcome {
  const { bytes, words, at, direction } = flow;
  const chunk = batch.sctpChunk[row] ?? 0;
  const tag = (batch.verificationTag[row] ?? 0) | 0;
  if (!isConfirmed(flow) && !begin(flow, batch, row)) return OUTCOME.invalid;

  let keepsDeadline = false;
  const own = at + TAGS + direction;
  switch (chunk) {
    case SCTP_CHUNK.INIT:
      if (tag !== 0) return invalid(flow, "INIT with a verification tag");
      break;
    case SCTP_CHUNK.SHUTDOWN_ACK:
      break; // may come out of the blue (RFC 9260 section 8.4)
    case SCTP_CHUNK.HEARTBEAT:
    case SCTP_CHUNK.HEARTBEAT_ACK:
      keepsDeadline = !checkHeartbeat(flow, batch, row);
      if (keepsDeadline && chunk === SCTP_CHUNK.HEARTBEAT_ACK) return invalid(flow, "HEARTBEAT ACK with a wrong tag");
      if (keepsDeadline) return OUTCOME.accept;
      break;
    default:
      if (tag !== words[own]) return invalid(flow, "wrong verification tag");
  }
  if (chunk === SCTP_CHUNK.COOKIE_ACK)
    bytes.fill(0, at * 4 + SCTP_BYTE.initPending, at * 4 + SCTP_BYTE.initPending + 2);

  const oldState = bytes[at * 4 + BYTE.state] ?? 0;
  const newState = transition(direction, chunk, oldState);
  if (newState === INVALID) return invalid(flow, `chunk ${chunk} does not go with ${SCTP_STATE_NAMES[oldState]}`);
  if (chunk === SCTP_CHUNK.INIT) {
    noteInit(flow, { tag: (batch.sequence[row] ?? 0) | 0, isFirst: oldState === SCTP_STATE.none });
    // As with a repeated SYN: a tuple used again and again must not live for ever.
    keepsDeadline = isConfirmed(flow) && oldState === SCTP_STATE.closed && newState === SCTP_STATE.closed;
  }
  if (chunk === SCTP_CHUNK.INIT_ACK && !noteInitAck(flow, batch.sequence[row] ?? 0)) {
    return invalid(flow, "INIT ACK that contradicts the tags in use");
  }
  bytes[at * 4 + BYTE.state] = newState;
  if (oldState !== newState && newState === SCTP_STATE.established) addStatus(flow, STATUS.assured);
  if (!keepsDeadline) refresh(flow, TIMEOUT_SLOT.sctp + newState);
  return OUTCOME.accept;
}

/** First packet of an entry that does not exist yet. False, and `why`: it cannot start one. */
function begin(flow: Flow, batch: PacketBatch, row: number): boolean {
  const { words, at } = flow;
  const chunk = batch.sctpChunk[row] ?? 0;
  const tag = batch.verificationTag[row] ?? 0;
  switch (chunk) {
    case SCTP_CHUNK.ABORT:
    case SCTP_CHUNK.SHUTDOWN_COMPLETE:
    case SCTP_CHUNK.COOKIE_ACK:
      flow.why = "ends or answers an association that is not known";
      return false;
    case SCTP_CHUNK.INIT:
      if (tag !== 0) {
        flow.why = "INIT with a verification tag";
        return false;
      }
      words[at + TAGS + 1] = batch.sequence[row] ?? 0;
      return true;
    case SCTP_CHUNK.HEARTBEAT:
      words[at + TAGS] = tag;
      return true;
    case SCTP_CHUNK.SHUTDOWN_ACK:
      words[at + TAGS + 1] = tag;
      return true;
    default:
      if ((ROW_OF_CHUNK[chunk] ?? -1) >= 0) return true;
      flow.why = "no association is known";
      return false;
  }
}

/** Whether the tag of a heartbeat fits. One that does not, answered from the other side, renews the tags. */
function checkHeartbeat(flow: Flow, batch: PacketBatch, row: number): boolean {
  const { bytes, words, at, direction } = flow;
  const tag = (batch.verificationTag[row] ?? 0) | 0;
  const own = at + TAGS + direction;
  const failed = at * 4 + SCTP_BYTE.heartbeatFailed;
  const failedDirection = at * 4 + SCTP_BYTE.heartbeatDirection;
  if (words[own] === 0) {
    words[own] = tag;
    return true;
  }
  if (words[own] === tag) {
    bytes[failed] = 0;
    return true;
  }
  if (batch.sctpChunk[row] === SCTP_CHUNK.HEARTBEAT) {
    bytes[failed] = 1;
    bytes[failedDirection] = direction;
    flow.why = "HEARTBEAT with another tag, changes nothing until it is answered";
    return false;
  }
  if (bytes[failed] === 0 || bytes[failedDirection] === direction) return false;
  bytes[failed] = 0;
  words[own] = tag;
  words[at + TAGS + 1 - direction] = 0;
  return true;
}

/** An INIT says which tag the other side shall use. One that repeats what is known opens nothing (a late duplicate). */
function noteInit(flow: Flow, init: { readonly tag: number; readonly isFirst: boolean }): void {
  const { bytes, words, at, direction } = flow;
  const pending = at * 4 + SCTP_BYTE.initPending;
  const other = at + TAGS + 1 - direction;
  if (init.isFirst || words[other] !== init.tag) {
    if (bytes[pending + direction] === 1) bytes[pending + 1 - direction] = 0;
    bytes[pending + direction] = 1;
  }
  words[other] = init.tag;
}

/** An INIT ACK does too. False: it collides with what is known. */
function noteInitAck(flow: Flow, stated: number): boolean {
  const { bytes, words, at, direction } = flow;
  const tag = stated | 0;
  const pending = at * 4 + SCTP_BYTE.initPending;
  const other = at + TAGS + 1 - direction;
  const known = words[other] ?? 0;
  if (bytes[pending + 1 - direction] !== 1 && known !== 0 && known !== tag) return false;
  if (bytes[pending + direction] === 1 && bytes[pending + 1 - direction] === 1 && known !== tag) return false;
  words[other] = tag;
  return true;
}

/** Between SHUTDOWN and its end: such entries are given up early when the table is full. */
export function isShuttingDown(state: number): boolean {
  return state >= SCTP_STATE.shutdownSent && state <= SCTP_STATE.shutdownAckSent;
}
