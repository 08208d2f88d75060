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

const MIB = 2 ** 20;
const NODE = "node-0";

/** Clusters of one shape that grow along an axis. */
interface Growing {
  /** The parameter that grows. */
  readonly axis: string;
  readonly steps: readonly number[];
  sizeOf(step: number): Omit<WorkloadSize, "seed">;
  /** To make the cluster and compile it once. */
  setUpMs(size: Omit<WorkloadSize, "seed">): number;
}

const PODS_PER_NAMESPACE = 4;
const POLICIES_PER_NAMESPACE = 3;
const PODS_PER_NODE = 100;

/** Pods and policies grow together, as in Antrea's tests: small namespaces, three policies each. */
const TENANTS: Growing = {
  axis: "pods",
  steps: [100, 1_000, 10_000],
  sizeOf: (pods) => {
    const namespaces = Math.ceil(pods / PODS_PER_NAMESPACE);
    const policies = namespaces * POLICIES_PER_NAMESPACE;
    return { pods, policies, namespaces, nodes: Math.ceil(pods / PODS_PER_NODE), shape: "tenants" };
  },
  setUpMs: ({ pods }) => pods * 0.2,
};

/** The same pods, ever more policies of two selectors that nobody else has. */
const SELECTORS: Growing = {
  axis: "selectors",
  steps: [200, 2_000, 10_000],
  sizeOf: (selectors) => ({ pods: 2_000, policies: selectors / 2, namespaces: 10, nodes: 20, shape: "selectors" }),
  setUpMs: ({ policies }) => 300 + policies * 0.4,
};

/** The same pods, ever more blocks that cannot be merged, a hundred a policy. */
const BLOCKS: Growing = {
  axis: "blocks",
  steps: [1_000, 10_000, 100_000],
  sizeOf: (blocks) => ({ pods: 1_000, policies: blocks / 100, namespaces: 10, nodes: 10, shape: "blocks" }),
  setUpMs: ({ policies }) => 100 + policies * 3,
};

/** Each call compiles a model that no cache has met. */
function compileOnce(model: ClusterModel, strategy: Strategy) {
  const cluster = resolvePolicies({ ...model });
  return { cluster, program: compileNode(cluster, strategy, { node: NODE }) };
}

interface Measurement {
  readonly suite: string;
  readonly unit: string;
  prepare(model: ClusterModel, strategy: Strategy): Prepared;
}

function growingCluster({ axis, steps, sizeOf, setUpMs }: Growing, { suite, unit, prepare }: Measurement) {
  return ({ strategies, seed }: SuiteOptions): readonly BenchCase[] => {
    const models = new Latest<ClusterModel>();
    return steps.flatMap((step) => {
      const size = sizeOf(step);
      return strategies.map((strategy) => ({
        suite,
        params: { strategy: strategy.name, [axis]: step, policies: size.policies },
        unit,
        setUpMs: setUpMs(size),
        prepare: () =>
          prepare(
            models.get(String(step), () => clusterOf({ ...size, seed })),
            strategy,
          ),
      }));
    });
  };
}

const COMPILED: Pick<Measurement, "unit" | "prepare"> = {
  unit: "ms",
  prepare: (model, strategy) => timed(() => compileOnce(model, strategy)),
};

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
  cases: growingCluster(TENANTS, { suite: "compile", ...COMPILED }),
};

export const selectorsSuite: Suite = {
  name: "selectors",
  title: "Compile time against distinct selectors",
  summary: "2,000 pods; no two policies have a selector in common, each asks for a label and against another.",
  chart: { x: "selectors", xLabel: "distinct selectors", series: ["strategy"] },
  growth: "compile",
  cases: growingCluster(SELECTORS, { suite: "selectors", ...COMPILED }),
};

export const blocksSuite: Suite = {
  name: "blocks",
  title: "Compile time against address blocks",
  summary: "1,000 pods; each policy admits a hundred blocks that no other has and that cannot be merged.",
  chart: { x: "blocks", xLabel: "address blocks", series: ["strategy"] },
  growth: "compile",
  cases: growingCluster(BLOCKS, { suite: "blocks", ...COMPILED }),
};

export const memorySuite: Suite = {
  name: "memory",
  title: "Memory of what is compiled",
  summary: "What the resolved cluster and the program of one node keep alive beside the model.",
  chart: { x: "pods", xLabel: "pods in the cluster", series: ["strategy"] },
  growth: "memory",
  cases: growingCluster(TENANTS, {
    suite: "memory",
    unit: "MiB",
    prepare: (model, strategy) => ({
      kind: "whole",
      once: () =>
        Math.max(
          1,
          retainedBytes(() => compileOnce(model, strategy)),
        ) / MIB,
    }),
  }),
};

export const updateSuite: Suite = {
  name: "update",
  title: "Update cost",
  summary:
    "A pod of the node gets another address, or other labels in every other turn, and the program of the node is what it has to be again.",
  chart: { x: "pods", xLabel: "pods in the cluster", series: ["strategy"] },
  growth: "update",
  cases: growingCluster(TENANTS, {
    suite: "update",
    unit: "ms",
    prepare: (model, strategy) => {
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
    },
  }),
};
