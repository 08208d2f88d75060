/** What became of a packet, why, and what it cost. */

/** Final for a packet. `unknown`: an imported program reached a match or target that chainwalk cannot represent. */
export type Verdict = "accept" | "drop" | "reject" | "unknown";

/** Connection-tracking state of a packet, nf_conntrack's meanings. */
export type CtState = "new" | "established" | "related" | "invalid" | "untracked";

/** Why a packet did not pass. */
export type DropReason =
  | "policy" // a rule or map entry that NetworkPolicy put there (or their absence) refused it
  | "invalid" // connection tracking called it invalid and a rule drops that
  | "chain-policy" // the built-in chain's policy is DROP
  | "spoofed" // reverse-path filter
  | "table-full" // connection-tracking table full
  | "unknown-interface" // no endpoint behind the interface
  | "opaque"; // an imported rule that cannot be represented

/** Counts of what a packet cost. */
export interface Work {
  /** Rules evaluated, whether they matched or not. */
  readonly rules: number;
  /** Chains entered, built-in ones included. */
  readonly chains: number;
  readonly setLookups: number;
  readonly mapLookups: number;
  readonly trieLookups: number;
  readonly conntrackLookups: number;
}

export const NO_WORK: Work = {
  rules: 0,
  chains: 0,
  setLookups: 0,
  mapLookups: 0,
  trieLookups: 0,
  conntrackLookups: 0,
};

export function addWork(a: Work, b: Work): Work {
  return {
    rules: a.rules + b.rules,
    chains: a.chains + b.chains,
    setLookups: a.setLookups + b.setLookups,
    mapLookups: a.mapLookups + b.mapLookups,
    trieLookups: a.trieLookups + b.trieLookups,
    conntrackLookups: a.conntrackLookups + b.conntrackLookups,
  };
}

/** The codes of result columns. */
export const VERDICT_CODE = { accept: 0, drop: 1, reject: 2, unknown: 3 } as const satisfies Record<Verdict, number>;
export const VERDICTS = ["accept", "drop", "reject", "unknown"] as const;

export const CT_STATE_CODE = {
  new: 0,
  established: 1,
  related: 2,
  invalid: 3,
  untracked: 4,
} as const satisfies Record<CtState, number>;
export const CT_STATES = ["new", "established", "related", "invalid", "untracked"] as const;
