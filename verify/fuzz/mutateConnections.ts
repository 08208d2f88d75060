/**
 * A conversation a little different: a packet more, less or elsewhere, one number of one of them beside what it was, another
 * pause. Kept ones have been somewhere that none had been before, so that what lies beside them is met by few draws.
 */
import type { Packet } from "../../dataplane/packet.ts";
import { PROTOCOL, SCTP_CHUNK, TCP_FLAG } from "../../dataplane/packet.ts";
import type { Random } from "../kernel/random.ts";
import type { ConnectionCase } from "./connectionFile.ts";
import { CONNTRACK_SETTINGS } from "./connections.ts";
import { type ConnectionStep, GAPS } from "./conversations.ts";

/** Longer ones are cut: each draw of a long one costs as much as several short ones. */
const MOST_STEPS = 120;

/** One to four changes, often with the end of `other` behind a beginning. */
export function mutateConnections(kept: ConnectionCase, other: ConnectionCase, random: Random): ConnectionCase {
  let { steps } = kept;
  if (random.oneIn(2)) steps = spliced(steps, other.steps, random);
  for (let count = 1 + random.below(4); count > 0; count--) steps = random.pick(CHANGES)(steps, random);
  const setting = kept.held === "table" && random.oneIn(12) ? random.pick(CONNTRACK_SETTINGS) : kept.setting;
  return { ...kept, setting, steps: inOrder(steps.slice(0, MOST_STEPS)) };
}

type Change = (steps: readonly ConnectionStep[], random: Random) => readonly ConnectionStep[];

const CHANGES: readonly Change[] = [
  (steps, random) => (steps.length < 2 ? steps : steps.toSpliced(random.below(steps.length), 1)),
  // Again, right behind itself or later.
  (steps, random) => {
    const at = random.below(steps.length);
    return steps.toSpliced(at + 1 + random.below(steps.length - at), 0, ...steps.slice(at, at + 1));
  },
  // Before the one it came behind.
  (steps, random) => {
    const at = random.below(steps.length - 1);
    return steps.toSpliced(at, 2, ...steps.slice(at, at + 2).reverse());
  },
  changePacket(pausedBefore),
  changePacket(otherNumbers),
  changePacket(otherNumbers),
  changePacket((packet, random) => ({ ...packet, tcpFlags: packet.tcpFlags ^ random.pick(FLAG_BITS) })),
  changePacket((packet, random) =>
    packet.protocol === PROTOCOL.sctp ? { ...packet, sctpChunk: random.pick(CHUNKS) } : packet,
  ),
  changePacket((packet, random) => ({ ...packet, payloadBytes: random.pick([0, 1, 1460]) })),
  changeStep((step) => ({ ...step, isDropped: !step.isDropped })),
  changeStep((step, random) => ({ ...step, zone: step.zone === 0 ? random.pick([0, 1]) : 0 })),
];

const FLAG_BITS = Object.values(TCP_FLAG);
const CHUNKS = Object.values(SCTP_CHUNK);

function changeStep(change: (step: ConnectionStep, random: Random) => ConnectionStep): Change {
  return (steps, random) => {
    const at = random.below(steps.length);
    const step = steps[at];
    return step === undefined ? steps : steps.with(at, change(step, random));
  };
}

function changePacket(change: (packet: Packet, random: Random) => Packet): Change {
  return changeStep((step, random) => ({ ...step, packet: change(step.packet, random) }));
}

/** Those behind it come no earlier (`inOrder`), so that a pause is a pause for all. */
function pausedBefore(packet: Packet, random: Random): Packet {
  return delayed(packet, Math.round(random.pick(GAPS) * 1000) + random.pick([-1, 0, 1]));
}

/** Of a segment its place or its window, of other packets their tag: a little beside, or half of all numbers away. */
function otherNumbers(packet: Packet, random: Random): Packet {
  const beside = random.pick([
    -1,
    1,
    -packet.payloadBytes,
    packet.payloadBytes,
    packet.window,
    -packet.window,
    2 ** 31,
  ]);
  switch (packet.protocol === PROTOCOL.sctp ? 3 : random.below(3)) {
    case 0:
      return { ...packet, sequence: (packet.sequence + beside) >>> 0 };
    case 1:
      return { ...packet, acknowledgment: (packet.acknowledgment + beside) >>> 0 };
    case 2:
      return { ...packet, window: random.pick([0, 1, 100, 8192, 65_535]) };
    default:
      return { ...packet, verificationTag: random.pick([0, packet.sequence, (packet.verificationTag + beside) >>> 0]) };
  }
}

/** The second goes on at the time at which the first has come to. */
function spliced(
  steps: readonly ConnectionStep[],
  others: readonly ConnectionStep[],
  random: Random,
): readonly ConnectionStep[] {
  const beginning = steps.slice(0, 1 + random.below(steps.length));
  const end = others.slice(random.below(others.length));
  const [last, first] = [beginning.at(-1), end[0]];
  if (last === undefined || first === undefined) return steps;
  const delayMs = msOf(last.packet) - msOf(first.packet);
  return [...beginning, ...end.map((step) => ({ ...step, packet: delayed(step.packet, delayMs) }))];
}

/** Time goes on from packet to packet: one that would come before its predecessor comes with it, and all behind it later. */
function inOrder(steps: readonly ConnectionStep[]): readonly ConnectionStep[] {
  let delayMs = 0;
  let nowMs = 0;
  return steps.map((step) => {
    delayMs = Math.max(delayMs, nowMs - msOf(step.packet));
    nowMs = msOf(step.packet) + delayMs;
    return { ...step, packet: delayed(step.packet, delayMs) };
  });
}

/** Whole milliseconds, as the tracker counts: sums of seconds would end in digits that no file needs. */
function delayed(packet: Packet, ms: number): Packet {
  return ms === 0 ? packet : { ...packet, time: (msOf(packet) + ms) / 1000 };
}

function msOf({ time }: Packet): number {
  return Math.round(time * 1000);
}
