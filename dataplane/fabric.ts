/** Several nodes: the source's node, then the destination's, each with its own tables and connection tracking. */
import type { Packet } from "./packet.ts";
import type { Program } from "./program.ts";
import type { PacketResult } from "./result.ts";
import type { TraceSink } from "./trace.ts";

export interface FabricOptions {
  /** Record the rules that matched in `Hop.walk`. */
  readonly walk?: boolean;
}

export class Fabric {
  constructor(programs: readonly Program[], _options: FabricOptions = {}) {
    throw new Error(`Fabric is not written yet (${programs.length} programs)`);
  }

  /** One packet through every node on its way; the connection tables remember it. */
  push(_packet: Packet, _sink?: TraceSink): PacketResult {
    throw new Error("Fabric is not written yet");
  }

  /**
   * The cluster changed: these programs take the place of the old ones. Connection tracking of a node lives on, as it
   * does in a kernel; a node that is new starts with none, one that is gone takes its connections along.
   */
  load(_programs: readonly Program[]): void {
    throw new Error("Fabric is not written yet");
  }

  /** Every node forgets all connections. */
  flushConntrack(): void {
    throw new Error("Fabric is not written yet");
  }
}
