/** What the API server would refuse is refused in its words, with the place; what it minds with a warning is a warning. */
import { describe, expect, it } from "vitest";
import { loadCluster } from "../../compiler/compile.ts";
import { documents, errorsOf, issuesOf, load, modelOf, podText, policyText } from "./manifests.ts";

const SUBDOMAIN = expect.stringContaining("a lowercase RFC 1123 subdomain must consist of");
const block = (fields: string) => policyText(`  ingress:\n  - from:\n    - ipBlock:\n${fields}`);
const NAMESPACE = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: default\n";

describe("labels", () => {
  const labels = (fields: string) => podText("", `name: a\n  labels:\n    ${fields}`);
  const value = "a valid label must be an empty string or consist of alphanumeric characters";

  it.each([
    ["app: true", "bool", "the boolean true"],
    ["app: 1", "number", "the number 1"],
    ["app: 1.10", "number", "the number 1.1"],
    ["app: [a]", "array", "a list"],
    ["app: {a: b}", "object", "a map"],
  ])("%s is no text", (fields, json, found) => {
    const hint = json === "array" || json === "object" ? "" : "; write it in quotes";
    expect(errorsOf(labels(fields))).toEqual([
      `6:10 error metadata.labels.app: json: cannot unmarshal ${json} into Go value of type string: found ${found}, want text${hint}`,
    ]);
  });

  it("without a value have the empty one", () => {
    expect([...(modelOf(labels("app:")).endpoints[0]?.labels ?? [])]).toEqual([["app", ""]]);
  });

  it.each([
    ["app: a b", "6:10", value],
    ["app: -a", "6:10", value],
    [`app: ${"a".repeat(64)}`, "6:10", "must be no more than 63 bytes"],
    ["a b: c", "6:5", "name part must consist of alphanumeric characters"],
    [`${"a".repeat(64)}: c`, "6:5", "name part must be no more than 63 bytes"],
    ["/a: c", "6:5", "prefix part must be non-empty"],
    ["example.com/: c", "6:5", "name part must be non-empty"],
    ["Example.com/a: c", "6:5", "prefix part a lowercase RFC 1123 subdomain must consist of"],
    ["a/b/c: d", "6:5", "a valid label key must consist of"],
  ])("%s", (fields, place, why) => {
    const errors = errorsOf(labels(fields));
    expect(errors).toHaveLength(1);
    expect(errors[0]).toContain(`${place} error metadata.labels`);
    expect(errors[0]).toContain(why);
  });

  it("of policies and selectors are held to the same", () => {
    expect(errorsOf(policyText("", "{name: p, labels: {a: b c}}"))).toEqual([expect.stringContaining(value)]);
    expect(errorsOf(policyText().replace("{}", "{matchLabels: {a: b c}}"))).toEqual([expect.stringContaining(value)]);
  });
});

describe("annotations", () => {
  it("may hold anything, up to 256 KiB in all", () => {
    const annotated = (text: string) => podText("", `name: a\n  annotations:\n    Example.com/A: "${text}"`);
    expect(errorsOf(annotated("{anything: goes}"))).toEqual([]);
    expect(errorsOf(annotated("x".repeat(262_144)))).toEqual([
      "6:5 error metadata.annotations: Too long: may not be more than 262144 bytes",
    ]);
  });
});

