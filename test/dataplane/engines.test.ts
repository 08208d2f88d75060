/** Every engine on the programs of every strategy, with connections that open, talk, end, and outlive their program. */
import { describe, expect, it } from "vitest";
import { Random } from "../../bench/workloads/random.ts";
import { clusterOf } from "../../bench/workloads.ts";
import { resolvePolicies } from "../../compiler/compile.ts";
import { STRATEGIES } from "../../compiler/strategies/registry.ts";
import { Dataplane, ENGINES, type Engine } from "../../dataplane/dataplane.ts";
import { createFabricResults, Fabric, type FabricResults } from "../../dataplane/fabric.ts";
import { appendPacket, createBatch, makePacket, type Packet, type PacketBatch } from "../../dataplane/packet.ts";
import { createResults } from "../../dataplane/result.ts";
import type { TraceStep } from "../../dataplane/trace.ts";
import { VERDICT_CODE } from "../../dataplane/verdict.ts";
import { address } from "../../verify/fuzz/builders.ts";
import { nodeProgram, packetFrom } from "./nodeUnderTest.ts";

const ROWS = 64;
const BATCHES = 40;
/** Before this batch the program is exchanged. */
const RELOAD_AT = 25;

const SIZE = { pods: 24, namespaces: 2, nodes: 3, shape: "mixed" } as const;
const BEFORE = clusterOf({ ...SIZE, policies: 10, seed: 5 });
const AFTER = clusterOf({ ...SIZE, policies: 12, seed: 5 });

const ENDS = [
  ...BEFORE.endpoints.flatMap(({ addresses }) => addresses),
  ...BEFORE.nodes.flatMap(({ addresses }) => addresses.slice(0, 1)),
  ...["172.16.1.9", "172.20.0.1", "8.8.8.8", "127.0.0.1"].map(address),
];
const FLAGS = [0x02, 0x12, 0x10, 0x10, 0x18, 0x11, 0x04, 0x14, 0x00];

/** A few conversations at a time, so that packets meet the entries of others. */
function packetsOf(random: Random, time: number): readonly Packet[] {
  return Array.from({ length: ROWS }, (_, index) => {
    const conversation = random.below(24);
    const [one, other] = [ENDS[(conversation * 7) % ENDS.length], ENDS[(conversation * 5 + 3) % ENDS.length]];
    if (one === undefined || other === undefined) throw new Error("no ends");
    const isAnswer = random.below(2) === 1;
    const ports = [40_000 + conversation, random.pick([80, 443, 8080, 9090, 53])] as const;
    const [source, destination] = isAnswer ? [other, one] : [one, other];
    const [sourcePort, destinationPort] = isAnswer ? [ports[1], ports[0]] : ports;
    return makePacket({
      protocol: random.pick([6, 6, 6, 6, 17, 1, 132, 47]),
      source,
      destination,
      sourcePort,
      destinationPort,
      time: time + index / 100,
      tcpFlags: random.pick(FLAGS),
      sequence: 1_000 + random.below(50),
      acknowledgment: 1_000 + random.below(50),
      payloadBytes: random.below(3) * 10,
      icmpType: random.pick([0, 8, 8, 13]),
      icmpId: conversation,
      fragment: random.below(20) === 0,
    });
  });
}

function batchOf(packets: readonly Packet[]): PacketBatch {
  const batch = createBatch(packets.length);
  for (const packet of packets) appendPacket(batch, packet);
  return batch;
}

/** What a batch came to, hop by hop, in rows that mean something. */
function textOf(results: FabricResults, rows: number): string {
  return Array.from({ length: rows }, (_, row) => {
    const hops = results.hops
      .slice(0, results.hopCount[row])
      .map(({ node, results: columns }) => [
        node[row],
        ...Object.values(columns).map((column: Uint8Array | Int32Array | Uint32Array) => column[row]),
      ]);
    return `${results.verdict[row]}: ${hops.join(" | ")}`;
  }).join("\n");
}

/** Over all strategies: some let hardly anything through. */
const count = { accepted: 0, established: 0, refused: 0 };

