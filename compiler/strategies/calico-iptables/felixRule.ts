/**
 * Rules as Felix writes them. Felix finds its rules again by a hash in the first comment, taken over its own spelling of
 * the rule (long options, `--set-mark`) and chained with the hash before, so each part of a rule is kept in both
 * forms: Felix's text, and what it means here.
 *
 * Source: projectcalico/calico felix/iptables/{match_builder,actions,renderer}.go, felix/generictables/rules.go.
 */
import { LRUCache } from "lru-cache";
import { type Cidr, formatCidr } from "../../../dataplane/address.ts";
import { parseProtocol } from "../../../dataplane/packet.ts";
import type { Chain, CtStateFlag, Match, PortRange, Rule, Side, Target } from "../../../dataplane/program.ts";
import { base64Url, sha224 } from "../../hash.ts";
import { LateComment, type LateTexts } from "../../lateComment.ts";
import { COMMENT_MAX_BYTES, cutToBytes } from "../../names.ts";

export interface FelixMatch {
  readonly text: string;
  readonly match: Match;
}

export interface FelixAction {
  readonly text: string;
  readonly target: Target;
}

export interface FelixRule {
  readonly matches: readonly FelixMatch[];
  /** Absent: the rule only carries its comment. */
  readonly action?: FelixAction;
  readonly comments?: readonly string[];
  readonly origin?: string;
}

/** Characters of the hash that a comment shows (felix/generictables HashLength). */
const HASH_CHARACTERS = 16;
/** felix/iptables/renderer.go maxIptablesCommentLength. */
const FELIX_COMMENT_CHARACTERS = 256;
/** What Felix leaves of a comment; the rest becomes `_` (felix/iptables shellUnsafe). */
const UNSAFE = /[^\w @%+=:,./-]/g;

/**
 * A chain with Felix's hashes. `hashedAs` differs from the name for the rules Felix appends to a built-in chain.
 */
export function felixChain(name: string, rules: readonly FelixRule[], hashedAs = name): Chain {
  return { name, rules: hashedRules(rules, hashedAs) };
}

/**
 * What Felix feeds to `iptables-restore` for a rule, without the verb and the chain: its own spelling, which the hash was
 * taken over. A rule read from a node has none and is written as the save has it.
 */
export function felixSpelling(rule: Rule): string | undefined {
  const [first] = rule.matches;
  if (!(first instanceof LateComment) || !(first.texts instanceof FelixTexts)) return undefined;
  const spelling = first.texts.spellings[first.rule] ?? "";
  return `-m comment --comment "${first.text}"${spelling === "" ? "" : ` ${spelling}`}`;
}

/** The hashes of a chain's rules, taken over Felix's spelling of them. */
class FelixTexts implements LateTexts {
  readonly chain: string;
  readonly spellings: readonly string[];
  #hashes: readonly string[] | undefined;

  constructor(chain: string, spellings: readonly string[]) {
    this.chain = chain;
    this.spellings = spellings;
  }

  textOf(rule: number): string {
    this.#hashes ??= hashesOf(this.chain, this.spellings);
    return `cali:${this.#hashes[rule] ?? ""}`;
  }
}

export function hashedRules(rules: readonly FelixRule[], chain: string): readonly Rule[] {
  const written = rules.map(({ matches, action, comments = [] }) => {
    const safe = comments.map((text) => text.replace(UNSAFE, "_").slice(0, FELIX_COMMENT_CHARACTERS));
    const spelling = [
      ...safe.map((comment) => `-m comment --comment "${comment}"`),
      ...matches.map((match) => match.text),
      ...(action === undefined ? [] : [action.text]),
    ].join(" ");
    return { safe, spelling };
  });
  const texts = new FelixTexts(
    chain,
    written.map(({ spelling }) => spelling),
  );
  return rules.map(({ matches, action, origin }, index) => {
    const { safe = [] } = written[index] ?? {};
    return {
      matches: [
        new LateComment(texts, index),
        // iptables takes one byte less than Felix thinks, and leaves the rest out.
        ...safe.map((comment): Match => ({ kind: "comment", text: cutToBytes(comment, COMMENT_MAX_BYTES) })),
        ...matches.map(({ match }) => match),
      ],
      ...(action === undefined ? {} : { target: action.target }),
      ...(origin === undefined ? {} : { origin }),
    };
  });
}

/** Hashes of chains seen before: those of the node itself are in every program, and a cluster that changes keeps most. */
const HASHES = new LRUCache<string, readonly string[]>({ max: 1024 });

/** What the comments of a chain's rules show: each hash is taken over the one before and the rule's text. */
function hashesOf(chain: string, spellings: readonly string[]): readonly string[] {
  const texts = spellings.map((spelling) => `-A ${chain} HASH${spelling === "" ? "" : ` ${spelling}`}`);
  const key = texts.join("\n");
  const known = HASHES.get(key);
  if (known !== undefined) return known;
  let hash = sha224(chain);
  const shown = texts.map((text) => {
    hash = sha224(concatenated(hash, UTF8.encode(text)));
    return base64Url(hash).slice(0, HASH_CHARACTERS);
  });
  HASHES.set(key, shown);
  return shown;
}

