/** Strategies over all classes of packets, as `compare` has them. */
import { TraceRecorder } from "../../dataplane/trace.ts";
import { becauseOf } from "../../format/answer.ts";
import { formatComparison } from "../../format/compare.ts";
import { packetToObject } from "../../traffic/packetObject.ts";
import { formatPacket } from "../../traffic/transcript.ts";
import { compareLanes } from "../../verify/compare.ts";
import { isOnNode, REFERENCE } from "../../verify/lane.ts";
import { namerOf } from "../../verify/who.ts";
import type { CompareAsk, CompareReport } from "../messages.ts";
import type { Bench } from "./bench.ts";

/** Classes asked about unless the question says otherwise. Beyond it the report says how much it covers. */
const LIMIT = 400_000;

export async function compareAll(bench: Bench, { strategies, limit = LIMIT }: CompareAsk): Promise<CompareReport> {
  const { cluster, importedNode } = bench;
  const lanes = [...new Set([...strategies, REFERENCE])].map((name) => bench.freshLane(name));
  const comparison = await compareLanes(cluster, lanes, {
    limit,
    ...(importedNode !== undefined && {
      meets: (...ends) => ends.some((address) => isOnNode(cluster, importedNode, address)),
    }),
  });
  const nameOf = namerOf(cluster.model);
  const lines = formatComparison(comparison, {
    format: "table",
    walks: "left out",
    columns: undefined,
    show: (packet) => formatPacket(packet, nameOf),
    sides: ({ example: packet }) =>
      lanes.map((lane) => {
        lane.flush();
        const recorder = new TraceRecorder();
        const answer = lane.push(packet, recorder);
        const because = becauseOf({ lane, packet, answer, cluster, steps: recorder.steps });
        return { name: lane.name, answer, because, walk: [] };
      }),
  });
  return {
    lines,
    examples: comparison.groups.map(({ cause, example, verdicts }) => ({
      cause,
      text: formatPacket(example, nameOf),
      packet: packetToObject(example, nameOf),
      verdicts,
    })),
  };
}
