/** Targets over big clusters: compiling them, and keeping up with their changes. */
import { compileNode, resolvePolicies } from "../../compiler/compile.ts";
import type { ClusterModel } from "../../compiler/model.ts";
import { kubeRouter } from "../../compiler/strategies/kube-router.ts";
import { COMPILE_WORKLOAD, clusterOf, type WorkloadSize } from "../workloads.ts";
import { caseMedian } from "./caseMedian.ts";
import type { Measured, Target } from "./target.ts";

/** Antrea's scale test. */
const ANTREA: Omit<WorkloadSize, "seed"> = {
  pods: 100_000,
  policies: 75_000,
  namespaces: 25_000,
  nodes: 1_000,
  shape: "tenants",
};
const KIB_PER_GIB = 2 ** 20;

/** Resolve and lower one node, once; answers milliseconds. */
function compileAntrea(seed: number, clock: () => number): number {
  const model = clusterOf({ ...ANTREA, seed });
  const start = clock();
  compileNode(resolvePolicies(model), kubeRouter, { node: "node-0" });
  return clock() - start;
}

const SHAPE = "kube-router; 100,000 pods, 25,000 namespaces, 75,000 policies, 1,000 nodes";

/** What is done today when a pod's address changes: everything anew. `update` of an incremental compiler takes its place. */
function updateByRebuild(model: ClusterModel, clock: () => number): number {
  let turn = 0;
  const [pod] = model.endpoints;
  if (pod === undefined) throw new Error("no pod to change");
  return caseMedian(
    {
      kind: "whole",
      once: () => {
        turn++;
        const moved = { ...pod, addresses: [{ family: 4 as const, words: [(10 << 24) | (255 << 16) | turn] }] };
        const start = clock();
        const changed = { ...model, endpoints: [moved, ...model.endpoints.slice(1)] };
        compileNode(resolvePolicies(changed), kubeRouter, { node: "node-0" });
        return clock() - start;
      },
    },
    clock,
    4_000,
  );
}

export const scaleTargets: readonly Target[] = [
  {
    name: "resolve and lower one node, time",
    unit: "s",
    goal: 6,
    stretch: 3,
    better: "lower",
    limitMs: 120_000,
    async measure({ seed, clock }): Promise<Measured> {
      return { measured: compileAntrea(seed, clock) / 1_000, note: SHAPE };
    },
  },
  {
    name: "resolve and lower one node, memory",
    unit: "GiB",
    goal: 2,
    stretch: 1,
    better: "lower",
    limitMs: 120_000,
    async measure({ seed, clock }): Promise<Measured> {
      compileAntrea(seed, clock);
      const measured = process.resourceUsage().maxRSS / KIB_PER_GIB;
      return { measured, note: `peak of the whole process, the model included; ${SHAPE}` };
    },
  },
  {
    name: "one pod's address changes",
    unit: "ms",
    goal: 10,
    stretch: 1,
    better: "lower",
    limitMs: 60_000,
    async measure({ seed, clock }): Promise<Measured> {
      const measured = updateByRebuild(clusterOf({ ...COMPILE_WORKLOAD, seed }), clock);
      return {
        measured,
        note: "kube-router, 1,000 pods, 500 policies; everything is compiled anew: there is no incremental update yet",
      };
    },
  },
];
