/** Verdicts of many first packets under one program on one node. */
import { createFabricResults, Fabric } from "../../dataplane/fabric.ts";
import { appendPacket, createBatch, type Packet } from "../../dataplane/packet.ts";
import type { Program } from "../../dataplane/program.ts";
import { VERDICTS, type Verdict } from "../../dataplane/verdict.ts";

const BATCH = 4096;

/** Packets meet this node alone, whoever sent them, and nothing that was before them. */
export class NodeVerdicts {
  readonly #fabric: Fabric;
  readonly #batch = createBatch(BATCH);
  readonly #results = createFabricResults(BATCH);

  constructor(program: Program) {
    this.#fabric = new Fabric([program], { only: program.node, engine: "walk" });
  }

  load(program: Program): void {
    this.#fabric.load([program]);
  }

  /** In the order of the packets. */
  of(packets: Iterable<Packet>): readonly Verdict[] {
    const verdicts: Verdict[] = [];
    this.#batch.length = 0;
    for (const packet of packets) {
      appendPacket(this.#batch, packet);
      if (this.#batch.length === BATCH) this.#flush(verdicts);
    }
    if (this.#batch.length > 0) this.#flush(verdicts);
    return verdicts;
  }

  #flush(verdicts: Verdict[]): void {
    this.#fabric.flushConntrack();
    this.#fabric.pushBatch(this.#batch, this.#results);
    for (let row = 0; row < this.#batch.length; row++) {
      verdicts.push(VERDICTS[this.#results.verdict[row] ?? 0] ?? "unknown");
    }
    this.#batch.length = 0;
  }
}
