/** What a walk tells a sink, in the order it happens. One evaluator serves both the fast run and the trace. */
import { assertNever } from "./assertNever.ts";
import type { Match, Rule, TableName } from "./program.ts";
import type { WalkEntry } from "./result.ts";
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
  /** `matches`: rules that did not match are not told, which is much less; absent: everything. */
  readonly detail?: "matches";
  step(step: TraceStep): void;
}

/** A sink that keeps what it is told. */
export class TraceRecorder implements TraceSink {
  readonly steps: TraceStep[] = [];

  step(step: TraceStep): void {
    this.steps.push(step);
  }
}

/** Keeps the rules that matched and the maps consulted, node by node, and passes every step on to another sink. */
export class WalkRecorder implements TraceSink {
  readonly detail?: "matches";
  readonly #walks = new Map<string, WalkEntry[]>();
  readonly #next: TraceSink | undefined;

  constructor(next: TraceSink | undefined) {
    this.#next = next;
    if (next === undefined || next.detail === "matches") this.detail = "matches";
  }

  step(step: TraceStep): void {
    this.#next?.step(step);
    switch (step.kind) {
      case "rule":
        if (step.failed === undefined) this.#add(step.node, [step.table, step.chain, step.number]);
        return;
      case "lookup":
        this.#add(step.node, [step.map, hexOf(step.key), 0]);
        return;
      case "conntrack":
      case "chainEnd":
      case "verdict":
        return;
      default:
        assertNever(step);
    }
  }

  /** What a node's steps so far amount to. */
  walkOn(node: string): readonly WalkEntry[] {
    return this.#walks.get(node) ?? [];
  }

  #add(node: string, entry: WalkEntry): void {
    const walk = this.#walks.get(node);
    if (walk === undefined) this.#walks.set(node, [entry]);
    else walk.push(entry);
  }
}

/** Lower-case hex of bytes, as bpftool prints keys without blanks. */
export function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
