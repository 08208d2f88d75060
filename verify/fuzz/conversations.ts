/**
 * Random conversations between two ends: often a proper opening, then packets that may or may not make sense. Numbers
 * lie on and beside the bounds that conntrack keeps, because a wrong bound shows nowhere else; so do times (`inTime`).
 */
import { type Family, type IpAddress, parseAddress } from "../../dataplane/address.ts";
import { type FiveTuple, makePacket, type Packet, PROTOCOL, SCTP_CHUNK, TCP_FLAG } from "../../dataplane/packet.ts";
import type { Random } from "../kernel/random.ts";

export type ConversationKind = "tcp" | "sctp" | "datagram" | "icmp";

export const CONVERSATION_KINDS: readonly ConversationKind[] = ["tcp", "sctp", "datagram", "icmp"];

/** A packet, and what becomes of it after it was looked up. */
export interface ConnectionStep {
  readonly packet: Packet;
  readonly zone: number;
  readonly isDropped: boolean;
}

/** Client, server and the routers on their way, each on the client's and the server's side of the node. */
export const ENDS = {
  4: { client: known("10.0.0.1"), server: known("10.1.0.1"), near: known("10.0.9.9"), far: known("10.1.9.9") },
  6: { client: known("fd00::1"), server: known("fd00:1::1"), near: known("fd00::99"), far: known("fd00:1::99") },
} as const;

function known(text: string): IpAddress {
  const address = parseAddress(text);
  if (address === undefined) throw new Error(`not an address: ${text}`);
  return address;
}

/** A conversation that shares its entry with none of another number below 60,000. */
export function drawConversation(random: Random, kind: ConversationKind, number: number): ConnectionStep[] {
  const family: Family = random.oneIn(4) ? 6 : 4;
  const draw: Draw = { random, family, number, dropOneIn: random.pick([0, 0, 5]) };
  switch (kind) {
    case "tcp":
      return drawTcp(draw);
    case "sctp":
      return drawSctp(draw);
    case "datagram":
      return drawDatagrams(draw);
    case "icmp":
      return drawMessages(draw);
  }
}

interface Draw {
  readonly random: Random;
  readonly family: Family;
  readonly number: number;
  /** 0: no packet is dropped. */
  readonly dropOneIn: number;
}

/** 0: from the client, 1: from the server. */
type From = 0 | 1;

function step(draw: Draw, packet: Packet, zone = 0): ConnectionStep {
  return { packet, zone, isDropped: draw.dropOneIn > 0 && draw.random.oneIn(draw.dropOneIn) };
}

/** A tuple whose client port is the conversation's number. */
function portTuple({ family, number }: Draw, protocol: number, from: From): FiveTuple {
  const { client, server } = ENDS[family];
  const port = 1024 + number;
  return from === 0
    ? { protocol, source: client, destination: server, sourcePort: port, destinationPort: 80 }
    : { protocol, source: server, destination: client, sourcePort: 80, destinationPort: port };
}

/** A tuple whose client address holds the conversation's number. */
function addressTuple({ family, number }: Draw, protocol: number, from: From): FiveTuple {
  const { client, server } = ENDS[family];
  const words = client.words.map((word, index) => (index === client.words.length - 1 ? word + 1 + number : word));
  const own: IpAddress = { family, words };
  const [source, destination] = from === 0 ? [own, server] : [server, own];
  return { protocol, source, destination, sourcePort: 0, destinationPort: 0 };
}

/* -------------------------------------------------------- TCP ----------------------------------------------------- */

const TWO_TO_32 = 2 ** 32;

const OPENINGS: readonly (readonly (readonly [From, string])[])[] = [
  [
    [0, "S"],
    [1, "SA"],
    [0, "A"],
  ],
  [
    [0, "S"],
    [1, "SA"],
    [0, "A"],
  ],
  [
    [0, "S"],
    [1, "S"],
    [0, "SA"],
    [1, "A"],
  ],
  [
    [0, "S"],
    [1, "S"],
    [1, "SA"],
    [0, "A"],
  ],
  [
    [0, "S"],
    [1, "SA"],
    [0, "A"],
    [0, "FA"],
    [1, "FA"],
    [0, "A"],
  ],
  [],
];

