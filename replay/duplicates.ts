/**
 * One packet recorded several times. A capture on `any`, or on several interfaces of a node, has a packet once for each
 * interface it passed: pushed twice it would be counted twice, and its second SYN would look like a repetition.
 */
import type { PacketBatch } from "../dataplane/packet.ts";
import type { CaptureInterface, TrafficBatch } from "../traffic/source.ts";

/** Seconds between the copies: a packet crosses a node in microseconds, TCP repeats after 200 ms (RTO_MIN of Linux). */
export const WINDOW_SECONDS = 0.02;
/** Packets remembered. One that is pushed out of its place by another is not recognised again. */
const PLACES = 65_536;
/** LINKTYPE_LINUX_SLL and LINKTYPE_LINUX_SLL2: what `tcpdump -i any` writes. */
const COOKED: ReadonlySet<number | undefined> = new Set([113, 276]);
/** Bytes at the end of a frame that tell apart packets with equal headers; with a shorter payload frames may end in Ethernet's padding. */
const TAIL_BYTES = 16;
const SHORTEST_PAYLOAD = 20;

export class Duplicates {
  /** Packets that were recognised as copies. */
  count = 0;
  readonly #interfaces: readonly CaptureInterface[];
  readonly #signatures = new Int32Array(PLACES);
  readonly #times = new Float64Array(PLACES).fill(Number.NEGATIVE_INFINITY);
  readonly #interfaceIds = new Uint16Array(PLACES);
  /** `tailOf` the packet. */
  readonly #tails = new Int32Array(PLACES);
  #known = 0;
  #canRepeat = false;
  #isCooked = false;
  /** Whether frames are cut at different lengths: of a packet that is whole on one interface another may have the headers alone. */
  #areCutApart = false;

  /** `interfaces` is the source's list, which grows while it is read. */
  constructor(interfaces: readonly CaptureInterface[]) {
    this.#interfaces = interfaces;
  }

  /** Whether a packet can have been recorded twice at all. */
  get canRepeat(): boolean {
    if (this.#interfaces.length !== this.#known) this.#look();
    return this.#canRepeat;
  }

  /** Whether the row is a packet that was seen just now on another interface; remembers it. */
  isRepeated(traffic: TrafficBatch, row: number): boolean {
    if (!this.canRepeat) return false;
    const { packets } = traffic;
    const headers = headerHash(packets, row);
    const tail = tailOf(traffic, row);
    const time = packets.time[row] ?? 0;
    const interfaceId = traffic.interfaceId[row] ?? 0;
    const whole = signed(headers, tail);
    // Where one of the two has no end to compare, headers have to do, as they do where both have none.
    const cut = this.#areCutApart ? signed(headers, 0) : whole;
    if (
      this.#isKnown(whole, time, interfaceId, tail) ||
      (cut !== whole && this.#isKnown(cut, time, interfaceId, tail))
    ) {
      this.count++;
      return true;
    }
    this.#remember(whole, time, interfaceId, tail);
    if (cut !== whole) this.#remember(cut, time, interfaceId, tail);
    return false;
  }

  /** Whether a packet of this signature was seen just now on another interface, with the same end as far as both have one. */
  #isKnown(signature: number, time: number, interfaceId: number, tail: number): boolean {
    const place = placeOf(signature);
    const other = this.#tails[place] ?? 0;
    return (
      this.#signatures[place] === signature &&
      time - (this.#times[place] ?? 0) <= WINDOW_SECONDS &&
      (this.#isCooked || this.#interfaceIds[place] !== interfaceId) &&
      (other === tail || other === 0 || tail === 0)
    );
  }

  #remember(signature: number, time: number, interfaceId: number, tail: number): void {
    const place = placeOf(signature);
    this.#signatures[place] = signature;
    this.#times[place] = time;
    this.#interfaceIds[place] = interfaceId;
    this.#tails[place] = tail;
  }

  #look(): void {
    this.#known = this.#interfaces.length;
    const captures = this.#interfaces.filter(({ linkType }) => linkType !== undefined);
    this.#isCooked = captures.some(({ linkType }) => COOKED.has(linkType));
    this.#canRepeat = this.#isCooked || captures.length > 1;
    this.#areCutApart = new Set(captures.map(({ snapBytes }) => snapBytes)).size > 1;
  }
}

/** FNV-1a over what stays the same on the way through a node: everything but addresses of the link layer and the TTL. */
export function signatureOf(traffic: TrafficBatch, row: number): number {
  return signed(headerHash(traffic.packets, row), tailOf(traffic, row));
}

function signed(headers: number, tail: number): number {
  return Math.imul(headers ^ tail, 0x01000193);
}

function placeOf(signature: number): number {
  return (signature ^ (signature >>> 16)) & (PLACES - 1);
}

/** A hash of the end of a row's frame; 0 where it has no payload, or the end was cut off. */
export function tailOf(
  { packets, bytes, frameStart, capturedBytes, frameBytes, frameTail }: TrafficBatch,
  row: number,
): number {
  const captured = capturedBytes[row] ?? 0;
  if (captured === 0) return frameTail[row] ?? 0;
  if ((packets.payloadBytes[row] ?? 0) < SHORTEST_PAYLOAD || captured < (frameBytes[row] ?? 0)) return 0;
  const end = (frameStart[row] ?? 0) + captured;
  let hash = 0x811c9dc5;
  for (let at = end - TAIL_BYTES; at < end; at++) hash = Math.imul(hash ^ (bytes[at] ?? 0), 0x01000193);
  return hash;
}

function headerHash(packets: PacketBatch, row: number): number {
  let hash = 0x811c9dc5 ^ (packets.protocol[row] ?? 0);
  const mix = (word: number): void => {
    hash = Math.imul(hash ^ word, 0x01000193);
    hash ^= hash >>> 15;
  };
  mix(packets.source0[row] ?? 0);
  mix(packets.source3[row] ?? 0);
  mix(packets.destination0[row] ?? 0);
  mix(packets.destination3[row] ?? 0);
  mix(((packets.sourcePort[row] ?? 0) << 16) | (packets.destinationPort[row] ?? 0));
  mix(packets.sequence[row] ?? 0);
  mix(packets.acknowledgment[row] ?? 0);
  mix(packets.payloadBytes[row] ?? 0);
  mix(((packets.tcpFlags[row] ?? 0) << 24) | ((packets.icmpType[row] ?? 0) << 16) | (packets.icmpId[row] ?? 0));
  return hash;
}
