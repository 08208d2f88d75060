/** A packet in the middle of a change: apart, since following controllers is much code that a walk does not need. */
import { strategyNamed } from "../../compiler/strategies/registry.ts";
import { programsLane, referenceLane } from "../../verify/lane.ts";
import { programAt } from "../../verify/timeline.ts";
import type { WalkTarget } from "../messages.ts";
import type { Bench } from "./bench.ts";
import { type Pushed, packetsIn, pushed } from "./push.ts";
import { Refusal } from "./refusal.ts";

/** Nobody asks for the classes of packets here. */
const NO_CLASSES = 0;

/** As `trace --at`: the programs after so many operations of the step; a node with fewer is at their end. */
export function pushInBetween(bench: Bench, name: string, target: Extract<WalkTarget, { kind: "moment" }>): Pushed {
  const { story } = bench;
  const { step, operation } = target;
  const cluster = step === 0 ? story.start : story.steps.find((each) => each.number === step)?.cluster;
  if (cluster === undefined) throw new Refusal(`the story has no step ${step}`);
  const strategy = strategyNamed(name);
  const lane =
    strategy === undefined
      ? referenceLane(cluster)
      : programsLane(
          cluster.model.nodes.map(
            ({ name: node }) => programAt(story, { strategy, node, limit: NO_CLASSES }, { step, operation }).program,
          ),
          strategy,
          { walk: true },
        );
  const [packet] = packetsIn(cluster, [target.packet], undefined);
  if (packet === undefined) throw new Refusal("no packet yet");
  return pushed(lane, packet, cluster);
}
