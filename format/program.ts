/** Programs as JSON, and their sizes. */
import { type Cidr, formatAddress, formatCidr, type IpAddress } from "../dataplane/address.ts";
import type { Program } from "../dataplane/program.ts";
import { formatColumns } from "./columns.ts";
import type { Paint } from "./paint.ts";

/** The program as it is; addresses and blocks as text, bytes as hex. */
export function programJson(program: Program): string {
  return JSON.stringify(
    program,
    (_key, value: unknown) => {
      if (value instanceof Uint8Array) return Array.from(value, (byte) => byte.toString(16).padStart(2, "0")).join("");
      if (isCidr(value)) return formatCidr(value);
      return isAddress(value) ? formatAddress(value) : value;
    },
    2,
  );
}

function isAddress(value: unknown): value is IpAddress {
  return typeof value === "object" && value !== null && "family" in value && "words" in value;
}

function isCidr(value: unknown): value is Cidr {
  return isAddress(value) && "prefixLength" in value;
}

interface Size {
  readonly chains: number;
  readonly rules: number;
  readonly sets: number;
  readonly setEntries: number;
  readonly maps: number;
  readonly mapEntries: number;
}

function sizeOf(program: Program): Size {
  switch (program.kind) {
    case "tables": {
      const chains = program.families.flatMap(({ tables }) => tables.flatMap((table) => table.chains));
      return {
        chains: chains.length,
        rules: chains.reduce((sum, chain) => sum + chain.rules.length, 0),
        sets: program.sets.length,
        setEntries: program.sets.reduce((sum, set) => sum + set.members.length, 0),
        maps: 0,
        mapEntries: 0,
      };
    }
    case "maps":
      return {
        chains: 0,
        rules: 0,
        sets: 0,
        setEntries: 0,
        maps: program.maps.length,
        mapEntries: program.maps.reduce((sum, map) => sum + map.entries.length, 0),
      };
  }
}

/** One line a program: chains, rules, sets, set entries, maps, map entries. */
export function programSummary(programs: readonly Program[], paint: Paint): readonly string[] {
  const head = ["strategy", "node", "chains", "rules", "sets", "set entries", "maps", "map entries"];
  const rows = programs.map((program) => {
    const { chains, rules, sets, setEntries, maps, mapEntries } = sizeOf(program);
    return [
      { text: program.strategy },
      { text: program.node },
      ...[chains, rules, sets, setEntries, maps, mapEntries].map((count) => ({
        text: String(count),
        align: "right" as const,
      })),
    ];
  });
  const headRow = head.map((text, index) => ({
    text,
    look: "strong" as const,
    align: index < 2 ? ("left" as const) : ("right" as const),
  }));
  return formatColumns([headRow, ...rows], { paint });
}
