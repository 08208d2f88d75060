import fc from "fast-check";
import { describe, expect, it, test } from "vitest";
import { loadCluster, resolvePolicies } from "../../compiler/compile.ts";
import type { ClusterModel, NetworkPolicy } from "../../compiler/model.ts";
import type { ResolvedCluster } from "../../compiler/resolve.ts";
import { ciliumEbpf } from "../../compiler/strategies/cilium-ebpf.ts";
import { kubeRouter } from "../../compiler/strategies/kube-router.ts";
import type { Strategy } from "../../compiler/strategies/strategy.ts";
import { evaluate } from "../../reference/evaluate.ts";
import { clusterArbitrary } from "../../verify/fuzz/cluster.ts";
import type { LintFinding } from "../../verify/lint/finding.ts";
import { lintCluster } from "../../verify/lint.ts";
import { isOnTheWay, packetOf, packetSpaces } from "../../verify/space.ts";
import { isWhole, runsOf } from "../extent.ts";

const PODS = `
apiVersion: v1
kind: Pod
metadata: { name: web, namespace: shop, labels: { app: web } }
spec: { nodeName: a, containers: [{ name: c, ports: [{ name: http, containerPort: 8080 }] }] }
status: { phase: Running, podIP: 10.1.0.2 }
---
apiVersion: v1
kind: Pod
metadata: { name: db, namespace: shop, labels: { app: db } }
spec: { nodeName: a, containers: [{ name: c, ports: [{ containerPort: 3306 }] }] }
status: { phase: Running, podIP: 10.1.0.3 }
`;

function clusterWith(...specs: readonly string[]): ResolvedCluster {
  const policies = specs.map(
    (spec, index) => `---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: p${index}, namespace: shop }
spec:
${spec}
`,
  );
  const { model, issues } = loadCluster([{ name: "shop.yaml", text: PODS + policies.join("") }]);
  if (model === undefined) throw new Error(issues.map(({ message }) => message).join("; "));
  return resolvePolicies(model);
}

function lint(...specs: readonly string[]): readonly string[] {
  return lintCluster(clusterWith(...specs), { strategies: [] }).findings.map(({ code, path }) => `${code} ${path}`);
}

const DB = "  podSelector: { matchLabels: { app: db } }";
const FROM_WEB = "from: [{ podSelector: { matchLabels: { app: web } } }]";

