/** Suites over updates: what one change makes a node write, and how long it takes to plan it. */
import { resolvePolicies } from "../../compiler/compile.ts";
import type { ClusterModel } from "../../compiler/model.ts";
import { planFelix } from "../../compiler/strategies/calico-iptables/update.ts";
import type { Strategy } from "../../compiler/strategies/strategy.ts";
import { controllerOf } from "../../compiler/update/controller.ts";
import { type Burst, burstsBetween } from "../../compiler/update/events.ts";
import type { Operation } from "../../compiler/update/operation.ts";
import { planPlain } from "../../compiler/update/plain.ts";
import type { Program } from "../../dataplane/program.ts";
import { writtenBy } from "../../verify/timeline/written.ts";
import type { BenchCase } from "../measure.ts";
import { clusterOf, type WorkloadSize } from "../workloads.ts";
import { Latest, type Suite, type SuiteOptions } from "./suite.ts";

const NODE = "node-0";
const PODS = [100, 1_000] as const;
const MS_PER_POD = 1;

function sizeOf(pods: number, seed: number): WorkloadSize {
  return {
    pods,
    policies: pods / 2,
    namespaces: Math.ceil(pods / 50),
    nodes: Math.ceil(pods / 100),
    seed,
    shape: "mixed",
  };
}

const CHANGES = ["a pod comes", "a policy comes"] as const;
type Change = (typeof CHANGES)[number];

/** The cluster without its last pod of the node, or its last policy, and with it again. */
function burstOf(model: ClusterModel, change: Change): Burst {
  const pod = model.endpoints.findLast(({ node }) => node === NODE);
  const policy = model.policies.at(-1);
  const before =
    change === "a pod comes"
      ? { ...model, endpoints: model.endpoints.filter((each) => each !== pod) }
      : { ...model, policies: model.policies.filter((each) => each !== policy) };
  const [burst] = burstsBetween(resolvePolicies(before), resolvePolicies(model));
  if (burst === undefined) throw new Error(`${change} changes nothing`);
  return burst;
}

const WRITTEN = ["rules", "setEntries", "mapEntries", "bytes"] as const;

export const writesSuite: Suite = {
  name: "writes",
  title: "Writes of one change",
  summary:
    "Rules, elements of sets, entries of maps and bytes that a node writes when one pod of its own, or one policy, comes; a cluster with half as many policies as pods.",
  chart: { x: "pods", xLabel: "pods in the cluster", series: ["strategy", "change", "of"] },
  growth: "writes",
  cases: ({ strategies, seed }: SuiteOptions): readonly BenchCase[] => {
    const models = new Latest<ClusterModel>();
    const written = new Latest<ReturnType<typeof writtenBy>>();
    return PODS.flatMap((pods) =>
      strategies.flatMap((strategy) =>
        CHANGES.flatMap((change) =>
          WRITTEN.map((of) => ({
            suite: "writes",
            params: { strategy: strategy.name, pods, change, of },
            unit: of === "bytes" ? "bytes" : "written",
            setUpMs: pods * MS_PER_POD,
            prepare: () => ({
              kind: "whole" as const,
              once: () => {
                const model = models.get(String(pods), () => clusterOf(sizeOf(pods, seed)));
                const counts = written.get(`${pods} ${strategy.name} ${change}`, () => writes(strategy, model, change));
                return counts[of];
              },
            }),
          })),
        ),
      ),
    );
  },
};

function writes(strategy: Strategy, model: ClusterModel, change: Change): ReturnType<typeof writtenBy> {
  const burst = burstOf(model, change);
  return writtenBy(controllerOf(strategy, burst.before, { node: NODE }).react(burst));
}

type Plan = (before: Program, after: Program, burst: Pick<Burst, "events">) => readonly Operation[];

/** The solutions that write what differs and are a function of two programs. */
const PLANS: ReadonlyMap<string, Plan> = new Map([
  ["calico-iptables", planFelix],
  ["cilium-ebpf", planPlain],
  ["bpf-hash", planPlain],
]);

const PLANNED_PODS = [100, 1_000, 10_000] as const;

/** As in Antrea's tests: small namespaces, three policies each. */
function tenantsOf(pods: number, seed: number): WorkloadSize {
  const namespaces = Math.ceil(pods / 4);
  return { pods, policies: namespaces * 3, namespaces, nodes: Math.ceil(pods / 100), seed, shape: "tenants" };
}

export const planSuite: Suite = {
  name: "plan",
  title: "Planning one change",
  summary:
    "One pod of the node comes, in namespaces of four pods and three policies: from the two programs to the operations, compiling left out.",
  chart: { x: "pods", xLabel: "pods in the cluster", series: ["strategy"] },
  growth: "plan",
  cases: ({ strategies, seed }: SuiteOptions): readonly BenchCase[] => {
    const models = new Latest<ClusterModel>();
    return PLANNED_PODS.flatMap((pods) =>
      strategies.flatMap((strategy) => {
        const plan = PLANS.get(strategy.name);
        if (plan === undefined) return [];
        return [
          {
            suite: "plan",
            params: { strategy: strategy.name, pods },
            unit: "ms",
            setUpMs: pods * MS_PER_POD,
            prepare: () => {
              const model = models.get(String(pods), () => clusterOf(tenantsOf(pods, seed)));
              const burst = burstOf(model, "a pod comes");
              // A running controller's programs: numbers and unchanged parts are the same in both.
              const controller = controllerOf(strategy, burst.before, { node: NODE });
              const before = controller.program;
              controller.react(burst);
              const after = controller.program;
              return {
                kind: "whole" as const,
                once: () => {
                  const start = performance.now();
                  plan(before, after, burst);
                  return performance.now() - start;
                },
              };
            },
          },
        ];
      }),
    );
  },
};
