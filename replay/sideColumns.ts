/** What one side (a strategy over a cluster) did with flows, in columns beside those of the flows. */
import { grown } from "./grown.ts";

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
