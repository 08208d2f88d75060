/**
 * TCP: the state machine of nf_conntrack_proto_tcp.c (Linux 6.18), with the windows of tcpWindow.ts.
 *
 * Nobody on the way knows what the ends know: a segment may be lost after it passed here, and a side may have forgotten
 * the connection. Hence the third kind of transition beside "to this state" and "invalid": segments that pass but change
 * nothing, because only the answer will tell who is right (a SYN in an established connection; then a SYN-ACK brings the
 * entry back in step, a RST removes it).
 */
import type { PacketBatch } from "../packet.ts";
import {
  addStatus,
  BYTE,
  type Flow,
  invalid,
  isConfirmed,
  ORIGINAL,
  OUTCOME,
  type Outcome,
  REPLY,
  refresh,
  STATUS,
  statusOf,
  WORD,
} from "./flow.ts";
import { type ConntrackSettings, TIMEOUT_SLOT } from "./options.ts";
import {
  addFlags,
  before,
  flagsAt,
  HEAD_WORD,
  LAST,
  LAST_FLAG,
  ofBoth,
  SEGMENT,
  SIDE,
  SIDES_WORD,
  scaleAt,
  segmentEnd,
  segmentOf,
  TCP_BYTE,
  TCP_STATE,
  TCP_STATE_NAMES,
  WINDOW,
  windowAt,
} from "./tcpEntry.ts";
import { checkWindow, IN_WINDOW, type InWindow, MAX_SCALE, openWindow } from "./tcpWindow.ts";

/** Transitions that are not to a state. */
const INVALID = 10;
const IGNORE = 11;

const CODES: Readonly<Record<string, number>> = {
  SS: TCP_STATE.synSent,
  SR: TCP_STATE.synRecv,
  ES: TCP_STATE.established,
  FW: TCP_STATE.finWait,
  CW: TCP_STATE.closeWait,
  LA: TCP_STATE.lastAck,
  TW: TCP_STATE.timeWait,
  CL: TCP_STATE.close,
  S2: TCP_STATE.synSent2,
  "--": INVALID,
  "..": IGNORE,
};

const STATES = 10;
const SEGMENTS = 5;

/**
 * Where a segment leads, by direction, segment and present state; `--` invalid, `..` ignored.
 *
 * Worth a second look: a SYN re-uses a closed tuple (TW, CL); a server's SYN is a simultaneous open, or the roles have
 * changed after TIME_WAIT; the client's SYN-ACK exists only in a simultaneous open; a server's ACK to a SYN may be a
 * challenge.
 */
const TRANSITIONS = transitions([
  /* original       no SS SR ES FW CW LA TW CL S2 */
  /* syn     */ "   SS SS .. .. .. .. .. SS SS S2",
  /* syn-ack */ "   -- -- SR -- -- -- -- -- -- SR",
  /* fin     */ "   -- -- FW FW LA LA LA TW CL --",
  /* ack     */ "   ES -- ES ES CW CW TW TW CL --",
  /* rst     */ "   -- CL CL CL CL CL CL CL CL CL",
  /* reply          no SS SR ES FW CW LA TW CL S2 */
  /* syn     */ "   -- S2 -- -- -- -- -- SS -- S2",
  /* syn-ack */ "   -- SR .. .. .. .. .. .. .. SR",
  /* fin     */ "   -- -- FW FW LA LA LA TW CL --",
  /* ack     */ "   -- .. SR ES CW CW TW TW CL ..",
  /* rst     */ "   -- CL CL CL CL CL CL CL CL CL",
]);

function transitions(rows: readonly string[]): Uint8Array {
  return Uint8Array.from(rows.flatMap((row) => row.trim().split(" ")).map((code) => CODES[code] ?? INVALID));
}

function transition(direction: number, segment: number, state: number): number {
  return TRANSITIONS[(direction * SEGMENTS + segment) * STATES + state] ?? INVALID;
}

/** A RST or FIN that does not fit shortens a lifetime only if it is at least that long (nf_tcp_handle_invalid). */
const LONG_LIFE_MS = 120_000;

