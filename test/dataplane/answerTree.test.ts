/** Packets that begin connections, in few situations: whose outcome is known by what a walk would ask is not walked. */
import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { Random } from "../../bench/workloads/random.ts";
import { AnswerTree } from "../../dataplane/classes/answerTree.ts";
import { TableMemo } from "../../dataplane/classes/tableMemo.ts";
import { ConntrackTable } from "../../dataplane/conntrack.ts";
import { DeviceTable } from "../../dataplane/devices.ts";
import { appendPacket, createBatch, makePacket, PATH, type PacketBatch } from "../../dataplane/packet.ts";
import type { TableProgram } from "../../dataplane/program.ts";
import { createResults, type ResultBatch } from "../../dataplane/result.ts";
import { NodeRoutes } from "../../dataplane/routes.ts";
import { TableWalker } from "../../dataplane/tables/walk.ts";
import { address } from "../../verify/fuzz/builders.ts";
import { NODES, OUTSIDE, PLACES, PORTS } from "../../verify/fuzz/domain.ts";
import { deepProgramArbitrary, withoutConnmark } from "../arbitraries/deepProgram.ts";
import { runsOf } from "../extent.ts";
import { nodeProgram } from "./nodeUnderTest.ts";

const ROWS = 400;

const ENDS = {
  ipv4: [...PLACES, ...NODES].map(({ ipv4 }) => ipv4).concat(OUTSIDE.ipv4, "0.0.0.0", "224.0.0.1", "127.0.0.1"),
  ipv6: [...PLACES, ...NODES].map(({ ipv6 }) => ipv6).concat(OUTSIDE.ipv6, "::", "::1", "ff02::1"),
};

/** SYNs for the most part; segments that are invalid before a connection of their kind was begun, and after. */
const FLAGS = [0x02, 0x02, 0x02, 0x04, 0x12, 0x10];

/** Where packets are seen: three such places a batch, so that many packets are in one. */
function situationOf(random: Random) {
  return {
    path: random.pick([PATH.forward, PATH.forward, PATH.input, PATH.output]),
    in: random.pick(["", "eth0", "cali0", "cali1", "weave"]),
    out: random.pick(["", "eth0", "cali0", "cali1", "weave"]),
    physIn: random.pick(["", "", "cali0", "vethwe-bridge"]),
    physOut: random.pick(["", "", "cali1", "eth0"]),
    mark: random.pick([0, 0, 0x10000]),
    protocol: random.pick([6, 6, 17, 132]),
    family: random.pick(["ipv4", "ipv4", "ipv6"] as const),
  };
}

function batchOf(random: Random, devices: DeviceTable): PacketBatch {
  const situations = [situationOf(random), situationOf(random), situationOf(random)];
  const batch = createBatch(ROWS);
  for (let number = 0; number < ROWS; number++) {
    const { path, mark, protocol, family, ...names } = random.pick(situations);
    const row = appendPacket(
      batch,
      makePacket({
        protocol,
        source: address(random.pick(ENDS[family])),
        destination: address(random.pick(ENDS[family])),
        sourcePort: random.pick([...PORTS, 1024 + random.below(60_000)]),
        destinationPort: random.pick([...PORTS, ...PORTS, 65_535]),
        tcpFlags: random.pick(FLAGS),
        time: number / 100,
      }),
    );
    batch.path[row] = path;
    batch.mark[row] = mark;
    batch.inDevice[row] = devices.number(names.in);
    batch.outDevice[row] = devices.number(names.out);
    batch.physInDevice[row] = devices.number(names.physIn);
    batch.physOutDevice[row] = devices.number(names.physOut);
  }
  return batch;
}

function textOf(results: ResultBatch): string {
  return Object.entries(results)
    .map(([name, column]) => `${name} ${column.join()}`)
    .join("\n");
}

