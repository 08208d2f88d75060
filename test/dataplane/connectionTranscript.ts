/**
 * Connections as transcripts: one packet a line, what conntrack says of it, and what the table holds afterwards.
 *
 * ```
 *   0    > S  seq=1000           new          SYN_SENT 120 unreplied
 *   0.1  < SA seq=5000 ack=1001  established  SYN_RECV 60
 *        > A  seq=1001 ack=5001  established  ESTABLISHED 432000 assured
 *        ! < R seq=1             invalid
 * ```
 *
 * - Time in seconds; a line without one comes at the time of the line before. `!`: the packet is dropped afterwards.
 * - `>` client to server, `<` server to client, `*` from a router on the way (ICMP errors; `to=server` or the client).
 * - TCP: its flags (`-` for none), `seq= ack= win= len= scale=`. SCTP: a chunk, `tag= init=`. ICMP: `type/code`, `id=`, and
 *   `about=>` or `about=<` for an error that quotes what client or server sent (`about=>tcp:81`: another port; `about=>icmp`: its ping). Others: `data`.
 *   `zone=`, `mark=` (set on the connection), `port=` (of the client) and `fragment` go with any.
 * - Then the state; then, if it matters, the entry of the two ends: state (TCP, SCTP), seconds left, `unreplied` or
 *   `assured` or neither; or `none`. Seconds may be left out.
 */
import { expect } from "vitest";
import type { IpAddress } from "../../dataplane/address.ts";
import type { ConntrackEntry } from "../../dataplane/conntrack/entry.ts";
import type { ConntrackOptions } from "../../dataplane/conntrack/options.ts";
import { ConntrackTable } from "../../dataplane/conntrack.ts";
import {
  appendPacket,
  createBatch,
  type FiveTuple,
  makePacket,
  type Packet,
  PROTOCOL,
  parseProtocol,
  SCTP_CHUNK,
  TCP_FLAG,
} from "../../dataplane/packet.ts";
import { ENDS } from "../../verify/fuzz/conversations.ts";

export interface TranscriptOptions extends ConntrackOptions {
  /** Default tcp. */
  readonly protocol?: "tcp" | "udp" | "sctp" | "icmp" | "icmpv6" | number;
  /** Default 4. */
  readonly family?: 4 | 6;
  /** Goes on with a table that has seen something already. */
  readonly table?: ConntrackTable;
}

/** One line, parsed. */
export interface TranscriptLine {
  readonly text: string;
  readonly packet: Packet;
  readonly zone: number;
  readonly isDropped: boolean;
  readonly setMark: number | undefined;
  readonly state: string;
  /** As written: words of the entry, empty when the line does not say. */
  readonly entry: readonly string[];
}

const CLIENT_PORT = 40_000;
const SERVER_PORT = 80;
const STATES = new Set(["new", "established", "related", "invalid", "untracked", "full"]);

/** Parses a transcript; blank lines and those that start with `#` say nothing. */
export function parseTranscript(text: string, options: TranscriptOptions = {}): TranscriptLine[] {
  let time = 0;
  const lines: TranscriptLine[] = [];
  for (const line of text.split("\n").map((raw) => raw.trim())) {
    if (line === "" || line.startsWith("#")) continue;
    const words = line.split(/\s+/);
    if (/^[\d.]+$/.test(words[0] ?? "")) time = Number(words.shift());
    lines.push({ ...parseLine(words, { ...options, time }), text: line });
  }
  return lines;
}

function parseLine(
  words: string[],
  { time, ...options }: TranscriptOptions & { time: number },
): Omit<TranscriptLine, "text"> {
  const isDropped = words[0] === "!";
  if (isDropped) words.shift();
  const from = words.shift() ?? "";
  const what = words.shift() ?? "";
  const at = words.findIndex((word) => STATES.has(word));
  if (!"><*".includes(from) || at < 0)
    throw new Error(`cannot read transcript line: ${[from, what, ...words].join(" ")}`);
  const fields = new Map(words.slice(0, at).map((word) => splitField(word)));
  return {
    packet: packetOf({ from, what, fields, time, ...options }),
    zone: number(fields, "zone") ?? 0,
    isDropped,
    setMark: number(fields, "mark"),
    state: words[at] ?? "",
    entry: words.slice(at + 1),
  };
}