const SEGMENT_NAMES = ["SYN", "SYN-ACK", "FIN", "ACK", "RST"];

/** What to tell of a segment that does not go with the state of its connection. */
const MISFITS = SEGMENT_NAMES.map((segment) => TCP_STATE_NAMES.map((state) => misfit(segment, state)));

function misfit(segment: string, state: string): string {
  return state === "NONE" ? `${segment} of an unknown connection` : `${segment} does not go with ${state}`;
}

/** Lets the segment of `row` change its entry, or says that it belongs to none. */
export function trackTcp(flow: Flow, batch: PacketBatch, row: number): Outcome {
  const { bytes, at, direction } = flow;
  const segment = segmentOf(batch.tcpFlags[row] ?? 0);
  if (segment === SEGMENT.impossible) return invalid(flow, "TCP flags that no stack sends together");
  if (!isConfirmed(flow) && !begin(flow, batch, row)) return OUTCOME.invalid;

  let oldState = bytes[at * 4 + BYTE.state] ?? 0;
  let newState = transition(direction, segment, oldState);
  let window: InWindow | undefined;
  switch (newState) {
    case TCP_STATE.synSent:
    case IGNORE:
      if (newState === TCP_STATE.synSent && oldState < TCP_STATE.timeWait) break;
      if (newState === TCP_STATE.synSent && mayReopen(flow)) return OUTCOME.restart;
      if (!answersIgnoredSyn(flow, batch, row)) {
        noteIgnored(flow, batch, row);
        return OUTCOME.accept;
      }
      adoptIgnoredSyn(flow);
      oldState = TCP_STATE.synSent;
      newState = TCP_STATE.synRecv;
      break;
    case INVALID:
      return invalid(flow, MISFITS[segment]?.[oldState] ?? "");
    case TCP_STATE.timeWait:
      if (oldState === TCP_STATE.lastAck && segment === SEGMENT.ack && isChallengeAck(flow)) {
        bytes[at * 4 + TCP_BYTE.lastFlags] = (bytes[at * 4 + TCP_BYTE.lastFlags] ?? 0) & ~LAST_FLAG.challengeAck;
        flow.why = "challenge ACK, changes nothing";
        return OUTCOME.accept;
      }
      break;
    case TCP_STATE.synSent2:
      bytes[at * 4 + TCP_BYTE.lastFlags] = (bytes[at * 4 + TCP_BYTE.lastFlags] ?? 0) | LAST_FLAG.simultaneousOpen;
      break;
    case TCP_STATE.synRecv:
      if (direction === REPLY && segment === SEGMENT.ack && isSimultaneous(flow)) newState = TCP_STATE.established;
      break;
    case TCP_STATE.close: {
      if (segment !== SEGMENT.rst) break;
      const reset = judgeReset(flow, batch, row);
      if (reset === RESET.invalid) return invalid(flow, "RST below what was acknowledged");
      if (reset === RESET.accept) window = IN_WINDOW.accept;
      if (reset === RESET.keepState) newState = oldState;
      break;
    }
    default:
      break;
  }

  window ??= checkWindow(flow, batch, row);
  if (window === IN_WINDOW.ignore) return OUTCOME.accept;
  if (window === IN_WINDOW.invalid) {
    shortenLife(flow, segment);
    return OUTCOME.invalid;
  }
  bytes[at * 4 + BYTE.state] = oldState;
  return settle(flow, segment, newState);
}

/** Whether a segment of no connection certainly begins one: what most of those are, a SYN or, picked up in the middle, an ACK. */
export function surelyBegins(flags: number, { tcpLoose }: ConntrackSettings): boolean {
  const segment = segmentOf(flags);
  return segment === SEGMENT.syn || (segment === SEGMENT.ack && tcpLoose);
}

