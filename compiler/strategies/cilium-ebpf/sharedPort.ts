/**
 * One number for a name, where an identity comes to a rule with a named port: resolved for the first endpoint of those that
 * share a policy, used for all. An endpoint's map is right again when it is next regenerated.
 */
import { decodePolicyKey } from "../../../dataplane/maps/layout.ts";
import type { MapEntry, MapProgram } from "../../../dataplane/program.ts";
import type { Endpoint } from "../../model.ts";
import type { ResolvedCluster } from "../../resolve.ts";
import { mapChange } from "../../update/difference.ts";
import { keyText } from "../../update/nodeState.ts";
import { type Lapse, switched } from "../strategy.ts";
import { identitiesOf } from "./identities.ts";
import { sharePorts } from "./policyEntries.ts";

export const SHARED_PORT: Lapse = switched({
  name: "shared-port",
  summary:
    "two pods of one identity on a node with other numbers for a port's name: when an identity that a rule for that name lets in is new, both get the number of the first",
  source:
    "cilium v1.19.7 pkg/policy/l4.go AccumulateMapChanges, resolved for each endpoint since v1.20.2; dumps/updates/cilium/NOTES.md, 13 of 40 runs",
  scenario: "cilium-shared-port",
});

/** Endpoints of one identity on a node have one policy between them. Their order is that of a Go map; here by name. */
export function shareOnNode(cluster: ResolvedCluster, node: string): void {
  const { ofPod } = identitiesOf(cluster);
  const groups = new Map<number | undefined, Endpoint[]>();
  for (const pod of cluster.podsOn(node)) {
    const number = ofPod.get(pod)?.number;
    const group = groups.get(number);
    if (group === undefined) groups.set(number, [pod]);
    else group.push(pod);
  }
  sharePorts(cluster, [...groups.values()]);
}

interface Skew {
  readonly extra: readonly MapEntry[];
  readonly missing: ReadonlySet<string>;
}

/** What maps have that they should not, and lack that they should have. */
export class Skews {
  readonly #ofMap = new Map<string, Skew>();

  /** Notes in what the maps that were written differ from those that were meant. */
  note(meant: MapProgram, written: MapProgram): void {
    const right = new Map(meant.maps.map((map) => [map.name, map]));
    for (const map of written.maps) {
      const wanted = right.get(map.name);
      if (wanted === undefined) continue;
      const { updated: extra, deleted } = mapChange(wanted, map);
      if (extra.length + deleted.length === 0) continue;
      this.#ofMap.set(map.name, { extra, missing: new Set(deleted.map(({ key }) => keyText(key))) });
    }
  }

  /** The map is made anew. */
  forget(map: string): void {
    this.#ofMap.delete(map);
  }

  /** The program with what is wrong in it; of identities that are gone nothing is. */
  applied(program: MapProgram, cluster: ResolvedCluster): MapProgram {
    if (this.#ofMap.size === 0) return program;
    const { pods, held, cidrs } = identitiesOf(cluster);
    const known = new Set([...pods, ...held, ...cidrs].map(({ number }) => number));
    return {
      ...program,
      maps: program.maps.map((map) => {
        const skew = this.#ofMap.get(map.name);
        if (skew === undefined) return map;
        const entries = map.entries.filter(({ key }) => !skew.missing.has(keyText(key)));
        const present = new Set(entries.map(({ key }) => keyText(key)));
        const extra = skew.extra.filter(
          ({ key }) => known.has(decodePolicyKey(key).identity) && !present.has(keyText(key)),
        );
        return { ...map, entries: [...entries, ...extra] };
      }),
    };
  }
}
