import { resolvePolicies } from "../../compiler/compile.ts";
import { kubeRouter } from "../../compiler/strategies/kube-router.ts";
import { establish, nodeFabric, pushing } from "../workloads/nodeUnderLoad.ts";
import { Random } from "../workloads/random.ts";
import { inOrder, openingPackets } from "../workloads/traffic.ts";
import { COMPILE_WORKLOAD, clusterOf } from "../workloads.ts";
import { caseMedian } from "./caseMedian.ts";
import type { Target } from "./target.ts";

const NODE = "node-0";
/** Openings drawn at once: not all are admitted. */
const BATCH = 20_000;
const PUSHED = 262_144;

/** Packets of so many established connections, drawn alike, through all tables of a kube-router node. */
function establishedTarget(flows: number, goal: number, stretch: number): Target {
  return {
    name: `established packet, ${flows.toLocaleString("en-US")} flows`,
    unit: "ns/packet",
    goal,
    stretch,
    better: "lower",
    limitMs: 90_000,
    async measure({ seed, clock }) {
      const random = new Random(seed);
      const cluster = resolvePolicies(clusterOf({ ...COMPILE_WORKLOAD, seed }));
      const fabric = nodeFabric(cluster, kubeRouter, NODE);
      const open = [];
      while (open.length < flows) {
        // A loop, because a million arguments are too many for one call of push.
        for (const packet of establish(fabric, openingPackets(cluster, NODE, { count: BATCH, random })))
          open.push(packet);
      }
      const packets = inOrder(open.slice(0, flows), "uniform", { count: PUSHED, random });
      const measured = caseMedian(pushing({ fabric, packets, forget: "nothing" }), clock);
      return { measured, note: `kube-router, 1,000 pods and 500 policies, flows drawn alike` };
    },
  };
}

export const establishedTargets: readonly Target[] = [
  establishedTarget(10_000, 25, 15),
  establishedTarget(100_000, 40, 25),
  establishedTarget(1_000_000, 80, 60),
];
