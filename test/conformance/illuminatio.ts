/**
 * Reads illuminatio/: manifests of a connectivity tester and what it expected of them, written as
 * `namespace:label=value` to `namespace:label=value`, ports `*` open or `-*` closed. `illuminatio-inverted-` before a
 * namespace or a label stands for anything that is not it.
 *
 * Its manifests create pods by Deployments; here each end of an expectation is a pod of its own.
 */
import { readdirSync, readFileSync } from "node:fs";
import { parse } from "yaml";
import { z } from "zod";
import { loadCluster } from "../../compiler/compile.ts";
import { formatIssue } from "../../compiler/issue.ts";
import { type Manifest, manifestText } from "../../compiler/manifest/write.ts";
import type { ClusterModel } from "../../compiler/model.ts";
import type { ReferenceVerdict } from "../../reference/evaluate.ts";
import { packet } from "../../verify/fuzz/builders.ts";
import { sharedPath } from "../shared.ts";
import { type ConformanceCase, nodeManifest, type Probe, podManifest } from "./cases.ts";

/** By source, destination and ports. */
const Expectations = z.record(
  z.string(),
  z.record(z.string(), z.partialRecord(z.enum(["*", "-*"]), z.object({ success: z.literal(true) }))),
);

/** "All ports" stands for these. */
const KINDS = [
  ["tcp", 80],
  ["tcp", 8080],
  ["udp", 53],
  ["sctp", 9],
] as const;

const SOURCE_ADDRESS = "10.244.1.10";
const DESTINATION_ADDRESS = "10.244.2.20";

/** Every expectation of `expected/`, four packets each. */
export function illuminatioCases(): readonly ConformanceCase[] {
  return readdirSync(sharedPath("conformance", "illuminatio", "expected"))
    .sort()
    .flatMap((file) => {
      const manifests = readFileSync(sharedPath("conformance", "illuminatio", file), "utf8");
      const expected = Expectations.parse(
        parse(readFileSync(sharedPath("conformance", "illuminatio", "expected", file), "utf8")),
      );
      return Object.entries(expected).flatMap(([source, destinations]) =>
        Object.entries(destinations).map(([destination, ports]) => ({
          name: `illuminatio ${file}: ${source} to ${destination}`,
          model: clusterAround(manifests, source, destination),
          probes: probesOf("-*" in ports ? "drop" : "accept"),
        })),
      );
    });
}

function clusterAround(manifests: string, source: string, destination: string): ClusterModel {
  const around: readonly Manifest[] = [
    nodeManifest("node-a", "172.18.0.2", "10.244.1.0/24"),
    nodeManifest("node-b", "172.18.0.3", "10.244.2.0/24"),
    podManifest({ ...endOf(source), name: "source", node: "node-a", ips: [SOURCE_ADDRESS] }),
    podManifest({ ...endOf(destination), name: "destination", node: "node-b", ips: [DESTINATION_ADDRESS] }),
  ];
  const { model, issues } = loadCluster([
    { name: "manifests.yaml", text: manifests },
    { name: "pods.json", text: manifestText(around) },
  ]);
  if (model === undefined) throw new Error(issues.map(formatIssue).join("\n"));
  return model;
}

const INVERTED = "illuminatio-inverted-";

function endOf(text: string): { readonly namespace: string; readonly labels: Readonly<Record<string, string>> } {
  const [, namespace, key, value] = /^([^:]+):([^=]+)=(.*)$/.exec(text) ?? [];
  if (namespace === undefined || key === undefined || value === undefined) throw new Error(`not an end: ${text}`);
  return { namespace, labels: key.startsWith(INVERTED) ? {} : { [key]: value } };
}

function probesOf(verdict: ReferenceVerdict): readonly Probe[] {
  return KINDS.map(([protocol, destinationPort]) => ({
    packet: packet(protocol, SOURCE_ADDRESS, DESTINATION_ADDRESS, { destinationPort }),
    verdict,
  }));
}
