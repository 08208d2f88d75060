/** Sessions: what two ends say to each other, and many of them woven into one stream in order of time. */
import type { IpAddress } from "../../dataplane/address.ts";
import type { Packet } from "../../dataplane/packet.ts";
import { type Conversation, converse, type Ends, otherSide, SEGMENT_BYTES, type Sender } from "../conversation.ts";
import { TimeQueue } from "../timeQueue.ts";

/** Who takes part: a pod, or anything else with an address. */
export interface TrafficEnd {
  /** For people: `namespace/pod`, or the address. */
  readonly name: string;
  /** Of either family, the preferred one first. */
  readonly addresses: readonly IpAddress[];
}

export interface Port {
  /** IANA number. */
  readonly protocol: number;
  readonly port: number;
}

/** The addresses over which two ends can talk: of one family. Undefined: there is none. */
export function linkOf(from: TrafficEnd, to: TrafficEnd): Pick<Ends, "source" | "destination"> | undefined {
  for (const source of from.addresses) {
    const destination = to.addresses.find(({ family }) => family === source.family);
    if (destination !== undefined) return { source, destination };
  }
  return undefined;
}

const FIRST_PORT = 32_768;
const PORT_COUNT = 28_232;

/** Source ports as Linux hands them out: of its ephemeral range, each end's own. One after the other, so that none comes soon again. */
export class SourcePorts {
  readonly #used = new Map<string, number>();

  next({ name }: TrafficEnd): number {
    const used = this.#used.get(name) ?? 0;
    this.#used.set(name, used + 1);
    return FIRST_PORT + (used % PORT_COUNT);
  }
}

/** Packets that belong together, in order of time; none before `start`. */
export interface Session {
  readonly start: number;
  readonly packets: readonly Packet[];
}

/**
 * Weaves sessions into one stream. `sessions` come in order of their starts; held are the packets of those that overlap.
 */
export function* weave(sessions: Iterable<Session>): Generator<Packet> {
  const waiting = new TimeQueue<Packet>();
  for (const { start, packets } of sessions) {
    yield* until(waiting, start);
    for (const packet of packets) {
      const time = toMicroseconds(packet.time);
      waiting.push({ ...packet, time }, time);
    }
  }
  yield* until(waiting, Number.POSITIVE_INFINITY);
}

/** Seconds to a whole microsecond, so that text and captures have the same time. */
export function toMicroseconds(time: number): number {
  return Math.round(time * 1e6) / 1e6;
}

function* until(waiting: TimeQueue<Packet>, time: number): Generator<Packet> {
  for (let next = waiting.nextTime; next !== undefined && next <= time; next = waiting.nextTime) {
    const packet = waiting.pop();
    if (packet !== undefined) yield packet;
  }
}

/** A message of one side, cut into segments. */
export function message(conversation: Conversation, sender: Sender, options: MessageOptions): readonly Packet[] {
  const { time, bytes } = options;
  const packets: Packet[] = [];
  let at = time;
  let segments = 0;
  for (let sent = 0; sent < bytes || segments === 0; sent += SEGMENT_BYTES) {
    packets.push(conversation.data(sender, at, Math.min(SEGMENT_BYTES, bytes - sent)));
    at += SEGMENT_SECONDS;
    segments++;
    // Without acknowledgments a long message would leave the window, and with it connection tracking's good opinion.
    if (!conversation.opensWithData && segments % SEGMENTS_PER_ACK === 0 && sent + SEGMENT_BYTES < bytes) {
      packets.push(conversation.keep(otherSide(sender), at));
    }
  }
  return packets;
}

/** 17 KB, well inside the first window of 64 KB. */
const SEGMENTS_PER_ACK = 12;

export interface MessageOptions {
  readonly time: number;
  readonly bytes: number;
}

/** A full segment at 1 Gbit/s. */
const SEGMENT_SECONDS = 12e-6;

/** Within a data centre. */
export const ROUND_TRIP_SECONDS = 0.0002;

export interface ExchangeOptions {
  readonly start: number;
  readonly port: Port;
  readonly sourcePort: number;
  /** For sequence numbers. */
  readonly seed: number;
  readonly requestBytes: number;
  readonly responseBytes: number;
}

/**
 * One connection with one request and its response: handshake, data both ways, close. `answer` says when the answer to a
 * request that arrived at `asked` is sent.
 */
export function exchangeOnce(
  link: Pick<Ends, "source" | "destination">,
  options: ExchangeOptions,
  answer: (asked: number) => number = (asked) => asked,
): Session {
  const { start, port, sourcePort, seed, requestBytes, responseBytes } = options;
  const conversation = converse(port.protocol, { ...link, sourcePort, destinationPort: port.port }, seed);
  const packets: Packet[] = [];
  const lastTime = () => packets.at(-1)?.time ?? start;
  if (!conversation.opensWithData) packets.push(...conversation.handshake(start, ROUND_TRIP_SECONDS));
  packets.push(...message(conversation, "source", { time: lastTime(), bytes: requestBytes }));
  const time = answer(lastTime() + ROUND_TRIP_SECONDS / 2);
  packets.push(...message(conversation, "destination", { time, bytes: responseBytes }));
  packets.push(...conversation.close("source", lastTime() + ROUND_TRIP_SECONDS / 2, ROUND_TRIP_SECONDS));
  return { start, packets };
}
