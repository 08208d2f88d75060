/** Calico, weave-net and Romana against every other recorded state: single claims, settings, clusters that change. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { compileNode } from "../../compiler/compile.ts";
import { applyDefaults } from "../../compiler/manifest/defaults.ts";
import { parseManifests } from "../../compiler/manifest/objects.ts";
import { validateCluster } from "../../compiler/manifest/validate.ts";
import type { ClusterModel, Namespace } from "../../compiler/model.ts";
import { type ResolvedCluster, resolvePolicies } from "../../compiler/resolve.ts";
import { strategyNamed } from "../../compiler/strategies/registry.ts";
import { sampled } from "../extent.ts";
import { hasShared } from "../shared.ts";
import { dumpPath, NODES, type Solution } from "./dumps.ts";
import { ourText, recordedText } from "./nodeText.ts";
import { recordedOrders } from "./recordedOrders.ts";
import { ComparableText, UNDER_TEST } from "./tableText.ts";

interface RecordedState {
  readonly solution: Solution;
  /** Below `dumps/`. */
  readonly folder: string;
  readonly cluster: string;
  readonly node: string;
  readonly settings?: ReadonlyMap<string, string>;
  /** What the harness gave the solution and the file does not say. */
  readonly asGiven?: (model: ClusterModel) => ClusterModel;
}

/**
 * States that follow from what came before, not from the cluster alone (updates/weave-net/NOTES.md: bugs B1 to B5, and the
 * DROP that stays after the last egress policy), or from chance: why, by folder.
 */
