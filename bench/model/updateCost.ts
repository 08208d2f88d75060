/** How long the commands of an update take on the machine of a profile. */
import type { Operation, Part } from "../../compiler/update/operation.ts";
import type { MapSpec, Program } from "../../dataplane/program.ts";
import type { CostProfile } from "./profile.ts";

/** Kinds of work of an update, by their names in a profile. */
export const UPDATE_COST = {
  ipset: "command ipset",
  ipsetRestore: "command ipset restore",
  element: "set element",
  iptables: "command iptables",
  iptablesRestore: "command iptables-restore",
  rule: "rule of a restore",
} as const;

/** The work of one write into a map of a kind, by its name in a profile. */
export function mapWriteCost(verb: "update" | "delete", type: MapSpec["type"]): string {
  return `map ${verb}, ${type}`;
}

/** After so many operations, and parts of the next. */
export interface UpdatePlace {
  readonly operation: number;
  readonly part: number;
}

/** A step's operations, and what the node holds before it and after it. */
export interface UpdateSteps {
  readonly operations: readonly Operation[];
  readonly before: Program;
  readonly after: Program;
}

/**
 * Milliseconds from one place of a step to another; undefined where the profile does not know the commands or writes, or
 * one of them is more than that (a map that is made, an endpoint's program). The controller's own time between commands,
 * and the agent's between writes, is not in it.
 */
export function updateMs(
  { operations, ...around }: UpdateSteps,
  { from, to }: { readonly from: UpdatePlace; readonly to: UpdatePlace },
  { updates }: Pick<CostProfile, "updates">,
): number | undefined {
  const types = mapTypes(around);
  let ns = 0;
  for (let number = Math.max(1, from.operation); number <= to.operation; number++) {
    const operation = operations[number - 1];
    if (operation === undefined) continue;
    const [command, part] = kindsOf(operation, types);
    // A flush of connections runs beside the others.
    if (command === "beside") continue;
    const [start, each] = [updates[command]?.ns, part === undefined ? 0 : updates[part]?.ns];
    if (start === undefined || each === undefined) return undefined;
    const isStarted = number === from.operation;
    const last = number === to.operation ? to.part : operation.parts.length;
    const parts = operation.parts.slice(isStarted ? from.part : 0, last);
    const work = parts.reduce((sum, one) => sum + (one.kind === "commit" ? one.commands.length : 1), 0);
    ns += (isStarted ? 0 : start) + each * work;
  }
  return ns / 1e6;
}

/** What starting it is called, and what each of its parts; undefined: the part is in the command. */
function kindsOf(
  { tool, stdin, parts }: Operation,
  types: ReadonlyMap<string, MapSpec["type"]>,
): readonly [command: string, part: string | undefined] {
  switch (tool) {
    case "ipset":
      return stdin === undefined ? [UPDATE_COST.ipset, undefined] : [UPDATE_COST.ipsetRestore, UPDATE_COST.element];
    case "iptables":
    case "ip6tables":
      return [UPDATE_COST.iptables, undefined];
    case "iptables-restore":
    case "ip6tables-restore":
      return [UPDATE_COST.iptablesRestore, UPDATE_COST.rule];
    case "conntrack":
      return ["beside", undefined];
    case "map":
      return [parts.map((part) => writeOf(part, types)).join(), undefined];
  }
}

function writeOf(part: Part, types: ReadonlyMap<string, MapSpec["type"]>): string {
  if (part.kind !== "map" || (part.command.verb !== "update" && part.command.verb !== "delete"))
    return "beyond a write";
  const type = types.get(part.command.map);
  return type === undefined ? "of a map that is not known" : mapWriteCost(part.command.verb, type);
}

function mapTypes({ before, after }: Pick<UpdateSteps, "before" | "after">): ReadonlyMap<string, MapSpec["type"]> {
  const maps = [before, after].flatMap((program) => (program.kind === "maps" ? program.maps : []));
  return new Map(maps.map(({ name, type }) => [name, type]));
}
