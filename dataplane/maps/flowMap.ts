/**
 * Connection tracking of the map programs: Cilium's cilium_ct4_global and its sisters (bpf/lib/conntrack.h), which is
 * simpler than nf_conntrack. It has no state machine and no `invalid`; it only remembers who opened.
 */
import type { CurrentPacket } from "../currentPacket.ts";
import { PROTOCOL, TCP_FLAG } from "../packet.ts";
import type { AttachPoint } from "../program.ts";
import { HashMap, type HashMapState } from "./hashMap.ts";

/**
 * What a packet is to the flows known. Policy is asked for `new` and for `established` packets, so that a rule taken away
 * cuts a connection at once; `reply` and `related` pass without.
 */
export type FlowState = "new" | "established" | "reply" | "related";

type PolicyDirection = AttachPoint["direction"];

/** Seconds an entry lives (pkg/option defaults of bpf-ct-timeout-*, cilium v1.19.7 daemon_main.go). */
const LIFETIME = { tcp: 8000, tcpSyn: 60, tcpClose: 10, other: 60 } as const;

/** Entries of the maps: bpf-ct-global-tcp-max and bpf-ct-global-any-max. */
const MAX_TCP = 524_288;
const MAX_ANY = 262_144;

/*
 * key    | kind · family · protocol | source port · destination port | source, 4 words | destination, 4 words |
 * value  | dead from this second on | flags |
 *
 * The tuple is that of the packet that opened. `kind` keeps apart what the endpoint sent (OUT), what was sent to it (IN)
 * and the entry by which ICMP errors find the flow (RELATED, without ports, protocol ICMP).
 */
const KEY_WORDS = 10;
const VALUE_WORDS = 2;
const KIND = { out: 0, in: 1, related: 2 } as const;
const FLAG = { seenNonSyn: 1, rxClosing: 2, txClosing: 4, rxSyn: 8, txSyn: 16 } as const;
const CLOSING = FLAG.rxClosing | FLAG.txClosing;

/** The flows of a node as data. */
export interface FlowMapState {
  readonly tcp: HashMapState;
  readonly any: HashMapState;
}

export class FlowMap {
  readonly #tcp = new HashMap({ keyWords: KEY_WORDS, valueWords: VALUE_WORDS, maxEntries: MAX_TCP, whenFull: "evict" });
  readonly #any = new HashMap({ keyWords: KEY_WORDS, valueWords: VALUE_WORDS, maxEntries: MAX_ANY, whenFull: "evict" });
  readonly #key = new Int32Array(KEY_WORDS);
  #probes = 0;

  /** Look-ups that the last `lookup` took. */
  get probes(): number {
    return this.#probes;
  }

  /** Entries, dead ones included. Each flow has two: its own and the one for ICMP errors. */
  get size(): number {
    return this.#tcp.size + this.#any.size;
  }

