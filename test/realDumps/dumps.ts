/**
 * The recordings of the real solutions (`../shared/dumps`, described in its README.md): the states they programmed, what
 * the kernel did with packets under them, and by which rules. A clone without that folder has the selection of them that
 * the project carries, `test/real`, which is laid out alike.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";
import { loadCluster } from "../../compiler/compile.ts";
import type { NodeSaves } from "../../compiler/import/importProgram.ts";
import { formatIssue } from "../../compiler/issue.ts";
import type { ClusterModel } from "../../compiler/model.ts";
import { type ResolvedCluster, resolvePolicies } from "../../compiler/resolve.ts";
import { strategyNamed } from "../../compiler/strategies/registry.ts";
import { parseAddress } from "../../dataplane/address.ts";
import type { Packet } from "../../dataplane/packet.ts";
import type { Attachment } from "../../dataplane/program.ts";
import type { Verdict } from "../../dataplane/verdict.ts";
import { isProblem, packetOf, parsePacketLine } from "../../traffic/transcript.ts";
import { hasShared, sharedPath } from "../shared.ts";

/** The selection of them that the project carries. */
export const CARRIED = join(import.meta.dirname, "..", "real");

/** A path below `dumps`. */
export function dumpPath(...parts: readonly string[]): string {
  return hasShared ? sharedPath("dumps", ...parts) : join(CARRIED, ...parts);
}

/** The folders of solutions that program tables. */
export const SOLUTIONS = ["kube-router", "calico", "weave-net", "romana", "romana-as-given"] as const;
export type Solution = (typeof SOLUTIONS)[number];

export const NODES = ["node-a", "node-b"] as const;

/** The clusters recorded under a solution. */
export function clustersOf(solution: Solution): readonly string[] {
  return clustersIn(dumpPath(solution));
}

/** Those of them that every clone has. */
export function carriedClusters(solution: Solution): readonly string[] {
  return clustersIn(join(CARRIED, solution));
}

function clustersIn(folder: string): readonly string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder).filter((name) => existsSync(join(folder, name, "verdicts.jsonl")));
}

/** Every folder below `dumps/` that holds the state of a node, as paths below it. */
export function stateFolders(): readonly string[] {
  const files = readdirSync(dumpPath(), { recursive: true, encoding: "utf8" });
  const states = files
    .map((file) => file.split("\\").join("/"))
    .filter((file) => /(?:^|[-/])iptables-save\.txt$/.test(file));
  return [...new Set(states.map((file) => posix.dirname(file)))].sort();
}

/** The saves in a folder of `stateFolders`; files have their paths below `dumps/` as names. */
export function savesIn(
  folder: string,
): Pick<NodeSaves, "iptablesSave" | "ip6tablesSave" | "ipsetSave" | "interfaces"> {
  const files = readdirSync(dumpPath(folder));
  const read = (pattern: RegExp) => {
    const file = files.find((name) => pattern.test(name));
    if (file === undefined) return undefined;
    return { name: posix.join(folder, file), text: readFileSync(dumpPath(folder, file), "utf8") };
  };
  const [ipv4, ipv6] = [read(/(?:^|-)iptables-save\.txt$/), read(/(?:^|-)ip6tables-save\.txt$/)];
  const [sets, interfaces] = [read(/(?:^|-)ipset-save\.txt$/), read(/^interfaces\.json$/)];
  return {
    ...(ipv4 && { iptablesSave: ipv4 }),
    ...(ipv6 && { ip6tablesSave: ipv6 }),
    ...(sets && { ipsetSave: sets }),
    ...(interfaces && { interfaces }),
  };
}

/** The cluster a solution ran on, as the solution saw it. */
export function clusterOf(solution: Solution, name: string): ResolvedCluster {
  const folder = solution === "romana" ? "clusters-romana" : "clusters";
  const file = dumpPath(folder, `${name}.yaml`);
  const { model, issues } = loadCluster([{ name: file, text: readFileSync(file, "utf8") }]);
  if (model === undefined) throw new Error(issues.map(formatIssue).join("\n"));
  return resolvePolicies(solution === "kube-router" && name === "dual-stack" ? withIpv6Nodes(model) : model);
}

/** kube-router refuses to run on a node without an IPv6 address, so its run added these (dumps/kube-router/NOTES.md). */
const IPV6_NODES: ReadonlyMap<string, string> = new Map([
  ["node-a", "fd00:192:168::11"],
  ["node-b", "fd00:192:168::12"],
]);

function withIpv6Nodes(model: ClusterModel): ClusterModel {
  const nodes = model.nodes.map((node) => {
    const extra = parseAddress(IPV6_NODES.get(node.name) ?? "");
    return extra === undefined ? node : { ...node, addresses: [...node.addresses, extra] };
  });
  return { ...model, nodes };
}

/** The strategy that is held against a solution. */
export const STRATEGY_OF: Readonly<Record<Solution, string>> = {
  "kube-router": "kube-router",
  calico: "calico-iptables",
  "weave-net": "weave-net",
  romana: "romana",
  "romana-as-given": "romana",
};

/** How pods hung on the nodes; the names of their interfaces are in `interfaces.json`, where rules name them. */
export function attachmentOf(solution: Solution, cluster: ResolvedCluster, node: string): Attachment {
  const strategy = strategyNamed(STRATEGY_OF[solution]);
  if (strategy === undefined) throw new Error(`no strategy ${STRATEGY_OF[solution]}`);
  return strategy.attach(cluster, { node });
}

export interface RecordedHop {
  readonly node: string;
  readonly verdict: Verdict;
}

/** One line of verdicts.jsonl. */
export interface RecordedVerdict {
  readonly id: number;
  readonly packet: Packet;
  readonly hops: readonly RecordedHop[];
  readonly verdict: Verdict;
  /** What another run of the solution on the same cluster gave. */
  readonly also: readonly Verdict[];
}

export function verdictsOf(solution: Solution, cluster: string): readonly RecordedVerdict[] {
  return jsonLines(dumpPath(solution, cluster, "verdicts.jsonl")).map(({ line, value }) => {
    const text = parsePacketLine(line);
    const packet = isProblem(text)
      ? text
      : packetOf(text, (name) => parseAddress(name) ?? { problem: `${name} is no address` });
    if (isProblem(packet)) throw new Error(`${packet.problem}: ${line}`);
    const { id, hops, verdict, also } = value as Omit<RecordedVerdict, "also"> & { also?: Verdict | Verdict[] };
    return { id, packet, hops, verdict, also: also === undefined ? [] : [also].flat() };
  });
}

/** One line of walks.jsonl. */
export interface RecordedWalk {
  readonly id: number;
  readonly node: string;
  readonly verdict: Verdict;
  /** `chain number kind`. */
  readonly walk: readonly string[];
}

/** Whether walks were recorded: they were not with Romana's clusters as given. */
export function hasWalks(solution: Solution, cluster: string): boolean {
  return existsSync(dumpPath(solution, cluster, "walks.jsonl"));
}

export function walksOf(solution: Solution, cluster: string): readonly RecordedWalk[] {
  return jsonLines(dumpPath(solution, cluster, "walks.jsonl")).map(({ value }) => value as RecordedWalk);
}

function jsonLines(path: string): readonly { readonly line: string; readonly value: unknown }[] {
  return readFileSync(path, "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => ({ line, value: JSON.parse(line) }));
}
