import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compileNode, resolvePolicies } from "../../compiler/compile.ts";
import { importProgram } from "../../compiler/import/importProgram.ts";
import { renderIpsetSave } from "../../compiler/render/ipsetSave.ts";
import { renderIptablesSave } from "../../compiler/render/iptablesSave.ts";
import { STRATEGIES } from "../../compiler/strategies/registry.ts";
import { verifyProgram } from "../../compiler/verify.ts";
import type { Family } from "../../dataplane/address.ts";
import type { Match, Rule, TableProgram, Target } from "../../dataplane/program.ts";
import { clusterArbitrary } from "../../verify/fuzz/cluster.ts";
import { programArbitrary } from "../arbitraries/program.ts";
import { isWhole, runsOf } from "../extent.ts";

/** Through the text and back. */
function throughText(program: TableProgram) {
  const { node, strategy, attachment, families } = program;
  const save = (family: Family) => {
    const has = families.some((each) => each.family === family);
    return has ? { name: `v${family}`, text: renderIptablesSave(program, family) } : undefined;
  };
  const [ipv4, ipv6] = [save(4), save(6)];
  return importProgram({
    ...(ipv4 && { iptablesSave: ipv4 }),
    ...(ipv6 && { ip6tablesSave: ipv6 }),
    ipsetSave: { name: "sets", text: renderIpsetSave(program) },
    node,
    strategy,
    attachment,
  });
}

/** All kinds there are; a new one does not compile until it stands here, and is not tested until programs have it. */
const MATCH_KINDS = {
  address: "drawn",
  interface: "drawn",
  protocol: "drawn",
  ports: "drawn",
  tcpFlags: "drawn",
  icmp: "drawn",
  set: "drawn",
  mark: "drawn",
  connmark: "drawn",
  ctState: "drawn",
  addressType: "drawn",
  physdev: "drawn",
  limit: "drawn",
  rpfilter: "drawn",
  fragment: "drawn",
  comment: "drawn",
  opaque: "only imported",
} as const satisfies Readonly<Record<Match["kind"], string>>;

const TARGET_KINDS = {
  accept: "drawn",
  drop: "drawn",
  return: "drawn",
  jump: "drawn",
  goto: "drawn",
  reject: "drawn",
  mark: "drawn",
  connmark: "drawn",
  notrack: "drawn",
  ctZone: "drawn",
  log: "drawn",
  nat: "drawn",
  opaque: "only imported",
} as const satisfies Readonly<Record<Target["kind"], string>>;

function drawn(kinds: Readonly<Record<string, string>>): readonly string[] {
  return Object.keys(kinds)
    .filter((kind) => kinds[kind] === "drawn")
    .sort();
}

function rulesOf(program: TableProgram): readonly Rule[] {
  const tables = program.families.flatMap((family) => family.tables);
  return tables.flatMap(({ chains }) => chains.flatMap(({ rules }) => rules));
}

/** What the text of a save can hold of a program: no origins, chains in the order of the save commands. */
function asSaved(program: TableProgram): readonly unknown[] {
  return program.families.map(({ family, tables }) => ({
    family,
    tables: tables.map(({ name, chains }) => ({
      name,
      chains: new Map(
        chains.map((chain) => [
          `${chain.name} ${chain.policy}`,
          chain.rules.map(({ matches, target }) => ({ matches: headerFirst(matches), target })),
        ]),
      ),
    })),
  }));
}

const HEADER = ["source address", "destination address", "in interface", "out interface", "protocol", "fragment"];

/** `-s -d -i -o -p -f`, then what `-m` asks, as it stood. A prefix of everything asks nothing and is not printed. */
function headerFirst(matches: readonly Match[]): readonly Match[] {
  const place = (match: Match) => {
    const part = match.kind === "address" || match.kind === "interface" ? `${match.side} ${match.kind}` : match.kind;
    return HEADER.includes(part) ? HEADER.indexOf(part) : HEADER.length;
  };
  const asks = (match: Match) => match.kind !== "address" || match.negate || match.cidr.prefixLength > 0;
  return matches
    .filter(asks)
    .toSorted((a, b) => place(a) - place(b))
    .map((match) => (match.kind === "comment" ? { kind: match.kind, text: match.text } : match)); // late ones as read
}

describe("a program rendered and imported", () => {
  it("random programs say everything that can be said", () => {
    const rules = fc
      .sample(programArbitrary({ families: [4, 6] }), { numRuns: isWhole ? 100 : 40, seed: 1 })
      .flatMap(rulesOf);
    const matches = new Set(rules.flatMap((rule) => rule.matches.map(({ kind }) => kind)));
    const targets = new Set(rules.flatMap(({ target }) => target?.kind ?? []));
    expect([...matches].sort()).toEqual(drawn(MATCH_KINDS));
    expect([...targets].sort()).toEqual(drawn(TARGET_KINDS));
  });

  it("is the same program, whatever the instruction set can say", () => {
    fc.assert(
      fc.property(programArbitrary(), (program) => {
        expect(verifyProgram(program)).toEqual([]);
        expect(throughText(program)).toEqual({ program, issues: [] });
      }),
      { numRuns: runsOf(200) },
    );
  });

  it.each(STRATEGIES.map((strategy) => [strategy.name, strategy] as const))(
    "%s: is what was compiled",
    (_, strategy) => {
      fc.assert(
        fc.property(clusterArbitrary(), (model) => {
          for (const { name } of model.nodes) {
            const program = compileNode(resolvePolicies(model), strategy, { node: name });
            if (program.kind !== "tables") return;
            const { program: back, issues } = throughText(program);
            expect(issues).toEqual([]);
            expect(back && asSaved(back)).toEqual(asSaved(program));
            expect(back && [renderIptablesSave(back, 4), renderIptablesSave(back, 6), renderIpsetSave(back)]).toEqual([
              renderIptablesSave(program, 4),
              renderIptablesSave(program, 6),
              renderIpsetSave(program),
            ]);
          }
        }),
        { numRuns: runsOf(40) },
      );
    },
  );
});
