/** One node: a loaded program with its connection table. */
import type { PacketBatch } from "./packet.ts";
import type { Program } from "./program.ts";
import type { Decision, ResultBatch } from "./result.ts";
import type { TraceSink } from "./trace.ts";
import type { DropReason } from "./verdict.ts";

export interface DataplaneOptions {
  /** Conntrack settings, timeouts included; see conntrack/options.ts. */
  readonly conntrack?: Readonly<Record<string, never>>;
}

export class Dataplane {
  readonly node: string;

  constructor(program: Program, _options: DataplaneOptions = {}) {
    this.node = program.node;
    throw new Error("Dataplane is not written yet");
  }

  /** Pushes rows `from` (inclusive) to `to` (exclusive) through the node, in order. Path and devices must be set. */
  push(_batch: PacketBatch, _results: ResultBatch, _from: number, _to: number, _sink?: TraceSink): void {
    throw new Error("Dataplane is not written yet");
  }

  /** What `ResultBatch.decision` numbers mean. */
  decision(_index: number): { readonly decision: Decision; readonly reason: DropReason | undefined } {
    throw new Error("Dataplane is not written yet");
  }

  /** Forgets all connections. */
  flushConntrack(): void {
    throw new Error("Dataplane is not written yet");
  }
}
