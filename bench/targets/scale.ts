/** Targets over big clusters: compiling them, and keeping up with their changes. */
import { compileNode, resolvePolicies } from "../../compiler/compile.ts";
import type { ClusterModel } from "../../compiler/model.ts";
import { resolveAgain } from "../../compiler/resolveAgain.ts";
import { calicoIptables } from "../../compiler/strategies/calico-iptables.ts";
import { ciliumEbpf } from "../../compiler/strategies/cilium-ebpf.ts";
import { kubeRouter } from "../../compiler/strategies/kube-router.ts";
import { STRATEGIES } from "../../compiler/strategies/registry.ts";
import type { Strategy } from "../../compiler/strategies/strategy.ts";
import { weaveNet } from "../../compiler/strategies/weave-net.ts";
import { controllerOf } from "../../compiler/update/controller.ts";
import { burstsBetween } from "../../compiler/update/events.ts";
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
const UPDATED_NODE = "node-0";
/** Changes in a row, the first third of which warms up; fewer once they have taken so long. */
const UPDATES = 90;
const UPDATES_MS = 5_000;

/** Milliseconds that a change of one pod takes; `take` brings what is kept of the cluster to the next state. */
function medianOfChanges(model: ClusterModel, clock: () => number, take: (changed: ClusterModel) => void): number {
  const position = model.endpoints.findIndex((pod) => pod.node === UPDATED_NODE);
  const times: number[] = [];
  const end = clock() + UPDATES_MS;
  let latest = model;
  for (let turn = 1; turn <= UPDATES && (clock() < end || times.length < 9); turn++) {
    latest = changedPod(latest, position, turn);
    const start = clock();
    take(latest);
    times.push(clock() - start);
  }
  return median(times.slice(Math.floor(times.length / 3)));
}

/** Resolve and lower one node. */
function updateMs(model: ClusterModel, strategy: Strategy, clock: () => number): number {
  let cluster = resolvePolicies(model);
  strategy.lower(cluster, { node: UPDATED_NODE });
  return medianOfChanges(model, clock, (changed) => {
    cluster = resolveAgain(cluster, changed);
    strategy.lower(cluster, { node: UPDATED_NODE });
  });
}

/** Resolve, work out the events, and what the controller does about them. */
function planMs(model: ClusterModel, strategy: Strategy, clock: () => number): number {
  let cluster = resolvePolicies(model);
  const controller = controllerOf(strategy, cluster, { node: UPDATED_NODE });
  return medianOfChanges(model, clock, (changed) => {
    const before = cluster;
    cluster = resolveAgain(before, changed);
    for (const burst of burstsBetween(before, cluster)) controller.react(burst);
  });
}

/** Solutions that write what differs, whatever else there is. */
const INCREMENTAL = [calicoIptables, weaveNet, ciliumEbpf];

async function measureChanges(
  strategies: readonly Strategy[],
  { seed, clock }: MeasureOptions,
  how: { readonly ms: typeof planMs; readonly what: string },
): Promise<Measured> {
  const model = clusterOf({ ...UPDATED, seed });
  const cost = strategies.map((strategy) => [strategy.name, how.ms(model, strategy, clock)] as const);
  const each = cost.map(([name, ms]) => `${name} ${ms.toFixed(1)}`).join(", ");
  return {
    measured: Math.max(...cost.map(([, ms]) => ms)),
    note: `the slowest strategy; ${each}; 10,000 pods, 2,500 namespaces, 7,500 policies; ${how.what}`,
  };
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
    measure: (options) => measureChanges(STRATEGIES, options, { ms: updateMs, what: "resolve and lower one node" }),
  },
  {
    name: "plan of a change of one pod",
    unit: "ms",
    goal: 10,
    stretch: 1,
    better: "lower",
    limitMs: 120_000,
    measure: (options) =>
      measureChanges(INCREMENTAL, options, {
        ms: planMs,
        what: "from the cluster's objects to the operations of one node; a pod with another address goes and comes",
      }),
  },
];
