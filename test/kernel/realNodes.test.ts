/** What real nodes held, loaded as it was saved: the kernel does with it what we read from it. */
import { describe, expect, it } from "vitest";
import { importProgram } from "../../compiler/import/importProgram.ts";
import { addReports, EMPTY_REPORT, isTables, judgePrograms } from "../../verify/kernel/campaign.ts";
import type { JudgeReport } from "../../verify/kernel/comparison.ts";
import type { Subject } from "../../verify/kernel/judge.ts";
import { attachmentOf, clusterOf, clustersOf, NODES, SOLUTIONS, type Solution, savesIn } from "../realDumps/dumps.ts";
import { packetsOf, reproduceLine, SEED } from "./budget.ts";
import { hasKernel } from "./kernel.ts";

/** As in judge.ts `withoutTranslation`, on the text: ACCEPT ends the walk of the nat table too. */
function untranslated(text = ""): string {
  return text.replace(/ -j (?:MASQUERADE|SNAT|DNAT|REDIRECT)\b.*$/gm, " -j ACCEPT");
}

/** A node of a recorded cluster: the program we read, and the saved text itself for the kernel. */
function recordedNode(solution: Solution, name: string, node: string): Subject {
  const saves = savesIn(`${solution}/${name}/${node}`);
  const attachment = attachmentOf(solution, clusterOf(solution, name), node);
  const { program } = importProgram({ ...saves, node, strategy: solution, attachment });
  if (program === undefined || !isTables(program)) throw new Error(`${solution}/${name}/${node} is not read`);
  return {
    program,
    text: {
      sets: saves.ipsetSave?.text ?? "",
      ipv4: untranslated(saves.iptablesSave?.text),
      ipv6: untranslated(saves.ip6tablesSave?.text),
    },
  };
}

async function judgeRecorded(solution: Solution, name: string, packets: number): Promise<JudgeReport> {
  const subjects = NODES.map((node) => recordedNode(solution, name, node));
  const texts = new Map(subjects.map((subject) => [subject.program, subject]));
  const report = await judgePrograms(
    subjects.map(({ program }) => program),
    {
      variant: "legacy",
      walks: true,
      packets,
      seed: SEED,
      subject: (program) => texts.get(program) ?? { program, text: {} },
    },
  );
  for (const { packet, node, expected, actual } of report.differences.slice(0, 1)) {
    throw new Error(
      `${solution}/${name} ${node}: kernel ${expected}; ours ${actual}\n${JSON.stringify(packet)}\n${reproduceLine("test/kernel/realNodes.test.ts")}`,
    );
  }
  return report;
}

describe.runIf(hasKernel("bridge"))("what real nodes held", () => {
  const recorded = SOLUTIONS.flatMap((solution) => clustersOf(solution).map((name) => [solution, name] as const));
  const wanted = packetsOf("real nodes");
  /** All of them when there are packets for all; a few, at even distances, in a sample. */
  const chosen = recorded.filter((_, index) => index % Math.ceil((recorded.length * 150) / wanted) === 0);

  it("is walked by us as by the kernel", { timeout: 240_000 }, async () => {
    let report = EMPTY_REPORT;
    for (const [solution, name] of chosen) {
      // Some packets meet no node: twice as many as are to be compared.
      const packets = Math.ceil((2 * wanted) / chosen.length);
      report = addReports(report, await judgeRecorded(solution, name, packets));
    }
    expect(report.packets).toBeGreaterThanOrEqual(wanted);
    expect(report.walks).toBeGreaterThanOrEqual(wanted);
    expect(report.unknown).toBe(0);
    expect(report.verdicts.drop + report.verdicts.reject).toBeGreaterThan(wanted / 20);
  });
});
