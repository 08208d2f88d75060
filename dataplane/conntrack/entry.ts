/** An entry as people look at it: an object, and a line as `conntrack -L` prints it. */
import { type Family, formatAddress, type IpAddress } from "../address.ts";
import { type FiveTuple, PROTOCOL, protocolName } from "../packet.ts";
import { BYTE, FLOW_BYTES, FLOW_WORDS, STATUS, WORD } from "./flow.ts";
import type { FlowStore } from "./flowStore.ts";
import { icmpAnswer, icmpv6Answer } from "./icmp.ts";
import { SCTP_STATE_NAMES } from "./sctp.ts";
import { TCP_STATE_NAMES } from "./tcpEntry.ts";
import { isTrackedByPorts, type PacketTuple } from "./tuple.ts";

/** One connection. The reply's tuple is the original's with the ends exchanged (ICMP: and the type that answers). */
export interface ConntrackEntry extends FiveTuple {
  /** ICMP and ICMPv6 have these in place of ports. */
  readonly icmp?: { readonly type: number; readonly code: number; readonly id: number };
  readonly zone: number;
  /** State of TCP and SCTP, as `conntrack -L` spells it; undefined for protocols without one. */
  readonly state: string | undefined;
  /** Traffic was seen in both directions. */
  readonly seenReply: boolean;
  /** Not evicted when the table is full. */
  readonly assured: boolean;
  /** Seconds until it is gone unless another packet comes. */
  readonly timeout: number;
  readonly mark: number;
}

/** The entry in a slot. `tuple` is scratch. */
export function readEntry(
  store: FlowStore,
  slot: number,
  scratch: { tuple: PacketTuple; now: number },
): ConntrackEntry {
  const { tuple, now } = scratch;
  const { words, bytes } = store;
  tuple.read(store, slot);
  const status = bytes[slot * FLOW_BYTES + BYTE.status] ?? 0;
  const state = bytes[slot * FLOW_BYTES + BYTE.state] ?? 0;
  const left = ((words[slot * FLOW_WORDS + WORD.deadline] ?? 0) - now) | 0;
  const protocol = tuple.kind & 0xff;
  const ports = isTrackedByPorts(protocol) ? tuple.ports : 0;
  const isMessage = protocol === PROTOCOL.icmp || protocol === PROTOCOL.icmpv6;
  const family: Family = (tuple.kind & 0x100) === 0 ? 4 : 6;
  return {
    protocol,
    source: addressOf(family, [tuple.source0, tuple.source1, tuple.source2, tuple.source3]),
    destination: addressOf(family, [tuple.destination0, tuple.destination1, tuple.destination2, tuple.destination3]),
    sourcePort: ports >>> 16,
    destinationPort: ports & 0xffff,
    ...(isMessage && {
      icmp: { type: (tuple.ports >>> 8) & 0xff, code: tuple.ports & 0xff, id: tuple.ports >>> 16 },
    }),
    zone: tuple.kind >>> 16,
    state: stateName(protocol, state),
    seenReply: (status & STATUS.seenReply) !== 0,
    assured: (status & STATUS.assured) !== 0,
    timeout: left / 1000,
    mark: (words[slot * FLOW_WORDS + WORD.mark] ?? 0) >>> 0,
  };
}

function addressOf(family: Family, words: number[]): IpAddress {
  return { family, words: family === 4 ? words.slice(0, 1) : words };
}

function stateName(protocol: number, state: number): string | undefined {
  if (protocol === PROTOCOL.tcp) return TCP_STATE_NAMES[state];
  if (protocol === PROTOCOL.sctp) return SCTP_STATE_NAMES[state];
  return undefined;
}

/** Ends and state in a few words: `10.1.0.9:40000 > 10.1.0.7:3306, ESTABLISHED`. */
export function formatFlow(entry: ConntrackEntry): string {
  const state = entry.state === undefined ? "" : `, ${entry.state}`;
  const source = formatEnd(entry.source, entry.sourcePort);
  const destination = formatEnd(entry.destination, entry.destinationPort);
  return `${source} > ${destination}${state}`;
}

function formatEnd(address: IpAddress, port: number): string {
  const text = formatAddress(address);
  if (port === 0) return text;
  return address.family === 6 ? `[${text}]:${port}` : `${text}:${port}`;
}

/** The line of `conntrack -L` for the entry, without its reference count. */
export function formatEntry(entry: ConntrackEntry): string {
  const name = protocolName(entry.protocol);
  const known = /^\d/.test(name) ? "unknown" : name;
  const parts = [
    known.padEnd(8),
    String(entry.protocol),
    String(Math.max(0, Math.floor(entry.timeout))),
    ...(entry.state === undefined ? [] : [entry.state]),
    formatSide(entry, { isReply: false }),
    ...(entry.seenReply ? [] : ["[UNREPLIED]"]),
    formatSide(entry, { isReply: true }),
    ...(entry.assured ? ["[ASSURED]"] : []),
    `mark=${entry.mark}`,
    ...(entry.zone === 0 ? [] : [`zone=${entry.zone}`]),
  ];
  return parts.join(" ");
}

function formatSide(entry: ConntrackEntry, { isReply }: { readonly isReply: boolean }): string {
  const [from, to] = isReply ? [entry.destination, entry.source] : [entry.source, entry.destination];
  const addresses = `src=${formatAddress(from)} dst=${formatAddress(to)}`;
  if (entry.icmp !== undefined) {
    const { type, code, id } = entry.icmp;
    const answer = entry.protocol === PROTOCOL.icmp ? icmpAnswer(type) : icmpv6Answer(type);
    return `${addresses} type=${isReply ? answer : type} code=${code} id=${id}`;
  }
  if (!isTrackedByPorts(entry.protocol)) return addresses;
  const [source, destination] = isReply
    ? [entry.destinationPort, entry.sourcePort]
    : [entry.sourcePort, entry.destinationPort];
  return `${addresses} sport=${source} dport=${destination}`;
}
