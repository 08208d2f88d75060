/**
 * Connection tracking once more, as plainly as it can be said: a map of tuples, a record for each connection, and what
 * nf_conntrack_core.c of Linux 6.18 does with them. The dataplane's own is packed into words, indexed, and has shortcuts;
 * this one has none of that and shares nothing with it, so that one mistake cannot be in both.
 *
 * Not here: full tables, times longer than 2^31 milliseconds, and what packets here have nothing of (helpers, translation).
 */
import type { IpAddress } from "../../dataplane/address.ts";
import type { FiveTuple, Packet } from "../../dataplane/packet.ts";
import type { CtState } from "../../dataplane/verdict.ts";
import { sameAddress } from "../addresses.ts";
import { live, type PlainFlow, type Ruling, SYSCTLS, type Sysctls, setting, type Tuple, type Way } from "./flow.ts";
import { ruleSctp } from "./sctp.ts";
import { ruleTcp } from "./tcp.ts";

const [ICMP, TCP, UDP, GRE, ICMPV6, SCTP, UDPLITE] = [1, 6, 17, 47, 58, 132, 136];
const WITH_PORTS: ReadonlySet<number | undefined> = new Set([TCP, UDP, SCTP, UDPLITE]);

/** Questions and their answers. */
const ICMP_PAIRS = [
  [8, 0],
  [13, 14],
  [15, 16],
  [17, 18],
] as const;
const ICMPV6_PAIRS = [
  [128, 129],
  [139, 140],
] as const;

/** Destination unreachable, source quench, redirect, time exceeded, parameter problem. */
const ICMP_ERRORS: ReadonlySet<number> = new Set([3, 4, 5, 11, 12]);
const HIGHEST_ICMP_TYPE = 18;

/** Multicast listeners, routers, neighbours: not tracked at all. */
const ICMPV6_UNTRACKED: ReadonlySet<number> = new Set([130, 131, 132, 133, 134, 135, 136, 143]);
const FIRST_ICMPV6_NO_ERROR = 128;

/** What was said of one packet. */
export interface Sighting {
  readonly state: CtState;
  readonly isReply: boolean;
}

/** A living connection as people look at it. */
export interface PlainEntry extends FiveTuple {
  readonly icmp: Tuple["icmp"];
  readonly zone: number;
  readonly state: string | undefined;
  readonly seenReply: boolean;
  readonly assured: boolean;
  readonly leftMs: number;
}

export class PlainConntrack {
  readonly #sysctls: Sysctls;
  /** Each flow under the keys of both directions. */
  readonly #flows = new Map<string, PlainFlow>();
  #nowMs = Number.NEGATIVE_INFINITY;
  /** The flow that the last packet would begin. */
  #pending: PlainFlow | undefined;

  /** `sysctls`: those that are not as in a fresh namespace. */
  constructor(sysctls: Sysctls = {}) {
    this.#sysctls = { ...SYSCTLS, ...sysctls };
  }

  /** The packet comes by. Until `pass`, what it would begin is not there. */
  see(packet: Packet, zone = 0): Sighting {
    this.#pending = undefined;
    this.#nowMs = Math.max(this.#nowMs, Math.round(packet.time * 1000));
    if (!packet.fragment) {
      const said = this.#seeMessage(packet, zone);
      if (said !== undefined) return said;
    }
    const tuple = tupleOf(packet);
    const flow = this.#flowOf(keyOf(tuple, zone));
    if (packet.fragment) return flow === undefined ? INVALID : sighting(flow, wayOf(flow, tuple));
    if (flow === undefined) return this.#begin(packet, tuple, zone);
    const way = wayOf(flow, tuple);
    const said = sighting(flow, way);
    switch (this.#rule(flow, packet, way)) {
      case "invalid":
        return INVALID;
      case "anew":
        this.#forget(flow);
        return this.#begin(packet, tuple, zone);
      case "ended":
        this.#forget(flow);
        break;
      case "accepted":
        break;
    }
    if (way === "reply") flow.seenReply = true;
    return said;
  }

