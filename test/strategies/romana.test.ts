/** Romana where recorded clusters say nothing. */
import { describe, expect, it } from "vitest";
import { resolvePolicies } from "../../compiler/compile.ts";
import { renderIpsetSave } from "../../compiler/render/ipsetSave.ts";
import { renderIptablesSave } from "../../compiler/render/iptablesSave.ts";
import type { ResolvedCluster } from "../../compiler/resolve.ts";
import { isolationOf } from "../../compiler/strategies/romana/annotation.ts";
import { tenantSet } from "../../compiler/strategies/romana/translate.ts";
import { romana } from "../../compiler/strategies/romana.ts";
import { controllerOf } from "../../compiler/update/controller.ts";
import { burstsBetween } from "../../compiler/update/events.ts";
import type { Program } from "../../dataplane/program.ts";
import { modelOf } from "../compiler/manifests.ts";

const clusterOf = (text: string) => resolvePolicies(modelOf(text));

function podText(name: string, namespace: string, node: string, address: string): string {
  return `
---
apiVersion: v1
kind: Pod
metadata: { name: ${name}, namespace: ${namespace} }
spec: { nodeName: ${node} }
status: { phase: Running, podIP: ${address} }`;
}

const SHOP = `
apiVersion: v1
kind: Node
metadata: { name: node-a }
---
apiVersion: v1
kind: Node
metadata: { name: node-b }
---
apiVersion: v1
kind: Namespace
metadata: { name: shop, uid: u1 }
---
apiVersion: v1
kind: Namespace
metadata: { name: guests, uid: u2 }
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: guests, namespace: shop }
spec:
  podSelector: {}
  policyTypes: [Ingress]
  ingress: [{ from: [{ namespaceSelector: { matchLabels: { namespace: guests } } }] }]${podText("web", "shop", "node-a", "10.10.1.10")}`;
const GUEST = podText("guest", "guests", "node-b", "10.10.2.10");

function chainsOf(program: Program) {
  if (program.kind !== "tables") throw new Error("Romana programs tables");
  return program.families.flatMap(({ tables }) => tables.flatMap(({ chains }) => chains));
}

function linesOf(program: Program): readonly string[] {
  if (program.kind !== "tables") throw new Error("Romana programs tables");
  return renderIptablesSave(program, 4).split("\n").toSorted();
}

const here = { node: "node-a" };

// agent/enforcer/enforcer.go Run applies nothing when `iptables-restore --test` fails, and makeBlockSets makes sets of
// tenants and segments that have blocks; cni/policy.go then finds no chain to jump to.
describe("a peer of which there is no block", () => {
  it("leaves a fresh host without rules, but with its sets", () => {
    const program = romana.lower(clusterOf(SHOP), here);
    expect(chainsOf(program).flatMap(({ name, rules }) => [name, ...rules])).toEqual(["INPUT", "FORWARD", "OUTPUT"]);
    expect(program.kind === "tables" && program.sets.map(({ name }) => name)).toContain("localBlocks");
  });

  it("is none of other hosts' business", () => {
    const names = chainsOf(romana.lower(clusterOf(SHOP + GUEST), { node: "node-b" })).map(({ name }) => name);
    const without = clusterOf(SHOP + podText("other", "other", "node-b", "10.10.2.20"));
    expect(chainsOf(romana.lower(without, { node: "node-b" })).map(({ name }) => name)).toContain("ROMANA-FORWARD-IN");
    expect(names).toContain("ROMANA-FORWARD-IN");
  });

  it("keeps rules away until it has a block; with its set once in use, rules are taken ever after", () => {
    const [empty, full] = [clusterOf(SHOP), clusterOf(SHOP + GUEST)];
    const controller = controllerOf(romana, empty, here);
    expect(controller.start().operations.map(({ tool }) => tool)).toEqual(["ipset", "ipset"]);
    for (const burst of burstsBetween(empty, full)) controller.react(burst);
    expect(linesOf(controller.program)).toEqual(linesOf(romana.lower(full, here)));
    const restored = burstsBetween(full, empty).flatMap((burst) => controller.react(burst).map(({ tool }) => tool));
    expect(restored).toContain("iptables-restore");
    expect(chainsOf(controller.program).map(({ name }) => name)).toContain("ROMANA-FORWARD-IN");
  });

  // cni/policy.go: without the chains the plugin's -A fails, and so nothing is there for its -D.
  it("is over with the only pod that the policy is for: pods that stay get the plugin's rules, that one has none", () => {
    const kin = podText("kin", "other", "node-a", "10.10.1.20");
    const relabelled = kin.replace("name: kin", "labels: { team: a }, name: kin");
    const without = SHOP.slice(0, SHOP.lastIndexOf("\n---\n"));
    const [before, after] = [clusterOf(SHOP + kin), clusterOf(without + relabelled)];
    const controller = controllerOf(romana, before, here);
    controller.start();
    for (const burst of burstsBetween(before, after)) controller.react(burst);
    expect(linesOf(controller.program)).toEqual(linesOf(romana.lower(after, here)));
  });
});

