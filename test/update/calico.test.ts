/** Our plans for Calico against Felix: the same lines, and on the recorded states the recorded states after. */
import { describe, expect, it } from "vitest";
import type { RecordedCommand } from "../../compiler/import/operations.ts";
import { carriedOut, controllerOf } from "../../compiler/update/controller.ts";
import { burstsBetween } from "../../compiler/update/events.ts";
import type { Operation } from "../../compiler/update/operation.ts";
import { hasShared } from "../shared.ts";
import { commandsOf, NODES, STORIES, stateLines, stateOf, storyClusters, strategyCalled } from "./recordings.ts";

/**
 * Felix visits chains and sets in random order: lines are compared as a multiset, the order of commands by kind. `-R`
 * lines and their like name their place, so the multiset says everything about rules.
 */
function linesOf(commands: readonly (RecordedCommand | Operation)[]): readonly string[] {
  return commands
    .flatMap(({ tool, args, stdin }) => {
      const name = tool.replace("-legacy", "");
      const text = stdin ?? "";
      return text === "" ? [`${name} ${args.join(" ")}`] : text.split("\n").map((line) => `${name}: ${line}`);
    })
    .filter((line) => !/: (?:COMMIT|\*\w+)?$/.test(line))
    .toSorted();
}

/** Steps that Felix took in two rounds because its events came apart; the paced recording has them apart, too. */
const IN_TWO_ROUNDS = [{ story: "pod-churn", node: "node-a", step: 7 }];

describe.skipIf(!hasShared)("Felix", () => {
  const strategy = strategyCalled("calico-iptables");
  for (const story of STORIES) {
    for (const node of NODES) {
      it(`${story} on ${node}: every command as recorded, and the state after`, () => {
        const clusters = storyClusters(story);
        const [first] = clusters;
        if (first === undefined) throw new Error("no clusters");
        const controller = controllerOf(strategy, first, { node });
        for (const [step, cluster] of clusters.entries()) {
          const before = clusters[step - 1];
          const start = before === undefined ? controller.start() : undefined;
          const operations =
            start?.operations ?? burstsBetween(before ?? cluster, cluster).flatMap((burst) => controller.react(burst));
          const folder = ["calico", story, node] as const;
          const held = start?.before ?? stateOf(strategy, cluster, node, ...folder, `step-${step - 1}`);
          const wanted = stateOf(strategy, cluster, node, ...folder, `step-${step}`);
          expect(stateLines(carriedOut(held, operations))).toEqual(stateLines(wanted));
          if (IN_TWO_ROUNDS.some((each) => each.story === story && each.node === node && each.step === step)) continue;
          // At the start it asks the kernel for what it knows by making a link.
          const commands = commandsOf(...folder, `step-${step}`).filter(({ tool }) => tool !== "ip");
          expect([step, ...linesOf(operations)]).toEqual([step, ...linesOf(commands)]);
        }
      });
    }
  }
});
