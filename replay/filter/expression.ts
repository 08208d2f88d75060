/**
 * Filter expressions in tcpdump's words, pcap-filter(7): text to tree.
 *
 *     expression  = term { ("and" | "&&" | "or" | "||") term }        left to right, of equal precedence
 *     term        = ("not" | "!") term | "(" expression ")" | primitive
 *     primitive   = [protocol] [direction] type value | protocol | "proto" N | value
 *     direction   = "src" | "dst" | "src or dst" | "src and dst"
 *     type        = "host" | "net" | "port" | "portrange"
 *
 * A value without a type takes the qualifiers of the primitive before it: `port 80 or 443`.
 */
import { parseProtocol } from "../../dataplane/packet.ts";

export type Side = "source" | "destination" | "either" | "both";

export type Expression =
  | { readonly kind: "and" | "or"; readonly left: Expression; readonly right: Expression }
  | { readonly kind: "not"; readonly inner: Expression }
  | { readonly kind: "family"; readonly family: 4 | 6 }
  | { readonly kind: "protocol"; readonly protocol: number }
  | { readonly kind: "host" | "net"; readonly side: Side; readonly text: string; readonly column: number }
  | { readonly kind: "ports"; readonly side: Side; readonly first: number; readonly last: number };

export interface FilterProblem {
  /** What was found and what is allowed. */
  readonly problem: string;
  /** From 1. */
  readonly column: number;
}

/** Deeper nesting than anyone writes; the parser calls itself for each level. */
const MAX_DEPTH = 200;
const MAX_CHARACTERS = 65_536;

export function parseExpression(text: string): Expression | FilterProblem {
  if (text.length > MAX_CHARACTERS) return { problem: `longer than ${MAX_CHARACTERS} characters`, column: 1 };
  try {
    return new Parser(tokensOf(text), text.length + 1).parse();
  } catch (error) {
    if (error instanceof Refusal) return { problem: error.message, column: error.column };
    throw error;
  }
}

class Refusal extends Error {
  readonly column: number;

  constructor(message: string, column: number) {
    super(message);
    this.column = column;
  }
}

interface Token {
  readonly text: string;
  readonly column: number;
}

function tokensOf(text: string): readonly Token[] {
  return [...text.matchAll(/\(|\)|&&|\|\||!|[^\s()!&|]+|\S/g)].map((match) => ({
    text: match[0],
    column: match.index + 1,
  }));
}

const TYPES = ["host", "net", "port", "portrange"] as const;
type Type = (typeof TYPES)[number];

/** Protocol words of pcap-filter(7) that a packet here can have, beside those that `parseProtocol` knows. */
const PROTOCOLS: ReadonlyMap<string, number> = new Map([
  ["icmp6", 58],
  ["ah", 51],
  ["esp", 50],
  ["igmp", 2],
  ["pim", 103],
  ["vrrp", 112],
  ["igrp", 9],
  ...["tcp", "udp", "sctp", "icmp", "icmpv6", "gre", "dccp", "udplite"].flatMap((name): readonly [string, number][] => {
    const number = parseProtocol(name);
    return number === undefined ? [] : [[name, number]];
  }),
]);

/** Names of ports that people type; the rest of /etc/services would be a file of its own. */
const PORT_NAMES: ReadonlyMap<string, number> = new Map([
  ["ftp", 21],
  ["ssh", 22],
  ["smtp", 25],
  ["domain", 53],
  ["dns", 53],
  ["http", 80],
  ["pop3", 110],
  ["ntp", 123],
  ["imap", 143],
  ["snmp", 161],
  ["ldap", 389],
  ["https", 443],
  ["mysql", 3306],
  ["postgresql", 5432],
  ["amqp", 5672],
  ["redis", 6379],
]);

/** What a value without a type is taken for. */
interface Qualifiers {
  readonly side: Side;
  readonly type: Type;
  readonly protocol: number | undefined;
}

const KEYWORDS: ReadonlySet<string> = new Set([
  ...["and", "or", "not", "&&", "||", "!", "(", ")", "src", "dst", "proto", "ip", "ip6", "mask"],
  ...TYPES,
]);

class Parser {
  readonly #tokens: readonly Token[];
  readonly #end: Token;
  #at = 0;
  #depth = 0;
  #last: Qualifiers = { side: "either", type: "host", protocol: undefined };

  constructor(tokens: readonly Token[], endColumn: number) {
    this.#tokens = tokens;
    this.#end = { text: "", column: endColumn };
  }

  parse(): Expression {
    const expression = this.#expression();
    const rest = this.#peek();
    if (rest.text !== "") throw new Refusal(`expected and, or, or the end, found "${rest.text}"`, rest.column);
    return expression;
  }

