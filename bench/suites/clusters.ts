/** Suites over a cluster as found in use: 1,000 pods, 500 policies, one of its nodes. */
import { compileNode, resolvePolicies } from "../../compiler/compile.ts";
import type { ResolvedCluster } from "../../compiler/resolve.ts";
import type { Strategy } from "../../compiler/strategies/strategy.ts";
import type { Fabric } from "../../dataplane/fabric.ts";
import type { Packet } from "../../dataplane/packet.ts";
import type { Program, Rule, TableProgram } from "../../dataplane/program.ts";
import type { BenchCase, Prepared } from "../measure.ts";
import { establish, fabricOf, pushing } from "../workloads/nodeUnderLoad.ts";
import { Random } from "../workloads/random.ts";
import { inOrder, LOCALITIES, openingPackets } from "../workloads/traffic.ts";
import { COMPILE_WORKLOAD, clusterOf } from "../workloads.ts";
import { Latest, type Suite, type SuiteOptions } from "./suite.ts";

const NODE = "node-0";
const FLOWS = 4_096;
const PACKETS = 16_384;
/** The cluster is made once a process, a program once a strategy. */
const SET_UP_MS = 120;

/** The cluster and the program of one of its nodes, shared by the cases of a process. */
class ClusterUnderLoad {
  readonly #seed: number;
  readonly #clusters = new Latest<ResolvedCluster>();
  readonly #programs = new Latest<Program>();

  constructor(seed: number) {
    this.#seed = seed;
  }

  get cluster(): ResolvedCluster {
    return this.#clusters.get("cluster", () => resolvePolicies(clusterOf({ ...COMPILE_WORKLOAD, seed: this.#seed })));
  }

  program(strategy: Strategy): Program {
    return this.#programs.get(strategy.name, () => compileNode(this.cluster, strategy, { node: NODE }));
  }

  fabric(strategy: Strategy): Fabric {
    return fabricOf(this.program(strategy));
  }

  openings(count: number): readonly Packet[] {
    return openingPackets(this.cluster, NODE, { count, random: this.random });
  }

  get random(): Random {
    return new Random(this.#seed);
  }
}

export const localitySuite: Suite = {
  name: "locality",
  title: "Locality of the traffic",
  summary: `First packets of ${FLOWS} connections on a node of a cluster of 1,000 pods and 500 policies, drawn alike, by Zipf's law, or one alone.`,
  chart: { x: "traffic", xLabel: "how packets are drawn", series: ["strategy"] },
  cases: ({ strategies, seed }: SuiteOptions): readonly BenchCase[] => {
    const load = new ClusterUnderLoad(seed);
    return strategies.flatMap((strategy) =>
      LOCALITIES.map((traffic) => ({
        suite: "locality",
        params: { strategy: strategy.name, traffic },
        unit: "ns/packet",
        setUpMs: SET_UP_MS,
        prepare: (): Prepared => {
          const options = { count: PACKETS, random: load.random };
          const packets = inOrder(load.openings(FLOWS), traffic, options);
          return pushing({ fabric: load.fabric(strategy), packets, forget: "connections" });
        },
      })),
    );
  },
};

const STATES = ["new", "established", "untracked"] as const;

export const stateSuite: Suite = {
  name: "state",
  title: "New, established, untracked",
  summary:
    "Packets of connections that the policies admit: their first, a later one, and a later one on a node that tracks nothing (NOTRACK in raw), which walks all rules.",
  chart: { x: "state", xLabel: "connection tracking", series: ["strategy"] },
  cases: ({ strategies, seed }: SuiteOptions): readonly BenchCase[] => {
    const load = new ClusterUnderLoad(seed);
    return strategies.flatMap((strategy) =>
      STATES.filter((state) => state !== "untracked" || !isMapStrategy(strategy)).map((state) => ({
        suite: "state",
        params: { strategy: strategy.name, state },
        unit: "ns/packet",
        setUpMs: SET_UP_MS,
        prepare: (): Prepared => {
          const fabric = load.fabric(strategy);
          const openings = load.openings(FLOWS);
          const admitted = openings.filter((packet) => fabric.push(packet).verdict === "accept");
          fabric.flushConntrack();
          if (state === "new") return pushing({ fabric, packets: admitted, forget: "connections" });
          const packets = establish(fabric, admitted);
          if (state === "established") return pushing({ fabric, packets, forget: "nothing" });
          return pushing({ fabric: fabricOf(untracked(load.program(strategy))), packets, forget: "nothing" });
        },
      })),
    );
  },
};

/** Flows of map programs are part of the look-up plan: there is nothing to turn off. */
function isMapStrategy({ name }: Strategy): boolean {
  return name === "cilium-ebpf" || name === "bpf-hash";
}

/** The program with connection tracking turned off for every packet, as stateless firewalls do. */
export function untracked(program: Program): Program {
  if (program.kind === "maps") throw new Error(`${program.strategy} has no raw table`);
  return { ...program, families: program.families.map(withoutTracking) };
}

const NOTRACK: Rule = { matches: [], target: { kind: "notrack" } };

function withoutTracking(tables: TableProgram["families"][number]): TableProgram["families"][number] {
  const before = tables.tables.find(({ name }) => name === "raw");
  const chains = before?.chains ?? [
    { name: "PREROUTING", policy: "accept" as const, rules: [] },
    { name: "OUTPUT", policy: "accept" as const, rules: [] },
  ];
  const raw = {
    name: "raw" as const,
    chains: chains.map((chain) =>
      chain.policy === undefined ? chain : { ...chain, rules: [NOTRACK, ...chain.rules] },
    ),
  };
  return { ...tables, tables: [raw, ...tables.tables.filter(({ name }) => name !== "raw")] };
}
