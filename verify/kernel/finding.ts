/** A finding of the kernel judge as a scenario folder: the cluster, the packets, and what the kernel did with them. */
import { manifestsOf, manifestText } from "../../compiler/manifest/write.ts";
import { Fabric } from "../../dataplane/fabric.ts";
import { packetToObject } from "../../traffic/packetObject.ts";
import { type ClusterCase, type Finding, programsOf } from "./campaign.ts";

/** The files of a scenario folder, as `chainwalk test` reads them. */
export interface FindingFiles {
  readonly "cluster.yaml": string;
  readonly "scenario.yaml": string;
}

/** Both are JSON, which is YAML. The last step expects what the kernel did; it fails for as long as we do not agree. */
export function findingFiles(finding: Finding<ClusterCase>): FindingFiles {
  const { difference, packets } = finding;
  const { model, strategy } = finding.case;
  const fabric = new Fabric(programsOf(finding.case));
  const steps = packets.map((packet, index) => {
    const { verdict } = fabric.push(packet);
    return { ...packetToObject(packet), expect: index === packets.length - 1 ? difference.expected : verdict };
  });
  const scenario = {
    description: `Found by the kernel judge on ${difference.node}. ${difference.because.join("; ")}.`,
    only: { [strategy.name]: "the kernel was given what this strategy programs" },
    steps,
  };
  return {
    "cluster.yaml": `${manifestText(manifestsOf(model))}\n`,
    "scenario.yaml": `${JSON.stringify(scenario, undefined, 2)}\n`,
  };
}
