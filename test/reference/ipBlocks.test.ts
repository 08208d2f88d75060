import { expect, test } from "vitest";
import { node, pod } from "../../verify/fuzz/builders.ts";
import { issuesOf, policyYaml, verdictOf, world } from "./world.ts";

const parts = {
  nodes: [node("node-a", ["192.168.0.11"]), node("node-b", ["192.168.0.12"])],
  endpoints: [
    pod("default/db", ["10.1.0.2", "fd00::2"], { node: "node-a", labels: { app: "db" } }),
    pod("default/web", ["10.1.0.3", "fd00::3"], { node: "node-b" }),
  ],
};

function ingressFrom(...rules: readonly string[]): string {
  return rules
    .map((from, index) =>
      policyYaml(`default/p${index}`, `podSelector: {matchLabels: {app: db}}\ningress: [{from: ${from}}]`),
    )
    .join("");
}

function admitted(from: string, source: string): boolean {
  return verdictOf(world(parts, ingressFrom(from)), `tcp ${source} > 10.1.0.2:80`) === "accept";
}

function errors(ipBlock: string): readonly { readonly path: string; readonly message: string }[] {
  return issuesOf(ingressFrom(`[{ipBlock: ${ipBlock}}]`)).filter((issue) => issue.severity === "error");
}

test("row 18: a block needs its cidr, and every except lies strictly inside it", () => {
  const path = "spec.ingress[0].from[0].ipBlock";
  expect(errors("{except: [10.0.0.0/9]}").map((issue) => issue.path)).toContain(`${path}.cidr`);
  expect(errors("{cidr: 10.0.0.0/8, except: [10.0.0.0/9, 10.255.255.255/32]}")).toEqual([]);
  for (const outside of ["10.0.0.0/8", "10.0.0.0/7", "11.0.0.0/9", "fd00::/16"]) {
    expect(errors(`{cidr: 10.0.0.0/8, except: [10.0.0.0/9, '${outside}']}`).map((issue) => issue.path)).toEqual([
      `${path}.except[1]`,
    ]);
  }
});

test("row 19: host bits in a cidr are masked, with a warning", () => {
  const issues = issuesOf(ingressFrom("[{ipBlock: {cidr: 198.51.100.7/24}}]"));
  expect(issues.map((issue) => issue.severity)).toEqual(["warning"]);
  expect(admitted("[{ipBlock: {cidr: 198.51.100.7/24}}]", "198.51.100.200")).toBe(true);
  expect(admitted("[{ipBlock: {cidr: 198.51.100.7/24}}]", "198.51.101.7")).toBe(false);
});

test("row 20: an except carves its own entry and takes nothing from others", () => {
  const carved = "{ipBlock: {cidr: 198.51.100.0/24, except: [198.51.100.0/28]}}";
  expect(admitted(`[${carved}]`, "198.51.100.16")).toBe(true);
  expect(admitted(`[${carved}]`, "198.51.100.7")).toBe(false);
  expect(admitted(`[${carved}, {ipBlock: {cidr: 198.51.100.7/32}}]`, "198.51.100.7")).toBe(true);
  const otherPolicy = world(parts, ingressFrom(`[${carved}]`, "[{ipBlock: {cidr: 198.51.0.0/16}}]"));
  expect(verdictOf(otherPolicy, "tcp 198.51.100.7 > default/db:80")).toBe("accept");
});

test("row 21: in the reference a block matches addresses of pods and nodes like any other", () => {
  expect(admitted("[{ipBlock: {cidr: 10.1.0.0/24}}]", "10.1.0.3")).toBe(true);
  expect(admitted("[{ipBlock: {cidr: 10.1.0.0/24, except: [10.1.0.3/32]}}]", "10.1.0.3")).toBe(false);
  expect(admitted("[{ipBlock: {cidr: 192.168.0.12/32}}]", "192.168.0.12")).toBe(true);
});

test("row 22: the reference takes the addresses that the packet has, and undoes no translation", () => {
  // A client behind its node's address is that node to the block, whoever the client is.
  expect(admitted("[{ipBlock: {cidr: 10.1.0.3/32}}]", "192.168.0.12")).toBe(false);
  expect(admitted("[{podSelector: {}}]", "192.168.0.12")).toBe(false);
});

test("row 23: families never mix, and a dual-stack pod is matched by the address in use", () => {
  const model = world(parts, ingressFrom("[{ipBlock: {cidr: 0.0.0.0/0}}]"));
  expect(verdictOf(model, "tcp 10.1.0.3 > 10.1.0.2:80")).toBe("accept");
  expect(verdictOf(model, "tcp [fd00::3] > [fd00::2]:80")).toBe("drop");
  expect(verdictOf(model, "tcp [::ffff:10.1.0.3] > [fd00::2]:80")).toBe("drop");
  const six = world(parts, ingressFrom("[{ipBlock: {cidr: 'fd00::2/127'}}]"));
  expect(verdictOf(six, "tcp 10.1.0.3 > 10.1.0.2:80")).toBe("drop");
  expect(verdictOf(six, "tcp [fd00::3] > [fd00::2]:80")).toBe("accept");
  const byLabels = world(parts, ingressFrom("[{podSelector: {}}]"));
  expect(verdictOf(byLabels, "tcp 10.1.0.3 > 10.1.0.2:80")).toBe("accept");
  expect(verdictOf(byLabels, "tcp [fd00::3] > [fd00::2]:80")).toBe("accept");
});

test("row 24: a host name in cidr is refused, with the reason and what to write instead", () => {
  const [issue, ...others] = errors("{cidr: db.example.com}");
  expect(others).toEqual([]);
  expect(issue?.path).toBe("spec.ingress[0].from[0].ipBlock.cidr");
  expect(issue?.message).toContain("db.example.com");
  expect(issue?.message).toMatch(/addresses/);
  expect(issue?.message).toMatch(/\/32|podSelector|namespaceSelector/);
});

test("row 24: a host-name field is refused with the reason too", () => {
  const found = issuesOf(
    policyYaml("default/p", "podSelector: {}\negress: [{to: [{hostnames: [db.example.com]}]}]"),
  ).filter((issue) => issue.severity === "error");
  expect(found.some((issue) => /addresses/.test(issue.message))).toBe(true);
});