/** Both engines on one batch; how many rows the tree gave the outcome of. */
function compare(program: TableProgram, random: Random): number {
  const devices = new DeviceTable();
  const routes = new NodeRoutes(program.attachment, devices);
  const batch = batchOf(random, devices);
  const [walked, remembered] = [new ConntrackTable(), new ConntrackTable()];
  const walker = new TableWalker(program, { devices, routes, connections: walked });
  const memo = new TableMemo(program, { devices, routes, connections: remembered });
  const [expected, actual] = [createResults(ROWS), createResults(ROWS)];
  walker.attach(batch, expected, undefined);
  memo.attach(batch, actual, undefined);
  const find = vi.spyOn(AnswerTree.prototype, "find");
  walker.runRows(0, ROWS);
  memo.runRows(0, ROWS);
  const told = find.mock.results.filter(({ value }) => value >= 0).length;
  find.mockRestore();
  expect(textOf(actual)).toBe(textOf(expected));
  expect([...remembered.entries()]).toEqual([...walked.entries()]);
  return told;
}

describe("what a walk would ask", () => {
  it("leads to the outcome that the walk has, whatever the program", () => {
    let told = 0;
    const runs = runsOf(1_500);
    fc.assert(
      fc.property(deepProgramArbitrary, fc.nat(), (program, seed) => {
        told += compare(withoutConnmark(program), new Random(seed));
      }),
      { numRuns: runs },
    );
    // It is asked once a kind, since kinds are found on their own from the second packet on.
    expect(told / runs).toBeGreaterThan(10);
  });

  // Random programs have short chains; long ones are indexed by addresses and devices.
  it("leads there through long chains that dispatch by addresses and devices", () => {
    const dispatch = PLACES.flatMap(({ ipv4 }, index) => [
      `-A FORWARD -d ${ipv4}/32 -p tcp -m tcp --dport 80 -j ACCEPT`,
      `-A FORWARD -o cali${index % 2} -p udp -j MARK --set-xmark 0x${index + 1}/0xff`,
      `-A FORWARD -s ${ipv4}/32 -o cali${index % 3} -p udp -m mark --mark 0x${index}/0xff -j ACCEPT`,
      `-A FORWARD -s ${ipv4}/32 -i eth0 -p tcp -j REJECT`,
    ]);
    const program = nodeProgram({ rules: ["*filter", ":FORWARD DROP [0:0]", ...dispatch].join("\n") });
    const random = new Random(4);
    let told = 0;
    for (let round = 0; round < 200; round++) told += compare(program, random);
    expect(told).toBeGreaterThan(1_000);
  });

  // More sets than a word has bits, asked up and down, again, negated and in lists, between prefixes and the node's own.
  it("leads there where classes answer for many sets, lists of them and prefixes", () => {
    const addresses = [...PLACES, ...NODES].map(({ ipv4 }) => ipv4);
    const random = new Random(8);
    const side = () => random.pick(["src", "dst"]);
    let told = 0;
    for (let round = 0; round < 40; round++) {
      const sets: string[] = [];
      for (let number = 0; number < 80; number++) {
        sets.push(`create s${number} hash:ip`);
        for (const member of addresses) if (random.below(4) === 0) sets.push(`add s${number} ${member}`);
      }
      for (let number = 0; number < 8; number++) {
        sets.push(`create l${number} list:set`);
        const members = new Set(Array.from({ length: random.below(6) }, () => random.below(80)));
        for (const member of members) sets.push(`add l${number} s${member}`);
      }
      const not = () => random.pick(["", "! "]);
      const asked = () =>
        random.pick([
          () => `-m set ${not()}--match-set s${random.below(80)} ${side()}`,
          () => `-m set --match-set s${random.below(80)} ${side()}`,
          () => `-m set ${not()}--match-set l${random.below(8)} ${side()}`,
          () => `-m addrtype ${not()}--${random.pick(["src", "dst"])}-type LOCAL`,
        ])();
      const head = (end: string) =>
        random.below(4) > 0 ? "" : `${end} ${random.pick(addresses)}/${random.pick([8, 16, 24, 31, 32])}`;
      const rules = Array.from({ length: 120 }, () => {
        const protocol = random.pick(["", "-p tcp", "-p udp"]);
        const target = random.pick(["ACCEPT", "DROP", "MARK --set-xmark 0x1/0x1", "MARK --set-xmark 0x2/0x2"]);
        return `-A FORWARD ${head("-s")} ${head("-d")} ${protocol} ${asked()} ${asked()} ${asked()} -j ${target}`;
      });
      const text = { rules: ["*filter", ":FORWARD DROP [0:0]", ...rules].join("\n"), sets: sets.join("\n") };
      told += compare(nodeProgram(text), random);
    }
    expect(told).toBeGreaterThan(400);
  });
});
