/** `trace --packets scenario.yaml`: the steps of a scenario on the cluster of `-f`. */
import { parseScenario } from "../verify/scenario.ts";
import { describeChange } from "../verify/scenarioCluster.ts";
import { runScenario, type ScenarioEvent } from "../verify/scenarioRun.ts";
import { readText } from "./input.ts";
import { InvalidInput } from "./io.ts";
import { strategyNames } from "./lanes.ts";
import type { PacketRun } from "./tracePackets.ts";

export async function traceScenario({ flags, session, input, cluster, lanes, sink }: PacketRun): Promise<void> {
  const file = { name: flags.packets, text: await readText(session.io, flags.packets) };
  const { scenario, issues } = parseScenario(file, strategyNames());
  await session.report(issues);
  if (scenario === undefined) throw new InvalidInput();
  const runs = lanes.map((lane) => ({
    lane,
    events: runScenario({
      scenario,
      objects: input.objects,
      cluster,
      lane,
      namespace: flags.namespace ?? "default",
      ...(flags.fresh === true && { fresh: true }),
    }),
  }));
  let index = 0;
  for (const step of scenario.steps) {
    // The lanes walk abreast, so that the answers to one packet stand together.
    const reached = runs.map(({ lane, events }) => ({ lane, event: events.next().value ?? undefined }));
    for (const { lane, event } of reached) {
      if (event?.kind === "packet") {
        const { packet, answer, failures, cluster: met } = event.outcome;
        const { id } = event.step.packet;
        await sink.packet({ index, id, lane, packet, answer, cluster: met, failures });
      }
      if (event?.kind === "invalid") {
        await session.out.flush();
        await session.report(event.issues);
        throw new InvalidInput();
      }
    }
    if (step.kind === "packet") index++;
    const change = reached.map(({ event }) => event).find(isChange);
    if (change !== undefined) await sink.change(change.step.time, change.step.changes.map(describeChange).join(", "));
    if (session.io.interrupted.aborted) return;
  }
}

function isChange(event: ScenarioEvent | undefined): event is Extract<ScenarioEvent, { kind: "change" }> {
  return event?.kind === "change";
}
