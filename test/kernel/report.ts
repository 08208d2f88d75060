/** A finding of the kernel judge as the text of a failed test. */
import { manifestsOf, manifestText } from "../../compiler/manifest/write.ts";
import type { TableProgram } from "../../dataplane/program.ts";
import { packetToObject } from "../../traffic/packetObject.ts";
import type { ClusterCase, Finding } from "../../verify/kernel/campaign.ts";
import { subjectOf } from "../../verify/kernel/judge.ts";
import { reproduceLine } from "./budget.ts";

function told({ difference, packets }: Finding<unknown>, title: string, file: string): string {
  return [
    `${title}: our verdict is not the kernel's on ${difference.node}`,
    ...difference.because.map((line) => `  ${line}`),
    "packets, the last one differs:",
    ...packets.map((packet) => `  ${JSON.stringify(packetToObject(packet))}`),
    `again: ${reproduceLine(file)}`,
  ].join("\n");
}

/** With the manifests that lead there. */
export function clusterFinding(finding: Finding<ClusterCase>, file: string): string {
  const { model, strategy } = finding.case;
  return `${told(finding, strategy.name, file)}\nmanifests:\n${manifestText(manifestsOf(model))}`;
}

/** With the text that the kernel loaded. */
export function programFinding(finding: Finding<TableProgram>, title: string, file: string): string {
  const { sets = "", ipv4 = "", ipv6 = "" } = subjectOf(finding.case).text;
  return `${told(finding, title, file)}\n${sets}${ipv4}${ipv6}`;
}