describe.each(STRATEGIES.map((strategy) => [strategy.name, strategy] as const))("engines under %s", (_, strategy) => {
  const programsOf = (model: typeof BEFORE) => {
    const cluster = resolvePolicies(model);
    return model.nodes.map(({ name }) => strategy.lower(cluster, { node: name }));
  };
  const [before, after] = [programsOf(BEFORE), programsOf(AFTER)];

  it("give the same results, packet by packet and in batches", () => {
    const lanes = ENGINES.flatMap((engine: Engine) =>
      (["batch", "packets"] as const).map((how) => ({ how, engine, fabric: new Fabric(before, { engine }) })),
    );
    const random = new Random(9);
    let time = 0;
    for (let round = 0; round < BATCHES; round++) {
      if (round === RELOAD_AT) for (const { fabric } of lanes) fabric.load(after);
      const packets = packetsOf(random, time);
      time += random.pick([1, 1, 1, 35, 130, 500]);
      const texts = lanes.map(({ how, fabric }) => {
        const batch = batchOf(packets);
        const results = createFabricResults(ROWS);
        if (how === "batch") fabric.pushBatch(batch, results);
        else pushOneByOne(fabric, packets, results);
        for (let row = 0; row < ROWS; row++) {
          if (results.verdict[row] === VERDICT_CODE.accept) count.accepted++;
          else count.refused++;
          if (results.hopCount[row] !== 0 && results.hops[0]?.results.ctState[row] === 1) count.established++;
        }
        return textOf(results, ROWS);
      });
      for (const [index, text] of texts.entries()) expect(`${text}`, `lane ${index}, round ${round}`).toBe(texts[0]);
    }
  });
});

it("packets of all kinds were among them", () => {
  expect(count.accepted).toBeGreaterThan(2_000);
  expect(count.refused).toBeGreaterThan(2_000);
  expect(count.established).toBeGreaterThan(2_000);
});

describe("what a connection remembers of its packets", () => {
  const RULES = `*filter
    :FORWARD DROP [0:0]
    -A FORWARD -m mark --mark 0x7/0xf -j DROP
    -A FORWARD -p tcp -m tcp --tcp-flags PSH PSH -j REJECT --reject-with tcp-reset
    -A FORWARD -i eth0 -m conntrack --ctstate ESTABLISHED -j DROP
    -A FORWARD -j ACCEPT`;

  it("holds in the same context only: mark, TCP flags, devices", () => {
    const told = ENGINES.map((engine) => {
      const node = new Dataplane(nodeProgram({ rules: RULES }), { engine });
      const [inside, outside] = [node.devices.number("cali0"), node.devices.number("eth0")];
      const ports = { sourcePort: 1_000, destinationPort: 80 };
      const segment = (line: string, more: Partial<Packet> = {}) => packetFrom(line, { ...ports, ...more });
      const there = "tcp 10.1.0.10:1000 > 8.8.8.8:80";
      const batch = createBatch(12);
      const packets = [
        segment(`${there} S`, { sequence: 9 }),
        segment("tcp 8.8.8.8:80 > 10.1.0.10:1000 SA", {
          sourcePort: 80,
          destinationPort: 1_000,
          sequence: 5,
          acknowledgment: 10,
        }),
        ...Array.from({ length: 10 }, (_, index) =>
          segment(`${there} ${index % 3 === 2 ? "PA" : "A"}`, {
            sequence: 10 + index,
            acknowledgment: 6,
            payloadBytes: 1,
          }),
        ),
      ];
      for (const packet of packets) {
        const row = appendPacket(batch, packet);
        batch.mark[row] = row > 2 && row % 4 === 0 ? 7 : 0;
        // The answer comes by a device that lets it pass; one of the later segments does not.
        batch.inDevice[row] = row === 6 ? outside : inside;
        batch.outDevice[row] = row === 6 ? inside : outside;
      }
      const lines: string[] = [];
      for (let time = 0; time < 3; time++) {
        const results = createResults(12);
        node.push(batch, results, 0, 12);
        lines.push([results.verdict, results.decision, results.rules, results.ctState].join(" "));
      }
      return lines.join("\n");
    });
    expect(told[1]).toBe(told[0]);
    expect(told[0]).toContain("0,0,0,0,1,0,1,2,1,0,2,0");
  });

  const RULES_APART = [
    ["of a fragment", "-p tcp -m tcp --dport 80 -m conntrack --ctstate ESTABLISHED -j DROP"],
    ["that charges a limit", "-m limit --limit 1/hour --limit-burst 500 -j LOG"],
  ] as const;

  it.each(RULES_APART)("is no outcome %s", (_, rule) => {
    const rules = `*filter
      :FORWARD ACCEPT [0:0]
      -A FORWARD ${rule}`;
    const there = "tcp 10.1.0.10:1000 > 8.8.8.8:80";
    const packets = [
      packetFrom(`${there} S`, { sequence: 9 }),
      packetFrom("tcp 8.8.8.8:80 > 10.1.0.10:1000 SA", { sequence: 5, acknowledgment: 10 }),
      ...Array.from({ length: ROWS - 3 }, (_, index) =>
        packetFrom(`${there} A`, { sequence: 10 + index, acknowledgment: 6, payloadBytes: 1 }),
      ),
      packetFrom(`${there} A`, { sequence: 10, acknowledgment: 6, fragment: true }),
    ];
    const told = ENGINES.map((engine) => {
      const node = new Dataplane(nodeProgram({ rules }), { engine });
      const steps: TraceStep[] = [];
      const text: string[] = [];
      for (let round = 0; round < 12; round++) {
        const results = createResults(ROWS);
        // Last by one who is told, whether it is logged as well.
        node.push(
          batchOf(packets),
          results,
          round === 0 ? 0 : 2,
          ROWS,
          round < 11 ? undefined : { step: (step) => steps.push(step) },
        );
        text.push([results.verdict, results.decision, results.rules, results.ctState].join(" "));
      }
      return [...text, ...steps.map((step) => JSON.stringify(step))].join("\n");
    });
    expect(told[1]).toBe(told[0]);
    expect(told[2]).toBe(told[0]);
  });
});

