/** Ports of one class have one verdict, whoever is asked. */
import { describe, expect, it } from "vitest";
import { clusterOf } from "../../bench/workloads.ts";
import { resolvePolicies } from "../../compiler/resolve.ts";
import { STRATEGIES } from "../../compiler/strategies/registry.ts";
import { makePacket, PROTOCOL } from "../../dataplane/packet.ts";
import { type Lane, referenceLane, strategyLane } from "../../verify/lane.ts";
import { portClasses } from "../../verify/portsAlike.ts";

const cluster = resolvePolicies(
  clusterOf({ pods: 16, policies: 12, namespaces: 2, nodes: 2, shape: "mixed", seed: 3 }),
);
const lanes: readonly Lane[] = [
  referenceLane(cluster),
  ...STRATEGIES.map((strategy) => strategyLane(cluster, strategy, {})),
];

/** Ports that policies and pods name, the ends of their ranges, the neighbours of each, and some that nobody names. */
const ports = (() => {
  const { policies, endpoints } = cluster.model;
  const rules = policies.flatMap(({ ingress, egress }) => [...ingress, ...egress]);
  const named = [
    ...rules.flatMap((rule) =>
      rule.ports.flatMap(({ port, endPort }) => (typeof port === "number" ? [port, endPort ?? port] : [])),
    ),
    ...endpoints.flatMap((pod) => pod.ports.map(({ port }) => port)),
  ];
  return [...new Set([...named.flatMap((port) => [port - 1, port, port + 1]), 7, 65_535])].sort((a, b) => a - b);
})();

function rows(lane: Lane, port: number): readonly string[] {
  const addresses = cluster.pods.flatMap(({ addresses }) => addresses.filter(({ family }) => family === 4));
  return addresses.map((source) => {
    lane.flush();
    const packets = addresses.map((destination) =>
      makePacket({ protocol: PROTOCOL.tcp, source, destination, destinationPort: port }),
    );
    return lane.verdicts(packets).join();
  });
}

describe("classes of ports", () => {
  it.each(lanes.map((lane) => [lane.name, lane] as const))("%s answers a class as one", (_name, lane) => {
    const classOf = portClasses(lane, cluster, 4);
    const first = new Map<string, readonly string[]>();
    for (const port of ports) {
      const name = classOf({ protocol: PROTOCOL.tcp, port });
      const answers = rows(lane, port);
      expect(answers, `port ${port}`).toEqual(first.get(name) ?? answers);
      if (!first.has(name)) first.set(name, answers);
    }
    // Somebody is told apart, and somebody is not.
    expect(first.size).toBeGreaterThan(1);
    expect(first.size).toBeLessThan(ports.length);
  });

  it("keeps protocols apart, and those without ports together", () => {
    const classOf = portClasses(referenceLane(cluster), cluster, 4);
    expect(classOf({ protocol: PROTOCOL.udp, port: 7 })).not.toBe(classOf({ protocol: PROTOCOL.tcp, port: 7 }));
    expect(classOf({ protocol: PROTOCOL.icmp, port: 0 })).not.toBe(classOf({ protocol: PROTOCOL.gre, port: 0 }));
  });
});
