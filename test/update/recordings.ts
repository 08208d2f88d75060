/** The stories of `../shared/dumps/updates` as the solutions lived them: clusters, commands, states. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { loadCluster } from "../../compiler/compile.ts";
import { importProgram } from "../../compiler/import/importProgram.ts";
import type { RecordedCommand } from "../../compiler/import/operations.ts";
import { formatIssue } from "../../compiler/issue.ts";
import { type ResolvedCluster, resolvePolicies } from "../../compiler/resolve.ts";
import { strategyNamed } from "../../compiler/strategies/registry.ts";
import type { Strategy } from "../../compiler/strategies/strategy.ts";
import type { Program, TableProgram } from "../../dataplane/program.ts";
import { isWhole } from "../extent.ts";
import { ourText } from "../realDumps/nodeText.ts";
import { chainLines, parseChains, parseSets, setLines } from "../realDumps/normalise.ts";
import { sharedPath } from "../shared.ts";

/** Some seconds each: for CI, which has the time. */
export const hasTime = process.env.CI !== undefined;

/** Without CI one node stands for both. */
export const NODES = isWhole ? (["node-a", "node-b"] as const) : (["node-a"] as const);

export const STORIES = ["pod-churn", "policy-churn"] as const;

export function updatesPath(...parts: readonly string[]): string {
  return sharedPath("dumps", "updates", ...parts);
}

export function clusterIn(path: string): ResolvedCluster {
  const { model, issues } = loadCluster([{ name: path, text: readFileSync(path, "utf8") }]);
  if (model === undefined) throw new Error(issues.map(formatIssue).join("\n"));
  return resolvePolicies(model);
}

/** The clusters of a story, step by step. */
export function storyClusters(story: string): readonly ResolvedCluster[] {
  const folder = updatesPath("clusters", story);
  const count = readdirSync(folder).filter((name) => /^step-\d+\.yaml$/.test(name)).length;
  return Array.from({ length: count }, (_, step) => clusterIn(`${folder}/step-${step}.yaml`));
}

export function strategyCalled(name: string): Strategy {
  const strategy = strategyNamed(name);
  if (strategy === undefined) throw new Error(`no strategy ${name}`);
  return strategy;
}

/** The commands of a step that change something, in order. */
export function commandsOf(...path: readonly string[]): readonly (RecordedCommand & { readonly rc?: number })[] {
  return readFileSync(updatesPath(...path, "ops.jsonl"), "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as RecordedCommand & { readonly read?: boolean; readonly rc?: number })
    .filter(({ read, tool }) => read !== true && tool !== "nft");
}

/** The state a step left. */
export function stateOf(
  strategy: Strategy,
  cluster: ResolvedCluster,
  node: string,
  ...path: readonly string[]
): TableProgram {
  const file = (name: string) => {
    const full = updatesPath(...path, name);
    return existsSync(full) ? { name: full, text: readFileSync(full, "utf8") } : undefined;
  };
  const [iptablesSave, ip6tablesSave, ipsetSave] = ["iptables-save.txt", "ip6tables-save.txt", "ipset-save.txt"].map(
    file,
  );
  const { program, issues } = importProgram({
    ...(iptablesSave && { iptablesSave }),
    ...(ip6tablesSave && { ip6tablesSave }),
    ...(ipsetSave && { ipsetSave }),
    node,
    strategy: strategy.name,
    attachment: strategy.attach(cluster, { node }),
  });
  if (program === undefined) throw new Error(issues.map(formatIssue).join("\n"));
  return program;
}

/** A state in lines to compare; only what a kernel draws (seeds, sizes, order of a hash) is taken out. */
export function stateLines(program: Program): readonly string[] {
  const { ipv4, ipv6, sets } = ourText(program);
  const none = new Map<string, string>();
  return [
    ...chainLines(parseChains(ipv4), none),
    ...chainLines(parseChains(ipv6), none).map((line) => `ipv6 ${line}`),
    ...setLines(parseSets(sets), none),
  ];
}