it("limits are charged in the order of all rows, those among them that are refused many at once", () => {
  // In a batch's ten seconds 40 come back and 64 are spent: in the end its last packet, for which no time passes, is over the
  // limit. Where time went back in between, twice as many would come back.
  const rules = `*filter
    :FORWARD DROP [0:0]
    -A FORWARD -m limit --limit 4/second --limit-burst 100 -j LOG`;
  const told = ENGINES.map((engine) => {
    const node = new Dataplane(nodeProgram({ rules }), { engine, conntrack: { tcpLoose: true } });
    const steps: TraceStep[] = [];
    for (let round = 0; round < 12; round++) {
      const packets = Array.from({ length: ROWS }, (_, row) =>
        packetFrom(row % 2 === 0 ? `tcp 10.1.0.10:${2_000 + row} > 8.8.8.8:80 A` : "udp 10.1.0.10:1000 > 8.8.8.8:80", {
          time: round * 10 + (Math.min(row, ROWS - 2) * 10) / ROWS,
        }),
      );
      const results = createResults(ROWS);
      node.push(batchOf(packets), results, 0, ROWS - 1);
      node.push(batchOf(packets), results, ROWS - 1, ROWS, { step: (step) => steps.push(step) });
    }
    return steps.map((step) => JSON.stringify(step));
  });
  expect(told[1]).toEqual(told[0]);
  expect(told[2]).toEqual(told[0]);
});

/** Each packet in a batch of its own; its results copied to its row. */
function pushOneByOne(fabric: Fabric, packets: readonly Packet[], into: FabricResults): void {
  const one = createFabricResults(1);
  for (const [row, packet] of packets.entries()) {
    fabric.pushBatch(batchOf([packet]), one);
    into.verdict[row] = one.verdict[0] ?? 0;
    into.hopCount[row] = one.hopCount[0] ?? 0;
    for (const [hop, { node, results }] of one.hops.entries()) {
      const target = into.hops[hop];
      if (target === undefined) throw new Error(`hop ${hop}`);
      target.node[row] = node[0] ?? 0;
      for (const name of Object.keys(results) as (keyof typeof results)[])
        target.results[name][row] = results[name][0] ?? 0;
    }
  }
}