const ANY_FLAGS = "S S S SA SA SA A A A A PA PA FA FA R RA R AU SU SFA F - FPU SAEC SEC RAU FAU SR".split(" ");

interface Side {
  isn: number;
  /** Next sequence number, as a well-behaved stack would count. */
  next: number;
  window: number;
}

function drawTcp(draw: Draw): ConnectionStep[] {
  const { random } = draw;
  const any32 = () => random.next();
  const sides: [Side, Side] = [
    newSide(random.pick([0, 1, 1000, 0xfffffff0, any32(), any32()])),
    newSide(random.pick([0, 5, 0x7ffffff0, any32(), any32()])),
  ];
  const opening = random.pick(OPENINGS);
  const tidiness = random.below(10);
  const steps: ConnectionStep[] = [];
  const count = 3 + random.below(25);
  while (steps.length < count) {
    if (steps.length > 0 && random.oneIn(8)) {
      steps.push({ ...random.pick(steps), isDropped: false }); // a retransmission
      continue;
    }
    const planned = random.oneIn(20) ? undefined : opening[steps.length];
    const [from, flags] = planned ?? [random.pick([0, 1] as const), random.pick(ANY_FLAGS)];
    steps.push(step(draw, segment(draw, { from, flags, sides, isTidy: random.below(15) < 5 + tidiness })));
  }
  return steps;
}

function newSide(isn: number): Side {
  return { isn, next: isn, window: 65_535 };
}

interface SegmentPlan {
  readonly from: From;
  readonly flags: string;
  readonly sides: readonly [Side, Side];
  readonly isTidy: boolean;
}

function segment(draw: Draw, { from, flags, sides, isTidy }: SegmentPlan): Packet {
  const { random } = draw;
  const sender = sides[from];
  const receiver = sides[from === 0 ? 1 : 0];
  const isSyn = flags.includes("S");
  const payloadBytes = isSyn ? (random.oneIn(20) ? 10 : 0) : random.pick([0, 0, 0, 1, 100, 1460]);
  const sequence = isTidy
    ? sender.next
    : random.pick(oddSequences(random, sender, receiver).map((odd) => odd - payloadBytes * random.below(2)));
  const acknowledgment = isTidy ? receiver.next : random.pick(oddAcknowledgments(random, receiver));
  const window = random.oneIn(3) ? random.pick([0, 1, 100, 65_535, 8192, 30_000]) : sender.window;
  if (window > 0) sender.window = window;
  if (isSyn && !isTidy && random.oneIn(3)) sender.isn = random.next();
  const length = payloadBytes + Number(isSyn) + Number(flags.includes("F"));
  if (isTidy || random.oneIn(3)) sender.next = (sequence + length) % TWO_TO_32;
  return makePacket({
    ...portTuple(draw, PROTOCOL.tcp, from),
    tcpFlags: flagsOf(flags),
    sequence: unsigned(sequence),
    acknowledgment: unsigned(acknowledgment),
    window,
    payloadBytes,
    ...(isSyn && random.oneIn(3) && { windowScale: random.pick([0, 3, 7, 14, 15]) }),
  });
}

function oddSequences(random: Random, { next, isn }: Side, receiver: Side): number[] {
  const { window } = receiver;
  return [
    next,
    next - 1,
    next + 1,
    isn,
    next + window,
    next + window + 1,
    next + 2 * window,
    next - window,
    next - window - 1,
    next - 66_000,
    next + 2 ** 31,
    receiver.next,
    0,
    random.next(),
  ];
}

function oddAcknowledgments(random: Random, { next, isn }: Side): number[] {
  return [
    next,
    next + 1,
    next - 1,
    isn,
    isn + 1,
    next - 65_999,
    next - 66_000,
    next - 66_001,
    next - 66_002,
    next + 1460,
    next + 65_535,
    next - 2 ** 31,
    0,
    random.next(),
  ];
}

function unsigned(value: number): number {
  return ((value % TWO_TO_32) + TWO_TO_32) % TWO_TO_32;
}

