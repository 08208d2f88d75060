/** Suites over the compiler: time, memory, and the price of a change. */
import { compileNode, resolvePolicies } from "../../compiler/compile.ts";
import type { ClusterModel } from "../../compiler/model.ts";
import { resolveAgain } from "../../compiler/resolveAgain.ts";
import type { Strategy } from "../../compiler/strategies/strategy.ts";
import type { BenchCase, Prepared } from "../measure.ts";
import { retainedBytes } from "../memory.ts";
import { changedPod } from "../workloads/changes.ts";
import { clusterOf, type WorkloadSize } from "../workloads.ts";
import { Latest, type Suite, type SuiteOptions } from "./suite.ts";

/** Pods and policies grow together, as in Antrea's tests: small namespaces, three policies each. */
const PODS = [100, 1_000, 10_000] as const;
const PODS_PER_NAMESPACE = 4;
const POLICIES_PER_NAMESPACE = 3;
const PODS_PER_NODE = 100;
const MS_PER_POD = 0.2;
const MIB = 2 ** 20;
const NODE = "node-0";

function sizeOf(pods: number, seed: number): WorkloadSize {
  const namespaces = Math.ceil(pods / PODS_PER_NAMESPACE);
  const policies = namespaces * POLICIES_PER_NAMESPACE;
  return { pods, policies, namespaces, nodes: Math.ceil(pods / PODS_PER_NODE), seed, shape: "tenants" };
}

/** Each call compiles a model that no cache has met. */
function compileOnce(model: ClusterModel, strategy: Strategy) {
  const cluster = resolvePolicies({ ...model });
  return { cluster, program: compileNode(cluster, strategy, { node: NODE }) };
}

function growingCluster(suite: string, unit: string, prepare: (model: ClusterModel, strategy: Strategy) => Prepared) {
  return ({ strategies, seed }: SuiteOptions): readonly BenchCase[] => {
    const models = new Latest<ClusterModel>();
    return PODS.flatMap((pods) =>
      strategies.map((strategy) => ({
        suite,
        params: { strategy: strategy.name, pods, policies: sizeOf(pods, seed).policies },
        unit,
        setUpMs: pods * MS_PER_POD,
        prepare: () =>
          prepare(
            models.get(String(pods), () => clusterOf(sizeOf(pods, seed))),
            strategy,
          ),
      })),
    );
  };
}

function timed(run: () => void): Prepared {
  return {
    kind: "whole",
    once: () => {
      const start = performance.now();
      run();
      return performance.now() - start;
    },
  };
}

export const compileSuite: Suite = {
  name: "compile",
  title: "Compile time",
  summary: "Resolve the cluster and lower one node of 100 pods; namespaces of four pods and three policies.",
  chart: { x: "pods", xLabel: "pods in the cluster", series: ["strategy"] },
  growth: "compile",
  cases: growingCluster("compile", "ms", (model, strategy) => timed(() => compileOnce(model, strategy))),
};

export const memorySuite: Suite = {
  name: "memory",
  title: "Memory of what is compiled",
  summary: "What the resolved cluster and the program of one node keep alive beside the model.",
  chart: { x: "pods", xLabel: "pods in the cluster", series: ["strategy"] },
  growth: "memory",
  cases: growingCluster("memory", "MiB", (model, strategy) => ({
    kind: "whole",
    once: () =>
      Math.max(
        1,
        retainedBytes(() => compileOnce(model, strategy)),
      ) / MIB,
  })),
};

export const updateSuite: Suite = {
  name: "update",
  title: "Update cost",
  summary:
    "A pod of the node gets another address, or other labels in every other turn, and the program of the node is what it has to be again.",
  chart: { x: "pods", xLabel: "pods in the cluster", series: ["strategy"] },
  growth: "update",
  cases: growingCluster("update", "ms", (model, strategy) => {
    const position = model.endpoints.findIndex(({ node }) => node === NODE);
    let cluster = resolvePolicies({ ...model });
    strategy.lower(cluster, { node: NODE });
    let turn = 0;
    return {
      kind: "whole",
      once: () => {
        turn++;
        const changed = changedPod(cluster.model, position, turn);
        const start = performance.now();
        cluster = resolveAgain(cluster, changed);
        strategy.lower(cluster, { node: NODE });
        return performance.now() - start;
      },
    };
  }),
};
