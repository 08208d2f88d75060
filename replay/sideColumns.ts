/** What the sides of a replay did with its flows, in columns beside the records of the flow table. */
import { grown } from "./grown.ts";

/** What one side (a strategy over a cluster) did with a flow. */
export class SideColumns {
  /** `VERDICT_CODE` of the packet that opened it. */
  verdict: Uint8Array;
  ctState: Uint8Array;
  /** Index into the side's causes. */
  cause: Int32Array;
  /** Packets by verdict: accept, drop, reject, unknown. */
  packets: Float64Array;

  constructor(capacity: number) {
    this.verdict = new Uint8Array(capacity);
    this.ctState = new Uint8Array(capacity);
    this.cause = new Int32Array(capacity);
    this.packets = new Float64Array(capacity * 4);
  }

  grow(capacity: number): void {
    this.verdict = grown(this.verdict, new Uint8Array(capacity));
    this.ctState = grown(this.ctState, new Uint8Array(capacity));
    this.cause = grown(this.cause, new Int32Array(capacity));
    this.packets = grown(this.packets, new Float64Array(capacity * 4));
  }
}

/** The flows of a table as data that can be kept or sent to another thread. */
export interface FlowTableState {
  readonly slots: number;
  readonly records: Int32Array;
  readonly tails: Int32Array;
  readonly firstIndex: Float64Array;
  readonly firstOffset: Float64Array;
  readonly sides: readonly {
    readonly verdict: Uint8Array;
    readonly ctState: Uint8Array;
    readonly cause: Int32Array;
    readonly packets: Float64Array;
  }[];
}