  /** Finds the packet's flow and refreshes it. `direction` is that of the endpoint which asks. */
  lookup(packet: CurrentPacket, direction: PolicyDirection): FlowState {
    const related = isIcmpError(packet) ? KIND.related : 0;
    const answered = direction === "egress" ? KIND.in : KIND.out;
    const opened = direction === "egress" ? KIND.out : KIND.in;
    // The other side's flow first: an answer is an answer, even if it could also be a beginning.
    this.#probes = 1;
    this.#loadKey(packet, answered | related, "reply");
    if (this.#touch(packet, direction)) return related === 0 ? "reply" : "related";
    this.#probes = 2;
    this.#loadKey(packet, opened | related, "original");
    return this.#touch(packet, direction) ? "established" : "new";
  }

  /** Enters the flow of a packet that `lookup` called new and policy let pass (ct_create4). */
  create(packet: CurrentPacket, direction: PolicyDirection): void {
    const kind = direction === "egress" ? KIND.out : KIND.in;
    const isTcp = packet.protocol === PROTOCOL.tcp;
    // The first packet counts as the SYN, whatever its flags.
    const deadFrom = Math.floor(packet.time) + (isTcp ? LIFETIME.tcpSyn : LIFETIME.other);
    this.#loadKey(packet, kind | (isIcmpError(packet) ? KIND.related : 0), "original");
    const map = this.#mapOf(packet);
    const at = map.insert(this.#key);
    map.words[at] = deadFrom;
    map.words[at + 1] = isTcp ? synFlag(direction) : 0;
    this.#key[0] = keyHead(kind | KIND.related, packet.family, icmpOf(packet.family));
    this.#key[1] = 0;
    const relatedAt = this.#any.insert(this.#key);
    this.#any.words[relatedAt] = deadFrom;
    this.#any.words[relatedAt + 1] = 0;
  }

  /** A copy of everything, to go on from later. */
  save(): FlowMapState {
    return { tcp: this.#tcp.save(), any: this.#any.save() };
  }

  restore({ tcp, any }: FlowMapState): void {
    this.#tcp.restore(tcp);
    this.#any.restore(any);
  }

  flush(): void {
    this.#tcp.clear();
    this.#any.clear();
  }

  #mapOf(packet: CurrentPacket): HashMap {
    return packet.protocol === PROTOCOL.tcp ? this.#tcp : this.#any;
  }

  /** Whether the flow of `#key` is there; then the packet leaves its traces in it (__ct_lookup). */
  #touch(packet: CurrentPacket, direction: PolicyDirection): boolean {
    const map = this.#mapOf(packet);
    const at = map.find(this.#key);
    if (at < 0) return false;
    const { words } = map;
    const now = Math.floor(packet.time);
    // The agent's garbage collector takes dead entries away; here it is always on time.
    if ((words[at] ?? 0) <= now) return false;
    if (packet.protocol !== PROTOCOL.tcp) {
      words[at] = now + LIFETIME.other;
      return true;
    }
    const before = words[at + 1] ?? 0;
    const after = tcpFlagsAfter(before, packet.tcpFlags, direction);
    words[at + 1] = after;
    const wasAlive = (before & CLOSING) !== CLOSING;
    const isAlive = (after & CLOSING) !== CLOSING;
    if (isAlive) words[at] = now + (after & FLAG.seenNonSyn ? LIFETIME.tcp : LIFETIME.tcpSyn);
    else if (wasAlive || packet.tcpFlags & (TCP_FLAG.F | TCP_FLAG.R)) words[at] = now + LIFETIME.tcpClose;
    return true;
  }

  /** Fills `#key` with the tuple as the packet has it, or as the packet it answers had it. */
  #loadKey(packet: CurrentPacket, kind: number, side: "original" | "reply"): void {
    const key = this.#key;
    const { family, protocol, icmpType, icmpId } = packet;
    let { sourcePort, destinationPort } = packet;
    if (protocol === PROTOCOL.icmp || protocol === PROTOCOL.icmpv6) {
      sourcePort = icmpType === (protocol === PROTOCOL.icmp ? 0 : 129) ? icmpId : 0;
      destinationPort = icmpType === (protocol === PROTOCOL.icmp ? 8 : 128) ? icmpId : 0;
    }
    const isReply = side === "reply";
    key[0] = keyHead(kind, family, protocol);
    key[1] = isReply ? (destinationPort << 16) | sourcePort : (sourcePort << 16) | destinationPort;
    const source = isReply ? 6 : 2;
    const destination = isReply ? 2 : 6;
    key[source] = packet.source0;
    key[source + 1] = packet.source1;
    key[source + 2] = packet.source2;
    key[source + 3] = packet.source3;
    key[destination] = packet.destination0;
    key[destination + 1] = packet.destination1;
    key[destination + 2] = packet.destination2;
    key[destination + 3] = packet.destination3;
  }
}

/**
 * Whether flows of the protocol can be tracked. Cilium drops the others, tunnels and routing protocols for the most part
 * (DROP_CT_UNKNOWN_PROTO; enable-extended-ip-protocols is off by default).
 */
export function tracksFlowsOf(protocol: number): boolean {
  return (
    protocol === PROTOCOL.tcp ||
    protocol === PROTOCOL.udp ||
    protocol === PROTOCOL.sctp ||
    protocol === PROTOCOL.icmp ||
    protocol === PROTOCOL.icmpv6
  );
}

/** Flags of a TCP entry after a packet: __ct_lookup and __ct_update_timeout. */
function tcpFlagsAfter(before: number, tcpFlags: number, direction: PolicyDirection): number {
  const isSyn = (tcpFlags & TCP_FLAG.S) !== 0;
  const isReset = (tcpFlags & TCP_FLAG.R) !== 0;
  const closes = isReset || (tcpFlags & TCP_FLAG.F) !== 0;
  let flags = before;
  // A SYN opens a closing entry again.
  if (isSyn && !closes) flags &= ~CLOSING;
  if ((flags & CLOSING) !== CLOSING) flags |= isSyn ? synFlag(direction) : FLAG.seenNonSyn;
  if (!closes) return flags;
  const sawBothSyns = (flags & FLAG.rxSyn) !== 0 && (flags & FLAG.txSyn) !== 0;
  if (isReset && !sawBothSyns) return flags | CLOSING;
  return flags | (direction === "ingress" ? FLAG.rxClosing : FLAG.txClosing);
}

function synFlag(direction: PolicyDirection): number {
  return direction === "ingress" ? FLAG.rxSyn : FLAG.txSyn;
}

/** The errors that Cilium relates to a flow (TUPLE_F_RELATED). */
function isIcmpError({ protocol, icmpType }: CurrentPacket): boolean {
  if (protocol === PROTOCOL.icmp) return icmpType === 3 || icmpType === 11 || icmpType === 12;
  return protocol === PROTOCOL.icmpv6 && icmpType >= 1 && icmpType <= 4;
}

function icmpOf(family: number): number {
  return family === 4 ? PROTOCOL.icmp : PROTOCOL.icmpv6;
}

function keyHead(kind: number, family: number, protocol: number): number {
  return (kind << 16) | (family << 8) | protocol;
}