describe("names", () => {
  it("are DNS names, and the rest of the object is read all the same", () => {
    expect(errorsOf(policyText("  policyTypes: [x]\n", "name: P_1"))).toEqual([
      SUBDOMAIN,
      expect.stringContaining("Unsupported value"),
    ]);
    expect(errorsOf(NAMESPACE.replace("default", "a.b"))).toEqual([
      '4:9 error metadata.name: Invalid value: "a.b": must not contain dots',
    ]);
    expect(errorsOf(podText("", `name: ${"a".repeat(254)}`))[0]).toMatch(/: must be no more than 253 bytes$/);
    expect(errorsOf(podText("", "{name: a, namespace: A}"))).toEqual([
      expect.stringContaining('4:24 error metadata.namespace: Invalid value: "A": a lowercase RFC 1123 label'),
    ]);
  });

  it("are needed", () => {
    expect(errorsOf(podText("", "labels: {}"))).toEqual([
      "4:3 error metadata.name: Required value: name or generateName is required",
    ]);
    expect(errorsOf(podText("", "generateName: a-"))).toEqual([
      "4:3 error metadata.name: Required value: the name that the API server generated is needed",
    ]);
    expect(errorsOf("apiVersion: v1\nkind: Pod\n")).toHaveLength(1);
  });

  it("are taken once: the second object names the place of the first (row 10)", () => {
    expect(
      loadCluster([
        { name: "one.yaml", text: policyText() },
        { name: "two.yaml", text: documents(NAMESPACE, policyText()) },
      ]).issues,
    ).toMatchObject([
      {
        file: "two.yaml",
        line: 9,
        column: 9,
        path: "metadata.name",
        message: 'NetworkPolicy "default/p" already exists: the first is at one.yaml:4:9',
      },
    ]);
    expect(errorsOf(documents(podText(), podText("", "{name: a, namespace: default}")))).toHaveLength(1);
    expect(errorsOf(documents(podText(), podText("", "{name: a, namespace: kube-system}")))).toHaveLength(0);
  });

  it("of nodes and namespaces stand in no namespace", () => {
    expect(errorsOf("apiVersion: v1\nkind: Node\nmetadata:\n  name: a\n  namespace: b\n")).toEqual([
      "5:14 error metadata.namespace: Forbidden: not allowed on this type",
    ]);
  });
});

describe("unknown fields", () => {
  it.each([
    [policyText().replace("podSelector", "podSelectors"), "6:3", "spec.podSelectors", 'did you mean "podSelector"?'],
    [policyText("  ingres: []\n"), "7:3", "spec.ingres", 'did you mean "ingress"?'],
    [policyText("  policyType: []\n"), "7:3", "spec.policyType", 'did you mean "policyTypes"?'],
    [policyText("  podselector: {}\n"), "7:3", "spec.podselector", 'did you mean "podSelector"?'],
    [policyText("  order: 5\n"), "7:3", "spec.order", "known fields: podSelector, policyTypes, ingress, egress"],
    [policyText("", "{name: p, lables: {}}"), "4:13", "metadata.lables", 'did you mean "labels"?'],
    [podText("labels: {}\n"), "5:1", "labels", "known fields: apiVersion, kind, metadata, spec, status"],
    [
      block("        cidr: 10.0.0.0/8\n        excepts: []\n"),
      "11:9",
      "spec.ingress[0].from[0].ipBlock.excepts",
      'did you mean "except"?',
    ],
  ])("in what decides are errors", (text, place, path, help) => {
    expect(errorsOf(text)).toEqual([`${place} error ${path}: strict decoding error: unknown field "${path}"; ${help}`]);
  });

  it("in the specs and states of pods and nodes are the API server's business", () => {
    const spec =
      "spec:\n  anything: 1\n  containers:\n  - {name: c, image: x, unheardOf: [1]}\nstatus: {whatever: 2}\n";
    expect(errorsOf(podText(spec))).toEqual([]);
  });
});

