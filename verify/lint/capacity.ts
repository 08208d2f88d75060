/** Findings about maps and sets of a solution that are nearly full. */
import type { SourceRef } from "../../compiler/issue.ts";
import type { ResolvedCluster } from "../../compiler/resolve.ts";
import type { Strategy } from "../../compiler/strategies/strategy.ts";
import type { Program } from "../../dataplane/program.ts";
import { finding, type LintFinding } from "./finding.ts";

/** From this share of the room on. */
const NEARLY = 0.8;

/** Elements of a set whose creation names no limit (ipset(8), maxelem). */
const DEFAULT_MAX_ELEMENTS = 65_536;

interface Filled {
  readonly what: string;
  readonly name: string;
  readonly origin: string | undefined;
  readonly count: number;
  readonly room: number;
}

export function lintCapacity(cluster: ResolvedCluster, strategy: Strategy): readonly LintFinding[] {
  return cluster.model.nodes.flatMap(({ name: node }) =>
    filledOf(strategy.lower(cluster, { node }))
      .filter(({ count, room }) => count >= NEARLY * room)
      .map((filled) => {
        const { what, name, count, room } = filled;
        const share = Math.floor((count / room) * 100);
        const message = `${strategy.name} on ${node}: ${what} ${name} has ${count} of ${room} entries (${share} %)`;
        return finding("map-nearly-full", placeOf(cluster, filled), { path: "spec", message });
      }),
  );
}

function filledOf(program: Program): readonly Filled[] {
  if (program.kind === "tables") {
    return program.sets.map(({ name, members, options, origin }) => ({
      what: "IP set",
      name,
      origin,
      count: members.length,
      room: options.maxElements ?? DEFAULT_MAX_ELEMENTS,
    }));
  }
  return program.maps.map(({ name, entries, maxEntries, origin }) => ({
    what: "map",
    name,
    origin,
    count: entries.length,
    room: maxEntries,
  }));
}

/** The policy that the set or map is there for: the one its origin names, or the first that selects its pod. */
function placeOf(cluster: ResolvedCluster, { name, origin = "" }: Filled): SourceRef {
  const named = cluster.policies.find(({ policy }) => origin.split(" ").includes(policy.key));
  const selecting = cluster.policies.find(({ subjects }) =>
    subjects.some(({ key }) => origin.split(" ").includes(key) || name.includes(key)),
  );
  const [first] = cluster.policies;
  return (named ?? selecting ?? first)?.policy.source ?? { file: "", line: 0, column: 0 };
}
