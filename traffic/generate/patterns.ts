/** Traffic of a given shape between given ends: each pattern is a function of its options, seed included. */
import type { IpAddress } from "../../dataplane/address.ts";
import { makePacket, type Packet, PROTOCOL } from "../../dataplane/packet.ts";
import { converse } from "../conversation.ts";
import { SeededRandom } from "./random.ts";
import {
  exchangeOnce,
  linkOf,
  message,
  type Port,
  ROUND_TRIP_SECONDS,
  type Session,
  SourcePorts,
  type TrafficEnd,
  toMicroseconds,
  weave,
} from "./sessions.ts";

export const PATTERNS = {
  "all-pairs": "one connection between every two ends, on every port",
  poisson: "connections at random times (exponential gaps), every pair as likely",
  zipf: "as poisson, but few pairs have most of the connections",
  scan: "one end tries every port of every other end, without an answer",
  "syn-flood": "SYNs from ever new outside addresses to one end",
  idle: "TCP connections that stay open for hours and say little",
} as const;

export type PatternName = keyof typeof PATTERNS;

export interface PatternOptions {
  /** Who opens connections, and to whom. */
  readonly sources: readonly TrafficEnd[];
  readonly destinations: readonly TrafficEnd[];
  readonly ports: readonly Port[];
  readonly seed: number;
  /** Time of the first packet, seconds since the epoch. */
  readonly start: number;
  /** Connections (packets of a scan or a flood); all-pairs and scan take all when undefined. */
  readonly count: number | undefined;
  /** Connections a second. */
  readonly rate: number;
}

const DEFAULT_COUNT = 1000;
const REQUEST_BYTES = 200;
const RESPONSE_BYTES = 1200;

/** The packets of a pattern, in order of time, made as they are asked for. */
export function generatePattern(name: PatternName, options: PatternOptions): Generator<Packet> {
  switch (name) {
    case "all-pairs":
      return weave(allPairs(options));
    case "poisson":
      return weave(arrivals(options, (pairs, random) => random.pick(pairs)));
    case "zipf":
      return weave(zipf(options));
    case "scan":
      return scan(options);
    case "syn-flood":
      return synFlood(options);
    case "idle":
      return weave(idle(options));
  }
}

interface Pair {
  readonly from: TrafficEnd;
  readonly to: TrafficEnd;
  readonly port: Port;
}

/** Every two different ends that have a family in common, on every port. */
function pairsOf({ sources, destinations, ports }: PatternOptions): readonly Pair[] {
  return sources.flatMap((from) =>
    destinations
      .filter((to) => to.name !== from.name && linkOf(from, to) !== undefined)
      .flatMap((to) => ports.map((port) => ({ from, to, port }))),
  );
}

function sessionOf({ from, to, port }: Pair, options: { start: number; seed: number; ports: SourcePorts }): Session {
  const link = linkOf(from, to);
  if (link === undefined) throw new Error(`${from.name} and ${to.name} have no address family in common`);
  const { start, seed, ports } = options;
  const sizes = { requestBytes: REQUEST_BYTES, responseBytes: RESPONSE_BYTES };
  return exchangeOnce(link, { start, port, sourcePort: ports.next(from), seed, ...sizes });
}

function* allPairs(options: PatternOptions): Generator<Session> {
  const ports = new SourcePorts();
  const pairs = pairsOf(options);
  for (const [index, pair] of pairs.slice(0, options.count ?? pairs.length).entries()) {
    yield sessionOf(pair, { start: options.start + index / options.rate, seed: options.seed + index, ports });
  }
}

function* arrivals(
  options: PatternOptions,
  choose: (pairs: readonly Pair[], random: SeededRandom) => Pair,
): Generator<Session> {
  const random = new SeededRandom(options.seed);
  const ports = new SourcePorts();
  const pairs = pairsOf(options);
  if (pairs.length === 0) return;
  let start = options.start;
  for (let index = 0; index < (options.count ?? DEFAULT_COUNT); index++) {
    yield sessionOf(choose(pairs, random), { start, seed: options.seed + index, ports });
    start += random.gap(options.rate);
  }
}

/** Exponent of Zipf's law; near 1 is what request traces show. */
const ZIPF_EXPONENT = 1.1;

/** The k-th pair of a shuffled order is asked for with weight 1/k^1.1. */
function zipf(options: PatternOptions): Generator<Session> {
  const pairs = shuffled(pairsOf(options), new SeededRandom(options.seed ^ 0x5a1f));
  const sums = new Float64Array(pairs.length);
  let sum = 0;
  for (let rank = 0; rank < pairs.length; rank++) {
    sum += (rank + 1) ** -ZIPF_EXPONENT;
    sums[rank] = sum;
  }
  return arrivals(options, (_, random) => {
    const rank = firstAtLeast(sums, random.fraction() * sum);
    return pairs[rank] ?? random.pick(pairs);
  });
}