describe("pods", () => {
  it.each([
    [
      "status: {podIP: here}\n",
      '5:17 error status.podIP: Invalid value: "here": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff); a host name is no address, and packets carry addresses',
    ],
    [
      "status: {podIP: 10.0.0.300}\n",
      '5:17 error status.podIP: Invalid value: "10.0.0.300": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)',
    ],
    [
      "status: {podIP: 10.0.0.0/8}\n",
      '5:17 error status.podIP: Invalid value: "10.0.0.0/8": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)',
    ],
    ["status: {podIPs: [{ip: x}]}\n", expect.stringContaining('5:24 error status.podIPs[0].ip: Invalid value: "x"')],
    [
      "status: {podIPs: [10.0.0.1]}\n",
      expect.stringContaining("5:19 error status.podIPs[0]: json: cannot unmarshal string"),
    ],
    [
      "status: {podIP: 10.0.0.2, podIPs: [{ip: 10.0.0.1}]}\n",
      '5:41 error status.podIPs[0].ip: Invalid value: "10.0.0.1": must be equal to `podIP`',
    ],
    [
      "status: {podIPs: [{ip: 10.0.0.1}, {ip: 10.0.0.2}]}\n",
      '5:18 error status.podIPs: Invalid value: ["10.0.0.1", "10.0.0.2"]: may specify no more than one IP for each IP family',
    ],
    [
      "status: {phase: running}\n",
      '5:17 error status.phase: Unsupported value: "running": supported values: "Pending", "Running", "Succeeded", "Failed", "Unknown"',
    ],
    [
      "spec: {hostNetwork: 'yes'}\n",
      '5:21 error spec.hostNetwork: json: cannot unmarshal string into Go value of type bool: found the text "yes", want true or false',
    ],
    ["spec: {nodeName: N1}\n", SUBDOMAIN],
    [
      "spec: {containers: [{ports: [{containerPort: 0}]}]}\n",
      "5:46 error spec.containers[0].ports[0].containerPort: Required value",
    ],
    [
      "spec: {containers: [{ports: [{name: web}]}]}\n",
      "5:30 error spec.containers[0].ports[0].containerPort: Required value",
    ],
    [
      "spec: {containers: [{ports: [{containerPort: 65536}]}]}\n",
      "5:46 error spec.containers[0].ports[0].containerPort: Invalid value: 65536: must be between 1 and 65535, inclusive",
    ],
    [
      "spec: {initContainers: [{ports: [{name: a, containerPort: 1}, {name: a, containerPort: 2}]}]}\n",
      '5:70 error spec.initContainers[0].ports[1].name: Duplicate value: "a"',
    ],
    [
      "spec: {containers: [{ports: [{containerPort: 1, protocol: ICMP}]}]}\n",
      '5:59 error spec.containers[0].ports[0].protocol: Unsupported value: "ICMP": supported values: "TCP", "UDP", "SCTP"',
    ],
  ])("%s", (rest, expected) => {
    expect(errorsOf(podText(rest))).toEqual([expected]);
  });

  it("of a time that is none are refused", () => {
    expect(errorsOf(podText("", "{name: a, creationTimestamp: yesterday}"))).toEqual([
      '4:32 error metadata.creationTimestamp: Invalid value: "yesterday": must be a time of RFC 3339, (e.g. 2026-01-31T12:00:00Z)',
    ]);
  });

  it("with an address of an old form keep it, with a warning", () => {
    expect(issuesOf(documents(NAMESPACE, podText("spec: {nodeName: n}\nstatus: {podIP: 010.0.0.1}\n")))).toContain(
      '11:17 warning status.podIP: non-standard IP address "010.0.0.1" will be considered invalid in a future Kubernetes release: use "10.0.0.1"',
    );
  });
});

