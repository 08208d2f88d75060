/** Fields of records, whatever the log calls them and however it writes them. */
import { parseProtocol } from "../../dataplane/packet.ts";
import type { TextProblem } from "../transcript.ts";

export type Fields = Readonly<Record<string, unknown>>;

export function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The first of the names that holds an object. */
export function objectAt(fields: Fields | undefined, ...names: readonly string[]): Fields | undefined {
  for (const name of names) {
    const value = fields?.[name];
    if (isFields(value)) return value;
  }
  return undefined;
}

/** The first of the names that holds a text with something in it; numbers count as text. `-` is how logs write nothing. */
export function textAt(fields: Fields | undefined, ...names: readonly string[]): string | undefined {
  for (const name of names) {
    const value = fields?.[name];
    if (typeof value === "number") return String(value);
    if (typeof value === "string" && value !== "" && value !== "-") return value;
  }
  return undefined;
}

/** The first of the names that holds a number, as number or as text (protobuf writes 64-bit numbers as text). */
export function numberAt(fields: Fields | undefined, ...names: readonly string[]): number | undefined {
  const text = textAt(fields, ...names);
  if (text === undefined) return undefined;
  const number = Number(text);
  return Number.isFinite(number) ? number : undefined;
}

/** A count of bytes or packets; damaged or negative counts are none. */
export function countAt(fields: Fields | undefined, ...names: readonly string[]): number | undefined {
  const number = numberAt(fields, ...names);
  return number !== undefined && number >= 0 && number <= Number.MAX_SAFE_INTEGER ? Math.floor(number) : undefined;
}

/** A port; undefined where there is none. */
export function portAt(fields: Fields | undefined, ...names: readonly string[]): number | undefined | TextProblem {
  const text = textAt(fields, ...names);
  if (text === undefined) return undefined;
  const port = Number(text);
  if (Number.isInteger(port) && port >= 0 && port <= 65_535) return port;
  return { problem: `${names[0] ?? "port"} is a port 0-65535, found ${quoted(text)}` };
}

/** `tcp`, `TCP`, `6`. */
export function protocolAt(fields: Fields | undefined, ...names: readonly string[]): number | TextProblem {
  const text = textAt(fields, ...names);
  const name = text?.toLowerCase();
  const protocol =
    name === undefined ? undefined : parseProtocol(name === "icmp6" || name === "ipv6-icmp" ? "icmpv6" : name);
  if (protocol !== undefined) return protocol;
  return { problem: `${names[0] ?? "protocol"} is a protocol's name or number 0-255, found ${quoted(text)}` };
}

const ISO_TIME = /^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(\.\d+)?\s*(Z|[+-]\d\d:?\d\d)?$/;

/** Seconds above which a number is taken for milliseconds, micro- or nanoseconds: the year 5138. */
const MOST_SECONDS = 1e11;

/** A time in seconds since the epoch, as ISO 8601 or as a number of (milli-, micro-, nano-) seconds. */
export function timeAt(fields: Fields | undefined, ...names: readonly string[]): number | TextProblem {
  const text = textAt(fields, ...names);
  const time = text === undefined ? undefined : parseTime(text);
  if (time !== undefined) return time;
  return { problem: `${names[0] ?? "time"} is a time in seconds or as 2024-05-01T12:00:00Z, found ${quoted(text)}` };
}

export function parseTime(text: string): number | undefined {
  const number = Number(text);
  if (Number.isFinite(number) && number >= 0) {
    let seconds = number;
    while (seconds > MOST_SECONDS) seconds /= 1000;
    return seconds;
  }
  const match = ISO_TIME.exec(text);
  if (match === null) return undefined;
  const [, date, time, fraction = "0", zone = "Z"] = match;
  const milliseconds = Date.parse(`${date}T${time}${zone}`);
  return Number.isNaN(milliseconds) ? undefined : milliseconds / 1000 + Number(fraction);
}

/** What was found, short enough for a message. */
export function quoted(value: unknown): string {
  if (value === undefined) return "nothing";
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

/** Reads a line of JSON that holds an object. */
export function parseObject(line: string): Fields | TextProblem {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (error) {
    return { problem: `not JSON: ${error instanceof Error ? error.message : String(error)}` };
  }
  return isFields(value) ? value : { problem: `a record is an object, found ${quoted(value)}` };
}
