import { describe, expect, test } from "vitest";
import type { LabelSelector } from "../../compiler/model.ts";
import { selects } from "../../reference/selectors.ts";
import { type LabelRecord, labels, namespace, pod, selector } from "../../verify/fuzz/builders.ts";
import { issuesOf, policyYaml, verdictOf, world } from "./world.ts";

const parts = {
  namespaces: [namespace("default"), namespace("dev", { env: "dev" }), namespace("prod", { env: "prod" })],
  endpoints: [
    pod("default/db", ["10.1.0.2"], { labels: { app: "db" } }),
    pod("default/api", ["10.1.0.3"], { labels: { app: "api" } }),
    pod("prod/api", ["10.1.1.2"], { labels: { app: "api" } }),
    pod("prod/batch", ["10.1.1.3"], { labels: { app: "batch" } }),
    pod("dev/api", ["10.1.1.4"], { labels: { app: "api" } }),
  ],
};

/** Which of the pods, and of one outside address, reach the database when its one ingress rule has these peers. */
function admitted(from: string): readonly string[] {
  const model = world(
    parts,
    policyYaml("default/p", `podSelector: {matchLabels: {app: db}}\ningress: [{from: ${from}}]`),
  );
  return ["default/api", "prod/api", "prod/batch", "dev/api", "198.51.100.7"].filter(
    (source) => verdictOf(model, `tcp ${source} > default/db:80`) === "accept",
  );
}

describe("row 11", () => {
  test("row 11: a podSelector alone means pods of the policy's namespace", () => {
    expect(admitted("[{podSelector: {matchLabels: {app: api}}}]")).toEqual(["default/api"]);
  });

  test("row 11: a namespaceSelector alone means all pods of those namespaces", () => {
    expect(admitted("[{namespaceSelector: {matchLabels: {env: prod}}}]")).toEqual(["prod/api", "prod/batch"]);
  });

  test("row 11: both in one entry must both hold, in two entries either will do", () => {
    expect(
      admitted("[{namespaceSelector: {matchLabels: {env: prod}}, podSelector: {matchLabels: {app: api}}}]"),
    ).toEqual(["prod/api"]);
    expect(
      admitted("[{namespaceSelector: {matchLabels: {env: prod}}}, {podSelector: {matchLabels: {app: api}}}]"),
    ).toEqual(["default/api", "prod/api", "prod/batch"]);
  });
});

test("row 12: an empty podSelector is the own namespace, an empty namespaceSelector every namespace, none is outside", () => {
  expect(admitted("[{podSelector: {}}]")).toEqual(["default/api"]);
  expect(admitted("[{namespaceSelector: {}}]")).toEqual(["default/api", "prod/api", "prod/batch", "dev/api"]);
  expect(admitted("[{namespaceSelector: {}, podSelector: {}}]")).toEqual([
    "default/api",
    "prod/api",
    "prod/batch",
    "dev/api",
  ]);
});

test("row 13: a peer with nothing in it, or a block together with a selector, is invalid", () => {
  const errors = (peer: string) =>
    issuesOf(policyYaml("default/p", `podSelector: {}\ningress: [{from: [${peer}]}]`)).filter(
      (issue) => issue.severity === "error",
    );
  expect(errors("{}").map((issue) => issue.path)).toEqual(["spec.ingress[0].from[0]"]);
  expect(errors("{ipBlock: {cidr: 10.0.0.0/8}, podSelector: {}}").map((issue) => issue.path)).toEqual([
    "spec.ingress[0].from[0]",
  ]);
  expect(errors("{ipBlock: {cidr: 10.0.0.0/8}, namespaceSelector: {}}")).toHaveLength(1);
});

test("row 14: selectors never admit an outside address, an omitted from does", () => {
  expect(admitted("[{namespaceSelector: {}}]")).not.toContain("198.51.100.7");
  expect(admitted("[]")).toContain("198.51.100.7");
});

