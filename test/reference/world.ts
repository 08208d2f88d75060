/** Pods in one line each, policies as users write them, packets in the one-line form. */
import { type LoadedCluster, loadCluster } from "../../compiler/compile.ts";
import { formatIssue, type Issue } from "../../compiler/issue.ts";
import { manifestsOf, manifestText } from "../../compiler/manifest/write.ts";
import type { ClusterModel, Direction } from "../../compiler/model.ts";
import type { IpAddress } from "../../dataplane/address.ts";
import { parseAddress } from "../../dataplane/address.ts";
import type { Packet } from "../../dataplane/packet.ts";
import { evaluate, type ReferenceVerdict } from "../../reference/evaluate.ts";
import { isProblem, packetOf, parsePacketText, type TextProblem } from "../../traffic/transcript.ts";
import { cluster } from "../../verify/fuzz/builders.ts";

/** Loads the parts and the YAML as one cluster; throws on an error, so that no test walks a cluster it did not mean. */
export function world(parts: Partial<ClusterModel>, yaml = ""): ClusterModel {
  const { model, issues } = load(parts, yaml);
  if (model === undefined) throw new Error(issues.map(formatIssue).join("\n"));
  return model;
}

/** Everything that loading the YAML, beside the parts if there are any, has to say. */
export function issuesOf(yaml: string, parts: Partial<ClusterModel> = {}): readonly Issue[] {
  return load(parts, yaml).issues;
}

function load(parts: Partial<ClusterModel>, yaml: string): LoadedCluster {
  const built = { name: "parts.json", text: manifestText(manifestsOf(cluster(parts))) };
  return loadCluster([built, { name: "policies.yaml", text: yaml }].filter(({ text }) => text !== ""));
}

/** A policy around the given lines of `spec`, which start at column 0. */
export function policyYaml(key: string, spec: string): string {
  const [namespace = "", name = ""] = key.split("/");
  const indented = spec.replaceAll(/^/gm, "  ");
  return `---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: ${namespace}, name: ${name}}
spec:
${indented}
`;
}

/** The packet of a line such as `tcp default/web > default/db:80`; a name stands for its first address. */
export function packetIn(model: ClusterModel, line: string): Packet {
  const text = parsePacketText(line);
  const packet = isProblem(text) ? text : packetOf(text, (name) => addressOf(model, name));
  if (isProblem(packet)) throw new Error(`${line}: ${packet.problem}`);
  return packet;
}

function addressOf(model: ClusterModel, name: string): IpAddress | TextProblem {
  const holder = name.startsWith("node:")
    ? model.nodes.find((node) => `node:${node.name}` === name)
    : model.endpoints.find((pod) => pod.key === name);
  return holder?.addresses[0] ?? parseAddress(name) ?? { problem: `nobody is called ${name}` };
}

/** What the reference says about the line. */
export function verdictOf(model: ClusterModel, line: string): ReferenceVerdict {
  return evaluate(model, packetIn(model, line)).verdict;
}

/** The same per direction. */
export function directionsOf(model: ClusterModel, line: string): Readonly<Record<Direction, ReferenceVerdict>> {
  return evaluate(model, packetIn(model, line)).directions;
}
