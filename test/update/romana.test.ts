/** Our ticks for Romana against the agent's: the same commands, and on the recorded states the recorded states after. */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { RecordedCommand } from "../../compiler/import/operations.ts";
import { carriedOut, controllerOf } from "../../compiler/update/controller.ts";
import { burstsBetween } from "../../compiler/update/events.ts";
import type { Operation } from "../../compiler/update/operation.ts";
import { hasShared } from "../shared.ts";
import { clusterIn, commandsOf, STORIES, stateLines, stateOf, strategyCalled, updatesPath } from "./recordings.ts";

/** Interfaces are named after a sandbox's digits: here after the pod, by the place of its rules. */
const INTERFACE = /romana-[0-9a-f]{8}/g;

/** Commands in order; lines of one input as a multiset, since policies and tenants come in the order of Go maps. */
function linesOf(commands: readonly (RecordedCommand | Operation)[]): readonly string[] {
  return commands.map(({ tool, args, stdin }) => {
    const input = (stdin ?? "").split("\n").toSorted().join("\n");
    return `${tool} ${args.join(" ")} ${input}`.replace(INTERFACE, "romana-x");
  });
}

/** Destroys of one tick in any order: the slots of the sets of policies are those of another map's order. */
function settled(lines: readonly string[]): readonly string[] {
  const out: string[] = [];
  let run: string[] = [];
  for (const line of lines) {
    if (line.startsWith("ipset destroy")) run.push(line);
    else {
      out.push(...run.toSorted(), line);
      run = [];
    }
  }
  return [...out, ...run.toSorted()];
}

describe.skipIf(!hasShared)("the agent of Romana", () => {
  it.each(STORIES)("%s: every command as recorded, and the state after", (story) => {
    const strategy = strategyCalled("romana");
    const folder = ["romana", story, "node-a"] as const;
    const count = readdirSync(updatesPath(...folder)).filter((name) => /^step-\d+$/.test(name)).length;
    const clusters = Array.from({ length: count }, (_, step) =>
      clusterIn(updatesPath(...folder, `step-${step}`, "cluster.yaml")),
    );
    const [first] = clusters;
    if (first === undefined) throw new Error("no clusters");
    const controller = controllerOf(strategy, first, { node: "node-a" });
    /** Our interface names in the place of the recorded ones, pod by pod. */
    const renamed = (step: number): ReadonlyMap<string, string> => {
      const file = updatesPath(...folder, `step-${step}`, "divert.json");
      const diverted = JSON.parse(readFileSync(file, "utf8")) as readonly { pod: string; iface: string }[];
      const ours = new Map(
        strategy.attach(clusters[step] ?? first, { node: "node-a" }).pods.map((pod) => [pod.endpoint, pod.interface]),
      );
      return new Map(diverted.map(({ pod, iface }) => [iface, ours.get(pod) ?? iface]));
    };
    for (const [step, cluster] of clusters.entries()) {
      const before = clusters[step - 1];
      const operations =
        before === undefined
          ? controller.start().operations
          : burstsBetween(before, cluster).flatMap((burst) => controller.react(burst));
      const recorded = commandsOf(...folder, `step-${step}`);
      expect([step, ...settled(linesOf(operations))]).toEqual([step, ...settled(linesOf(recorded))]);
      const was = before === undefined ? "start" : `step-${step - 1}`;
      const held = stateOf(strategy, cluster, "node-a", ...folder, was);
      const wanted = stateOf(strategy, cluster, "node-a", ...folder, `step-${step}`);
      const named = JSON.parse(
        JSON.stringify(held).replace(INTERFACE, (name) => renamed(Math.max(0, step - 1)).get(name) ?? name),
      ) as typeof held;
      const now = stateLines(carriedOut(named, operations));
      const then = stateLines(wanted).map((line) => line.replace(INTERFACE, (name) => renamed(step).get(name) ?? name));
      expect([step, ...now.toSorted()]).toEqual([step, ...then.toSorted()]);
    }
  });
});
