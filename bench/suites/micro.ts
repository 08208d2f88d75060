/** The small pieces, timed by tinybench and brought into the shape of everything else. */
import { compileNode, loadCluster, resolvePolicies } from "../../compiler/compile.ts";
import { sha256 } from "../../compiler/hash.ts";
import { renderIptablesSave } from "../../compiler/render/iptablesSave.ts";
import { kubeRouter } from "../../compiler/strategies/kube-router.ts";
import { verifyProgram } from "../../compiler/verify.ts";
import { formatAddress, parseAddress } from "../../dataplane/address.ts";
import { Fabric } from "../../dataplane/fabric.ts";
import type { BenchCase } from "../measure.ts";
import { ruleSetPacket } from "../workloads/ruleSet.ts";
import { clusterOf, clusterText } from "../workloads.ts";
import type { Suite, SuiteOptions } from "./suite.ts";

const SIZE = { pods: 100, policies: 50, namespaces: 5, nodes: 2, shape: "mixed" as const };
const NODE = "node-0";

/** A piece: makes what it needs, answers what is timed. */
type Piece = readonly [name: string, make: (seed: number) => () => unknown];

const PIECES: readonly Piece[] = [
  ["parse an address", () => () => parseAddress("10.244.17.203")],
  ["format an address", () => () => formatAddress({ family: 4, words: [(10 << 24) | 0xf411cb] })],
  ["hash a chain name", () => () => sha256("default/db-policy/tcp/0/3306")],
  [
    "read 150 manifests",
    (seed) => {
      const files = [{ name: "workload.yaml", text: clusterText(clusterOf({ ...SIZE, seed }), "yaml") }];
      return () => loadCluster(files);
    },
  ],
  [
    "resolve 50 policies",
    (seed) => {
      const model = clusterOf({ ...SIZE, seed });
      return () => resolvePolicies({ ...model });
    },
  ],
  ["lower a node", (seed) => onProgram(seed, ({ cluster }) => kubeRouter.lower(cluster, { node: NODE }))],
  ["verify a program", (seed) => onProgram(seed, ({ program }) => verifyProgram(program))],
  ["render a program", (seed) => onProgram(seed, ({ program }) => renderIptablesSave(program, 4))],
  ["load a program", (seed) => onProgram(seed, ({ program }) => new Fabric([program]))],
  [
    "push one packet",
    (seed) => {
      const { program } = compiled(seed);
      const fabric = new Fabric([program], { only: NODE });
      const packet = ruleSetPacket(undefined, 1);
      return () => fabric.push(packet);
    },
  ],
];

function compiled(seed: number) {
  const cluster = resolvePolicies(clusterOf({ ...SIZE, seed }));
  const program = compileNode(cluster, kubeRouter, { node: NODE });
  if (program.kind !== "tables") throw new Error("kube-router programs tables");
  return { cluster, program };
}

function onProgram(seed: number, what: (made: ReturnType<typeof compiled>) => unknown): () => unknown {
  const made = compiled(seed);
  return () => what(made);
}

export const microSuite: Suite = {
  name: "micro",
  title: "The pieces",
  summary: "Single functions, timed by tinybench: a cluster of 100 pods and 50 policies on two nodes, kube-router.",
  chart: { x: "piece", xLabel: "piece", series: [] },
  cases: ({ seed }: SuiteOptions): readonly BenchCase[] =>
    PIECES.map(([piece, make]) => ({
      suite: "micro",
      params: { piece },
      unit: "ns/call",
      setUpMs: 50,
      prepare: () => ({ kind: "task", run: make(seed) }),
    })),
};
