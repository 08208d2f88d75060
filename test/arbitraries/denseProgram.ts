/**
 * Random programs in which things meet. Those of program.ts have every value there is; for a walk that is too many: a
 * random mark is tested by nobody, a rule with six matches holds for no packet, behind a DROP nothing matters. Here the
 * values are few, most rules ask one thing, most chains accept, and at their end packets are asked what they carry.
 */
import type fc from "fast-check";
import { PROTOCOL, TCP_FLAG } from "../../dataplane/packet.ts";
import type { Match, Rule, Table, TableName, TableProgram, Target } from "../../dataplane/program.ts";
import { type ProgramChoices, programArbitrary } from "./program.ts";

export function denseProgramArbitrary(choices: ProgramChoices = {}): fc.Arbitrary<TableProgram> {
  return programArbitrary(choices).map((program) =>
    withoutTemplateMarks({
      ...program,
      families: program.families.map(({ family, tables }) => ({ family, tables: tables.map(denseTable) })),
    }),
  );
}

/**
 * Without CONNMARK in the raw table. There it can only write on the template of `CT --zone`, which is one for all packets,
 * so every later packet finds what was written; no walk of a single packet can say that.
 */
export function withoutTemplateMarks(program: TableProgram): TableProgram {
  const families = program.families.map(({ family, tables }) => ({
    family,
    tables: tables.map((table) => {
      if (table.name !== "raw") return table;
      const chains = table.chains.map((chain) => ({ ...chain, rules: chain.rules.map(withoutConnmark) }));
      return { ...table, chains };
    }),
  }));
  return { ...program, families };
}

function withoutConnmark({ target, ...rule }: Rule): Rule {
  return target === undefined || target.kind === "connmark" ? rule : { ...rule, target };
}

/**
 * What a packet is asked at the end of a built-in chain: rules without target, so that its walk tells what became of its
 * marks and of its connection, whether or not a rule of the program happens to ask.
 */
const QUESTIONS: readonly Rule[] = (
  [
    { kind: "mark", value: 1, mask: 1, negate: false },
    { kind: "mark", value: 2, mask: 2, negate: false },
    { kind: "connmark", value: 1, mask: 1, negate: false },
    { kind: "connmark", value: 2, mask: 2, negate: false },
    { kind: "ctState", states: ["new"], extension: "conntrack", negate: false },
    { kind: "ctState", states: ["invalid", "untracked"], extension: "conntrack", negate: false },
  ] as const satisfies readonly Match[]
).map((match) => ({ matches: [match] }));

const ASKING: ReadonlySet<TableName> = new Set(["mangle", "filter"]);

function denseTable(table: Table, tableIndex: number): Table {
  return {
    ...table,
    chains: table.chains.map((chain, index) => ({
      ...chain,
      ...(chain.policy === undefined ? {} : { policy: (tableIndex + index) % 5 === 0 ? chain.policy : "accept" }),
      rules: [
        ...chain.rules.map((rule, number) => denseRule(rule, table.name, tableIndex + index + number)),
        ...(chain.policy !== undefined && ASKING.has(table.name) ? QUESTIONS : []),
      ],
    })),
  };
}

/** `number` chooses how much the rule asks: one thing, or everything it asked. */
function denseRule(rule: Rule, table: TableName, number: number): Rule {
  const matches = rule.matches.map(denseMatch);
  if (number % 4 === 0) return { ...rule, matches, ...(rule.target && { target: denseTarget(rule.target) }) };
  const target = tellingTarget(rule.target, table, number);
  return { ...rule, matches: fewer(matches, number, rule.target), ...(target && { target: denseTarget(target) }) };
}

/** Logging changes nothing that a later rule could see; a mark or a zone does. */
function tellingTarget(target: Target | undefined, table: TableName, number: number): Target | undefined {
  if (target?.kind !== "log") return target;
  if (table === "raw") return { kind: "ctZone", zone: number };
  return number % 2 === 0
    ? { kind: "mark", value: number, mask: number >> 1 }
    : { kind: "connmark", operation: number % 3 === 0 ? "save" : "restore", value: 0, mask: number >> 1 };
}