  #expression(): Expression {
    let left = this.#term();
    for (;;) {
      const kind = CONJUNCTIONS.get(this.#peek().text);
      if (kind === undefined) return left;
      this.#at++;
      left = { kind, left, right: this.#term() };
    }
  }

  #term(): Expression {
    const token = this.#peek();
    if (++this.#depth > MAX_DEPTH) throw new Refusal(`nested deeper than ${MAX_DEPTH} levels`, token.column);
    try {
      if (this.#accept("not", "!")) return { kind: "not", inner: this.#term() };
      if (this.#accept("(")) {
        const inner = this.#expression();
        const close = this.#peek();
        if (!this.#accept(")"))
          throw new Refusal(`expected ) for the ( at column ${token.column}${found(close)}`, close.column);
        return inner;
      }
      return this.#primitive();
    } finally {
      this.#depth--;
    }
  }

  #primitive(): Expression {
    const start = this.#peek();
    const family = this.#accept("ip") ? 4 : this.#accept("ip6") ? 6 : undefined;
    const protocol = this.#protocol();
    const side = this.#side();
    const type = TYPES.find((candidate) => this.#accept(candidate));
    const own: Expression[] = [];
    if (family !== undefined) own.push({ kind: "family", family });
    if (protocol !== undefined) own.push({ kind: "protocol", protocol });
    const isBare = side === undefined && type === undefined;
    if (isBare && own.length > 0) return all(own);
    const value = this.#peek();
    if (value.text === "" || KEYWORDS.has(value.text)) {
      const wanted = isBare
        ? "host, net, port, portrange, a protocol, not or ("
        : `a value after ${this.#before(start)}`;
      throw new Refusal(`expected ${wanted}${found(value)}`, value.column);
    }
    this.#at++;
    const inherited = this.#last;
    const qualifiers: Qualifiers = isBare ? inherited : { side: side ?? "either", type: type ?? "host", protocol };
    this.#last = qualifiers;
    if (isBare && inherited.protocol !== undefined) own.push({ kind: "protocol", protocol: inherited.protocol });
    return all([...own, this.#valued(qualifiers, value)]);
  }

  /** `tcp`, `icmp6`, `proto 47`, `proto gre`. */
  #protocol(): number | undefined {
    const word = PROTOCOLS.get(this.#peek().text);
    if (word !== undefined) {
      this.#at++;
      return word;
    }
    if (!this.#accept("proto")) return undefined;
    // A shell needs the backslash that tcpdump wants before protocol names here; it may be left out.
    const token = this.#peek();
    const name = token.text.replace(/^\\/, "");
    const protocol = PROTOCOLS.get(name) ?? parseProtocol(name);
    if (protocol === undefined) {
      throw new Refusal(`expected a protocol name or 0-255 after proto${found(token)}`, token.column);
    }
    this.#at++;
    return protocol;
  }

  #side(): Side | undefined {
    const first = this.#peek().text;
    if (first !== "src" && first !== "dst") return undefined;
    this.#at++;
    const side = first === "src" ? "source" : "destination";
    const [conjunction, second] = [this.#tokens[this.#at]?.text, this.#tokens[this.#at + 1]?.text];
    const kind = CONJUNCTIONS.get(conjunction ?? "");
    if (kind === undefined || (second !== "src" && second !== "dst") || second === first) return side;
    // `src or dst port 53`, but not `src 10.0.0.1 or dst …`, and not `src or dst` of two primitives.
    this.#at += 2;
    return kind === "or" ? "either" : "both";
  }

  #valued({ side, type }: Qualifiers, value: Token): Expression {
    switch (type) {
      case "host":
        return { kind: "host", side, text: value.text, column: value.column };
      case "net":
        return { kind: "net", side, text: this.#masked(value), column: value.column };
      case "port": {
        const port = portOf(value, value.text);
        return { kind: "ports", side, first: port, last: port };
      }
      case "portrange": {
        const dash = value.text.lastIndexOf("-");
        if (dash < 1) throw new Refusal(`expected FIRST-LAST after portrange${found(value)}`, value.column);
        const ends = [portOf(value, value.text.slice(0, dash)), portOf(value, value.text.slice(dash + 1))];
        return { kind: "ports", side, first: Math.min(...ends), last: Math.max(...ends) };
      }
    }
  }

  /** `10.0.0.0 mask 255.0.0.0` as `10.0.0.0/8`. */
  #masked(value: Token): string {
    if (!this.#accept("mask")) return value.text;
    const mask = this.#peek();
    const octets = mask.text.split(".").map(Number);
    const bits = octets.map((octet) => octet.toString(2).padStart(8, "0")).join("");
    if (octets.length !== 4 || !/^1*0*$/.test(bits) || bits.length !== 32) {
      throw new Refusal(`expected a mask such as 255.255.0.0${found(mask)}`, mask.column);
    }
    this.#at++;
    return `${value.text}/${bits.indexOf("0") < 0 ? 32 : bits.indexOf("0")}`;
  }

  #before(start: Token): string {
    return this.#tokens
      .slice(this.#tokens.indexOf(start), this.#at)
      .map(({ text }) => text)
      .join(" ");
  }

  #peek(): Token {
    return this.#tokens[this.#at] ?? this.#end;
  }

  #accept(...texts: readonly string[]): boolean {
    const { text } = this.#peek();
    if (text === "" || !texts.includes(text)) return false;
    this.#at++;
    return true;
  }
}

const CONJUNCTIONS: ReadonlyMap<string, "and" | "or"> = new Map([
  ["and", "and"],
  ["&&", "and"],
  ["or", "or"],
  ["||", "or"],
]);

function found({ text }: Token): string {
  return text === "" ? ", found the end" : `, found "${text}"`;
}

function portOf(token: Token, text: string): number {
  const port = PORT_NAMES.get(text) ?? (/^\d{1,5}$/.test(text) ? Number(text) : Number.NaN);
  if (port >= 0 && port <= 65_535) return port;
  throw new Refusal(`expected a port, 0-65535 or a name such as http, found "${text}"`, token.column);
}

function all(expressions: readonly Expression[]): Expression {
  const [first, ...rest] = expressions;
  if (first === undefined) throw new Error("a primitive says nothing");
  return rest.reduce((left, right): Expression => ({ kind: "and", left, right }), first);
}
