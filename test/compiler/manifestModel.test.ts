/** What a cluster's manifests come to: the model, with everything that the API server fills in. */
import { readdirSync, readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { clusterOf, clusterText, WORKLOAD_SHAPES } from "../../bench/workloads.ts";
import { loadCluster } from "../../compiler/compile.ts";
import { manifestsOf, manifestText } from "../../compiler/manifest/write.ts";
import type { ClusterModel } from "../../compiler/model.ts";
import { formatAddress, formatCidr } from "../../dataplane/address.ts";
import { clusterArbitrary } from "../../verify/fuzz/cluster.ts";
import { runsOf } from "../extent.ts";
import { hasShared, sharedPath } from "../shared.ts";
import { documents, load, modelOf, podText, policyText } from "./manifests.ts";

/** As text, places left out: they say where something stood, not what it is. */
function textOf(model: ClusterModel | undefined): string {
  return JSON.stringify(model, (key, value) => {
    if (key === "source") return undefined;
    return value instanceof Map ? { map: [...value] } : value;
  });
}

describe("a pod", () => {
  it("has what its metadata, spec and status say", () => {
    const text = podText(
      `spec:
  nodeName: n1
  serviceAccountName: robot
  initContainers:
  - name: setup
    ports: [{containerPort: 1}]
  - name: proxy
    restartPolicy: Always
    ports: [{name: admin, containerPort: 2, protocol: UDP}]
  containers:
  - name: main
    ports:
    - {name: web, containerPort: 80}
    - {containerPort: 9000, protocol: SCTP, hostPort: 9000}
status:
  phase: Running
  podIP: 10.1.0.9
  podIPs:
  - ip: 10.1.0.9
  - ip: fd00::9
`,
      `name: a
  namespace: shop
  uid: 1-2
  labels: {tier: web, app: shop}
  annotations: {note: anything at all}
  creationTimestamp: "2026-01-31T13:00:00.75+01:00"
  deletionTimestamp: "2026-02-01T00:00:00Z"`,
    );
    const [pod] = modelOf(text).endpoints;
    expect(pod && { ...pod, labels: [...pod.labels], addresses: pod.addresses.map(formatAddress) }).toEqual({
      key: "shop/a",
      namespace: "shop",
      name: "a",
      uid: "1-2",
      labels: [
        ["app", "shop"],
        ["tier", "web"],
      ],
      annotations: new Map([["note", "anything at all"]]),
      node: "n1",
      serviceAccount: "robot",
      hostNetwork: false,
      phase: "Running",
      terminating: true,
      addresses: ["10.1.0.9", "fd00::9"],
      ports: [
        { name: "web", port: 80, protocol: "TCP", container: "container" },
        { name: "", port: 9000, protocol: "SCTP", container: "container" },
        { name: "", port: 1, protocol: "TCP", container: "init" },
        { name: "admin", port: 2, protocol: "UDP", container: "sidecar" },
      ],
      creationTimestamp: "2026-01-31T12:00:00Z",
      source: { file: "f", line: 1, column: 1 },
    });
  });

  it("that says nothing has the defaults", () => {
    expect(modelOf(podText()).endpoints[0]).toMatchObject({
      key: "default/a",
      node: "",
      serviceAccount: "default",
      hostNetwork: false,
      phase: "Pending",
      terminating: false,
      addresses: [],
      ports: [],
      creationTimestamp: "",
    });
    expect(modelOf(podText("spec: {serviceAccount: old}\n")).endpoints[0]?.serviceAccount).toBe("old");
    expect(modelOf(podText("status: {podIP: 10.0.0.1, podIPs: []}\n")).endpoints[0]?.addresses).toHaveLength(1);
  });
});

describe("a node", () => {
  it("has its internal addresses first, and pod ranges of both kinds", () => {
    const text = `apiVersion: v1
kind: Node
metadata:
  name: n1
  labels: {zone: a}
spec:
  podCIDR: 10.1.0.0/24
  podCIDRs: [10.1.0.0/24, "fd00:1::/64"]
status:
  addresses:
  - {type: ExternalIP, address: 198.51.100.1}
  - {type: Hostname, address: n1.example}
  - {type: InternalIP, address: 192.168.0.11}
  - {type: InternalIP, address: "fd00::11"}
`;
    const [node] = modelOf(text).nodes;
    expect(node?.addresses.map(formatAddress)).toEqual(["192.168.0.11", "fd00::11", "198.51.100.1"]);
    expect(node?.podCidrs.map(formatCidr)).toEqual(["10.1.0.0/24", "fd00:1::/64"]);
    expect(modelOf(text.replace(/ {2}podCIDRs.*\n/, "")).nodes[0]?.podCidrs.map(formatCidr)).toEqual(["10.1.0.0/24"]);
  });
});

describe("a namespace", () => {
  const namespace = (labels: string) =>
    `apiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop\n  labels: ${labels}\n`;

  it("always carries its name as a label (row 15)", () => {
    const labelsOf = (text: string) => [...(modelOf(text).namespaces[0]?.labels ?? [])];
    expect(labelsOf(namespace("{team: a}"))).toEqual([
      ["kubernetes.io/metadata.name", "shop"],
      ["team", "a"],
    ]);
    expect(labelsOf(namespace(""))).toEqual([["kubernetes.io/metadata.name", "shop"]]);
    expect(labelsOf(namespace("{kubernetes.io/metadata.name: mine}"))).toEqual([
      ["kubernetes.io/metadata.name", "shop"],
    ]);
    expect(load(namespace("{kubernetes.io/metadata.name: mine}")).issues).toMatchObject([
      { code: "name-label", severity: "warning", line: 5, column: 41 },
    ]);
  });
});

describe("a policy", () => {
  it.each([
    ["", ["ingress"]],
    ["  egress: []\n", ["ingress"]],
    ["  egress: [{}]\n", ["ingress", "egress"]],
    ["  policyTypes: []\n  egress: [{}]\n", ["ingress", "egress"]],
    ["  policyTypes: [Egress]\n  ingress: [{}]\n", ["egress"]],
    ["  policyTypes: [Egress, Ingress]\n", ["ingress", "egress"]],
  ])("defaults its types (row 8): %j", (spec, types) => {
    expect(modelOf(policyText(spec)).policies[0]?.types).toEqual(types);
  });

  it("without a spec selects all pods and admits nothing (rows 3, 4)", () => {
    const text = policyText().replace("spec:\n  podSelector: {}\n", "");
    expect(modelOf(text).policies[0]).toMatchObject({
      podSelector: { matchLabels: [], matchExpressions: [] },
      types: ["ingress"],
      ingress: [],
    });
  });

  it("keeps rules, peers and ports as they are written, selectors in order of key", () => {
    const text = policyText(`  ingress:
  - from:
    - namespaceSelector: {matchLabels: {b: "2", a: "1"}}
      podSelector: {matchExpressions: [{key: z, operator: NotIn, values: [y, x]}, {key: a, operator: Exists}]}
    - podSelector: {}
    - ipBlock: {cidr: 10.0.0.0/8, except: [10.2.0.0/16, 10.1.0.0/16]}
    ports:
    - {port: web, protocol: UDP}
    - {port: 80, endPort: 90}
  - {}
  -
`);
    const [policy] = modelOf(text).policies;
    const written = JSON.parse(
      JSON.stringify(policy?.ingress, (key, value) =>
        key === "source" || key === "cidr" || key === "except" ? undefined : value,
      ),
    );
    expect(written).toEqual([
      {
        peers: [
          {
            kind: "pods",
            namespaceSelector: {
              matchLabels: [
                ["a", "1"],
                ["b", "2"],
              ],
              matchExpressions: [],
            },
            podSelector: {
              matchLabels: [],
              matchExpressions: [
                { key: "z", operator: "NotIn", values: ["y", "x"] },
                { key: "a", operator: "Exists", values: [] },
              ],
            },
          },
          { kind: "pods", podSelector: { matchLabels: [], matchExpressions: [] } },
          { kind: "ipBlock", cidrText: "10.0.0.0/8", exceptText: ["10.2.0.0/16", "10.1.0.0/16"] },
        ],
        ports: [
          { port: "web", protocol: "UDP" },
          { port: 80, endPort: 90, protocol: "TCP" },
        ],
      },
      { peers: [], ports: [] },
      { peers: [], ports: [] },
    ]);
  });
});

describe("the order of documents", () => {
  it("changes nothing in the model, byte for byte", () => {
    const shuffled = clusterArbitrary().chain((model) => {
      const manifests = manifestsOf(model);
      return fc.tuple(
        fc.constant(manifests),
        fc.shuffledSubarray([...manifests], { minLength: manifests.length }),
        fc.nat(manifests.length),
      );
    });
    fc.assert(
      fc.property(shuffled, ([manifests, other, cut]) => {
        const one = loadCluster([{ name: "f", text: manifestText(manifests) }]);
        const files = [other.slice(0, cut), other.slice(cut)].filter((part) => part.length > 0);
        const two = loadCluster(files.map((part, index) => ({ name: `f${index}`, text: manifestText(part) })));
        expect(textOf(two.model)).toBe(textOf(one.model));
        expect(one.model).toBeDefined();
      }),
      { numRuns: runsOf(200) },
    );
  });

  it("changes nothing in who has a contested address, and in what exists only by name", () => {
    const pod = (name: string) =>
      podText("spec: {nodeName: n1}\nstatus: {podIP: 10.0.0.1}\n", `{name: ${name}, namespace: ${name}}`);
    const forwards = modelOf(documents(pod("a"), pod("b"), pod("c")));
    expect(textOf(modelOf(documents(pod("c"), pod("a"), pod("b"))))).toBe(textOf(forwards));
  });
});

describe("workloads", () => {
  it.each(WORKLOAD_SHAPES)("of shape %s are the same as a model, as YAML and as JSON", (shape) => {
    const model = clusterOf({ pods: 40, policies: 30, namespaces: 4, nodes: 3, seed: 5, shape });
    for (const format of ["yaml", "json"] as const) {
      const { model: loaded, issues } = loadCluster([{ name: "f", text: clusterText(model, format) }]);
      expect(issues).toEqual([]);
      expect(textOf(loaded)).toBe(textOf(model));
    }
  });

  it("are a function of their size and seed", () => {
    const size = { pods: 20, policies: 20, namespaces: 2, nodes: 2, shape: "mixed" } as const;
    expect(clusterOf({ ...size, seed: 1 })).toEqual(clusterOf({ ...size, seed: 1 }));
    expect(textOf(clusterOf({ ...size, seed: 1 }))).not.toBe(textOf(clusterOf({ ...size, seed: 2 })));
  });
});

describe.runIf(hasShared)("the clusters that real solutions were given", () => {
  const folder = hasShared ? sharedPath("dumps", "clusters") : "";
  const names = hasShared ? readdirSync(folder).filter((name) => name.endsWith(".yaml")) : [];

  it.each(names)("%s is read without an error, and survives being written back", (name) => {
    const { model, issues, skipped } = load(readFileSync(`${folder}/${name}`, "utf8"));
    expect(issues.filter(({ severity, code }) => severity === "error" || code !== "unresolved-port")).toEqual([]);
    expect([...skipped]).toEqual([]);
    if (model === undefined) throw new Error("no errors, and no model");
    expect(model.policies.length).toBeGreaterThan(0);
    expect(textOf(load(manifestText(manifestsOf(model))).model)).toBe(textOf(model));
  });
});
