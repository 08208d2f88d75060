/**
 * What real nodes held, read back, against what we compile for them: the same verdict on random packets, on every node of
 * the way. 100,000 packets a cluster in CI and whenever CHAINWALK_KERNEL_PACKETS is set, a sample otherwise.
 */
import { describe, expect, it } from "vitest";
import { compileNode } from "../../compiler/compile.ts";
import { importProgram } from "../../compiler/import/importProgram.ts";
import type { ResolvedCluster } from "../../compiler/resolve.ts";
import { strategyNamed } from "../../compiler/strategies/registry.ts";
import { createFabricResults, Fabric } from "../../dataplane/fabric.ts";
import { appendPacket, createBatch, type Packet } from "../../dataplane/packet.ts";
import type { Program, TableProgram } from "../../dataplane/program.ts";
import { packetToObject } from "../../traffic/packetObject.ts";
import { isTables } from "../../verify/kernel/campaign.ts";
import { packetDomain } from "../../verify/kernel/packetDomain.ts";
import { PacketSource } from "../../verify/kernel/packetSource.ts";
import { Random } from "../../verify/kernel/random.ts";
import { isWhole, sampled } from "../extent.ts";
import { SEED } from "../kernel/budget.ts";
import { attachmentOf, clusterOf, clustersOf, NODES, SOLUTIONS, type Solution, STRATEGY_OF, savesIn } from "./dumps.ts";
import { recordedText } from "./nodeText.ts";
import { recordedOrders } from "./recordedOrders.ts";

const PACKETS = isWhole ? 100_000 : 4_000;
const BATCH = 4_000;

interface Sides {
  readonly imported: readonly TableProgram[];
  readonly compiled: readonly TableProgram[];
}

function sidesOf(solution: Solution, name: string): Sides {
  const cluster = clusterOf(solution, name);
  return {
    imported: NODES.map((node) => importedNode(solution, cluster, `${solution}/${name}/${node}`)),
    compiled: NODES.map((node) => {
      const strategy = strategyNamed(STRATEGY_OF[solution]);
      if (strategy === undefined) throw new Error(`no strategy for ${solution}`);
      const settings = recordedOrders(solution, cluster, recordedText(`${solution}/${name}/${node}`));
      return tables(compileNode(cluster, strategy, { node, settings }));
    }),
  };
}

function importedNode(solution: Solution, cluster: ResolvedCluster, folder: string): TableProgram {
  const node = folder.slice(folder.lastIndexOf("/") + 1);
  const attachment = attachmentOf(solution, cluster, node);
  const { program } = importProgram({ ...savesIn(folder), node, strategy: solution, attachment });
  if (program === undefined) throw new Error(`${folder} is not read`);
  return program;
}

function tables(program: Program): TableProgram {
  if (!isTables(program)) throw new Error(`${program.strategy} programs no tables`);
  return program;
}

/** Packets on which the sides differ, and how many of all were accepted, refused. */
function compareSides({ imported, compiled }: Sides): {
  readonly differences: readonly string[];
  readonly counts: readonly number[];
} {
  const source = new PacketSource(packetDomain([...imported, ...compiled]), new Random(SEED));
  const [theirs, ours] = [new Fabric(imported), new Fabric(compiled)];
  const [theirResults, ourResults] = [createFabricResults(BATCH), createFabricResults(BATCH)];
  const [theirBatch, ourBatch] = [createBatch(BATCH), createBatch(BATCH)];
  const differences: string[] = [];
  const counts = [0, 0, 0, 0];
  for (let asked = 0; asked < PACKETS; asked += BATCH) {
    const packets: Packet[] = Array.from({ length: BATCH }, () => source.next());
    // Pushing writes paths and devices into a batch, so each side has its own.
    for (const batch of [theirBatch, ourBatch]) {
      batch.length = 0;
      for (const packet of packets) appendPacket(batch, packet);
    }
    theirs.pushBatch(theirBatch, theirResults);
    ours.pushBatch(ourBatch, ourResults);
    for (const [row, packet] of packets.entries()) {
      const verdict = theirResults.verdict[row] ?? 0;
      counts[verdict] = (counts[verdict] ?? 0) + 1;
      if (verdict === ourResults.verdict[row] && theirResults.hopCount[row] === ourResults.hopCount[row]) continue;
      const [their, our] = [theirs.result(theirResults, row), ours.result(ourResults, row)];
      differences.push(`${JSON.stringify(packetToObject(packet))}: node ${their.verdict}, compiled ${our.verdict}`);
    }
    // The connections of a batch are kept to its end: answers, and further packets, are among what is compared.
    theirs.flushConntrack();
    ours.flushConntrack();
  }
  return { differences, counts };
}

describe.each(SOLUTIONS.filter((solution) => clustersOf(solution).length > 0))("%s", (solution) => {
  it.each(sampled(clustersOf(solution), 2))(
    "%s: the node that was read and the one compiled agree",
    { timeout: 60_000 },
    (name) => {
      const { differences, counts } = compareSides(sidesOf(solution, name));
      expect(differences.slice(0, 5), `${differences.length} of ${PACKETS}, seed ${SEED}`).toEqual([]);
      const [accepted = 0] = counts;
      expect(accepted).toBeGreaterThan(PACKETS / 20);
      // Without its annotation Romana isolates nobody, so in clusters as given there may be nothing to refuse.
      if (solution !== "romana-as-given") expect(PACKETS - accepted).toBeGreaterThan(PACKETS / 50);
    },
  );
});
