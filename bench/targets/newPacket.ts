import { STRATEGIES } from "../../compiler/strategies/registry.ts";
import { conntrackInsert, newClass, newPacket } from "../engine.ts";
import { type EngineScene, sceneOf } from "../engineTraffic.ts";
import type { Measured, Target } from "./target.ts";

const ROUNDS = 150;

/** One strategy after the other; the slowest is what counts. */
function slowest(measure: (scene: EngineScene) => number): Measured {
  const cost = STRATEGIES.map(({ name }) => [name, measure(sceneOf(name))] as const);
  const each = cost.map(([name, ns]) => `${name} ${Math.round(ns)}`).join(", ");
  return { measured: Math.max(...cost.map(([, ns]) => ns)), note: `the slowest strategy; ${each}` };
}

export const newPacketTargets: readonly Target[] = [
  {
    name: "new packet, class tuple seen before",
    unit: "ns/packet",
    goal: 60,
    stretch: 35,
    better: "lower",
    limitMs: 180_000,
    async measure() {
      const insert = conntrackInsert(sceneOf("kube-router"));
      const found = slowest((scene) => newPacket(scene, "memo", ROUNDS));
      const note = `${found.note}; goal is 60 + ${Math.round(insert)} for the connection's entry, measured in the same run`;
      return { ...found, goal: 60 + insert, note };
    },
  },
  {
    name: "new packet, class tuple new",
    unit: "ns/packet",
    goal: 1_000,
    stretch: 250,
    better: "lower",
    limitMs: 180_000,
    measure: async () => slowest(newClass),
  },
];
