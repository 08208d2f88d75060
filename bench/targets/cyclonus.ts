import { cyclonusPeer } from "../peers/cyclonus.ts";
import { comparePeer } from "../peers/run.ts";
import type { Target } from "./target.ts";

const GOAL = 10;

/** What profiles said once; not measured in the run. */
const WHY_SLOWER =
  "by a profile of 2026-11-29, of kube-router a quarter decides the pairs, a sixth each starts Node and loads the command, a seventh reads the manifests, an eighth each lowers and collects garbage";

export const cyclonusTargets: readonly Target[] = [
  {
    name: "truth table against cyclonus",
    unit: "× faster",
    goal: GOAL,
    stretch: 20,
    better: "higher",
    limitMs: 280_000,
    async measure(options) {
      const { ratio, ours, theirs, skipped, note } = await comparePeer(cyclonusPeer, options);
      if (ratio === null || ours === null || theirs === null) return { measured: undefined, note: skipped ?? note };
      const told = `${ours.toFixed(2)} s against ${theirs.toFixed(2)} s, whole processes; ${note}`;
      return { measured: ratio, note: ratio < GOAL ? `${told}; ${WHY_SLOWER}` : told };
    },
  },
];
