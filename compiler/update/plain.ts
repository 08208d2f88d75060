/**
 * The plain way from program to program, for strategies that follow no recorded controller: exactly what differs, new
 * permissions before old ones go.
 */
import type { AttachPoint, MapProgram, Program, TableProgram } from "../../dataplane/program.ts";
import { elementText } from "../render/ipsetSave.ts";
import { ruleText } from "../render/iptablesSave.ts";
import {
  deleteEntry,
  ipsetCall,
  ipsetRestore,
  mapOperation,
  type RuleLine,
  type SetLine,
  tableRestore,
  updateEntry,
} from "./commands.ts";
import { chainDifference, mapChange, setDifference } from "./difference.ts";
import { type Burst, causeText } from "./events.ts";
import type { Operation } from "./operation.ts";

export function planPlain(before: Program, after: Program, { events }: Pick<Burst, "events">): readonly Operation[] {
  const cause = causeText(events);
  if (before.kind === "maps" && after.kind === "maps") return planMaps(before, after, cause);
  if (before.kind === "tables" && after.kind === "tables") return planTables(before, after, cause);
  throw new Error("the two programs are not of one kind");
}

/** New maps with their entries, entries that come, look-ups that use them, entries that go, maps that go. */
function planMaps(before: MapProgram, after: MapProgram, cause: string): readonly Operation[] {
  const known = new Map(before.maps.map((map) => [map.name, map]));
  const created = after.maps.filter(({ name }) => !known.has(name));
  const names = new Set(after.maps.map(({ name }) => name));
  const removed = before.maps.filter(({ name }) => !names.has(name));
  const changes = after.maps.flatMap((map) => {
    const old = known.get(map.name);
    return old === undefined || old === map ? [] : [mapChange(old, map)];
  });
  const points = new Map(before.attachPoints.map((point) => [pointKey(point), point]));
  const attached = after.attachPoints.filter((point) => !points.delete(pointKey(point)));
  return [
    ...created.flatMap(({ entries, ...map }) => [
      mapOperation({ verb: "create", map }, cause),
      ...entries.map((entry) => updateEntry(map, entry, cause)),
    ]),
    ...changes.flatMap(({ map, updated }) => updated.map((entry) => updateEntry(map, entry, cause))),
    ...[...new Set([...points.values()].map(({ endpoint }) => endpoint))].map((endpoint) =>
      mapOperation({ verb: "detach", endpoint }, cause),
    ),
    ...attached.map((point) => mapOperation({ verb: "attach", point }, cause)),
    ...changes.flatMap(({ map, deleted }) => deleted.map((entry) => deleteEntry(map, entry, cause))),
    ...removed.map(({ name }) => mapOperation({ verb: "remove", map: name }, cause)),
  ];
}

function pointKey({ endpoint, direction, plan }: AttachPoint): string {
  return JSON.stringify([endpoint, direction, plan]);
}

function planTables(before: TableProgram, after: TableProgram, cause: string): readonly Operation[] {
  const sets = setDifference(before.sets, after.sets);
  const add = (set: string, member: TableProgram["sets"][number]["members"][number]): SetLine => ({
    text: `add ${set} ${elementText(member)}${member.kind !== "set" && member.nomatch === true ? " nomatch" : ""}`,
    command: { verb: "add", set, member },
  });
  const lines: SetLine[] = [
    ...sets.created.flatMap(({ members, ...set }) => [
      {
        text: `create ${set.name} ${set.type}${set.type === "list:set" ? "" : ` family ${set.family === 4 ? "inet" : "inet6"}`}`,
        command: { verb: "create", set } as const,
      },
      ...members.map((member) => add(set.name, member)),
    ]),
    ...sets.changed.flatMap(({ set, added, removed }) => [
      ...removed.map(
        (member): SetLine => ({
          text: `del ${set.name} ${elementText(member)}`,
          command: { verb: "del", set: set.name, member },
        }),
      ),
      ...added.map((member) => add(set.name, member)),
    ]),
  ];
  return [
    ...(lines.length === 0 ? [] : [ipsetRestore({ args: ["restore"], lines, cause })]),
    ...after.families.flatMap(({ family, tables }) => {
      const old = before.families.find((one) => one.family === family)?.tables ?? [];
      return tables.flatMap((table) => {
        const pair = old.find(({ name }) => name === table.name);
        const difference = chainDifference(pair, table, (a, b) => JSON.stringify(a) === JSON.stringify(b));
        const written = [...difference.created, ...difference.changed.map(({ after: chain }) => chain)];
        const gone = difference.removed;
        if (written.length + gone.length === 0) return [];
        const rules: RuleLine[] = [
          ...[...written, ...gone].flatMap((chain): RuleLine[] => [
            {
              text: `:${chain.name} ${chain.policy?.toUpperCase() ?? "-"} [0:0]`,
              command: {
                verb: "declare",
                chain: chain.name,
                ...(chain.policy !== undefined && { policy: chain.policy }),
              },
            },
            // A built-in chain keeps its rules when it is declared.
            ...(chain.policy === undefined
              ? []
              : [{ text: `-F ${chain.name}`, command: { verb: "flush", chain: chain.name } } as const]),
          ]),
          ...written.flatMap(({ name, rules: own }) =>
            own.map(
              (rule): RuleLine => ({
                text: `-A ${name}${ruleText(rule, family)}`,
                command: { verb: "append", chain: name, rule },
              }),
            ),
          ),
          ...gone.map(({ name }): RuleLine => ({ text: `-X ${name}`, command: { verb: "remove", chain: name } })),
        ];
        return [tableRestore({ family, table: table.name, flush: false, args: ["--noflush"], lines: rules, cause })];
      });
    }),
    ...sets.removed.map(({ name }) => ipsetCall(["destroy", name], { verb: "destroy", set: name }, cause)),
  ];
}
