import { cyclonusPeer } from "../peers/cyclonus.ts";
import { comparePeer } from "../peers/run.ts";
import type { Target } from "./target.ts";

export const cyclonusTargets: readonly Target[] = [
  {
    name: "truth table against cyclonus",
    unit: "× faster",
    goal: 10,
    stretch: 20,
    better: "higher",
    limitMs: 280_000,
    async measure(options) {
      const { ratio, ours, theirs, skipped, note } = await comparePeer(cyclonusPeer, options);
      if (ratio === null || ours === null || theirs === null) return { measured: undefined, note: skipped ?? note };
      return { measured: ratio, note: `${ours.toFixed(2)} s against ${theirs.toFixed(2)} s, whole processes; ${note}` };
    },
  },
];
