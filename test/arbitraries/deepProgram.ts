/** Random programs in which packets get far. */
import fc from "fast-check";
import type { Chain, Rule, TableProgram } from "../../dataplane/program.ts";
import { programArbitrary } from "./program.ts";

/**
 * The random programs of the arbitraries rarely match a random packet. Keeps one match in four, and one DROP policy in
 * three, by drawn choices, so that walks get deep.
 */
export const deepProgramArbitrary: fc.Arbitrary<TableProgram> = fc
  .record({
    program: programArbitrary({ tables: ["raw", "mangle", "nat", "filter", "security"] }),
    choices: fc.array(fc.nat(11), { minLength: 40, maxLength: 40 }),
  })
  .map(({ program, choices }) => {
    let drawn = 0;
    const oneIn = (count: number) => (choices[drawn++ % choices.length] ?? 0) % count === 0;
    const families = program.families.map(({ family, tables }) => ({
      family,
      tables: tables.map((table) => ({
        ...table,
        chains: table.chains.map(({ name, policy, rules }): Chain => {
          const kept = rules.map((rule) => ({ ...rule, matches: rule.matches.filter(() => oneIn(4)) }));
          if (policy === undefined) return { name, rules: kept };
          return { name, policy: policy === "drop" && oneIn(3) ? "drop" : "accept", rules: kept };
        }),
      })),
    }));
    return { ...program, families };
  });

/** Without what asks for marks of connections: few random programs have nothing of it, and engines treat those in a way of their own. */
export function withoutConnmark(program: TableProgram): TableProgram {
  const ruleOf = ({ matches, target, ...rest }: Rule): Rule => ({
    ...rest,
    matches: matches.filter(({ kind }) => kind !== "connmark"),
    ...(target !== undefined && target.kind !== "connmark" && { target }),
  });
  const families = program.families.map(({ family, tables }) => ({
    family,
    tables: tables.map(({ name, chains }) => ({
      name,
      chains: chains.map((chain) => ({ ...chain, rules: chain.rules.map(ruleOf) })),
    })),
  }));
  return { ...program, families };
}
