/** Suites over tables that grow: rules or entries × flows, and maps alone. */
import { resolvePolicies } from "../../compiler/compile.ts";
import { ciliumEbpf } from "../../compiler/strategies/cilium-ebpf.ts";
import { kubeRouter } from "../../compiler/strategies/kube-router.ts";
import type { Packet } from "../../dataplane/packet.ts";
import type { BenchCase, Prepared } from "../measure.ts";
import { establish, nodeFabric, pushing } from "../workloads/nodeUnderLoad.ts";
import { Random } from "../workloads/random.ts";
import { RULE_SET_NODE, ruleSetCluster, ruleSetPacket } from "../workloads/ruleSet.ts";
import { inOrder } from "../workloads/traffic.ts";
import type { Suite, SuiteOptions } from "./suite.ts";

const ENTRIES = [10, 1_000, 100_000] as const;
const FLOWS = [1, 1_000, 100_000] as const;
const PACKETS = 65_536;
const MS_PER_RULE = 0.03;
const MS_PER_FLOW = 0.01;

/** Both kinds of programs; the other strategies are like one of them here. */
const KINDS = [kubeRouter, ciliumEbpf];

export const flowsSuite: Suite = {
  name: "flows",
  title: "Entries × flows",
  summary:
    "Packets of established connections, drawn alike from so many, under policies of so many single-address rules.",
  chart: { x: "flows", xLabel: "connections", series: ["strategy", "entries"] },
  growth: "connection table",
  cases: ({ strategies, seed }: SuiteOptions): readonly BenchCase[] =>
    KINDS.filter((kind) => strategies.includes(kind)).flatMap((strategy) =>
      ENTRIES.flatMap((entries) =>
        FLOWS.map((flows) => ({
          suite: "flows",
          params: { strategy: strategy.name, entries, flows },
          unit: "ns/packet",
          setUpMs: entries * MS_PER_RULE + flows * MS_PER_FLOW,
          prepare: (): Prepared => {
            const fabric = nodeFabric(resolvePolicies(ruleSetCluster(entries)), strategy, RULE_SET_NODE);
            const open = establish(fabric, flowsInto(entries, flows));
            const packets = inOrder(open, "uniform", { count: PACKETS, random: new Random(seed) });
            return pushing({ fabric, packets, forget: "nothing" });
          },
        })),
      ),
    ),
};

/** Openings of distinct connections to one port: one source has no more than 60,000 ports for them. */
function flowsInto(entries: number, flows: number): readonly Packet[] {
  return Array.from({ length: flows }, (_, index) => {
    const place = entries === 1 ? 0 : index % Math.min(entries, 10);
    return ruleSetPacket(place, Math.floor(index / Math.min(entries, 10)));
  });
}

const MAP_SIZES = [10, 1_000, 100_000, 1_000_000] as const;

export const mapsSuite: Suite = {
  name: "maps",
  title: "Map size against latency",
  summary:
    "The first packet of a connection from an address drawn alike from all those that the maps hold (cilium-ebpf: ipcache and policy map; bpf-hash: one hash).",
  chart: { x: "entries", xLabel: "entries", series: ["strategy"] },
  growth: "look-up",
  cases: ({ strategies, seed }: SuiteOptions): readonly BenchCase[] =>
    strategies
      .filter(({ name }) => name === "cilium-ebpf" || name === "bpf-hash")
      .flatMap((strategy) =>
        MAP_SIZES.map((entries) => ({
          suite: "maps",
          params: { strategy: strategy.name, entries },
          unit: "ns/packet",
          setUpMs: entries * MS_PER_RULE,
          prepare: (): Prepared => {
            const random = new Random(seed);
            const fabric = nodeFabric(resolvePolicies(ruleSetCluster(entries)), strategy, RULE_SET_NODE);
            const packets = Array.from({ length: PACKETS }, (_, index) => ruleSetPacket(random.below(entries), index));
            return pushing({ fabric, packets, forget: "connections" });
          },
        })),
      ),
};