/** Index of the first of ascending `sums` that is at least `value`. */
function firstAtLeast(sums: Float64Array, value: number): number {
  let low = 0;
  let high = sums.length - 1;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sums[middle] ?? 0) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

function shuffled<T>(items: readonly T[], random: SeededRandom): readonly T[] {
  const mixed = [...items];
  for (let last = mixed.length - 1; last > 0; last--) {
    const other = random.below(last + 1);
    const held = mixed[last];
    const moved = mixed[other];
    if (held === undefined || moved === undefined) continue;
    mixed[last] = moved;
    mixed[other] = held;
  }
  return mixed;
}

/** The ports that nmap and attackers alike try first, where none are given by the caller. */
export const SCAN_PORTS: readonly Port[] = [
  21, 22, 23, 25, 53, 80, 110, 111, 135, 139, 143, 443, 445, 993, 995, 1433, 2379, 3000, 3306, 3389, 5432, 5900, 6379,
  6443, 8080, 8443, 9090, 9200, 10250, 27017,
].map((port) => ({ protocol: PROTOCOL.tcp, port }));

/** Each source in turn tries all; one port after the other of one end after the other. */
function* scan(options: PatternOptions): Generator<Packet> {
  const pairs = pairsOf(options);
  const ports = new SourcePorts();
  let time = options.start;
  for (const [index, { from, to, port }] of pairs.slice(0, options.count ?? pairs.length).entries()) {
    const link = linkOf(from, to);
    if (link === undefined) continue;
    const ends = { ...link, sourcePort: ports.next(from), destinationPort: port.port };
    yield converse(port.protocol, ends, options.seed + index).first(toMicroseconds(time));
    time += 1 / options.rate;
  }
}

/** Blocks for documentation (RFC 5737, RFC 3849): outside of every cluster. */
const OUTSIDE_V4 = [0xcb007100, 0xc6336400, 0xc0000200] as const;
const OUTSIDE_V6 = 0x20010db8;

function outsideAddress(family: 4 | 6, random: SeededRandom): IpAddress {
  if (family === 4) return { family, words: [random.pick(OUTSIDE_V4) | random.below(256) | 0] };
  const word = () => random.below(0x1_0000_0000) | 0;
  return { family, words: [OUTSIDE_V6, word(), word(), word()] };
}

/** To the first destination and port; sources and ports at random, as floods forge them. */
function* synFlood(options: PatternOptions): Generator<Packet> {
  const random = new SeededRandom(options.seed);
  const [target] = options.destinations;
  const [port] = options.ports;
  const destination = target?.addresses[0];
  if (destination === undefined || port === undefined) return;
  let time = options.start;
  for (let index = 0; index < (options.count ?? DEFAULT_COUNT); index++) {
    yield makePacket({
      protocol: PROTOCOL.tcp,
      source: outsideAddress(destination.family, random),
      destination,
      sourcePort: 1024 + random.below(64_512),
      destinationPort: port.port,
      time: toMicroseconds(time),
      sequence: random.below(0x1_0000_0000),
      window: 64_240,
    });
    time += random.gap(options.rate);
  }
}

/** Longer than Kubernetes' and clouds' usual idle limits, below the five days of an established connection in Linux. */
const IDLE_SECONDS = 4 * 3600;
const IDLE_ROUNDS = 6;

/** A connection says something, then nothing for four hours, six times, and closes. */
function* idle(options: PatternOptions): Generator<Session> {
  const ports = new SourcePorts();
  // SCTP keeps itself awake by heartbeats, and of datagrams connection tracking forgets in minutes.
  const tcp = options.ports.filter(({ protocol }) => protocol === PROTOCOL.tcp);
  const pairs = pairsOf({ ...options, ports: tcp });
  for (const [index, { from, to, port }] of pairs.slice(0, options.count ?? pairs.length).entries()) {
    const link = linkOf(from, to);
    if (link === undefined) continue;
    const start = options.start + index / options.rate;
    const ends = { ...link, sourcePort: ports.next(from), destinationPort: port.port };
    const conversation = converse(port.protocol, ends, options.seed + index);
    const packets = [...conversation.handshake(start, ROUND_TRIP_SECONDS)];
    for (let round = 0; round < IDLE_ROUNDS; round++) {
      const time = start + 2 * ROUND_TRIP_SECONDS + round * IDLE_SECONDS;
      packets.push(...message(conversation, "source", { time, bytes: REQUEST_BYTES }));
      packets.push(...message(conversation, "destination", { time: time + ROUND_TRIP_SECONDS, bytes: RESPONSE_BYTES }));
    }
    const end = (packets.at(-1)?.time ?? start) + ROUND_TRIP_SECONDS;
    packets.push(...conversation.close("source", end, ROUND_TRIP_SECONDS));
    yield { start, packets };
  }
}
