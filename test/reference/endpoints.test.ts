import { describe, expect, test } from "vitest";
import type { Endpoint } from "../../compiler/model.ts";
import { ReferenceConnections } from "../../reference/connections.ts";
import { evaluate } from "../../reference/evaluate.ts";
import { answerTo } from "../../verify/answer.ts";
import { cluster, node, pod, syn } from "../../verify/fuzz/builders.ts";
import { directionsOf, packetIn, policyYaml, verdictOf, world } from "./world.ts";

const nodes = [node("node-a", ["192.168.0.11"]), node("node-b", ["192.168.0.12"])];
const web = pod("default/web", ["10.1.0.2"], { node: "node-a", labels: { app: "web" } });
const db = pod("default/db", ["10.1.1.2"], { node: "node-b", labels: { app: "db" } });

const DENY_ALL = policyYaml("default/deny", "podSelector: {}\npolicyTypes: [Ingress, Egress]");
const FROM_WEB = policyYaml(
  "default/from-web",
  "podSelector: {matchLabels: {app: db}}\ningress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]",
);

test("row 32: a pod always reaches its own address", () => {
  const model = world({ nodes, endpoints: [web, db] }, DENY_ALL);
  expect(verdictOf(model, "tcp default/web > default/web:80")).toBe("accept");
  expect(verdictOf(model, "tcp default/web > default/db:80")).toBe("drop");
});

describe("row 33", () => {
  const model = world({ nodes, endpoints: [web, db] }, DENY_ALL);

  test("row 33: a pod and its own node always reach each other", () => {
    expect(verdictOf(model, "tcp node:node-a > default/web:80")).toBe("accept");
    expect(verdictOf(model, "tcp default/web > node:node-a:10250")).toBe("accept");
  });

  test("row 33: other nodes are ordinary addresses", () => {
    expect(verdictOf(model, "tcp node:node-b > default/web:80")).toBe("drop");
    expect(verdictOf(model, "tcp default/web > node:node-b:10250")).toBe("drop");
    const open = policyYaml("default/o", "podSelector: {}\ningress: [{from: [{ipBlock: {cidr: 192.168.0.12/32}}]}]");
    expect(verdictOf(world({ nodes, endpoints: [web] }, open), "tcp node:node-b > default/web:80")).toBe("accept");
  });
});

describe("row 34", () => {
  const host = pod("default/host", ["192.168.0.12"], { node: "node-b", hostNetwork: true, labels: { app: "web" } });

  test("row 34: a pod on the host network is no subject", () => {
    const model = world({ nodes, endpoints: [web, host] }, DENY_ALL);
    expect(directionsOf(model, "tcp 192.168.0.12 > 198.51.100.7:80")).toEqual({ egress: "accept", ingress: "accept" });
    expect(directionsOf(model, "tcp default/web > default/host:80")).toEqual({ egress: "drop", ingress: "accept" });
  });

  test("row 34: a pod on the host network is no selector's peer, though its address is in a block", () => {
    const line = "tcp default/host > default/web:80";
    const subject = { ...web, labels: new Map([["app", "db"]]) };
    expect(verdictOf(world({ nodes, endpoints: [subject, host] }, FROM_WEB), line)).toBe("drop");
    const block = FROM_WEB.replace("podSelector: {matchLabels: {app: web}}", "ipBlock: {cidr: 192.168.0.0/24}");
    expect(verdictOf(world({ nodes, endpoints: [subject, host] }, block), line)).toBe("accept");
  });

  test("row 34: a pod on the host network of the pod's own node is that node, known by its status or not", () => {
    for (const known of [nodes, [node("node-b", [])]]) {
      const model = world({ nodes: known, endpoints: [db, host] }, DENY_ALL);
      expect(verdictOf(model, "tcp default/host > default/db:80")).toBe("accept");
      expect(verdictOf(model, "tcp default/db > default/host:80")).toBe("accept");
    }
  });
});

