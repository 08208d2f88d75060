import { expect, test } from "vitest";
import type { ContainerPort } from "../../compiler/model.ts";
import { containerPort, pod } from "../../verify/fuzz/builders.ts";
import { issuesOf, policyYaml, verdictOf, world } from "./world.ts";

const web = pod("default/web", ["10.1.0.2"], { labels: { app: "web" } });

function server(key: string, address: string, ports: readonly ContainerPort[] = []) {
  return pod(key, [address], { labels: { app: "server" }, ports });
}

const endpoints = [web, server("default/db", "10.1.0.3", [containerPort("sql", 3306)])];

/** Whether the packet passes when the servers' one ingress rule has these ports. */
function passes(ports: string, line: string, pods = endpoints): boolean {
  const yaml = policyYaml("default/p", `podSelector: {matchLabels: {app: server}}\ningress: [{ports: ${ports}}]`);
  return verdictOf(world({ endpoints: pods }, yaml), line) === "accept";
}

test("row 25: without protocol a port is TCP, and an empty port entry is all of TCP", () => {
  expect(passes("[{port: 53}]", "tcp default/web > default/db:53")).toBe(true);
  expect(passes("[{port: 53}]", "udp default/web > default/db:53")).toBe(false);
  expect(passes("[{}]", "tcp default/web > default/db:9")).toBe(true);
  expect(passes("[{}]", "udp default/web > default/db:9")).toBe(false);
  expect(passes("[{}]", "sctp default/web > default/db:9")).toBe(false);
  expect(passes("[{}]", "icmp default/web > default/db")).toBe(false);
});

test("row 26: a protocol without port is every port of that protocol", () => {
  expect(passes("[{protocol: UDP}]", "udp default/web > default/db:1")).toBe(true);
  expect(passes("[{protocol: UDP}]", "udp default/web > default/db:65535")).toBe(true);
  expect(passes("[{protocol: UDP}]", "tcp default/web > default/db:1")).toBe(false);
});

test("row 27: a named port is the destination's container port of that name and protocol", () => {
  expect(passes("[{port: sql}]", "tcp default/web > default/db:3306")).toBe(true);
  expect(passes("[{port: sql}]", "tcp default/web > default/db:3307")).toBe(false);
  expect(passes("[{port: sql, protocol: UDP}]", "udp default/web > default/db:3306")).toBe(false);
  expect(passes("[{port: nosuch}]", "tcp default/web > default/db:3306")).toBe(false);
  // The source's ports do not count.
  const named = [pod("default/client", ["10.1.0.9"], { ports: [containerPort("http", 80)] }), ...endpoints];
  expect(passes("[{port: http}]", "tcp default/client > default/db:80", named)).toBe(false);
});

test("row 27: for egress a name is looked up on each destination, and the numbers may differ", () => {
  const pods = [
    web,
    server("default/one", "10.1.0.3", [containerPort("http", 80)]),
    server("default/two", "10.1.0.4", [containerPort("http", 8080)]),
  ];
  const yaml = policyYaml("default/p", "podSelector: {matchLabels: {app: web}}\negress: [{ports: [{port: http}]}]");
  const model = world({ endpoints: pods }, yaml);
  expect(verdictOf(model, "tcp default/web > default/one:80")).toBe("accept");
  expect(verdictOf(model, "tcp default/web > default/one:8080")).toBe("drop");
  expect(verdictOf(model, "tcp default/web > default/two:8080")).toBe("accept");
  expect(verdictOf(model, "tcp default/web > default/two:80")).toBe("drop");
  expect(verdictOf(model, "tcp default/web > 198.51.100.7:80")).toBe("drop");
});

test("row 27: sidecars have named ports, init containers that end do not", () => {
  const pods = (container: ContainerPort["container"]) => [
    web,
    server("default/db", "10.1.0.3", [containerPort("sql", 3306, "TCP", container)]),
  ];
  const line = "tcp default/web > default/db:3306";
  expect(passes("[{port: sql}]", line, pods("container"))).toBe(true);
  expect(passes("[{port: sql}]", line, pods("sidecar"))).toBe(true);
  expect(passes("[{port: sql}]", line, pods("init"))).toBe(false);
});

