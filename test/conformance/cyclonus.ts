/**
 * Reads cyclonus.json: pod pairs × protocol and port over a 3 × 3 cluster, judged by an independent simulator.
 *
 * The table knows no nodes. Its pods are put on two nodes in turn, so that same-node and cross-node pairs of every kind
 * occur. A pod to itself is judged there like any pair; the API lets it pass, so the diagonal is kept apart.
 */
import { readFileSync } from "node:fs";
import { z } from "zod";
import type { ClusterModel } from "../../compiler/model.ts";
import type { IpAddress } from "../../dataplane/address.ts";
import { makePacket, type Packet, parseProtocol } from "../../dataplane/packet.ts";
import type { ReferenceVerdict } from "../../reference/evaluate.ts";
import { address } from "../../verify/fuzz/builders.ts";
import { sampled } from "../extent.ts";
import { sharedPath } from "../shared.ts";
import { type ConformanceCase, modelOf, namespaceManifest, nodeManifest, type Probe, podManifest } from "./cases.ts";

const Labels = z.record(z.string(), z.string());
const Manifest = z.record(z.string(), z.unknown());

const Cluster = z.object({
  namespaces: z.record(z.string(), Labels),
  pods: z.array(
    z.object({ namespace: z.string(), name: z.string(), ip: z.string(), labels: Labels, ports: z.array(Manifest) }),
  ),
});

const Table = z.object({
  ingress: z.array(z.string()),
  egress: z.array(z.string()),
  combined: z.array(z.string()),
});

const Step = z.object({
  order: z.array(z.string()),
  state: z.union([
    z.object({ useDefaultCluster: z.literal(true), policies: z.array(Manifest) }),
    Cluster.extend({ policies: z.array(Manifest) }),
  ]),
  /** By `PROTO/port`. */
  expected: z.record(z.string(), Table),
});

const Cyclonus = z.object({
  defaultCluster: Cluster,
  cases: z.array(z.object({ id: z.string(), steps: z.array(Step) })),
});

type ClusterFacts = z.infer<typeof Cluster>;
type StepFacts = z.infer<typeof Step>;

/** A step of a case, as a case of its own; `itself` are the cells of the diagonal. */
export interface CyclonusCase extends ConformanceCase {
  readonly itself: readonly Packet[];
}

/**
 * Every step of every case, in the order of the file: the steps of one case are successive states of one cluster. A sample
 * has a case in so many of them.
 */
export function cyclonusCases(): readonly CyclonusCase[] {
  const file = Cyclonus.parse(JSON.parse(readFileSync(sharedPath("conformance", "cyclonus.json"), "utf8")));
  const models = new Map<string, ClusterModel>();
  return sampled(file.cases, 40).flatMap(({ id, steps }) =>
    steps.map((step, index) => {
      const { state } = step;
      const cluster = "useDefaultCluster" in state ? file.defaultCluster : state;
      const key = JSON.stringify([cluster, state.policies]);
      const model = models.get(key) ?? modelOf(id, manifestsOf(cluster, state.policies));
      models.set(key, model);
      return { name: `${id} step ${index}`, model, ...probesOf(step, addressesOf(cluster)) };
    }),
  );
}

const NODES = ["node-a", "node-b"] as const;

function manifestsOf(cluster: ClusterFacts, policies: readonly z.infer<typeof Manifest>[]) {
  return [
    nodeManifest(NODES[0], "172.18.0.2", "192.168.1.0/25"),
    nodeManifest(NODES[1], "172.18.0.3", "192.168.1.128/25"),
    ...Object.entries(cluster.namespaces).map(([name, labels]) => namespaceManifest(name, labels)),
    ...cluster.pods.map(({ ip, ...pod }, index) =>
      podManifest({ ...pod, ips: [ip], node: index % 2 === 0 ? NODES[0] : NODES[1] }),
    ),
    ...policies,
  ];
}

/** Read once: each stands in thousands of packets. */
function addressesOf(cluster: ClusterFacts): ReadonlyMap<string, IpAddress> {
  return new Map(cluster.pods.map((pod) => [`${pod.namespace}/${pod.name}`, address(pod.ip)]));
}

function probesOf(step: StepFacts, addresses: ReadonlyMap<string, IpAddress>): Pick<CyclonusCase, "probes" | "itself"> {
  const probes: Probe[] = [];
  const itself: Packet[] = [];
  for (const [kind, table] of Object.entries(step.expected)) {
    const [name = "", port] = kind.split("/");
    const protocol = parseProtocol(name);
    if (protocol === undefined) throw new Error(`not a protocol: ${name}`);
    step.order.forEach((from, row) => {
      step.order.forEach((to, column) => {
        const [source, destination] = [addresses.get(from), addresses.get(to)];
        if (source === undefined || destination === undefined) throw new Error(`${from} or ${to} has no address`);
        const asked = makePacket({ protocol, source, destination, destinationPort: Number(port) });
        if (row === column) {
          itself.push(asked);
          return;
        }
        probes.push({
          packet: asked,
          verdict: verdictAt(table.combined, row, column),
          directions: {
            ingress: verdictAt(table.ingress, row, column),
            egress: verdictAt(table.egress, row, column),
          },
        });
      });
    });
  }
  return { probes, itself };
}

function verdictAt(rows: readonly string[], row: number, column: number): ReferenceVerdict {
  const letter = rows[row]?.[column];
  if (letter !== "." && letter !== "X") throw new Error(`no verdict at ${row}, ${column}: ${letter}`);
  return letter === "." ? "accept" : "drop";
}