/** First packet of an entry that does not exist yet. False, and `why`: it cannot start one. */
function begin(flow: Flow, batch: PacketBatch, row: number): boolean {
  const segment = segmentOf(batch.tcpFlags[row] ?? 0);
  const state = transition(ORIGINAL, segment, TCP_STATE.none);
  if (state === INVALID) {
    flow.why = MISFITS[segment]?.[TCP_STATE.none] ?? "";
    return false;
  }
  if (state !== TCP_STATE.synSent && !flow.settings.tcpLoose) {
    flow.why = "no SYN seen, and connections are not picked up in the middle";
    return false;
  }
  openWindow(flow, batch, row);
  flow.bytes[flow.at * 4 + TCP_BYTE.lastSegment] = SEGMENT.none;
  return true;
}

/** Whether a SYN for a closed tuple is believed: the side that closed, or that was reset, may open again (RFC 1122 4.2.2.13). */
function mayReopen(flow: Flow): boolean {
  const { bytes, words, at } = flow;
  if (((words[at + SIDES_WORD] ?? 0) & ofBoth(SIDE.closeInit)) !== 0) return true;
  return (
    bytes[at * 4 + TCP_BYTE.lastDirection] === flow.direction && bytes[at * 4 + TCP_BYTE.lastSegment] === SEGMENT.rst
  );
}

/** A SYN-ACK to a SYN that was let pass without belief: the ends are in step and the entry is not. */
function answersIgnoredSyn(flow: Flow, batch: PacketBatch, row: number): boolean {
  const { bytes, words, at } = flow;
  return (
    segmentOf(batch.tcpFlags[row] ?? 0) === SEGMENT.synAck &&
    bytes[at * 4 + TCP_BYTE.lastSegment] === SEGMENT.syn &&
    bytes[at * 4 + TCP_BYTE.lastDirection] !== flow.direction &&
    ((batch.acknowledgment[row] ?? 0) | 0) === words[at + LAST.end]
  );
}

/** Puts the numbers of the ignored SYN in force. */
function adoptIgnoredSyn(flow: Flow): void {
  const { bytes, words, at } = flow;
  const opener = bytes[at * 4 + TCP_BYTE.lastDirection] ?? 0;
  const lastFlags = (bytes[at * 4 + TCP_BYTE.lastFlags] ?? 0) & ~LAST_FLAG.challengeAck;
  const end = words[at + LAST.end] ?? 0;
  const side = windowAt(flow, opener);
  words[side + WINDOW.end] = end;
  words[side + WINDOW.maxEnd] = end;
  words[side + WINDOW.maxWindow] = words[at + LAST.window] || 1;
  bytes[scaleAt(flow, opener)] = bytes[at * 4 + TCP_BYTE.lastScale] ?? 0;
  bytes[at * 4 + TCP_BYTE.lastFlags] = lastFlags;
  bytes[flagsAt(flow, opener)] = lastFlags;
  // The answering side starts from nothing.
  const answerer = flow.direction;
  words.fill(0, windowAt(flow, answerer), windowAt(flow, answerer + 1));
  bytes[scaleAt(flow, answerer)] = 0;
  bytes[flagsAt(flow, answerer)] = (bytes[flagsAt(flow, answerer)] ?? 0) & SIDE.beLiberal;
}

/** A segment that passes without being believed; what an answer to it will be compared with is kept. */
function noteIgnored(flow: Flow, batch: PacketBatch, row: number): void {
  const { bytes, words, at, direction } = flow;
  const segment = segmentOf(batch.tcpFlags[row] ?? 0);
  const state = bytes[at * 4 + BYTE.state] ?? 0;
  bytes[at * 4 + TCP_BYTE.lastSegment] = segment;
  bytes[at * 4 + TCP_BYTE.lastDirection] = direction;
  words[at + LAST.sequence] = batch.sequence[row] ?? 0;
  words[at + LAST.end] = segmentEnd(batch, row);
  words[at + LAST.window] = batch.window[row] ?? 0;
  if (segment === SEGMENT.syn && direction === ORIGINAL) {
    const stated = batch.windowScale[row] ?? 0;
    const mayChallenge = state === TCP_STATE.lastAck ? LAST_FLAG.challengeAck : 0;
    bytes[at * 4 + TCP_BYTE.lastFlags] = (stated === 0 ? 0 : SIDE.windowScale) | mayChallenge;
    bytes[at * 4 + TCP_BYTE.lastScale] = stated === 0 ? 0 : Math.min(stated - 1, MAX_SCALE);
  }
  if (state === TCP_STATE.synSent && segment === SEGMENT.ack && direction === REPLY) {
    words[at + LAST.acknowledgment] = batch.acknowledgment[row] ?? 0; // possibly a challenge
  }
  flow.why = IGNORED[segment]?.[state] ?? "";
}

