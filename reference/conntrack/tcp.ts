/**
 * TCP as nf_conntrack_proto_tcp.c of Linux 6.18 has it, written down as that reads: one memory with what was seen of either
 * direction, a table by names, the segment held to the window, then the entry moved. No option but the window scale.
 */
import type { Packet } from "../../dataplane/packet.ts";
import { live, otherWay, type PlainFlow, type Ruling, type Sysctls, setting, type Way } from "./flow.ts";

const FIN = 1;
const SYN = 2;
const RST = 4;
const ACK = 16;
const URG = 32;
/** PSH, ECE and CWR: go with anything. */
const HARMLESS = 8 | 64 | 128;

type Kind = "syn" | "synack" | "fin" | "ack" | "rst";

export type TcpState =
  | "NONE"
  | "SYN_SENT"
  | "SYN_RECV"
  | "ESTABLISHED"
  | "FIN_WAIT"
  | "CLOSE_WAIT"
  | "LAST_ACK"
  | "TIME_WAIT"
  | "CLOSE"
  | "SYN_SENT2";

/** What was seen of one direction (struct ip_ct_tcp_state). */
interface Seen {
  end: number;
  maxEnd: number;
  maxWindow: number;
  /** Undefined: nothing was acknowledged yet. */
  maxAck: number | undefined;
  scale: number;
  saysScale: boolean;
  closesFirst: boolean;
  isLiberal: boolean;
  hasUnacknowledged: boolean;
}

/** The last segment that counts (the last_* fields of struct ip_ct_tcp). */
interface Last {
  kind: Kind | undefined;
  way: Way;
  sequence: number;
  acknowledgment: number;
  end: number;
  window: number;
  scale: number;
  saysScale: boolean;
  mayBeChallenged: boolean;
}

export interface TcpMemory {
  state: TcpState;
  readonly seen: Readonly<Record<Way, Seen>>;
  readonly last: Last;
  isSimultaneous: boolean;
  retransmissions: number;
}

/* ------------------------------------------------ The table ------------------------------------------------------ */

type Step = TcpState | "ignored" | "invalid";

/** Where a segment leads, by the states it may meet; everywhere else it is invalid. */
type Steps = { readonly [From in TcpState]?: Step };

/** A FIN, and what follows it, is the same from either side. */
const FINS: Steps = {
  SYN_RECV: "FIN_WAIT",
  ESTABLISHED: "FIN_WAIT",
  FIN_WAIT: "LAST_ACK",
  CLOSE_WAIT: "LAST_ACK",
  LAST_ACK: "LAST_ACK",
  TIME_WAIT: "TIME_WAIT",
  CLOSE: "CLOSE",
};
const AFTER_FIN: Steps = {
  ESTABLISHED: "ESTABLISHED",
  FIN_WAIT: "CLOSE_WAIT",
  CLOSE_WAIT: "CLOSE_WAIT",
  LAST_ACK: "TIME_WAIT",
  TIME_WAIT: "TIME_WAIT",
  CLOSE: "CLOSE",
};

const STEPS: Readonly<Record<Way, Readonly<Record<Exclude<Kind, "rst">, Steps>>>> = {
  original: {
    syn: {
      NONE: "SYN_SENT",
      SYN_SENT: "SYN_SENT",
      SYN_RECV: "ignored",
      ESTABLISHED: "ignored",
      FIN_WAIT: "ignored",
      CLOSE_WAIT: "ignored",
      LAST_ACK: "ignored",
      TIME_WAIT: "SYN_SENT",
      CLOSE: "SYN_SENT",
      SYN_SENT2: "SYN_SENT2",
    },
    synack: { SYN_RECV: "SYN_RECV", SYN_SENT2: "SYN_RECV" },
    fin: FINS,
    ack: { ...AFTER_FIN, NONE: "ESTABLISHED", SYN_RECV: "ESTABLISHED" },
  },
  reply: {
    syn: { SYN_SENT: "SYN_SENT2", TIME_WAIT: "SYN_SENT", SYN_SENT2: "SYN_SENT2" },
    synack: {
      SYN_SENT: "SYN_RECV",
      SYN_RECV: "ignored",
      ESTABLISHED: "ignored",
      FIN_WAIT: "ignored",
      CLOSE_WAIT: "ignored",
      LAST_ACK: "ignored",
      TIME_WAIT: "ignored",
      CLOSE: "ignored",
      SYN_SENT2: "SYN_RECV",
    },
    fin: FINS,
    ack: { ...AFTER_FIN, SYN_SENT: "ignored", SYN_RECV: "SYN_RECV", SYN_SENT2: "ignored" },
  },
};

