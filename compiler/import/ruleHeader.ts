/** The options of iptables itself that ask something of a packet: `-s -d -i -o -p -f`. */
import { type Family, formatAddress } from "../../dataplane/address.ts";
import type { Match } from "../../dataplane/program.ts";
import { INTERFACE_NAME_MAX_BYTES, unsafeName } from "../names.ts";
import { shorten } from "./importIssues.ts";
import { type Given, valueAt } from "./scope.ts";
import { isEverything, parsePrefix, parseProtocolName } from "./values.ts";

export type HeaderReading =
  | { readonly kind: "match"; readonly match: Match }
  /** It holds for every packet. */
  | { readonly kind: "always" }
  /** It is right, but the instruction set cannot say it. */
  | { readonly kind: "unrepresented" }
  | { readonly kind: "wrong"; readonly code: string; readonly message: string };

/** The options, and how many values each takes. */
export const HEADER_OPTIONS: Readonly<Record<string, 0 | 1>> = { "-s": 1, "-d": 1, "-i": 1, "-o": 1, "-p": 1, "-f": 0 };

export function readHeader(given: Given, family: Family): HeaderReading {
  switch (given.name) {
    case "-s":
      return readAddress(given, family, "source");
    case "-d":
      return readAddress(given, family, "destination");
    case "-i":
      return readInterface(given, "in");
    case "-o":
      return readInterface(given, "out");
    case "-p":
      return readProtocol(given);
    default: // -f
      if (family === 6) return { kind: "wrong", code: "bad-rule", message: "ip6tables has no -f" };
      return { kind: "match", match: { kind: "fragment", negate: given.negate } };
  }
}

function wrongValue(given: Given, wanted: string): HeaderReading {
  const message = `${given.at.text} ${shorten(valueAt(given).raw)}: want ${wanted}`;
  return { kind: "wrong", code: "bad-value", message };
}

function readAddress(given: Given, family: Family, side: "source" | "destination"): HeaderReading {
  const { text } = valueAt(given);
  const reading = parsePrefix(text);
  if (reading.kind === "mask" || isListOfPrefixes(text)) return { kind: "unrepresented" };
  if (reading.kind === "wrong") return wrongValue(given, `an IPv${family} address or prefix`);
  const { cidr } = reading;
  if (cidr.family !== family) {
    const message = `${formatAddress(cidr)} is an IPv${cidr.family} address in a save of IPv${family} tables`;
    return { kind: "wrong", code: "wrong-family", message };
  }
  // The save commands leave 0.0.0.0/0 out.
  if (isEverything(cidr) && !given.negate) return { kind: "always" };
  return { kind: "match", match: { kind: "address", side, cidr, negate: given.negate } };
}

/** `-s a,b` of people's own scripts: the tools make as many rules of it, so that no save has it. */
function isListOfPrefixes(text: string): boolean {
  const parts = text.split(",");
  return parts.length > 1 && parts.every((part) => parsePrefix(part).kind !== "wrong");
}

function readInterface(given: Given, side: "in" | "out"): HeaderReading {
  const name = valueAt(given).text;
  const unsafe = unsafeName(name, INTERFACE_NAME_MAX_BYTES);
  if (unsafe !== undefined) return wrongValue(given, `an interface's name; this one ${unsafe}`);
  return { kind: "match", match: { kind: "interface", side, name, negate: given.negate } };
}

function readProtocol(given: Given): HeaderReading {
  const protocol = parseProtocolName(valueAt(given).text);
  if (protocol === undefined || (protocol === 0 && given.negate)) {
    return wrongValue(given, "a protocol name or a number 0-255");
  }
  if (protocol === 0) return { kind: "always" };
  return { kind: "match", match: { kind: "protocol", protocol, negate: given.negate } };
}
