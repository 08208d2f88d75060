/** What the reader of one rule knows besides the options at hand, and where it reports. */
import type { Family } from "../../dataplane/address.ts";
import type { TableName } from "../../dataplane/program.ts";
import type { Word } from "./lines.ts";

/** One option as it stands in a rule: `! --dport 80`. */
export interface Given {
  /** The name most used: `--dport` also for `--destination-port`. */
  readonly name: string;
  readonly negate: boolean;
  readonly values: readonly Word[];
  /** The option itself. */
  readonly at: Word;
  /** All of it, as it stood. */
  readonly raw: string;
}

/** How the sets that rules name are known from the ipset save. */
export interface SetNames {
  /**
   * What a rule of the family finds. `missing`: in no save we have; `unsupported`: of a type that the instruction set
   * lacks.
   */
  status(name: string, family: Family): "known" | "unsupported" | "missing";
}

export interface RuleScope {
  readonly family: Family;
  readonly table: TableName;
  /** The protocol that the rule demands: `-p` without `!`. */
  readonly protocol: number | undefined;
  /** The rule only tells somebody about the packet: it has no target, or one that passes it on unchanged. */
  readonly passing: boolean;
  readonly sets: SetNames;
  /** The rule is wrong: no kernel held it. */
  error(at: Word, code: string, message: string): void;
  /** The rule is right, but the instruction set cannot say `what`. */
  unrepresented(at: Word, what: string): void;
  /** A rule names a set that no save holds. */
  missingSet(at: Word, name: string): void;
}

/** The `index`th value of an option; its arity was checked when it was read. */
export function valueAt(given: Given, index = 0): Word {
  return given.values[index] ?? given.at;
}
