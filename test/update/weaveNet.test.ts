/** Our commands for weave-net against weave-npc's, event by event, and on the recorded states the recorded states after. */
import { readdirSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { RecordedCommand } from "../../compiler/import/operations.ts";
import type { ResolvedCluster } from "../../compiler/resolve.ts";
import { carriedOut, controllerOf } from "../../compiler/update/controller.ts";
import { burstsBetween } from "../../compiler/update/events.ts";
import type { Operation } from "../../compiler/update/operation.ts";
import { hasShared } from "../shared.ts";
import {
  clusterIn,
  commandsOf,
  STORIES,
  stateLines,
  stateOf,
  storyClusters,
  strategyCalled,
  updatesPath,
} from "./recordings.ts";

/**
 * Commands in order, those of one event as weave-npc's maps may have them: selectors and rules of one event come in any
 * order. The name of the test set has random digits.
 */
function eventsOf(
  commands: readonly (readonly [event: string, command: RecordedCommand | Operation])[],
): readonly string[] {
  const lines: string[] = [];
  let event = "";
  const run: string[] = [];
  const flush = () => lines.push(...run.splice(0).toSorted());
  for (const [cause, { tool, args }] of commands) {
    if (cause !== event) flush();
    event = cause;
    const text = args.join(" ").replace(/weave-test-comment\w{8}/, "weave-test-comment");
    run.push(`${cause.replace(/^start of/, "restart of")} | ${tool} ${text}`);
  }
  flush();
  return lines;
}

/** Rules of one event stand in random order. */
const SHUFFLED = /^filter (?:WEAVE-NPC-(?:INGRESS|EGRESS-CUSTOM|DEFAULT|EGRESS-DEFAULT)) /;

function settled(lines: readonly string[]): readonly string[] {
  const chains: string[][] = [];
  for (const line of lines) {
    if (line.startsWith("  ")) chains.at(-1)?.push(line);
    else chains.push([line]);
  }
  return chains.flatMap(([head = "", ...rest]) => [head, ...(SHUFFLED.test(head) ? rest.toSorted() : rest)]);
}

interface Told {
  readonly name: string;
  readonly clusters: readonly ResolvedCluster[];
  readonly folder: readonly string[];
}

const strategy = hasShared ? strategyCalled("weave-net") : undefined;

function follows({ clusters, folder }: Told): void {
  const [first] = clusters;
  if (strategy === undefined || first === undefined) throw new Error("no recordings");
  const node = "node-a";
  const controller = controllerOf(strategy, first, { node });
  for (const [step, cluster] of clusters.entries()) {
    const before = clusters[step - 1];
    const was = before === undefined ? "start" : `step-${step - 1}`;
    const operations =
      before === undefined
        ? controller.start().operations
        : burstsBetween(before, cluster).flatMap((burst) => controller.react(burst));
    const recorded = commandsOf(...folder, `step-${step}`) as readonly (RecordedCommand & { event: string })[];
    expect([step, ...eventsOf(operations.map((operation) => [operation.cause, operation]))]).toEqual([
      step,
      ...eventsOf(recorded.map((command) => [command.event, command])),
    ]);
    const held = stateOf(strategy, cluster, node, ...folder, was);
    const wanted = stateOf(strategy, cluster, node, ...folder, `step-${step}`);
    expect([step, settled(stateLines(carriedOut(held, operations)))]).toEqual([step, settled(stateLines(wanted))]);
  }
}

describe.skipIf(!hasShared)("weave-npc", () => {
  it.each(STORIES)("%s: every command as recorded, and the state after", (story) => {
    follows({ name: story, clusters: storyClusters(story), folder: ["weave-net", story, "node-a"] });
  });

  /**
   * Told in other events than two states of a cluster tell: an address that changes in place (for us another pod of the
   * name), an address that two pods have at once (which a cluster here gives to one of them).
   */
  const toldOtherwise = ["pod-relabel-target", "address-given-before-delete"];
  const extras = hasShared
    ? readdirSync(updatesPath("weave-net", "extra")).filter(
        (name) => !name.includes(".") && !toldOtherwise.includes(name),
      )
    : [];
  it.each(extras)("%s, one of its own mistakes", (name) => {
    const folder = updatesPath("weave-net", "extra", name);
    const count = readdirSync(folder).filter((each) => /^step-\d+\.yaml$/.test(each)).length;
    const clusters = Array.from({ length: count }, (_, step) => clusterIn(`${folder}/step-${step}.yaml`));
    follows({ name, clusters, folder: ["weave-net", "extra", name] });
  });
});
