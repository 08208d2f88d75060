/** What one strategy, or the reference, says about one packet, in each of the formats of `trace`. */
import type { ResolvedCluster } from "../../compiler/resolve.ts";
import type { IpAddress } from "../../dataplane/address.ts";
import type { Packet } from "../../dataplane/packet.ts";
import type { TraceStep } from "../../dataplane/trace.ts";
import { explain, refusedDirections } from "../../verify/explain.ts";
import type { Answer, Lane } from "../../verify/lane.ts";
import type { Paint } from "../paint.ts";
import { formatKernelTrace } from "./kernelTrace.ts";
import { resultObject } from "./result.ts";
import { formatHead, formatMinimal, formatTrace, type TraceView } from "./trace.ts";

export interface AnswerView {
  readonly lane: Lane;
  readonly packet: Packet;
  readonly answer: Answer;
  readonly cluster: ResolvedCluster;
  readonly steps: readonly TraceStep[];
  readonly nameOf: (address: IpAddress) => string;
  /** False when only one imported node was asked: what the policies say of the whole way then explains nothing. */
  readonly isWholeWay: boolean;
}

export interface AnswerStyle {
  readonly format: "minimal" | "summary" | "detailed" | "json" | "iptables-trace";
  readonly paint: Paint;
  readonly columns: number | undefined;
}

export function formatAnswer(view: AnswerView, style: AnswerStyle): readonly string[] {
  const { lane, packet, answer, cluster } = view;
  if (style.format === "json") {
    return [JSON.stringify(resultObject({ index: 0, id: undefined, strategy: lane.name }, answer))];
  }
  const because = becauseOf(view);
  if (style.format === "minimal") return [formatMinimal({ strategy: lane.name, verdict: answer.verdict, because })];
  const { by } = answer;
  switch (by.kind) {
    case "reference":
      return formatReference(view, because, style);
    case "fabric": {
      const trace: TraceView = {
        strategy: lane.name,
        packet,
        result: by.result,
        steps: view.steps,
        programs: lane.programs,
        nameOf: view.nameOf,
        because,
        refused: refusedDirections(cluster, packet),
      };
      if (style.format === "iptables-trace") return formatKernelTrace(trace);
      return formatTrace(trace, { ...style, level: style.format });
    }
  }
}

function becauseOf({ lane, packet, answer, cluster, isWholeWay }: AnswerView): readonly string[] {
  if (isWholeWay) return explain({ cluster, packet, answer, strategy: lane.strategy });
  const origin = answer.by.kind === "fabric" ? answer.by.result.decidedBy?.origin : undefined;
  return [origin ?? "as the node's rules have it"];
}

/** Direction by direction; `detailed` quotes the sentences of the API. */
function formatReference(
  view: AnswerView,
  because: readonly string[],
  { format, paint }: AnswerStyle,
): readonly string[] {
  const { by, verdict } = view.answer;
  const head = paint.strong(formatHead(view.packet, view.nameOf));
  const look = verdict === "accept" ? paint.good : paint.bad;
  const lines = format === "detailed" && by.kind === "reference" ? by.result.because : because;
  const [first = "", ...rest] = lines;
  const indent = " ".repeat(verdict.length + 2);
  return [head, "", `${look(paint.strong(`${verdict}:`))} ${first}`, ...rest.map((line) => `${indent}${line}`)];
}
