/** What a match module of iptables-extensions(8) is to the reader of a rule. */
import type { Match } from "../../dataplane/program.ts";
import { shorten } from "./importIssues.ts";
import { type Given, type RuleScope, valueAt } from "./scope.ts";

export interface MatchModule {
  /** Options and how many values each takes. */
  readonly options: Readonly<Record<string, number>>;
  /** The matches of one `-m` with its options, in the order they stand. */
  build(given: readonly Given[], scope: RuleScope): readonly Match[];
}

/** Options whose meaning is clear, but not to us: what the packet meets there is unknown. */
export function opaqueMatch(module: string, given: readonly Given[]): Extract<Match, { readonly kind: "opaque" }> {
  return { kind: "opaque", text: [`-m ${module}`, ...given.map(({ raw }) => raw)].join(" ") };
}

/** A module of independent options: each becomes a match, or, where `one` says so, is not represented. */
export function perOption(
  module: string,
  options: Readonly<Record<string, number>>,
  one: (given: Given, scope: RuleScope) => Match | "unrepresented" | undefined,
): MatchModule {
  return {
    options,
    build: (all, scope) =>
      all.flatMap((given) => {
        const match = one(given, scope);
        if (match !== "unrepresented") return match ?? [];
        scope.unrepresented(given.at, given.raw);
        return opaqueMatch(module, [given]);
      }),
  };
}

export function wrongValue(given: Given, scope: RuleScope, allowed: string): undefined {
  const value = valueAt(given);
  scope.error(value, "bad-value", `${given.name} ${shorten(value.raw)}: want ${allowed}`);
}

export function notNegatable(given: Given, scope: RuleScope): readonly [] {
  scope.error(given.at, "bad-rule", `${given.name} cannot be negated`);
  return [];
}