const UTF8 = new TextEncoder();

function concatenated(a: Uint8Array, b: Uint8Array): Uint8Array {
  const joined = new Uint8Array(a.length + b.length);
  joined.set(a);
  joined.set(b, a.length);
  return joined;
}

const hex = (value: number) => `0x${value.toString(16)}`;

export const action = {
  accept: { text: "--jump ACCEPT", target: { kind: "accept" } },
  drop: { text: "--jump DROP", target: { kind: "drop" } },
  return: { text: "--jump RETURN", target: { kind: "return" } },
  jump: (chain: string): FelixAction => ({ text: `--jump ${chain}`, target: { kind: "jump", chain } }),
  goto: (chain: string): FelixAction => ({ text: `--goto ${chain}`, target: { kind: "goto", chain } }),
  setMark: (bits: number): FelixAction => ({
    text: `--jump MARK --set-mark ${hex(bits)}/${hex(bits)}`,
    target: { kind: "mark", value: bits, mask: bits },
  }),
  clearMark: (bits: number): FelixAction => ({
    text: `--jump MARK --set-mark 0/${hex(bits)}`,
    target: { kind: "mark", value: 0, mask: bits },
  }),
  setMaskedMark: (value: number, mask: number): FelixAction => ({
    text: `--jump MARK --set-mark ${hex(value)}/${hex(mask)}`,
    target: { kind: "mark", value, mask },
  }),
  masquerade: {
    text: "--jump MASQUERADE --random-fully",
    target: { kind: "nat", target: "MASQUERADE", text: "--random-fully" },
  },
} as const satisfies Record<string, FelixAction | ((...bits: never[]) => FelixAction)>;

export const match = {
  /** All of the bits are clear. */
  markClear: (bits: number): FelixMatch => ({
    text: `-m mark --mark 0/${hex(bits)}`,
    match: { kind: "mark", value: 0, mask: bits, negate: false },
  }),
  /** At least one of the bits is set. */
  markNotClear: (bits: number): FelixMatch => ({
    text: `-m mark ! --mark 0/${hex(bits)}`,
    match: { kind: "mark", value: 0, mask: bits, negate: true },
  }),
  markSet: (bit: number): FelixMatch => ({
    text: `-m mark --mark ${hex(bit)}/${hex(bit)}`,
    match: { kind: "mark", value: bit, mask: bit, negate: false },
  }),
  interface: (side: "in" | "out", name: string): FelixMatch => ({
    text: `--${side}-interface ${name}`,
    match: { kind: "interface", side, name, negate: false },
  }),
  /** Felix gives names in policies and numbers in its own rules. */
  protocol: (given: string | number): FelixMatch => ({
    text: `-p ${given}`,
    match: { kind: "protocol", protocol: typeof given === "number" ? given : protocolNumber(given), negate: false },
  }),
  address: (side: Side, cidr: Cidr): FelixMatch => ({
    text: `--${side} ${formatCidr(cidr)}`,
    match: { kind: "address", side, cidr, negate: false },
  }),
  inSet: (set: string, side: Side): FelixMatch => ({
    text: `-m set --match-set ${set} ${side === "source" ? "src" : "dst"}`,
    match: { kind: "set", set, sides: [side], negate: false },
  }),
  notInSet: (set: string, side: Side): FelixMatch => ({
    text: `-m set ! --match-set ${set} ${side === "source" ? "src" : "dst"}`,
    match: { kind: "set", set, sides: [side], negate: true },
  }),
  /** Address and port in a `hash:ip,port`. */
  inPortSet: (set: string): FelixMatch => ({
    text: `-m set --match-set ${set} dst,dst`,
    match: { kind: "set", set, sides: ["destination", "destination"], negate: false },
  }),
  toPorts: (ranges: readonly PortRange[]): FelixMatch => ({
    text: `-m multiport --destination-ports ${ranges.map(rangeText).join(",")}`,
    match: { kind: "ports", side: "destination", ranges, extension: "multiport", negate: false },
  }),
  ctState: (...states: readonly CtStateFlag[]): FelixMatch => ({
    text: `-m conntrack --ctstate ${states.join(",").toUpperCase()}`,
    match: { kind: "ctState", states, extension: "conntrack", negate: false },
  }),
  notCtState: (...states: readonly CtStateFlag[]): FelixMatch => ({
    text: `-m conntrack ! --ctstate ${states.join(",").toUpperCase()}`,
    match: { kind: "ctState", states, extension: "conntrack", negate: true },
  }),
  icmpv6Type: (type: number): FelixMatch => ({
    text: `-m icmp6 --icmpv6-type ${type}`,
    match: { kind: "icmp", family: 6, type, negate: false },
  }),
  spoofed: {
    text: "-m rpfilter --invert --validmark",
    match: { kind: "rpfilter", validMark: true, loose: false, invert: true },
  },
} as const satisfies Record<string, FelixMatch | ((...given: never[]) => FelixMatch)>;

function rangeText({ first, last }: PortRange): string {
  return first === last ? String(first) : `${first}:${last}`;
}

function protocolNumber(name: string): number {
  const number = parseProtocol(name);
  if (number === undefined) throw new Error(`protocol ${name} has no number`);
  return number;
}
