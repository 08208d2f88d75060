/** Manifests read again after an edit: the same cluster, issues and places as when they are read from scratch. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { clusterOf, clusterText } from "../../bench/workloads.ts";
import { loadObjects } from "../../compiler/compile.ts";
import { ManifestMemory, parseManifests } from "../../compiler/manifest/objects.ts";
import { runsOf } from "../extent.ts";

const SMALL = clusterOf({ pods: 5, policies: 6, namespaces: 2, nodes: 1, seed: 2, shape: "mixed" });
const DOCUMENTS = clusterText(SMALL, "yaml").split("---\n");
/** With warnings and errors in them, and with YAML that the plain reader leaves to the package. */
const ODD = [
  "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: lost}\nstatus: {podIP: 10.9.9.9}\n",
  "apiVersion: v1\nkind: Pod\nmetadata: &m\n  name: b\n  labels: {x: *m}\n",
  "apiVersion: v1\nkind: PodList\nitems:\n- metadata: {name: c}\n  spec: {nodename: n}\n- metadata: {name: d}\n",
  "kind: Pod\nmetadata: {name: e}\n",
  "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: f}\nspec: {podSelector: {}, ingress: [{ports: [{port: nope}]}]}\n",
  "# nothing\n",
  '{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}}\n',
];

type Edit = (documents: readonly string[], at: number, by: number) => readonly string[];

const EDITS: Readonly<Record<string, Edit>> = {
  "a line more": (documents, at) => documents.with(at, `# more\n${documents[at]}`),
  "a document twice": (documents, at, by) => documents.toSpliced(by, 0, documents[at] ?? ""),
  "a document less": (documents, at) => (documents.length > 1 ? documents.toSpliced(at, 1) : documents),
  "two documents in each other's place": (documents, at, by) =>
    documents.with(at, documents[by] ?? "").with(by, documents[at] ?? ""),
  "an odd document": (documents, at, by) => documents.toSpliced(at, 0, ODD[by % ODD.length] ?? ""),
  "another name": (documents, at, by) => documents.with(at, (documents[at] ?? "").replace(/name: .*/, `name: n-${by}`)),
  "a key misspelt": (documents, at) => documents.with(at, (documents[at] ?? "").replace("spec:", "sepc:")),
  "a character less": (documents, at, by) =>
    documents.with(at, (documents[at] ?? "").slice(0, by) + (documents[at] ?? "").slice(by + 1)),
};

type Form = "one" | "two" | "list" | "indented list";

/** As `kubectl get -o yaml` prints them; what is no block of YAML is made an item all the same. */
const listOf = (documents: readonly string[], indent: string) => {
  const itemOf = (document: string) => `${indent}- ${document.replace(/\n$/, "").replaceAll("\n", `\n${indent}  `)}`;
  return `apiVersion: v1\nitems:\n${documents.map(itemOf).join("\n")}\nkind: List\nmetadata:\n  resourceVersion: ""\n`;
};

const filesOf = (documents: readonly string[], form: Form) =>
  form.endsWith("list")
    ? [{ name: "list.yaml", text: listOf(documents, form === "list" ? "" : "  ") }]
    : form === "one"
      ? [{ name: "one.yaml", text: documents.join("---\n") }]
      : [
          { name: "a.yaml", text: documents.filter((_, index) => index % 2 === 0).join("---\n") },
          { name: "b.yaml", text: documents.filter((_, index) => index % 2 === 1).join("--- # and\n") },
        ];

describe("the memory of manifests", () => {
  it("changes nothing of what is read, whatever was read before", () => {
    const step = fc.tuple(
      fc.constantFrom(...Object.keys(EDITS)),
      fc.nat(10_000),
      fc.nat(10_000),
      fc.constantFrom<Form>("one", "two", "list", "list", "indented list"),
    );
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 8 }), (steps) => {
        const memory = new ManifestMemory();
        let documents: readonly string[] = DOCUMENTS;
        parseManifests(filesOf(documents, "one"), memory);
        for (const [name, at, by, form] of steps) {
          const edit = EDITS[name] as Edit;
          documents = edit(documents, at % documents.length, by % documents.length);
          const files = filesOf(documents, form);
          expect(loadObjects(parseManifests(files, memory)), name).toEqual(loadObjects(parseManifests(files)));
        }
      }),
      { numRuns: runsOf(60) },
    );
  });

  it.each<Form>(["one", "list", "indented list"])(
    "keeps the objects that have not changed, which say where they stand: %s",
    (form) => {
      const memory = new ManifestMemory();
      const read = (documents: readonly string[]) =>
        loadObjects(parseManifests(filesOf(documents, form), memory)).model;
      const before = read(DOCUMENTS);
      const line = before?.policies.at(-1)?.source.line ?? 0;
      const after = read(DOCUMENTS.with(0, `# more\n${DOCUMENTS[0]}`));
      expect(line).toBeGreaterThan(1);
      expect(after?.nodes[0]).not.toBe(before?.nodes[0]);
      expect(after?.endpoints.every((pod, index) => pod === before?.endpoints[index])).toBe(true);
      expect(after?.policies.every((policy, index) => policy === before?.policies[index])).toBe(true);
      expect(after?.policies.at(-1)?.source.line).toBe(line + 1);
    },
  );
});
