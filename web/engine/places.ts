/** From the words of an answer to the lines of the manifests that they name. */
import type { SourceRef } from "../../compiler/issue.ts";
import { type ClusterModel, DIRECTIONS, type NetworkPolicy } from "../../compiler/model.ts";
import type { Place } from "../messages.ts";

/** `default/db-policy ingress[0].from[1] ports[2]`, wherever it stands in a text. */
const NAMED = /([a-z0-9][-a-z0-9.]*\/[a-z0-9][-a-z0-9.]*)(?: (ingress|egress)\[(\d+)\](?:\.(?:from|to)\[(\d+)\])?)?/g;

/** The policies, rules and peers that a text names. */
export function placesIn(text: string, model: ClusterModel, isDecision: boolean): readonly Place[] {
  const places: Place[] = [];
  for (const [named, key = "", direction, rule, peer] of text.matchAll(NAMED)) {
    const policy = model.policies.find((candidate) => candidate.key === key);
    if (policy === undefined) continue;
    const source = sourceOf(policy, { direction, rule, peer });
    places.push({ ...source, text: named, isDecision });
  }
  return places;
}

function sourceOf(
  policy: NetworkPolicy,
  path: Readonly<Record<"direction" | "rule" | "peer", string | undefined>>,
): SourceRef {
  const direction = DIRECTIONS.find((candidate) => candidate === path.direction);
  const rule = direction === undefined ? undefined : policy[direction][Number(path.rule)];
  const peer = path.peer === undefined ? undefined : rule?.peers[Number(path.peer)];
  return peer?.source ?? rule?.source ?? policy.source;
}

/** The same place once; a place that decided stays one. */
export function distinctPlaces(places: readonly Place[]): readonly Place[] {
  const known = new Map<string, Place>();
  for (const place of places) {
    const key = `${place.file}:${place.line}:${place.column}`;
    const before = known.get(key);
    known.set(key, before === undefined || place.isDecision ? place : before);
  }
  return [...known.values()];
}
