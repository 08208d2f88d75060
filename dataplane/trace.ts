/** What a walk tells a sink, in the order it happens. One evaluator serves both the fast run and the trace. */
import type { Match, Rule, TableName } from "./program.ts";
import type { CtState, Verdict } from "./verdict.ts";

export type TraceStep =
  | { readonly kind: "conntrack"; readonly node: string; readonly state: CtState; readonly why: string }
  /** A rule was evaluated. `failed` is its first match that did not hold; undefined: the rule matched. */
  | {
      readonly kind: "rule";
      readonly node: string;
      readonly table: TableName;
      readonly chain: string;
      /** From 1, as iptables counts. */
      readonly number: number;
      readonly rule: Rule;
      readonly failed: Match | undefined;
      /** Packet mark before the target ran. */
      readonly mark: number;
    }
  /** A user chain ended (`number` is one past its last rule) or a built-in chain's policy applied. */
  | {
      readonly kind: "chainEnd";
      readonly node: string;
      readonly table: TableName;
      readonly chain: string;
      readonly number: number;
      readonly policy: "accept" | "drop" | undefined;
    }
  /** A map was consulted. `key` and `value` are bytes as in the map; value undefined: no entry. */
  | {
      readonly kind: "lookup";
      readonly node: string;
      readonly map: string;
      readonly key: Uint8Array;
      readonly value: Uint8Array | undefined;
      readonly meaning: string;
      readonly origin: string | undefined;
    }
  | { readonly kind: "verdict"; readonly node: string; readonly verdict: Verdict };

export interface TraceSink {
  step(step: TraceStep): void;
}

/** A sink that keeps what it is told. */
export class TraceRecorder implements TraceSink {
  readonly steps: TraceStep[] = [];

  step(step: TraceStep): void {
    this.steps.push(step);
  }
}
