/**
 * What the NetworkPolicy API says, one sentence per way a direction can be decided, in our words. `row` is the row of
 * docs/semantics.md that gives the origin.
 */
export interface Sentence {
  readonly row: number;
  readonly text: string;
}

export const SENTENCES = {
  outside: { row: 38, text: "a policy governs the pods it selects, and an address outside the cluster is not a pod" },
  node: { row: 34, text: "a policy governs pods of the pod network; a node, and a pod on its network, is not one" },
  itself: { row: 32, text: "a pod cannot be kept from reaching its own address" },
  ownNode: { row: 33, text: "traffic between a pod and the node it runs on is always allowed" },
  notIsolated: { row: 1, text: "a pod that no policy selects for a direction is open in that direction" },
  allowed: { row: 6, text: "a rule allows what matches one of its peers and one of its ports" },
  isolated: { row: 1, text: "a selected pod passes only what some rule of its policies allows" },
  reply: { row: 37, text: "replies of an allowed connection are allowed" },
  error: { row: 37, text: "an ICMP error about an allowed connection is part of it" },
  live: { row: 37, text: "a connection that was allowed stays allowed" },
} as const satisfies Record<string, Sentence>;

/** `"…" (row 6)`, as it ends every explanation. */
export function quote(sentence: Sentence): string {
  return `"${sentence.text}" (row ${sentence.row})`;
}