// listener/resources.go HandleDefaultPolicy gives the annotation to Go's json.NewDecoder(…).Decode; each of these was given
// to the real function.
describe("the annotation for isolation", () => {
  const deny = '{"isolation":"DefaultDeny"}';
  it.each([
    [`{"ingress":${deny}}`, "DefaultDeny"],
    ["{}", ""],
    ['{"ingress":{}}', ""],
    // What stands behind the first value is not read.
    [`\t{"ingress" : ${deny}} and {`, "DefaultDeny"],
    [`{"a":"}","b":"\\"}","ingress":${deny}}}`, "DefaultDeny"],
    ["nullx", ""],
    // Keys match without regard to case, the long s included, the dotless i not.
    ['{"INGRESS":{"Isolation":"DefaultDeny"}}', "DefaultDeny"],
    ['{"ingre\u017fs":{"i\u017folation":"DefaultDeny"}}', "DefaultDeny"],
    ['{"ingress":{"\u0131solation":"DefaultDeny"}}', ""],
    ['{"\\u0069ngress":{"isolation":"DefaultD\\u0065ny"}}', "DefaultDeny"],
    // Both values of a key that comes twice are read into the same place, and null changes nothing.
    [`{"ingress":${deny},"ingress":{}}`, "DefaultDeny"],
    [`{"ingress":${deny},"ingress":null}`, "DefaultDeny"],
    [`{"ingress":${deny},"ingress":{"isolation":"x"}}`, "x"],
    [`{"ingress":${deny},"Ingress":{"isolation":null}}`, "DefaultDeny"],
  ])("%s is read", (annotation, isolation) => {
    expect(isolationOf(annotation)).toBe(isolation);
  });

  it.each([
    "",
    " ",
    "nul",
    "true",
    "[]",
    '"DefaultDeny"',
    `\ufeff{"ingress":${deny}}`,
    `{"ingress":${deny}`,
    `{"ingress":${deny},}`,
    `{'ingress':${deny}}`,
    '{"a":"}',
    '{"a":01}',
    '{"ingress":[]}',
    '{"ingress":"DefaultDeny"}',
    '{"ingress":{"isolation":5}}',
    '{"ingress":{"isolation":true,"isolation":"DefaultDeny"}}',
    '{"ingress":5,"ingress":{}}',
  ])("%s is an error", (annotation) => {
    expect(isolationOf(annotation)).toBeUndefined();
  });
});

