/** Rules that no packet can match: what is told is dead, and what is dead in a way one can see is told. */

import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { loadCluster } from "../../compiler/compile.ts";
import { importProgram } from "../../compiler/import/importProgram.ts";
import { resolvePolicies } from "../../compiler/resolve.ts";
import { STRATEGIES } from "../../compiler/strategies/registry.ts";
import { Fabric } from "../../dataplane/fabric.ts";
import type { Packet } from "../../dataplane/packet.ts";
import type { TableProgram } from "../../dataplane/program.ts";
import { answerTo } from "../../verify/answer.ts";
import { clusterArbitrary } from "../../verify/fuzz/cluster.ts";
import { edgePackets } from "../../verify/fuzz/edges.ts";
import { packetDomain } from "../../verify/kernel/packetDomain.ts";
import { PacketSource } from "../../verify/kernel/packetSource.ts";
import { Random } from "../../verify/kernel/random.ts";
import { deadRules } from "../../verify/lint/deadRules.ts";
import { lintCompiledRules } from "../../verify/lint/rules.ts";
import { denseProgramArbitrary } from "../arbitraries/denseProgram.ts";
import { ATTACHMENT, PROGRAM_NODE } from "../arbitraries/program.ts";
import { runsOf } from "../extent.ts";
import "../seed.ts";

function programOf(filter: string, sets = ""): TableProgram {
  const { program, issues } = importProgram({
    iptablesSave: {
      name: "save",
      text: `*filter\n${filter
        .trim()
        .split("\n")
        .map((line) => line.trim())
        .join("\n")}\nCOMMIT\n`,
    },
    ipsetSave: { name: "ipset", text: sets },
    node: PROGRAM_NODE,
    strategy: "kube-router",
    attachment: ATTACHMENT,
  });
  if (program === undefined) throw new Error(issues.map(({ message }) => message).join("; "));
  return program;
}

function told(filter: string, sets?: string): readonly string[] {
  return (deadRules(programOf(filter, sets)) ?? []).map(({ chain, number, why }) => `${chain} ${number}: ${why}`);
}

const HEAD = ":INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]";

describe("is told:", () => {
  it.each([
    [
      "conditions that exclude each other",
      "-A FORWARD -m conntrack --ctstate NEW -m state --state ESTABLISHED -j DROP",
      "FORWARD 1: its conditions",
    ],
    [
      "the same after a wider rule",
      "-A FORWARD -s 10.0.0.0/8 -j ACCEPT\n-A FORWARD -s 10.1.0.0/16 -p tcp -j DROP",
      "FORWARD 2: rule 1 above",
    ],
    [
      "what two rules have taken between them",
      "-A FORWARD -p tcp -m tcp --dport 1:100 -j ACCEPT\n-A FORWARD -p tcp -m tcp --dport 101:200 -j RETURN\n-A FORWARD -p tcp -m tcp --dport 50:150 -j DROP",
      "FORWARD 3: the rules above",
    ],
    [
      "what a chain is not entered with",
      ":A - [0:0]\n-A FORWARD -p udp -j A\n-A A -p tcp -j DROP",
      "A 1: only packets that it excludes",
    ],
    ["a chain that nothing enters", ":A - [0:0]\n-A A -p tcp -j DROP", "A 0: no packet ever enters"],
    [
      "what comes after a chain for everything",
      ":A - [0:0]\n-A FORWARD -j A\n-A FORWARD -p tcp -j ACCEPT\n-A A -j DROP",
      "FORWARD 2: rule 1 above",
    ],
    [
      "another state than the chain's",
      ":A - [0:0]\n-A FORWARD -m conntrack --ctstate NEW -j A\n-A A -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
      "A 1: only packets",
    ],
    ["another device", ":A - [0:0]\n-A FORWARD -i cali+ -j A\n-A A -i eth0 -j ACCEPT", "A 1: only packets"],
  ])("%s", (_, rules, wanted) => {
    const chains = rules.split("\n").filter((line) => line.startsWith(":"));
    const lines = rules.split("\n").filter((line) => !line.startsWith(":"));
    const [first, ...more] = told([HEAD, ...chains, ...lines].join("\n"));
    expect(first).toContain(wanted);
    expect(more).toEqual([]);
  });

  it("a set without members, and one that another contains", () => {
    const sets = "create none hash:ip\ncreate all hash:net\nadd all 10.0.0.0/8\ncreate few hash:ip\nadd few 10.1.0.2\n";
    const rules = [
      "-A FORWARD -m set --match-set none src -j ACCEPT",
      "-A FORWARD -m set --match-set all src -j ACCEPT",
      "-A FORWARD -m set --match-set few src -j DROP",
    ];
    expect(told([HEAD, ...rules].join("\n"), sets)).toEqual([
      expect.stringContaining("FORWARD 1: its conditions"),
      expect.stringContaining("FORWARD 3: rule 2 above"),
    ]);
  });
});

