/** Our lowering against every other recorded state of the real kube-router: single claims, settings, clusters that change. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { compileNode, loadCluster } from "../../compiler/compile.ts";
import { formatIssue } from "../../compiler/issue.ts";
import { type ResolvedCluster, resolvePolicies } from "../../compiler/resolve.ts";
import { kubeRouter } from "../../compiler/strategies/kube-router.ts";
import { hasShared } from "../shared.ts";
import { dumpPath, NODES } from "./dumps.ts";
import { unexplainedNamedPorts } from "./namedPortVisits.ts";
import { ourText, recordedText } from "./nodeText.ts";
import { normaliseKubeRouter, ordersOf } from "./normaliseKubeRouter.ts";

interface RecordedState {
  /** Below `dumps/`. */
  readonly folder: string;
  readonly cluster: string;
  readonly node: string;
  readonly settings?: ReadonlyMap<string, string>;
}

/**
 * The writers of these files left the names `n` and `y` without quotes, and meant the text; kubectl would read booleans
 * (YAML 1.1), and so do we.
 */
function load(path: string): ResolvedCluster {
  const text = readFileSync(dumpPath(path), "utf8").replace(/: ([ny])$/gm, ': "$1"');
  const { model, issues } = loadCluster([{ name: path, text }]);
  if (model === undefined) throw new Error(issues.map(formatIssue).join("\n"));
  return resolvePolicies(model);
}

function states(): readonly RecordedState[] {
  if (!hasShared) return [];
  const extra = "kube-router/extra";
  const found: RecordedState[] = [];
  for (const name of readdirSync(dumpPath(extra))) {
    // What is left when a policy is taken away is what would be there without it.
    const cluster = `kube-router/extra-clusters/${name.replace(/-removed$/, "-minus")}.yaml`;
    // Numbers in random order share sets here: which ones is told apart below, not by text.
    if (name === "hash-index" || !existsSync(dumpPath(cluster))) continue;
    for (const node of NODES) found.push({ folder: `${extra}/${name}/${node}`, cluster, node });
  }
  for (const name of ["default-deny", "random-small"]) {
    found.push({
      folder: `${extra}/netpol-default-deny-${name}/node-a`,
      cluster: `clusters/${name}.yaml`,
      node: "node-a",
      settings: new Map([["netpol-default-deny", "true"]]),
    });
  }
  for (const story of ["pod-churn", "policy-churn"]) {
    for (const node of NODES) {
      const folder = `updates/kube-router/${story}/${node}`;
      for (const step of readdirSync(dumpPath(folder))) {
        found.push({ folder: `${folder}/${step}`, cluster: `updates/clusters/${story}/${step}.yaml`, node });
      }
    }
  }
  return found.filter(({ folder }) => existsSync(dumpPath(folder)));
}

describe.runIf(hasShared)("kube-router's other states", () => {
  it.each(states())("$folder", ({ folder, cluster: path, node, settings = new Map() }) => {
    const cluster = load(path);
    const recorded = recordedText(folder);
    const theirs = normaliseKubeRouter(recorded);
    const program = compileNode(cluster, kubeRouter, { node, settings: new Map([...ordersOf(recorded), ...settings]) });
    const ours = normaliseKubeRouter(ourText(program));
    expect(ours.chains).toEqual(theirs.chains);
    expect(ours.sets).toEqual(theirs.sets);
    expect(unexplainedNamedPorts(cluster, node, theirs)).toEqual([]);
  });

  it("are many", () => {
    expect(states().length).toBeGreaterThan(60);
  });

  it("hash-index: as many sets as there are names, where names of two rules fall together", () => {
    const program = compileNode(load("kube-router/extra-clusters/hash-index.yaml"), kubeRouter, { node: "node-a" });
    const ours = ourText(program)
      .sets.match(/^create \S+/gm)
      ?.toSorted();
    const theirs = recordedText("kube-router/extra/hash-index/node-a")
      .sets.match(/^create \S+/gm)
      ?.toSorted();
    expect(ours).toEqual(theirs);
  });
});
