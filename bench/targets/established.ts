import { establishedPacket } from "../engine.ts";
import { sceneOf } from "../engineTraffic.ts";
import type { Target } from "./target.ts";

function establishedTarget(flows: number, goal: number, stretch: number): Target {
  return {
    name: `established packet, ${flows.toLocaleString("en-US")} flows`,
    unit: "ns/packet",
    goal,
    stretch,
    better: "lower",
    limitMs: 180_000,
    async measure() {
      const measured = establishedPacket(sceneOf("kube-router"), flows, "memo");
      return { measured, note: "kube-router, 10,000 pods; segments both ways over flows drawn alike, windows tracked" };
    },
  };
}

export const establishedTargets: readonly Target[] = [
  establishedTarget(10_000, 25, 15),
  establishedTarget(100_000, 40, 25),
  establishedTarget(1_000_000, 80, 60),
];