function splitField(word: string): [string, string] {
  const equals = word.indexOf("=");
  return equals < 0 ? [word, ""] : [word.slice(0, equals), word.slice(equals + 1)];
}

interface Parsed extends TranscriptOptions {
  readonly from: string;
  readonly what: string;
  readonly fields: ReadonlyMap<string, string>;
  readonly time: number;
}

function number(fields: ReadonlyMap<string, string>, name: string): number | undefined {
  const text = fields.get(name);
  return text === undefined ? undefined : Number(text);
}

function packetOf(parsed: Parsed): Packet {
  const { from, what, fields, time } = parsed;
  const family = parsed.family ?? 4;
  const ends = ENDS[family];
  const protocol = protocolOf(parsed);
  const clientPort = number(fields, "port") ?? CLIENT_PORT;
  const outward = tupleOf({ protocol, clientPort, family }, ">");
  const base = {
    ...(from === "<" ? tupleOf({ protocol, clientPort, family }, "<") : outward),
    time,
    payloadBytes: number(fields, "len") ?? 0,
    fragment: fields.has("fragment"),
  };
  const isMessage = /^\d+\/\d+$/.test(what);
  if (isMessage) {
    const [type = 0, code = 0] = what.split("/").map(Number);
    const message = {
      ...base,
      protocol: protocol === PROTOCOL.icmp || protocol === PROTOCOL.icmpv6 ? protocol : icmpOf(family),
      sourcePort: 0,
      destinationPort: 0,
      icmpType: type,
      icmpCode: code,
      icmpId: number(fields, "id") ?? 0,
    };
    const about = fields.get("about");
    const toServer = fields.get("to") === "server";
    const routed =
      from === "*"
        ? { source: toServer ? ends.near : ends.far, destination: toServer ? ends.server : ends.client }
        : { source: base.source, destination: base.destination };
    if (about === undefined) return makePacket({ ...message, ...routed });
    return makePacket({ ...message, ...routed, quoted: quotedOf(about, { protocol, clientPort, family }) });
  }
  switch (protocol) {
    case PROTOCOL.tcp:
      return makePacket({
        ...base,
        tcpFlags: flagsOf(what),
        sequence: number(fields, "seq") ?? 0,
        acknowledgment: number(fields, "ack") ?? 0,
        window: number(fields, "win") ?? 65_535,
        ...(fields.has("scale") && { windowScale: number(fields, "scale") ?? 0 }),
      });
    case PROTOCOL.sctp:
      return makePacket({
        ...base,
        sctpChunk: chunkOf(what),
        verificationTag: number(fields, "tag") ?? 0,
        sequence: number(fields, "init") ?? 0,
      });
    default:
      if (what !== "data") throw new Error(`what is "${what}" of protocol ${protocol}?`);
      return makePacket(base);
  }
}

function protocolOf({ protocol = "tcp" }: TranscriptOptions): number {
  return typeof protocol === "number" ? protocol : (parseProtocol(protocol) ?? 0);
}

function icmpOf(family: 4 | 6): number {
  return family === 4 ? PROTOCOL.icmp : PROTOCOL.icmpv6;
}

interface Conversation {
  readonly protocol: number;
  readonly clientPort: number;
  readonly family: 4 | 6;
}

function tupleOf({ protocol, clientPort, family }: Conversation, from: ">" | "<"): FiveTuple {
  const { client, server } = ENDS[family];
  const ported = protocol !== PROTOCOL.icmp && protocol !== PROTOCOL.icmpv6;
  const [near, far] = ported ? [clientPort, SERVER_PORT] : [0, 0];
  return from === ">"
    ? { protocol, source: client, destination: server, sourcePort: near, destinationPort: far }
    : { protocol, source: server, destination: client, sourcePort: far, destinationPort: near };
}