const HEADER: ReadonlySet<Match["kind"]> = new Set(["address", "interface", "protocol", "fragment"]);

/** Hold for every packet, or for none that met no bridge. */
const SILENT: ReadonlySet<Match["kind"]> = new Set(["comment", "limit", "physdev"]);

/** One match, and the protocol that it or the target needs. */
function fewer(matches: readonly Match[], number: number, target: Target | undefined): readonly Match[] {
  const protocol = matches.filter((match) => match.kind === "protocol");
  const header = matches.filter(({ kind }) => HEADER.has(kind) && kind !== "protocol" && kind !== "fragment");
  const others = matches.filter(({ kind }) => !HEADER.has(kind) && !SILENT.has(kind));
  // What says nothing about a routed packet makes room for a question about its mark.
  const mark = denseMark({ value: number, mask: number >> 1 });
  const asked: readonly Match[] = matches.some(({ kind }) => SILENT.has(kind))
    ? [{ kind: "mark", ...mark, negate: false }]
    : [];
  const all = [...others, ...header, ...asked];
  // Few packets get as far as these, so no rule that has one asks anything else.
  const rare = others.find(({ kind }) => kind === "icmp" || kind === "tcpFlags") ?? messageMatch(protocol, number);
  const one = rare ?? all[number % Math.max(1, all.length)];
  const needsProtocol =
    one === undefined ||
    one.kind === "ports" ||
    one.kind === "tcpFlags" ||
    one.kind === "icmp" ||
    target?.kind === "reject";
  const kept = needsProtocol ? protocol : [];
  if (one === undefined) return kept;
  return HEADER.has(one.kind) ? [one, ...kept] : [...kept, one];
}

/** A question about an ICMP message, where the protocol allows one: errors of one code or the other, or echo requests. */
function messageMatch(protocol: readonly Match[], number: number): Match | undefined {
  const [only] = protocol;
  if (only?.kind !== "protocol" || only.negate) return undefined;
  if (only.protocol !== PROTOCOL.icmp && only.protocol !== PROTOCOL.icmpv6) return undefined;
  const family = only.protocol === PROTOCOL.icmp ? 4 : 6;
  const [error, request] = family === 4 ? [3, 8] : [1, 128];
  return { kind: "icmp", family, type: number % 3 === 0 ? request : error, code: number % 2, negate: false };
}

const MASKS = [1, 2, 3, 0xffff_ffff] as const;

function denseMark<T extends { readonly value: number; readonly mask: number }>(mark: T): T {
  const mask = MASKS[twoBits(mark.mask)] ?? 1;
  return { ...mark, mask, value: twoBits(mark.value) & mask };
}

/** Two bits of a word, whichever half its ones are in. */
function twoBits(word: number): number {
  return (word ^ (word >>> 16)) & 3;
}

function denseMatch(match: Match): Match {
  switch (match.kind) {
    case "mark":
    case "connmark":
      return denseMark(match);
    case "tcpFlags": {
      // SYN, ACK and RST only: every combination of them is sent.
      const flags = TCP_FLAG.S | TCP_FLAG.A | TCP_FLAG.R;
      const mask = match.mask & flags || TCP_FLAG.S | TCP_FLAG.A;
      return { ...match, mask, compare: match.compare & mask };
    }
    default:
      return match;
  }
}

function denseTarget(target: Target): Target {
  switch (target.kind) {
    case "mark":
      // The value may lie outside of the mask: it is XORed (xt_MARK).
      return { ...denseMark(target), value: twoBits(target.value) };
    case "connmark":
      return target.operation === "set" ? denseMark(target) : { ...target, mask: denseMark(target).mask };
    case "ctZone":
      return { ...target, zone: 1 + (target.zone & 1) };
    default:
      return target;
  }
}