describe("is not told:", () => {
  it.each([
    ["a rule after one for less", "-A FORWARD -s 10.1.0.0/16 -j ACCEPT\n-A FORWARD -s 10.0.0.0/8 -j DROP"],
    ["a rule after one that asks for a mark", "-A FORWARD -m mark --mark 0x1/0x1 -j ACCEPT\n-A FORWARD -j DROP"],
    [
      "later fragments after all ports",
      "-A FORWARD -p tcp -m tcp --dport 0:65535 -j ACCEPT\n-A FORWARD -p tcp -j DROP",
    ],
    [
      "a rule after a jump that comes back",
      ":A - [0:0]\n-A FORWARD -j A\n-A FORWARD -j DROP\n-A A -p tcp -j RETURN\n-A A -j RETURN",
    ],
    ["a rule after one that goes on", "-A FORWARD -j MARK --set-xmark 0x1/0x1\n-A FORWARD -j DROP"],
  ])("%s", (_, rules) => {
    const chains = rules.split("\n").filter((line) => line.startsWith(":"));
    const lines = rules.split("\n").filter((line) => !line.startsWith(":"));
    expect(told([HEAD, ...chains, ...lines].join("\n"))).toEqual([]);
  });
});

describe("findings", () => {
  const clusterAt = (scenario: string) => {
    const file = `scenarios/${scenario}/cluster.yaml`;
    const { model } = loadCluster([{ name: file, text: readFileSync(file, "utf8") }]);
    if (model === undefined) throw new Error(`no cluster ${scenario}`);
    return resolvePolicies(model);
  };
  const findingsOf = (scenario: string) =>
    STRATEGIES.flatMap((strategy) => lintCompiledRules(clusterAt(scenario), strategy).findings);

  it("stand where the policy does that is behind the rule", () => {
    expect(findingsOf("kube-router-except-hides-sibling-blocks")).toEqual([
      {
        code: "dead-rule",
        severity: "warning",
        file: "scenarios/kube-router-except-hides-sibling-blocks/cluster.yaml",
        line: 49,
        column: 11,
        path: "spec.ingress[0].from[1]",
        message: expect.stringMatching(
          /^weave-net on node-a, node-b: IPv4 rule 2 of filter WEAVE-NPC-INGRESS can never/,
        ),
      },
    ]);
  });

  it("are not about rules that match on another node", () => {
    expect(findingsOf("named-ports")).toEqual([]);
  });
});

/** Rules that a packet matched although they were told. */
function matched(programs: readonly TableProgram[], packets: readonly Packet[]): readonly string[] {
  const dead = new Set(
    programs.flatMap((program) =>
      (deadRules(program) ?? []).map(
        ({ family, table, chain, number }) => `${program.node} ${family} ${table} ${chain} ${number}`,
      ),
    ),
  );
  const fabric = new Fabric(programs, { walk: true });
  const alive: string[] = [];
  for (const packet of packets) {
    const { hops } = fabric.push(packet);
    for (const { node, walk = [] } of hops) {
      for (const [table, chain, number] of walk) {
        const place = `${node} ${packet.source.family} ${table} ${chain}`;
        if (dead.has(`${place} ${number}`) || dead.has(`${place} 0`)) alive.push(`${place} ${number}`);
      }
    }
  }
  return alive;
}

describe("no packet matches what is told", () => {
  it("of random programs", () => {
    let count = 0;
    fc.assert(
      fc.property(denseProgramArbitrary({ families: [4, 6] }), fc.nat(), (program, seed) => {
        const source = new PacketSource(packetDomain([program]), new Random(seed));
        count += deadRules(program)?.length ?? 0;
        expect(
          matched(
            [program],
            Array.from({ length: 300 }, () => source.next()),
          ),
        ).toEqual([]);
      }),
      { numRuns: runsOf(60) },
    );
    expect(count).toBeGreaterThan(20);
  });

  it("of random clusters, packets and their answers", () => {
    fc.assert(
      fc.property(clusterArbitrary(), fc.constantFrom(...STRATEGIES), fc.nat(), (model, strategy, seed) => {
        const cluster = resolvePolicies(model);
        const programs = model.nodes
          .map(({ name }) => strategy.lower(cluster, { node: name }))
          .filter((program) => program.kind === "tables");
        const packets = edgePackets(model, new Random(seed), 24).flatMap((packet) => [packet, answerTo(packet)]);
        expect(matched(programs, packets)).toEqual([]);
      }),
      { numRuns: runsOf(40) },
    );
  });
});