test("row 27: a name that no pod has matches nothing, and a warning says so", () => {
  const issues = (name: string) =>
    issuesOf(policyYaml("default/p", `podSelector: {}\ningress: [{ports: [{port: ${name}}]}]`), { endpoints });
  expect(issues("sql")).toEqual([]);
  const [issue, ...others] = issues("nosuch");
  expect(others).toEqual([]);
  expect(issue?.severity).toBe("warning");
  expect(issue?.message).toContain("nosuch");
  expect(passes("[{port: nosuch}]", "tcp default/web > default/db:3306")).toBe(false);
});

test("row 28: a range runs from port to endPort, both included", () => {
  const verdicts = [79, 80, 90, 91].map((port) =>
    passes("[{port: 80, endPort: 90}]", `tcp default/web > default/db:${port}`),
  );
  expect(verdicts).toEqual([false, true, true, false]);
  expect(passes("[{port: 80, endPort: 80}]", "tcp default/web > default/db:80")).toBe(true);
});

test("row 28: endPort below port, without port, with a name, or outside 1 to 65535 is invalid", () => {
  const paths = (port: string) =>
    issuesOf(policyYaml("default/p", `podSelector: {}\ningress: [{ports: [${port}]}]`))
      .filter((issue) => issue.severity === "error")
      .map((issue) => issue.path);
  const at = "spec.ingress[0].ports[0]";
  expect(paths("{port: 80, endPort: 79}")).toEqual([`${at}.endPort`]);
  expect(paths("{endPort: 80}")).toEqual([`${at}.endPort`]);
  expect(paths("{port: sql, endPort: 80}")).toEqual([`${at}.endPort`]);
  expect(paths("{port: 0}")).toEqual([`${at}.port`]);
  expect(paths("{port: 65536}")).toEqual([`${at}.port`]);
  expect(paths("{port: 80, endPort: 65536}")).toEqual([`${at}.endPort`]);
  expect(paths("{port: 80, endPort: 80}")).toEqual([]);
});

test("row 29: the port is the pod's, whatever a Service calls it, and the pod need not declare it", () => {
  const service = `---
apiVersion: v1
kind: Service
metadata: {namespace: default, name: db}
spec: {selector: {app: server}, ports: [{port: 80, targetPort: 8080}]}
`;
  const allow = policyYaml(
    "default/p",
    "podSelector: {matchLabels: {app: server}}\ningress: [{ports: [{port: 8080}]}]",
  );
  const model = world({ endpoints }, service + allow);
  expect(verdictOf(model, "tcp default/web > default/db:8080")).toBe("accept");
  expect(verdictOf(model, "tcp default/web > default/db:80")).toBe("drop");
});

test("row 30: TCP, UDP and SCTP are told apart, and an allow for SCTP alone isolates TCP", () => {
  const ports = "[{port: 80, protocol: SCTP}]";
  expect(passes(ports, "sctp default/web > default/db:80")).toBe(true);
  expect(passes(ports, "tcp default/web > default/db:80")).toBe(false);
  expect(passes(ports, "udp default/web > default/db:80")).toBe(false);
});

test("row 31: in the reference ICMP and other protocols match a rule without ports, and no rule with ports", () => {
  for (const line of [
    "icmp default/web > default/db",
    "gre default/web > default/db",
    "udplite default/web > default/db:80",
  ]) {
    expect(passes("[]", line)).toBe(true);
    expect(passes("[{}, {protocol: UDP}, {protocol: SCTP}]", line)).toBe(false);
  }
  const yaml = policyYaml("default/p", "podSelector: {matchLabels: {app: server}}\npolicyTypes: [Ingress]");
  expect(verdictOf(world({ endpoints }, yaml), "icmp default/web > default/db")).toBe("drop");
});
