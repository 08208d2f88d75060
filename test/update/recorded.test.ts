/** Recorded commands executed on the recorded state before give the recorded state after. */
import { describe, expect, it } from "vitest";
import { CommandReader } from "../../compiler/import/operations.ts";
import { NodeState } from "../../compiler/update/nodeState.ts";
import { hasShared } from "../shared.ts";
import {
  commandsOf,
  hasTime,
  NODES,
  STORIES,
  stateLines,
  stateOf,
  storyClusters,
  strategyCalled,
} from "./recordings.ts";

const SOLUTIONS = [
  ["kube-router", "kube-router", NODES],
  ["calico", "calico-iptables", NODES],
  ["weave-net", "weave-net", ["node-a"]],
  ["romana", "romana", ["node-a"]],
] as const;

describe.skipIf(!hasShared || !hasTime)("recorded commands", () => {
  for (const [solution, name, nodes] of SOLUTIONS) {
    it(`of ${solution}, executed on the state before, give the state after`, () => {
      const strategy = strategyCalled(name);
      let commands = 0;
      for (const story of STORIES) {
        for (const node of nodes) {
          const clusters = storyClusters(story);
          const start = clusters[0] && stateOf(strategy, clusters[0], node, solution, story, node, "step-0");
          if (start === undefined) throw new Error("no clusters");
          const reader = new CommandReader(start);
          for (const [step, cluster] of clusters.entries()) {
            if (step === 0) continue;
            const before = stateOf(strategy, cluster, node, solution, story, node, `step-${step - 1}`);
            const wanted = stateOf(strategy, cluster, node, solution, story, node, `step-${step}`);
            const state = new NodeState(before);
            for (const command of commandsOf(solution, story, node, `step-${step}`)) {
              if (command.tool === "conntrack") continue;
              commands++;
              const refusals = reader.read(command).parts.flatMap((part) => state.run(part) ?? []);
              expect([`${story} ${node} ${step} ${command.args.join(" ")}`, refusals.length > 0]).toEqual([
                `${story} ${node} ${step} ${command.args.join(" ")}`,
                (command.rc ?? 0) !== 0,
              ]);
            }
            expect(stateLines(state.program)).toEqual(stateLines(wanted));
          }
        }
      }
      expect(commands).toBeGreaterThan(20);
    });
  }
});
