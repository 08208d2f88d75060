/** Scenarios executed: the steps in order down one lane, each packet held against what the scenario expects. */
import type { Issue } from "../compiler/issue.ts";
import type { ParsedObject } from "../compiler/manifest/objects.ts";
import type { ResolvedCluster } from "../compiler/resolve.ts";
import type { Packet } from "../dataplane/packet.ts";
import { TraceRecorder, type TraceStep } from "../dataplane/trace.ts";
import { isProblem, packetOf, type Resolve } from "../traffic/transcript.ts";
import { explain } from "./explain.ts";
import type { Answer, Lane } from "./lane.ts";
import { absence, type ChangeStep, type PacketStep, type Scenario, type ScenarioStep } from "./scenario.ts";
import { changeCluster, stepIssue } from "./scenarioCluster.ts";
import { resolverOf } from "./who.ts";

export type ScenarioEvent =
  | { readonly kind: "packet"; readonly step: PacketStep; readonly outcome: PacketOutcome }
  | { readonly kind: "change"; readonly step: ChangeStep; readonly cluster: ResolvedCluster }
  /** The step does not exist for the lane's strategy, and why. */
  | { readonly kind: "absent"; readonly step: ScenarioStep; readonly reason: string }
  /** The step cannot be carried out: a name nobody has, a change that makes no valid cluster. The run ends here. */
  | { readonly kind: "invalid"; readonly step: ScenarioStep; readonly issues: readonly Issue[] };

export interface PacketOutcome {
  readonly packet: Packet;
  readonly answer: Answer;
  /** Why, in words. */
  readonly because: readonly string[];
  readonly trace: readonly TraceStep[];
  /** The cluster the packet met. */
  readonly cluster: ResolvedCluster;
  /** What was expected and did not happen; empty: all as expected. */
  readonly failures: readonly string[];
}

export interface ScenarioRunOptions {
  readonly scenario: Scenario;
  /** What the cluster is made of at the start; the lane was made from the same. */
  readonly objects: readonly ParsedObject[];
  readonly cluster: ResolvedCluster;
  readonly lane: Lane;
  /** Of names without one. */
  readonly namespace?: string;
  /** Every packet meets empty connection tracking. */
  readonly fresh?: boolean;
}

/** One event a step, in order; lazily, so that several lanes can be walked abreast. */
export function* runScenario(options: ScenarioRunOptions): Generator<ScenarioEvent, void, void> {
  const { scenario, lane, namespace = "default" } = options;
  let { objects, cluster } = options;
  let resolve = resolverOf(cluster.model, namespace);
  for (const step of scenario.steps) {
    const absent = absence(scenario, lane.name) ?? absence(step, lane.name);
    if (absent !== undefined) {
      yield { kind: "absent", step, reason: absent };
      continue;
    }
    switch (step.kind) {
      case "packet": {
        if (options.fresh === true) lane.flush();
        const event = pushStep({ step, cluster, lane, resolve, file: scenario.file });
        yield event;
        if (event.kind === "invalid") return;
        break;
      }
      case "change": {
        const changed = changeCluster(objects, step, scenario.file);
        if (changed.kind === "invalid") {
          yield { kind: "invalid", step, issues: changed.issues };
          return;
        }
        ({ objects, cluster } = changed);
        resolve = resolverOf(cluster.model, namespace);
        lane.change(cluster);
        yield { kind: "change", step, cluster };
        break;
      }
    }
  }
}

interface PushOptions {
  readonly step: PacketStep;
  readonly cluster: ResolvedCluster;
  readonly lane: Lane;
  readonly resolve: Resolve;
  readonly file: string;
}

function pushStep({ step, cluster, lane, resolve, file }: PushOptions): Exclude<ScenarioEvent, { kind: "change" }> {
  const packet = packetOf(step.packet, resolve);
  if (isProblem(packet)) return { kind: "invalid", step, issues: [stepIssue(step, file, packet.problem)] };
  const recorder = new TraceRecorder();
  const answer = lane.push(packet, recorder);
  const because = explain({ cluster, packet, answer, strategy: lane.strategy });
  const failures = failuresOf(step, answer, because, lane);
  return { kind: "packet", step, outcome: { packet, answer, because, trace: recorder.steps, cluster, failures } };
}

/** What was expected and did not happen, one sentence each. */
function failuresOf(step: PacketStep, answer: Answer, because: readonly string[], lane: Lane): readonly string[] {
  const failures: string[] = [];
  if (!meets(step.expect, answer, lane)) failures.push(`expected ${step.expect}, got ${answer.verdict}`);
  if (step.state !== undefined && step.state !== answer.ctState) {
    failures.push(`expected state ${step.state}, got ${answer.ctState}`);
  }
  if (step.because !== undefined && !because.some((line) => line.includes(step.because ?? ""))) {
    failures.push(
      `expected ${JSON.stringify(step.because)} in the explanation, got ${JSON.stringify(because.join("; "))}`,
    );
  }
  return failures;
}

/** Solutions refuse in their own way: where a refusal is expected, the lane's own kind of refusal is one too. */
function meets(expected: PacketStep["expect"], { verdict }: Answer, lane: Lane): boolean {
  return verdict === expected || (expected !== "accept" && verdict === lane.denyVerdict);
}
