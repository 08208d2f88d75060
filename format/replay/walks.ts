/** The first packet of a flow through the sides again, this time to be looked at. */
import { TraceRecorder } from "../../dataplane/trace.ts";
import type { FlowReport, ReplayReport } from "../../replay/report.ts";
import type { Side } from "../../replay/side.ts";
import type { Lane } from "../../verify/lane.ts";
import { namerOf } from "../../verify/who.ts";
import { becauseOf, formatAnswer } from "../answer.ts";
import { PLAIN } from "../paint.ts";

export interface Walk {
  /** `before`, `after`, or the strategy. */
  readonly side: string;
  readonly verdict: string;
  /** Why, in words. */
  readonly because: readonly string[];
  /** The picture, line by line. */
  readonly lines: readonly string[];
}

/** By step of the story; compiled once, when the first walk is asked for. */
const LANES = new WeakMap<Side, Map<number, Lane>>();

function laneOf(side: Side, step: number): Lane {
  const known = LANES.get(side) ?? new Map<number, Lane>();
  LANES.set(side, known);
  const lane = known.get(step) ?? side.freshLane(step);
  known.set(step, lane);
  return lane;
}

/** The walks of a flow's first packet, as a connection of its own. */
export function walksOf(report: ReplayReport, { packet, step }: FlowReport): readonly Walk[] {
  return report.options.sides.map((side) => {
    const lane = laneOf(side, step);
    lane.flush();
    const recorder = new TraceRecorder();
    const answer = lane.push(packet, recorder);
    const cluster = side.clusterAt(step);
    const view = { lane, packet, answer, cluster, steps: recorder.steps, nameOf: namerOf(cluster.model) };
    return {
      side: side.name,
      verdict: answer.verdict,
      because: becauseOf(view),
      lines: formatAnswer(view, { format: "summary", paint: PLAIN, columns: undefined }),
    };
  });
}