describe("objects together", () => {
  const running = (name: string, rest = "", phase = "Running") =>
    podText(`spec: {nodeName: n}\nstatus: {phase: ${phase}, podIP: 10.0.0.1}\n`, `{name: ${name}${rest}}`);
  const ownerOf = (...pods: readonly string[]) =>
    modelOf(documents(...pods))
      .endpoints.filter(({ addresses }) => addresses.length > 0)
      .map(({ name }) => name);

  it("a namespace that only pods name exists, with its name's label and one warning", () => {
    const text = documents(
      podText("", "{name: a, namespace: shop}"),
      podText("", "{name: b, namespace: shop}"),
      policyText("", "{name: p, namespace: shop}"),
    );
    expect(issuesOf(text)).toEqual([
      '4:24 warning metadata.namespace: there is no Namespace "shop"; it is taken to exist, with the label kubernetes.io/metadata.name alone',
    ]);
    expect(modelOf(text).namespaces).toMatchObject([
      { name: "shop", labels: new Map([["kubernetes.io/metadata.name", "shop"]]), source: undefined },
    ]);
  });

  it("a policy in a namespace that does not exist is refused; every cluster has default and kube-system", () => {
    expect(issuesOf(policyText("", "name: p\n  namespace: nowhere"))).toEqual([
      '5:14 error metadata.namespace: namespaces "nowhere" not found: no Namespace has this name, and no pod is in it',
    ]);
    const text = documents(policyText(), policyText("", "{name: p, namespace: kube-system}"));
    expect(issuesOf(text)).toEqual([]);
    expect(modelOf(text).namespaces.map(({ name }) => name)).toEqual(["default", "kube-system"]);
  });

  it("a node that only pods name exists, with one warning", () => {
    const text = documents(NAMESPACE, podText("spec: {nodeName: n}\n"), podText("spec: {nodeName: n}\n", "name: b"));
    expect(issuesOf(text)).toEqual([
      '10:18 warning spec.nodeName: there is no Node "n"; it is taken to exist, without an address',
    ]);
    expect(modelOf(text).nodes).toMatchObject([{ name: "n", addresses: [], source: undefined }]);
  });

  it("a pod with an address and no node runs on the only node there is", () => {
    const node = "apiVersion: v1\nkind: Node\nmetadata: {name: n}\n";
    const lost = podText("status: {podIP: 10.0.0.1}\n");
    expect(modelOf(documents(node, lost)).endpoints[0]?.node).toBe("n");
    expect(modelOf(lost).nodes.map(({ name }) => name)).toEqual(["node"]);
    expect(modelOf(documents(node, podText())).endpoints[0]?.node).toBe("");
  });

  it("an address that two pods claim belongs to the running, newest one, then to the last by name (row 35)", () => {
    const created = (year: number) => `, creationTimestamp: "${year}-01-01T00:00:00Z"`;
    expect(ownerOf(running("a"), running("b", "", "Pending"))).toEqual(["a"]);
    expect(ownerOf(running("a", created(2026)), running("b", created(2025)))).toEqual(["a"]);
    expect(ownerOf(running("a", created(2024)), running("b", created(2025)))).toEqual(["b"]);
    expect(ownerOf(running("b"), running("a"))).toEqual(["b"]);
    expect(
      ownerOf(running("a", created(2025)), running("b", ', creationTimestamp: "2025-01-01T01:00:00+02:00"')),
    ).toEqual(["a"]);
    const warning =
      "warning status.podIP: pod default/a claims 10.0.0.1, which pod default/b has: of pods with one address the running, newest one has it";
    expect(
      issuesOf(documents(NAMESPACE, running("b"), running("a"))).filter((issue) => issue.endsWith("has it")),
    ).toEqual([`18:33 ${warning}`]);
  });

  it("pods that are finished or on the host network claim no address", () => {
    const host = podText(
      "spec: {nodeName: n, hostNetwork: true}\nstatus: {phase: Running, podIP: 10.0.0.1}\n",
      "name: z",
    );
    const text = documents(running("a"), running("done", "", "Succeeded"), host);
    expect(issuesOf(text).filter((issue) => issue.includes("claims"))).toEqual([]);
    expect(modelOf(text).endpoints.map(({ addresses }) => addresses.length)).toEqual([1, 1, 1]);
  });
});

describe("issues", () => {
  it("are all there at once, in order of file and place", () => {
    const text = documents(
      policyText("  ingress: [{ports: [{port: 0}, {port: 70000}]}]\n  x: 1\n"),
      podText("status: {podIP: x}\n", "name: A"),
    );
    expect(issuesOf(text).map((issue) => issue.split(" ")[0])).toEqual([
      "7:29",
      "7:40",
      "8:3",
      "13:3",
      "13:9",
      "14:17",
    ]);
  });

  it("stay short, whatever the input", () => {
    const long = "x".repeat(100_000);
    const text = documents(
      policyText(`  ${long}: 1\n`, `name: ${long}`),
      podText("", `{name: a, labels: {${long}: ${long}}}`),
      block(`        cidr: ${long}\n`),
    );
    for (const { message, path } of load(text).issues) expect(message.length + path.length).toBeLessThan(1_000);
  });
});