function stepOf(way: Way, kind: Kind, from: TcpState): Step {
  if (kind === "rst") return from === "NONE" ? "invalid" : "CLOSE";
  return STEPS[way][kind][from] ?? "invalid";
}

const TIMEOUTS: Readonly<Record<Exclude<TcpState, "NONE">, string>> = {
  SYN_SENT: "tcp_timeout_syn_sent",
  SYN_RECV: "tcp_timeout_syn_recv",
  ESTABLISHED: "tcp_timeout_established",
  FIN_WAIT: "tcp_timeout_fin_wait",
  CLOSE_WAIT: "tcp_timeout_close_wait",
  LAST_ACK: "tcp_timeout_last_ack",
  TIME_WAIT: "tcp_timeout_time_wait",
  CLOSE: "tcp_timeout_close",
  SYN_SENT2: "tcp_timeout_syn_sent",
};

/* ------------------------------------------------ Segments ------------------------------------------------------- */

/** Undefined: flags that no stack sends together. */
function kindOf({ tcpFlags }: Packet): Kind | undefined {
  switch (tcpFlags & ~HARMLESS) {
    case SYN:
    case SYN | URG:
      return "syn";
    case SYN | ACK:
      return "synack";
    case FIN | ACK:
    case FIN | ACK | URG:
      return "fin";
    case ACK:
    case ACK | URG:
      return "ack";
    case RST:
    case RST | ACK:
      return "rst";
    default:
      return undefined;
  }
}

/** Sequence numbers go round: everything is modulo 2^32. */
function u32(value: number): number {
  return value >>> 0;
}

function isBefore(a: number, b: number): boolean {
  return u32(a - b) >= 0x8000_0000;
}

function isAfter(a: number, b: number): boolean {
  return isBefore(b, a);
}

function has({ tcpFlags }: Packet, flag: number): boolean {
  return (tcpFlags & flag) !== 0;
}

/** One past the last number it takes. */
function endOf(packet: Packet): number {
  return u32(packet.sequence + packet.payloadBytes + (has(packet, SYN) ? 1 : 0) + (has(packet, FIN) ? 1 : 0));
}

function nothingSeen(isLiberal: boolean): Seen {
  return {
    end: 0,
    maxEnd: 0,
    maxWindow: 0,
    maxAck: undefined,
    scale: 0,
    saysScale: false,
    closesFirst: false,
    isLiberal,
    hasUnacknowledged: false,
  };
}

/* ------------------------------------------------ The packet ----------------------------------------------------- */

/** A segment that meets its flow, and what it finds there. */
interface Meeting {
  readonly flow: PlainFlow;
  readonly memory: TcpMemory;
  readonly packet: Packet;
  readonly way: Way;
  readonly kind: Kind;
  readonly sysctls: Sysctls;
  readonly nowMs: number;
}

interface Arrival {
  readonly packet: Packet;
  readonly way: Way;
  readonly sysctls: Sysctls;
  readonly nowMs: number;
}

