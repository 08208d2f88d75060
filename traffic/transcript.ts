/**
 * Packets as people and tools write them: one JSON object a line, or the one-line form
 * `tcp prod/api-pod:40000 > default/db:3306 S`. Both read into a `PacketText`; whoever knows the cluster turns its names
 * into addresses.
 */
import { type Family, type IpAddress, parseAddress } from "../dataplane/address.ts";
import {
  type FiveTuple,
  hasPorts,
  makePacket,
  type Packet,
  PROTOCOL,
  parseProtocol,
  protocolName,
  SCTP_CHUNK,
  TCP_FLAG,
} from "../dataplane/packet.ts";

/** The 5-tuple with its ends as written: an address, `namespace/pod`, `pod` or `node:NAME`. */
export interface TupleText {
  /** IANA number. */
  readonly protocol: number;
  readonly source: string;
  readonly destination: string;
  readonly sourcePort: number;
  readonly destinationPort: number;
}

/** Everything of a packet that its text can give beside the tuple; absent fields take `makePacket`'s defaults. */
export type PacketDetails = Partial<
  Pick<
    Packet,
    | "time"
    | "tcpFlags"
    | "icmpType"
    | "icmpCode"
    | "icmpId"
    | "sequence"
    | "acknowledgment"
    | "window"
    | "payloadBytes"
    | "sctpChunk"
    | "verificationTag"
    | "fragment"
  >
>;

/** A packet whose names are not resolved yet. */
export interface PacketText extends TupleText {
  /** Echoed in results. */
  readonly id: string | number | undefined;
  readonly details: PacketDetails;
  readonly quoted: TupleText | undefined;
}

/** The address a name stands for in a family (undefined: whichever comes first), or what is wrong with it. */
export type Resolve = (name: string, family: Family | undefined, time?: number) => IpAddress | TextProblem;

/** Why a text is not a packet: what was found and what is allowed. */
export interface TextProblem {
  readonly problem: string;
}

export function isProblem(value: object): value is TextProblem {
  return "problem" in value;
}

const UINT32 = 0xffff_ffff;

/** The number fields of a JSON packet and their largest value. */
const NUMBERS = {
  sourcePort: 65_535,
  destinationPort: 65_535,
  icmpType: 255,
  icmpCode: 255,
  icmpId: 65_535,
  sequence: UINT32,
  acknowledgment: UINT32,
  window: 65_535,
  payloadBytes: UINT32,
  verificationTag: UINT32,
} as const;

/** Every field a packet can have, in the order in which they are written. */
export const PACKET_FIELDS = [
  "id",
  "time",
  "protocol",
  "source",
  "sourcePort",
  "destination",
  "destinationPort",
  "tcpFlags",
  "icmpType",
  "icmpCode",
  "icmpId",
  "sequence",
  "acknowledgment",
  "window",
  "payloadBytes",
  "sctpChunk",
  "verificationTag",
  "quoted",
  "fragment",
] as const;

const KNOWN: ReadonlySet<string> = new Set(PACKET_FIELDS);

/** What recordings carry beside the packet (what became of it): read over, so that a recording can be pushed again. */
const RECORDED: ReadonlySet<string> = new Set(["verdict", "also", "hops", "reason", "expect", "walk", "node"]);

/** Reads one line of JSON. */
export function parsePacketLine(line: string): PacketText | TextProblem {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (error) {
    return { problem: `not JSON: ${error instanceof Error ? error.message : String(error)}` };
  }
  return packetFromObject(value);
}

/** Reads a packet object as JSON or YAML gave it. */
export function packetFromObject(value: unknown): PacketText | TextProblem {
  if (!isObject(value)) return { problem: `a packet is an object, found ${describe(value)}` };
  for (const key of Object.keys(value)) {
    if (!KNOWN.has(key) && !RECORDED.has(key)) {
      return { problem: `unknown field "${key}"; a packet has ${PACKET_FIELDS.join(", ")}` };
    }
  }
  const tuple = tupleFromObject(value);
  if (isProblem(tuple)) return tuple;
  const { id } = value;
  if (id !== undefined && typeof id !== "string" && typeof id !== "number") {
    return { problem: `id is a string or a number, found ${describe(id)}` };
  }
  const details = detailsFromObject(value);
  if (isProblem(details)) return details;
  const quoted = value.quoted === undefined ? undefined : quotedFromObject(value.quoted);
  if (quoted !== undefined && isProblem(quoted)) return { problem: `quoted: ${quoted.problem}` };
  return { ...tuple, id, details, quoted };
}

