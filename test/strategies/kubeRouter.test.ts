/** kube-router where recorded clusters say nothing, as the real controller was seen to do in a namespace of its own. */
import { describe, expect, it } from "vitest";
import { resolvePolicies } from "../../compiler/compile.ts";
import type { ResolvedCluster } from "../../compiler/resolve.ts";
import { namedPortSetName } from "../../compiler/strategies/kube-router/names.ts";
import { kubeRouter } from "../../compiler/strategies/kube-router.ts";
import { carriedOut, controllerOf } from "../../compiler/update/controller.ts";
import { burstsBetween } from "../../compiler/update/events.ts";
import type { Operation } from "../../compiler/update/operation.ts";
import { modelOf } from "../compiler/manifests.ts";

const clusterOf = (text: string) => resolvePolicies(modelOf(text));

const NODE = `
apiVersion: v1
kind: Node
metadata: { name: node-a }
spec: { podCIDRs: [10.10.1.0/24, "fd00:10:1::/64"] }
---
apiVersion: v1
kind: Namespace
metadata: { name: shop }
`;

const POLICY = `---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: web, namespace: shop }
spec:
  podSelector: {}
  ingress: [{ from: [{ podSelector: {} }, { ipBlock: { cidr: 10.0.0.0/8 } }] }]
`;

const pod = (name: string, last: number) => `---
apiVersion: v1
kind: Pod
metadata: { name: ${name}, namespace: shop }
spec: { nodeName: node-a }
status: { phase: Running, podIPs: [{ ip: 10.10.1.${last} }, { ip: "fd00:10:1::${last}" }] }
`;

function follow(cluster: ResolvedCluster, settings: readonly (readonly [string, string])[] = []) {
  return controllerOf(kubeRouter, cluster, { node: "node-a", settings: new Map(settings) });
}

const textOf = ({ tool, args }: Operation) => [tool, ...args].join(" ");
const linesOf = ({ stdin = "" }: Operation) => stdin.split("\n");

describe("default deny", () => {
  const settings = [["netpol-default-deny", "true"]] as const;

  // npc_iptables.go ensureDefaultTailChain: the set of pods that have a chain is there before rules ask for it.
  it("starts with an empty set of its pods, then the chain that asks for it", () => {
    const { before, operations } = follow(clusterOf(NODE + POLICY + pod("web", 10)), settings).start();
    const texts = operations.map(textOf);
    const created = texts.indexOf("ipset create -exist kube-router-local-pods hash:ip timeout 0");
    expect(texts[created + 1]).toBe("ipset create -exist inet6:kube-router-local-pods hash:ip timeout 0 family inet6");
    expect(texts[created - 1]).toContain("-A KUBE-NWPLCY-COMMON");
    expect(texts[created + 2]).toBe("iptables -t filter -N KUBE-NWPLCY-TAIL --wait");
    expect(texts[created + 3]).toBe(
      "iptables -t filter -A KUBE-NWPLCY-TAIL -s 10.10.1.0/24 -m comment --comment reject unprogrammed local pod " +
        "(default-deny) -m set ! --match-set kube-router-local-pods src -j REJECT --wait",
    );
    expect(carriedOut(before, operations)).toMatchObject({ kind: "tables" });
  });

  // npc_iptables.go fullPolicySync: populateProtectedPodsIPSet has a restore of its own, behind that of the policies.
  it("fills that set in a restore of its own, between those of the policies and the tables", () => {
    const [before, after] = [NODE + POLICY + pod("web", 10), NODE + POLICY + pod("web", 10) + pod("new", 11)].map(
      clusterOf,
    );
    if (before === undefined || after === undefined) throw new Error("two clusters");
    const controller = follow(before, settings);
    const operations = burstsBetween(before, after).flatMap((burst) => controller.react(burst));
    const writes = operations.filter(({ tool }) => tool === "ipset").map(linesOf);
    const swapped = writes.map((lines) => lines.filter((line) => line.startsWith("swap")).length);
    expect(operations.map(({ tool }) => tool)).toEqual([
      "ipset",
      "ipset",
      "ipset",
      "ipset",
      "iptables-restore",
      "ip6tables-restore",
    ]);
    expect(swapped).toEqual([3, 2, 1, 1]);
    expect(writes[2]).toContain("swap TMP-BXHY5LLMLSN36WFL kube-router-local-pods");
    expect(writes[2]).toContain("add TMP-BXHY5LLMLSN36WFL 10.10.1.11 timeout 0");
  });
});

describe("sets of both types in one restore", () => {
  // pkg/utils/ipset.go BuildIPSetRestore sorts them.
  it("have their twins destroyed in order of name, whichever was used first", () => {
    const { operations } = follow(clusterOf(NODE + POLICY + pod("web", 10))).start();
    const lines = operations.filter(({ tool, args }) => tool === "ipset" && args[0] === "restore").flatMap(linesOf);
    const named = (verb: string) =>
      lines.filter((line) => line.startsWith(`${verb} TMP`)).map((line) => line.split(" ")[1]);
    const created = named("create").slice(0, 2);
    expect(created).toEqual(["TMP-PRBJ7ASFQM5DJR3Q", "TMP-LP6R7TXZCLIUYMBN"]);
    expect(named("destroy").slice(0, 2)).toEqual(created.toSorted());
  });
});

