/** Tables decided for sets of pairs at once are those of packets pushed one by one. */
import { describe, expect, it } from "vitest";
import { clusterOf } from "../../bench/workloads.ts";
import { compileNode } from "../../compiler/compile.ts";
import { type ResolvedCluster, resolvePolicies } from "../../compiler/resolve.ts";
import { kubeRouter } from "../../compiler/strategies/kube-router.ts";
import { STRATEGIES } from "../../compiler/strategies/registry.ts";
import { hasPorts, PROTOCOL } from "../../dataplane/packet.ts";
import type { Chain, Rule } from "../../dataplane/program.ts";
import type { Port } from "../../traffic/generate/sessions.ts";
import { type Lane, programsLane, referenceLane, strategyLane } from "../../verify/lane.ts";
import { matrixFamily, matrixPods, matrixPorts, matrixRow, TruthTables } from "../../verify/matrix.ts";
import { PairVerdicts } from "../../verify/pairs/pairVerdicts.ts";
import { PairQuestion } from "../../verify/pairs/question.ts";
import { documents, modelOf, podText, policyText } from "../compiler/manifests.ts";
import { sampled } from "../extent.ts";
import { bundledCluster, SCENARIOS } from "./bundled.ts";

const mixed = resolvePolicies(clusterOf({ pods: 16, policies: 12, namespaces: 2, nodes: 2, shape: "mixed", seed: 3 }));

const lanesOf = (cluster: ResolvedCluster): readonly Lane[] => [
  referenceLane(cluster),
  ...STRATEGIES.map((strategy) => strategyLane(cluster, strategy, {})),
];

/** What the cluster names, the ends of its ranges, the neighbours of each, and some that nobody names. */
function portsAround(cluster: ResolvedCluster): readonly Port[] {
  const named = matrixPorts(cluster);
  const protocols = [...new Set([PROTOCOL.tcp, ...named.map(({ protocol }) => protocol)])];
  return protocols.flatMap((protocol) => {
    if (!hasPorts(protocol)) return [{ protocol, port: 0 }];
    const own = named.filter((one) => one.protocol === protocol).map(({ port }) => port);
    const ports = [...own.flatMap((port) => [port - 1, port, port + 1]), 0, 7, 65_535];
    return [...new Set(ports)].sort((a, b) => a - b).map((port) => ({ protocol, port }));
  });
}

/** The tables of all ports, each asked about. */
function tables(lane: Lane, cluster: ResolvedCluster, ports: readonly Port[]): readonly (readonly string[])[] {
  const pods = matrixPods(cluster.pods, matrixFamily(cluster));
  return ports.map((port) => pods.map((_, index) => matrixRow(lane, pods, index, port)));
}

/** The same, all pairs together. */
function together(lane: Lane, cluster: ResolvedCluster, ports: readonly Port[]): readonly (readonly string[])[] {
  const pods = matrixPods(cluster.pods, matrixFamily(cluster));
  const truth = new TruthTables(lane, cluster, { pods, ports });
  const rows = pods.map((_, index) => truth.rows(index));
  return ports.map((_, port) => rows.map((row) => row[port] ?? ""));
}

/** Whether no packet had to be pushed. */
function isDecided({ programs }: Lane, cluster: ResolvedCluster, ports: readonly Port[]): boolean {
  const pods = matrixPods(cluster.pods, matrixFamily(cluster));
  const question = new PairQuestion(
    [...new Map(pods.map(({ address }) => [address.words.join(), address])).values()],
    ports,
  );
  return PairVerdicts.of(programs, question)?.of(question.allEnds) !== undefined;
}

describe("pairs decided together", () => {
  it.each(lanesOf(mixed).map((lane) => [lane.name, lane] as const))("%s says what packets are told", (_name, lane) => {
    const ports = portsAround(mixed);
    const found = together(lane, mixed, ports);
    expect(found).toEqual(tables(lane, mixed, ports));
    expect(new Set(found.flat().join("")).size).toBeGreaterThan(1);
    if (lane.programs.length > 0) expect(isDecided(lane, mixed, ports)).toBe(true);
  });

  it("what cannot be decided is pushed", () => {
    const limited: Rule = {
      matches: [
        { kind: "ports", side: "destination", ranges: [{ first: 80, last: 80 }], extension: "tcp", negate: false },
        { kind: "limit", rate: "1/min", burst: 1000 },
      ],
      target: { kind: "drop" },
    };
    const programs = mixed.model.nodes.flatMap(({ name }) => {
      const program = compileNode(mixed, kubeRouter, { node: name });
      if (program.kind !== "tables") return [];
      const withLimit = (chain: Chain): Chain => (chain.name === "FORWARD" ? { ...chain, rules: [limited] } : chain);
      const families = program.families.map((family) => ({
        ...family,
        tables: family.tables.map((table) => ({ ...table, chains: table.chains.map(withLimit) })),
      }));
      return [{ ...program, families }];
    });
    const lane = programsLane(programs, kubeRouter, { walk: false });
    const ports = [80, 81].map((port) => ({ protocol: PROTOCOL.tcp, port }));
    expect(isDecided(lane, mixed, ports)).toBe(false);
    const found = together(lane, mixed, ports);
    expect(found.map((rows) => rows.join("").replaceAll("#", "").slice(0, 1))).toEqual(["X", "."]);
    expect(found).toEqual(tables(programsLane(programs, kubeRouter, { walk: false }), mixed, ports));
  });

  it("an exception parts ports that what it is taken from has together", () => {
    const pod = (name: string, ip: string) =>
      podText(`spec: {nodeName: n1}\nstatus: {podIP: ${ip}}\n`, `{name: ${name}, namespace: default}`);
    const allow = (name: string, port: number, except: string) =>
      policyText(
        `  ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8${except}}}], ports: [{port: ${port}}]}]\n`,
        `name: ${name}`,
      );
    const cluster = resolvePolicies(
      modelOf(
        documents(
          pod("server", "10.0.0.1"),
          pod("excepted", "10.1.0.1"),
          pod("other", "10.2.0.1"),
          allow("web", 80, ", except: [10.1.0.0/16]"),
          allow("also", 81, ""),
        ),
      ),
    );
    const ports = [80, 81].map((port) => ({ protocol: PROTOCOL.tcp, port }));
    for (const lane of lanesOf(cluster)) {
      const whole = tables(lane, cluster, ports);
      if (lane.name === "bpf-hash") expect(whole[0]).not.toEqual(whole[1]);
      expect(together(lane, cluster, ports), lane.name).toEqual(whole);
    }
  });

  // One of four in CI: all of them take 8 s, and say what these do.
  it.each(
    sampled(
      SCENARIOS.filter((_, index) => index % 4 === 0),
      5,
    ),
  )("in %s", (name) => {
    const cluster = bundledCluster(name);
    const ports = portsAround(cluster);
    for (const lane of lanesOf(cluster)) {
      expect(together(lane, cluster, ports), lane.name).toEqual(tables(lane, cluster, ports));
    }
  });
});
