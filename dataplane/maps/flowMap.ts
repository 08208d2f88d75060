/**
 * Connection tracking of the map programs: Cilium's cilium_ct4_global and its sisters (bpf/lib/conntrack.h), which is
 * simpler than nf_conntrack. It has no state machine and no `invalid`; it only remembers who opened.
 */
import type { CurrentPacket } from "../currentPacket.ts";
import { PROTOCOL, TCP_FLAG } from "../packet.ts";
import type { AttachPoint } from "../program.ts";
import { FLOW_RECORD, FlowTable, type FlowTableState, FlowTuple } from "./flowTable.ts";

/**
 * What a packet is to the flows known, as a number. Policy is asked for `new` and for `established` packets, so that a rule
 * taken away cuts a connection at once; `reply` and `related` pass without.
 */
export const FLOW_STATE = { new: 0, established: 1, reply: 2, related: 3 } as const;
export type FlowState = (typeof FLOW_STATE)[keyof typeof FLOW_STATE];

type PolicyDirection = AttachPoint["direction"];

/** Seconds an entry lives (pkg/option defaults of bpf-ct-timeout-*, cilium v1.19.7 daemon_main.go). */
const LIFETIME = { tcp: 8000, tcpSyn: 60, tcpClose: 10, other: 60 } as const;

/** Deadlines are seconds of 32 bits that wrap: beyond such a leap they could seem to lie ahead again, so all flows go. */
const LEAP_SECONDS = 2 ** 30;

/** Entries of the maps: bpf-ct-global-tcp-max and bpf-ct-global-any-max. */
const MAX_TCP = 524_288;
const MAX_ANY = 262_144;

/**
 * What the endpoint sent (OUT), what was sent to it (IN), and the entry by which ICMP errors find the flow (RELATED, without
 * ports, protocol ICMP) are entries apart. The tuple of each is that of the packet that opened.
 */
const KIND = { out: 0, in: 1, related: 2 } as const;
const FLAG = { seenNonSyn: 1, rxClosing: 2, txClosing: 4, rxSyn: 8, txSyn: 16 } as const;
const CLOSING = FLAG.rxClosing | FLAG.txClosing;

type TableName = "tcp4" | "any4" | "tcp6" | "any6";

/** The flows of a node as data. */
export type FlowMapState = Readonly<Record<TableName, FlowTableState>>;