describe("finds", () => {
  it("selectors that select nobody", () => {
    expect(lint("  podSelector: { matchLabels: { app: dbb } }\n  ingress: [{}]")).toEqual([
      "selects-nobody spec.podSelector",
    ]);
    expect(
      lint(`${DB}\n  ingress:\n  - from: [{ podSelector: { matchLabels: { app: wbe } } }, { podSelector: {} }]`),
    ).toEqual(["selects-nobody spec.ingress[0].from[0]"]);
  });

  it("rules that no packet can match", () => {
    expect(lint(`${DB}\n  ingress:\n  - ports: [{ port: http }]\n    ${FROM_WEB}`)).toEqual([
      "rule-never-matches spec.ingress[0]",
    ]);
    // Of the direction that policyTypes lacks, whatever they say.
    expect(lint(`${DB}\n  policyTypes: [Ingress]\n  ingress: [{ ${FROM_WEB} }]\n  egress: [{}, {}]`)).toEqual([
      "rule-never-matches spec.egress[0]",
      "rule-never-matches spec.egress[1]",
    ]);
  });

  it("peers that others of the rule contain, the later one of two equal ones", () => {
    const peers = "[{ ipBlock: { cidr: 10.0.0.0/8 } }, { podSelector: {} }, { ipBlock: { cidr: 10.0.0.0/8 } }]";
    expect(lint(`${DB}\n  ingress:\n  - from: ${peers}`)).toEqual([
      "peer-shadowed spec.ingress[0].from[1]",
      "peer-shadowed spec.ingress[0].from[2]",
    ]);
  });

  it("peers that only several others together contain", () => {
    const peers =
      "[{ ipBlock: { cidr: 10.0.0.0/9 } }, { ipBlock: { cidr: 10.128.0.0/9 } }, { ipBlock: { cidr: 10.64.0.0/10 } }]";
    expect(lint(`${DB}\n  ingress:\n  - from: ${peers}`)).toEqual(["peer-shadowed spec.ingress[0].from[2]"]);
    // Two halves contain the whole only where the space has an atom for nothing else of it: they do.
    const whole =
      "[{ ipBlock: { cidr: 10.0.0.0/9 } }, { ipBlock: { cidr: 10.128.0.0/9 } }, { ipBlock: { cidr: 10.0.0.0/8 } }]";
    expect(lint(`${DB}\n  ingress:\n  - from: ${whole}`)).toEqual(["peer-shadowed spec.ingress[0].from[2]"]);
  });

  it("rules that others of the policy contain", () => {
    const rules = `  - ${FROM_WEB}\n  - ${FROM_WEB}\n    ports: [{ port: 3306 }]`;
    expect(lint(`${DB}\n  ingress:\n${rules}`)).toEqual(["rule-shadowed spec.ingress[1]"]);
  });

  it("policies that change nothing, the later one of two equal ones", () => {
    const spec = `${DB}\n  ingress:\n  - ${FROM_WEB}`;
    expect(lint(spec, spec)).toEqual(["policy-changes-nothing spec"]);
    expect(lintCluster(clusterWith(spec, spec), { strategies: [] }).findings[0]?.message).toContain("shop/p1");
    // Denial beside an allow of the same pod adds nothing; for the other pod it does.
    expect(lint(`${DB}\n  policyTypes: [Ingress]`, spec)).toEqual(["policy-changes-nothing spec"]);
    expect(lint("  podSelector: {}\n  policyTypes: [Ingress]", spec)).toEqual([]);
  });

  it("a policy that allows everything to pods that nobody else isolates", () => {
    const open = `${DB}\n  policyTypes: [Ingress, Egress]\n  ingress: [{}]\n  egress: [{}]`;
    const changesNothing = "policy-changes-nothing spec";
    expect(lint(open)).toEqual([changesNothing]);
    expect(lintCluster(clusterWith(open), { strategies: [] }).findings[0]?.message).toBe(
      "without policy shop/p0 every packet would fare the same: it allows everything to pods that no other policy isolates",
    );
    // It opens what another one closes, which then is the one that changes nothing.
    expect(lint(`${DB}\n  policyTypes: [Egress]`, open)).toEqual([changesNothing]);
    expect(lint(`${DB}\n  ingress: [{ ports: [{ protocol: TCP, port: 1, endPort: 65535 }] }]`)).toEqual([]);
  });

  it("exceptions that another peer, rule or policy reopens, and not those of other ports", () => {
    const block = "from: [{ ipBlock: { cidr: 10.0.0.0/8, except: [10.1.0.0/16] } }";
    const reopened = "except-reopened spec.ingress[0].from[0].ipBlock.except[0]";
    expect(lint(`${DB}\n  ingress:\n  - ${block}, { podSelector: { matchLabels: { app: web } } }]`)).toEqual([
      reopened,
    ]);
    expect(
      lint(`${DB}\n  ingress:\n  - ${block}]\n    ports: [{ port: 3306 }]`, `${DB}\n  ingress:\n  - ${FROM_WEB}`),
    ).toEqual([reopened]);
    expect(
      lint(
        `${DB}\n  ingress:\n  - ${block}]\n    ports: [{ port: 3306 }]`,
        `${DB}\n  ingress:\n  - ${FROM_WEB}\n    ports: [{ port: 3306, protocol: UDP }]`,
      ),
    ).toEqual(["port-not-exposed spec.ingress[0].ports[0]"]);
  });

  it("ports that no container declares, of the pods that a rule leads to", () => {
    expect(lint(`${DB}\n  ingress:\n  - ports: [{ port: 3307 }, { port: 3000, endPort: 4000 }]`)).toEqual([
      "port-not-exposed spec.ingress[0].ports[0]",
    ]);
    const toDb = "to: [{ podSelector: { matchLabels: { app: db } } }]";
    expect(lint(`  podSelector: {}\n  egress:\n  - ports: [{ port: 80 }]\n    ${toDb}`)).toEqual([
      "port-not-exposed spec.egress[0].ports[0]",
    ]);
    // By name, of the pods that are led to: web declares it, db does not; where no other port is left the rule is told.
    expect(lint(`${DB}\n  ingress:\n  - ports: [{ port: http }, { port: 3306 }]`)).toEqual([
      "port-not-exposed spec.ingress[0].ports[0]",
    ]);
    expect(lint("  podSelector: {}\n  ingress:\n  - ports: [{ port: http }, { port: 3306 }]")).toEqual([]);
    // Outside nobody declares anything.
    expect(lint("  podSelector: {}\n  egress:\n  - ports: [{ port: 80 }]")).toEqual([]);
  });

  it("maps and sets that are nearly full", () => {
    const blocks = ["172.16.0.1/32", "172.16.0.2/32", "172.16.0.3/32", "172.16.0.4/32"];
    const cluster = clusterWith(
      `${DB}\n  ingress:\n  - from: [${blocks.map((cidr) => `{ ipBlock: { cidr: ${cidr} } }`).join(", ")}]`,
    );
    const full = (room: number) =>
      [withRoom(ciliumEbpf, room), withRoom(kubeRouter, room)].flatMap((strategy) =>
        lintCluster(cluster, { strategies: [strategy] }).findings.map(({ code, line }) => [strategy.name, code, line]),
      );
    const line = cluster.policies[0]?.policy.source.line;
    expect(full(5)).toContainEqual(["kube-router", "map-nearly-full", line]);
    expect(full(5)).toContainEqual(["cilium-ebpf", "map-nearly-full", line]);
    expect(full(100)).toEqual([]);
  });
});