  /** The packet has passed every rule. */
  pass(): void {
    const flow = this.#pending;
    if (flow === undefined) return;
    this.#pending = undefined;
    flow.isConfirmed = true;
    this.#flows.set(flow.keys.reply, flow);
    this.#flows.set(flow.keys.original, flow);
  }

  /** It was dropped. */
  drop(): void {
    this.#pending = undefined;
  }

  flush(): void {
    this.#flows.clear();
    this.#pending = undefined;
  }

  /** All that live. */
  entries(): readonly PlainEntry[] {
    return [...new Set(this.#flows.values())]
      .filter(({ diesAtMs }) => diesAtMs > this.#nowMs)
      .map((flow) => this.#entry(flow));
  }

  /** The living connection that the packet, or the one that it quotes, belongs to. */
  entryOf(packet: Packet, zone = 0): PlainEntry | undefined {
    const tuple = packet.quoted === undefined ? tupleOf(packet) : quotedTuple(packet, packet.quoted);
    const flow = this.#flowOf(keyOf(tuple, zone));
    return flow === undefined ? undefined : this.#entry(flow);
  }

  #entry({ tuple, zone, tcp, sctp, seenReply, assured, diesAtMs }: PlainFlow): PlainEntry {
    const leftMs = diesAtMs - this.#nowMs;
    return { ...tuple, zone, state: tcp?.state ?? sctp?.state, seenReply, assured, leftMs };
  }

  #flowOf(key: string): PlainFlow | undefined {
    const flow = this.#flows.get(key);
    if (flow === undefined || flow.diesAtMs > this.#nowMs) return flow;
    this.#forget(flow);
    return undefined;
  }

  #forget({ keys }: PlainFlow): void {
    this.#flows.delete(keys.original);
    this.#flows.delete(keys.reply);
  }

  #begin(packet: Packet, tuple: Tuple, zone: number): Sighting {
    const answer = answerTo(tuple);
    if (answer === undefined) return INVALID;
    const flow: PlainFlow = {
      tuple,
      zone,
      keys: { original: keyOf(tuple, zone), reply: keyOf(answer, zone) },
      isConfirmed: false,
      seenReply: false,
      assured: false,
      diesAtMs: this.#nowMs,
      streamAfterMs: this.#nowMs + 2000,
      tcp: undefined,
      sctp: undefined,
    };
    if (this.#rule(flow, packet, "original") !== "accepted") return INVALID;
    this.#pending = flow;
    return { state: "new", isReply: false };
  }

  /** Errors, and messages that are none of its business. Undefined: a packet like any other. */
  #seeMessage(packet: Packet, zone: number): Sighting | undefined {
    const { protocol, icmpType, source, destination, quoted } = packet;
    const isIpv4 = source.family === 4;
    if (protocol !== (isIpv4 ? ICMP : ICMPV6)) return undefined;
    if (isIpv4 && icmpType > HIGHEST_ICMP_TYPE) return INVALID;
    if (!isIpv4 && ICMPV6_UNTRACKED.has(icmpType)) return { state: "untracked", isReply: false };
    if (!(isIpv4 ? ICMP_ERRORS.has(icmpType) : icmpType < FIRST_ICMPV6_NO_ERROR)) return undefined;
    if (quoted === undefined || quoted.source.family !== source.family) return INVALID;
    const tuple = quotedTuple(packet, quoted);
    if (answerTo(tuple) === undefined) return INVALID;
    const flow = this.#flowOf(keyOf(tuple, zone));
    if (flow === undefined || !sameAddress(destination, quoted.source)) return INVALID;
    return { state: "related", isReply: wayOf(flow, tuple) === "original" };
  }

  #rule(flow: PlainFlow, packet: Packet, way: Way): Ruling {
    const sysctls = this.#sysctls;
    const nowMs = this.#nowMs;
    const lives = (name: string): Ruling => {
      live(flow, setting(sysctls, name), nowMs);
      return "accepted";
    };
    switch (packet.protocol) {
      case TCP:
        return ruleTcp(flow, { packet, way, sysctls, nowMs });
      case SCTP:
        return ruleSctp(flow, { packet, way, sysctls, nowMs });
      case UDP: {
        const isStream = flow.seenReply && nowMs > flow.streamAfterMs;
        if (isStream) flow.assured = true;
        return lives(isStream ? "udp_timeout_stream" : "udp_timeout");
      }
      case UDPLITE:
      case GRE: {
        const name = packet.protocol === GRE ? "gre_timeout" : "udp_timeout";
        if (flow.seenReply) flow.assured = true;
        return lives(flow.seenReply ? `${name}_stream` : name);
      }
      case ICMP:
      case ICMPV6:
        if ((packet.protocol === ICMP) !== (packet.source.family === 4)) return "invalid";
        // ICMPv6 looks at the question only when it begins a flow, which is the same: no other flow can be.
        if (!asks(flow.tuple)) return "invalid";
        return lives(packet.protocol === ICMP ? "icmp_timeout" : "icmpv6_timeout");
      default:
        return lives("generic_timeout");
    }
  }
}