const OF_ANOTHER_ORIGIN: readonly (readonly [folder: RegExp, why: string])[] = [
  [/^updates\/weave-net\/policy-churn\/node-a\/step-(?:8|9|10)$/, "B1, B2"],
  [/^updates\/weave-net\/extra\/named-port-.*\/step-[1-9]$/, "B4, B5"],
  [/^updates\/weave-net\/extra\/ns-relabel-combined-peer\/step-[1-9]$/, "B3"],
  [/^updates\/weave-net\/extra\/types-gain-then-delete\/step-[13]$/, "B2"],
  [/^updates\/weave-net\/extra\/namespace-goes\/step-[1-9]$/, "the DROP stays"],
  [/^updates\/weave-net\/extra\/address-given-before-delete\/step-[12]$/, "an address of two pods, and its comment"],
  [/^weave-net\/probes\/egress-(?:deleted|update-newselector)\//, "policies that were deleted or updated"],
  [/^romana\/probes\/native-/, "policies of Romana's own API"],
  [/^romana\/probes\/update\//, "a policy that was deleted"],
  [/^updates\/romana\/pod-churn\/node-a\/step-[78]$/, "a pod that comes back has another interface"],
];

/** Runs of Calico on db-policy under other options; those of Felix that chainwalk does not have are left out. */
const CALICO_VARIANTS: Readonly<Record<string, Pick<RecordedState, "settings" | "asGiven">>> = {
  "endpoint-to-host-drop": { settings: new Map([["endpoint-to-host", "DROP"]]) },
  "endpoint-to-host-return": { settings: new Map([["endpoint-to-host", "RETURN"]]) },
  "missing-iface": {},
  "iptables-nft": {},
  "no-serviceaccount": {
    asGiven: (model) => ({
      ...model,
      endpoints: model.endpoints.map((pod) => ({ ...pod, serviceAccount: "" })),
    }),
  },
};

/** Romana's probes isolate every namespace by its annotation, but for these, whose policies are named after uids. */
const OPEN_PROBES = ["no-policies", "one-empty-ingress-allowall", "twelve-segments"];
const UIDS: ReadonlyMap<string, string> = new Map([
  ["dev", "3e9649bd-608c-cdc0-b2bc-44c72da94253"],
  ["prod", "dbbec7de-b1a5-b2ce-4fad-48737f98866f"],
]);

function withNamespaces(change: (namespace: Namespace) => Namespace): (model: ClusterModel) => ClusterModel {
  return (model) => ({ ...model, namespaces: model.namespaces.map(change) });
}

const isolated = withNamespaces((namespace) => ({
  ...namespace,
  annotations: new Map([["net.beta.kubernetes.io/networkpolicy", '{"ingress":{"isolation":"DefaultDeny"}}']]),
}));
const withUids = withNamespaces((namespace) => ({ ...namespace, uid: UIDS.get(namespace.name) ?? "" }));
/** The pods came in the order of their uids, u7 to u18. */
const open = (model: ClusterModel): ClusterModel => ({
  ...withUids(model),
  endpoints: model.endpoints.map((pod) => ({ ...pod, uid: pod.uid.replace(/^u(\d)$/, "u0$1") })),
});

/** Some of these clusters the API server would refuse, and some leave `n` and `y` without quotes: they were given as they are. */
function load({ cluster, asGiven = (model) => model }: RecordedState): ResolvedCluster {
  const text = readFileSync(dumpPath(cluster), "utf8").replace(/: ([ny])$/gm, ': "$1"');
  const { model } = validateCluster(applyDefaults(parseManifests([{ name: cluster, text }])));
  return resolvePolicies(asGiven(model));
}

function listed(folder: string): readonly string[] {
  return existsSync(dumpPath(folder)) ? readdirSync(dumpPath(folder)) : [];
}

function states(): readonly RecordedState[] {
  const node = "node-a";
  const found: RecordedState[] = [];
  for (const [solution, folder] of [
    ["calico", "calico/extra"],
    ["weave-net", "weave-net/probes"],
    ["romana", "romana/probes"],
  ] as const) {
    for (const name of listed(folder)) {
      const asGiven = solution !== "romana" ? {} : { asGiven: OPEN_PROBES.includes(name) ? open : isolated };
      found.push({
        solution,
        folder: `${folder}/${name}/node-a`,
        cluster: `${folder}/${name}/cluster.yaml`,
        node,
        ...asGiven,
      });
    }
  }
  for (const [variant, given] of Object.entries(CALICO_VARIANTS)) {
    const folder = `calico/extra/variants/${variant}/node-a`;
    found.push({ solution: "calico", folder, cluster: "clusters/db-policy.yaml", node, ...given });
  }
  for (const solution of ["calico", "weave-net", "romana"] as const) found.push(...storiesOf(solution));
  for (const story of listed("updates/weave-net/extra")) {
    const folder = `updates/weave-net/extra/${story}`;
    if (!story.includes(".")) found.push(...stepsIn(folder, { solution: "weave-net", node, stepsOf: () => folder }));
  }
  return found.filter(
    ({ folder, cluster }) =>
      existsSync(dumpPath(folder, "iptables-save.txt")) &&
      existsSync(dumpPath(cluster)) &&
      !OF_ANOTHER_ORIGIN.some(([pattern]) => pattern.test(folder)),
  );
}

function storiesOf(solution: "calico" | "weave-net" | "romana"): readonly RecordedState[] {
  const own = listed(`updates/${solution}`).filter((story) => story !== "extra" && !story.includes("."));
  const extra = solution === "calico" ? listed("updates/calico/extra").map((story) => `extra/${story}`) : [];
  return [...own, ...extra].flatMap((story) =>
    NODES.flatMap((node) => {
      const shared = story.includes("policy") ? "policy-churn" : "pod-churn";
      return stepsIn(`updates/${solution}/${story}/${node}`, {
        solution,
        node,
        // Romana's clusters are without the policies that it refuses.
        stepsOf: (step) => (solution === "romana" ? undefined : `updates/clusters/${shared}`) ?? step,
      });
    }),
  );
}

function stepsIn(
  folder: string,
  {
    solution,
    node,
    stepsOf,
  }: Pick<RecordedState, "solution" | "node"> & { readonly stepsOf: (step: string) => string },
): readonly RecordedState[] {
  return listed(folder)
    .filter((step) => /^step-\d+$/.test(step))
    .map((step) => {
      const state = `${folder}/${step}`;
      const clusters = stepsOf(state);
      return {
        solution,
        node,
        folder: state,
        cluster: clusters === state ? `${state}/cluster.yaml` : `${clusters}/${step}.yaml`,
      };
    });
}

const SOME = sampled(states(), 8);

describe.runIf(hasShared)("other recorded states", () => {
  it.each(SOME)("$folder", (state) => {
    const under = UNDER_TEST.find(({ solution }) => solution === state.solution);
    const strategy = strategyNamed(under?.strategy ?? "");
    if (under === undefined || strategy === undefined) throw new Error(`no strategy for ${state.solution}`);
    const cluster = load(state);
    const recorded = recordedText(state.folder);
    const settings = new Map([...recordedOrders(state.solution, cluster, recorded), ...(state.settings ?? [])]);
    const ours = new ComparableText(ourText(compileNode(cluster, strategy, { node: state.node, settings })), under);
    const theirs = new ComparableText(recorded, under);
    expect(ours.lines).toEqual(theirs.lines);
    expect(ours.sets).toEqual(theirs.sets);
  });

  it("are many of each solution", () => {
    const count = (solution: Solution) => states().filter((state) => state.solution === solution).length;
    expect(count("calico")).toBeGreaterThan(60);
    expect(count("weave-net")).toBeGreaterThan(40);
    expect(count("romana")).toBeGreaterThan(35);
  });
});