/** The strategy in a kernel whose maps and sets hold less. */
function withRoom(strategy: Strategy, room: number): Strategy {
  return {
    ...strategy,
    lower: (cluster, options) => {
      const program = strategy.lower(cluster, options);
      return program.kind === "tables"
        ? { ...program, sets: program.sets.map((set) => ({ ...set, options: { ...set.options, maxElements: room } })) }
        : { ...program, maps: program.maps.map((map) => ({ ...map, maxEntries: room })) };
    },
  };
}

/** Whether two clusters treat some class of packets differently, by the API text. */
function differ(a: ResolvedCluster, b: ResolvedCluster): boolean {
  for (const { addresses, services } of packetSpaces(a, [])) {
    for (const from of addresses) {
      for (const to of addresses) {
        if (!isOnTheWay(from, to)) continue;
        for (const service of services) {
          const packet = packetOf(from, to, service);
          if (evaluate(a.model, packet).verdict !== evaluate(b.model, packet).verdict) return true;
        }
      }
    }
  }
  return false;
}

type Part = { readonly key: string; readonly path: string };

/** The model without the part that a finding is about. */
function without(model: ClusterModel, { key, path }: Part): ClusterModel {
  const [, direction = "", rule = "", peer] =
    /^spec(?:\.(ingress|egress)\[(\d+)\](?:\.(?:from|to)\[(\d+)\])?)?$/.exec(path) ?? [];
  const trim = (policy: NetworkPolicy): readonly NetworkPolicy[] => {
    if (policy.key !== key) return [policy];
    if (direction !== "ingress" && direction !== "egress") return [];
    const rules = policy[direction].flatMap((one, index) => {
      if (index !== Number(rule)) return [one];
      return peer === undefined ? [] : [{ ...one, peers: one.peers.filter((_, at) => at !== Number(peer)) }];
    });
    return [{ ...policy, [direction]: rules }];
  };
  return { ...model, policies: model.policies.flatMap(trim) };
}

function superfluous(cluster: ResolvedCluster): readonly Part[] {
  const codes: readonly LintFinding["code"][] = ["peer-shadowed", "rule-shadowed", "policy-changes-nothing"];
  // Built clusters have no lines; places are made distinct so that a finding names its policy.
  const marked = resolvePolicies({
    ...cluster.model,
    policies: cluster.model.policies.map((policy) => ({
      ...policy,
      source: { file: policy.key, line: 1, column: 1 },
      ingress: policy.ingress.map((rule) => markRule(rule, policy.key)),
      egress: policy.egress.map((rule) => markRule(rule, policy.key)),
    })),
  });
  return lintCluster(marked, { strategies: [] })
    .findings.filter(({ code }) => codes.includes(code))
    .map(({ file, path }) => ({ key: file, path }));
}

function markRule(rule: NetworkPolicy["ingress"][number], file: string): NetworkPolicy["ingress"][number] {
  const source = { file, line: 1, column: 1 };
  return { ...rule, source, peers: rule.peers.map((peer) => ({ ...peer, source })) };
}

test("whatever is said to be superfluous can be taken away, and no packet fares differently", () => {
  let tried = 0;
  fc.assert(
    fc.property(clusterArbitrary(), (model) => {
      const cluster = resolvePolicies(model);
      for (const part of superfluous(cluster)) {
        expect({ part, differs: differ(cluster, resolvePolicies(without(model, part))) }).toEqual({
          part,
          differs: false,
        });
        tried++;
      }
    }),
    { numRuns: isWhole ? 40 : 8 },
  );
  expect(tried).toBeGreaterThan(0);
});

test("a copy of any policy that selects somebody changes nothing, and that is found", () => {
  fc.assert(
    fc.property(clusterArbitrary(), fc.nat(), (model, at) => {
      const cluster = resolvePolicies(model);
      const selecting = cluster.policies.filter(({ subjects }) => subjects.length > 0);
      const chosen = selecting[at % Math.max(1, selecting.length)]?.policy;
      if (chosen === undefined || chosen.types.length === 0) return;
      const copy = { ...chosen, name: "zz-copy", key: `${chosen.namespace}/zz-copy` };
      const parts = superfluous(resolvePolicies({ ...model, policies: [...model.policies, copy] }));
      expect(parts).toContainEqual({ key: copy.key, path: "spec" });
    }),
    { numRuns: runsOf(60) },
  );
});
