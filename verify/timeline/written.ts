/** What operations wrote, and what differed between the states they lead from and to. */
import { ruleText } from "../../compiler/render/iptablesSave.ts";
import { mapChange, setDifference } from "../../compiler/update/difference.ts";
import type { Operation, RuleCommand } from "../../compiler/update/operation.ts";
import type { MapSpec, Program, TableProgram } from "../../dataplane/program.ts";

export interface Difference {
  /** Rules of chains: those that came and those that went. */
  readonly rules: number;
  readonly setEntries: number;
  readonly mapEntries: number;
}

export interface Written extends Difference {
  /** Of what the tools were given: their input, or their arguments where they have none. */
  readonly bytes: number;
}

const RULE_WRITES: ReadonlySet<RuleCommand["verb"]> = new Set(["append", "insert", "replace", "deleteAt", "delete"]);

export function writtenBy(operations: readonly Operation[]): Written {
  let [rules, setEntries, mapEntries, bytes] = [0, 0, 0, 0];
  for (const { args, stdin, parts } of operations) {
    // Text of all solutions is ASCII but for comments, of which a byte or two more or less say nothing.
    bytes += stdin === undefined ? args.join(" ").length : stdin.length;
    for (const part of parts) {
      switch (part.kind) {
        case "set":
          if (part.command.verb === "add" || part.command.verb === "del") setEntries++;
          break;
        case "commit":
          rules += part.commands.filter(({ verb }) => RULE_WRITES.has(verb)).length;
          break;
        case "map":
          if (part.command.verb === "update" || part.command.verb === "delete") mapEntries++;
          break;
        case "connections":
          break;
      }
    }
  }
  return { rules, setEntries, mapEntries, bytes };
}

/** Between programs whose names do not depend on time. */
export function differenceOf(before: Program, after: Program): Difference {
  if (before.kind === "maps" && after.kind === "maps") {
    return { rules: 0, setEntries: 0, mapEntries: mapEntries(before.maps, after.maps) };
  }
  if (before.kind !== "tables" || after.kind !== "tables") throw new Error("the two programs are not of one kind");
  const sets = setDifference(before.sets, after.sets);
  const count = (lists: readonly (readonly unknown[])[]) => lists.reduce((sum, list) => sum + list.length, 0);
  return {
    rules: ruleDifference(before, after),
    setEntries:
      count(sets.created.map(({ members }) => members)) +
      count(sets.removed.map(({ members }) => members)) +
      count(sets.changed.flatMap(({ added, removed }) => [added, removed])),
    mapEntries: 0,
  };
}

function mapEntries(before: readonly MapSpec[], after: readonly MapSpec[]): number {
  const known = new Map(before.map((map) => [map.name, map]));
  let differing = 0;
  for (const map of after) {
    const old = known.get(map.name);
    known.delete(map.name);
    if (old === undefined) differing += map.entries.length;
    else {
      const { updated, deleted } = mapChange(old, map);
      differing += updated.length + deleted.length;
    }
  }
  for (const map of known.values()) differing += map.entries.length;
  return differing;
}

/** Rules as a multiset, each with its chain: order alone makes no difference. */
function ruleDifference(before: TableProgram, after: TableProgram): number {
  const counts = new Map<string, number>();
  let differing = 0;
  // One object may be a chain of both families.
  const kept = new Map(chainsOf(after).map(({ chain, key }) => [key, chain]));
  const shared = new Set<string>();
  for (const { chain, key, family } of chainsOf(before)) {
    if (kept.get(key) === chain) {
      shared.add(key);
      continue;
    }
    for (const rule of chain.rules) {
      const text = `${key}${ruleText(rule, family)}`;
      counts.set(text, (counts.get(text) ?? 0) + 1);
    }
  }
  for (const { chain, key, family } of chainsOf(after)) {
    if (shared.has(key)) continue;
    for (const rule of chain.rules) {
      const text = `${key}${ruleText(rule, family)}`;
      const left = counts.get(text) ?? 0;
      if (left === 0) differing++;
      else counts.set(text, left - 1);
    }
  }
  for (const left of counts.values()) differing += left;
  return differing;
}

function chainsOf(program: TableProgram) {
  return program.families.flatMap(({ family, tables }) =>
    tables.flatMap((table) =>
      table.chains.map((chain) => ({ chain, key: `${family} ${table.name} ${chain.name}`, family })),
    ),
  );
}