function flagsOf(letters: string): number {
  let flags = 0;
  for (const letter of letters.replace("-", "")) flags |= TCP_FLAG[letter as keyof typeof TCP_FLAG];
  return flags;
}

/* -------------------------------------------------------- SCTP ---------------------------------------------------- */

const ASSOCIATION: readonly (readonly [From, number])[] = [
  [0, SCTP_CHUNK.INIT],
  [1, SCTP_CHUNK.INIT_ACK],
  [0, SCTP_CHUNK.COOKIE_ECHO],
  [1, SCTP_CHUNK.COOKIE_ACK],
];
const SHUTDOWN: readonly (readonly [From, number])[] = [
  [0, SCTP_CHUNK.SHUTDOWN],
  [1, SCTP_CHUNK.SHUTDOWN_ACK],
  [0, SCTP_CHUNK.SHUTDOWN_COMPLETE],
];
const UNKNOWN_CHUNK = 64;

function drawSctp(draw: Draw): ConnectionStep[] {
  const { random } = draw;
  const tags: [number, number] = random.oneIn(2)
    ? [random.below(3), 10 + random.below(3)]
    : [random.next(), random.next()];
  const opening = random.pick([[], ASSOCIATION, [...ASSOCIATION, ...SHUTDOWN]]);
  const chunks = [...Object.values(SCTP_CHUNK), UNKNOWN_CHUNK];
  const steps: ConnectionStep[] = [];
  const count = 2 + random.below(16);
  while (steps.length < count) {
    const planned = random.oneIn(15) ? undefined : opening[steps.length];
    const [from, sctpChunk] = planned ?? [random.pick([0, 1] as const), random.pick(chunks)];
    const asksForTag = sctpChunk === SCTP_CHUNK.INIT || sctpChunk === SCTP_CHUNK.INIT_ACK;
    const other = tags[from === 0 ? 1 : 0];
    const asked = random.oneIn(7) ? random.pick([0, random.next(), other]) : tags[from];
    const proper = sctpChunk === SCTP_CHUNK.INIT ? 0 : other;
    const verificationTag = random.oneIn(7) ? random.pick([0, tags[from], other, random.next()]) : proper;
    if (asksForTag && random.oneIn(5)) tags[from] = asked;
    steps.push(
      step(
        draw,
        makePacket({
          ...portTuple(draw, PROTOCOL.sctp, from),
          sctpChunk,
          verificationTag,
          sequence: asksForTag ? asked : 0,
          payloadBytes: sctpChunk === SCTP_CHUNK.DATA ? 4 : 0,
        }),
      ),
    );
  }
  return steps;
}

/* -------------------------------------------------- UDP and the rest ---------------------------------------------- */

const UNKNOWN_PROTOCOL = 99;

function drawDatagrams(draw: Draw): ConnectionStep[] {
  const { random } = draw;
  const protocol = random.pick([
    PROTOCOL.udp,
    PROTOCOL.udp,
    PROTOCOL.udplite,
    PROTOCOL.gre,
    PROTOCOL.dccp,
    PROTOCOL.esp,
    UNKNOWN_PROTOCOL,
  ]);
  const hasOwnPort = protocol === PROTOCOL.udp || protocol === PROTOCOL.udplite;
  return Array.from({ length: 2 + random.below(9) }, () => {
    const from = random.pick([0, 1] as const);
    const tuple = hasOwnPort ? portTuple(draw, protocol, from) : addressTuple(draw, protocol, from);
    const zone = random.oneIn(3) ? random.pick([1, 2]) : 0;
    if (random.oneIn(5) && protocol !== PROTOCOL.dccp) return step(draw, errorAbout(draw, tuple, 0), zone);
    return step(draw, makePacket({ ...tuple, payloadBytes: random.below(100) }), zone);
  });
}

/* -------------------------------------------------------- ICMP ---------------------------------------------------- */

