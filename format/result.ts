/** The result of one packet as the public contract has it: one JSON object. */
import type { Decision, Hop } from "../dataplane/result.ts";
import type { Answer } from "../verify/lane.ts";

export interface ResultIdentity {
  /** Position of the packet in its input, from 0. */
  readonly index: number;
  /** As the packet's line had it. */
  readonly id: string | number | undefined;
  readonly strategy: string;
}

/** Fields in the order of the contract; what has no value is left out. */
export function resultObject({ index, id, strategy }: ResultIdentity, answer: Answer): object {
  const { by } = answer;
  switch (by.kind) {
    case "fabric": {
      const { verdict, reason, ctState, decidedBy, hops, work } = by.result;
      return {
        index,
        id,
        strategy,
        verdict,
        reason,
        ctState,
        decidedBy: decidedBy === undefined ? undefined : decisionObject(decidedBy),
        hops: hops.map(hopObject),
        work,
      };
    }
    case "reference": {
      const { verdict, ctState, directions, because } = by.result;
      const reason = verdict === "drop" ? "policy" : undefined;
      return { index, id, strategy, verdict, reason, ctState, directions, because };
    }
  }
}

/** The rule or map entry as the contract has it. */
export function decisionObject(decision: Decision): object {
  switch (decision.kind) {
    case "rule": {
      const { node, table, chain, rule, origin } = decision;
      return { node, table, chain, rule, origin };
    }
    case "map": {
      const { node, map, key, origin } = decision;
      return { node, map, key, origin };
    }
  }
}

function hopObject({ node, verdict, walk }: Hop): object {
  return { node, verdict, walk };
}
