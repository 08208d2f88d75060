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
import type { Measured, MeasureOptions, Target } from "./target.ts";

/** Antrea's scale test. */
const ANTREA: Omit<WorkloadSize, "seed"> = {
  pods: 100_000,
  policies: 75_000,
  namespaces: 25_000,
  nodes: 1_000,
  shape: "tenants",
};
const KIB_PER_GIB = 2 ** 20;

const ANTREA_WORDS = "100,000 pods, 25,000 namespaces, 75,000 policies, 1,000 nodes";

/** Other ways to be large, held to the same time and memory. */
const SHAPES: readonly (readonly [name: string, size: Omit<WorkloadSize, "seed">, words: string])[] = [
  [
    "everybody selected",
    { pods: 10_000, policies: 10_000, namespaces: 1, nodes: 100, shape: "everyone" },
    "10,000 pods on 100 nodes, 10,000 policies that each select all of them: a million jumps on the node; Antrea's controller, by its authors: 10.7 s, 1.16 GB",
  ],
  [
    "5,000 nodes",
    { pods: 150_000, policies: 30_000, namespaces: 10_000, nodes: 5_000, shape: "tenants" },
    "150,000 pods on 5,000 nodes, 10,000 namespaces, 30,000 policies: the limits that Kubernetes states",
  ],
  [
    "1,000,000 blocks",
    { pods: 10_000, policies: 10_000, namespaces: 100, nodes: 100, shape: "blocks" },
    "10,000 pods, 10,000 policies of 100 ipBlocks that cannot be merged",
  ],
  [
    "20,000 selectors",
    { pods: 10_000, policies: 10_000, namespaces: 10, nodes: 100, shape: "selectors" },
    "10,000 pods, 10,000 policies, no two of whose selectors are equal",
  ],
];

/** Resolve and lower one node, once; answers milliseconds. */
function compileMs(size: Omit<WorkloadSize, "seed">, { seed, clock }: Pick<MeasureOptions, "seed" | "clock">): number {
  const model = clusterOf({ ...size, seed });
  const start = clock();
  compileNode(resolvePolicies(model), kubeRouter, { node: "node-0" });
  return clock() - start;
}

/** Of the whole process so far. */
function peakGib(): number {
  return process.resourceUsage().maxRSS / KIB_PER_GIB;
}

function shapeTarget(name: string, size: Omit<WorkloadSize, "seed">, words: string): Target {
  return {
    name: `resolve and lower one node, ${name}`,
    unit: "s",
    goal: 6,
    stretch: 3,
    better: "lower",
    limitMs: 120_000,
    async measure(options): Promise<Measured> {
      const measured = compileMs(size, options) / 1_000;
      return { measured, note: `kube-router; ${words}; peak ${peakGib().toFixed(2)} GiB, the model included` };
    },
  };
}

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
    async measure(options): Promise<Measured> {
      return { measured: compileMs(ANTREA, options) / 1_000, note: `kube-router; ${ANTREA_WORDS}` };
    },
  },
  {
    name: "resolve and lower one node, memory",
    unit: "GiB",
    goal: 2,
    stretch: 1,
    better: "lower",
    limitMs: 120_000,
    async measure(options): Promise<Measured> {
      compileMs(ANTREA, options);
      return {
        measured: peakGib(),
        note: `peak of the whole process, the model included; kube-router; ${ANTREA_WORDS}`,
      };
    },
  },
  ...SHAPES.map((shape) => shapeTarget(...shape)),
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
