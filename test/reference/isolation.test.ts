import { expect, test } from "vitest";
import { evaluate } from "../../reference/evaluate.ts";
import { EVERYTHING, namespace, pod, podPeer, policy, rule, selector } from "../../verify/fuzz/builders.ts";
import { directionsOf, issuesOf, packetIn, policyYaml, verdictOf, world } from "./world.ts";

const endpoints = [
  pod("default/web", ["10.1.0.2"], { labels: { app: "web" } }),
  pod("default/db", ["10.1.0.3"], { labels: { app: "db" } }),
  pod("dev/web", ["10.1.1.2"], { labels: { app: "web" } }),
];

const FROM_WEB = policyYaml(
  "default/from-web",
  "podSelector: {matchLabels: {app: db}}\ningress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]",
);
const FROM_DEV = policyYaml(
  "default/from-dev",
  "podSelector: {matchLabels: {app: db}}\ningress: [{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: dev}}}]}]",
);

test("row 1: a pod that no policy selects accepts everything", () => {
  const model = world({ endpoints });
  expect(directionsOf(model, "tcp default/web > default/db:80")).toEqual({ egress: "accept", ingress: "accept" });
  expect(verdictOf(model, "udp 198.51.100.7 > default/db:53")).toBe("accept");
});

test("row 1: of several policies each adds what it allows, in any order", () => {
  for (const yaml of [FROM_WEB + FROM_DEV, FROM_DEV + FROM_WEB]) {
    const model = world({ endpoints }, yaml);
    expect(verdictOf(model, "tcp default/web > default/db:80")).toBe("accept");
    expect(verdictOf(model, "tcp dev/web > default/db:80")).toBe("accept");
    expect(verdictOf(model, "tcp 198.51.100.7 > default/db:80")).toBe("drop");
  }
});

test("row 2: the source's egress and the destination's ingress must both allow", () => {
  const noEgress = policyYaml("default/silent", "podSelector: {matchLabels: {app: web}}\npolicyTypes: [Egress]");
  const noIngress = policyYaml("default/deaf", "podSelector: {matchLabels: {app: db}}\npolicyTypes: [Ingress]");
  const line = "tcp default/web > default/db:80";
  const sides = (yaml: string) => directionsOf(world({ endpoints }, yaml), line);
  expect(sides(noEgress)).toEqual({ egress: "drop", ingress: "accept" });
  expect(sides(noIngress)).toEqual({ egress: "accept", ingress: "drop" });
  expect(sides(noEgress + noIngress)).toEqual({ egress: "drop", ingress: "drop" });
  expect(verdictOf(world({ endpoints }, noEgress), line)).toBe("drop");
  expect(verdictOf(world({ endpoints }, noIngress), line)).toBe("drop");
});

test("row 3: an empty or absent podSelector selects all pods of the policy's namespace", () => {
  for (const spec of ["podSelector: {}\npolicyTypes: [Ingress]", "policyTypes: [Ingress]"]) {
    const model = world({ endpoints }, policyYaml("default/deny", spec));
    expect(verdictOf(model, "tcp dev/web > default/web:80")).toBe("drop");
    expect(verdictOf(model, "tcp dev/web > default/db:80")).toBe("drop");
    expect(verdictOf(model, "tcp default/web > dev/web:80")).toBe("accept");
  }
});

test("row 4: no ingress rule denies all, an empty ingress rule allows all", () => {
  const verdict = (ingress: string) =>
    verdictOf(
      world({ endpoints }, policyYaml("default/p", `podSelector: {}\npolicyTypes: [Ingress]\n${ingress}`)),
      "tcp dev/web > default/db:80",
    );
  expect(verdict("ingress: []")).toBe("drop");
  expect(verdict("")).toBe("drop");
  expect(verdict("ingress: [{}]")).toBe("accept");
});

test("row 5: missing or empty peers are every source, outside ones too; missing or empty ports are every port", () => {
  const model = (rule: string) =>
    world({ endpoints }, policyYaml("default/p", `podSelector: {matchLabels: {app: db}}\ningress: [${rule}]`));
  for (const anyone of ["{ports: [{port: 80}]}", "{from: [], ports: [{port: 80}]}"]) {
    expect(verdictOf(model(anyone), "tcp 198.51.100.7 > default/db:80")).toBe("accept");
    expect(verdictOf(model(anyone), "tcp dev/web > default/db:80")).toBe("accept");
    expect(verdictOf(model(anyone), "tcp dev/web > default/db:81")).toBe("drop");
  }
  for (const anyPort of ["{from: [{podSelector: {}}]}", "{from: [{podSelector: {}}], ports: []}"]) {
    expect(verdictOf(model(anyPort), "tcp default/web > default/db:80")).toBe("accept");
    expect(verdictOf(model(anyPort), "sctp default/web > default/db:9")).toBe("accept");
    expect(verdictOf(model(anyPort), "tcp dev/web > default/db:80")).toBe("drop");
  }
});

