/** Parts of a policy as the API server writes their paths, and where they stand. */
import type { SourceRef } from "../../compiler/issue.ts";
import { sourceWithin } from "../../compiler/manifest/fields.ts";
import type { Direction, NetworkPolicy } from "../../compiler/model.ts";

export function ruleField(direction: Direction, rule: number): string {
  return `spec.${direction}[${rule}]`;
}

export function peerField(direction: Direction, rule: number, peer: number): string {
  return `${ruleField(direction, rule)}.${direction === "ingress" ? "from" : "to"}[${peer}]`;
}

export function portField(direction: Direction, rule: number, port: number): string {
  return `${ruleField(direction, rule)}.ports[${port}]`;
}

/** Where an exception of a block was written. */
export function writtenExcept(
  policy: NetworkPolicy,
  direction: Direction,
  [rule, peer, except]: readonly [rule: number, peer: number, except: number],
): SourceRef {
  const list = direction === "ingress" ? "from" : "to";
  return sourceWithin(policy.source, ["spec", direction, rule, list, peer, "ipBlock", "except", except]);
}

/** Where the peer was written; the policy's place when the peer is none of the manifest's. */
export function writtenPeer(
  policy: NetworkPolicy,
  direction: Direction,
  [rule, peer]: readonly [rule: number, peer: number],
): SourceRef {
  return policy[direction][rule]?.peers[peer]?.source ?? policy.source;
}