describe("the set of a named port", () => {
  const http = pod("web", 10).replace(
    "spec: { nodeName: node-a }",
    "spec: { nodeName: node-a, containers: [{ name: c, ports: [{ name: http, containerPort: 80 }] }] }",
  );
  const openTo = (peers: string) =>
    clusterOf(`${NODE}${http}---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: web, namespace: shop }
spec:
  podSelector: {}
  ingress: [{ from: [${peers}], ports: [{ port: http }] }]
`);
  const BLOCK = "{ ipBlock: { cidr: 10.9.0.1/32 } }";
  const PODS = "{ podSelector: {} }";
  const createdIn = (operations: readonly Operation[], set: string) =>
    operations.flatMap(linesOf).find((line) => line.startsWith(`create ${set} `));
  const SET = namedPortSetName({ namespace: "shop", name: "web" }, { direction: "ingress", index: 0 }, 0, 4);

  // pkg/utils/ipset.go RefreshSet leaves the options of a set that `ipset save` listed.
  it.each([
    [BLOCK, `${BLOCK}, ${PODS}`, "hash:net"],
    [PODS, BLOCK, "hash:ip"],
  ])("made for %s keeps its type when %s ask for it", (first, then, type) => {
    const [before, after] = [openTo(first), openTo(then)];
    const controller = follow(before);
    const { before: empty, operations } = controller.start();
    expect(createdIn(operations, SET)).toBe(`create ${SET} ${type} timeout 0`);
    const update = burstsBetween(before, after).flatMap((burst) => controller.react(burst));
    expect(createdIn(update, SET)).toMatch(`create ${SET} ${type} family inet `);
    expect(carriedOut(carriedOut(empty, operations), update)).toMatchObject({
      sets: expect.arrayContaining([expect.objectContaining({ name: SET, type })]),
    });
  });

  it("of blocks alone has its pods as they are written elsewhere, without a length", () => {
    const lines = follow(openTo(BLOCK)).start().operations.flatMap(linesOf);
    const added = lines.filter((line) => line.startsWith("add TMP-LP6R7TXZCLIUYMBN"));
    expect(added.toSorted()).toEqual([
      "add TMP-LP6R7TXZCLIUYMBN 10.10.1.10 timeout 0",
      "add TMP-LP6R7TXZCLIUYMBN 10.9.0.1/32 timeout 0",
    ]);
  });
});

describe("what a sync writes, where the kernel keeps less", () => {
  const written = (rule: string) =>
    follow(
      clusterOf(`${NODE}${pod("web", 10)}---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: web, namespace: shop }
spec:
  podSelector: {}
  ingress: [${rule}]
`),
    ).start();
  const added = (rule: string) =>
    written(rule)
      .operations.flatMap(linesOf)
      .filter((line) => /^add TMP-\w+ [\d.]+/.test(line))
      .map((line) => line.replace(/^add TMP-\w+ /, ""));

  // policy.go buildNetworkPoliciesInfo appends the pods of each peer.
  it("adds a pod as often as peers of the rule select it", () => {
    const target = "10.10.1.10 timeout 0";
    expect(added("{ from: [{ podSelector: {} }] }")).toEqual([target, target]);
    expect(added("{ from: [{ podSelector: {} }, { namespaceSelector: {} }] }")).toEqual([target, target, target]);
  });

  // policy.go evalIPBlockPeer appends each block and each exception; of one prefix the set keeps the last.
  it("adds a prefix as often as blocks name it", () => {
    const rule =
      "{ from: [{ ipBlock: { cidr: 10.0.0.0/8 } }, { ipBlock: { cidr: 0.0.0.0/0, except: [10.0.0.0/8] } }] }";
    const prefixes = [
      "10.0.0.0/8 timeout 0",
      "0.0.0.0/1 timeout 0",
      "128.0.0.0/1 timeout 0",
      "10.0.0.0/8 timeout 0 nomatch",
    ];
    expect(added(rule)).toEqual(expect.arrayContaining(prefixes));
    const { before, operations } = written(rule);
    const after = carriedOut(before, operations);
    const blocks = after.kind === "tables" ? after.sets.find(({ type }) => type === "hash:net") : undefined;
    expect(blocks?.members).toHaveLength(3);
    expect(blocks?.members.filter((member) => member.kind === "net" && member.nomatch)).toHaveLength(1);
  });

  // policy.go processNetworkPolicyPorts keeps an endPort that is not below the port.
  it("gives a port that is its own last one as a range", () => {
    const ports = (list: string) =>
      new Set(
        [...JSON.stringify(written(`{ ports: [${list}] }`).operations).matchAll(/--dport ([\d:]+)/g)].map(
          ([, one]) => one,
        ),
      );
    expect(ports("{ port: 80 }, { port: 81, endPort: 81 }")).toEqual(new Set(["80", "81:81"]));
  });
});
