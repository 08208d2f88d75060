/** Annotations for a pull request: what a change refuses, at the line of the policy that refuses it. */
import type { SourceRef } from "../../compiler/issue.ts";
import type { FlowGroup, ReplayReport } from "../../replay/report.ts";
import { workflowCommand } from "../workflowCommand.ts";
import type { Comparison } from "./flowObject.ts";
import { walksOf } from "./walks.ts";
import { counted, firstText, flowText, policiesText, portsText, verdictsText } from "./words.ts";

/** GitHub shows ten errors and ten warnings of a step. */
const SHOWN = 10;

export function* formatAnnotations(report: ReplayReport, comparison: Comparison): Generator<string> {
  if (comparison === "none") {
    for (const group of report.denied().slice(0, SHOWN)) {
      yield* annotations(report, group, { level: "warning", what: "refused" });
    }
    return;
  }
  for (const group of report.changes().slice(0, SHOWN)) {
    const level = group.kind === "now refused" ? "error" : group.kind === "differs" ? "warning" : "notice";
    yield* annotations(report, group, { level, what: verdictsText(group) });
  }
}

interface Said {
  readonly level: "error" | "warning" | "notice";
  readonly what: string;
}

/** One for each policy of the group, so that each shows at its own line. */
function* annotations(report: ReplayReport, group: FlowGroup, { level, what }: Said): Generator<string> {
  const title = `${counted(group.flows, "flow")} ${what}: ${group.source} > ${group.destination} ${portsText(group)}`;
  const because = walksOf(report, group.example).map(
    ({ side, verdict, because: [first = ""] }) => `${side}: ${verdict}, ${first}`,
  );
  const message = [
    `by ${policiesText(group)}`,
    ...because,
    `first: ${flowText(group.example)} at ${firstText(group.example)}`,
  ].join("\n");
  const places = group.policies.flatMap((key) => placeOf(report, key, group.example.step) ?? []);
  if (places.length === 0) yield workflowCommand(level, { file: "", line: 0, title, message });
  for (const { file, line } of places) yield workflowCommand(level, { file, line, title, message });
}

/** Of the policy on the main side, else on whichever side has it. */
function placeOf({ options: { sides, main } }: ReplayReport, key: string, step: number): SourceRef | undefined {
  for (const side of [sides[main], ...sides]) {
    const policy = side?.clusterAt(step).model.policies.find((candidate) => candidate.key === key);
    if (policy !== undefined) return policy.source;
  }
  return undefined;
}
