/** One packet down one lane, after the packets before it. */
import { packetEnds } from "../../compiler/policyReading.ts";
import type { ResolvedCluster } from "../../compiler/resolve.ts";
import type { Packet } from "../../dataplane/packet.ts";
import { TraceRecorder, type TraceStep } from "../../dataplane/trace.ts";
import { becauseOf } from "../../format/answer.ts";
import type { PacketObject } from "../../traffic/packetObject.ts";
import { isProblem, packetFromObject, packetOf } from "../../traffic/transcript.ts";
import { type Answer, type Lane, REFERENCE } from "../../verify/lane.ts";
import { runScenario } from "../../verify/scenarioRun.ts";
import { resolverOf } from "../../verify/who.ts";
import type { WalkTarget } from "../messages.ts";
import type { Bench } from "./bench.ts";
import { Refusal } from "./refusal.ts";

export interface Pushed {
  readonly lane: Lane;
  readonly packet: Packet;
  readonly answer: Answer;
  readonly steps: readonly TraceStep[];
  readonly because: readonly string[];
  /** That the packet met. */
  readonly cluster: ResolvedCluster;
  readonly failures: readonly string[];
}

/** Throws `Refusal` when the strategy does not have the packet, or nobody has its names. */
export function pushTarget(bench: Bench, strategy: string, target: WalkTarget): Pushed {
  switch (target.kind) {
    case "scenario":
      return pushStep(bench, strategy, target.step);
    case "packets":
      return pushPackets(bench, strategy, target);
    case "moment":
      if (bench.inBetween === undefined) throw new Error("this worker knows no moments");
      return bench.inBetween(bench, strategy, target);
  }
}

export function pushed(lane: Lane, packet: Packet, cluster: ResolvedCluster): Pushed {
  const recorder = new TraceRecorder();
  const answer = lane.push(packet, recorder);
  const because = becauseOf({ lane, packet, answer, cluster, steps: recorder.steps });
  return { lane, packet, answer, because, steps: recorder.steps, cluster, failures: [] };
}

function pushStep(bench: Bench, strategy: string, number: number): Pushed {
  const { scenario, objects, cluster } = bench;
  const changes = scenario.steps.some(({ kind }) => kind === "change");
  const lane = changes ? bench.freshLane(strategy) : bench.lane(strategy);
  for (const event of runScenario({ scenario, objects, cluster, lane })) {
    if (event.kind === "invalid") throw new Refusal(event.issues.map(({ message }) => message).join("; "));
    if (event.step.number !== number) continue;
    if (event.kind === "absent") throw new Refusal(event.reason);
    if (event.kind === "change") throw new Refusal("a change of the cluster; it has no packet");
    const { packet, answer, because, trace, cluster: met, failures } = event.outcome;
    return { lane, packet, answer, because, steps: trace, cluster: met, failures };
  }
  throw new Refusal(`the scenario has no step ${number}`);
}

function pushPackets(bench: Bench, strategy: string, target: Extract<WalkTarget, { kind: "packets" }>): Pushed {
  const { cluster } = bench;
  const packets = readPackets(bench, target);
  const last = packets.at(-1);
  if (last === undefined) throw new Refusal("no packet yet");
  const lane = bench.lane(strategy, strategy === REFERENCE ? undefined : nodesOf(cluster, packets));
  for (const packet of packets.slice(0, -1)) lane.push(packet);
  return pushed(lane, last, cluster);
}

/** Only the nodes that a packet can meet are compiled: those of the ends. */
function nodesOf(cluster: ResolvedCluster, packets: readonly Packet[]): readonly string[] {
  const nodes = packets.flatMap((packet) => {
    const { source, destination } = packetEnds(cluster, packet);
    return [source.pod?.node, source.node, destination.pod?.node, destination.node];
  });
  return [...new Set(nodes.filter((node) => node !== undefined))];
}

export function readPackets(
  { cluster }: Bench,
  { packets, family }: Extract<WalkTarget, { kind: "packets" }>,
): readonly Packet[] {
  return packetsIn(cluster, packets, family);
}

export function packetsIn(
  { model }: ResolvedCluster,
  packets: readonly PacketObject[],
  family: 4 | 6 | undefined,
): readonly Packet[] {
  const resolve = resolverOf(model, "default");
  return packets.map((object) => {
    const text = packetFromObject(object);
    if (isProblem(text)) throw new Refusal(text.problem);
    const packet = packetOf(text, resolve, family);
    if (isProblem(packet)) throw new Refusal(packet.problem);
    return packet;
  });
}