test("row 6: a rule needs a matching peer and a matching port, and either of each list will do", () => {
  const model = world(
    { endpoints },
    policyYaml(
      "default/p",
      `podSelector: {matchLabels: {app: db}}
ingress:
- from: [{podSelector: {matchLabels: {app: nobody}}}, {podSelector: {matchLabels: {app: web}}}]
  ports: [{port: 80}, {port: 81}]
- from: [{ipBlock: {cidr: 198.51.100.0/24}}]
  ports: [{port: 82}]`,
    ),
  );
  expect(verdictOf(model, "tcp default/web > default/db:80")).toBe("accept");
  expect(verdictOf(model, "tcp default/web > default/db:81")).toBe("accept");
  // The peer of one rule with the port of the other.
  expect(verdictOf(model, "tcp default/web > default/db:82")).toBe("drop");
  expect(verdictOf(model, "tcp 198.51.100.7 > default/db:80")).toBe("drop");
  expect(verdictOf(model, "tcp 198.51.100.7 > default/db:82")).toBe("accept");
});

test("row 7: a policy leaves pods it does not select and other namespaces alone, and its end opens the pod again", () => {
  const deny = policyYaml("default/deny", "podSelector: {matchLabels: {app: web}}\npolicyTypes: [Ingress, Egress]");
  const model = world({ endpoints }, deny);
  expect(verdictOf(model, "tcp dev/web > default/web:80")).toBe("drop");
  expect(verdictOf(model, "tcp dev/web > default/db:80")).toBe("accept");
  expect(verdictOf(model, "tcp default/db > dev/web:80")).toBe("accept");
  expect(verdictOf(world({ endpoints }), "tcp dev/web > default/web:80")).toBe("accept");
});

test("row 8: policyTypes defaults to Ingress, and to Egress only when there is an egress rule", () => {
  const sides = (spec: string) =>
    directionsOf(world({ endpoints }, policyYaml("default/p", spec)), "tcp default/web > default/db:80");
  expect(sides("podSelector: {}")).toEqual({ egress: "accept", ingress: "drop" });
  expect(sides("podSelector: {}\negress: []")).toEqual({ egress: "accept", ingress: "drop" });
  expect(sides("podSelector: {}\negress: [{ports: [{port: 81}]}]")).toEqual({ egress: "drop", ingress: "drop" });
  expect(sides("podSelector: {}\npolicyTypes: [Egress]\ningress: [{ports: [{port: 81}]}]")).toEqual({
    egress: "drop",
    ingress: "accept",
  });
});

test("row 9: unknown or more than two policyTypes are invalid, one type twice is not", () => {
  const issues = (types: string) =>
    issuesOf(policyYaml("default/p", `podSelector: {}\npolicyTypes: ${types}`)).filter(
      (issue) => issue.severity === "error",
    );
  expect(issues("[Sideways]").map((issue) => issue.path)).toEqual(["spec.policyTypes[0]"]);
  expect(issues("[Ingress, Egress, Ingress]").map((issue) => issue.path)).toEqual(["spec.policyTypes"]);
  expect(issues("[Ingress, Ingress]")).toEqual([]);
});

test("row 10: two policies with one name are an error that names both places", () => {
  const [first, ...others] = issuesOf(FROM_WEB + FROM_WEB).filter((issue) => issue.severity === "error");
  expect(others).toEqual([]);
  expect(first?.line).toBeGreaterThan(6);
  expect(first?.message).toContain("default/from-web");
  expect(first?.message).toMatch(/policies\.yaml:\d+/);
});

test("an allowed direction names policy, rule, peer and port; a refused one names every policy that isolates", () => {
  const model = world(
    {
      endpoints,
      policies: [
        policy("default/a", selector({ app: "db" }), { ingress: [] }),
        policy("default/b", EVERYTHING, {
          ingress: [rule([podPeer({ pods: selector({ app: "nobody" }) }), podPeer({ namespaces: EVERYTHING })])],
        }),
      ],
      namespaces: [namespace("dev")],
    },
    FROM_WEB,
  );
  expect(evaluate(model, packetIn(model, "tcp dev/web > default/db:80")).because).toEqual([
    expect.stringMatching(/^egress of dev\/web: not isolated: ".+" \(row 1\)$/),
    expect.stringMatching(/^ingress of default\/db: allowed by default\/b ingress\[0\]\.from\[1\]: ".+" \(row 6\)$/),
  ]);
  expect(evaluate(model, packetIn(model, "tcp 198.51.100.7 > default/db:80")).because).toEqual([
    expect.stringMatching(/^egress of 198\.51\.100\.7: ".+" \(row 38\)$/),
    expect.stringMatching(
      /^default\/db is isolated for ingress by default\/a, default\/b, default\/from-web and no rule matches: ".+"/,
    ),
  ]);
});
