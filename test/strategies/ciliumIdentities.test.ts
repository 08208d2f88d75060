/** Identities of Cilium where recorded clusters say nothing: keys that begin alike, labels that stay out. */
import { describe, expect, it } from "vitest";
import { loadCluster, resolvePolicies } from "../../compiler/compile.ts";
import { identitiesOf } from "../../compiler/strategies/cilium-ebpf/identities.ts";
import { identityView } from "../../compiler/strategies/cilium-ebpf/identityLabels.ts";

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
