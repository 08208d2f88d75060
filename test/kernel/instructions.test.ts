/** Random programs over everything the instruction set can say: the kernel walks them as we do. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { TableProgram } from "../../dataplane/program.ts";
import { addReports, EMPTY_REPORT, runCampaign, shrinkProgram } from "../../verify/kernel/campaign.ts";
import { KernelJudge, subjectOf } from "../../verify/kernel/judge.ts";
import type { Variant } from "../../verify/kernel/rules.ts";
import { denseProgramArbitrary, withoutTemplateMarks } from "../arbitraries/denseProgram.ts";
import { PROGRAM_NODE, programArbitrary } from "../arbitraries/program.ts";
import { isWhole } from "../extent.ts";
import { packetsOf, SEED } from "./budget.ts";
import { hasKernel } from "./kernel.ts";
import { programFinding } from "./report.ts";

/** Few packets for each of many programs: a program has some ten rules that a packet can meet. */
const PACKETS_PER_PROGRAM = 400;

/** Those with every value there is, those in which things meet, and those with little besides filter. */
const programs = fc.tuple(
  programArbitrary().map(withoutTemplateMarks),
  denseProgramArbitrary(),
  denseProgramArbitrary({ tables: ["filter"] }),
  denseProgramArbitrary({ tables: ["raw", "filter"] }),
);

async function judgeRandomPrograms(variant: Variant, packets: number) {
  let report = EMPTY_REPORT;
  let judge: KernelJudge | undefined;
  // A sample, too, needs programs that refuse in every way.
  const perProgram = Math.min(PACKETS_PER_PROGRAM, Math.ceil(packets / 20));
  const options = { variant, walks: true, only: PROGRAM_NODE, packets: perProgram };
  const drawn = Math.ceil(packets / perProgram) * 2;
  const subjects = fc
    .sample(programs, { numRuns: Math.ceil(drawn / 4), seed: SEED })
    .flat()
    .values();
  try {
    while (report.packets < packets) {
      const program: TableProgram | undefined = subjects.next().value;
      if (program === undefined) throw new Error(`${drawn} programs were too few for ${packets} packets`);
      const seed = SEED + report.packets;
      judge ??= await KernelJudge.start([subjectOf(program)], options);
      await judge.load([subjectOf(program)]);
      const found = await runCampaign(judge, [program], { ...options, seed });
      const [difference] = found.differences;
      if (difference !== undefined) {
        const finding = await shrinkProgram(program, difference, { ...options, seed });
        throw new Error(programFinding(finding, `random program, ${variant}`, "test/kernel/instructions.test.ts"));
      }
      report = addReports(report, found);
    }
  } finally {
    await judge?.close();
  }
  return report;
}

describe.runIf(hasKernel("judge"))("random programs of the whole instruction set", () => {
  it("have the verdicts and walks of the kernel with the legacy tools", { timeout: 240_000 }, async () => {
    const packets = packetsOf("instructions legacy");
    const report = await judgeRandomPrograms("legacy", packets);
    expect(report.packets).toBeGreaterThanOrEqual(packets);
    expect(report.walks).toBeGreaterThanOrEqual(packets);
    expect(report.unknown).toBe(0);
    const { accept, drop, reject } = report.verdicts;
    expect(Math.min(accept, drop)).toBeGreaterThan(packets / 10);
    expect(reject).toBeGreaterThan(packets / 500);
  });

  // A sample asks the nft tools in strategies.test.ts and importKernel.test.ts alone.
  it.runIf(isWhole && hasKernel("nft-variant"))("… and with the nft tools", { timeout: 240_000 }, async () => {
    const packets = packetsOf("instructions nft");
    const report = await judgeRandomPrograms("nft", packets);
    expect(report.packets).toBeGreaterThanOrEqual(packets);
    expect(report.walks).toBeGreaterThanOrEqual(packets);
  });
});
