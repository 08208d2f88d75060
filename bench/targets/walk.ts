import { walkedRule } from "../engine.ts";
import { sceneOf } from "../engineTraffic.ts";
import { scanNsPerRule, withoutCompiler } from "../peers/scan.ts";
import type { Target } from "./target.ts";

export const walkTargets: readonly Target[] = [
  {
    name: "ordered walk",
    unit: "ns/rule",
    goal: 3,
    stretch: 0.3,
    better: "lower",
    peer: "a scan in C of plain rules, gcc -O2",
    limitMs: 120_000,
    async measure() {
      const measured = walkedRule(sceneOf("kube-router"));
      const note =
        "kube-router, 10,000 pods: rules with sets, marks and comments, and the connection's entry; the engine that walks, which is asked for the next rule of long chains";
      return withoutCompiler() === undefined ? { measured, peer: scanNsPerRule(), note } : { measured, note };
    },
  },
];
