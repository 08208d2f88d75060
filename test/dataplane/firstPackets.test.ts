/** The table of packets that begin a connection, against a map, and engines on such packets of few kinds. */
import { expect, it } from "vitest";
import { Random } from "../../bench/workloads/random.ts";
import { FirstPackets } from "../../dataplane/classes/firstPackets.ts";
import { createFabricResults, Fabric } from "../../dataplane/fabric.ts";
import { appendPacket, createBatch } from "../../dataplane/packet.ts";
import type { Match, Rule } from "../../dataplane/program.ts";
import { nodeProgram, packetFrom } from "./nodeUnderTest.ts";

it("finds what was entered under all of its words, and nothing else", () => {
  const table = new FirstPackets();
  const entered = new Map<number, number>();
  const random = new Random(3);
  let found = 0;
  let wrong = 0;
  for (let step = 0; step < 140_000; step++) {
    // Few values of each, and a table that is full to the half: tuples that differ in one word meet in their places.
    const [source, destination, ports, rest] = [random.below(6), random.below(6), random.below(20), random.below(4)];
    const context = 1 + random.below(100);
    table.addresses = (source << 16) | destination;
    table.ports = ports;
    table.rest = rest;
    const name = (((source * 6 + destination) * 20 + ports) * 4 + rest) * 101 + context;
    const known = entered.get(name);
    if (table.find(context) !== (known ?? -1)) wrong++;
    if (known !== undefined) found++;
    else {
      const outcome = random.below(0xfff0);
      table.add((context << 16) | (outcome + 1));
      entered.set(name, outcome);
    }
  }
  expect(wrong).toBe(0);
  expect(found).toBeGreaterThan(20_000);
  table.clear();
  expect(table.find(1)).toBe(-1);
});

it("forgets when there are too many, and goes on", () => {
  const table = new FirstPackets();
  const most = 1 << 17;
  for (let number = 0; number <= most; number++) {
    table.addresses = number;
    table.add((1 << 16) | 1);
  }
  table.addresses = most;
  expect(table.find(1)).toBe(0);
  table.addresses = 0;
  expect(table.find(1)).toBe(-1);
});

const PROGRAM = nodeProgram({
  sets: `
    create some hash:net family inet
    add some 10.2.0.0/24
  `,
  rules: `
    *raw
    :PREROUTING ACCEPT [0:0]
    -A PREROUTING -p udp -m udp --dport 9 -j NOTRACK
    *filter
    :FORWARD DROP [0:0]
    -A FORWARD -p tcp -m set --match-set some src -m tcp --dport 80 -j ACCEPT
    -A FORWARD -p udp -m udp --dport 80 -j ACCEPT
    -A FORWARD -p udp -m udp --dport 9 -j ACCEPT
    -A FORWARD -d 10.1.0.11/32 -p tcp -m tcp --dport 443 --tcp-flags SYN SYN -j REJECT
    -A FORWARD -i cali0 -p tcp -m tcp --dport 443 -j ACCEPT
  `,
});

it("first packets that differ in one field only are decided as a walk decides them", () => {
  const [walk, memo] = [new Fabric([PROGRAM], { engine: "walk" }), new Fabric([PROGRAM], { engine: "memo" })];
  const random = new Random(5);
  const seen = new Set<string>();
  for (let number = 0; number < 1_000; number++) {
    const source = random.pick(["10.1.0.10", "10.2.0.5", "10.3.0.5"]);
    const destination = random.pick(["10.1.0.10", "10.1.0.11"]);
    const ports = `${1024 + number} > ${destination}:${random.pick([9, 80, 443])}`;
    const packet = packetFrom(`${random.pick(["tcp", "udp"])} ${source}:${ports}`, {
      tcpFlags: random.pick([2, 2, 16, 0]),
    });
    const result = memo.push(packet);
    expect(result).toEqual(walk.push(packet));
    seen.add(`${result.verdict} ${result.ctState} ${result.work.rules}`);
  }
  expect(seen.size).toBe(10);
});

// Outcomes are forgotten when there are too many; their numbers are given again.
it("first packets go by what was learnt since outcomes were forgotten", () => {
  const [sources, destinations] = [256, 258];
  const cidrOn = (side: "source" | "destination", host: number): Match => {
    const start = side === "source" ? 10 << 24 : 11 << 24;
    return { kind: "address", side, cidr: { family: 4, words: [start + host], prefixLength: 32 }, negate: false };
  };
  const rules = Array.from({ length: sources * destinations }, (_, index): Rule => {
    const [source, destination] = [Math.floor(index / destinations), index % destinations];
    return { matches: [cidrOn("source", source), cidrOn("destination", destination)], target: { kind: "accept" } };
  });
  const bare = nodeProgram({ rules: "*filter\n:FORWARD DROP [0:0]" });
  const tables = [{ name: "filter", chains: [{ name: "FORWARD", policy: "drop", rules }] }] as const;
  const node = new Fabric([{ ...bare, families: [{ family: 4, tables }] }], { only: bare.node, engine: "memo" });
  const room = 4_096;
  const [batch, results] = [createBatch(room), createFabricResults(room)];
  const packet = packetFrom("udp 10.0.0.0:1 > 11.0.0.0:2");
  /** What decides packets `from` (inclusive) to `to` (exclusive), two of each kind: the second finds what the first one learnt. */
  const decidedBy = (from: number, to: number): readonly (number | undefined)[] => {
    batch.length = 0;
    for (let number = from; number < to; number++) {
      const index = number >> 1;
      const [source, destination] = [Math.floor(index / destinations), index % destinations];
      appendPacket(batch, {
        ...packet,
        source: { family: 4, words: [(10 << 24) + source] },
        destination: { family: 4, words: [(11 << 24) + destination] },
        sourcePort: 1 + (number & 1),
      });
    }
    node.flushConntrack();
    node.pushBatch(batch, results);
    return Array.from({ length: to - from }, (_, row) => {
      const { decidedBy: by } = node.result(results, row);
      return by?.kind === "rule" ? by.rule : undefined;
    });
  };
  const wanted = (from: number, to: number) => Array.from({ length: to - from }, (_, row) => ((from + row) >> 1) + 1);
  for (let from = 0; from < 2 * rules.length; from += room) {
    const to = Math.min(from + room, 2 * rules.length);
    expect(decidedBy(from, to)).toEqual(wanted(from, to));
  }
  // Those of the beginning were forgotten on the way, those behind them learnt under their numbers.
  expect(decidedBy(room, 2 * room)).toEqual(wanted(room, 2 * room));
});
