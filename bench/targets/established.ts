import { STRATEGIES } from "../../compiler/strategies/registry.ts";
import { establishedPacket, newPacket, walkedRule } from "../engine.ts";
import { sceneOf } from "../engineTraffic.ts";
import type { Target } from "./target.ts";

const FEW_FLOWS = 10_000;
const ROUNDS_OF_OTHERS = 40;

const WHY_SLOWER =
  "columns are copied to and from the loops, windows are tracked for each segment, and its entry, two cache lines, and its place in the index are waited for";

/** The same packets before and after other engines ran in the process, as a ratio. */
const besideOthers: Target = {
  name: "established packet beside other engines",
  unit: "× alone",
  goal: 1.15,
  stretch: 1,
  better: "lower",
  limitMs: 180_000,
  async measure() {
    const scene = sceneOf("kube-router");
    const quickest = () => Math.min(...Array.from({ length: 3 }, () => establishedPacket(scene, FEW_FLOWS, "memo")));
    const alone = quickest();
    for (const { name } of STRATEGIES) newPacket(sceneOf(name), "memo", ROUNDS_OF_OTHERS);
    walkedRule(scene);
    const beside = quickest();
    const others = STRATEGIES.map(({ name }) => name).join(", ");
    const note = `${Math.round(beside)} ns after engines of ${others} and one that walks, ${Math.round(alone)} before; the quickest of three each, ${FEW_FLOWS} flows`;
    return { measured: beside / alone, note };
  },
};

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
      const traffic = "kube-router, 10,000 pods; segments both ways over flows drawn alike, windows tracked";
      return { measured, note: measured <= goal ? traffic : `${traffic}; ${WHY_SLOWER}` };
    },
  };
}

export const establishedTargets: readonly Target[] = [
  establishedTarget(10_000, 25, 15),
  establishedTarget(100_000, 40, 25),
  establishedTarget(1_000_000, 80, 60),
  besideOthers,
];
