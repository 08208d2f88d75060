/** What became of packets: columns on the hot path (`ResultBatch`), objects at the edges (`PacketResult`). */
import type { TableName } from "./program.ts";
import type { CtState, DropReason, Verdict, Work } from "./verdict.ts";

/** The rule or map entry that decided. */
export type Decision =
  | {
      readonly kind: "rule";
      readonly node: string;
      readonly table: TableName;
      readonly chain: string;
      /** From 1, as iptables counts; one past the last rule when the chain's policy decided. */
      readonly rule: number;
      readonly origin: string | undefined;
    }
  | {
      readonly kind: "map";
      readonly node: string;
      readonly map: string;
      /** Hex of the key bytes of the entry that decided; empty when the map had none for the packet. */
      readonly key: string;
      readonly origin: string | undefined;
    };

/** What a number in `ResultBatch.decision` means, and why a packet that ended there did not pass. */
export interface DecisionMeaning {
  readonly decision: Decision | undefined;
  readonly reason: DropReason | undefined;
}

/** Decision numbers that stand for no rule or map entry. */
export const DECISION = {
  /** No chain or attach point of the program saw the packet. */
  none: -1,
  /** The connection table had no room for the new connection. */
  tableFull: -2,
  /** A protocol whose connections the program cannot track, and that it therefore drops. */
  untrackable: -3,
} as const;

/** Where a walk went: a rule whose matches all held (table, chain, number), or a map consulted (map, key, 0). */
export type WalkEntry = readonly [tableOrMap: string, chainOrKey: string, number: number];

/** What one node did with a packet. */
export interface Hop {
  readonly node: string;
  readonly verdict: Verdict;
  readonly reason: DropReason | undefined;
  readonly ctState: CtState;
  readonly decidedBy: Decision | undefined;
  readonly work: Work;
  /** Only when asked for. */
  readonly walk?: readonly WalkEntry[];
}

/** What the whole way did with a packet. No hops: it never left its pod, or no node of the cluster saw it. */
export interface PacketResult {
  readonly verdict: Verdict;
  readonly reason: DropReason | undefined;
  /** Seen by the node that decided (the last hop). */
  readonly ctState: CtState;
  readonly decidedBy: Decision | undefined;
  readonly hops: readonly Hop[];
  readonly work: Work;
}

/** Results of one node as columns, row for row beside the `PacketBatch`. */
export interface ResultBatch {
  /** `VERDICT_CODE`. */
  readonly verdict: Uint8Array;
  /** `CT_STATE_CODE`. */
  readonly ctState: Uint8Array;
  /** Number for the dataplane's `decision()`; negative: one of `DECISION`. */
  readonly decision: Int32Array;
  readonly rules: Uint32Array;
  readonly chains: Uint32Array;
  readonly setLookups: Uint32Array;
  readonly mapLookups: Uint32Array;
  readonly trieLookups: Uint32Array;
  readonly conntrackLookups: Uint32Array;
}

export function createResults(capacity: number): ResultBatch {
  return {
    verdict: new Uint8Array(capacity),
    ctState: new Uint8Array(capacity),
    decision: new Int32Array(capacity),
    rules: new Uint32Array(capacity),
    chains: new Uint32Array(capacity),
    setLookups: new Uint32Array(capacity),
    mapLookups: new Uint32Array(capacity),
    trieLookups: new Uint32Array(capacity),
    conntrackLookups: new Uint32Array(capacity),
  };
}

/** As `NO_BATCH`. */
export const NO_RESULTS = createResults(0);
