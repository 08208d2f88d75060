/** Targets over big clusters: compiling them, and keeping up with their changes. */
import { compileNode, resolvePolicies } from "../../compiler/compile.ts";
import type { ClusterModel } from "../../compiler/model.ts";
import { resolveAgain } from "../../compiler/resolveAgain.ts";
import { kubeRouter } from "../../compiler/strategies/kube-router.ts";
import { STRATEGIES } from "../../compiler/strategies/registry.ts";
import type { Strategy } from "../../compiler/strategies/strategy.ts";
import { median } from "../statistics.ts";
import { changedPod } from "../workloads/changes.ts";
import { clusterOf, type WorkloadSize } from "../workloads.ts";
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

/** As in the suite `update`: a tenth of Antrea's pods. */
const UPDATED: Omit<WorkloadSize, "seed"> = { ...ANTREA, pods: 10_000, policies: 7_500, namespaces: 2_500, nodes: 100 };
/** Changes in a row, the first third of which warms up; fewer once they have taken so long. */
const UPDATES = 90;
const UPDATES_MS = 5_000;

/** Median of the changes of one pod, one after the other; the address of one change, the labels of the next. */
function updateMs(model: ClusterModel, strategy: Strategy, clock: () => number): number {
  const node = "node-0";
  const position = model.endpoints.findIndex((pod) => pod.node === node);
  let cluster = resolvePolicies(model);
  strategy.lower(cluster, { node });
  const times: number[] = [];
  const end = clock() + UPDATES_MS;
  for (let turn = 1; turn <= UPDATES && (clock() < end || times.length < 9); turn++) {
    const changed = changedPod(cluster.model, position, turn);
    const start = clock();
    cluster = resolveAgain(cluster, changed);
    strategy.lower(cluster, { node });
    times.push(clock() - start);
  }
  return median(times.slice(Math.floor(times.length / 3)));
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
    name: "one pod's address or labels change",
    unit: "ms",
    goal: 10,
    stretch: 1,
    better: "lower",
    limitMs: 120_000,
    async measure({ seed, clock }): Promise<Measured> {
      const model = clusterOf({ ...UPDATED, seed });
      const cost = STRATEGIES.map((strategy) => [strategy.name, updateMs(model, strategy, clock)] as const);
      const each = cost.map(([name, ms]) => `${name} ${ms.toFixed(1)}`).join(", ");
      return {
        measured: Math.max(...cost.map(([, ms]) => ms)),
        note: `the slowest strategy; ${each}; 10,000 pods, 2,500 namespaces, 7,500 policies; resolve and lower one node`,
      };
    },
  },
];
