import { compileNode, resolvePolicies } from "../../compiler/compile.ts";
import type { Endpoint } from "../../compiler/model.ts";
import type { ResolvedCluster } from "../../compiler/resolve.ts";
import { STRATEGIES } from "../../compiler/strategies/registry.ts";
import { createFabricResults } from "../../dataplane/fabric.ts";
import { makePacket, type Packet, PROTOCOL } from "../../dataplane/packet.ts";
import type { Program } from "../../dataplane/program.ts";
import type { Prepared } from "../measure.ts";
import { batchesOf, fabricOf, pushing } from "../workloads/nodeUnderLoad.ts";
import { Random } from "../workloads/random.ts";
import { inOrder } from "../workloads/traffic.ts";
import { clusterOf, type WorkloadSize } from "../workloads.ts";
import { caseMedian } from "./caseMedian.ts";
import type { Target } from "./target.ts";

/** 10,000 pods, each selected by 10 policies. */
const SIZE: Omit<WorkloadSize, "seed"> = {
  pods: 10_000,
  policies: 10_000,
  namespaces: 1_000,
  nodes: 100,
  shape: "everyone",
};
const NODE = "node-0";
const PORTS = [8080, 9090, 22];
const PUSHED = 32_768;

/** Packets to the node's pods that policies tell apart: every neighbour in the namespace and one stranger, some ports. */
function distinctPackets(cluster: ResolvedCluster): readonly Packet[] {
  const [first] = cluster.pods;
  const byNamespace = new Map<string, Endpoint[]>();
  for (const pod of cluster.pods) {
    const neighbours = byNamespace.get(pod.namespace);
    if (neighbours === undefined) byNamespace.set(pod.namespace, [pod]);
    else neighbours.push(pod);
  }
  return cluster.podsOn(NODE).flatMap((pod) => {
    const stranger = first === undefined || first.namespace === pod.namespace ? [] : [first];
    const sources = [...(byNamespace.get(pod.namespace) ?? []), ...stranger].filter((source) => source !== pod);
    return sources.flatMap((source) => {
      const [from] = source.addresses;
      const [to] = pod.addresses;
      if (from === undefined || to === undefined) return [];
      return PORTS.map((destinationPort) =>
        makePacket({ protocol: PROTOCOL.tcp, source: from, destination: to, destinationPort }),
      );
    });
  });
}

/** What is left of a node when it has no rules: routing and connection tracking. */
function withoutRules(program: Program): Program {
  const { strategy, node, attachment } = program;
  return { kind: "tables", strategy, node, attachment, sets: [], families: [{ family: 4, tables: [] }] };
}

/** Every packet once, through a node that has seen none. */
function firstTime(program: Program, packets: readonly Packet[]): Prepared {
  const [batch] = batchesOf(packets, packets.length);
  if (batch === undefined) throw new Error("no packets");
  const results = createFabricResults(batch.length);
  return {
    kind: "whole",
    once: () => {
      const fabric = fabricOf(program);
      const start = performance.now();
      fabric.pushBatch(batch, results);
      return ((performance.now() - start) * 1e6) / batch.length;
    },
  };
}

function worst(values: ReadonlyMap<string, number>): number {
  return Math.max(...values.values());
}

function inWords(values: ReadonlyMap<string, number>): string {
  return [...values].map(([name, ns]) => `${name} ${Math.round(ns)}`).join(", ");
}

export const newPacketTargets: readonly Target[] = [
  {
    name: "new packet, class tuple seen before",
    unit: "ns/packet",
    goal: 60,
    stretch: 35,
    better: "lower",
    limitMs: 120_000,
    async measure({ seed, clock }) {
      const cluster = resolvePolicies(clusterOf({ ...SIZE, seed }));
      const packets = inOrder(distinctPackets(cluster), "uniform", { count: PUSHED, random: new Random(seed) }).map(
        (packet, index) => ({ ...packet, sourcePort: 1024 + (index % 60_000) }),
      );
      const cost = new Map<string, number>();
      let bareNs = 0;
      for (const strategy of STRATEGIES) {
        const program = compileNode(cluster, strategy, { node: NODE });
        cost.set(
          strategy.name,
          caseMedian(pushing({ fabric: fabricOf(program), packets, forget: "connections" }), clock),
        );
        if (bareNs > 0) continue;
        const bare = fabricOf(withoutRules(program));
        bareNs = caseMedian(pushing({ fabric: bare, packets, forget: "connections" }), clock);
      }
      const note = `the slowest strategy; ${inWords(cost)}; goal is 60 + ${Math.round(bareNs)} for the connection's entry, measured on a node without rules`;
      return { measured: worst(cost), goal: 60 + bareNs, note };
    },
  },
  {
    name: "new packet, class tuple new",
    unit: "ns/packet",
    goal: 1_000,
    stretch: 250,
    better: "lower",
    limitMs: 120_000,
    async measure({ seed, clock }) {
      const cluster = resolvePolicies(clusterOf({ ...SIZE, seed }));
      const packets = distinctPackets(cluster);
      const cost = new Map<string, number>();
      for (const strategy of STRATEGIES) {
        cost.set(strategy.name, caseMedian(firstTime(compileNode(cluster, strategy, { node: NODE }), packets), clock));
      }
      return {
        measured: worst(cost),
        note: `the slowest strategy; ${inWords(cost)}; ${packets.length} packets, each once`,
      };
    },
  },
];