describe("row 35", () => {
  const line = "tcp 10.1.0.2 > default/db:80";
  const reaches = (...endpoints: readonly Endpoint[]) =>
    verdictOf(world({ nodes, endpoints: [db, ...endpoints] }, FROM_WEB), line);

  test("row 35: a finished pod holds no address", () => {
    expect(reaches(web)).toBe("accept");
    expect(reaches({ ...web, phase: "Succeeded" })).toBe("drop");
    expect(reaches({ ...web, phase: "Failed" })).toBe("drop");
    expect(reaches({ ...web, phase: "Pending" })).toBe("accept");
    expect(reaches({ ...web, phase: "Unknown" })).toBe("accept");
    expect(reaches({ ...web, terminating: true })).toBe("accept");
  });

  test("row 35: an address that a finished pod had belongs to the pod that has it now", () => {
    const heir = pod("default/zoe", ["10.1.0.2"], { node: "node-a", labels: { app: "zoe" } });
    expect(reaches({ ...web, phase: "Succeeded" }, heir)).toBe("drop");
    expect(reaches(web, { ...heir, phase: "Failed" })).toBe("accept");
  });

  test("row 35: a pod without an address meets no packet", () => {
    const unaddressed = pod("default/web", [], { labels: { app: "web" }, phase: "Pending" });
    expect(verdictOf(world({ nodes, endpoints: [db, unaddressed] }, FROM_WEB), line)).toBe("drop");
  });

  test("row 35: of two pods that claim one address a running one has it, then the newest", () => {
    const other = pod("default/other", ["10.1.0.2"], { node: "node-a", labels: { app: "other" } });
    const at = (endpoint: Endpoint, hour: string) => ({ ...endpoint, creationTimestamp: `2026-01-01T${hour}:00:00Z` });
    expect(reaches(at(web, "01"), at(other, "02"))).toBe("drop");
    expect(reaches(at(web, "02"), at(other, "01"))).toBe("accept");
    expect(reaches(at(web, "01"), { ...at(other, "02"), phase: "Pending" })).toBe("accept");
  });

  test("row 35: the reference and the loader award a contested address alike", () => {
    const rivals = ["01", "02", "03"].map((hour, index) =>
      pod(`default/rival-${index}`, ["10.1.0.2"], {
        node: "node-a",
        labels: { app: index === 1 ? "web" : "other" },
        creationTimestamp: `2026-01-01T${hour}:00:00Z`,
        phase: index === 2 ? "Pending" : "Running",
      }),
    );
    const contested = cluster({ nodes, endpoints: [db, ...rivals] });
    const settled = world({ nodes, endpoints: [db, ...rivals] }, FROM_WEB);
    const unsettled = { ...contested, policies: settled.policies, namespaces: settled.namespaces };
    expect(verdictOf(settled, line)).toBe("accept");
    expect(evaluate(unsettled, packetIn(settled, line)).verdict).toBe("accept");
  });
});

test("row 36: a pod is isolated with its first packet", () => {
  const without = world({ nodes, endpoints: [web] }, DENY_ALL);
  expect(verdictOf(without, "tcp 198.51.100.7 > 10.1.1.2:80")).toBe("accept");
  const withPod = world({ nodes, endpoints: [web, db] }, DENY_ALL);
  expect(verdictOf(withPod, "tcp 198.51.100.7 > 10.1.1.2:80")).toBe("drop");
});

test("row 37: replies of an allowed connection pass where nothing else would, and go on after a change of policy", () => {
  const allowed = world({ nodes, endpoints: [web, db] }, FROM_WEB);
  const oneWay = world(
    { nodes, endpoints: [web, db] },
    FROM_WEB + policyYaml("default/no-egress", "podSelector: {matchLabels: {app: db}}\npolicyTypes: [Egress]"),
  );
  const connections = new ReferenceConnections(oneWay);
  const request = packetIn(oneWay, "tcp default/web > default/db:80");
  expect(evaluate(oneWay, answerTo(request)).verdict).toBe("drop");
  expect(connections.push(request).verdict).toBe("accept");
  expect(connections.push(answerTo(request)).verdict).toBe("accept");
  connections.setModel(world({ nodes, endpoints: [web, db] }, DENY_ALL));
  expect(connections.push(request).verdict).toBe("accept");
  expect(connections.push(answerTo(request)).verdict).toBe("accept");
  connections.setModel(allowed);
  expect(connections.push(syn("10.1.1.2", "10.1.0.2", 80)).verdict).toBe("accept");
});

test("row 38: of a packet between a pod and an outside address only the pod's side counts", () => {
  const noIngress = policyYaml("default/i", "podSelector: {}\npolicyTypes: [Ingress]");
  const noEgress = policyYaml("default/e", "podSelector: {}\npolicyTypes: [Egress]");
  const incoming = "tcp 198.51.100.7 > default/web:80";
  const outgoing = "tcp default/web > 198.51.100.7:80";
  const under = (yaml: string) => world({ nodes, endpoints: [web] }, yaml);
  expect(directionsOf(under(noIngress), incoming)).toEqual({ egress: "accept", ingress: "drop" });
  expect(directionsOf(under(noIngress), outgoing)).toEqual({ egress: "accept", ingress: "accept" });
  expect(directionsOf(under(noEgress), incoming)).toEqual({ egress: "accept", ingress: "accept" });
  expect(directionsOf(under(noEgress), outgoing)).toEqual({ egress: "drop", ingress: "accept" });
  expect(verdictOf(under(noIngress + noEgress), "tcp 198.51.100.7 > 203.0.113.9:80")).toBe("accept");
});