/** What to tell of a segment that passes and changes nothing. */
const IGNORED = SEGMENT_NAMES.map((segment) =>
  TCP_STATE_NAMES.map((state) => `${segment} in ${state} changes nothing until it is answered`),
);

function isChallengeAck(flow: Flow): boolean {
  const { bytes, at } = flow;
  return (
    bytes[at * 4 + TCP_BYTE.lastDirection] !== flow.direction &&
    bytes[at * 4 + TCP_BYTE.lastSegment] === SEGMENT.syn &&
    ((bytes[at * 4 + TCP_BYTE.lastFlags] ?? 0) & LAST_FLAG.challengeAck) !== 0
  );
}

function isSimultaneous(flow: Flow): boolean {
  return ((flow.bytes[flow.at * 4 + TCP_BYTE.lastFlags] ?? 0) & LAST_FLAG.simultaneousOpen) !== 0;
}

/** `check`: held to the window. `keepState`: held to the window too, but too inexact to end the connection. */
const RESET = { check: 0, keepState: 1, accept: 2, invalid: 3 } as const;
type Reset = (typeof RESET)[keyof typeof RESET];

/** A RST must name the very next number to be believed (RFC 5961 section 3.2), but for the exceptions below. */
function judgeReset(flow: Flow, batch: PacketBatch, row: number): Reset {
  const { bytes, words, at, direction } = flow;
  const state = bytes[at * 4 + BYTE.state] ?? 0;
  if (isClosing(state)) return RESET.accept; // the tuple may be in use again, the numbers are outdated
  const status = statusOf(flow);
  const lastSegment = bytes[at * 4 + TCP_BYTE.lastSegment];
  const lastDirection = bytes[at * 4 + TCP_BYTE.lastDirection];
  const sequence = (batch.sequence[row] ?? 0) | 0;
  const knowsAck = ((bytes[flagsAt(flow, 1 - direction)] ?? 0) & SIDE.maxAckSet) !== 0;
  if (knowsAck && lastSegment !== SEGMENT.syn) {
    const isEstablished = state === TCP_STATE.established && (status & STATUS.assured) !== 0;
    if (sequence === 0 && !isEstablished) return RESET.check; // most likely answers a SYN that was ignored
    const acknowledged = words[windowAt(flow, 1 - direction) + WINDOW.maxAck] ?? 0;
    if (before(sequence, acknowledged) && !flow.settings.tcpIgnoreInvalidRst) return RESET.invalid;
    if (!isEstablished || sequence === acknowledged) return RESET.check;
    const followsItsData =
      lastSegment === SEGMENT.ack && lastDirection === direction && sequence === words[at + LAST.end];
    return followsItsData ? RESET.check : RESET.keepState;
  }
  const passedUnbelieved =
    ((status & STATUS.seenReply) !== 0 && lastSegment === SEGMENT.syn && lastDirection !== direction) ||
    ((status & STATUS.assured) === 0 && lastSegment === SEGMENT.ack);
  if (passedUnbelieved && ((batch.acknowledgment[row] ?? 0) | 0) === words[at + LAST.end]) return RESET.accept;
  const answersChallenge =
    state === TCP_STATE.synSent &&
    lastSegment === SEGMENT.ack &&
    lastDirection === REPLY &&
    sequence === words[at + LAST.acknowledgment];
  return answersChallenge ? RESET.accept : RESET.check;
}

/** Past the first FIN or RST. Such entries are also given up early when the table is full. */
export function isClosing(state: number): boolean {
  return state >= TCP_STATE.finWait && state <= TCP_STATE.close;
}

