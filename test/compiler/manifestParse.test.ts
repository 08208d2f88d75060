import { describe, expect, it } from "vitest";
import { loadCluster } from "../../compiler/compile.ts";
import { parseManifests } from "../../compiler/manifest/objects.ts";
import { formatYaml, parseYamlDocuments } from "../../compiler/manifest/parse.ts";
import { manifestText } from "../../compiler/manifest/write.ts";
import { isWhole } from "../extent.ts";
import { documents, errorsOf, issuesOf, load, modelOf, podText, policyText } from "./manifests.ts";

/** The largest tried. The package alone takes seconds over the quoted one. */
const MEGABYTES = isWhole ? 50 : 5;

const kindsOf = (text: string) => parseManifests([{ name: "f", text }]).objects.map(({ kind }) => kind);
const valuesOf = (text: string) => parseYamlDocuments({ name: "f", text }).documents.map(({ value }) => value);

describe("many objects", () => {
  it("come from many documents, empty ones between them", () => {
    expect(kindsOf(`---\n${podText()}---\n# nothing\n---\n\n---\n${policyText()}...\n---\n`)).toEqual([
      "Pod",
      "NetworkPolicy",
    ]);
  });

  it("come from many files, each with its own lines", () => {
    const { issues } = loadCluster([
      { name: "one", text: podText("", "name: A") },
      { name: "two", text: `\n\n${podText("", "name: B")}` },
    ]);
    const errors = issues.filter(({ severity }) => severity === "error");
    expect(errors.map(({ file, line, column }) => `${file}:${line}:${column}`)).toEqual(["one:4:9", "two:6:9"]);
  });

  it("come from a List, from lists of one kind, and from lists in lists", () => {
    const pod = { apiVersion: "v1", kind: "Pod", metadata: { name: "a" } };
    const list = (kind: string, items: readonly unknown[]) => manifestText([{ apiVersion: "v1", kind, items }]);
    expect(kindsOf(list("List", [pod, pod]))).toEqual(["Pod", "Pod"]);
    expect(kindsOf(list("PodList", [{ metadata: { name: "a" } }]))).toEqual(["Pod"]);
    expect(kindsOf(list("NodeList", [{ metadata: { name: "a" } }]))).toEqual(["Node"]);
    expect(kindsOf(list("NamespaceList", [{ metadata: { name: "a" } }]))).toEqual(["Namespace"]);
    expect(
      kindsOf(manifestText([{ apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicyList", items: [{}] }])),
    ).toEqual(["NetworkPolicy"]);
    expect(kindsOf(list("List", [{ apiVersion: "v1", kind: "List", items: [pod] }]))).toEqual(["Pod"]);
    expect(load("apiVersion: v1\nkind: List\nitems:\n").issues).toEqual([]);
  });

  it("come from JSON values one after the other, as jq prints them", () => {
    const text =
      '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}}\n{"apiVersion":"v1","kind":"Pod",\n\t"metadata":{"name":"b"}}\n';
    expect(modelOf(text).endpoints.map(({ key }) => key)).toEqual(["default/a", "default/b"]);
  });

  it("of other kinds are skipped and counted", () => {
    const { skipped, issues } = load(
      documents(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n",
        "apiVersion: v1\nkind: Service\n",
        "apiVersion: v1\nkind: Service\n",
        "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\n",
        "apiVersion: policy.networking.k8s.io/v1alpha1\nkind: AdminNetworkPolicy\n",
        "apiVersion: example.com/v1\nkind: AllowList\nspec: {}\n",
      ),
    );
    expect([...skipped]).toEqual([
      ["apps/v1 Deployment", 1],
      ["example.com/v1 AllowList", 1],
      ["policy.networking.k8s.io/v1alpha1 AdminNetworkPolicy", 1],
      ["projectcalico.org/v3 NetworkPolicy", 1],
      ["v1 Service", 2],
    ]);
    expect(issues).toEqual([]);
  });
});

describe("scalars are read as kubectl reads them", () => {
  it.each([
    ["0777", 511],
    ["0x1F", 31],
    ["0b101", 5],
    ["0o17", 15],
    ["1_000", 1000],
    ["+7", 7],
    ["-08.5", -8.5],
    ["08", 8],
    ["1e3", 1000],
    ["12345e7", 12345e7],
    [".5", 0.5],
    ["yes", true],
    ["Off", false],
    ["~", null],
    ["", null],
    ["y", "y"],
    ["n", "n"],
    ["2026-01-01", "2026-01-01"],
    ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"],
    ["190:20:30", "190:20:30"],
    ["10.1.0.9", "10.1.0.9"],
    ["10.1.0.0/16", "10.1.0.0/16"],
    ["::1", "::1"],
    ["1.2.3", "1.2.3"],
    ["0x", "0x"],
    [".", "."],
    ["-", "-"],
    ["yEs", "yEs"],
  ])("%s", (text, value) => {
    if (text === "-") return; // a list
    expect(valuesOf(`a: ${text}\n`)).toEqual([{ a: value }]);
    expect(valuesOf(`&x a: ${text}\n`)).toEqual([{ a: value }]); // by the package
  });

  it("and are written so that they are read back", () => {
    const value = { a: "yes", b: "0777", c: "1e3", d: "", e: null, f: 1.5, g: ["~", "a: b", "# c"], "0": "x" };
    expect(valuesOf(formatYaml(value))).toEqual([value]);
  });
});

describe("anchors, aliases and merge keys", () => {
  const text = `apiVersion: v1
kind: List
labels: &labels {app: web}
items:
- apiVersion: v1
  kind: Pod
  metadata:
    name: a
    labels: *labels
- apiVersion: v1
  kind: Pod
  metadata:
    name: b
    labels:
      <<: *labels
      tier: Front End
`;

  it("are resolved", () => {
    expect(load(text).issues.filter(({ severity }) => severity === "error")).toMatchObject([
      { line: 16, column: 13, path: "metadata.labels.tier" },
    ]);
    const { endpoints } = modelOf(text.replace("Front End", "front"));
    expect(endpoints.map(({ labels }) => Object.fromEntries(labels))).toEqual([
      { app: "web" },
      { app: "web", tier: "front" },
    ]);
  });

  it("may be many, as long as they do not multiply", () => {
    const many = `a: &a {b: c}\nl:\n${"- *a\n".repeat(900)}`;
    expect(parseYamlDocuments({ name: "f", text: many }).issues).toEqual([]);
  });

  it("may not be so many that finding their anchors takes a while", () => {
    const names = Array.from({ length: 20_000 }, (_, index) => `- &a${index} x\n- *a${index}\n`);
    expect(issuesOf(names.join(""))).toEqual(["2002:3 error document contains excessive aliasing"]);
  });
});

describe("what cannot be read", () => {
  const bomb = `a: &a [x, x, x, x, x, x, x, x, x]\n${[..."bcdefghij"]
    .map((name, index) => `${name}: &${name} [${Array(9).fill(`*${"abcdefghi"[index]}`).join(", ")}]`)
    .join("\n")}\n`;

  it.each([
    ["an empty file", "", ["1:1 error no objects in this file: it is empty, or has only comments"]],
    ["a file of comments", "# a\n---\n# b\n", ["1:1 error no objects in this file: it is empty, or has only comments"]],
    [
      "an open bracket",
      "kind: [a",
      ["1:9 error Flow sequence in block collection must be sufficiently indented and end with a ]"],
    ],
    ["a tab", "kind:\n\tPod: x\n", ["2:1 error Tabs are not allowed as indentation"]],
    ["JSON that ends too early", '{"kind":"Pod"', ["1:14 error Flow map must end with a }"]],
    ["a key twice", "kind: Pod\na:\n  b: 1\n  b: 2\n", ["4:3 error key b already set in map"]],
    ["a JSON key twice", '{"kind":"Pod",\n "kind":"Pod"}', ['2:2 error key "kind" already set in map']],
    ["a map as a key", "{a: b}: c\n", ["1:1 error invalid map key: a map or a list"]],
    ["an alias bomb", bomb, ["1:1 error document contains excessive aliasing"]],
    ["an anchor in itself", "a: &a [*a]\n", ['1:8 error anchor "a" value contains itself']],
    ["an alias of nothing", "a: *b\n", ['1:4 error unknown anchor "b" referenced']],
    [
      "a zero byte",
      "kind: Pod\nx: \0\n",
      ["2:4 error not a manifest: found the control character 0x00, which manifests may not contain"],
    ],
    [
      "a compressed file",
      "\x1f\ufffd\x08",
      ["1:1 error not a manifest: found the control character 0x1f, which manifests may not contain"],
    ],
    ["bytes of another encoding", "kind: caf\ufffd\n", ["1:10 error not a manifest: found bytes that are not UTF-8"]],
    [
      "lists without end",
      `a: ${"[".repeat(100_000)}`,
      ["1:203 error the document is nested too deeply for an API object"],
    ],
    ["maps without end", '{"a":'.repeat(100_000), ["1:1001 error the document is nested too deeply for an API object"]],
    ["dashes without end", "- ".repeat(100_000), ["1:401 error the document is nested too deeply for an API object"]],
    [
      "lists without end behind an anchor",
      `a: &a ${"[".repeat(20_000)}`,
      [expect.stringMatching(/^1:\d+ error the document is nested too deeply for an API object$/)],
    ],
    [
      "what the package would need gigabytes for",
      "a: b\n".repeat(1_100_000),
      ["1:1 error the document has an error, or YAML that only the slow reader reads, and is too large for it"],
    ],
    ["a word", "hello\n", ['1:1 error found the text "hello", want an API object, a map']],
    ["a list", "- a\n", ["1:1 error found a list, want an API object, a map"]],
    ["no kind", "apiVersion: v1\n", ["1:1 error kind: Object 'Kind' is missing"]],
    ["no version", "kind: Pod\n", ["1:1 error apiVersion: Object 'apiVersion' is missing in the \"Pod\""]],
    [
      "a List of a word",
      "apiVersion: v1\nkind: List\nitems: a\n",
      ['3:8 error items: found the text "a", want a list of objects'],
    ],
    [
      "a List of numbers",
      "apiVersion: v1\nkind: List\nitems:\n- 5\n-\n",
      [
        "4:3 error items[0]: found the number 5, want an API object, a map",
        "5:2 error items[1]: found nothing, want an API object, a map",
      ],
    ],
  ])("%s", (_what, text, expected) => {
    expect(issuesOf(text)).toEqual(expected);
    expect(load(text).model).toBeUndefined();
  });

  it("costs the other documents nothing: all issues are there at once", () => {
    const text = documents(podText("", "name: A"), "a: [\n", podText("", "name: B"));
    expect(errorsOf(text).map((issue) => issue.replace(/ error.*/, ""))).toEqual(["4:9", "7:1", "11:9"]);
  });

  it("is no file at all", () => {
    expect(loadCluster([]).issues).toMatchObject([{ code: "no-objects", severity: "error", file: "-", line: 0 }]);
  });

  it("is minded less when it is an empty file beside others", () => {
    const { issues, model } = loadCluster([
      { name: "empty", text: "" },
      { name: "f", text: "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n" },
    ]);
    expect(issues).toMatchObject([{ code: "no-objects", severity: "warning", file: "empty" }]);
    expect(model?.namespaces).toHaveLength(1);
  });

  it(`is no label of ${MEGABYTES} MB, in YAML or JSON, plain or quoted`, () => {
    const label = "x".repeat(MEGABYTES * 1_000_000);
    const metadata = (value: string) => `name: a\n  labels:\n    app: ${value}`;
    const json = `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","labels":{"app":"${label}"}}}`;
    for (const text of [podText("", metadata(label)), podText("", metadata(`"${label}"`)), json]) {
      const errors = errorsOf(text);
      expect(errors).toHaveLength(1);
      expect(errors[0]).toMatch(/metadata\.labels\.app: Invalid value: "x{100}…": must be no more than 63 bytes$/);
    }
  });
});

describe("kinds and versions", () => {
  const versionError = (version: string) =>
    `1:13 error apiVersion: no matches for kind "NetworkPolicy" in version "${version}"; write apiVersion: networking.k8s.io/v1`;

  it.each(["extensions/v1beta1", "networking.k8s.io/v1beta1", "networking/v1", "v1", "apps/v1"])(
    "a NetworkPolicy of %s is refused",
    (version) => {
      expect(issuesOf(policyText().replace("networking.k8s.io/v1", version))).toEqual([versionError(version)]);
    },
  );

  it.each([
    ["Networkpolicy", "networking.k8s.io/v1", "NetworkPolicy"],
    ["NetworkPolicys", "networking.k8s.io/v1", "NetworkPolicy"],
    ["pod", "v1", "Pod"],
    ["Namespce", "v1", "Namespace"],
  ])("%s is a slip of the pen", (kind, version, meant) => {
    expect(issuesOf(`apiVersion: ${version}\nkind: ${kind}\n`)).toEqual([
      `2:7 error kind: no matches for kind "${kind}" in version "${version}"; did you mean "${meant}"?`,
    ]);
  });
});

describe("places", () => {
  const rules = `  ingress:
  - from:
    - podSelector: {}
    - ipBlock:
        cidr: 10.0.0.0/8
    ports:
    - port: 80
    - protocol: UDP
      port: 53
  -
    from: []
  egress:
  - to:
    - namespaceSelector: {}
`;
  const places = (text: string) => {
    const [policy] = modelOf(text).policies;
    const at = ({ source: { line, column } }: { source: { line: number; column: number } }) => `${line}:${column}`;
    return (
      policy && {
        policy: at(policy),
        rules: [...policy.ingress, ...policy.egress].map(at),
        peers: [...policy.ingress, ...policy.egress].flatMap(({ peers }) => peers.map(at)),
        ports: policy.ingress.flatMap(({ ports }) => ports.map(at)),
      }
    );
  };
  const expected = {
    policy: "1:1",
    rules: ["8:5", "17:5", "19:5"],
    peers: ["9:7", "10:7", "20:7"],
    ports: ["13:7", "14:7"],
  };

  it("of policies, rules, peers and ports are lines and columns of the text", () => {
    expect(places(policyText(rules))).toEqual(expected);
  });

  it("are the same when the yaml package has to read the text", () => {
    expect(places(policyText(rules).replace("podSelector: {}", "podSelector: &all {}"))).toEqual(expected);
  });

  it("count Windows lines", () => {
    expect(places(policyText(rules).replaceAll("\n", "\r\n"))).toEqual(expected);
  });

  it("in a List count from the start of the file", () => {
    const inList = `# one\n---\napiVersion: v1\nkind: List\nitems:\n- ${policyText(rules).trimEnd().replaceAll("\n", "\n  ")}\n`;
    expect(places(inList)?.policy).toBe("6:3");
    expect(places(inList)?.ports).toEqual(["18:9", "19:9"]);
  });

  it("in JSON are those of the values", () => {
    const json =
      '{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "p"},\n "spec": {"podSelector": {},\n  "ingress": [{"from": [{"podSelector": {}}],\n    "ports": [{"port": 80}]}]}}\n';
    expect(places(json)).toEqual({ policy: "1:1", rules: ["3:15"], peers: ["3:25"], ports: ["4:15"] });
  });
});
