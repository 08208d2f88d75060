/** Identities of Cilium where recorded clusters say nothing: keys that begin alike, labels that stay out. */
import { describe, expect, it } from "vitest";
import { loadCluster, resolvePolicies } from "../../compiler/compile.ts";
import { resolveAgain } from "../../compiler/resolveAgain.ts";
import { identitiesOf } from "../../compiler/strategies/cilium-ebpf/identities.ts";
import { identityView } from "../../compiler/strategies/cilium-ebpf/identityLabels.ts";
import { formatCidr } from "../../dataplane/address.ts";
import { modelOf as manifestModel } from "../compiler/manifests.ts";

/** Pods of one namespace with these labels, `a` first. */
function identities(...labels: readonly string[]) {
  const pods = labels.map(
    (text, index) => `
apiVersion: v1
kind: Pod
metadata: { name: p${index}, namespace: shop, labels: { ${text} } }
spec: { nodeName: node-a }
status: { phase: Running, podIP: 10.10.1.${index + 10} }
`,
  );
  const { model } = loadCluster([{ name: "pods.yaml", text: pods.join("---") }]);
  if (model === undefined) throw new Error("the pods do not load");
  return identitiesOf(identityView(resolvePolicies(model))).pods.map(({ labels: own, pods: members }) => ({
    pods: members.map(({ name }) => name),
    labels: own.filter((label) => !/^k8s:io\./.test(label)),
  }));
}

describe("identities", () => {
  // pkg/labels SortedList: keys in order, each as source:key=value; — where a key ends, its value decides first.
  it("are numbered by key and value, though their labels are listed as text", () => {
    expect(identities("app: b, app-x: c", "app: a, zone: x")).toEqual([
      { pods: ["p1"], labels: ["k8s:app=a", "k8s:zone=x"] },
      { pods: ["p0"], labels: ["k8s:app-x=c", "k8s:app=b"] },
    ]);
  });

  it.each([
    "pod-template-hash: abc12",
    "controller-revision-hash: abc12",
    "statefulset.kubernetes.io/pod-name: web-0",
    "apps.kubernetes.io/pod-index: '0'",
    "batch.kubernetes.io/job-completion-index: '3'",
    "topology.kubernetes.io/zone: a",
    "kubernetes.io/hostname: node-a",
    "node-role.beta.kubernetes.io/x: a",
    "io.cilium.k8s.policy.cluster: other",
    "k8s.io/cluster: one",
  ])("do not have %s", (label) => {
    expect(identities(`app: a, ${label}`, "app: a")).toEqual([{ pods: ["p0", "p1"], labels: ["k8s:app=a"] }]);
  });

  it.each(["app.kubernetes.io/name: web", "k8s-app: kube-dns", "statefulset.kubernetes.io/other: a"])(
    "have %s",
    (label) => {
      expect(identities(`app: a, ${label}`, "app: a")).toHaveLength(2);
    },
  );
});

describe("identities of blocks", () => {
  // pkg/ipcache/metadata.go resolveIdentity: labels of a block are dropped where the prefix is a node's address.
  it("are of every prefix that policies name but a node's address", () => {
    const model = manifestModel(`
apiVersion: v1
kind: Node
metadata: { name: node-a }
status: { addresses: [{ type: InternalIP, address: 192.168.0.11 }, { type: InternalIP, address: "fd00::11" }] }
---
apiVersion: v1
kind: Namespace
metadata: { name: shop }
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: blocks, namespace: shop }
spec:
  podSelector: {}
  egress:
    - to:
        - ipBlock: { cidr: 192.168.0.0/28, except: [192.168.0.11/32, 192.168.0.12/32] }
        - ipBlock: { cidr: 192.168.0.8/29 }
        - ipBlock: { cidr: "fd00::11/128" }
        - ipBlock: { cidr: "fd00::/16" }
`);
    expect(
      identitiesOf(resolvePolicies(model)).cidrs.map(({ cidr, number }) => `${formatCidr(cidr)} ${number}`),
    ).toEqual(["192.168.0.0/28 16777217", "192.168.0.8/29 16777218", "192.168.0.12/32 16777219", "fd00::/16 16777220"]);
  });
});

describe("the numbers of many identities", () => {
  const { model: base } = loadCluster([
    {
      name: "one.yaml",
      text: "apiVersion: v1\nkind: Pod\nmetadata: { name: p, namespace: shop }\nspec: { nodeName: a }\nstatus: { phase: Running, podIP: 10.1.0.1 }\n",
    },
  ]);
  const [pod] = base?.endpoints ?? [];
  if (base === undefined || pod === undefined) throw new Error("the pod does not load");
  /** The model of so many pods, no two with the same labels, those of a list left out. */
  const modelOf = (count: number, left: ReadonlySet<number>) => ({
    ...base,
    endpoints: Array.from({ length: count }, (_, n) => n)
      .filter((n) => !left.has(n))
      .map(podOf),
  });
  const pods = new Map<number, typeof pod>();
  const podOf = (n: number) => {
    const name = `p${String(n).padStart(5, "0")}`;
    const made = pods.get(n) ?? { ...pod, name, key: `shop/${name}`, labels: new Map([["app", `a${n}`]]) };
    pods.set(n, made);
    return made;
  };
  const numbersOf = (cluster: ReturnType<typeof resolvePolicies>) =>
    new Map(identitiesOf(cluster).pods.map(({ labels, number }) => [labels.join(), number]));

  // Of 3,000 in 65,280 slots some seventy share one, so that what comes and goes moves others as well.
  it("follow from the pods, whatever came and went, and hardly move", () => {
    let cluster = resolvePolicies(modelOf(3_000, new Set()));
    let before = numbersOf(cluster);
    expect(new Set(before.values()).size).toBe(3_000);
    let moved = 0;
    for (let step = 1; step <= 12; step++) {
      const left = new Set(Array.from({ length: 60 }, (_, n) => (n * 47 * step) % 3_000));
      const model = modelOf(step === 12 ? 200 : 3_000, left);
      cluster = resolveAgain(cluster, model);
      const numbers = numbersOf(cluster);
      expect(numbers).toEqual(numbersOf(resolvePolicies(model)));
      if (step < 12)
        moved += [...numbers].filter(([labels, number]) => number !== (before.get(labels) ?? number)).length;
      before = numbers;
    }
    expect(moved).toBeGreaterThan(0);
    expect(moved).toBeLessThan(100);
    // Few are numbered in order.
    expect([...before.values()]).toEqual(Array.from(before, (_, at) => 256 + at));
  });
});
