/** The pieces that strategies put rules together from. */
import { type Cidr, hostCidr, type IpAddress } from "../dataplane/address.ts";
import type { Match, PortRange, Side, Target } from "../dataplane/program.ts";

export const ACCEPT: Target = { kind: "accept" };
export const DROP: Target = { kind: "drop" };
export const RETURN: Target = { kind: "return" };

export function jumpTo(chain: string): Target {
  return { kind: "jump", chain };
}

/** `MARK --set-xmark value/mask`. */
export function setMark(value: number, mask: number): Target {
  return { kind: "mark", value, mask };
}

export function comment(text: string): Match {
  return { kind: "comment", text };
}

/** Holds for one address. */
export function host(side: Side, address: IpAddress): Match {
  return block(side, hostCidr(address));
}

export function block(side: Side, cidr: Cidr): Match {
  return { kind: "address", side, cidr, negate: false };
}

const SIDES = { source: ["source"], destination: ["destination"] } as const satisfies Record<Side, readonly Side[]>;

/** In a set of one dimension. */
export function inSet(set: string, side: Side): Match {
  return { kind: "set", set, sides: SIDES[side], negate: false };
}

export function notInSet(set: string, side: Side): Match {
  return { kind: "set", set, sides: SIDES[side], negate: true };
}

const PROTOCOLS = Array.from({ length: 256 }, (_, protocol): Match => ({ kind: "protocol", protocol, negate: false }));

export function ofProtocol(protocol: number): Match {
  return PROTOCOLS[protocol] ?? { kind: "protocol", protocol, negate: false };
}

/** Destination ports by the protocol's own module. */
export function toPorts(extension: "tcp" | "udp" | "sctp", range: PortRange): Match {
  const known = range.first === range.last ? PORTS[extension].get(range.first) : undefined;
  if (known !== undefined) return known;
  const match: Match = { kind: "ports", side: "destination", ranges: [range], extension, negate: false };
  if (range.first === range.last) PORTS[extension].set(range.first, match);
  return match;
}

/** By number: policies by the ten thousand ask for few ports, and rules share them. */
const PORTS = { tcp: new Map<number, Match>(), udp: new Map<number, Match>(), sctp: new Map<number, Match>() };

export function marked(value: number, mask: number): Match {
  return { kind: "mark", value, mask, negate: false };
}

export function notMarked(value: number, mask: number): Match {
  return { kind: "mark", value, mask, negate: true };
}
