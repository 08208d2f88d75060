/**
 * Random programs in which things meet. Those of program.ts have every value there is; for a walk that is too many: a
 * random mark is tested by nobody, a rule with six matches holds for no packet, behind a DROP nothing matters. Here the
 * values are few, most rules ask one thing, and most chains accept.
 */
import type fc from "fast-check";
import { TCP_FLAG } from "../../dataplane/packet.ts";
import type { Match, Rule, Table, TableProgram, Target } from "../../dataplane/program.ts";
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

function denseTable(table: Table, tableIndex: number): Table {
  return {
    ...table,
    chains: table.chains.map((chain, index) => ({
      ...chain,
      ...(chain.policy === undefined ? {} : { policy: (tableIndex + index) % 5 === 0 ? chain.policy : "accept" }),
      rules: chain.rules.map((rule, number) => denseRule(rule, tableIndex + index + number)),
    })),
  };
}

/** `number` chooses how much the rule asks: one thing, or everything it asked. */
function denseRule(rule: Rule, number: number): Rule {
  const matches = rule.matches.map(denseMatch);
  const chosen = number % 4 === 0 ? matches : fewer(matches, number, rule.target);
  return { ...rule, matches: chosen, ...(rule.target === undefined ? {} : { target: denseTarget(rule.target) }) };
}

const HEADER: ReadonlySet<Match["kind"]> = new Set(["address", "interface", "protocol", "fragment"]);

/** One match, and the protocol that it or the target needs. */
function fewer(matches: readonly Match[], number: number, target: Target | undefined): readonly Match[] {
  const protocol = matches.filter((match) => match.kind === "protocol");
  const header = matches.filter(({ kind }) => HEADER.has(kind) && kind !== "protocol" && kind !== "fragment");
  const others = matches.filter(({ kind }) => !HEADER.has(kind) && kind !== "comment" && kind !== "physdev");
  const all = [...others, ...header];
  const one = all[number % Math.max(1, all.length)];
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

const MASKS = [1, 2, 3, 0xffff_ffff] as const;

function denseMark<T extends { readonly value: number; readonly mask: number }>(mark: T): T {
  const mask = MASKS[mark.mask & 3] ?? 1;
  return { ...mark, mask, value: mark.value & mask & 3 };
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
      return { ...denseMark(target), value: target.value & 3 };
    case "connmark":
      return target.operation === "set" ? denseMark(target) : { ...target, mask: denseMark(target).mask };
    case "ctZone":
      return { ...target, zone: 1 + (target.zone & 1) };
    default:
      return target;
  }
}
