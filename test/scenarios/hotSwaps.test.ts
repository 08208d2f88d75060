/**
 * A node's program is replaced by another strategy's while it runs. From then on the node answers as one that has never had
 * another program, and connections that netfilter knows live on, whoever let them in.
 */
import { describe, expect, it } from "vitest";
import { STRATEGIES } from "../../compiler/strategies/registry.ts";
import { Fabric } from "../../dataplane/fabric.ts";
import { makePacket, type Packet, PROTOCOL, TCP_FLAG } from "../../dataplane/packet.ts";
import type { Program } from "../../dataplane/program.ts";
import { packetToObject } from "../../traffic/packetObject.ts";
import { isTables } from "../../verify/kernel/campaign.ts";
import { packetDomain } from "../../verify/kernel/packetDomain.ts";
import { PacketSource } from "../../verify/kernel/packetSource.ts";
import { Random } from "../../verify/kernel/random.ts";
import { compileNodes } from "../../verify/lane.ts";
import { isWhole, sampled } from "../extent.ts";
import { SEED } from "../kernel/budget.ts";
import { bundledCluster, SCENARIOS } from "../verify/bundled.ts";

const PACKETS = isWhole ? 60 : 20;
const SOME = sampled(SCENARIOS, 6);

interface Side {
  readonly name: string;
  readonly programs: readonly Program[];
}

function sidesOf(scenario: string): readonly Side[] {
  const cluster = bundledCluster(scenario);
  return STRATEGIES.map((strategy) => ({ name: strategy.name, programs: compileNodes(cluster, strategy, {}) }));
}

function packetsFor(sides: readonly Side[]): readonly Packet[] {
  const tables = sides.flatMap(({ programs }) => programs.filter(isTables));
  const source = new PacketSource(packetDomain(tables), new Random(SEED));
  return Array.from({ length: PACKETS }, () => source.next());
}

/** Every strategy after every other, once: all ordered pairs are steps of this walk. */
function* swaps<T>(sides: readonly T[]): Generator<T> {
  for (const [index, from] of sides.entries()) {
    for (const to of sides.slice(index + 1)) {
      yield from;
      yield to;
    }
    yield from;
  }
}

/** What a fabric says to packets none of which it has met, each alone. */
function answers(fabric: Fabric, packets: readonly Packet[]): readonly string[] {
  return packets.map((packet) => {
    fabric.flushConntrack();
    const { verdict, hops } = fabric.push(packet);
    const way = hops.map((hop) => `${hop.node} ${hop.verdict}`).join(", ");
    return `${JSON.stringify(packetToObject(packet))}: ${verdict} (${way})`;
  });
}

describe("hot swaps", () => {
  it.each(SOME)("%s: after each swap the new program answers, and nothing of the old", (scenario) => {
    const sides = sidesOf(scenario);
    const packets = packetsFor(sides);
    const alone = new Map(sides.map((side) => [side.name, answers(new Fabric(side.programs), packets)]));
    const fabric = new Fabric(sides[0]?.programs ?? []);
    let count = 0;
    for (const side of swaps(sides)) {
      fabric.load(side.programs);
      expect(answers(fabric, packets), side.name).toEqual(alone.get(side.name));
      count++;
    }
    expect(count).toBeGreaterThan(sides.length * (sides.length - 1));
  });

  it("leaves connections alive under every other solution with tables", () => {
    let alive = 0;
    for (const scenario of SOME) {
      const sides = sidesOf(scenario).filter(({ programs }) => programs.every(isTables));
      const tuples = packetsFor(sides).filter(({ protocol }) => protocol === PROTOCOL.tcp);
      for (const from of sides) for (const to of sides) alive += connectionsThatLiveOn({ from, to, tuples });
    }
    expect(alive).toBeGreaterThan(50);
  });
});

/** Opens connections under one side, swaps, and goes on; how many there were. */
function connectionsThatLiveOn(swap: {
  readonly from: Side;
  readonly to: Side;
  readonly tuples: readonly Packet[];
}): number {
  const { from, to, tuples } = swap;
  let alive = 0;
  for (const { source, destination, sourcePort, destinationPort } of tuples) {
    const there = { protocol: PROTOCOL.tcp, source, destination, sourcePort, destinationPort };
    const back = {
      protocol: PROTOCOL.tcp,
      source: destination,
      destination: source,
      sourcePort: destinationPort,
      destinationPort: sourcePort,
    };
    const fabric = new Fabric(from.programs);
    const opened = fabric.push(makePacket({ ...there, tcpFlags: TCP_FLAG.S }));
    const answered = fabric.push(makePacket({ ...back, tcpFlags: TCP_FLAG.S | TCP_FLAG.A }));
    if (opened.verdict !== "accept" || answered.verdict !== "accept" || answered.ctState !== "established") continue;
    fabric.load(to.programs);
    const next = fabric.push(makePacket({ ...there, tcpFlags: TCP_FLAG.A }));
    expect(next.ctState, `${from.name} to ${to.name}`).toBe("established");
    alive++;
  }
  return alive;
}
