import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { importProgram } from "../../compiler/import/importProgram.ts";
import { renderIpsetSave } from "../../compiler/render/ipsetSave.ts";
import { renderIptablesSave } from "../../compiler/render/iptablesSave.ts";
import { verifyProgram } from "../../compiler/verify.ts";
import type { IPSet, Table, TableProgram } from "../../dataplane/program.ts";
import { cidr } from "../../verify/fuzz/builders.ts";
import { KernelNode } from "../../verify/kernel/node.ts";
import type { RuleText, Variant } from "../../verify/kernel/rules.ts";
import { ATTACHMENT, programArbitrary } from "../arbitraries/program.ts";
import { isWhole } from "../extent.ts";
import { hasKernel } from "../kernel/kernel.ts";

/** Loads the program, has the tools save what is there then, and reads that. */
async function throughKernel(
  node: KernelNode,
  program: TableProgram,
  save: () => Required<RuleText>,
): Promise<TableProgram | undefined> {
  const text = {
    sets: renderIpsetSave(program),
    ipv4: renderIptablesSave(program, 4),
    ipv6: renderIptablesSave(program, 6),
  };
  await node.load(text, program);
  const saved = save();
  const imported = importProgram({
    iptablesSave: { name: "iptables-save", text: saved.ipv4 },
    ip6tablesSave: { name: "ip6tables-save", text: saved.ipv6 },
    ipsetSave: { name: "ipset save", text: saved.sets },
    node: program.node,
    strategy: program.strategy,
    attachment: program.attachment,
  });
  expect(imported.issues).toEqual([]);
  return imported.program && inOrderOf(imported.program, program);
}

/**
 * A kernel keeps tables that programs before this one used, keeps tables and hashed members in orders of its own, and
 * lists the sets of both families as they come.
 */
function inOrderOf(saved: TableProgram, program: TableProgram): TableProgram {
  const families = program.families.map(({ family, tables }) => {
    const of = saved.families.find((each) => each.family === family);
    const known = tables.flatMap(({ name }) => of?.tables.find((table) => table.name === name) ?? []);
    return { family, tables: known.map(withoutCounters) };
  });
  return { ...saved, families, sets: sorted(saved.sets) };
}

/** A save with counters has them on every rule; no packet was sent yet. */
function withoutCounters(table: Table): Table {
  const chains = table.chains.map((chain) => ({
    ...chain,
    rules: chain.rules.map(({ counters = [0, 0], ...rule }) => {
      expect(counters).toEqual([0, 0]);
      return rule;
    }),
  }));
  return { ...table, chains };
}

function sorted(sets: readonly IPSet[]): readonly IPSet[] {
  const text = (value: object) => JSON.stringify(Object.entries(value).sort());
  return sets
    .map((set) => ({ ...set, members: set.members.toSorted((a, b) => (text(a) < text(b) ? -1 : 1)) }))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

const RUNS = isWhole ? 25 : 10;

/** Printed with failures; a run is a function of it. */
const SEED = 20_261_124;

async function expectTheSame(variant: Variant): Promise<void> {
  const programs = fc.sample(programArbitrary({ families: [4, 6] }), { numRuns: RUNS, seed: SEED });
  const node = await KernelNode.start(ATTACHMENT, { variant, walks: false });
  try {
    /** With packet and byte counters, as support bundles have them. */
    const withCounters = () => ({
      sets: node.run("ipset save"),
      ipv4: node.run(`iptables-${variant}-save -c`),
      ipv6: node.run(`ip6tables-${variant}-save -c`),
    });
    for (const [index, program] of programs.entries()) {
      const save = index % 2 === 0 ? () => node.save() : withCounters;
      const back = await throughKernel(node, program, save);
      expect(back, `program ${index} of seed ${SEED}`).toEqual({ ...program, sets: sorted(program.sets) });
    }
  } finally {
    await node.close();
  }
}

/** A list with more sets than its size says. */
function longList(length: number): TableProgram {
  const sets = Array.from(
    { length },
    (_, index): IPSet => ({
      name: `S${index}`,
      type: "hash:ip",
      family: 4,
      options: { hashSize: 1024, maxElements: 65_536 },
      members: [{ kind: "net", cidr: cidr(`10.0.0.${index}/32`) }],
    }),
  );
  const list: IPSet = {
    name: "LIST",
    type: "list:set",
    family: 4,
    options: { size: 8 },
    members: sets.map(({ name }) => ({ kind: "set", set: name })),
  };
  return { kind: "tables", strategy: "test", node: "n", sets: [...sets, list], families: [], attachment: ATTACHMENT };
}

describe.runIf(hasKernel("judge"))("a program loaded in a kernel, saved and imported", () => {
  it("may list more sets than the size of the list", async () => {
    const program = longList(20);
    expect(verifyProgram(program)).toEqual([]);
    const node = await KernelNode.start(ATTACHMENT, { variant: "legacy", walks: false });
    try {
      await node.load({ sets: renderIpsetSave(program) }, program);
      const saved = importProgram({
        ipsetSave: { name: "ipset save", text: node.save().sets },
        node: "n",
        strategy: "test",
        attachment: ATTACHMENT,
      });
      expect(saved.issues).toEqual([]);
      expect(saved.program?.kind === "tables" && sorted(saved.program.sets)).toEqual(sorted(program.sets));
    } finally {
      await node.close();
    }
  });

  it("is the same program with the legacy tools", () => expectTheSame("legacy"));

  it.runIf(hasKernel("nft-variant"))("is the same program with the nft tools", () => expectTheSame("nft"));
});