/** `>`, `<`, `>tcp:81`, `<icmp`: who sent the quoted packet, another protocol, another port of the client. */
function quotedOf(about: string, conversation: Conversation): FiveTuple {
  const match = /^([<>])(\w*)(?::(\d+))?$/.exec(about);
  if (match === null) throw new Error(`about=${about}?`);
  const protocol = match[2] === "" ? conversation.protocol : (parseProtocol(match[2] ?? "") ?? 0);
  const clientPort = match[3] === undefined ? conversation.clientPort : Number(match[3]);
  return tupleOf({ ...conversation, protocol, clientPort }, match[1] === "<" ? "<" : ">");
}

function flagsOf(letters: string): number {
  let flags = 0;
  for (const letter of letters === "-" ? "" : letters) {
    if (!(letter in TCP_FLAG)) throw new Error(`no TCP flag ${letter} in ${letters}`);
    flags |= TCP_FLAG[letter as keyof typeof TCP_FLAG];
  }
  return flags;
}

function chunkOf(name: string): number {
  return /^\d+$/.test(name) ? Number(name) : SCTP_CHUNK[name as keyof typeof SCTP_CHUNK];
}

/** Walks the packets through a table and holds every line to what it says. Returns the table. */
export function expectTranscript(text: string, options: TranscriptOptions = {}): ConntrackTable {
  const table = options.table ?? new ConntrackTable(options);
  const batch = createBatch(1);
  for (const line of parseTranscript(text, options)) {
    batch.length = 0;
    const row = appendPacket(batch, line.packet);
    const state = table.lookup(batch, row, line.zone);
    expect(table.isFull ? "full" : state, `${line.text}   (${table.lastWhy()})`).toBe(line.state);
    if (line.setMark !== undefined) table.mark = line.setMark;
    if (line.isDropped) table.abandon();
    else table.confirm();
    if (line.entry.length > 0) expect(describeEntry([...table.entries()], line), line.text).toBe(line.entry.join(" "));
  }
  return table;
}

/** The entry of the line's packet (or of the one it quotes) in the words of the line: seconds only if those have some. */
export function describeEntry(entries: readonly ConntrackEntry[], line: TranscriptLine): string {
  const tuple = line.packet.quoted ?? line.packet;
  const entry = entries.find((found) => found.zone === line.zone && isOf(found, tuple, line.packet.icmpId));
  if (entry === undefined) return "none";
  const saysSeconds = line.entry.some((word) => /^\d/.test(word));
  return [
    ...(entry.state === undefined ? [] : [entry.state]),
    ...(saysSeconds ? [String(entry.timeout)] : []),
    ...(entry.assured ? ["assured"] : entry.seenReply ? [] : ["unreplied"]),
    ...(line.entry.some((word) => word.startsWith("mark=")) ? [`mark=${entry.mark}`] : []),
  ].join(" ");
}

function isOf(entry: ConntrackEntry, tuple: FiveTuple, icmpId: number): boolean {
  if (entry.protocol !== tuple.protocol) return false;
  if (entry.icmp !== undefined && entry.icmp.id !== icmpId) return false;
  const there = sameEnd(entry.source, tuple.source) && sameEnd(entry.destination, tuple.destination);
  const back = sameEnd(entry.source, tuple.destination) && sameEnd(entry.destination, tuple.source);
  if (entry.sourcePort === 0) return there || back;
  return (
    (there && entry.sourcePort === tuple.sourcePort && entry.destinationPort === tuple.destinationPort) ||
    (back && entry.sourcePort === tuple.destinationPort && entry.destinationPort === tuple.sourcePort)
  );
}

function sameEnd(a: IpAddress, b: IpAddress): boolean {
  return a.family === b.family && a.words.every((word, index) => word === b.words[index]);
}
