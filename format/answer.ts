/** What one strategy, or the reference, says about one packet, in each of the formats of `trace`. */
import type { ResolvedCluster } from "../compiler/resolve.ts";
import type { IpAddress } from "../dataplane/address.ts";
import type { Packet } from "../dataplane/packet.ts";
import type { Decision, PacketResult } from "../dataplane/result.ts";
import type { TraceStep } from "../dataplane/trace.ts";
import { explain, explainImported, refusedDirections } from "../verify/explain.ts";
import type { Answer, Lane } from "../verify/lane.ts";
import { formatKernelTrace } from "./kernelTrace.ts";
import { commentOf } from "./match.ts";
import type { Paint } from "./paint.ts";
import { resultObject } from "./result.ts";
import { formatHead, formatMinimal, formatTrace, type TraceView } from "./trace.ts";
import { isDecision } from "./traceRows.ts";

export interface AnswerView {
  readonly lane: Lane;
  readonly packet: Packet;
  readonly answer: Answer;
  readonly cluster: ResolvedCluster;
  readonly steps: readonly TraceStep[];
  readonly nameOf: (address: IpAddress) => string;
}

export interface AnswerStyle {
  readonly format: "minimal" | "shortest" | "summary" | "detailed" | "json" | "iptables-trace";
  readonly paint: Paint;
  readonly columns: number | undefined;
}

export function formatAnswer(view: AnswerView, style: AnswerStyle): readonly string[] {
  const { lane, answer } = view;
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
      const trace = traceViewOf(view, by.result, because);
      if (style.format === "iptables-trace") return formatKernelTrace(trace);
      return formatTrace(trace, { ...style, level: style.format });
    }
  }
}

/** What a walk through programs shows. */
export function traceViewOf(view: AnswerView, result: PacketResult, because: readonly string[]): TraceView {
  const { lane, packet, cluster } = view;
  return {
    strategy: lane.name,
    packet,
    result,
    steps: view.steps,
    programs: lane.programs,
    nameOf: view.nameOf,
    because,
    origins: lane.reach === "cluster" ? "policies" : "comments",
    refused: refusedDirections(cluster, packet),
  };
}

/** Why, in words, whatever answered. */
export function becauseOf({ lane, packet, answer, cluster, steps }: Omit<AnswerView, "nameOf">): readonly string[] {
  const { by } = answer;
  if (lane.reach === "cluster" || by.kind === "reference")
    return explain({ cluster, packet, answer, strategy: lane.strategy });
  return explainImported(by.result, decidingComment(by.result.decidedBy, steps));
}

function decidingComment(decision: Decision | undefined, steps: readonly TraceStep[]): string | undefined {
  for (const step of steps) {
    if (step.kind === "rule" && decision !== undefined && isDecision(decision, step)) return commentOf(step.rule);
  }
  return undefined;
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
