/** Our key updates for Cilium against those of its policy engine: the same ones, phase by phase, and the state after. */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { toHex } from "../../compiler/hash.ts";
import { controllerOf } from "../../compiler/update/controller.ts";
import { burstsBetween } from "../../compiler/update/events.ts";
import type { Operation } from "../../compiler/update/operation.ts";
import { formatCidr } from "../../dataplane/address.ts";
import { decodeIpcacheIdentity, decodeIpcacheKey } from "../../dataplane/maps/layout.ts";
import type { MapProgram, Program } from "../../dataplane/program.ts";
import { hasShared } from "../shared.ts";
import { NODES, STORIES, storyClusters, strategyCalled, updatesPath } from "./recordings.ts";

interface Phase {
  readonly node: string;
  readonly what: string;
  readonly ipcache: Readonly<Record<string, readonly [number | null, number | null]>>;
  readonly endpoints: Readonly<
    Record<string, { readonly added: readonly { keyHex: string }[]; readonly removed: readonly { keyHex: string }[] }>
  >;
}

const IPCACHE = "cilium_ipcache_v2";

function json(...path: readonly string[]) {
  return JSON.parse(readFileSync(updatesPath("cilium", ...path), "utf8"));
}

/** One line a change of a phase. */
function recordedChanges({ ipcache, endpoints }: Phase): readonly string[] {
  return [
    ...Object.entries(ipcache).map(([cidr, [, now]]) => `ipcache ${cidr} ${now ?? "gone"}`),
    ...Object.entries(endpoints).flatMap(([endpoint, { added, removed }]) => [
      ...added.map(({ keyHex }) => `${endpoint} + ${keyHex}`),
      ...removed.map(({ keyHex }) => `${endpoint} - ${keyHex}`),
    ]),
  ];
}

/** Ours in the same words; whose map it is, its name tells as long as the program has it. */
function ourChanges(
  operations: readonly Operation[],
  before: MapProgram,
  owners: Map<string, string>,
): readonly string[] {
  const held = new Map(before.maps.map((map) => [map.name, map]));
  return operations.flatMap(({ parts }) =>
    parts.flatMap((part): string[] => {
      if (part.kind !== "map") return [];
      const { command } = part;
      switch (command.verb) {
        case "update":
        case "delete": {
          const key = command.verb === "update" ? command.entry.key : command.key;
          if (command.map !== IPCACHE) {
            return [`${owners.get(command.map)} ${command.verb === "update" ? "+" : "-"} ${toHex(key)}`];
          }
          const now = command.verb === "update" ? decodeIpcacheIdentity(command.entry.value) : "gone";
          return [`ipcache ${formatCidr(decodeIpcacheKey(key))} ${now}`];
        }
        case "remove":
          // A map that goes takes its entries along.
          return (held.get(command.map)?.entries ?? []).map(
            ({ key: each }) => `${owners.get(command.map)} - ${toHex(each)}`,
          );
        default:
          return [];
      }
    }),
  );
}

function mapsOf(program: Program): MapProgram {
  if (program.kind !== "maps") throw new Error("Cilium programs maps");
  return program;
}

function noteOwners({ attachPoints }: MapProgram, owners: Map<string, string>): void {
  for (const { endpoint, plan } of attachPoints) if (plan.kind === "identity") owners.set(plan.policy, endpoint);
}

describe.skipIf(!hasShared)("Cilium's agent", () => {
  for (const story of STORIES) {
    for (const node of NODES) {
      it(`${story} on ${node}: every key as recorded, phase after phase, and the state after`, () => {
        const clusters = storyClusters(story);
        const [first] = clusters;
        if (first === undefined) throw new Error("no clusters");
        const controller = controllerOf(strategyCalled("cilium-ebpf"), first, { node });
        const owners = new Map<string, string>();
        expect(readdirSync(updatesPath("cilium", story)).length).toBeGreaterThan(clusters.length);
        for (const [step, cluster] of clusters.entries()) {
          const was = clusters[step - 1];
          const start = was === undefined ? controller.start() : undefined;
          const before = mapsOf(start?.before ?? controller.program);
          const operations =
            start?.operations ?? burstsBetween(was ?? cluster, cluster).flatMap((burst) => controller.react(burst));
          const after = mapsOf(controller.program);
          noteOwners(before, owners);
          noteOwners(after, owners);
          for (const { parts } of operations) {
            for (const part of parts) {
              if (part.kind === "map" && part.command.verb === "attach") {
                noteOwners({ ...after, attachPoints: [part.command.point] }, owners);
              }
            }
          }
          const phases = (json(story, `step-${step}`, "changes.json").phases as Phase[]).filter(
            (each) => each.node === node,
          );
          const recorded = phases.map(recordedChanges);
          const ours = ourChanges(operations, before, owners);
          expect([step, ...ours.toSorted()]).toEqual([step, ...recorded.flat().toSorted()]);
          // Each change in the phase in which it was recorded, phases in their order.
          const places = ours.map((line) => recorded.findIndex((lines) => lines.includes(line)));
          expect([step, ...places]).toEqual([step, ...places.toSorted((a, b) => a - b)]);
          const endpoints = json(story, `step-${step}`, "endpoints.json") as Record<
            string,
            { node: string; entries: { keyHex: string; valueHex: string }[] }
          >;
          for (const [endpoint, { node: where, entries }] of Object.entries(endpoints)) {
            if (where !== node) continue;
            const plan = after.attachPoints.find((point) => point.endpoint === endpoint)?.plan;
            const map = plan?.kind === "identity" ? after.maps.find(({ name }) => name === plan.policy) : undefined;
            const lines = map?.entries.map(({ key, value }) => `${toHex(key)} ${toHex(value)}`).toSorted();
            expect([endpoint, lines]).toEqual([
              endpoint,
              entries.map((each) => `${each.keyHex} ${each.valueHex}`).toSorted(),
            ]);
          }
          const addresses = after.maps.find(({ name }) => name === IPCACHE)?.entries ?? [];
          expect(
            Object.fromEntries(
              addresses.map(({ key, value }) => [formatCidr(decodeIpcacheKey(key)), decodeIpcacheIdentity(value)]),
            ),
          ).toEqual(json(story, `step-${step}`, `ipcache-${node}.json`));
        }
      });
    }
  }
});