export function ruleTcp(flow: PlainFlow, arrival: Arrival): Ruling {
  const kind = kindOf(arrival.packet);
  if (kind === undefined) return "invalid";
  if (flow.tcp === undefined) {
    const memory = firstMemory(arrival.packet, kind, arrival.sysctls);
    if (memory === undefined) return "invalid";
    flow.tcp = memory;
  }
  const meeting: Meeting = { ...arrival, flow, memory: flow.tcp, kind };
  const { memory, packet, way } = meeting;
  const { last, seen } = memory;
  const from = memory.state;
  const step = stepOf(way, kind, from);

  if (step === "invalid") return "invalid";
  const isLate = step === "SYN_SENT" && (from === "TIME_WAIT" || from === "CLOSE");
  if (isLate) {
    const someoneClosed = seen.original.closesFirst || seen.reply.closesFirst;
    if (someoneClosed || (last.way === way && last.kind === "rst")) return "anew";
  }
  if (isLate || step === "ignored") {
    const answersUnbelieved =
      kind === "synack" && last.kind === "syn" && last.way !== way && u32(packet.acknowledgment) === last.end;
    if (!answersUnbelieved) {
      keepUnbelieved(meeting);
      return "accepted";
    }
    believeLast(memory, way);
    return moveOn(meeting, "SYN_SENT", "SYN_RECV");
  }

  if (from === "LAST_ACK" && step === "TIME_WAIT" && kind === "ack") {
    if (last.way !== way && last.kind === "syn" && last.mayBeChallenged) {
      last.mayBeChallenged = false;
      return "accepted";
    }
  }
  if (step === "SYN_SENT2") memory.isSimultaneous = true;
  if (step === "SYN_RECV" && way === "reply" && kind === "ack" && memory.isSimultaneous) {
    return moveOn(meeting, from, "ESTABLISHED");
  }
  if (kind !== "rst") return moveOn(meeting, from, step);

  switch (judgeReset(meeting)) {
    case "invalid":
      return "invalid";
    case "believed":
      return settle(meeting, from, "CLOSE");
    case "inexact":
      return moveOn(meeting, from, from);
    case "plain":
      return moveOn(meeting, from, "CLOSE");
  }
}

/** tcp_new. Undefined: it cannot begin a flow. */
function firstMemory(packet: Packet, kind: Kind, sysctls: Sysctls): TcpMemory | undefined {
  if (kind !== "syn" && kind !== "ack") return undefined;
  const isMiddle = kind === "ack";
  if (isMiddle && setting(sysctls, "tcp_loose") === 0) return undefined;
  // The scale of a connection picked up in the middle is not known, so its windows mean nothing.
  const original = nothingSeen(isMiddle);
  original.end = endOf(packet);
  original.maxWindow = packet.window === 0 ? 1 : packet.window;
  original.maxEnd = isMiddle ? u32(original.end + original.maxWindow) : original.end;
  if (!isMiddle) readOptions(original, packet);
  return {
    state: "NONE",
    seen: { original, reply: nothingSeen(isMiddle) },
    last: {
      kind: undefined,
      way: "original",
      sequence: 0,
      acknowledgment: 0,
      end: 0,
      window: 0,
      scale: 0,
      saysScale: false,
      mayBeChallenged: false,
    },
    isSimultaneous: false,
    retransmissions: 0,
  };
}

/** tcp_options: without any, nothing is touched. */
function readOptions(side: Seen, { windowScale }: Packet): void {
  if (windowScale === undefined) return;
  side.scale = Math.min(windowScale, 14);
  side.saysScale = true;
  side.maxAck = undefined;
  side.closesFirst = false;
  side.hasUnacknowledged = false;
}

/** A segment that passes although nobody here knows whether it is part of the connection: the answer will tell. */
function keepUnbelieved({ memory, packet, kind, way }: Meeting): void {
  const { last, state } = memory;
  last.kind = kind;
  last.way = way;
  last.sequence = u32(packet.sequence);
  last.end = endOf(packet);
  last.window = packet.window;
  if (kind === "syn" && way === "original") {
    last.saysScale = packet.windowScale !== undefined;
    last.scale = Math.min(packet.windowScale ?? 0, 14);
    last.mayBeChallenged = state === "LAST_ACK";
    memory.isSimultaneous = false; // one of the flags that the kernel clears together
  }
  if (kind === "ack" && way === "reply" && state === "SYN_SENT") last.acknowledgment = u32(packet.acknowledgment);
}

/** The SYN that was kept is answered: its numbers are those of the connection, and of the answerer nothing is known. */
function believeLast(memory: TcpMemory, answerer: Way): void {
  const { last, seen } = memory;
  const opener = seen[otherWay(answerer)];
  opener.end = last.end;
  opener.maxEnd = last.end;
  opener.maxWindow = last.window === 0 ? 1 : last.window;
  opener.scale = last.scale;
  last.mayBeChallenged = false;
  opener.saysScale = last.saysScale;
  opener.maxAck = undefined;
  opener.closesFirst = false;
  opener.isLiberal = false;
  opener.hasUnacknowledged = false;
  Object.assign(seen[answerer], nothingSeen(seen[answerer].isLiberal));
}

