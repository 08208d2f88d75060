/** What the readers of independent truth tables have in common: a cluster, and packets with known verdicts. */
import { loadCluster } from "../../compiler/compile.ts";
import { formatIssue } from "../../compiler/issue.ts";
import { type Manifest, manifestText } from "../../compiler/manifest/write.ts";
import type { ClusterModel, Direction } from "../../compiler/model.ts";
import type { Packet } from "../../dataplane/packet.ts";
import type { ReferenceVerdict } from "../../reference/evaluate.ts";

export interface ConformanceCase {
  /** The table's own name for it. */
  readonly name: string;
  /** Equal states share one model, so that whoever compiles it can do so once. */
  readonly model: ClusterModel;
  readonly probes: readonly Probe[];
}

/** One first packet of a connection and what an independent source says about it. */
export interface Probe {
  readonly packet: Packet;
  readonly verdict: ReferenceVerdict;
  /** Where the source judges the directions apart. */
  readonly directions?: Readonly<Record<Direction, ReferenceVerdict>>;
}

/** The cluster of the objects, through the same stages as a user's; throws on any error. */
export function modelOf(name: string, manifests: readonly Manifest[]): ClusterModel {
  const { model, issues } = loadCluster([{ name, text: manifestText(manifests) }]);
  if (model === undefined) throw new Error(issues.map(formatIssue).join("\n"));
  return model;
}

/** A node; tables that are not about nodes get some, since every pod is on one. */
export function nodeManifest(name: string, address: string, podCidr: string): Manifest {
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name },
    spec: { podCIDR: podCidr, podCIDRs: [podCidr] },
    status: { addresses: [{ type: "InternalIP", address }] },
  };
}

export function namespaceManifest(name: string, labels: Readonly<Record<string, string>> = {}): Manifest {
  return { apiVersion: "v1", kind: "Namespace", metadata: { name, labels } };
}

export interface PodFacts {
  readonly namespace: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly node: string;
  readonly ips: readonly string[];
  readonly ports?: readonly Manifest[];
}

/** A running pod with one container. */
export function podManifest({ namespace, name, labels, node, ips, ports = [] }: PodFacts): Manifest {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { namespace, name, labels },
    spec: { nodeName: node, containers: [{ name: "main", image: "registry.example/app:1", ports }] },
    status: { phase: "Running", podIP: ips[0], podIPs: ips.map((ip) => ({ ip })) },
  };
}
