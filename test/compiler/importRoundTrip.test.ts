import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { importProgram } from "../../compiler/import/importProgram.ts";
import { renderIpsetSave } from "../../compiler/render/ipsetSave.ts";
import { renderIptablesSave } from "../../compiler/render/iptablesSave.ts";
import { verifyProgram } from "../../compiler/verify.ts";
import type { Family } from "../../dataplane/address.ts";
import type { TableProgram } from "../../dataplane/program.ts";
import { programArbitrary } from "../arbitraries/program.ts";

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

describe("a program rendered and imported", () => {
  it("random programs are sound", () => {
    fc.assert(
      fc.property(programArbitrary(), (program) => {
        expect(verifyProgram(program)).toEqual([]);
      }),
    );
  });

  it("is the same program, whatever the instruction set can say", () => {
    fc.assert(
      fc.property(programArbitrary(), (program) => {
        expect(throughText(program)).toEqual({ program, issues: [] });
      }),
      { numRuns: 200 },
    );
  });
});