const INVALID: Sighting = { state: "invalid", isReply: false };

function sighting({ seenReply }: PlainFlow, way: Way): Sighting {
  if (way === "reply") return { state: "established", isReply: true };
  return { state: seenReply ? "established" : "new", isReply: false };
}

/** A tuple that answers itself goes as a reply. */
function wayOf({ keys, zone }: PlainFlow, tuple: Tuple): Way {
  return keyOf(tuple, zone) === keys.reply ? "reply" : "original";
}

/* ------------------------------------------------ Tuples --------------------------------------------------------- */

function tupleOf(packet: Packet): Tuple {
  const { protocol, source, destination, icmpId: id, icmpType: type, icmpCode: code } = packet;
  const isMessage = protocol === ICMP || protocol === ICMPV6;
  const hasPorts = WITH_PORTS.has(protocol);
  return {
    protocol,
    source,
    destination,
    sourcePort: hasPorts ? packet.sourcePort : 0,
    destinationPort: hasPorts ? packet.destinationPort : 0,
    icmp: isMessage ? { id, type, code } : undefined,
  };
}

/** Of a message only addresses are quoted: a question, with the identifier of the error. */
function quotedTuple({ icmpId: id }: Packet, quoted: FiveTuple): Tuple {
  const type = quoted.protocol === ICMP ? 8 : 128;
  const isMessage = quoted.protocol === ICMP || quoted.protocol === ICMPV6;
  const hasPorts = WITH_PORTS.has(quoted.protocol);
  return {
    ...quoted,
    sourcePort: hasPorts ? quoted.sourcePort : 0,
    destinationPort: hasPorts ? quoted.destinationPort : 0,
    icmp: isMessage ? { id, type, code: 0 } : undefined,
  };
}

/** Undefined: it cannot be answered. */
function answerTo(tuple: Tuple): Tuple | undefined {
  const { protocol, source, destination, sourcePort, destinationPort, icmp } = tuple;
  const turned = { source: destination, destination: source, sourcePort: destinationPort, destinationPort: sourcePort };
  if (icmp === undefined) return { protocol, ...turned, icmp };
  const pair = pairOf(tuple, icmp.type);
  if (pair === undefined) return undefined;
  return { protocol, ...turned, icmp: { ...icmp, type: pair[0] === icmp.type ? pair[1] : pair[0] } };
}

function pairOf({ protocol }: Tuple, type: number): readonly [question: number, answer: number] | undefined {
  return (protocol === ICMP ? ICMP_PAIRS : ICMPV6_PAIRS).find((pair) => pair[0] === type || pair[1] === type);
}

/** Whether it is a message that asks. */
function asks(tuple: Tuple): boolean {
  return tuple.icmp !== undefined && pairOf(tuple, tuple.icmp.type)?.[0] === tuple.icmp.type;
}

function keyOf(tuple: Tuple, zone: number): string {
  const { protocol, sourcePort, destinationPort, icmp } = tuple;
  const message = icmp === undefined ? "" : ` id ${icmp.id} type ${icmp.type} code ${icmp.code}`;
  const ends = `${endText(tuple.source, sourcePort)} > ${endText(tuple.destination, destinationPort)}`;
  return `zone ${zone} protocol ${protocol} ${ends}${message}`;
}

function endText(address: IpAddress, port: number): string {
  return `${address.words.join()} port ${port}`;
}
