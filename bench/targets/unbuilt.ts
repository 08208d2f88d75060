/** Targets of what does not exist yet. Whoever builds it moves the row into a file of its own. */
import type { Target } from "./target.ts";

type Promised = Pick<Target, "name" | "unit" | "goal" | "stretch" | "better"> & { readonly missing: string };

const PROMISED: readonly Promised[] = [
  {
    name: "capture replay, 64-byte captures",
    unit: "M packets/s",
    goal: 2,
    stretch: 10,
    better: "higher",
    missing: "there is no replay of captures yet",
  },
];

export const unbuiltTargets: readonly Target[] = PROMISED.map(({ missing, ...target }) => ({
  ...target,
  limitMs: 30_000,
  measure: async () => ({ measured: undefined, note: missing }),
}));