export class FlowMap {
  readonly #tables: Readonly<Record<TableName, FlowTable>> = {
    tcp4: new FlowTable(4, MAX_TCP),
    any4: new FlowTable(4, MAX_ANY),
    tcp6: new FlowTable(6, MAX_TCP),
    any6: new FlowTable(6, MAX_ANY),
  };
  /** Of the last `lookup`: its tuple, the table that was asked, and the look-ups that it took. */
  readonly #tuple = new FlowTuple();
  #table = this.#tables.tcp4;
  #probes = 0;
  /** The latest time of a packet in seconds; NaN: none came yet. */
  #latest = Number.NaN;

  /** Look-ups that the last `lookup` took. */
  get probes(): number {
    return this.#probes;
  }

  /** Entries, dead ones included. Each flow has two: its own and the one for ICMP errors. */
  get size(): number {
    return Object.values(this.#tables).reduce((sum, { size }) => sum + size, 0);
  }

  /** Finds the packet's flow and refreshes it. `direction` is that of the endpoint which asks. */
  lookup(packet: CurrentPacket, direction: PolicyDirection): FlowState {
    const { family, protocol, time } = packet;
    if (time - this.#latest > LEAP_SECONDS) this.flush();
    if (!(time <= this.#latest)) this.#latest = time;
    const related = isIcmpError(packet) ? KIND.related : 0;
    const answered = (direction === "egress" ? KIND.in : KIND.out) | related;
    const opened = (direction === "egress" ? KIND.out : KIND.in) | related;
    const table = this.#tableOf(family, protocol);
    this.#table = table;
    this.#load(packet);
    table.look(this.#tuple, keyHead(opened, family, protocol), keyHead(answered, family, protocol));
    // The other side's flow first: an answer is an answer, even if it could also be a beginning.
    this.#probes = 1;
    const { turnedAt, straightAt } = table;
    if (turnedAt >= 0 && touch(table, turnedAt, packet, direction)) {
      return related === 0 ? FLOW_STATE.reply : FLOW_STATE.related;
    }
    this.#probes = 2;
    const isOpen = straightAt >= 0 && touch(table, straightAt, packet, direction);
    return isOpen ? FLOW_STATE.established : FLOW_STATE.new;
  }

  /** Enters the flow of the packet that `lookup` has just called new and policy let pass (ct_create4). */
  create(packet: CurrentPacket, direction: PolicyDirection): void {
    const { family, protocol } = packet;
    const kind = direction === "egress" ? KIND.out : KIND.in;
    const isTcp = protocol === PROTOCOL.tcp;
    // The first packet counts as the SYN, whatever its flags.
    const deadFrom = secondsOf(packet) + (isTcp ? LIFETIME.tcpSyn : LIFETIME.other);
    const tuple = this.#tuple;
    const table = this.#table;
    const at = table.enter(tuple, keyHead(kind | (isIcmpError(packet) ? KIND.related : 0), family, protocol));
    table.words[at + FLOW_RECORD.deadFrom] = deadFrom;
    table.words[at + FLOW_RECORD.flags] = isTcp ? synFlag(direction) : 0;
    const icmp = icmpOf(family);
    const others = this.#tableOf(family, icmp);
    const head = keyHead(kind | KIND.related, family, icmp);
    tuple.setPorts(family, icmp, 0, 0);
    others.look(tuple, head, head);
    const relatedAt = others.enter(tuple, head);
    others.words[relatedAt + FLOW_RECORD.deadFrom] = deadFrom;
    others.words[relatedAt + FLOW_RECORD.flags] = 0;
  }

  /** A copy of everything, to go on from later. */
  save(): FlowMapState {
    const { tcp4, any4, tcp6, any6 } = this.#tables;
    return { tcp4: tcp4.save(), any4: any4.save(), tcp6: tcp6.save(), any6: any6.save() };
  }

  restore(state: FlowMapState): void {
    for (const name of Object.keys(this.#tables) as TableName[]) this.#tables[name].restore(state[name]);
    this.#latest = Number.NaN;
  }

  flush(): void {
    for (const table of Object.values(this.#tables)) table.clear();
  }

  #tableOf(family: number, protocol: number): FlowTable {
    const { tcp4, any4, tcp6, any6 } = this.#tables;
    if (family === 4) return protocol === PROTOCOL.tcp ? tcp4 : any4;
    return protocol === PROTOCOL.tcp ? tcp6 : any6;
  }

  /** Fills `#tuple`. */
  #load(packet: CurrentPacket): void {
    const tuple = this.#tuple;
    const { family, protocol } = packet;
    tuple.source0 = packet.source0;
    tuple.destination0 = packet.destination0;
    if (family === 6) {
      tuple.source1 = packet.source1;
      tuple.source2 = packet.source2;
      tuple.source3 = packet.source3;
      tuple.destination1 = packet.destination1;
      tuple.destination2 = packet.destination2;
      tuple.destination3 = packet.destination3;
    }
    if (protocol !== PROTOCOL.icmp && protocol !== PROTOCOL.icmpv6) {
      tuple.setPorts(family, protocol, packet.sourcePort, packet.destinationPort);
      return;
    }
    const { icmpType, icmpId } = packet;
    const answers = icmpType === (protocol === PROTOCOL.icmp ? 0 : 129) ? icmpId : 0;
    const asks = icmpType === (protocol === PROTOCOL.icmp ? 8 : 128) ? icmpId : 0;
    tuple.setPorts(family, protocol, answers, asks);
  }
}

/** The second of a packet in 32 bits. */
function secondsOf({ time }: CurrentPacket): number {
  return Math.floor(time) | 0;
}

/** Whether the flow of a record lives; then the packet leaves its traces in it (__ct_lookup). */
function touch(table: FlowTable, at: number, packet: CurrentPacket, direction: PolicyDirection): boolean {
  const { words } = table;
  table.use(at);
  const now = secondsOf(packet);
  // The agent's garbage collector takes dead entries away; here it is always on time.
  if ((((words[at + FLOW_RECORD.deadFrom] ?? 0) - now) | 0) <= 0) return false;
  if (packet.protocol !== PROTOCOL.tcp) {
    words[at + FLOW_RECORD.deadFrom] = now + LIFETIME.other;
    return true;
  }
  const before = words[at + FLOW_RECORD.flags] ?? 0;
  const after = tcpFlagsAfter(before, packet.tcpFlags, direction);
  words[at + FLOW_RECORD.flags] = after;
  const wasAlive = (before & CLOSING) !== CLOSING;
  const isAlive = (after & CLOSING) !== CLOSING;
  let lifetime = 0;
  if (isAlive) lifetime = after & FLAG.seenNonSyn ? LIFETIME.tcp : LIFETIME.tcpSyn;
  else if (wasAlive || packet.tcpFlags & (TCP_FLAG.F | TCP_FLAG.R)) lifetime = LIFETIME.tcpClose;
  if (lifetime !== 0) words[at + FLOW_RECORD.deadFrom] = now + lifetime;
  return true;
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