test("row 15: a namespace is selected by its labels, and its name is one even where the manifest has none", () => {
  const yaml = `
---
apiVersion: v1
kind: Namespace
metadata: {name: bare}
---
apiVersion: v1
kind: Pod
metadata: {namespace: bare, name: api}
spec: {nodeName: node-a, containers: [{name: c, image: i}]}
status: {phase: Running, podIP: 10.1.0.9, podIPs: [{ip: 10.1.0.9}]}
${policyYaml(
  "default/p",
  "podSelector: {matchLabels: {app: db}}\ningress: [{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: bare}}}]}]",
)}`;
  const model = world(parts, yaml);
  expect(verdictOf(model, "tcp bare/api > default/db:80")).toBe("accept");
  expect(verdictOf(model, "tcp default/api > default/db:80")).toBe("drop");
  // The name itself is not matched by a label that only looks like it.
  expect(admitted("[{namespaceSelector: {matchLabels: {name: prod}}}]")).toEqual([]);
});

describe("row 16", () => {
  const expression = (operator: "In" | "NotIn" | "Exists" | "DoesNotExist", ...values: string[]) =>
    selector({}, [{ key: "app", operator, values }]);

  test.each<[name: string, LabelSelector, LabelRecord, boolean]>([
    ["In with one of the values", expression("In", "a", "b"), { app: "b" }, true],
    ["In with another value", expression("In", "a", "b"), { app: "c" }, false],
    ["In with the key absent", expression("In", "a", ""), {}, false],
    ["NotIn with one of the values", expression("NotIn", "a"), { app: "a" }, false],
    ["NotIn with another value", expression("NotIn", "a"), { app: "b" }, true],
    ["NotIn with the key absent", expression("NotIn", "a"), {}, true],
    ["Exists with an empty value", expression("Exists"), { app: "" }, true],
    ["Exists with the key absent", expression("Exists"), {}, false],
    ["DoesNotExist with the key absent", expression("DoesNotExist"), {}, true],
    ["DoesNotExist with an empty value", expression("DoesNotExist"), { app: "" }, false],
    ["matchLabels with an empty value and the key absent", selector({ app: "" }), {}, false],
    ["matchLabels with an empty value", selector({ app: "" }), { app: "" }, true],
    [
      "matchLabels and an expression, both holding",
      selector({ role: "x" }, [{ key: "app", operator: "Exists", values: [] }]),
      { app: "a", role: "x" },
      true,
    ],
    [
      "matchLabels and an expression, one failing",
      selector({ role: "x" }, [{ key: "app", operator: "Exists", values: [] }]),
      { role: "x" },
      false,
    ],
  ])("row 16: %s", (_name, question, record, expected) => {
    expect(selects(question, labels(record))).toBe(expected);
  });

  test("row 16: In and NotIn need values, Exists and DoesNotExist forbid them", () => {
    const errors = (requirement: string) =>
      issuesOf(policyYaml("default/p", `podSelector: {matchExpressions: [${requirement}]}`)).filter(
        (issue) => issue.severity === "error",
      );
    for (const operator of ["In", "NotIn"]) {
      expect(errors(`{key: app, operator: ${operator}}`)).toHaveLength(1);
      expect(errors(`{key: app, operator: ${operator}, values: []}`)).toHaveLength(1);
      expect(errors(`{key: app, operator: ${operator}, values: [a]}`)).toEqual([]);
    }
    for (const operator of ["Exists", "DoesNotExist"]) {
      expect(errors(`{key: app, operator: ${operator}, values: [a]}`)).toHaveLength(1);
      expect(errors(`{key: app, operator: ${operator}}`)).toEqual([]);
    }
  });
});

test("row 17: changed labels of a pod or a namespace count at once", () => {
  const yaml = policyYaml(
    "default/p",
    "podSelector: {matchLabels: {app: db}}\ningress: [{from: [{namespaceSelector: {matchLabels: {env: prod}}, podSelector: {matchLabels: {app: api}}}]}]",
  );
  const line = "tcp prod/batch > default/db:80";
  expect(verdictOf(world(parts, yaml), line)).toBe("drop");
  const relabelled = parts.endpoints.map((one) =>
    one.key === "prod/batch" ? { ...one, labels: labels({ app: "api" }) } : one,
  );
  expect(verdictOf(world({ ...parts, endpoints: relabelled }, yaml), line)).toBe("accept");
  const namespaces = parts.namespaces.map((one) => (one.name === "prod" ? namespace("prod", { env: "old" }) : one));
  expect(verdictOf(world({ namespaces, endpoints: relabelled }, yaml), line)).toBe("drop");
});
