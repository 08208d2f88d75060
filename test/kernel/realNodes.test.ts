/** What real nodes held, loaded as it was saved: the kernel does with it what we read from it. */
import { describe, expect, it } from "vitest";
import { importProgram } from "../../compiler/import/importProgram.ts";
import { packetToObject } from "../../traffic/packetObject.ts";
import { addReports, EMPTY_REPORT, isTables, judgesAhead, runCampaign } from "../../verify/kernel/campaign.ts";
import type { JudgeReport } from "../../verify/kernel/comparison.ts";
import { KernelJudge, type Subject } from "../../verify/kernel/judge.ts";
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

type Recorded = readonly [solution: Solution, name: string];

async function judgeRecorded(recorded: readonly Recorded[], packetsEach: number): Promise<JudgeReport> {
  const options = { variant: "legacy", walks: true, packets: packetsEach, seed: SEED } as const;
  const start = ([solution, name]: Recorded) => {
    return KernelJudge.start(
      NODES.map((node) => recordedNode(solution, name, node)),
      options,
    );
  };
  let report = EMPTY_REPORT;
  for await (const [[solution, name], judge] of judgesAhead(recorded, start)) {
    const programs = NODES.map((node) => recordedNode(solution, name, node).program);
    const found = await runCampaign(judge, programs, options);
    for (const { packet, node, because } of found.differences.slice(0, 1)) {
      throw new Error(
        [
          `${solution}/${name} ${node}: ${because.join("; ")}`,
          JSON.stringify(packetToObject(packet)),
          `again: ${reproduceLine("test/kernel/realNodes.test.ts")}`,
        ].join("\n"),
      );
    }
    report = addReports(report, found);
  }
  return report;
}

describe.runIf(hasKernel("bridge"))("what real nodes held", () => {
  const recorded = SOLUTIONS.flatMap((solution) => clustersOf(solution).map((name) => [solution, name] as const));
  const wanted = packetsOf("real nodes");
  /** All of them when there are packets for all; a few, at even distances, in a sample. */
  const chosen = recorded.filter((_, index) => index % Math.ceil((recorded.length * 150) / wanted) === 0);

  it("is walked by us as by the kernel", { timeout: 240_000 }, async () => {
    // Some packets meet no node: twice as many as are to be compared.
    const report = await judgeRecorded(chosen, Math.ceil((2 * wanted) / chosen.length));
    expect(report.packets).toBeGreaterThanOrEqual(wanted);
    expect(report.walks).toBeGreaterThanOrEqual(wanted);
    expect(report.unknown).toBe(0);
    expect(report.verdicts.drop + report.verdicts.reject).toBeGreaterThan(wanted / 20);
  });
});
