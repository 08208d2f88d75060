/** One node that packets are pushed through in batches: what every packet suite times. */
import { compileNode } from "../../compiler/compile.ts";
import type { ResolvedCluster } from "../../compiler/resolve.ts";
import type { Strategy } from "../../compiler/strategies/strategy.ts";
import { createFabricResults, Fabric, type FabricResults } from "../../dataplane/fabric.ts";
import { appendPacket, createBatch, type Packet, type PacketBatch } from "../../dataplane/packet.ts";
import type { Program } from "../../dataplane/program.ts";
import { answerTo } from "../../verify/answer.ts";
import { NothingToTime, type Prepared, type Probe } from "../measure.ts";
import { nextOf } from "./traffic.ts";

/** A fabric that has the one node alone: each packet meets it once. */
export function fabricOf(program: Program): Fabric {
  return new Fabric([program], { only: program.node });
}

export function nodeFabric(cluster: ResolvedCluster, strategy: Strategy, node: string): Fabric {
  return fabricOf(compileNode(cluster, strategy, { node }));
}

/** Packets of `openings` that pass, opened and answered: the connections are established afterwards. */
export function establish(fabric: Fabric, openings: readonly Packet[]): readonly Packet[] {
  return openings.flatMap((syn) => {
    if (fabric.push(syn).verdict !== "accept") return [];
    fabric.push(answerTo(syn));
    const next = nextOf(syn);
    fabric.push(next);
    return [next];
  });
}

export interface PushOptions {
  readonly fabric: Fabric;
  /** Pushed in this order, then from the beginning. */
  readonly packets: readonly Packet[];
  /** `connections`: all of them are forgotten before each pass, so that every packet of it is its connection's first. */
  readonly forget: "connections" | "nothing";
}

/** Packets through a fabric, as bursts. Throws `NothingToTime` when none are left of what the policies admit. */
export function pushing(options: PushOptions): Prepared {
  if (options.packets.length === 0) throw new NothingToTime("the strategy admits none of the packets");
  return { kind: "bursts", probe: (operations) => new PushProbe(options, operations) };
}

class PushProbe implements Probe {
  readonly #fabric: Fabric;
  readonly #batches: readonly PacketBatch[];
  readonly #results: FabricResults;
  readonly #forget: boolean;
  #next = 0;

  constructor({ fabric, packets, forget }: PushOptions, operations: number) {
    this.#fabric = fabric;
    this.#batches = batchesOf(packets, operations);
    this.#results = createFabricResults(operations);
    this.#forget = forget === "connections";
  }

  between(): void {
    if (this.#next < this.#batches.length) return;
    this.#next = 0;
    if (this.#forget) this.#fabric.flushConntrack();
  }

  burst(): number {
    const batch = this.#batches[this.#next++];
    if (batch === undefined) throw new Error("no packets to push");
    this.#fabric.pushBatch(batch, this.#results);
    return batch.length;
  }
}

/** Full batches of `size`; a rest that fills none is left out, unless it is all there is. */
export function batchesOf(packets: readonly Packet[], size: number): readonly PacketBatch[] {
  const capacity = Math.min(size, packets.length);
  return Array.from({ length: Math.floor(packets.length / capacity) }, (_, index) => {
    const batch = createBatch(capacity);
    for (const packet of packets.slice(index * capacity, (index + 1) * capacity)) appendPacket(batch, packet);
    return batch;
  });
}
