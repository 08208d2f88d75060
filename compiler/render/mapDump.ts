/** A node's maps as text for people: each map with its entries in order, then who looks what up where. */
import type { AttachPoint, MapEntry, MapProgram, MapSpec } from "../../dataplane/program.ts";
import { withoutControls } from "../names.ts";

/**
 * ```
 * map ipcache  lpm-trie  key 24 B  value 16 B  2 of 512000 entries
 *   20 00 00 00 0a 0a 01 0a  ->  05 00 00 00    default/db
 * attach default/db ingress  identity: ipcache, then policy_db
 * ```
 * Entries are sorted by the bytes of their keys: two dumps of equal maps are equal texts.
 */
export function renderMapDump(program: MapProgram): string {
  const lines = [...program.maps.flatMap(mapLines), ...program.attachPoints.map(attachLine)];
  return lines.map((line) => `${line}\n`).join("");
}

function mapLines(map: MapSpec): readonly string[] {
  const head = [
    `map ${withoutControls(map.name)}`,
    map.type,
    `key ${map.keyBytes} B`,
    `value ${map.valueBytes} B`,
    `${map.entries.length} of ${map.maxEntries} entries`,
    ...originText(map.origin),
  ];
  return [head.join("  "), ...map.entries.toSorted((a, b) => compareBytes(a.key, b.key)).map(entryLine)];
}

function entryLine({ key, value, origin }: MapEntry): string {
  return [`  ${bytesText(key)}`, "->", bytesText(value), ...originText(origin)].join("  ");
}

function attachLine({ endpoint, direction, plan }: AttachPoint): string {
  return `attach ${withoutControls(endpoint)} ${direction}  ${plan.kind}: ${planText(plan)}`;
}

function planText(plan: AttachPoint["plan"]): string {
  switch (plan.kind) {
    case "identity":
      return `${plan.ipcache}, then ${plan.policy}`;
    case "tuple":
      return `${plan.exact}, then ${plan.blocks}`;
  }
}

function originText(origin: string | undefined): readonly string[] {
  return origin === undefined ? [] : [`  ${withoutControls(origin)}`];
}

/** As bpftool prints bytes: two digits each, with blanks. */
function bytesText(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
}

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  for (let index = 0; index < Math.min(a.length, b.length); index++) {
    const difference = (a[index] ?? 0) - (b[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}