type ResetRuling = "plain" | "inexact" | "believed" | "invalid";

function judgeReset({ flow, memory, packet, way, sysctls }: Meeting): ResetRuling {
  const { state, seen, last } = memory;
  const sequence = u32(packet.sequence);
  if (["FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE"].includes(state)) return "believed";
  const acknowledged = seen[otherWay(way)].maxAck;
  if (acknowledged !== undefined && last.kind !== "syn") {
    const isEstablished = state === "ESTABLISHED" && flow.assured;
    if (sequence === 0 && !isEstablished) return "plain";
    if (isBefore(sequence, acknowledged) && setting(sysctls, "tcp_ignore_invalid_rst") === 0) return "invalid";
    if (!isEstablished || sequence === acknowledged) return "plain";
    return last.kind === "ack" && last.way === way && last.end === sequence ? "plain" : "inexact";
  }
  if (u32(packet.acknowledgment) === last.end) {
    if (flow.seenReply && last.kind === "syn" && last.way !== way) return "believed";
    if (!flow.assured && last.kind === "ack") return "believed";
  }
  const isAfterChallenge = state === "SYN_SENT" && last.kind === "ack" && last.way === "reply";
  return isAfterChallenge && sequence === last.acknowledgment ? "believed" : "plain";
}

/** Held to the window, then settled. */
function moveOn(meeting: Meeting, from: TcpState, to: TcpState): Ruling {
  switch (inWindow(meeting)) {
    case "ignored":
      return "accepted";
    case "invalid":
      doubtLife(meeting);
      return "invalid";
    case "fits":
      return settle(meeting, from, to);
  }
}

/** Both sides say FIN or RST out of window: whatever this was, it need not live for days. */
function doubtLife({ flow, memory, kind, way, sysctls, nowMs }: Meeting): void {
  const { last } = memory;
  if (!flow.assured || (kind !== "rst" && kind !== "fin")) return;
  if (last.way === way || (last.kind !== "fin" && last.kind !== "rst")) {
    last.kind = kind;
    last.way = way;
    return;
  }
  const leftMs = flow.diesAtMs - nowMs;
  const seconds = setting(sysctls, "tcp_timeout_unacknowledged");
  if (leftMs >= 120_000 && leftMs > seconds * 1000) live(flow, seconds, nowMs);
}

/** The segment counts: state and lifetime follow. */
function settle({ flow, memory, kind, way, sysctls, nowMs }: Meeting, from: TcpState, to: TcpState): Ruling {
  const { last, seen } = memory;
  last.kind = kind;
  last.way = way;
  memory.state = to;
  if (from !== to && to === "FIN_WAIT") seen[way].closesFirst = true;

  const ofState = to === "NONE" ? 0 : setting(sysctls, TIMEOUTS[to]);
  const whenDeaf = setting(sysctls, "tcp_timeout_max_retrans");
  const whenUnheard = setting(sysctls, "tcp_timeout_unacknowledged");
  const isUnheard = seen.original.hasUnacknowledged || seen.reply.hasUnacknowledged;
  let seconds = ofState;
  if (memory.retransmissions >= setting(sysctls, "tcp_max_retrans") && ofState > whenDeaf) seconds = whenDeaf;
  else if (kind === "rst") seconds = setting(sysctls, "tcp_timeout_close");
  else if (isUnheard && ofState > whenUnheard) seconds = whenUnheard;
  else if (last.window === 0 && ofState > whenDeaf) seconds = whenDeaf;

  if (!flow.seenReply) {
    if (kind === "rst") return "ended";
    if (kind === "syn" && from === "SYN_SENT") return "accepted";
    if (to === "ESTABLISHED") seconds = Math.min(seconds, whenUnheard);
  } else if (!flow.assured && to === "ESTABLISHED" && (from === "SYN_RECV" || from === "ESTABLISHED")) {
    flow.assured = true;
  }
  live(flow, seconds, nowMs);
  return "accepted";
}

/* ------------------------------------------------ The window ----------------------------------------------------- */

type Fit = "fits" | "ignored" | "invalid";