/** FINs or RSTs out of window from both sides: the connection is gone and the entry out of step, so it goes sooner. */
function shortenLife(flow: Flow, segment: number): void {
  if ((statusOf(flow) & STATUS.assured) === 0) return;
  if (segment !== SEGMENT.rst && segment !== SEGMENT.fin) return;
  const { bytes, words, at, direction } = flow;
  const last = bytes[at * 4 + TCP_BYTE.lastSegment];
  const isSecond =
    bytes[at * 4 + TCP_BYTE.lastDirection] !== direction && (last === SEGMENT.fin || last === SEGMENT.rst);
  if (!isSecond) {
    bytes[at * 4 + TCP_BYTE.lastSegment] = segment;
    bytes[at * 4 + TCP_BYTE.lastDirection] = direction;
    return;
  }
  const left = ((words[at + WORD.deadline] ?? 0) - flow.now) | 0;
  if (left >= LONG_LIFE_MS && left > (flow.timeouts[TIMEOUT_SLOT.tcpUnacknowledged] ?? 0)) {
    refresh(flow, TIMEOUT_SLOT.tcpUnacknowledged);
  }
}

/** The segment is believed: state, lifetime and status follow. */
function settle(flow: Flow, segment: number, newState: number): Outcome {
  const { words, at, direction } = flow;
  const head = words[at + HEAD_WORD] ?? 0;
  const status = head & 0xff;
  const oldState = (head >>> 8) & 0xff;
  words[at + HEAD_WORD] = status | (newState << 8) | (segment << 16) | (direction << 24);
  if (oldState !== newState && newState === TCP_STATE.finWait) addFlags(flow, direction, SIDE.closeInit);
  let lifetime = lifetimeSlot(flow, segment, newState);
  if ((status & STATUS.seenReply) === 0) {
    if (segment === SEGMENT.rst) return OUTCOME.destroy; // if the only answer is a RST there was no connection
    // A repeated SYN keeps its deadline: else a port that is used again and again would keep the entry for ever.
    if (segment === SEGMENT.syn && oldState === TCP_STATE.synSent) return OUTCOME.accept;
    if (newState === TCP_STATE.established) lifetime = shorter(flow, lifetime, TIMEOUT_SLOT.tcpUnacknowledged);
  } else if (newState === TCP_STATE.established && (status & STATUS.assured) === 0) {
    if (oldState === TCP_STATE.synRecv || oldState === TCP_STATE.established) addStatus(flow, STATUS.assured);
  }
  refresh(flow, lifetime);
  return OUTCOME.accept;
}

/** The timeout of the state, or a shorter one when the other side does not seem to hear. */
function lifetimeSlot(flow: Flow, segment: number, state: number): number {
  const { bytes, words, at, settings } = flow;
  const ofState = TIMEOUT_SLOT.tcp + state;
  const isRepeated = (bytes[at * 4 + TCP_BYTE.retransmissions] ?? 0) >= settings.tcpMaxRetransmissions;
  if (isRepeated && shorter(flow, ofState, TIMEOUT_SLOT.tcpMaxRetransmissions) !== ofState) {
    return TIMEOUT_SLOT.tcpMaxRetransmissions;
  }
  if (segment === SEGMENT.rst) return TIMEOUT_SLOT.tcp + TCP_STATE.close;
  const isUnacknowledged = ((words[at + SIDES_WORD] ?? 0) & ofBoth(SIDE.dataUnacknowledged)) !== 0;
  if (isUnacknowledged && shorter(flow, ofState, TIMEOUT_SLOT.tcpUnacknowledged) !== ofState) {
    return TIMEOUT_SLOT.tcpUnacknowledged;
  }
  return words[at + LAST.window] === 0 ? shorter(flow, ofState, TIMEOUT_SLOT.tcpMaxRetransmissions) : ofState;
}

/** Whichever slot has the shorter timeout; `slot` if they are equal. */
function shorter(flow: Flow, slot: number, bound: number): number {
  return (flow.timeouts[slot] ?? 0) > (flow.timeouts[bound] ?? 0) ? bound : slot;
}