type Fields = Readonly<Record<string, unknown>>;

function isObject(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function describe(value: unknown): string {
  if (value === undefined) return "nothing";
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

function tupleFromObject(value: Fields): TupleText | TextProblem {
  const protocol = protocolField(value.protocol);
  if (typeof protocol !== "number") return protocol;
  for (const end of ["source", "destination"] as const) {
    if (typeof value[end] !== "string" || value[end] === "") {
      return { problem: `${end} is an address, namespace/pod or node:NAME, found ${describe(value[end])}` };
    }
  }
  const ports = { sourcePort: hasPorts(protocol) ? 40_000 : 0, destinationPort: 0 };
  for (const port of ["sourcePort", "destinationPort"] as const) {
    const given = value[port];
    if (given === undefined) continue;
    const problem = numberProblem(port, given);
    if (problem !== undefined) return problem;
    if (typeof given === "number") ports[port] = given;
  }
  if (value.destinationPort === undefined && hasPorts(protocol)) {
    return { problem: `destinationPort is missing; ${protocolName(protocol)} needs one, 0-65535` };
  }
  return { protocol, source: String(value.source), destination: String(value.destination), ...ports };
}

function protocolField(given: unknown): number | TextProblem {
  const text = typeof given === "number" ? String(given) : given;
  const protocol = typeof text === "string" ? parseProtocol(text) : undefined;
  if (protocol !== undefined) return protocol;
  return { problem: `protocol is tcp, udp, sctp, icmp, icmpv6 or a number 0-255, found ${describe(given)}` };
}

function numberProblem(name: keyof typeof NUMBERS, given: unknown): TextProblem | undefined {
  const last = NUMBERS[name];
  if (typeof given === "number" && Number.isInteger(given) && given >= 0 && given <= last) return undefined;
  return { problem: `${name} is a whole number 0-${last}, found ${describe(given)}` };
}

type Writable<T> = { -readonly [Key in keyof T]: T[Key] };

/** The last second that has a date (ECMA-262, time values). */
const LATEST = 8_640_000_000_000;

function detailsFromObject(value: Fields): PacketDetails | TextProblem {
  const details: Writable<PacketDetails> = {};
  if (value.time !== undefined) {
    if (typeof value.time !== "number" || !(value.time >= 0 && value.time <= LATEST)) {
      return { problem: `time is in seconds, 0-${LATEST}, found ${describe(value.time)}` };
    }
    details.time = value.time;
  }
  if (value.tcpFlags !== undefined) {
    const flags = typeof value.tcpFlags === "string" ? parseTcpFlags(value.tcpFlags) : undefined;
    if (flags === undefined) return { problem: tcpFlagsProblem(value.tcpFlags) };
    details.tcpFlags = flags;
  }
  for (const name of DETAIL_NUMBERS) {
    const given = value[name];
    if (given === undefined) continue;
    const problem = numberProblem(name, given);
    if (problem !== undefined) return problem;
    if (typeof given === "number") details[name] = given;
  }
  if (value.sctpChunk !== undefined) {
    const chunk = parseSctpChunk(value.sctpChunk);
    if (chunk === undefined) {
      return {
        problem: `sctpChunk is one of ${Object.keys(SCTP_CHUNK).join(", ")} or 0-255, found ${describe(value.sctpChunk)}`,
      };
    }
    details.sctpChunk = chunk;
  }
  if (value.fragment !== undefined) {
    if (typeof value.fragment !== "boolean") {
      return { problem: `fragment is true or false, found ${describe(value.fragment)}` };
    }
    details.fragment = value.fragment;
  }
  return details;
}

const DETAIL_NUMBERS = [
  "icmpType",
  "icmpCode",
  "icmpId",
  "sequence",
  "acknowledgment",
  "window",
  "payloadBytes",
  "verificationTag",
] as const;

function quotedFromObject(value: unknown): TupleText | TextProblem {
  return isObject(value) ? tupleFromObject(value) : { problem: `a 5-tuple is an object, found ${describe(value)}` };
}

/** `SA` → bits of `TCP_FLAG`; the empty text is no flag at all, a legal (and odd) packet. Undefined for other letters. */
export function parseTcpFlags(text: string): number | undefined {
  let bits = 0;
  for (const letter of text.toUpperCase()) {
    if (!Object.hasOwn(TCP_FLAG, letter)) return undefined;
    bits |= TCP_FLAG[letter as keyof typeof TCP_FLAG];
  }
  return bits;
}

function tcpFlagsProblem(given: unknown): string {
  return `tcpFlags are letters of ${Object.keys(TCP_FLAG).join("")}, found ${describe(given)}`;
}

/** The flags in the order in which people say them: `S`, `SA`, `PA`, `FA`. */
export function formatTcpFlags(bits: number): string {
  return (["F", "S", "R", "P", "U", "E", "C", "A"] as const).filter((letter) => bits & TCP_FLAG[letter]).join("");
}

function parseSctpChunk(given: unknown): number | undefined {
  if (typeof given === "number") return Number.isInteger(given) && given >= 0 && given <= 255 ? given : undefined;
  if (typeof given !== "string") return undefined;
  const name = given.toUpperCase();
  return Object.hasOwn(SCTP_CHUNK, name) ? SCTP_CHUNK[name as keyof typeof SCTP_CHUNK] : undefined;
}

/** `INIT`, `COOKIE_ACK`, … or the number as text. */
export function formatSctpChunk(chunk: number): string {
  return Object.entries(SCTP_CHUNK).find(([, number]) => number === chunk)?.[0] ?? String(chunk);
}

/**
 * Reads the one-line form: `PROTOCOL SOURCE[:PORT] > DESTINATION[:PORT] [DETAIL]`. An IPv6 address before a port stands
 * in brackets. The detail is what the protocol makes of it: TCP flags (`SA`), an SCTP chunk (`INIT_ACK`), ICMP type and
 * code (`3/1`, `8`).
 */
export function parsePacketText(text: string): PacketText | TextProblem {
  const words = text.trim().split(/\s+/);
  const [protocolText = "", sourceText, arrow, destinationText, detail, ...rest] = words;
  if (sourceText === undefined || arrow !== ">" || destinationText === undefined || rest.length > 0) {
    return { problem: `expected "tcp namespace/pod:40000 > namespace/pod:80 S", found ${describe(text)}` };
  }
  const protocol = protocolField(protocolText);
  if (typeof protocol !== "number") return protocol;
  const source = endFromText(sourceText, protocol);
  if (isProblem(source)) return source;
  const destination = endFromText(destinationText, protocol);
  if (isProblem(destination)) return destination;
  if (hasPorts(protocol) && destination.port === undefined) {
    return {
      problem: `${destinationText} has no port; ${protocolName(protocol)} needs one, as in ${destinationText}:80`,
    };
  }
  const details = detail === undefined ? {} : detailFromText(protocol, detail);
  if (isProblem(details)) return details;
  return {
    id: undefined,
    protocol,
    source: source.name,
    destination: destination.name,
    sourcePort: source.port ?? (hasPorts(protocol) ? 40_000 : 0),
    destinationPort: destination.port ?? 0,
    details,
    quoted: undefined,
  };
}

interface EndText {
  readonly name: string;
  readonly port: number | undefined;
}

function endFromText(text: string, protocol: number): EndText | TextProblem {
  if (parseAddress(text) !== undefined) return { name: text, port: undefined };
  const match = /^(?:\[([^\]]*)\]|(.*?))(?::(\d+))?$/.exec(text);
  const name = match?.[1] ?? match?.[2] ?? "";
  if (match === null || name === "") return { problem: `${describe(text)} is not ADDRESS[:PORT] or NAME[:PORT]` };
  if (match[3] === undefined) return { name, port: undefined };
  if (!hasPorts(protocol)) return { problem: `${protocolName(protocol)} has no ports, found ${describe(text)}` };
  const port = Number(match[3]);
  return port <= 65_535 ? { name, port } : { problem: `a port is 0-65535, found ${match[3]}` };
}

function detailFromText(protocol: number, text: string): PacketDetails | TextProblem {
  switch (protocol) {
    case PROTOCOL.tcp: {
      const tcpFlags = parseTcpFlags(text);
      return tcpFlags === undefined ? { problem: tcpFlagsProblem(text) } : { tcpFlags };
    }
    case PROTOCOL.sctp: {
      const sctpChunk = parseSctpChunk(text);
      if (sctpChunk !== undefined) return { sctpChunk };
      return { problem: `an SCTP chunk is one of ${Object.keys(SCTP_CHUNK).join(", ")}, found ${describe(text)}` };
    }
    case PROTOCOL.icmp:
    case PROTOCOL.icmpv6: {
      const match = /^(\d{1,3})(?:\/(\d{1,3}))?$/.exec(text);
      const icmpType = Number(match?.[1]);
      const icmpCode = Number(match?.[2] ?? 0);
      if (match !== null && icmpType <= 255 && icmpCode <= 255) return { icmpType, icmpCode };
      return { problem: `ICMP type and code are TYPE or TYPE/CODE, each 0-255, found ${describe(text)}` };
    }
    default:
      return { problem: `nothing can follow the destination for ${protocolName(protocol)}, found ${describe(text)}` };
  }
}

/**
 * Gives the names their addresses. Both ends are of one family: that of the end written as an address, else that of the
 * protocol, else `family`, else the first address of the source.
 */
export function packetOf(text: PacketText, resolve: Resolve, family?: Family): Packet | TextProblem {
  const { time } = text.details;
  const then: Resolve = time === undefined ? resolve : (name, wanted) => resolve(name, wanted, time);
  const tuple = resolveTuple(text, then, family);
  if (isProblem(tuple)) return tuple;
  if (text.quoted === undefined) return makePacket({ ...text.details, ...tuple });
  const quoted = resolveTuple(text.quoted, then, tuple.source.family);
  if (isProblem(quoted)) return { problem: `quoted: ${quoted.problem}` };
  return makePacket({ ...text.details, ...tuple, quoted });
}

function resolveTuple(text: TupleText, resolve: Resolve, family: Family | undefined): FiveTuple | TextProblem {
  const written = parseAddress(text.source)?.family ?? parseAddress(text.destination)?.family;
  const wanted = written ?? (text.protocol === PROTOCOL.icmpv6 ? 6 : text.protocol === PROTOCOL.icmp ? 4 : family);
  const source = resolve(text.source, wanted);
  if (isProblem(source)) return source;
  const destination = resolve(text.destination, source.family);
  if (isProblem(destination)) return destination;
  if (source.family !== destination.family) {
    return { problem: `${text.source} is IPv${source.family} and ${text.destination} is IPv${destination.family}` };
  }
  const { protocol, sourcePort, destinationPort } = text;
  return { protocol, source, destination, sourcePort, destinationPort };
}

/** The one-line form of a packet; `name` says how an address is shown (with its family's brackets added here). */
export function formatPacket(packet: Packet, name: (address: IpAddress) => string): string {
  const end = (address: IpAddress, port: number): string => {
    const shown = name(address);
    if (!hasPorts(packet.protocol)) return shown;
    return shown.includes("::") || /^[0-9a-f]*:[0-9a-f:]*:/.test(shown) ? `[${shown}]:${port}` : `${shown}:${port}`;
  };
  const { protocol } = packet;
  const ends = `${end(packet.source, packet.sourcePort)} > ${end(packet.destination, packet.destinationPort)}`;
  const detail = formatDetail(packet);
  return `${protocolName(protocol)} ${ends}${detail === "" ? "" : ` ${detail}`}`;
}

/** What the one-line form says after the destination: TCP flags, SCTP chunk, ICMP type and code; "" for others. */
export function formatDetail(packet: Packet): string {
  switch (packet.protocol) {
    case PROTOCOL.tcp:
      return formatTcpFlags(packet.tcpFlags);
    case PROTOCOL.sctp:
      return formatSctpChunk(packet.sctpChunk);
    case PROTOCOL.icmp:
    case PROTOCOL.icmpv6:
      return packet.icmpCode === 0 ? String(packet.icmpType) : `${packet.icmpType}/${packet.icmpCode}`;
    default:
      return "";
  }
}