/** tcp_in_window. */
function inWindow({ memory, packet, way, kind, sysctls }: Meeting): Fit {
  const { state, seen, last } = memory;
  const sender = seen[way];
  const receiver = seen[otherWay(way)];
  let sequence = u32(packet.sequence);
  let acknowledgment = u32(packet.acknowledgment);
  let end = endOf(packet);
  const saysAck = has(packet, ACK);

  if (sender.maxWindow === 0) {
    if (has(packet, SYN)) {
      beginSender(memory, packet, way);
      if (!saysAck) return "fits";
    } else {
      sender.end = end;
      sender.maxWindow = u32(packet.window << sender.scale) || 1;
      sender.maxEnd = u32(end + sender.maxWindow);
      if (receiver.maxWindow === 0) receiver.end = receiver.maxEnd = acknowledgment;
      else if (acknowledgment === u32(receiver.end + 1)) receiver.end = acknowledgment;
    }
  } else if (has(packet, SYN) && isAfter(end, sender.end) && (state === "SYN_SENT" || state === "SYN_RECV")) {
    beginSender(memory, packet, way);
    if (way === "reply" && !saysAck) return "fits";
  }

  if (!saysAck || (has(packet, RST) && acknowledgment === 0)) acknowledgment = receiver.end;
  if (has(packet, RST) && sequence === 0 && state === "SYN_SENT") sequence = end = sender.end;

  const misfit = (what: Fit): Fit => (sender.isLiberal || setting(sysctls, "tcp_be_liberal") === 1 ? "fits" : what);
  const isRecentAck = isAfter(acknowledgment, u32(receiver.end - Math.max(sender.maxWindow, 66_000) - 1));
  const isSeenAck = isBefore(acknowledgment, u32(receiver.end + 1));
  const isRecentData = isAfter(end, u32(sender.end - receiver.maxWindow - 1));
  if (!isBefore(sequence, u32(sender.maxEnd + 1))) {
    const overshot = u32(end - sender.maxEnd + 1);
    const isAlmost = receiver.maxWindow !== 0 && isRecentData && isRecentAck && isSeenAck;
    if (!isAlmost || overshot > receiver.maxWindow) return misfit("invalid");
    sender.end = end;
    sender.hasUnacknowledged = true;
    return misfit("ignored");
  }
  if (!isSeenAck) return misfit("invalid");
  if (receiver.maxWindow !== 0 && !isRecentData) return misfit("ignored");
  if (!isRecentAck) return misfit("ignored");

  const window = has(packet, SYN) ? packet.window : u32(packet.window << sender.scale);
  sender.maxWindow = Math.max(sender.maxWindow, window);
  if (isAfter(end, sender.end)) {
    sender.end = end;
    sender.hasUnacknowledged = true;
  }
  if (saysAck && (sender.maxAck === undefined || isAfter(acknowledgment, sender.maxAck)))
    sender.maxAck = acknowledgment;
  if (receiver.maxWindow !== 0 && isAfter(end, sender.maxEnd)) {
    receiver.maxWindow = u32(receiver.maxWindow + end - sender.maxEnd);
  }
  const room = u32(acknowledgment + window);
  if (isAfter(room, u32(receiver.maxEnd - 1))) receiver.maxEnd = window === 0 ? u32(room + 1) : room;
  if (acknowledgment === receiver.end) receiver.hasUnacknowledged = false;

  if (kind === "ack") {
    const isRepeated =
      last.way === way &&
      last.sequence === sequence &&
      last.acknowledgment === acknowledgment &&
      last.end === end &&
      last.window === packet.window;
    memory.retransmissions = isRepeated ? (memory.retransmissions + 1) % 256 : 0;
    Object.assign(last, { way, sequence, acknowledgment, end, window: packet.window });
  }
  return "fits";
}

/** tcp_init_sender: the first SYN of this side, or a new one. */
function beginSender({ seen }: TcpMemory, packet: Packet, way: Way): void {
  const sender = seen[way];
  sender.end = sender.maxEnd = endOf(packet);
  sender.maxWindow = packet.window === 0 ? 1 : packet.window;
  readOptions(sender, packet);
  if (way === "reply" && !(seen.original.saysScale && seen.reply.saysScale)) {
    seen.original.scale = 0;
    seen.reply.scale = 0;
  }
}
