/** The plain readers against the yaml package: on mutated manifests they give the same values, places and issues. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { clusterOf, clusterText } from "../../bench/workloads.ts";
import { parseYamlDocuments, parseYamlDocumentsSlowly, type YamlFile } from "../../compiler/manifest/parse.ts";
import { readJson } from "../../compiler/manifest/plain/json.ts";
import { NOT_PLAIN } from "../../compiler/manifest/plain/notPlain.ts";
import { readPlainYaml } from "../../compiler/manifest/plain/yaml.ts";
import { isRecord, type Path } from "../../compiler/manifest/values.ts";
import { manifestsOf, manifestText } from "../../compiler/manifest/write.ts";
import { runsOf } from "../extent.ts";

/** What people and machines write beside what `formatYaml` writes. */
const ODDITIES = `# a pod as kubectl prints it, and as people write it
apiVersion: v1
kind: Pod
metadata:
  annotations:
    kubectl.kubernetes.io/last-applied-configuration: |
      {"apiVersion":"v1","kind":"Pod"}
    other: |-
      line one
        indented

      line three
    keep: |+
      a

    "quoted key": 'it''s'
    k:{"name":"app"}: {}
    f:metadata:
      .: {}
  labels: {app: web, "tier": 'x y', num: 5, empty: ""}
  creationTimestamp: "2024-01-01T00:00:00Z"
  ts: 2024-01-01T00:00:00Z # comment
spec:
  args: ["a", 'b', c d, 10.0.0.1/8]
  containers:
  - args:
    - --flag=a
    - '--long some text that goes
      on and on

      here'
    - "escaped \\n \\
      joined \\u0041 \\" x"
    - plain text that
      continues here (ok)
    - http://foo:80/x
    - - nested
      - - deeper
    -
      name: later
    # comment
    - key: v
      other:
      - 1
      -
      - ~
  cidrs: [10.0.0.0/8]
  ipv6: ::/0
  empty:
  nulls: ~
status:
  message: back-off 5m0s restarting failed container=app pod=x_y(uid)
    and more
  conditions: []
  podIP: 10.0.0.1
  floats: 1.50
  oct: 0777
  sha: 1234e5
`;

const SMALL = clusterOf({ pods: 3, policies: 6, namespaces: 2, nodes: 1, seed: 2, shape: "mixed" });
const YAML_SEEDS = [ODDITIES, ...clusterText(SMALL, "yaml").split("---\n")];
const JSON_SEEDS = [
  ...manifestsOf(SMALL).map((manifest) => manifestText([manifest])),
  JSON.stringify({ apiVersion: "v1", kind: "List", items: manifestsOf(SMALL).slice(0, 2) }, undefined, 4),
  '[1, 2.5e3, -0, "a\\u0041\\n", null, true, false, [], {}]',
];

/** What means something in one of the two languages, in some place. */
const YAML_BITS =
  ": |  |\n|-|#|'|\"|{|}|[|]|,|>|&a|*a|!|?|\\|- |\n  |\n\n|0|1|~|...|\n---\n|% |\\n|\\ |@|`|<<: *a|null|1e3| #c|\n# c\n|k: v|{a: b}|\n - |\u2028|é|__proto__: 1|\t|\r\n"
    .split("|")
    .concat("|", "|-", "|+");
const JSON_BITS = '{|}|[|]|,|:|"|\\|\\n| |\n|0|-|.|e|null|true|\'|#|\t|{}|[]|"a":1,|\\u00|é|\u2028'.split("|");

const mutated = (seeds: readonly string[], bits: readonly string[]) =>
  fc
    .tuple(
      fc.constantFrom(...seeds),
      fc.array(fc.record({ at: fc.nat(), cut: fc.nat(3), bit: fc.oneof(fc.constantFrom(...bits), fc.constant("")) }), {
        maxLength: 4,
      }),
    )
    .map(([seed, edits]) =>
      edits.reduce((text, { at, cut, bit }) => {
        const place = at % (text.length + 1);
        return text.slice(0, place) + bit + text.slice(place + cut);
      }, seed),
    );

describe("the plain readers", () => {
  it.each([
    ["YAML", YAML_SEEDS, YAML_BITS],
    ["JSON", JSON_SEEDS, JSON_BITS],
  ] as const)("read mutated %s as the yaml package does, or leave it to the package", (_what, seeds, bits) => {
    let plain = 0;
    fc.assert(
      fc.property(mutated(seeds, bits), (text) => {
        const file = { name: "mutated", text };
        const fast = summary(parseYamlDocuments(file));
        const slow = parseYamlDocumentsSlowly(file);
        // kubectl takes JSON values one after the other, where YAML has none.
        if (slow.issues.length > 0 && readJson(text) !== NOT_PLAIN) return;
        expect(fast).toEqual(summary(slow));
        if (readPlainYaml(text) !== NOT_PLAIN) plain++;
      }),
      { numRuns: runsOf(1_500) },
    );
    if (seeds === YAML_SEEDS) expect(plain).toBeGreaterThan(runsOf(1_500) / 10);
  });

  it.each(YAML_SEEDS.map((text) => [text.split("\n", 4).join(" "), text]))(
    "do not leave to the package: %s",
    (_, text) => {
      expect(readPlainYaml(text)).not.toBe(NOT_PLAIN);
    },
  );

  it.each(JSON_SEEDS.map((text) => [text.slice(0, 60), text]))("do not leave to the package: %s", (_, text) => {
    expect(readJson(text)).not.toBe(NOT_PLAIN);
  });
});

/** Values, the place of every part, and issues. */
function summary({ documents, issues }: YamlFile): unknown {
  const read = documents.map((document) => {
    const places: unknown[] = [];
    const visit = (value: unknown, path: Path) => {
      places.push([path.join("/"), document.positionOf(path), document.positionOfKey(path)]);
      if (Array.isArray(value)) for (const [index, item] of value.entries()) visit(item, [...path, index]);
      else if (isRecord(value)) for (const [key, item] of Object.entries(value)) visit(item, [...path, key]);
    };
    visit(document.value, []);
    return { value: document.value, places };
  });
  return { read, issues };
}