// cni/cni.go Allocate takes the default segment only for a pod without the label; agent/enforcer/enforcer.go makeBlockSets
// names the set of a segment without a name as that of the tenant. Run: ipset refuses an address in a list of sets, and
// the name of a set among addresses, and goes on.
describe("a pod whose segment label is there and empty", () => {
  const pod = (name: string, address: string, labels: string) =>
    podText(name, "shop", "node-a", address).replace("namespace: shop", `namespace: shop, labels: { ${labels} }`);
  const unnamed = (address: string) => pod("unnamed", address, 'romana.io/segment: ""');
  const setsOf = (text: string) => {
    const program = romana.lower(clusterOf(text), here);
    return program.kind === "tables" ? renderIpsetSave(program).split("\n") : [];
  };
  const OPEN = SHOP.slice(0, SHOP.lastIndexOf("\n---\napiVersion: networking"));
  const [tenant, front] = [tenantSet("shop", ""), tenantSet("shop", "front")];
  const named = pod("named", "10.10.1.20", "romana.io/segment: front");

  it("is in no set but localBlocks when a block of another segment is first", () => {
    const lines = setsOf(OPEN + named + unnamed("10.10.1.30"));
    expect(lines.filter((line) => line.startsWith("add"))).toEqual([
      `add ${front} 10.10.1.16/29`,
      "add localBlocks 10.10.1.16/29",
      "add localBlocks 10.10.1.24/29",
      `add ${tenant} ${front}`,
    ]);
  });

  it("has the set of its namespace to itself when its block is first", () => {
    const lines = setsOf(OPEN + named + unnamed("10.10.1.10"));
    expect(lines.filter((line) => line.startsWith("add") && !line.includes("localBlocks"))).toEqual([
      `add ${front} 10.10.1.16/29`,
      `add ${tenant} 10.10.1.8/29`,
    ]);
  });

  // The kernel keeps the type of a set that rules hold: run against ipset 7.17.
  it("meets the set of its namespace in the type that rules hold it in", () => {
    const [first, last] = [unnamed("10.10.1.10"), unnamed("10.10.1.30").replace("name: unnamed", "name: last")];
    const ownSet = (...texts: readonly string[]) => {
      const [before, after] = texts.map((text) => clusterOf(OPEN + text)) as [ResolvedCluster, ResolvedCluster];
      const controller = controllerOf(romana, before, here);
      for (const burst of burstsBetween(before, after)) controller.react(burst);
      const own = controller.program.kind === "tables" ? renderIpsetSave(controller.program).split("\n") : [];
      return own.filter((line) => line.startsWith(`create ${tenant}`) || line.startsWith(`add ${tenant}`));
    };
    expect(ownSet(named, named + first)).toEqual([`create ${tenant} list:set size 8`, `add ${tenant} ${front}`]);
    expect(ownSet(first + named + last, named + last)).toEqual([
      expect.stringContaining(`create ${tenant} hash:net`),
      `add ${tenant} 10.10.1.24/29`,
    ]);
  });
});

// listener/resources.go HandleDefaultPolicy puts the policy of an open namespace into the store with every event of it,
// and returns from an annotation that it cannot decode; run with the agent, whose ticks were counted.
describe("a namespace that changes", () => {
  const namespaceText = (annotation: string | undefined, team: string) => `
---
apiVersion: v1
kind: Namespace
metadata:
  name: guests
  uid: u2
  labels: { team: ${team} }${annotation === undefined ? "" : `\n  annotations: { net.beta.kubernetes.io/networkpolicy: '${annotation}' }`}`;
  const DENY = '{"ingress":{"isolation":"DefaultDeny"}}';
  const GUESTS = /\n---\napiVersion: v1\nkind: Namespace\nmetadata: \{ name: guests, uid: u2 \}/;
  const withGuests = (annotation: string | undefined, team: string, more = "") =>
    clusterOf(SHOP.replace(GUESTS, namespaceText(annotation, team)) + GUEST + more);
  const story = (...clusters: readonly ResolvedCluster[]) => {
    const controller = controllerOf(romana, clusters[0] as ResolvedCluster, here);
    const ticks = clusters.slice(1).map((cluster, index) => {
      const bursts = burstsBetween(clusters[index] as ResolvedCluster, cluster);
      return bursts.flatMap((burst) => controller.react(burst)).some(({ tool }) => tool === "iptables-restore");
    });
    return { ticks, sets: controller.program.kind === "tables" ? controller.program.sets.map(({ name }) => name) : [] };
  };

  it("makes every agent tick while it is open, whatever changed of it", () => {
    expect(story(withGuests(undefined, "a"), withGuests(undefined, "b")).ticks).toEqual([true]);
    expect(story(withGuests(DENY, "a"), withGuests(DENY, "b")).ticks).toEqual([false]);
  });

  it("stays as it was by an annotation that cannot be decoded", () => {
    const setOf = (cluster: ResolvedCluster) => story(cluster).sets.toSorted();
    const open = story(withGuests(undefined, "a"), withGuests("no", "a"), withGuests(DENY, "a"));
    expect(open).toEqual({ ticks: [false, true], sets: open.sets });
    expect(open.sets.toSorted()).toEqual(setOf(withGuests(DENY, "a")));
    const late = podText("late", "guests", "node-b", "10.10.2.20");
    const kept = story(withGuests(undefined, "a"), withGuests("no", "a"), withGuests("no", "a", late));
    expect(kept.ticks).toEqual([false, true]);
    expect(kept.sets.toSorted()).toEqual(setOf(withGuests(undefined, "a", late)));
  });
});