const MESSAGES = { 4: [13, 14, 15, 16, 17, 18, 9, 10, 6, 7, 1, 2, 19, 30, 42], 6: range(128, 145) } as const;
const ECHO = { 4: [8, 8, 0], 6: [128, 128, 129] } as const;
/** Types whose identifier a packet carries (the others have something else in its place, and packets here nothing). */
const WITH_IDENTIFIER: ReadonlySet<number> = new Set([0, 8, 13, 14, 15, 16, 17, 18, 128, 129]);

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, index) => from + index);
}

function drawMessages(draw: Draw): ConnectionStep[] {
  const { random, family } = draw;
  const own = family === 4 ? PROTOCOL.icmp : PROTOCOL.icmpv6;
  const foreign = family === 4 ? PROTOCOL.icmpv6 : PROTOCOL.icmp;
  return Array.from({ length: 2 + random.below(9) }, () => {
    const tuple = addressTuple(draw, random.oneIn(20) ? foreign : own, random.pick([0, 1] as const));
    const zone = random.oneIn(5) ? 1 : 0;
    const id = random.pick([7, 7, 7, 8]);
    if (random.oneIn(5)) return step(draw, errorAbout(draw, tuple, id), zone);
    const icmpType = random.oneIn(3) ? random.pick(MESSAGES[family]) : random.pick(ECHO[family]);
    const icmpId = WITH_IDENTIFIER.has(icmpType) ? id : 0;
    return step(draw, makePacket({ ...tuple, icmpType, icmpCode: random.oneIn(10) ? 1 : 0, icmpId }), zone);
  });
}

/** An error that quotes a packet of the tuple, mostly to whoever sent that, from there or from a router. */
function errorAbout(draw: Draw, quoted: FiveTuple, icmpId: number): Packet {
  const { random, family } = draw;
  const { near, far } = ENDS[family];
  const destination = random.oneIn(5) ? quoted.destination : quoted.source;
  const other = destination === quoted.source ? quoted.destination : quoted.source;
  const router = isServerSide(destination) ? near : far;
  return makePacket({
    protocol: family === 4 ? PROTOCOL.icmp : PROTOCOL.icmpv6,
    source: random.oneIn(2) ? router : other,
    destination,
    icmpType: random.pick(family === 4 ? [3, 4, 5, 11, 12] : [1, 2, 3, 4, 100]),
    icmpCode: random.below(2),
    icmpId,
    quoted,
  });
}

function isServerSide({ family, words }: IpAddress): boolean {
  return (((words[0] ?? 0) >>> (family === 4 ? 16 : 0)) & 1) === 1;
}

/* ------------------------------------------------------ Together ------------------------------------------------- */

/** Packets of all conversations, each conversation in its order; every step with the number of its conversation. */
export function mixed(
  random: Random,
  conversations: readonly (readonly ConnectionStep[])[],
): { readonly step: ConnectionStep; readonly conversation: number }[] {
  const order = conversations.flatMap((steps, conversation) => steps.map(() => conversation));
  for (let index = order.length - 1; index > 0; index--) {
    const other = random.below(index + 1);
    [order[index], order[other]] = [order[other] ?? 0, order[index] ?? 0];
  }
  const positions = conversations.map(() => 0);
  return order.flatMap((conversation) => {
    const position = positions[conversation] ?? 0;
    positions[conversation] = position + 1;
    const step = conversations[conversation]?.[position];
    return step === undefined ? [] : [{ step, conversation }];
  });
}

/** Seconds between two packets: mostly none, else a timeout of some state, and a little less or more. */
export const GAPS = [0.02, 0.5, 2, 3, 10, 30, 60, 120, 180, 210, 300, 600, 432_000];
const BESIDE = [0, -0.001, 0.001];

/** The steps with time passing between them. */
export function inTime(random: Random, steps: readonly ConnectionStep[]): ConnectionStep[] {
  const rarely = random.pick([2, 6, 20]);
  let timeMs = random.below(5_000);
  return steps.map((step) => {
    if (random.oneIn(rarely)) timeMs += Math.round((random.pick(GAPS) + random.pick(BESIDE)) * 1000);
    return { ...step, packet: { ...step.packet, time: timeMs / 1000 } };
  });
}
